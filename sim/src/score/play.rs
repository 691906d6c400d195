//! A policy against a fleet: what the scheduler and its agents do, with the network and the tasks left out.

use std::{collections::BTreeMap, time::Duration};

use ballast_core::{
    command::{Command, MigrationLimits, Order},
    counters::VmCounters,
    decide::{DecideInput, decide},
    decision::{Mode, Step, Trigger},
    fleet::{FleetSettings, FleetState},
    forecast::{Forecaster, Forecasts},
    id::{CommandId, DecisionId, Epoch, HostId, Seq, VmId},
    inventory::Inventory,
    outcome::{Ending, Outcome, StageTimes},
    policy::{Policy, View},
    rates,
    sample::{AgentHealth, Batch, HostSample, PowerSource, Reading, VmSample},
    snapshot::{Event, Snapshot},
    units::{Bytes, Timestamp},
};

use super::Pace;
use crate::{flight::FlightEvent, world::World};

/// Time a command would be good for; it is given and begun at once here.
const TTL: Duration = Duration::from_secs(60);

/// A fleet with somebody who decides.
pub(super) struct Play<'a> {
    world: World,
    pace: &'a Pace,
    forecaster: &'a mut dyn Forecaster,
    policy: &'a mut dyn Policy,
    fleet: FleetState,
    seed: u64,
    number: u64,
    seq: u64,
    next_round: Timestamp,
    /// The newest inventory of every host that is connected.
    connected: BTreeMap<HostId, Inventory>,
    counters: BTreeMap<VmId, VmCounters>,
    /// Migrations under way, by vm.
    flying: BTreeMap<VmId, Command>,
}

impl<'a> Play<'a> {
    pub(super) fn new(
        world: World,
        seed: u64,
        pace: &'a Pace,
        forecaster: &'a mut dyn Forecaster,
        policy: &'a mut dyn Policy,
    ) -> Self {
        let settings = FleetSettings {
            period: pace.period,
            silent_periods: pace.tuning.silent_periods,
            cpu_limit: pace.tuning.cpu_limit,
        };
        let next_round = world.start().after(pace.round);
        Self {
            world,
            pace,
            forecaster,
            policy,
            fleet: FleetState::new(Epoch(1), settings),
            seed,
            number: 0,
            seq: 0,
            next_round,
            connected: BTreeMap::new(),
            counters: BTreeMap::new(),
            flying: BTreeMap::new(),
        }
    }

    pub(super) fn into_world(self) -> World {
        self.world
    }

    /// Lets time pass until `now`, reads the fleet, and decides.
    pub(super) fn step(&mut self, now: Timestamp) {
        self.world.advance_to(now);
        self.seq += 1;
        for host in self.world.host_ids() {
            self.read(&host, now);
        }
        self.end_flights(now);
        if now >= self.next_round {
            self.next_round = now.after(self.pace.round);
            self.decide(Trigger::Round, now);
        } else if self.is_relief_due(now) {
            self.decide(Trigger::Relief, now);
        }
    }

    fn event(&mut self, event: &Event, now: Timestamp) {
        drop(self.fleet.apply(event, now));
    }

    /// What the agent of a host would send.
    fn read(&mut self, host: &HostId, now: Timestamp) {
        let Ok(inventory) = self.world.facts(host) else {
            if let Some(before) = self.connected.remove(host) {
                self.event(&Event::Disconnected { host: host.clone(), boot: before.boot }, now);
            }
            return;
        };
        match self.connected.get(host) {
            None => self.event(&Event::Connected { inventory: Box::new(inventory.clone()) }, now),
            Some(before) if before.vms != inventory.vms => {
                self.event(&Event::Inventory { inventory: Box::new(inventory.clone()) }, now);
            }
            Some(_) => {}
        }
        if let Some(batch) = self.batch(host, &inventory, now) {
            self.event(&Event::Batch { batch: Box::new(batch), absurd: Vec::new() }, now);
        }
        self.connected.insert(host.clone(), inventory);
    }

    fn batch(&mut self, host: &HostId, inventory: &Inventory, now: Timestamp) -> Option<Batch> {
        let reading = self.world.host_reading(host).ok()?;
        let counters = self.world.counters(host).ok()?;
        let vms: Vec<VmSample> = counters.iter().map(|counters| self.sample(counters)).collect();
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
            self.event(&Event::Ended { outcome: outcome(&command, ending, now) }, now);
        }
    }

    fn ending(&self, command: &Command) -> Option<Ending> {
        let events = self.world.migration_events(&command.host, command.order.vm()?);
        match events.last()? {
            FlightEvent::Returned(Ok(())) => Some(Ending::Completed),
            FlightEvent::Returned(Err(reason)) => Some(Ending::Failed { reason: reason.clone() }),
            _ => None,
        }
    }

    fn is_relief_due(&self, now: Timestamp) -> bool {
        let tuning = &self.pace.tuning;
        let snapshot = self.fleet.snapshot(now);
        snapshot.hosts.values().any(|host| host.overloaded_for >= tuning.relief_after && !host.overloaded_for.is_zero())
    }

    fn decide(&mut self, trigger: Trigger, now: Timestamp) {
        let snapshot = self.fleet.snapshot(now);
        let forecasts = self.forecasts(&snapshot, now);
        let view = View { snapshot: &snapshot, forecasts: &forecasts, tuning: &self.pace.tuning, seed: self.seed };
        let id = DecisionId { epoch: Epoch(1), number: self.next_number() };
        let decision = decide(&DecideInput { view, id, trigger, mode: Mode::Auto }, self.policy);
        for planned in decision.chosen.steps {
            self.carry_out(&planned.step, &snapshot, now);
        }
    }

    fn forecasts(&self, snapshot: &Snapshot, now: Timestamp) -> Forecasts {
        let forecast = |vm: &VmId| Some((*vm, self.forecaster.forecast(*vm, now)?));
        Forecasts { method: self.forecaster.name().into(), vms: snapshot.vms.keys().filter_map(forecast).collect() }
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
            (Ok(()), None) => self.event(&Event::Ended { outcome: outcome(&command, Ending::Completed, now) }, now),
            (Err(error), _) => {
                let ending = Ending::Failed { reason: error.to_string() };
                self.event(&Event::Ended { outcome: outcome(&command, ending, now) }, now);
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
                limits: MigrationLimits::for_memory(vm.record.memory_max),
            };
            (one.from.clone(), order)
        }
        Step::Sleep { host } => (host.clone(), Order::Sleep),
        Step::Wake { host, by } => (by.clone(), Order::Wake { target: host.clone(), address: None }),
    })
}

fn outcome(command: &Command, ending: Ending, now: Timestamp) -> Outcome {
    let destination = match &command.order {
        Order::Migrate { destination, .. } => Some(destination.clone()),
        Order::Wake { target, .. } => Some(target.clone()),
        Order::Sleep | Order::Cancel { .. } => None,
    };
    Outcome {
        id: command.id,
        vm: command.order.vm(),
        source: command.host.clone(),
        destination,
        ending,
        began_at: now,
        ended_at: now,
        stages: StageTimes::default(),
        downtime: None,
        copied: Bytes::ZERO,
        iterations: 0,
    }
}
