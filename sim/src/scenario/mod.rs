//! Which hosts there are, which vms, what each vm replays and where it runs when nobody moves it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ballast_core::{
    id::HostId,
    power::PowerCurve,
    units::{Bytes, Cores, Timestamp},
};
use thiserror::Error;
use uuid::Uuid;

pub mod file;
mod parts;

pub(crate) use parts::COMMON_CPU;
pub use parts::{Between, Fault, FaultKind, HostSpec, Service, Terms, VmSpec, Writes};

use crate::{
    noise,
    placement::{self, Recordings},
    trace::{Series, TraceError},
};

/// Why a scenario makes no sense.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum InvalidScenario {
    /// A number is out of its range.
    #[error("{field} = {value}: {expected}")]
    Range {
        /// Which number.
        field: &'static str,
        /// What was given.
        value: usize,
        /// What would have been accepted.
        expected: &'static str,
    },
    /// The vms do not fit into the hosts' memory.
    #[error("{vms} vms do not fit into the memory of {hosts} hosts: vm {placed} found no room")]
    NoRoom {
        /// How many hosts.
        hosts: usize,
        /// How many vms.
        vms: usize,
        /// The first that found no room, from 1.
        placed: usize,
    },
    /// A recording is damaged.
    #[error(transparent)]
    Trace(#[from] TraceError),
}

/// How large a made-up fleet is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FleetSize {
    /// Number of hosts, 1 to 10,000.
    pub hosts: usize,
    /// Number of vms, 1 to 300,000.
    pub vms: usize,
    /// How long it is to run.
    pub duration: Duration,
}

impl Default for FleetSize {
    /// A dozen hosts for twelve hours.
    fn default() -> Self {
        Self { hosts: 12, vms: 120, duration: Duration::from_secs(12 * 3600) }
    }
}

/// A fleet at its start and what its vms will want.
#[derive(Debug, Clone)]
pub struct Scenario {
    start: Timestamp,
    duration: Duration,
    hosts: Vec<HostSpec>,
    vms: Vec<VmSpec>,
    series: Vec<Arc<Series>>,
    services: Vec<Arc<Service>>,
    terms: Terms,
}

/// Morning of the first day of the Bitbrains cut, so that the hours of the recordings keep their meaning.
const START: Timestamp = Timestamp::from_secs(1_375_653_600 + 8 * 3600);

impl Scenario {
    /// A fleet from its parts.
    ///
    /// # Errors
    /// [`InvalidScenario`] where there is no host, or a vm names a host or series that is not there.
    pub fn new(
        start: Timestamp,
        duration: Duration,
        hosts: Vec<HostSpec>,
        vms: Vec<VmSpec>,
        series: Vec<Arc<Series>>,
    ) -> Result<Self, InvalidScenario> {
        in_range("hosts", hosts.len(), 1, 10_000, "1 to 10000 are needed")?;
        for vm in &vms {
            in_range("home", vm.home.unwrap_or(0), 0, hosts.len() - 1, "an index of a host is needed")?;
            in_range("series", vm.series, 0, series.len().saturating_sub(1), "an index of a series is needed")?;
        }
        if let Some(empty) = series.iter().position(|series| series.slots.is_empty()) {
            in_range("slots of series", empty, 1, 0, "series of at least one slot are needed")?;
        }
        Ok(Self { start, duration, hosts, vms, series, services: Vec::new(), terms: Terms::default() })
    }

    /// The same fleet on other terms.
    ///
    /// # Errors
    /// [`InvalidScenario`] where a fault names a host that is not there, or the step is zero.
    pub fn with_terms(mut self, terms: Terms) -> Result<Self, InvalidScenario> {
        for fault in &terms.faults {
            in_range("host of a fault", fault.host, 0, self.hosts.len() - 1, "an index of a host is needed")?;
        }
        let step = usize::try_from(terms.step.as_millis()).unwrap_or(usize::MAX);
        in_range("step in milliseconds", step, 100, 86_400_000, "100 to 86400000 are needed")?;
        self.terms = terms;
        Ok(self)
    }

    /// The same fleet with services: what their requests want in place of what a series says.
    ///
    /// # Errors
    /// [`InvalidScenario`] where a vm names a service that is not there, or one is empty.
    pub fn with_services(mut self, services: Vec<Arc<Service>>) -> Result<Self, InvalidScenario> {
        for vm in self.vms.iter().filter_map(|vm| vm.service) {
            in_range("service", vm, 0, services.len().saturating_sub(1), "an index of a service is needed")?;
        }
        for service in &services {
            in_range("slots of a service", service.requests.len(), 1, service.work.len(), "as many slots of work")?;
        }
        self.services = services;
        Ok(self)
    }

    /// A made-up fleet that replays the recordings of the repository; [`crate::placement`] says how its vms are laid out.
    ///
    /// # Errors
    /// [`InvalidScenario`] where a size is out of its range or the vms find no room.
    pub fn fleet(size: FleetSize, seed: u64) -> Result<Self, InvalidScenario> {
        in_range("hosts", size.hosts, 1, 10_000, "1 to 10000 are needed")?;
        in_range("vms", size.vms, 1, 300_000, "1 to 300000 are needed")?;
        let hosts: Vec<HostSpec> = (0..size.hosts).map(host).collect();
        let recordings = Recordings::shipped()?;
        let vms = placement::vms(&hosts, size, &recordings, seed)?;
        Self::new(START, size.duration, hosts, vms, recordings.series)
    }

    /// When it begins.
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// How long it runs.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// When it ends.
    pub fn end(&self) -> Timestamp {
        self.start.after(self.duration)
    }

    /// Its hosts.
    pub fn hosts(&self) -> &[HostSpec] {
        &self.hosts
    }

    /// Its vms.
    pub fn vms(&self) -> &[VmSpec] {
        &self.vms
    }

    /// The terms time passes on.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// What its vms replay, by the index in [`VmSpec::series`].
    pub fn series(&self, index: usize) -> &Arc<Series> {
        &self.series[index]
    }

    pub(crate) fn service(&self, index: usize) -> &Arc<Service> {
        &self.services[index]
    }
}

fn in_range(
    field: &'static str,
    value: usize,
    low: usize,
    high: usize,
    expected: &'static str,
) -> Result<(), InvalidScenario> {
    if (low..=high).contains(&value) { Ok(()) } else { Err(InvalidScenario::Range { field, value, expected }) }
}

/// A uuid of its own for every seed, kind and number.
pub(crate) fn uuid(seed: u64, kind: u64, number: u64) -> Uuid {
    let (high, low) = (noise::hash(seed, kind, number), noise::hash(seed ^ 1, kind, number));
    uuid::Builder::from_random_bytes((u128::from(high) << 64 | u128::from(low)).to_be_bytes()).into_uuid()
}

/// Every third host is an older Xeon, the others are EPYCs.
fn host(index: usize) -> HostSpec {
    let xeon = index % 3 == 2;
    let (hardware, cores, memory, power, cpu_model) = if xeon {
        ("2 x Xeon Platinum 8180", 56.0, 384, PowerCurve::xeon_platinum_8180(), "Skylake-Server")
    } else {
        ("EPYC 7742", 64.0, 512, PowerCurve::epyc_7742(), "EPYC-Rome")
    };
    #[allow(clippy::expect_used)] // The name is letters, a dash and digits.
    let host = HostId::new(&format!("host-{:02}", index + 1)).expect("a valid host name");
    HostSpec {
        hardware: hardware.into(),
        cpu_model: cpu_model.into(),
        cpu_models: BTreeSet::from([COMMON_CPU.into(), cpu_model.into()]),
        ..HostSpec::new(host, Cores(cores), Bytes::from_gib(memory), power)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_fleet() {
        let make = |seed| format!("{:?}", Scenario::fleet(FleetSize::default(), seed).unwrap().vms());
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
    }

    #[test]
    fn sizes_out_of_range_are_refused_by_name() {
        let none = FleetSize { hosts: 0, ..FleetSize::default() };
        let error = Scenario::fleet(none, 1).unwrap_err();
        assert_eq!(error.to_string(), "hosts = 0: 1 to 10000 are needed");
        let crowded = FleetSize { hosts: 1, vms: 1000, ..FleetSize::default() };
        assert!(matches!(Scenario::fleet(crowded, 1), Err(InvalidScenario::NoRoom { .. })));
    }
}
