//! From a fleet's telemetry to histories: what it recorded of itself becomes what a forecaster learns from.
//!
//! The same slots as in service ([`crate::stream`]): means of a running vm's samples over five minutes, each in the time that its
//! agent read it.

use std::collections::BTreeMap;

use ballast_core::{
    history::{History, Observed},
    id::VmId,
    inventory::Inventory,
    sample::{Batch, VmSample, VmState},
};

use crate::stream::slot::{Means, OpenSlot, Size, slot_of_sample};

/// Longest silence that stays a gap: a vm that was away for longer, or a clock set far ahead, begins a new history. A week.
const GAP_MAX: u32 = 7 * 288;

/// Histories in the making.
#[derive(Debug, Default)]
pub struct Recording {
    vms: BTreeMap<VmId, Recorded>,
    sizes: BTreeMap<VmId, Size>,
    late: u64,
}

#[derive(Debug)]
struct Recorded {
    open: OpenSlot,
    closed: Vec<(u32, Means)>,
}

impl Recording {
    /// Takes the sizes of a host's vms; a vm that was resized counts with its newest one throughout.
    pub fn inventory(&mut self, inventory: &Inventory) {
        for vm in inventory.vms.iter().filter(|vm| vm.vcpus > 0 && vm.memory_max.as_f64() > 0.0) {
            self.sizes.insert(vm.vm, Size { vcpus: f64::from(vm.vcpus), memory: vm.memory_max.as_f64() });
        }
    }

    /// Takes what one host reported.
    pub fn batch(&mut self, batch: &Batch) {
        batch.vms.iter().filter(|sample| sample.state == VmState::Running).for_each(|sample| self.sample(sample));
    }

    fn sample(&mut self, sample: &VmSample) {
        let slot = slot_of_sample(sample);
        let first = || Recorded { open: OpenSlot::new(slot), closed: Vec::new() };
        let recorded = self.vms.entry(sample.vm).or_insert_with(first);
        if slot < recorded.open.slot {
            self.late += 1;
            return;
        }
        if slot > recorded.open.slot {
            recorded.close();
            recorded.open = OpenSlot::new(slot);
        }
        recorded.open.take(sample);
    }

    /// Samples left out because a newer slot of their vm had begun: what one host kept back while another reported on.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// The histories, by uuid; a vm that was away for longer than a week has several, numbered from the second on. Vms whose size
    /// nobody told are left out, for there is nothing their figures are a share of.
    pub fn finish(self) -> Vec<History> {
        let Self { vms, sizes, .. } = self;
        let sized = vms.into_iter().filter_map(|(vm, recorded)| Some((vm, recorded, *sizes.get(&vm)?)));
        sized.flat_map(|(vm, recorded, size)| recorded.histories(vm, size)).collect()
    }
}

impl Recorded {
    fn close(&mut self) {
        self.closed.extend(self.open.close().map(|means| (self.open.slot, means)));
    }

    fn histories(mut self, vm: VmId, size: Size) -> Vec<History> {
        self.close();
        let stretches = self.closed.chunk_by(|(before, _), (slot, _)| slot - before <= GAP_MAX);
        let named = |number: usize| if number == 0 { vm.to_string() } else { format!("{vm}-{}", number + 1) };
        stretches.enumerate().map(|(number, stretch)| history(named(number), size, stretch)).collect()
    }
}

fn history(name: String, size: Size, stretch: &[(u32, Means)]) -> History {
    let first = stretch.first().map_or(0, |(slot, _)| *slot);
    let mut slots = Vec::with_capacity(stretch.len());
    for (slot, means) in stretch {
        slots.resize((slot - first) as usize, Observed::MISSING);
        slots.push(means.of(size));
    }
    History { name, shape: size.shape(), first, slots }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ballast_core::{
        history::slot_of,
        id::{BootId, HostId, Seq},
        sample::{HostSample, Reading},
        units::{Cores, Timestamp},
    };

    use super::*;

    const START: Timestamp = Timestamp::from_secs(1_769_385_600);

    fn at(minutes: u64) -> Timestamp {
        START.after(Duration::from_secs(60 * minutes))
    }

    fn batch(minutes: u64, cores: f64, state: VmState) -> Batch {
        let taken_at = at(minutes);
        let cpu_used = Reading::Measured(Cores(cores));
        let vms =
            vec![VmSample { vm: VmId(uuid::Uuid::from_u128(7)), taken_at, state, cpu_used, ..VmSample::default() }];
        let host = HostId::new("a").unwrap();
        Batch { host, boot: BootId::default(), seq: Seq(1), taken_at, sample: HostSample::default(), vms }
    }

    fn recorded(batches: &[Batch]) -> Vec<History> {
        let mut recording = Recording::default();
        recording.sizes.insert(VmId(uuid::Uuid::from_u128(7)), Size { vcpus: 2.0, memory: 1e9 });
        batches.iter().for_each(|batch| recording.batch(batch));
        recording.finish()
    }

    #[test]
    fn a_slot_is_the_mean_of_its_samples_and_silence_is_a_gap() {
        let running = |minutes, cores| batch(minutes, cores, VmState::Running);
        let all = recorded(&[running(1, 0.5), running(5, 1.5), running(12, 2.0)]);
        let cpu: Vec<f32> = all[0].slots.iter().map(|slot| slot.cpu).collect();
        assert_eq!((all.len(), all[0].first, cpu[0], cpu[1].is_nan(), cpu[2]), (1, slot_of(START), 0.5, true, 1.0));
        assert_eq!(all[0].shape.vcpus, Some(2.0));
    }

    #[test]
    fn a_vm_that_does_not_run_teaches_nothing() {
        assert_eq!(recorded(&[batch(0, 1.0, VmState::Incoming), batch(5, 1.0, VmState::Paused)]), []);
    }

    #[test]
    fn what_comes_after_a_newer_slot_is_left_out_and_counted() {
        let mut recording = Recording::default();
        [7, 2].iter().for_each(|minutes| recording.batch(&batch(*minutes, 1.0, VmState::Running)));
        assert_eq!(recording.late(), 1);
    }

    #[test]
    fn a_vm_of_unknown_size_has_no_history() {
        let mut recording = Recording::default();
        recording.batch(&batch(0, 1.0, VmState::Running));
        assert_eq!(recording.finish(), []);
    }

    #[test]
    fn a_vm_that_was_away_for_long_begins_a_new_history() {
        let all = recorded(&[batch(0, 1.0, VmState::Running), batch(9 * 24 * 60, 1.0, VmState::Running)]);
        let vm = VmId(uuid::Uuid::from_u128(7));
        let names: Vec<&str> = all.iter().map(|history| history.name.as_str()).collect();
        assert_eq!(names, [vm.to_string(), format!("{vm}-2")]);
    }
}
