//! Takes a sample of host and vms at every beat and puts it into the spool.
//!
//! One task runs [`Sampler::run`]. The host is read beside the hypervisor, which has half a period to answer: a stuck
//! hypervisor costs the vms' figures of that beat and nothing else. A vm that could not be read is sent with its state
//! and without values; nothing is made up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ballast_core::{
    counters::VmCounters,
    id::{HostId, Seq, VmId},
    inventory::Inventory,
    power::PowerCurve,
    rates,
    sample::{AgentHealth, Batch, HostSample, PowerSource, Pressure, Reading, VmSample, VmState},
    units::{Cores, Timestamp, Watts},
};
use ballast_daemon::clock::Clock;
use tokio::sync::watch;

use crate::{
    config::{Config, CpuAccounting},
    host::{Host, HostReading},
    hypervisor::Hypervisor,
    inventory::{Published, Refresh},
    power_state::{PowerState, reached},
    spool::Spool,
};

/// Counts beats, so that the watchdog can tell a live sampler from a dead one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beats(Arc<AtomicU64>);

impl Beats {
    /// Beats so far.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the sampler is given.
#[derive(Debug)]
pub(crate) struct Sampler<H, S> {
    pub(crate) config: Arc<Config>,
    pub(crate) hypervisor: Arc<H>,
    pub(crate) host: Arc<S>,
    pub(crate) clock: Clock,
    pub(crate) spool: Spool,
    pub(crate) inventory: Published,
    pub(crate) refresh: Refresh,
    pub(crate) period: watch::Receiver<Duration>,
    pub(crate) power: watch::Receiver<PowerState>,
    pub(crate) beats: Beats,
}

/// What is remembered from one beat to the next.
#[derive(Debug, Default)]
struct Memory {
    counters: BTreeMap<VmId, VmCounters>,
    late_ticks: u64,
    was_late: bool,
}

impl<H: Hypervisor, S: Host> Sampler<H, S> {
    /// Samples until the agent ends.
    pub(crate) async fn run(mut self) {
        let mut memory = Memory::default();
        let mut period = *self.period.borrow();
        let mut interval = self.clock.interval(period);
        loop {
            tokio::select! {
                biased;
                () = interval.tick() => {}
                Ok(()) = self.period.changed() => {
                    period = *self.period.borrow_and_update();
                    interval = self.clock.interval(period);
                    continue;
                }
            }
            self.beats.beat();
            if *self.power.borrow() == PowerState::Asleep {
                reached(&mut self.power, PowerState::Awake).await;
                memory.counters.clear();
                interval = self.clock.interval(period);
                continue;
            }
            self.tick(&mut memory, period).await;
        }
    }

    async fn tick(&mut self, memory: &mut Memory, period: Duration) {
        let now = self.clock.now();
        let deadline = period / 2;
        let counters = self.clock.timeout(deadline, self.hypervisor.counters(deadline));
        let (reading, counters) = tokio::join!(self.host.read(), counters);
        let counters = counters.ok().and_then(Result::ok);
        self.note_lateness(memory, counters.is_some());
        let inventory = self.inventory.borrow().clone();
        if let (Some(read), Some(inventory)) = (&counters, &inventory)
            && shows_others(read, inventory.vms.iter().map(|record| record.vm).collect())
        {
            self.refresh.ask();
        }
        let vms = vm_samples(memory, counters.as_deref(), inventory.as_deref(), now);
        let connected = counters.is_some() && inventory.is_some_and(|inventory| inventory.complete);
        let read_vms = counters.is_some().then_some(vms.as_slice());
        let sample = host_sample(&self.config, &reading, read_vms, self.health(memory, &reading, connected));
        let batch = assemble(self.config.host_id.clone(), &self.spool, now, sample, vms);
        tracing::debug!(host = %batch.host, vms = batch.vms.len(), "Sampled");
        // A disk that hangs here delays this beat, not the link or a command.
        self.spool.push(batch, now).await;
    }

    fn note_lateness(&self, memory: &mut Memory, answered: bool) {
        if answered {
            memory.was_late = false;
            return;
        }
        memory.late_ticks += 1;
        if *self.power.borrow() != PowerState::Awake {
            // A host that falls asleep has nothing to say of its vms, and none are on it.
            return;
        }
        if !std::mem::replace(&mut memory.was_late, true) {
            tracing::warn!("The hypervisor did not give the vms' counters in time");
            self.refresh.ask();
        }
    }

    fn health(&self, memory: &Memory, reading: &HostReading, connected: bool) -> AgentHealth {
        let (spooled, dropped) = self.spool.backlog().with(|ring| (ring.len() as u64, ring.dropped()));
        AgentHealth {
            resident: reading.agent_resident,
            cpu_used: reading.agent_cpu,
            spooled,
            dropped,
            late_ticks: memory.late_ticks,
            hypervisor_connected: connected,
        }
    }
}

fn assemble(host: HostId, spool: &Spool, taken_at: Timestamp, sample: HostSample, vms: Vec<VmSample>) -> Batch {
    // The spool numbers it.
    Batch { host, boot: spool.boot(), seq: Seq::default(), taken_at, sample, vms }
}

/// Whether a vm is here that the inventory does not list: somebody started it, and its event was lost or is on the way.
fn shows_others(read: &[VmCounters], listed: BTreeSet<VmId>) -> bool {
    read.iter().any(|counters| !listed.contains(&counters.vm))
}

/// Figures of the vms that were read, and a mention of every other that is known to be here.
fn vm_samples(
    memory: &mut Memory,
    counters: Option<&[VmCounters]>,
    inventory: Option<&Inventory>,
    now: Timestamp,
) -> Vec<VmSample> {
    let mut samples: BTreeMap<VmId, VmSample> = unread(inventory, now);
    for read in counters.unwrap_or_default() {
        let before = memory.counters.insert(read.vm, *read);
        samples.insert(read.vm, rates::vm_sample(before.as_ref(), read));
    }
    if counters.is_some() {
        memory.counters.retain(|vm, _| samples.contains_key(vm));
    }
    samples.into_values().collect()
}

fn unread(inventory: Option<&Inventory>, now: Timestamp) -> BTreeMap<VmId, VmSample> {
    let vms = inventory.map(|inventory| inventory.vms.as_slice()).unwrap_or_default();
    let in_memory = |state| matches!(state, VmState::Running | VmState::Paused | VmState::Incoming | VmState::Unknown);
    let present = vms.iter().filter(|record| in_memory(record.state));
    present
        .map(|record| {
            (record.vm, VmSample { vm: record.vm, taken_at: now, state: record.state, ..VmSample::default() })
        })
        .collect()
}

/// The host's figures; `vms` is `None` where the hypervisor did not answer.
fn host_sample(config: &Config, reading: &HostReading, vms: Option<&[VmSample]>, agent: AgentHealth) -> HostSample {
    // On a shared machine memory and pressure are the whole machine's as well, and nothing of them is this host's.
    let (cpu_used, memory_used, pressure) = match config.host.cpu_accounting {
        CpuAccounting::Host => (reading.cpu_used, reading.memory_used, reading.pressure),
        CpuAccounting::Vms => (
            vms.map_or(Reading::Missing, |vms| sum_of(vms, |vm| vm.cpu_used.value())),
            vms.map_or(Reading::Missing, |vms| sum_of(vms, |vm| vm.memory_balloon.value())),
            Pressure::default(),
        ),
    };
    let (power, power_source) = power(reading, cpu_used, config.host.cpu_capacity, &config.power.curve);
    HostSample {
        cpu_capacity: config.host.cpu_capacity,
        cpu_used,
        memory_capacity: config.host.memory_capacity,
        memory_used,
        power,
        power_source,
        pressure,
        agent,
    }
}

/// CPU of all vms; missing as soon as one running vm's is, for a part of the sum would look like a lighter load.
fn sum_of<T: Copy + std::iter::Sum>(vms: &[VmSample], of: impl Fn(&VmSample) -> Option<T>) -> Reading<T> {
    let running = vms.iter().filter(|vm| vm.state == VmState::Running);
    let total: Option<T> = running.map(of).sum();
    Reading::measured(total)
}

/// The meter's figure, else the curve's at the CPU utilisation.
fn power(
    reading: &HostReading,
    cpu_used: Reading<Cores>,
    capacity: Cores,
    curve: &PowerCurve,
) -> (Reading<Watts>, PowerSource) {
    if !reading.power.is_missing() {
        return (reading.power, reading.power_source);
    }
    let estimate =
        cpu_used.value().map_or(Reading::Missing, |used| Reading::Estimated(curve.at(used.ratio_of(capacity))));
    (estimate, PowerSource::Curve)
}

#[cfg(test)]
mod tests {
    use ballast_core::units::{Bytes, Ratio};

    use super::*;

    fn config(cpu_accounting: CpuAccounting) -> Config {
        let host = HostId::new("a").unwrap();
        let capacity = (Cores(10.0), Bytes::from_gib(64));
        let mut config = Config::embedded(host, String::new(), "x".into(), capacity, PowerCurve::epyc_7742());
        config.host.cpu_accounting = cpu_accounting;
        config
    }

    fn vm(state: VmState, cpu: Option<f64>) -> VmSample {
        VmSample { state, cpu_used: Reading::measured(cpu.map(Cores)), ..VmSample::default() }
    }

    #[test]
    fn a_vm_that_is_read_and_not_listed_shows_that_the_inventory_is_old() {
        let vm = |number| VmId(uuid::Uuid::from_u128(number));
        let read = [1, 2].map(|number| VmCounters { vm: vm(number), ..VmCounters::default() });
        assert!(shows_others(&read, BTreeSet::from([vm(1)])));
        assert!(
            !shows_others(&read, BTreeSet::from([vm(1), vm(2), vm(3)])),
            "one that is listed and not read may be slow"
        );
        assert!(!shows_others(&[], BTreeSet::from([vm(1)])));
    }

    #[test]
    fn without_a_meter_power_is_estimated_and_says_so() {
        let reading = HostReading { cpu_used: Reading::Measured(Cores(5.0)), ..HostReading::default() };
        let sample = host_sample(&config(CpuAccounting::Host), &reading, Some(&[]), AgentHealth::default());
        assert_eq!((sample.power, sample.power_source), (Reading::Estimated(Watts(149.0)), PowerSource::Curve));
    }

    #[test]
    fn a_load_that_is_not_known_gives_no_power_either() {
        let sample =
            host_sample(&config(CpuAccounting::Host), &HostReading::default(), Some(&[]), AgentHealth::default());
        assert!(sample.power.is_missing() && sample.cpu_used.is_missing());
    }

    #[test]
    fn a_meter_outweighs_the_curve() {
        let reading = HostReading {
            power: Reading::Measured(Watts(99.0)),
            power_source: PowerSource::Rapl,
            ..HostReading::default()
        };
        let sample = host_sample(&config(CpuAccounting::Host), &reading, Some(&[]), AgentHealth::default());
        assert_eq!((sample.power, sample.power_source), (Reading::Measured(Watts(99.0)), PowerSource::Rapl));
    }

    #[test]
    fn the_sum_of_vms_is_missing_when_one_running_vm_is() {
        let reading = HostReading { cpu_used: Reading::Measured(Cores(9.0)), ..HostReading::default() };
        let check = |vms: Option<&[VmSample]>, expected| {
            let sample = host_sample(&config(CpuAccounting::Vms), &reading, vms, AgentHealth::default());
            assert_eq!(sample.cpu_used, expected);
        };
        let two = [vm(VmState::Running, Some(1.5)), vm(VmState::Running, Some(0.5)), vm(VmState::Incoming, None)];
        check(Some(&two), Reading::Measured(Cores(2.0)));
        check(Some(&[vm(VmState::Running, Some(1.5)), vm(VmState::Running, None)]), Reading::Missing);
        check(Some(&[]), Reading::Measured(Cores(0.0)));
        check(None, Reading::Missing);
    }

    #[test]
    fn what_is_the_shared_machines_is_not_the_hosts() {
        let reading = HostReading {
            memory_used: Reading::Measured(Bytes::from_gib(60)),
            pressure: Pressure { cpu_some: Reading::Measured(Ratio(0.9)), ..Pressure::default() },
            ..HostReading::default()
        };
        let held =
            VmSample { memory_balloon: Reading::Measured(Bytes::from_gib(1)), ..vm(VmState::Running, Some(1.0)) };
        let sample = host_sample(&config(CpuAccounting::Vms), &reading, Some(&[held, held]), AgentHealth::default());
        assert_eq!(sample.memory_used, Reading::Measured(Bytes::from_gib(2)));
        assert_eq!(sample.pressure, Pressure::default());
    }
}
