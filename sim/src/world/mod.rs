//! The fleet itself: time passes from event to event, orders take effect at the moment they are given.
//!
//! Between two events every rate is constant, so everything is counted exactly. Events are the looks at demand (every
//! [`crate::scenario::Terms::step`]), the phases of migrations, sleep and wake, vms that come and go, and faults. How often
//! it is asked for the time in between changes nothing, not the last bit.

mod agenda;
mod carry;
mod faults;
mod migrate;
mod population;
mod power;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ballast_core::{
    id::{HostId, VmId},
    units::{Bytes, Cores, Joules, Timestamp},
};

use self::agenda::{Agenda, Due};
use crate::{
    error::SimError,
    flight::Flight,
    host::Host,
    ledger::{Ledger, Tally},
    scenario::{Scenario, Terms},
    vm::Vm,
};

/// A fleet that moves in time.
#[derive(Debug, Clone)]
pub struct World {
    start: Timestamp,
    now: Timestamp,
    pub(crate) seed: u64,
    terms: Terms,
    pub(crate) hosts: Vec<Host>,
    pub(crate) vms: Vec<Vm>,
    host_index: BTreeMap<HostId, usize>,
    vm_index: BTreeMap<VmId, usize>,
    /// By host, the vms that run on it, in rising order: asking one host must not cost a look at every vm of the fleet.
    pub(crate) residents: Vec<BTreeSet<usize>>,
    /// The newest migration of each vm, under way or over, by the index of the vm.
    flights: BTreeMap<usize, Flight>,
    /// Those under way.
    active: BTreeSet<usize>,
    agenda: Agenda,
    /// Vms that wait for a host with room, the longest first.
    waiting: VecDeque<usize>,
    fail_next: Option<String>,
    ledger: Ledger,
    tally: Tally,
    /// By group and fault domain, how many vms of the group are there.
    domains: BTreeMap<(String, String), usize>,
    /// Vms that share a fault domain they must not share, and up to when that was counted.
    breaching: (usize, Timestamp),
}

impl World {
    /// The fleet of `scenario` at its start. `seed` moves everything the recordings leave open.
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        let (start, terms) = (scenario.start(), scenario.terms().clone());
        let host = |spec: &crate::scenario::HostSpec| Host::new(spec.clone(), terms.own_cores, start);
        let hosts: Vec<Host> = scenario.hosts().iter().map(host).collect();
        let vms: Vec<Vm> = (0..scenario.vms().len()).map(|index| Vm::new(scenario, index, seed)).collect();
        let mut world = Self {
            start,
            now: start,
            seed,
            host_index: hosts.iter().enumerate().map(|(index, host)| (host.spec.host.clone(), index)).collect(),
            vm_index: vms.iter().enumerate().map(|(index, vm)| (vm.id(), index)).collect(),
            residents: vec![BTreeSet::new(); hosts.len()],
            hosts,
            vms,
            terms,
            flights: BTreeMap::new(),
            active: BTreeSet::new(),
            agenda: Agenda::default(),
            waiting: VecDeque::new(),
            fail_next: None,
            ledger: Ledger::default(),
            tally: Tally::default(),
            domains: BTreeMap::new(),
            breaching: (0, start),
        };
        world.begin();
        world
    }

    /// Puts the first vms where they belong, and everything that is known to come into the agenda.
    fn begin(&mut self) {
        for index in 0..self.vms.len() {
            let spec = &self.vms[index].spec;
            let (home, arrives, departs) = (spec.home, spec.arrives, spec.departs);
            match home {
                Some(home) if arrives.is_zero() => self.settle_in(index, home),
                _ => self.agenda.add(self.start.after(arrives), Due::Arrival(index)),
            }
            if let Some(departs) = departs {
                self.agenda.add(self.start.after(departs), Due::Departure(index));
            }
        }
        for index in 0..self.terms.faults.len() {
            let (at, until) = (self.terms.faults[index].at, self.terms.faults[index].until);
            self.agenda.add(self.start.after(at), Due::Fault(index));
            if let Some(until) = until {
                self.agenda.add(self.start.after(until), Due::Mended(index));
            }
        }
        self.look_at_demand();
    }

    /// The moment the fleet has reached.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// When it began.
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// Lets time pass until `now`. An earlier moment changes nothing.
    pub fn advance_to(&mut self, now: Timestamp) {
        while let Some((at, due)) = self.agenda.next_until(now) {
            self.now = self.now.max(at);
            self.happen(due);
        }
        self.now = self.now.max(now);
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Fault(index) => self.fault(index, true),
            Due::Mended(index) => self.fault(index, false),
            Due::Host(index) => self.host_is_due(index),
            Due::Departure(index) => self.depart(index),
            Due::Arrival(index) => self.arrive(index),
            Due::Flight { vm, version } => self.flight_is_due(vm, version),
            Due::Look => self.look_at_demand(),
        }
    }

    /// What it has cost so far.
    pub fn ledger(&self) -> Ledger {
        let mut ledger = self.ledger;
        for host in &self.hosts {
            let span = self.now.since(host.since);
            ledger.energy += Joules(host.counted(span.as_secs_f64()).1);
            carry::count(&mut ledger, host, span, !self.residents[self.index_of(host)].is_empty());
        }
        let (breaching, since) = self.breaching;
        ledger.breach_seconds += ballast_core::units::count(breaching) * self.now.since(since).as_secs_f64();
        ledger.elapsed = self.now.since(self.start);
        ledger
    }

    /// What is counted by its length.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    fn index_of(&self, host: &Host) -> usize {
        self.host_index.get(&host.spec.host).copied().unwrap_or_default()
    }

    pub(crate) fn host(&self, host: &HostId) -> Result<usize, SimError> {
        self.host_index.get(host).copied().ok_or_else(|| SimError::UnknownHost(host.clone()))
    }

    /// A host that is awake and whose hypervisor answers.
    pub(crate) fn answering(&self, host: &HostId) -> Result<usize, SimError> {
        let index = self.host(host)?;
        if self.hosts[index].can_migrate() { Ok(index) } else { Err(SimError::Unreachable(host.clone())) }
    }

    pub(crate) fn vm(&self, vm: VmId) -> Result<usize, SimError> {
        self.vm_index.get(&vm).copied().ok_or(SimError::UnknownVm(vm))
    }

    pub(crate) fn active(&self, vm: VmId) -> Option<&Flight> {
        let index = self.vm_index.get(&vm)?;
        self.flights.get(index).filter(|flight| !flight.is_over)
    }

    pub(crate) fn active_flights(&self) -> impl Iterator<Item = &Flight> {
        self.active.iter().filter_map(|vm| self.flights.get(vm))
    }

    /// Migrations under way that touch a host.
    pub(crate) fn flights_at(&self, host: usize) -> impl Iterator<Item = &Flight> {
        self.hosts[host].flights.iter().filter_map(|vm| self.flights.get(vm))
    }

    /// Memory promised to the vms on a host and on their way to it.
    pub(crate) fn memory_reserved(&self, host: usize) -> Bytes {
        self.hosts[host].reserved
    }

    /// The vms that run on a host.
    pub(crate) fn vms_on(&self, host: usize) -> impl Iterator<Item = &Vm> {
        self.residents[host].iter().map(|vm| &self.vms[*vm])
    }

    /// How often the inventory of a host, its power or the state of a vm on it has changed: as long as it stays, what
    /// [`World::facts`] says stays but for its time.
    ///
    /// # Errors
    /// [`SimError::UnknownHost`].
    pub fn changes(&self, host: &HostId) -> Result<u64, SimError> {
        Ok(self.hosts[self.host(host)?].changes)
    }

    pub(super) fn changed(&mut self, host: usize) {
        self.hosts[host].changes += 1;
    }

    /// Cores all vms together want now.
    pub fn demand(&self) -> Cores {
        self.vms.iter().filter(|vm| vm.host().is_some()).map(|vm| Cores(vm.demand.cpu)).sum()
    }
}

#[cfg(test)]
mod tests;
