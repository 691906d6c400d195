//! A policy against a fleet: what the scheduler and its agents do, with the network and the tasks left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ballast_core::{
    command::{Command, Order},
    counters::VmCounters,
    decide::{DecideInput, decide},
    decision::{Decision, Mode, Step, Trigger},
    early::{self, Waits},
    fleet::{FleetSettings, FleetState},
    forecast::{Forecaster, Forecasts},
    hindsight::{Gains, Hindsight},
    id::{CommandId, DecisionId, Epoch, HostId, Seq, VmId},
    inventory::Inventory,
    outcome::Ending,
    policy::{Policy, View},
    rates,
    risk::{FleetLoad, HostRisk, Kept},
    sample::{AgentHealth, Batch, HostSample, PowerSource, Reading, VmSample},
    snapshot::{Event, Snapshot},
    units::Timestamp,
};

use super::{Pace, Stopwatch, cycles::Cycles};
use crate::{flight::FlightEvent, ledger::Ledger, world::World};

/// Time a command would be good for; it is given and begun at once here.
const TTL: Duration = Duration::from_secs(60);

/// What the newest reading of a host was.
#[derive(Debug)]
struct Known {
    inventory: Inventory,
    /// [`World::changes`] when it was taken.
    changes: u64,
}

/// What deciding came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Deciding {
    /// Time that decisions took, by the caller's stopwatch.
    pub(super) took: Cycles,
    /// Proposals that the guard denied.
    pub(super) denied: u64,
    /// What moves for gain have gained by the demand that came, where that is settled.
    pub(super) gains: Gains,
    /// Promises that were made and broken, where risk is measured.
    pub(super) kept: Option<Kept>,
}

/// A fleet with somebody who decides.
pub(super) struct Play<'a> {
    world: World,
    pace: &'a Pace,
    forecaster: &'a mut dyn Forecaster,
    policy: &'a mut dyn Policy,
    stopwatch: Stopwatch<'a>,
    fleet: FleetState,
    risk: HostRisk,
    seed: u64,
    number: u64,
    seq: u64,
    next_round: Timestamp,
    hosts: Vec<HostId>,
    /// The newest inventory of every host that is connected.
    connected: BTreeMap<HostId, Known>,
    counters: BTreeMap<VmId, VmCounters>,
    /// Migrations under way, by vm.
    flying: BTreeMap<VmId, Command>,
    /// What the newest round left waiting.
    waits: Option<Waits>,
    /// Moments at which something may have come of that.
    looks: BTreeSet<Timestamp>,
    /// Some host used more than the limit at its newest reading.
    is_any_hot: bool,
    hindsight: Hindsight,
    deciding: Deciding,
}

impl<'a> Play<'a> {
    pub(super) fn new(
        world: World,
        seed: u64,
        pace: &'a Pace,
        (forecaster, policy): (&'a mut dyn Forecaster, &'a mut dyn Policy),
        stopwatch: Stopwatch<'a>,
    ) -> Self {
        let settings = FleetSettings {
            period: pace.period,
            silent_periods: pace.tuning.silent_periods,
            cpu_limit: pace.tuning.cpu_limit,
        };
        Self {
            next_round: world.start().after(pace.round),
            hosts: world.host_ids(),
            world,
            pace,
            forecaster,
            policy,
            stopwatch,
            fleet: FleetState::new(Epoch(1), settings),
            risk: HostRisk::default(),
            seed,
            number: 0,
            seq: 0,
            connected: BTreeMap::new(),
            counters: BTreeMap::new(),
            flying: BTreeMap::new(),
            waits: None,
            looks: BTreeSet::new(),
            is_any_hot: false,
            hindsight: Hindsight::default(),
            deciding: Deciding::default(),
        }
    }

    pub(super) fn end(self) -> (World, Deciding) {
        let kept = self.pace.tuning.measures_risk().then(|| self.risk.kept());
        (self.world, Deciding { kept, ..self.deciding })
    }

    /// Lets time pass until `now`, and reads the fleet. What agents report in between is heard, and where a round waited for
    /// it another is held.
    pub(super) fn look(&mut self, now: Timestamp) {
        self.hear_until(now);
        self.world.advance_to(now);
        self.seq += 1;
        self.is_any_hot = false;
        for index in 0..self.hosts.len() {
            let host = self.hosts[index].clone();
            self.read(&host, now);
        }
        self.end_flights(now);
    }

    /// Agents tell of a migration's end at once, however rarely they send samples.
    fn hear_until(&mut self, until: Timestamp) {
        let mut now = self.world.now().after(early::EARLIEST);
        while now < until {
            if !self.flying.is_empty() {
                self.world.advance_to(now);
                self.end_flights(now);
            } else if self.looks.is_empty() {
                return;
            }
            self.follow_up(now);
            now = now.after(early::EARLIEST);
        }
    }

    /// Holds a round early where what the one before waited for has happened.
    fn follow_up(&mut self, now: Timestamp) {
        let Some(waits) = self.waits.filter(|waits| waits.may_end(now)) else { return };
        // Only who acts between rounds writes down when to look.
        if self.looks.first().is_none_or(|look| *look > now) {
            return;
        }
        self.looks = self.looks.split_off(&now.after(Duration::from_nanos(1)));
        self.world.advance_to(now);
        let snapshot = self.fleet.snapshot(now);
        if waits.are_over(&snapshot, &self.pace.tuning) {
            self.decide_on(&snapshot, Trigger::Early, now);
        }
    }

    /// The fleet as it is.
    #[cfg(test)]
    pub(super) fn world(&self) -> &World {
        &self.world
    }

    /// How often what was promised of hosts was kept so far.
    #[cfg(test)]
    pub(super) fn kept(&self) -> Kept {
        self.risk.kept()
    }

    /// Lets time pass until `now`, reads the fleet, and decides.
    pub(super) fn step(&mut self, now: Timestamp) {
        self.look(now);
        self.act(now);
    }

    /// Whether a regular round is due.
    pub(super) fn is_round(&self, now: Timestamp) -> bool {
        now >= self.next_round
    }

    /// What the fleet has cost so far.
    pub(super) fn ledger(&self) -> Ledger {
        self.world.ledger()
    }

    /// Decides on what was read, where it is time.
    pub(super) fn act(&mut self, now: Timestamp) {
        if self.is_round(now) {
            self.next_round = now.after(self.pace.round);
            self.decide(Trigger::Round, now);
        } else {
            if self.pace.acts_between && self.is_any_hot {
                self.relieve(now);
            }
            self.follow_up(now);
        }
    }

    fn event(&mut self, event: &Event, now: Timestamp) {
        drop(self.fleet.apply(event, now));
    }

    /// What the agent of a host would send.
    fn read(&mut self, host: &HostId, now: Timestamp) {
        if self.world.is_agent_silent(host).unwrap_or(true) {
            return self.disconnect_lost(host, now);
        }
        if !self.take_facts_if_new(host, now) {
            return;
        }
        if let Some(batch) = self.batch(host, now) {
            self.risk.observe(&batch);
            self.event(&Event::Batch { batch: Box::new(batch), absurd: Vec::new() }, now);
        }
    }

    /// Takes the inventory of a host where it has changed; `false` where there is none to take.
    fn take_facts_if_new(&mut self, host: &HostId, now: Timestamp) -> bool {
        let Ok(changes) = self.world.changes(host) else { return false };
        let is_new = self.connected.get(host).is_none_or(|known| known.changes != changes);
        !is_new || self.take_facts(host, changes, now)
    }

    /// A host that lost its power closes its link; an agent that is only silent does not.
    fn disconnect_lost(&mut self, host: &HostId, now: Timestamp) {
        if self.world.facts(host).is_err() {
            self.disconnect(host, now);
        }
    }

    fn disconnect(&mut self, host: &HostId, now: Timestamp) {
        if let Some(before) = self.connected.remove(host) {
            self.event(&Event::Disconnected { host: host.clone(), boot: before.inventory.boot }, now);
        }
    }

    /// Takes the inventory of a host; `false` where it has none to give.
    fn take_facts(&mut self, host: &HostId, changes: u64, now: Timestamp) -> bool {
        let Ok(inventory) = self.world.facts(host) else {
            self.disconnect(host, now);
            return false;
        };
        let known = self.connected.get(host);
        if known.is_none_or(|before| before.inventory.vms != inventory.vms) {
            for vm in &inventory.vms {
                self.forecaster.resized(vm.vm, vm.vcpus, vm.memory_max);
            }
        }
        match self.connected.get(host) {
            None => self.event(&Event::Connected { inventory: Box::new(inventory.clone()) }, now),
            Some(before) if before.inventory.vms != inventory.vms => {
                self.event(&Event::Inventory { inventory: Box::new(inventory.clone()) }, now);
            }
            Some(_) => {}
        }
        self.connected.insert(host.clone(), Known { inventory, changes });
        true
    }

    fn batch(&mut self, host: &HostId, now: Timestamp) -> Option<Batch> {
        let reading = self.world.host_reading(host).ok()?;
        let counters = self.world.counters(host).ok()?;
        let vms: Vec<VmSample> = counters.iter().map(|counters| self.sample(counters)).collect();
        let inventory = &self.connected.get(host)?.inventory;
        self.is_any_hot |= reading.cpu_used > inventory.cpu_capacity * self.pace.tuning.cpu_limit;
        let sample = HostSample {
            cpu_capacity: inventory.cpu_capacity,
            cpu_used: Reading::Measured(reading.cpu_used),
            memory_capacity: inventory.memory_capacity,
            memory_used: Reading::Measured(reading.memory_used),
            power: Reading::Measured(reading.power),
            power_source: PowerSource::Dcmi,
            pressure: reading.pressure,
            agent: AgentHealth { hypervisor_connected: true, ..AgentHealth::default() },
        };
        Some(Batch { host: host.clone(), boot: inventory.boot, seq: Seq(self.seq), taken_at: now, sample, vms })
    }

    fn sample(&mut self, counters: &VmCounters) -> VmSample {
        let before = self.counters.insert(counters.vm, *counters);
        let sample = rates::vm_sample(before.as_ref(), counters);
        self.forecaster.observe(&sample);
        sample
    }

    /// Tells the fleet of the migrations that have ended.
    fn end_flights(&mut self, now: Timestamp) {
        let over = self.flying.values().filter_map(|command| Some((command.clone(), self.ending(command)?)));
        for (command, ending) in over.collect::<Vec<_>>() {
            if let Some(vm) = command.order.vm() {
                self.flying.remove(&vm);
            }
            self.hear_of_ends(&command, now);
            self.event(&Event::Ended { outcome: command.ended(ending, now) }, now);
            if self.pace.acts_between {
                self.looks.extend([now, now.after(self.pace.tuning.sleep_after)]);
            }
        }
    }

    /// Both agents of a migration say what runs on their hosts now, and begin to count anew what the vm uses.
    fn hear_of_ends(&mut self, command: &Command, now: Timestamp) {
        let Order::Migrate { vm, destination, .. } = &command.order else { return };
        for host in [&command.host, destination] {
            if !self.world.is_agent_silent(host).unwrap_or(true) {
                self.take_facts_if_new(host, now);
            }
        }
        if self.world.is_agent_silent(destination).unwrap_or(true) {
            return;
        }
        let counters = self.world.counters(destination).unwrap_or_default();
        self.counters.extend(counters.into_iter().find(|one| one.vm == *vm).map(|one| (one.vm, one)));
    }

    fn ending(&self, command: &Command) -> Option<Ending> {
        let events = self.world.migration_events(&command.host, command.order.vm()?);
        match events.last()? {
            FlightEvent::Returned(Ok(())) => Some(Ending::Completed),
            FlightEvent::Returned(Err(reason)) => Some(Ending::Failed { reason: reason.clone() }),
            _ => None,
        }
    }

    /// Decides where some host has been over its limit for long enough.
    fn relieve(&mut self, now: Timestamp) {
        let patience = self.pace.tuning.relief_after;
        let snapshot = self.fleet.snapshot(now);
        let is_due =
            |host: &ballast_core::snapshot::HostView| host.overloaded_for >= patience && !host.overloaded_for.is_zero();
        if snapshot.hosts.values().any(is_due) {
            self.decide_on(&snapshot, Trigger::Relief, now);
        }
    }

    fn decide(&mut self, trigger: Trigger, now: Timestamp) {
        let snapshot = self.fleet.snapshot(now);
        self.decide_on(&snapshot, trigger, now);
    }

    fn decide_on(&mut self, snapshot: &Snapshot, trigger: Trigger, now: Timestamp) {
        let begun = (self.stopwatch)();
        let decision = self.think(snapshot, trigger, now);
        self.deciding.took.add((self.stopwatch)().saturating_sub(begun));
        self.deciding.denied += decision.denied.len() as u64;
        if decision.trigger != Trigger::Relief {
            self.waits = Some(Waits::of(&decision, snapshot));
        }
        for planned in decision.chosen.steps {
            self.carry_out(&planned.step, snapshot, now);
        }
    }

    fn think(&mut self, snapshot: &Snapshot, trigger: Trigger, now: Timestamp) -> Decision {
        self.forecaster.advance(now);
        let mut forecasts = Forecasts::of(self.forecaster, snapshot.vms.keys().copied(), now);
        self.risk.inform(snapshot, &mut forecasts, &self.pace.tuning);
        let load = FleetLoad::of(snapshot, &forecasts);
        let view = View { snapshot, forecasts: &forecasts, load: &load, tuning: &self.pace.tuning, seed: self.seed };
        let id = DecisionId { epoch: Epoch(1), number: self.next_number() };
        self.hindsight.look(view).iter().for_each(|settled| self.deciding.gains.add(settled));
        let decision = decide(&DecideInput { view, id, trigger, mode: Mode::Auto }, self.policy);
        self.hindsight.took(&decision, view);
        decision
    }

    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn carry_out(&mut self, step: &Step, snapshot: &Snapshot, now: Timestamp) {
        let Some((host, order)) = order(step, snapshot) else { return };
        let id = CommandId { epoch: Epoch(1), number: self.next_number() };
        let command = Command { id, host, ttl: TTL, order };
        self.event(&Event::Ordered { command: command.clone() }, now);
        let begun = match &command.order {
            Order::Migrate { vm, destination, limits, .. } => {
                self.world.begin_migration(&command.host, *vm, destination, *limits)
            }
            Order::Sleep => self.world.sleep(&command.host),
            Order::Wake { target, .. } => self.world.wake(target),
            Order::Cancel { .. } => return,
        };
        match (begun, command.order.vm()) {
            (Ok(()), Some(vm)) => drop(self.flying.insert(vm, command)),
            (Ok(()), None) => self.event(&Event::Ended { outcome: command.ended(Ending::Completed, now) }, now),
            (Err(error), _) => {
                let ending = Ending::Failed { reason: error.to_string() };
                self.event(&Event::Ended { outcome: command.ended(ending, now) }, now);
            }
        }
    }
}

/// Who is to do what; `None` where the plan names what the snapshot does not have.
fn order(step: &Step, snapshot: &Snapshot) -> Option<(HostId, Order)> {
    Some(match step {
        Step::Migrate(one) => {
            let (vm, to) = (snapshot.vms.get(&one.vm)?, snapshot.hosts.get(&one.to)?);
            let order = Order::Migrate {
                vm: one.vm,
                generation: vm.generation,
                destination: one.to.clone(),
                destination_uri: to.inventory.migration_uri.clone(),
                limits: vm.record.limits(),
            };
            (one.from.clone(), order)
        }
        Step::Sleep { host } => (host.clone(), Order::Sleep),
        Step::Wake { host, by } => (by.clone(), Order::Wake { target: host.clone(), address: None }),
    })
}
