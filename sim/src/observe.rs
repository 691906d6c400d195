//! What can be seen of the fleet from outside: what the agent's drivers read, and what a live view shows.

use std::{collections::BTreeSet, time::Duration};

use ballast_core::{
    command::Progress,
    counters::VmCounters,
    id::{BootId, HostId, VmId},
    inventory::{Inventory, SleepSupport, VmRecord},
    sample::{Pressure, Reading, VmState},
    snapshot::HostPower,
    units::{Bytes, Cores, Joules, Ratio, Watts},
};

use crate::{error::SimError, noise, vm::Vm, world::World};

/// Memory the host itself uses.
const OWN_MEMORY: Bytes = Bytes::from_gib(2);

/// How long a host had been up when the scenario began.
const UP_BEFORE: Duration = Duration::from_hours(24);

/// Where a vm is, as one host can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// Here, in this state; `migrating` while a migration moves it out of this host.
    Here {
        /// What it is doing.
        state: VmState,
        /// Whether it is on its way out.
        migrating: bool,
    },
    /// Not here.
    NotHere,
}

/// A host's own figures.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct HostReading {
    /// CPU in use, mean since the reading before.
    pub cpu_used: Cores,
    /// Memory in use.
    pub memory_used: Bytes,
    /// Power, mean since the reading before, with a meter's error of up to 1 %.
    pub power: Watts,
    /// Energy since the start, as a meter counts it.
    pub energy: Joules,
    /// Pressure stall information.
    pub pressure: Pressure,
}

/// One host for a live view.
#[derive(Debug, Clone, PartialEq)]
pub struct HostStatus {
    /// Which host.
    pub host: HostId,
    /// Its hardware, for people.
    pub hardware: String,
    /// Its power state.
    pub power: HostPower,
    /// CPU it has.
    pub cpu_capacity: Cores,
    /// CPU in use.
    pub cpu_used: Cores,
    /// CPU wanted; above capacity where it is overloaded.
    pub cpu_wanted: Cores,
    /// Memory it has.
    pub memory_capacity: Bytes,
    /// Memory promised to vms.
    pub memory_reserved: Bytes,
    /// Vms on it.
    pub vms: usize,
    /// Power.
    pub watts: Watts,
}

/// One migration for a live view.
#[derive(Debug, Clone, PartialEq)]
pub struct FlightStatus {
    /// Which vm.
    pub vm: VmId,
    /// Its name.
    pub name: String,
    /// Where from.
    pub source: HostId,
    /// Where to.
    pub destination: HostId,
    /// How far.
    pub progress: Progress,
}

impl World {
    /// Everything slow-changing of a host, as a complete inventory. It keeps its boot through every sleep, as a host that
    /// suspends to RAM does.
    ///
    /// # Errors
    /// [`SimError`] where the host is unknown, asleep or does not answer.
    pub fn facts(&self, host: &HostId) -> Result<Inventory, SimError> {
        let index = self.answering(host)?;
        let spec = &self.hosts[index].spec;
        let mut vms: Vec<VmRecord> = self.vms_on(index).map(|vm| self.record(vm)).collect();
        vms.extend(self.incoming(index));
        vms.sort_by_key(|record| record.vm);
        Ok(Inventory {
            host: host.clone(),
            boot: self.boot(host),
            taken_at: self.now(),
            up_for: self.up_for(host),
            complete: true,
            hypervisor: "ballast-sim".into(),
            cpu_capacity: spec.cpu_capacity,
            memory_capacity: spec.memory_capacity,
            cpu_model: spec.cpu_model.clone(),
            cpu_models: spec.cpu_models.clone(),
            networks: spec.networks.clone(),
            storages: spec.storages.clone(),
            migration_uri: migration_uri(host),
            migration_bandwidth: spec.migration_bandwidth,
            power: spec.power.clone(),
            sleep: SleepSupport::Suspend,
            wake_address: Some(wake_address(index)),
            fault_domain: spec.fault_domain.clone(),
            site: spec.site.clone(),
            vms,
        })
    }

    /// The boot of a host.
    pub fn boot(&self, host: &HostId) -> BootId {
        let name = host.as_str().bytes().fold(0, |hash, byte| noise::hash(hash, u64::from(byte), 0));
        let boots = self.host(host).map_or(0, |index| self.hosts[index].boots);
        BootId(crate::scenario::uuid(self.seed, 1, if boots == 0 { name } else { noise::hash(name, boots, 0) }))
    }

    /// How long a host has been up, sleeps in between included; a day more than the scenario where it never lost its power.
    pub fn up_for(&self, host: &HostId) -> Duration {
        let since = self.host(host).ok().and_then(|host| self.hosts[host].up_since);
        since.map_or_else(|| self.now().since(self.start()) + UP_BEFORE, |since| self.now().since(since))
    }

    fn record(&self, vm: &Vm) -> VmRecord {
        let busy = self.active(vm.spec.vm).is_some();
        vm.spec.record(vm.state(), busy)
    }

    /// Vms on their way to a host: defined there, not running there.
    fn incoming(&self, host: usize) -> impl Iterator<Item = VmRecord> {
        let arriving = self.flights_at(host).filter(move |flight| flight.destination == host && !flight.has_arrived());
        let vms = arriving.filter_map(|flight| self.vm(flight.vm).ok());
        vms.map(|index| self.vms[index].spec.record(VmState::Incoming, true))
    }

    /// Counters of every vm that runs on a host, those that migrate away included.
    ///
    /// # Errors
    /// [`SimError`] where the host is unknown, asleep or does not answer.
    pub fn counters(&self, host: &HostId) -> Result<Vec<VmCounters>, SimError> {
        let index = self.answering(host)?;
        let span = self.now().since(self.hosts[index].since);
        Ok(self.vms_on(index).map(|vm| vm.counters(self.now(), span)).collect())
    }

    /// The host's own figures, which do not need its hypervisor. Means are since the reading before, so there is one reader
    /// per host.
    ///
    /// # Errors
    /// [`SimError`] where the host is unknown or not awake.
    pub fn host_reading(&mut self, host: &HostId) -> Result<HostReading, SimError> {
        let index = self.host(host)?;
        self.hosts[index].require(HostPower::Awake)?;
        let resident: Bytes = self.vms_on(index).map(Vm::resident).sum();
        let (now, seed) = (self.now(), self.seed);
        let host = &mut self.hosts[index];
        let (core_seconds, joules, since) = host.read_before;
        let span = now.since(since).as_secs_f64();
        let (counted, energy, stall) = host.counted(now.since(host.since).as_secs_f64());
        let (mut cpu_used, mut power) = (host.load.used, host.watts.get());
        if span > 0.0 {
            (cpu_used, power) = ((counted - core_seconds) / span, (energy - joules) / span);
        }
        host.read_before = (counted, energy, now);
        let power = host.meter_stuck_at.map_or(power, ballast_core::units::Watts::get);
        let error = 1.0 + 0.01 * noise::bump(seed, index as u64, now.nanos());
        Ok(HostReading {
            cpu_used: Cores(cpu_used),
            memory_used: (resident + OWN_MEMORY).min(host.spec.memory_capacity),
            power: Watts(power * error),
            energy: Joules(energy),
            pressure: pressure(stall),
        })
    }

    /// Where a vm is, as `host` can tell.
    ///
    /// # Errors
    /// [`SimError`] where the host is unknown, asleep or does not answer.
    pub fn locate(&self, host: &HostId, vm: VmId) -> Result<Location, SimError> {
        let index = self.answering(host)?;
        let Ok(found) = self.vm(vm) else { return Ok(Location::NotHere) };
        let flight = self.active(vm);
        if self.vms[found].host() == Some(index) {
            return Ok(Location::Here { state: self.vms[found].state(), migrating: flight.is_some() });
        }
        let arriving = flight.is_some_and(|flight| flight.destination == index);
        Ok(if arriving { Location::Here { state: VmState::Incoming, migrating: false } } else { Location::NotHere })
    }

    /// How far the migration of a vm out of `source` is; `None` where none is under way.
    pub fn migration_progress(&self, source: &HostId, vm: VmId) -> Option<Progress> {
        let from = self.host(source).ok()?;
        self.active(vm).filter(|flight| flight.source == from).map(|flight| flight.progress(self.now()))
    }

    /// The power state of a host.
    ///
    /// # Errors
    /// [`SimError::UnknownHost`].
    pub fn host_power(&self, host: &HostId) -> Result<HostPower, SimError> {
        self.host(host).map(|index| self.hosts[index].power)
    }

    /// Every host's name, in order.
    pub fn host_ids(&self) -> Vec<HostId> {
        self.hosts.iter().map(|host| host.spec.host.clone()).collect()
    }

    /// Every host that is awake, in order.
    pub fn awake_hosts(&self) -> Vec<HostId> {
        let awake = self.hosts.iter().filter(|host| host.power == HostPower::Awake);
        awake.map(|host| host.spec.host.clone()).collect()
    }

    /// The host that a migration URI names.
    pub fn host_at(&self, uri: &str) -> Option<HostId> {
        self.hosts.iter().map(|host| &host.spec.host).find(|host| migration_uri(host) == uri).cloned()
    }

    /// Every host, for a live view.
    pub fn overview(&self) -> Vec<HostStatus> {
        (0..self.hosts.len()).map(|index| self.status(index)).collect()
    }

    fn status(&self, index: usize) -> HostStatus {
        let host = &self.hosts[index];
        HostStatus {
            host: host.spec.host.clone(),
            hardware: host.spec.hardware.clone(),
            power: host.power,
            cpu_capacity: host.spec.cpu_capacity,
            cpu_used: Cores(host.load.used),
            cpu_wanted: Cores(host.load.wanted),
            memory_capacity: host.spec.memory_capacity,
            memory_reserved: self.memory_reserved(index),
            vms: self.residents[index].len(),
            watts: host.watts,
        }
    }

    /// True while any vm is being moved.
    pub fn is_anything_moving(&self) -> bool {
        self.active_flights().next().is_some()
    }

    /// Every migration under way, for a live view.
    pub fn flights(&self) -> Vec<FlightStatus> {
        let name = |vm: VmId| self.vm(vm).map(|index| self.vms[index].spec.name.clone()).unwrap_or_default();
        self.active_flights()
            .map(|flight| FlightStatus {
                vm: flight.vm,
                name: name(flight.vm),
                source: self.hosts[flight.source].spec.host.clone(),
                destination: self.hosts[flight.destination].spec.host.clone(),
                progress: flight.progress(self.now()),
            })
            .collect()
    }

    /// The name of a vm, for people.
    pub fn vm_name(&self, vm: VmId) -> Option<&str> {
        self.vm(vm).ok().map(|index| self.vms[index].spec.name.as_str())
    }

    /// Hosts on which a vm runs or is paused: always exactly one.
    pub fn running_on(&self, vm: VmId) -> BTreeSet<HostId> {
        let here = self.vms.iter().filter(|candidate| candidate.spec.vm == vm);
        here.filter_map(|vm| Some(self.hosts[vm.host()?].spec.host.clone())).collect()
    }
}

/// How a host is reached for migrations.
pub fn migration_uri(host: &HostId) -> String {
    format!("simulated://{host}/")
}

fn wake_address(index: usize) -> String {
    let bytes = (index as u64).to_be_bytes();
    format!("02:ba:11:{:02x}:{:02x}:{:02x}", bytes[5], bytes[6], bytes[7])
}

/// The simulated host runs out of CPU only; memory is never over-committed and storage is not modelled.
fn pressure(cpu: f64) -> Pressure {
    let none = Reading::Measured(Ratio::ZERO);
    Pressure {
        cpu_some: Reading::Measured(Ratio(cpu)),
        memory_some: none,
        memory_full: none,
        io_some: none,
        io_full: none,
    }
}
