//! A fleet as the bounds see it: classes of equal hosts, each with its convex power, and how many of each there are.
//!
//! Ten thousand hosts of three kinds are three classes; the bounds never look at a single host.

use ballast_core::{power::PowerCurve, units::count};

use crate::scenario::{FaultKind, HostSpec, Scenario};

/// CPU that can be had at one price.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Piece {
    /// How much, cores.
    pub(super) cores: f64,
    /// What each costs, watts.
    pub(super) watts_per_core: f64,
}

/// Hosts that are all alike.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Class {
    /// CPU that vms may use on each, cores: what the host uses itself is taken off.
    pub(super) cores: f64,
    /// Memory of each, bytes.
    pub(super) memory: f64,
    /// Power of an awake host without vms beyond that of a sleeping one, watts.
    pub(super) idle: f64,
    /// Power of a sleeping host, watts.
    pub(super) asleep: f64,
    /// What CPU costs on an awake host, cheapest first; together `cores`.
    pub(super) pieces: Vec<Piece>,
}

/// The classes of a scenario, and which host is of which.
#[derive(Debug, Clone)]
pub(super) struct Classes {
    /// In the order in which the scenario first names a host of each.
    pub(super) all: Vec<Class>,
    /// Index into `all`, by host.
    pub(super) of_host: Vec<usize>,
}

impl Classes {
    /// Sorts the hosts of a scenario into classes.
    pub(super) fn of(scenario: &Scenario) -> Self {
        let own = scenario.terms().own_cores.get();
        let mut models: Vec<&HostSpec> = Vec::new();
        let mut of_host = Vec::with_capacity(scenario.hosts().len());
        for host in scenario.hosts() {
            let class = models.iter().position(|model| is_alike(model, host)).unwrap_or(models.len());
            if class == models.len() {
                models.push(host);
            }
            of_host.push(class);
        }
        Self { all: models.into_iter().map(|model| class(model, own)).collect(), of_host }
    }

    /// How many hosts of each class there are `at` seconds after the start; those that lost their power do not count.
    pub(super) fn counts(&self, scenario: &Scenario, at: f64) -> Vec<f64> {
        let mut counts = vec![0.0; self.all.len()];
        for (class, so_far) in counts.iter_mut().enumerate() {
            *so_far = count(self.of_host.iter().filter(|of| **of == class).count());
        }
        for host in lost(scenario, at) {
            counts[self.of_host[host]] -= 1.0;
        }
        counts
    }
}

/// The hosts without power `at` seconds after the start, each once.
pub(super) fn lost(scenario: &Scenario, at: f64) -> Vec<usize> {
    let faults = scenario.terms().faults.iter().filter(|fault| {
        let mended = fault.until.is_some_and(|until| until.as_secs_f64() <= at);
        fault.what == FaultKind::Lost && fault.at.as_secs_f64() <= at && !mended
    });
    let mut hosts: Vec<usize> = faults.map(|fault| fault.host).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}

fn is_alike(a: &HostSpec, b: &HostSpec) -> bool {
    (a.cpu_capacity, a.memory_capacity) == (b.cpu_capacity, b.memory_capacity) && a.power == b.power
}

fn class(spec: &HostSpec, own_cores: f64) -> Class {
    let capacity = spec.cpu_capacity.get();
    let hull = spec.power.lower_hull_from(least_load(capacity, own_cores));
    let piece = |segment: &ballast_core::power::HullSegment| Piece {
        cores: (segment.to - segment.from) * capacity,
        watts_per_core: segment.slope / capacity,
    };
    let asleep = spec.power.asleep().get();
    Class {
        cores: (capacity - own_cores).max(0.0),
        memory: spec.memory_capacity.as_f64(),
        idle: hull.least().get() - asleep,
        asleep,
        pieces: if capacity > 0.0 { hull.segments().iter().map(piece).collect() } else { Vec::new() },
    }
}

/// Share of its CPU that an awake host uses itself.
fn least_load(capacity: f64, own_cores: f64) -> f64 {
    if capacity > own_cores { own_cores / capacity } else { 1.0 }
}

/// Power of an awake host with `cores` wanted by vms, by its own curve and not the hull, watts.
pub(super) fn watts(curve: &PowerCurve, capacity: f64, own_cores: f64, cores: f64) -> f64 {
    curve.at((own_cores + cores) / capacity).get()
}
