//! One proposal that was ordered, and what it has gained so far.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    decision::{Decision, Step, Trigger},
    id::{DecisionId, HostId},
    objective::Objective,
    policy::View,
    power::PowerCurve,
    proposal::{Expectation, Motive, Move},
    risk::HostLoad,
    snapshot::{HostPower, VmView},
    units::{Joules, Timestamp, count},
};

use super::{Gain, Settled};

/// Reliefs of one host within so long are one.
const SOON: Duration = Duration::from_secs(10 * 60);

/// One proposal that was ordered.
#[derive(Debug, Clone)]
pub(super) struct Wager {
    decision: DecisionId,
    policy: String,
    is_relief: bool,
    since: Timestamp,
    /// Time over which it was judged.
    horizon: Duration,
    about: About,
    /// The host that it empties has been seen asleep.
    slept: bool,
    expected: Gain,
    came: Gain,
    legs: Vec<Leg>,
}

/// The host that all moves of a wager concern, where there is one.
#[derive(Debug, Clone, PartialEq)]
enum About {
    /// It is emptied.
    Empties(HostId),
    /// It is relieved.
    Relieves(HostId),
    Other,
}

/// One of its moves.
#[derive(Debug, Clone)]
struct Leg {
    one: Move,
    /// What its copy costs: less than nothing.
    copying: Gain,
    arrived: bool,
    /// When its vm went elsewhere.
    ended: Option<Timestamp>,
}

/// Where the vm of a leg is.
enum Place {
    /// Where it was, or on its way.
    NotYet,
    There,
    /// What it would be like if it had stayed can no longer be told.
    Elsewhere,
}

/// Every proposal of a decision that was to gain something by moving vms.
pub(super) fn of(decision: &Decision, view: View<'_>) -> Vec<Wager> {
    let of_proposal = |(motive, expected, steps): (&Motive, &Expectation, Vec<&Step>)| {
        let moved = |step: &&Step| if let Step::Migrate(one) = step { Some(one.clone()) } else { None };
        let moves: Vec<Move> = steps.iter().filter_map(moved).collect();
        (motive.is_for_gain() && !moves.is_empty()).then(|| Wager::new(decision, motive, expected, moves, view))
    };
    decision.chosen.proposals().into_iter().filter_map(of_proposal).collect()
}

impl Wager {
    fn new(decision: &Decision, motive: &Motive, expected: &Expectation, moves: Vec<Move>, view: View<'_>) -> Self {
        let about = match motive {
            Motive::Consolidation { host } => About::Empties(host.clone()),
            Motive::Replacement { hosts } => {
                let emptied = moves.first().map(|one| &one.from).filter(|from| hosts.contains(from));
                emptied.cloned().map_or(About::Other, About::Empties)
            }
            Motive::Overload { host, .. } => About::Relieves(host.clone()),
            _ => About::Other,
        };
        let objective = Objective::new(view.snapshot, view.tuning);
        let leg = |one: Move| {
            let copying = Gain::of(&objective.copies(std::slice::from_ref(&one)));
            Leg { one, copying, arrived: false, ended: None }
        };
        Self {
            decision: decision.id,
            policy: decision.policy.clone(),
            is_relief: decision.trigger == Trigger::Relief,
            since: decision.at,
            horizon: view.tuning.horizon,
            about,
            slept: false,
            expected: Gain::of(expected),
            came: Gain::default(),
            legs: moves.into_iter().map(leg).collect(),
        }
    }

    /// Takes what belongs to it: the rest of an emptying that is carried out in several rounds, of which each expects the whole
    /// to gain, and a relief soon after this one, which expects to gain beside it. By themselves the moves of a relief would
    /// be worth nothing each as soon as one of them could have been left out.
    pub(super) fn takes(&mut self, later: &mut Self) -> bool {
        let soon = later.since.since(self.since) < SOON;
        let belongs = match &self.about {
            _ if self.about != later.about || self.policy != later.policy => false,
            About::Empties(_) => true,
            About::Relieves(_) => soon && self.is_relief == later.is_relief,
            About::Other => false,
        };
        if belongs {
            self.legs.append(&mut later.legs);
            if matches!(self.about, About::Relieves(_)) {
                self.expected = self.expected + later.expected;
            }
        }
        belongs
    }

    /// The host that it empties.
    fn empties(&self) -> Option<&HostId> {
        if let About::Empties(host) = &self.about { Some(host) } else { None }
    }

    /// Adds what it has gained in `span` up to now: what its hosts would cost if the vms that it moved were still where they
    /// were, less what they do cost.
    pub(super) fn look(&mut self, view: View<'_>, span: Duration) {
        let (mut without, empties) = (BTreeMap::new(), self.empties().cloned());
        for leg in self.legs.iter_mut().filter(|leg| leg.ended.is_none()) {
            match place(leg, empties.as_ref(), view) {
                Place::NotYet => {}
                Place::Elsewhere => leg.ended = Some(view.snapshot.taken_at),
                Place::There => {
                    if !std::mem::replace(&mut leg.arrived, true) {
                        self.came = self.came + leg.copying;
                    }
                    self.came.distance += nearer(&leg.one, view, span);
                    undo(&leg.one, view, &mut without);
                }
            }
        }
        for (host, load) in without {
            let Some((found, actual)) = view.snapshot.hosts.get(host).zip(view.load.host(host)) else { continue };
            let curve = &found.inventory.power;
            let is_asleep = found.power == HostPower::Asleep;
            let drawn = if is_asleep { curve.asleep().over(span) } else { energy(actual, curve, span) };
            self.came.energy += energy(&load, curve, span) - drawn;
            self.came.served += unserved(&load, span) - unserved(actual, span);
            if is_asleep && !std::mem::replace(&mut self.slept, true) {
                self.came.energy += Joules::ZERO - curve.cycle_energy();
            }
        }
    }

    /// What came of it, once there is nothing more to come.
    pub(super) fn settled(&self, view: View<'_>) -> Option<Settled> {
        let now = view.snapshot.taken_at;
        let is_over = now.since(self.since) >= self.horizon || self.legs.iter().all(|leg| leg.ended.is_some());
        is_over.then(|| Settled {
            decision: self.decision,
            policy: self.policy.clone(),
            is_relief: self.is_relief,
            at: now,
            moved: self.legs.iter().filter(|leg| leg.arrived).count(),
            price: view.tuning.overload_joules_per_core_second,
            expected: self.expected_until(now),
            came: self.came,
        })
    }

    /// What was expected of the time for which each vm stayed: all of what its copy costs, and of the rest its part.
    fn expected_until(&self, now: Timestamp) -> Gain {
        let stayed = |leg: &Leg| leg.ended.unwrap_or(now).since(self.since).as_secs_f64();
        let longest = self.horizon.as_secs_f64() * count(self.legs.len());
        let share = (self.legs.iter().map(stayed).sum::<f64>() / longest).min(1.0);
        let copying = self.legs.iter().fold(Gain::default(), |sum, leg| sum + leg.copying);
        (self.expected + copying.times(-1.0)).times(share) + copying
    }
}

fn place(Leg { one, arrived, .. }: &Leg, empties: Option<&HostId>, view: View<'_>) -> Place {
    let Some(vm) = view.snapshot.vms.get(&one.vm) else { return Place::Elsewhere };
    let has_source = view.snapshot.hosts.get(&one.from).is_some_and(|host| {
        // Whoever else empties a host: that it could not sleep with this vm on it is not the doing of this move.
        host.power == HostPower::Awake || empties == Some(&one.from)
    });
    match &vm.host {
        _ if !has_source => Place::Elsewhere,
        _ if vm.locked_by.is_some() => Place::NotYet,
        host if *host == one.to => Place::There,
        host if *host == one.from && !arrived => Place::NotYet,
        _ => Place::Elsewhere,
    }
}

/// Puts the vm back, in the loads of the hosts as they would be without any of its wager's moves.
fn undo<'w>(one: &'w Move, view: View<'_>, without: &mut BTreeMap<&'w HostId, HostLoad>) {
    let Some(vm) = view.load.vm(one.vm) else { return };
    for (host, apply) in [(&one.to, HostLoad::remove as fn(&mut HostLoad, &_)), (&one.from, HostLoad::add)] {
        if let Some(actual) = view.load.host(host) {
            apply(without.entry(host).or_insert(*actual), vm);
        }
    }
}

fn nearer(one: &Move, view: View<'_>, span: Duration) -> Joules {
    let vm = view.snapshot.vms.get(&one.vm).zip(view.load.vm(one.vm));
    let at = |host: &HostId, (vm, load): (&VmView, &crate::risk::VmLoad)| {
        let host = view.snapshot.hosts.get(host)?;
        Some(view.tuning.proximity.of(&host.inventory, &vm.record, load.now(), span.as_secs_f64()))
    };
    vm.and_then(|vm| Some(at(&one.from, vm)? - at(&one.to, vm)?)).unwrap_or(Joules::ZERO)
}

fn energy(load: &HostLoad, curve: &PowerCurve, span: Duration) -> Joules {
    curve.at(load.utilisation(0)).over(span)
}

fn unserved(load: &HostLoad, span: Duration) -> f64 {
    load.now().saturating_sub(load.capacity).get() * span.as_secs_f64()
}
