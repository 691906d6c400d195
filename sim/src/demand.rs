//! What a vm wants at a moment: its recording, or the requests it answers, with the jitter that recordings leave out.
//!
//! Pure: the same scenario, seed and moment give the same demand. The world plays by it and the bounds look ahead in it.

use ballast_core::units::Cores;

use crate::{
    noise,
    scenario::{Between, Scenario, Service, Terms, VmSpec},
    trace::{Series, Slot},
};

/// Seconds between two knots of the jitter laid over the recording.
const JITTER_KNOT: f64 = 20.0;

/// What a vm wants at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Demand {
    /// Cores.
    pub cpu: f64,
    /// Memory in use, bytes.
    pub memory: f64,
    /// Storage read, bytes per second.
    pub disk_read: f64,
    /// Storage written, bytes per second.
    pub disk_write: f64,
    /// Network received, bytes per second.
    pub net_rx: f64,
    /// Network sent, bytes per second.
    pub net_tx: f64,
}

/// Where one vm's demand comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) spec: &'a VmSpec,
    pub(crate) series: &'a Series,
    pub(crate) service: Option<&'a Service>,
    /// Seed of this vm alone.
    pub(crate) seed: u64,
}

impl Scenario {
    /// What the vm with index `vm` wants `at` seconds after the start in the run with `seed`. It does not ask whether the vm
    /// has arrived or is gone.
    pub fn demand(&self, vm: usize, at: f64, seed: u64) -> Demand {
        let spec = &self.vms()[vm];
        let service = spec.service.map(|index| &**self.service(index));
        Source { spec, series: self.series(spec.series), service, seed: seed_of(spec, seed) }.at(at, self.terms())
    }
}

/// The seed of one vm in the run with `seed`: adding a vm leaves every other vm's day as it was.
pub(crate) fn seed_of(spec: &VmSpec, seed: u64) -> u64 {
    let (high, low) = spec.vm.0.as_u64_pair();
    noise::hash(seed, 17, high ^ low)
}

impl Source<'_> {
    /// The demand `at` seconds after the start of the scenario.
    pub(crate) fn at(&self, at: f64, terms: &Terms) -> Demand {
        let Self { spec, series, .. } = self;
        let position = at / series.slot.as_secs_f64();
        let share = if terms.between == Between::Hold { 0.0 } else { position - position.floor() };
        let before = self.slot(position);
        let after = if share > 0.0 { self.slot(position + 1.0) } else { before };
        let between = |a: f32, b: f32| f64::from(a) + (f64::from(b) - f64::from(a)) * share;
        let wanted = match self.service {
            Some(service) => requests(service, position).0 * requests(service, position).1,
            None => between(before.cpu, after.cpu) * spec.cpu_full.get(),
        };
        let cpu = if terms.jitter > 0.0 { wanted * (1.0 + terms.jitter * self.jitter(at)) } else { wanted };
        let memory = spec.memory_floor + (1.0 - spec.memory_floor) * between(before.memory, after.memory);
        Demand {
            cpu: cpu.clamp(0.0, self.ceiling().get()),
            memory: memory * spec.memory_max.as_f64(),
            disk_read: between(before.disk_read, after.disk_read),
            disk_write: between(before.disk_write, after.disk_write),
            net_rx: between(before.net_rx, after.net_rx),
            net_tx: between(before.net_tx, after.net_tx),
        }
    }

    /// CPU it can use at most.
    fn ceiling(&self) -> Cores {
        if self.service.is_some() { Cores(f64::from(self.spec.vcpus)) } else { self.spec.cpu_full }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Positions are small and not negative.
    fn slot(&self, position: f64) -> Slot {
        let slots = &self.series.slots;
        let index = self.spec.offset + position as usize;
        slots[if index < slots.len() { index } else { index % slots.len() }]
    }

    /// From -1 to 1, straight lines between knots.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Positions are small and not negative.
    fn jitter(&self, at: f64) -> f64 {
        let position = at / JITTER_KNOT;
        let knot = position as u64;
        let share = position - position.floor();
        let (before, after) = (noise::bump(self.seed, 1, knot), noise::bump(self.seed, 1, knot + 1));
        before + (after - before) * share
    }
}

/// Requests per second and core-seconds per request at a position in slots.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Positions are small and not negative.
pub(crate) fn requests(service: &Service, position: f64) -> (f64, f64) {
    let slot = position as usize % service.requests.len();
    (f64::from(service.requests[slot]), f64::from(service.work[slot]))
}
