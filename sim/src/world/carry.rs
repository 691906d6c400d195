//! What hosts carry between two events: demand looked at, shared out, and counted.

use std::time::Duration;

use ballast_core::migration_cost::copy_cores;

use super::{World, agenda::Due};
use crate::{
    host::{Host, Rates, Wants},
    ledger::Ledger,
    vm::Vm,
};

/// Adds to `ledger` what `host` does in `span` at the rates of now.
pub(super) fn count(ledger: &mut Ledger, host: &Host, span: Duration, is_loaded: bool) {
    let seconds = span.as_secs_f64();
    let Rates { demand, overload, migration, io_demand, io_unserved, users, users_rtt } = host.rates;
    ledger.demand_core_seconds += demand * seconds;
    ledger.overload_core_seconds += overload * seconds;
    ledger.migration_core_seconds += migration * seconds;
    ledger.io_demand_bytes += io_demand * seconds;
    ledger.io_unserved_bytes += io_unserved * seconds;
    ledger.users_core_seconds += users * seconds;
    ledger.users_rtt_core_seconds += users_rtt * seconds;
    if host.overloaded_since.is_some() {
        ledger.overload_seconds += seconds;
    }
    if host.is_up() {
        ledger.awake_host_seconds += seconds;
        if is_loaded {
            ledger.loaded_host_seconds += seconds;
        }
    }
}

impl World {
    /// Looks at the demand of every vm, and comes back after a step.
    pub(super) fn look_at_demand(&mut self) {
        for host in 0..self.hosts.len() {
            self.settle(host);
        }
        let at = self.now.since(self.start).as_secs_f64();
        for vm in self.vms.iter_mut().filter(|vm| vm.host().is_some()) {
            vm.want(at, &self.terms);
        }
        self.count_waiting(at);
        for host in 0..self.hosts.len() {
            self.refresh(host);
        }
        self.agenda.add(self.now.after(self.terms.step), Due::Look);
    }

    /// What vms that wait for room would want goes unserved: counted once a look, for the look to come.
    fn count_waiting(&mut self, at: f64) {
        for vm in &self.waiting {
            let vm = &mut self.vms[*vm];
            vm.want(at, &self.terms);
            self.ledger.waiting_core_seconds += vm.demand.cpu * self.terms.step.as_secs_f64();
        }
    }

    /// Counts everything on a host up to now, at the rates of before.
    pub(super) fn settle(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        let span = self.now.since(host.since);
        if span.is_zero() {
            return;
        }
        host.pass(span);
        count(&mut self.ledger, host, span, !self.residents[index].is_empty());
        host.since = self.now;
        for vm in &self.residents[index] {
            let vm = &mut self.vms[*vm];
            vm.pass(span);
            if let Some(desk) = &mut vm.desk {
                let answers = desk.pass(span, &mut self.tally);
                self.ledger.requests += answers.requests;
                self.ledger.answered += answers.answered;
            }
        }
    }

    /// Shares a host out anew. Everything on it has been counted up to now.
    pub(super) fn refresh(&mut self, index: usize) {
        let wants = self.wants(index);
        let host = &mut self.hosts[index];
        host.carry(wants);
        let was = host.overloaded_since;
        host.overloaded_since = host.is_overloaded().then(|| was.unwrap_or(self.now));
        if let (Some(since), None) = (was, host.overloaded_since) {
            self.tally.overloads.add(self.now.since(since));
        }
        self.share(index);
        self.write(index);
    }

    /// What the vms and copies of a host want together.
    fn wants(&self, index: usize) -> Wants {
        let mut wants = Wants::default();
        for vm in &self.residents[index] {
            let (slowdown, vm) = (self.slowdown(*vm), &self.vms[*vm]);
            if !vm.paused {
                wants.cpu += vm.demand.cpu * (1.0 - slowdown);
                wants.storage += vm.storage();
                wants.network += vm.network();
            }
        }
        let copies = self.flights_at(index).filter(|flight| flight.is_copying());
        wants.copies = copies.map(|flight| copy_cores(flight.rate()).get()).sum();
        wants
    }

    /// Share of its CPU that copying costs a vm.
    fn slowdown(&self, vm: usize) -> f64 {
        if !self.active.contains(&vm) {
            return 0.0;
        }
        let throttle = self.flights.get(&vm).map_or(0.0, crate::flight::Flight::throttle);
        1.0 - (1.0 - self.terms.copy_slowdown) * (1.0 - throttle)
    }

    /// Gives every vm of a host its share.
    fn share(&mut self, index: usize) {
        let mut rates = Rates::default();
        let load = self.hosts[index].load;
        for vm in &self.residents[index] {
            let slowdown = self.slowdown(*vm);
            let one = &mut self.vms[*vm];
            one.take(&load, slowdown);
            add(&mut rates, one, &self.hosts[index]);
        }
        self.hosts[index].rates = rates;
    }

    /// Tells the copies out of a host how fast their vms write now.
    fn write(&mut self, index: usize) {
        for vm in &self.hosts[index].flights {
            if let Some(flight) = self.flights.get_mut(vm).filter(|flight| flight.source == index) {
                flight.pass(self.now);
                flight.set_dirty_rate(self.vms[*vm].dirty_rate());
            }
        }
    }
}

fn add(rates: &mut Rates, vm: &Vm, host: &Host) {
    rates.demand += vm.demand.cpu;
    rates.overload += vm.runnable * (1.0 - host.load.served);
    rates.migration += vm.demand.cpu - vm.runnable;
    let io = vm.storage() + vm.network();
    rates.io_demand += io;
    rates.io_unserved += (io - vm.io_served()).max(0.0);
    if let Some(rtt) = vm.spec.labels.users.as_ref().and_then(|users| host.spec.rtt.get(users)) {
        rates.users += vm.demand.cpu;
        rates.users_rtt += vm.demand.cpu * rtt.as_secs_f64();
    }
}
