//! Moves found by vm and by host: those under way, and those accepted in this round. Every rule asks about a vm or a host, and
//! a large fleet has a thousand of either.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    decision::Step,
    id::{HostId, VmId},
    proposal::Move,
    snapshot::InFlight,
};

/// Moves, in the order they came.
#[derive(Debug, Clone, Default)]
pub(super) struct Traffic {
    moves: Vec<Move>,
    of: BTreeMap<VmId, Vec<usize>>,
    from: BTreeMap<HostId, Vec<usize>>,
    to: BTreeMap<HostId, Vec<usize>>,
}

impl Traffic {
    /// What is under way.
    pub(super) fn flying(flights: &[InFlight]) -> Self {
        let mut traffic = Self::default();
        for flight in flights {
            traffic.add(Move { vm: flight.vm, from: flight.source.clone(), to: flight.destination.clone() });
        }
        traffic
    }

    fn add(&mut self, one: Move) {
        let index = self.moves.len();
        self.of.entry(one.vm).or_default().push(index);
        self.from.entry(one.from.clone()).or_default().push(index);
        self.to.entry(one.to.clone()).or_default().push(index);
        self.moves.push(one);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.moves.len()
    }

    /// Those of a vm.
    pub(super) fn of(&self, vm: VmId) -> impl Iterator<Item = &Move> {
        self.at(self.of.get(&vm))
    }

    /// Those away from a host.
    pub(super) fn from(&self, host: &HostId) -> impl Iterator<Item = &Move> {
        self.at(self.from.get(host))
    }

    /// Those to a host.
    pub(super) fn to(&self, host: &HostId) -> impl Iterator<Item = &Move> {
        self.at(self.to.get(host))
    }

    fn at<'t>(&'t self, indices: Option<&'t Vec<usize>>) -> impl Iterator<Item = &'t Move> {
        indices.into_iter().flatten().map(|index| &self.moves[*index])
    }
}

/// What has been accepted in this round.
#[derive(Debug, Clone, Default)]
pub(super) struct Accepted {
    /// Its moves.
    pub(super) moves: Traffic,
    asleep: BTreeSet<HostId>,
}

impl Accepted {
    /// Takes another step.
    pub(super) fn add(&mut self, step: Step) {
        match step {
            Step::Migrate(one) => self.moves.add(one),
            Step::Sleep { host } => drop(self.asleep.insert(host)),
            Step::Wake { .. } => {}
        }
    }

    /// Whether this very move is among them.
    pub(super) fn has(&self, one: &Move) -> bool {
        self.moves.of(one.vm).any(|accepted| accepted == one)
    }

    /// Whether a host is to fall asleep.
    pub(super) fn falls_asleep(&self, host: &HostId) -> bool {
        self.asleep.contains(host)
    }
}
