//! The fleet itself: time passes in ticks of one second, orders take effect between ticks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ballast_core::{
    command::MigrationLimits,
    id::{HostId, VmId},
    migration_cost::{CopyJob, copy_cores},
    snapshot::HostPower,
    units::{BytesPerSec, Cores, Joules, Timestamp},
};

use crate::{
    demand::seed_of,
    error::SimError,
    flight::{Flight, FlightEvent, Step},
    host::Host,
    ledger::Ledger,
    scenario::{Scenario, Terms},
    vm::Vm,
};

/// Length of one tick.
pub const TICK: Duration = Duration::from_secs(1);

/// Share of its CPU a vm loses while it is copied: write-protection faults (Voorsluys et al. 2009 measured about 10 %).
const COPY_SLOWDOWN: f64 = 0.1;

/// A fleet that moves in time.
#[derive(Debug, Clone)]
pub struct World {
    start: Timestamp,
    now: Timestamp,
    pub(crate) seed: u64,
    pub(crate) hosts: Vec<Host>,
    pub(crate) vms: Vec<Vm>,
    host_index: BTreeMap<HostId, usize>,
    vm_index: BTreeMap<VmId, usize>,
    /// By host, the vms that run on it, in rising order: asking one host must not cost a look at every vm of the fleet.
    pub(crate) residents: Vec<BTreeSet<usize>>,
    /// The newest migration of each vm, under way or over.
    flights: BTreeMap<VmId, Flight>,
    fail_next: Option<String>,
    ledger: Ledger,
    terms: Terms,
}

impl World {
    /// The fleet of `scenario` at its start. `seed` moves everything the recordings leave open.
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        let start = scenario.start();
        let hosts: Vec<Host> = scenario.hosts().iter().map(|spec| Host::new(spec.clone(), start)).collect();
        let host_index: BTreeMap<_, _> =
            hosts.iter().enumerate().map(|(index, host)| (host.spec.host.clone(), index)).collect();
        let vms: Vec<Vm> = scenario
            .vms()
            .iter()
            .map(|spec| {
                let series = Arc::clone(scenario.series(spec.series));
                let mut vm = Vm::new(spec.clone(), series, spec.home.unwrap_or(0), seed_of(spec, seed));
                vm.want(0.0, scenario.terms());
                vm
            })
            .collect();
        let mut residents = vec![BTreeSet::new(); hosts.len()];
        for (index, vm) in vms.iter().enumerate() {
            residents[vm.host].insert(index);
        }
        let vm_index = vms.iter().enumerate().map(|(index, vm)| (vm.spec.vm, index)).collect();
        let (flights, fail_next, ledger) = (BTreeMap::new(), None, Ledger::default());
        let terms = scenario.terms().clone();
        Self { start, now: start, seed, hosts, vms, host_index, vm_index, residents, flights, fail_next, ledger, terms }
    }

    /// The moment the fleet has reached: the last whole tick.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// When it began.
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// What it has cost so far.
    pub fn ledger(&self) -> Ledger {
        let joules: f64 = self.hosts.iter().map(|host| host.joules).sum();
        Ledger { energy: Joules(joules), elapsed: self.now.since(self.start), ..self.ledger }
    }

    /// Lets time pass until `now`; what is left of a tick passes with the next call. An earlier moment changes nothing.
    pub fn advance_to(&mut self, now: Timestamp) {
        while self.now.after(TICK) <= now {
            self.tick();
        }
    }

    fn tick(&mut self) {
        let seconds = TICK.as_secs_f64();
        self.now = self.now.after(TICK);
        let at = self.now.since(self.start).as_secs_f64();
        for vm in &mut self.vms {
            vm.want(at, &self.terms);
        }
        for host in &mut self.hosts {
            host.settle(self.now);
        }
        let mut copies = vec![0.0; self.hosts.len()];
        let steps = self.advance_flights(&mut copies);
        self.run_hosts(seconds, &copies, &steps);
        self.run_vms(seconds, &steps);
        for (vm, step) in steps {
            self.land(vm, step);
        }
    }

    /// Moves every copy on; adds to `copies` the cores that copying took of each host.
    fn advance_flights(&mut self, copies: &mut [f64]) -> BTreeMap<VmId, Step> {
        let shares = self.link_shares();
        let mut steps = BTreeMap::new();
        for flight in self.flights.values_mut().filter(|flight| !flight.is_over) {
            let (source, destination) = (&self.hosts[flight.source], &self.hosts[flight.destination]);
            if let Some(reason) = obstacle(source, destination, flight.progress().copied.get() > 0) {
                flight.fail(reason);
                steps.insert(flight.vm, Step::default());
                continue;
            }
            let Some(vm) = self.vm_index.get(&flight.vm).map(|index| &self.vms[*index]) else { continue };
            let share = shares[flight.source].min(shares[flight.destination]);
            let rate = flight.limits.bandwidth.map_or(share, |limit| limit.min(share));
            if flight.is_copying() {
                copies[flight.source] += copy_cores(rate).get();
                copies[flight.destination] += copy_cores(rate).get();
            }
            steps.insert(flight.vm, flight.advance(TICK, rate, vm.dirty_rate()));
        }
        steps
    }

    /// What every copy of a host gets of its link: the link is shared evenly.
    fn link_shares(&self) -> Vec<BytesPerSec> {
        let mut copying = vec![0.0; self.hosts.len()];
        for flight in self.flights.values().filter(|flight| !flight.is_over) {
            copying[flight.source] += 1.0;
            copying[flight.destination] += 1.0;
        }
        let share = |(host, copies): (&Host, &f64)| {
            if host.stalled { BytesPerSec::ZERO } else { host.spec.migration_bandwidth / f64::max(*copies, 1.0) }
        };
        self.hosts.iter().zip(&copying).map(share).collect()
    }

    fn run_hosts(&mut self, seconds: f64, copies: &[f64], steps: &BTreeMap<VmId, Step>) {
        let mut wanted = vec![0.0; self.hosts.len()];
        for vm in &self.vms {
            wanted[vm.host] += runnable(vm, steps);
        }
        for (index, host) in self.hosts.iter_mut().enumerate() {
            host.run(seconds, wanted[index], copies[index]);
            if host.is_overloaded() {
                self.ledger.overload_seconds += seconds;
            }
            if host.power == HostPower::Awake {
                self.ledger.awake_host_seconds += seconds;
            }
        }
    }

    fn run_vms(&mut self, seconds: f64, steps: &BTreeMap<VmId, Step>) {
        for vm in &mut self.vms {
            let wanted = runnable(vm, steps);
            let served = wanted * self.hosts[vm.host].load.served;
            let running = if vm.demand.cpu > 0.0 { wanted / vm.demand.cpu } else { 1.0 };
            vm.run(seconds, served, wanted, running);
            self.ledger.demand_core_seconds += vm.demand.cpu * seconds;
            self.ledger.overload_core_seconds += (wanted - served) * seconds;
            self.ledger.migration_core_seconds += (vm.demand.cpu - wanted) * seconds;
        }
    }

    /// Takes note of what the tick brought to one migration.
    fn land(&mut self, vm: VmId, step: Step) {
        let (Some(flight), Some(index)) = (self.flights.get(&vm), self.vm_index.get(&vm)) else { return };
        let moved = &mut self.vms[*index];
        moved.paused = flight.is_switching();
        if !flight.is_over {
            return;
        }
        self.ledger.copied = self.ledger.copied + flight.copied();
        if step.arrived {
            self.residents[flight.source].remove(index);
            self.residents[flight.destination].insert(*index);
            moved.arrive(flight.destination);
            self.ledger.migrations += 1;
            self.ledger.downtime += flight.paused();
        } else {
            moved.paused = false;
            self.ledger.aborted += 1;
        }
    }

    /// Begins to move a vm from `source` to `destination`. What stands against it at the destination shows as a failed
    /// return, as with a real hypervisor.
    ///
    /// # Errors
    /// [`SimError`] where the source refuses: unknown or absent vm, a migration under way, no answer.
    pub fn begin_migration(
        &mut self,
        source: &HostId,
        vm: VmId,
        destination: &HostId,
        limits: MigrationLimits,
    ) -> Result<(), SimError> {
        let (from, to) = (self.answering(source)?, self.host(destination)?);
        let index = self.vm(vm)?;
        if self.vms[index].host != from {
            return Err(SimError::NotHere { vm, host: source.clone() });
        }
        if from == to {
            return Err(SimError::SameHost { vm, host: source.clone() });
        }
        if self.active(vm).is_some() {
            return Err(SimError::Busy(vm));
        }
        let moving = &self.vms[index];
        let job = CopyJob {
            memory: moving.resident(),
            dirty_rate: moving.dirty_rate(),
            working_set: moving.working_set(),
            bandwidth: self.hosts[from].spec.migration_bandwidth,
            downtime_max: limits.downtime_start,
        };
        let mut flight = Flight::new(vm, (from, to), job, limits);
        flight.doomed = self.fail_next.take();
        if let Some(reason) = self.lacks_memory(index, to) {
            flight.fail(reason);
            self.ledger.aborted += 1;
        }
        self.flights.insert(vm, flight);
        Ok(())
    }

    /// Why the destination cannot hold the vm, where it cannot: memory is reserved in full when the process starts.
    fn lacks_memory(&self, vm: usize, destination: usize) -> Option<String> {
        let room = self.hosts[destination].spec.memory_capacity;
        let needed = self.memory_reserved(destination) + self.vms[vm].spec.memory_max;
        (needed > room).then(|| format!("cannot set up guest memory: {needed} of {room} would be in use"))
    }

    /// Stops the migration of a vm out of `source`; the vm goes on there.
    ///
    /// # Errors
    /// [`SimError`] where none is under way, or its switch-over has begun.
    pub fn abort(&mut self, source: &HostId, vm: VmId) -> Result<(), SimError> {
        self.flight_out_of(source, vm)?.fail("operation aborted: canceled by client".into());
        self.ledger.aborted += 1;
        Ok(())
    }

    /// Allows the migration of a vm out of `source` another pause.
    ///
    /// # Errors
    /// [`SimError`] where none is under way, or its switch-over has begun.
    pub fn allow_downtime(&mut self, source: &HostId, vm: VmId, longest: Duration) -> Result<(), SimError> {
        self.flight_out_of(source, vm)?.allow_downtime(longest);
        Ok(())
    }

    fn flight_out_of(&mut self, source: &HostId, vm: VmId) -> Result<&mut Flight, SimError> {
        let from = self.answering(source)?;
        let flight = self.flights.get_mut(&vm).filter(|flight| !flight.is_over && flight.source == from);
        let flight = flight.ok_or(SimError::NoMigration(vm))?;
        if flight.is_switching() { Err(SimError::TooLate(vm)) } else { Ok(flight) }
    }

    /// What the newest migration of a vm out of `source` has reported, oldest first. It only grows until the next
    /// migration of the vm begins.
    pub fn migration_events(&self, source: &HostId, vm: VmId) -> &[FlightEvent] {
        let from = self.host_index.get(source);
        let flight = self.flights.get(&vm).filter(|flight| Some(&flight.source) == from);
        flight.map_or(&[], |flight| flight.events())
    }

    /// Puts a host to sleep.
    ///
    /// # Errors
    /// [`SimError`] where it is not awake, or a vm is on it or on its way to it.
    pub fn sleep(&mut self, host: &HostId) -> Result<(), SimError> {
        let index = self.host(host)?;
        let there = self.residents[index].len();
        let coming = self.active_flights().filter(|flight| flight.destination == index).count();
        if there + coming > 0 {
            return Err(SimError::NotEmpty { host: host.clone(), vms: there + coming });
        }
        self.hosts[index].sleep(self.now)?;
        self.ledger.sleeps += 1;
        Ok(())
    }

    /// Wakes a host.
    ///
    /// # Errors
    /// [`SimError`] where it is not asleep.
    pub fn wake(&mut self, host: &HostId) -> Result<(), SimError> {
        let index = self.host(host)?;
        self.hosts[index].wake(self.now)?;
        self.ledger.wakes += 1;
        Ok(())
    }

    /// A fault: the next migration that begins fails half-way, with these words.
    pub fn fail_next_migration(&mut self, reason: &str) {
        self.fail_next = Some(reason.into());
    }

    /// A fault: the host's hypervisor stops (or starts again) to answer. Its vms run on; migrations from and to it fail.
    ///
    /// # Errors
    /// [`SimError::UnknownHost`].
    pub fn set_host_unreachable(&mut self, host: &HostId, unreachable: bool) -> Result<(), SimError> {
        let index = self.host(host)?;
        self.hosts[index].reachable = !unreachable;
        Ok(())
    }

    /// A fault: the host's migration link moves nothing (or moves again).
    ///
    /// # Errors
    /// [`SimError::UnknownHost`].
    pub fn stall_link(&mut self, host: &HostId, stalled: bool) -> Result<(), SimError> {
        let index = self.host(host)?;
        self.hosts[index].stalled = stalled;
        Ok(())
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
        self.flights.get(&vm).filter(|flight| !flight.is_over)
    }

    pub(crate) fn active_flights(&self) -> impl Iterator<Item = &Flight> {
        self.flights.values().filter(|flight| !flight.is_over)
    }

    /// Memory promised to the vms on a host and on their way to it.
    pub(crate) fn memory_reserved(&self, host: usize) -> ballast_core::units::Bytes {
        let coming = self.active_flights().filter(|flight| flight.destination == host);
        let coming = coming.filter_map(|flight| self.vm_index.get(&flight.vm));
        self.residents[host].iter().chain(coming).map(|vm| self.vms[*vm].spec.memory_max).sum()
    }

    /// The vms that run on a host.
    pub(crate) fn vms_on(&self, host: usize) -> impl Iterator<Item = &Vm> {
        self.residents[host].iter().map(|vm| &self.vms[*vm])
    }

    /// Cores all vms together want now.
    pub fn demand(&self) -> Cores {
        self.vms.iter().map(|vm| Cores(vm.demand.cpu)).sum()
    }
}

/// Cores a vm can use: less while it is copied, none while it is paused.
fn runnable(vm: &Vm, steps: &BTreeMap<VmId, Step>) -> f64 {
    match steps.get(&vm.spec.vm) {
        None => vm.demand.cpu,
        Some(step) => vm.demand.cpu * (1.0 - COPY_SLOWDOWN) * (1.0 - (step.paused / TICK.as_secs_f64()).min(1.0)),
    }
}

/// Why a migration cannot go on, where it cannot.
fn obstacle(source: &Host, destination: &Host, has_begun: bool) -> Option<String> {
    let end = [source, destination].into_iter().find(|host| !host.can_migrate())?;
    let name = &end.spec.host;
    Some(if has_begun {
        format!("the connection to {name} was lost")
    } else {
        format!("unable to connect to {name}: no route to host")
    })
}

#[cfg(test)]
mod tests;
