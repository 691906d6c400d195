//! A fleet as its own telemetry recorded it, turned into demand: what every vm used, where it ran at first, when it came and
//! went.
//!
//! Whoever can read a telemetry log fills in a [`RecordedFleet`]; this module knows no format. A recording tells what vms
//! *got*: where a host was overloaded their demand was higher, and nobody knows how much.

use std::{sync::Arc, time::Duration};

use ballast_core::{
    id::VmId,
    inventory::VmLabels,
    units::{Bytes, BytesPerSec, Cores, Timestamp},
};

use super::{Series, Slot};
use crate::scenario::{HostSpec, InvalidScenario, Scenario, VmSpec};

/// Slots after its last sample at which a vm counts as gone: fewer are gaps.
const GONE_AFTER: u32 = 3;

/// What one vm used at one moment; rates are means since the sample before.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RecordedSample {
    /// When.
    pub at: Timestamp,
    /// CPU; `None` where it could not be read.
    pub cpu: Option<Cores>,
    /// Memory in use; `None` where it could not be read.
    pub memory: Option<Bytes>,
    /// Storage read.
    pub disk_read: Option<BytesPerSec>,
    /// Storage written.
    pub disk_write: Option<BytesPerSec>,
    /// Network received.
    pub net_rx: Option<BytesPerSec>,
    /// Network sent.
    pub net_tx: Option<BytesPerSec>,
}

/// One recorded vm.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Which vm.
    pub vm: VmId,
    /// Its name.
    pub name: String,
    /// Its virtual CPUs.
    pub vcpus: u32,
    /// Memory it may grow to.
    pub memory_max: Bytes,
    /// The operator's wishes.
    pub labels: VmLabels,
    /// Index of the host it was first seen on.
    pub host: usize,
    /// Its samples, in order of time.
    pub samples: Vec<RecordedSample>,
}

/// A recorded fleet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RecordedFleet {
    /// Its hosts.
    pub hosts: Vec<HostSpec>,
    /// Its vms.
    pub vms: Vec<Recorded>,
}

impl RecordedFleet {
    /// When the first sample was taken, and the last; `None` where there is none.
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let times = || self.vms.iter().flat_map(|vm| vm.samples.iter().map(|sample| sample.at));
        times().min().zip(times().max())
    }

    /// The scenario in which every vm wants what it used, in slots of `slot`: a slot without a sample holds the values of
    /// the one before, and what could not be read stays as it was. A vm without samples is left out.
    ///
    /// # Errors
    /// [`InvalidScenario`] where no sample is there, a slot is shorter than 100 ms, or a vm names a host that is not there.
    pub fn scenario(&self, slot: Duration) -> Result<Scenario, InvalidScenario> {
        let range = |field, value, expected| InvalidScenario::Range { field, value, expected };
        let (start, end) = self.span().ok_or(range("samples", 0, "at least one sample is needed"))?;
        if slot < Duration::from_millis(100) {
            let millis = usize::try_from(slot.as_millis()).unwrap_or(0);
            return Err(range("slot in milliseconds", millis, "at least 100 are needed"));
        }
        let sampled: Vec<&Recorded> = self.vms.iter().filter(|vm| !vm.samples.is_empty()).collect();
        let series = sampled.iter().map(|vm| Arc::new(vm.series(slot))).collect();
        let vms = sampled.iter().enumerate().map(|(index, vm)| vm.spec(index, start, end, slot)).collect();
        Scenario::new(start, end.since(start).max(slot), self.hosts.clone(), vms, series)
    }
}

impl Recorded {
    fn spec(&self, series: usize, start: Timestamp, end: Timestamp, slot: Duration) -> VmSpec {
        let first = self.samples.first().map_or(start, |sample| sample.at);
        let last = self.samples.last().map_or(end, |sample| sample.at);
        let arrives = first.since(start);
        let arrives = if arrives < slot * GONE_AFTER { Duration::ZERO } else { arrives };
        let is_gone = end.since(last) >= slot * GONE_AFTER;
        VmSpec {
            labels: self.labels.clone(),
            arrives,
            departs: is_gone.then(|| last.after(slot).since(start)),
            ..VmSpec::new(self.vm, self.name.clone(), self.vcpus, self.memory_max, series, Some(self.host))
        }
    }

    /// Its samples on a grid of `slot` that begins with the first.
    fn series(&self, slot: Duration) -> Series {
        let mut slots: Vec<Slot> = Vec::new();
        let first = self.samples.first().map_or(Timestamp::EPOCH, |sample| sample.at);
        for sample in &self.samples {
            let index = usize::try_from(sample.at.since(first).as_nanos() / slot.as_nanos().max(1)).unwrap_or(0);
            let held = slots.last().copied().unwrap_or_default();
            if index >= slots.len() {
                slots.resize(index + 1, held);
            }
            let last = slots.len() - 1;
            slots[last] = self.slot(sample, held);
        }
        Series { name: self.name.clone(), slot, slots }
    }

    #[allow(clippy::cast_possible_truncation)] // Shares and rates need no more than single precision.
    fn slot(&self, sample: &RecordedSample, held: Slot) -> Slot {
        let share = |part: f64, whole: f64| if whole > 0.0 { (part / whole).clamp(0.0, 1.0) as f32 } else { 0.0 };
        let rate = |rate: Option<BytesPerSec>, held: f32| rate.map_or(held, |rate| rate.get().max(0.0) as f32);
        Slot {
            cpu: sample.cpu.map_or(held.cpu, |cpu| share(cpu.get(), f64::from(self.vcpus))),
            memory: sample.memory.map_or(held.memory, |used| share(used.as_f64(), self.memory_max.as_f64())),
            disk_read: rate(sample.disk_read, held.disk_read),
            disk_write: rate(sample.disk_write, held.disk_write),
            net_rx: rate(sample.net_rx, held.net_rx),
            net_tx: rate(sample.net_tx, held.net_tx),
        }
    }
}

#[cfg(test)]
mod tests {
    use ballast_core::{id::HostId, power::PowerCurve};
    use uuid::Uuid;

    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    fn sample(second: u64, cores: f64) -> RecordedSample {
        RecordedSample { at: Timestamp::from_secs(second), cpu: Some(Cores(cores)), ..RecordedSample::default() }
    }

    fn vm(number: u128, samples: Vec<RecordedSample>) -> Recorded {
        Recorded {
            vm: VmId(Uuid::from_u128(number)),
            name: format!("vm{number}"),
            vcpus: 2,
            memory_max: Bytes::from_gib(2),
            labels: VmLabels::default(),
            host: 0,
            samples,
        }
    }

    fn fleet(vms: Vec<Recorded>) -> RecordedFleet {
        let host = HostSpec::new(HostId::new("a").unwrap(), Cores(8.0), Bytes::from_gib(32), PowerCurve::epyc_7742());
        RecordedFleet { hosts: vec![host], vms }
    }

    #[test]
    fn a_gap_holds_the_value_before_and_so_does_what_could_not_be_read() {
        let unread = RecordedSample { at: Timestamp::from_secs(130), ..RecordedSample::default() };
        let scenario = fleet(vec![vm(1, vec![sample(100, 1.0), unread, sample(140, 2.0)])]).scenario(TEN).unwrap();
        let cpu: Vec<f32> = scenario.series(0).slots.iter().map(|slot| slot.cpu).collect();
        assert_eq!(cpu, [0.5, 0.5, 0.5, 0.5, 1.0]);
        assert_eq!((scenario.start(), scenario.duration()), (Timestamp::from_secs(100), Duration::from_secs(40)));
    }

    #[test]
    fn a_vm_is_there_while_it_was_recorded() {
        let late = vm(2, vec![sample(150, 1.0), sample(160, 1.0)]);
        let stays = vm(1, (10..30).map(|tick| sample(tick * 10, 1.0)).collect());
        let scenario = fleet(vec![stays, late, vm(3, Vec::new())]).scenario(TEN).unwrap();
        let [stays, late] = scenario.vms() else { panic!("two vms were sampled") };
        assert_eq!((stays.arrives, stays.departs), (Duration::ZERO, None));
        assert_eq!((late.arrives, late.departs), (Duration::from_secs(50), Some(Duration::from_secs(70))));
    }

    #[test]
    fn a_recording_without_samples_is_refused() {
        let error = fleet(vec![vm(1, Vec::new())]).scenario(TEN).unwrap_err();
        assert_eq!(error.to_string(), "samples = 0: at least one sample is needed");
    }
}
