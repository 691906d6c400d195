//! What the vms of a scenario want, period by period: the only place where the bounds read demand.
//!
//! A period is one step of the scenario where that is a minute or longer: demand is read at its beginning and held, as the
//! terms say. Where steps are shorter a period is one minute, and demand its mean over that minute, by straight lines between
//! looks every ten seconds (at both ends of the minute where nothing bends within one): exact for whatever runs straight
//! between them, as jitter and recordings do, and below it where a vm is cut off at its vCPUs. The fluid bound at the mean is
//! not above the mean of the fluid bounds, because its optimum is convex in demand and memory (Jensen).

use crate::scenario::{Scenario, VmSpec};

/// Shortest period, seconds.
const PERIOD_MIN: f64 = 60.0;

/// Time between two looks within a period, seconds.
const LOOK: f64 = 10.0;

/// What one vm wants in one period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Wish {
    /// Index of the vm.
    pub(super) vm: usize,
    /// Mean CPU over the period, cores; time in which the vm is not there counts as zero.
    pub(super) cores: f64,
    /// Highest CPU at any look, cores.
    pub(super) peak: f64,
    /// Memory set aside for it, bytes.
    pub(super) memory: f64,
    /// Share of the period in which it is there, above 0 and up to 1.
    pub(super) share: f64,
}

/// One period.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Period {
    /// When it begins, seconds from the start.
    pub(super) at: f64,
    /// How long it is, seconds.
    pub(super) seconds: f64,
    /// The vms that are there for some of it.
    pub(super) wishes: Vec<Wish>,
}

/// The periods of a scenario in the run with `seed`, one after the other.
pub(super) fn periods(scenario: &Scenario, seed: u64) -> impl Iterator<Item = Period> {
    let length = scenario.terms().step.as_secs_f64().max(PERIOD_MIN);
    let end = scenario.duration().as_secs_f64();
    let looks = Looks { scenario, seed, spacing: spacing(scenario) };
    let begins = (0u32..).map(move |number| f64::from(number) * length).take_while(move |at| *at < end);
    begins.map(move |at| looks.period(at, length.min(end - at)))
}

/// Time between two looks; `None` where demand is held over the whole period.
fn spacing(scenario: &Scenario) -> Option<f64> {
    let terms = scenario.terms();
    if terms.step.as_secs_f64() >= PERIOD_MIN {
        return None;
    }
    let is_straight = |vm: &VmSpec| {
        let slot = scenario.series(vm.series).slot.as_secs_f64();
        vm.service.is_none() && slot % PERIOD_MIN == 0.0
    };
    let bends = terms.jitter > 0.0 || !scenario.vms().iter().all(is_straight);
    Some(if bends { LOOK } else { PERIOD_MIN })
}

#[derive(Debug, Clone, Copy)]
struct Looks<'a> {
    scenario: &'a Scenario,
    seed: u64,
    spacing: Option<f64>,
}

impl Looks<'_> {
    fn period(&self, at: f64, seconds: f64) -> Period {
        let looks = self.looks(at, seconds);
        let wishes = (0..self.scenario.vms().len()).filter_map(|vm| self.wish(vm, &looks)).collect();
        Period { at, seconds, wishes }
    }

    /// The moments of a period at which demand is read, each with the weight it stands for.
    fn looks(&self, at: f64, seconds: f64) -> Vec<(f64, f64)> {
        let Some(spacing) = self.spacing else { return vec![(at, 1.0)] };
        let gaps = (seconds / spacing).ceil().max(1.0);
        let ends = (0u32..).map(f64::from).take_while(|look| *look <= gaps);
        ends.map(|look| (at + seconds * look / gaps, if look == 0.0 || look == gaps { 0.5 } else { 1.0 })).collect()
    }

    fn wish(&self, vm: usize, looks: &[(f64, f64)]) -> Option<Wish> {
        let spec = &self.scenario.vms()[vm];
        let (arrives, departs) = (spec.arrives.as_secs_f64(), spec.departs.map(|departs| departs.as_secs_f64()));
        let (mut there, mut sum, mut peak) = (0.0, 0.0, 0.0f64);
        for (look, weight) in
            looks.iter().filter(|(at, _)| arrives <= *at && departs.is_none_or(|departs| *at < departs))
        {
            let cores = self.scenario.demand(vm, *look, self.seed).cpu;
            there += weight;
            sum += weight * cores;
            peak = peak.max(cores);
        }
        let whole: f64 = looks.iter().map(|(_, weight)| weight).sum();
        let wish = Wish { vm, cores: sum / whole, peak, memory: spec.memory_max.as_f64(), share: there / whole };
        (there > 0.0).then_some(wish)
    }
}
