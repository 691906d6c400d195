//! The shield: says of every wish what stands against it. Nothing reaches an agent that it has not passed.
//!
//! It shares no code with any policy: it adds up demand with [`crate::risk`], reckons copies with [`crate::objective`] and reads
//! the snapshot, that is all. A
//! policy gone mad can at worst propose what is denied here, with a reason. Called by [`crate::decide`] for proposals
//! and for each step of a plan, and by the scheduler before it carries out what was approved later.

mod checks;
mod exchange;
#[cfg(test)]
mod group_tests;
mod groups;
mod loss;
mod power;
#[cfg(test)]
mod tests;
mod traffic;

use crate::{
    decision::{Planned, Step},
    finding::Finding,
    forecast::Forecasts,
    id::HostId,
    proposal::{Action, Motive, Move},
    risk::{HostLoad, KnownLoad, Risk},
    snapshot::{Doubt, HostPower, HostView, Snapshot},
    tuning::Tuning,
    units::{Bytes, count},
};

pub use exchange::Footing;
use groups::Groups;
use traffic::{Accepted, Traffic};

/// Holds one snapshot, and what has been accepted on top of it.
#[derive(Debug, Clone)]
pub struct Guard<'a> {
    snapshot: &'a Snapshot,
    tuning: &'a Tuning,
    risk: Risk,
    load: KnownLoad<'a>,
    groups: Groups<'a>,
    /// What is under way.
    flying: Traffic,
    accepted: Accepted,
    /// Stands against everything.
    silence: Vec<Finding>,
}

impl<'a> Guard<'a> {
    /// Guards `snapshot`.
    pub fn new(snapshot: &'a Snapshot, forecasts: &Forecasts, tuning: &'a Tuning) -> Self {
        // A policy packs new vms with caution; what is denied to an operator rests on what is known.
        Self::with(snapshot, tuning, KnownLoad::of(snapshot, forecasts))
    }

    /// Guards `snapshot`, of which somebody has added up the `load`.
    pub fn with(snapshot: &'a Snapshot, tuning: &'a Tuning, load: KnownLoad<'a>) -> Self {
        Self {
            snapshot,
            tuning,
            risk: Risk::of(tuning),
            load,
            groups: Groups::of(snapshot),
            flying: Traffic::flying(&snapshot.in_flight),
            accepted: Accepted::default(),
            silence: silence(snapshot, tuning),
        }
    }

    /// Everything that stands against `action`, with what was accepted before counted in. Bounds on concurrent moves are
    /// not asked of an evacuation or an exchange: they are a matter of several rounds, and each of their steps is asked.
    pub fn check(&self, action: &Action, motive: &Motive) -> Vec<Finding> {
        let mut findings = self.silence.clone();
        match action {
            Action::Relocate(one) => findings.extend(self.check_moves(std::slice::from_ref(one), motive)),
            Action::Together { moves } => findings.extend(self.check_moves(moves, motive)),
            Action::Evacuate { host, moves } => findings.extend(self.check_evacuation(host, moves, motive)),
            Action::Swap(both) => findings.extend(exchange::outcome(self, both, motive)),
            Action::Wake { host } => findings.extend(power::wake(self, host, motive)),
            Action::Sleep { host } => findings.extend(power::sleep(self, host)),
        }
        findings
    }

    /// Everything that stands against carrying out one step now.
    pub fn check_step(&self, step: &Step, motive: &Motive) -> Vec<Finding> {
        match step {
            Step::Migrate(one) => self.check(&Action::Relocate(one.clone()), motive),
            Step::Sleep { host } => self.check(&Action::Sleep { host: host.clone() }, motive),
            Step::Wake { host, .. } => self.check(&Action::Wake { host: host.clone() }, motive),
        }
    }

    /// Everything that stands against beginning a planned step now. A bundle is asked for as a whole, its moves that were
    /// accepted already left out; a step of an exchange is asked for with the room there is before the other has gone.
    pub fn check_planned(&self, planned: &Planned) -> Vec<Finding> {
        match (&planned.step, &planned.part_of) {
            (Step::Migrate(_), Some(Action::Together { moves })) => {
                let open = moves.iter().filter(|one| !self.accepted.has(one));
                let open: Vec<Move> = open.cloned().collect();
                let mut findings = self.silence.clone();
                findings.extend(self.movements(&open, &planned.motive));
                findings.extend(checks::concurrency(self, moves));
                findings
            }
            (Step::Migrate(one), Some(Action::Swap(both))) => {
                let mut findings = self.silence.clone();
                findings.extend(exchange::step(self, one, both, &planned.motive));
                findings
            }
            _ => self.check_step(&planned.step, &planned.motive),
        }
    }

    /// Counts a step as accepted: whatever is checked from now on has to live with it.
    pub fn accept(&mut self, step: Step) {
        self.accepted.add(step);
    }

    /// The awake, trusted host that can carry out the order to wake `host`.
    pub fn waker_of(&self, host: &HostId) -> Option<&'a HostId> {
        let can = |other: &&HostView| other.id() != host && other.power == HostPower::Awake && other.is_trusted();
        self.snapshot.hosts.values().filter(can).find(|other| !self.falls_asleep(other.id())).map(HostView::id)
    }

    /// The snapshot it guards.
    pub fn snapshot(&self) -> &'a Snapshot {
        self.snapshot
    }

    /// What an exchange of two vms has to go by: the memory free around it, and hosts that could take one for a time.
    pub fn footing(&self, both: &[Move; 2], motive: &Motive) -> Footing {
        Footing::of(self, both, motive)
    }

    fn check_moves(&self, moves: &[Move], motive: &Motive) -> Vec<Finding> {
        let mut findings = self.movements(moves, motive);
        findings.extend(checks::concurrency(self, moves));
        findings
    }

    fn movements(&self, moves: &[Move], motive: &Motive) -> Vec<Finding> {
        let each = |index: usize| checks::movement(self, motive, &checks::Wish { whole: moves, index, leaving: None });
        (0..moves.len()).flat_map(each).collect()
    }

    fn check_evacuation(&self, host: &HostId, moves: &[Move], motive: &Motive) -> Vec<Finding> {
        let mut findings = Vec::new();
        if !self.snapshot.hosts.contains_key(host) {
            findings.push(Finding::UnknownHost { host: host.clone() });
        }
        for (index, one) in moves.iter().enumerate() {
            if one.from != *host {
                findings.push(Finding::NotThere { vm: one.vm, claimed: host.clone(), actual: one.from.clone() });
            }
            findings.extend(checks::movement(self, motive, &checks::Wish { whole: moves, index, leaving: None }));
        }
        let coming = self.accepted.moves.to(host).count();
        let left = self.left_behind(host, moves) + coming;
        if left > 0 && matches!(motive, Motive::Consolidation { .. }) {
            findings.push(Finding::NotEmpty { host: host.clone(), vms: left });
        }
        findings
    }

    /// Vms that `moves` and the migrations under way leave on `host`; what was accepted to come there comes on top.
    fn left_behind(&self, host: &HostId, moves: &[Move]) -> usize {
        let leaves = |vm| {
            let flies = self.flying.of(vm).any(|flight| flight.from == *host);
            flies || moves.iter().any(|one| one.vm == vm)
        };
        self.load.residents(host).filter(|vm| !leaves(*vm)).count()
    }

    /// The hosts that carry the fleet without `host`: usable, awake, and not accepted to fall asleep.
    fn staying(&self, host: &HostId) -> impl Iterator<Item = (&'a HostId, &HostLoad)> {
        // The load has its hosts in the snapshot's order.
        let all = self.snapshot.hosts.values().zip(self.load.hosts().map(|(_, load)| load));
        let stays = move |(other, _): &(&HostView, &HostLoad)| {
            other.is_eligible_target() && other.id() != host && !self.falls_asleep(other.id())
        };
        all.filter(stays).map(|(other, load)| (other.id(), load))
    }

    fn falls_asleep(&self, host: &HostId) -> bool {
        self.accepted.falls_asleep(host)
    }

    /// Memory of `host` that may still be promised.
    fn memory_free(&self, host: &HostId) -> Bytes {
        let load = self.booked(host, &[]);
        load.memory_capacity.scale(self.tuning.memory_ratio).saturating_sub(load.memory)
    }

    /// The load of a host with the accepted moves and `also` on their way to it; nothing is taken off a source, for a vm
    /// may turn back until it has arrived.
    fn booked(&self, host: &HostId, also: &[Move]) -> HostLoad {
        let mut load = self.load.host(host).copied().unwrap_or_default();
        let arriving = self.accepted.moves.to(host).chain(also.iter().filter(|one| one.to == *host));
        arriving.filter_map(|one| self.load.vm(one.vm)).for_each(|vm| load.add(vm));
        load
    }
}

/// Silence of so many hosts that it is likelier ours than theirs. One silent host explains itself.
fn silence(snapshot: &Snapshot, tuning: &Tuning) -> Vec<Finding> {
    let expected = || snapshot.hosts.values().filter(|host| host.power == HostPower::Awake);
    let unheard = |doubt: &Doubt| matches!(doubt, Doubt::Disconnected | Doubt::Silent { .. });
    let silent = expected().filter(|host| host.doubts.iter().any(unheard)).count();
    let of = expected().count();
    let too_many = silent > 1 && count(silent) > tuning.silent_share_max * count(of);
    if too_many { vec![Finding::FleetSilent { silent, of }] } else { Vec::new() }
}

/// Everything that stands against `action` on top of the moves `accepted` before it.
pub fn check(
    action: &Action,
    motive: &Motive,
    snapshot: &Snapshot,
    forecasts: &Forecasts,
    tuning: &Tuning,
    accepted: &[Move],
) -> Vec<Finding> {
    let mut guard = Guard::new(snapshot, forecasts, tuning);
    accepted.iter().for_each(|one| guard.accept(Step::Migrate(one.clone())));
    guard.check(action, motive)
}
