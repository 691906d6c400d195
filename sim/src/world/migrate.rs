//! Migrations: begun, shared out over the links, advanced from phase to phase, and ended.

use std::{collections::BTreeSet, time::Duration};

use ballast_core::{
    command::MigrationLimits,
    id::{HostId, VmId},
    migration_cost::{CopyJob, Help, Phase},
    units::{BytesPerSec, Timestamp, count},
};

use super::{World, agenda::Due};
use crate::{
    error::SimError,
    flight::{Flight, FlightEvent},
    host::Host,
};

impl World {
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
        if self.vms[index].host() != Some(from) {
            return Err(SimError::NotHere { vm, host: source.clone() });
        }
        if from == to {
            return Err(SimError::SameHost { vm, host: source.clone() });
        }
        if self.active.contains(&index) {
            return Err(SimError::Busy(vm));
        }
        let moving = &self.vms[index];
        let job = CopyJob {
            memory: moving.resident(),
            dirty_rate: moving.dirty_rate(),
            working_set: moving.working_set(),
            bandwidth: self.hosts[from].migration_bandwidth(),
            downtime_start: limits.downtime_start,
            downtime_max: limits.downtime_max,
        };
        let all = self.terms.convergence;
        let help = Help { auto_converge: all.auto_converge || limits.auto_converge, ..all };
        let flight = Flight::new(vm, (from, to), (job, help), limits, self.now);
        self.launch(index, flight);
        Ok(())
    }

    fn launch(&mut self, index: usize, mut flight: Flight) {
        flight.doom(self.fail_next.take());
        // Nothing is sent before its share of the links is known.
        flight.set_bandwidth(BytesPerSec::ZERO);
        let (from, to) = (flight.source, flight.destination);
        if let Some(reason) =
            obstacle(&self.hosts[from], &self.hosts[to], false).or_else(|| self.lacks_memory(index, to))
        {
            flight.fail(reason);
            self.ledger.aborted += 1;
            self.flights.insert(index, flight);
            return;
        }
        flight.version = self.flights.get(&index).map_or(0, |before| before.version + 1);
        self.flights.insert(index, flight);
        self.active.insert(index);
        self.hosts[to].reserved = self.hosts[to].reserved + self.vms[index].spec.memory_max;
        for host in [from, to] {
            self.settle(host);
            self.changed(host);
            self.hosts[host].flights.insert(index);
        }
        self.refresh(from);
        self.schedule(index);
    }

    /// Why the destination cannot hold the vm, where it cannot: memory is reserved in full when the process starts.
    fn lacks_memory(&self, vm: usize, destination: usize) -> Option<String> {
        let room = self.hosts[destination].spec.memory_capacity;
        let needed = self.memory_reserved(destination) + self.vms[vm].spec.memory_max;
        (needed > room).then(|| format!("cannot set up guest memory: {needed} of {room} would be in use"))
    }

    /// Puts the next change of a migration into the agenda; what was there of it before is void.
    fn schedule(&mut self, index: usize) {
        let Some(flight) = self.flights.get_mut(&index) else { return };
        flight.version += 1;
        let version = flight.version;
        // A change that came with the passing of time for another's sake is taken note of at once.
        let due = if flight.phase() == flight.noted && !flight.is_over { flight.due() } else { Some(self.now) };
        if let Some(due) = due {
            self.agenda.add(due.max(self.now), Due::Flight { vm: index, version });
        }
    }

    pub(super) fn flight_is_due(&mut self, index: usize, version: u64) {
        if self.active.contains(&index) && self.flights.get(&index).is_some_and(|flight| flight.version == version) {
            self.follow(index);
        }
    }

    /// Advances a migration to now and takes note of what came of it.
    fn follow(&mut self, index: usize) {
        let Some(flight) = self.flights.get_mut(&index) else { return };
        let (source, destination) = (flight.source, flight.destination);
        self.settle(source);
        self.settle(destination);
        let Some(flight) = self.flights.get_mut(&index) else { return };
        let had_arrived = matches!(flight.noted, Phase::Fetching | Phase::Done);
        flight.pass(self.now);
        let phase = flight.phase();
        let noted = std::mem::replace(&mut flight.noted, phase);
        self.vms[index].paused = phase == Phase::Switching && !flight.is_over;
        let (arrived, is_over) = (flight.has_arrived(), flight.is_over);
        if arrived && !had_arrived {
            self.bring(index, source, destination);
        }
        if is_over {
            self.land(index, arrived);
        } else if noted == phase {
            // Another pass over memory: the throttle may have changed.
            self.refresh(source);
            self.schedule(index);
        } else {
            self.changed(source);
            self.changed(destination);
            self.reshare(source);
            self.reshare(destination);
        }
    }

    /// The vm runs at its destination from now on. Its memory stays promised at the source until the migration is over.
    fn bring(&mut self, index: usize, source: usize, destination: usize) {
        self.residents[source].remove(&index);
        self.residents[destination].insert(index);
        self.place_in_domain(index, source, false);
        self.place_in_domain(index, destination, true);
        self.vms[index].arrive(destination);
        self.ledger.migrations += 1;
        self.ledger.downtime += self.flights.get(&index).map_or(Duration::ZERO, Flight::paused);
    }

    /// Ends a migration that is over: its memory is given up where the vm is not.
    fn land(&mut self, index: usize, arrived: bool) {
        let Some(flight) = self.flights.get(&index) else { return };
        let (source, destination) = (flight.source, flight.destination);
        self.ledger.copied = self.ledger.copied + flight.copied();
        self.active.remove(&index);
        self.vms[index].paused = false;
        if !arrived {
            self.ledger.aborted += 1;
        }
        let left = if arrived { source } else { destination };
        self.hosts[left].reserved = self.hosts[left].reserved.saturating_sub(self.vms[index].spec.memory_max);
        for host in [source, destination] {
            self.settle(host);
            self.changed(host);
            self.hosts[host].flights.remove(&index);
        }
        self.reshare(source);
        self.reshare(destination);
        if !self.waiting.is_empty() {
            self.start_waiting();
        }
    }

    /// Shares the link of a host out anew among the copies that touch it: evenly, and never more than the other end gives.
    pub(super) fn reshare(&mut self, host: usize) {
        let touched: Vec<usize> = self.hosts[host].flights.iter().copied().collect();
        let mut ends: BTreeSet<usize> = BTreeSet::from([host]);
        for vm in &touched {
            if let Some(flight) = self.flights.get(vm) {
                ends.extend([flight.source, flight.destination]);
            }
        }
        ends.iter().for_each(|end| self.settle(*end));
        for vm in &touched {
            let share = self.link_share(*vm);
            if let Some(flight) = self.flights.get_mut(vm) {
                flight.pass(self.now);
                flight.set_bandwidth(flight.limits.bandwidth.map_or(share, |limit| limit.min(share)));
            }
        }
        ends.iter().for_each(|end| self.refresh(*end));
        touched.iter().for_each(|vm| self.schedule(*vm));
    }

    fn link_share(&self, vm: usize) -> BytesPerSec {
        let share = |host: usize| {
            let copies = self.flights_at(host).filter(|flight| !flight.is_over && flight.phase() != Phase::Preparing);
            self.hosts[host].migration_bandwidth() / count(copies.count().max(1))
        };
        let ends = self.flights.get(&vm).map(|flight| (flight.source, flight.destination));
        ends.map_or_else(Default::default, |(source, destination)| share(source).min(share(destination)))
    }

    /// Stops the migration of a vm out of `source`; the vm goes on there.
    ///
    /// # Errors
    /// [`SimError`] where none is under way, or its switch-over has begun.
    pub fn abort(&mut self, source: &HostId, vm: VmId) -> Result<(), SimError> {
        let index = self.flight_out_of(source, vm)?;
        self.end_flight_of(index, "operation aborted: canceled by client");
        Ok(())
    }

    /// Ends the migration of a vm at its source, where one is under way.
    pub(super) fn end_flight_of(&mut self, index: usize, reason: &str) {
        if !self.active.contains(&index) {
            return;
        }
        if let Some(flight) = self.flights.get_mut(&index) {
            flight.pass(self.now);
            if !flight.is_over {
                flight.fail(reason.into());
            }
        }
        self.follow(index);
    }

    /// Fails every migration that touches a host which no longer answers. One whose vm has arrived goes on: a post-copy can
    /// no longer be undone, and the simulated link outlives the hypervisor's word.
    pub(super) fn fail_flights_at(&mut self, host: usize) {
        for vm in self.hosts[host].flights.iter().copied().collect::<Vec<_>>() {
            let Some(flight) = self.flights.get(&vm).filter(|flight| !flight.has_arrived()) else { continue };
            let begun = flight.progress(self.now).copied.get() > 0;
            let name = &self.hosts[host].spec.host;
            let reason = if begun { lost(name) } else { no_route(name) };
            self.end_flight_of(vm, &reason);
        }
    }

    /// Allows the migration of a vm out of `source` another pause.
    ///
    /// # Errors
    /// [`SimError`] where none is under way, or its switch-over has begun.
    pub fn allow_downtime(&mut self, source: &HostId, vm: VmId, longest: Duration) -> Result<(), SimError> {
        let index = self.flight_out_of(source, vm)?;
        if let Some(flight) = self.flights.get_mut(&index) {
            flight.pass(self.now);
            flight.allow_downtime(longest);
        }
        self.schedule(index);
        Ok(())
    }

    fn flight_out_of(&mut self, source: &HostId, vm: VmId) -> Result<usize, SimError> {
        let from = self.answering(source)?;
        let index = self.vm_index.get(&vm).copied().ok_or(SimError::NoMigration(vm))?;
        let flight = self.flights.get(&index).filter(|flight| !flight.is_over && flight.source == from);
        let flight = flight.ok_or(SimError::NoMigration(vm))?;
        if flight.is_switching() { Err(SimError::TooLate(vm)) } else { Ok(index) }
    }

    /// When the newest migration of a vm out of `source` began, under way or over.
    pub fn migration_began(&self, source: &HostId, vm: VmId) -> Option<Timestamp> {
        let from = self.host_index.get(source)?;
        let flight = self.flights.get(self.vm_index.get(&vm)?)?;
        (flight.source == *from).then_some(flight.began)
    }

    /// What the newest migration of a vm out of `source` has reported, oldest first. It only grows until the next
    /// migration of the vm begins.
    pub fn migration_events(&self, source: &HostId, vm: VmId) -> &[FlightEvent] {
        let from = self.host_index.get(source);
        let flight = self.vm_index.get(&vm).and_then(|index| self.flights.get(index));
        flight.filter(|flight| Some(&flight.source) == from).map_or(&[], |flight| flight.events())
    }
}

/// Why a migration cannot go on, where it cannot.
fn obstacle(source: &Host, destination: &Host, has_begun: bool) -> Option<String> {
    let end = [source, destination].into_iter().find(|host| !host.can_migrate())?;
    let name = &end.spec.host;
    Some(if has_begun { lost(name) } else { no_route(name) })
}

fn lost(host: &HostId) -> String {
    format!("the connection to {host} was lost")
}

fn no_route(host: &HostId) -> String {
    format!("unable to connect to {host}: no route to host")
}
