//! Outcomes and orders against what really happened to the vm.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ballast_core::{
    command::Order,
    id::{CommandId, Epoch, Generation, HostId, VmId},
    outcome::{Ending, Outcome},
};
use ballast_scheduler::journal::{Entry, OpenIntent, Record};

use super::Judge;
use crate::simulation::{books::Note, watch::LOOK, witness::Effect};

impl Judge<'_> {
    /// I6 and I11: what was abandoned never ran, and an outcome says what really happened, after it has.
    pub(super) fn truth(
        &mut self,
        intent: &OpenIntent,
        (vm, destination): (VmId, &HostId),
        outcome: &Outcome,
        effect: Option<&Effect>,
        at: Duration,
    ) {
        let id = outcome.id;
        let Some(effect) = effect else {
            // Its host lost power before it began, and somebody started the vm where it was to go: the next life of the agent
            // cannot tell that from a move that succeeded.
            let given = self.run.shown.truth(id.epoch, intent.ordered_at);
            let is_there = || self.watch.places(vm, given, at).iter().flatten().any(|host| host == destination);
            if outcome.ending == Ending::Completed && !is_there() {
                self.break_it(format!("I11: {id} completed and was never begun"));
            }
            return;
        };
        if matches!(outcome.ending, Ending::Abandoned { .. }) {
            self.break_it(format!("I6: {id} was abandoned and ran"));
        }
        let flight = self.watch.flights.iter().find(|flight| flight.vm == vm && flight.from + 2 * LOOK >= effect.at);
        let until = flight.filter(|flight| flight.from <= effect.at + 2 * LOOK).map(|flight| flight.until);
        if until.is_some_and(|until| until > at + 2 * LOOK) {
            self.break_it(format!("I3: {id} was closed {:?} while its migration ran", outcome.ending));
        }
        let places = self.watch.places(vm, effect.at, until.unwrap_or(effect.at).max(at) + 2 * LOOK);
        let arrived = places.iter().flatten().any(|host| host == destination);
        // Somebody else may have moved it back, or started it there again: who looks later cannot know, and says what is.
        let is_back = || {
            let now = self.watch.places(vm, at.saturating_sub(2 * LOOK), at);
            now.iter().flatten().any(|host| *host == intent.command.host)
        };
        let stayed = places.iter().flatten().any(|host| *host == intent.command.host);
        let lies = match outcome.ending {
            Ending::Completed => !arrived,
            Ending::Failed { .. } | Ending::Cancelled { .. } => {
                !stayed || until.is_some() && self.has_left(vm, destination, effect.at, until) && !is_back()
            }
            // Neither of the two hosts had it when they were asked; whether somebody else moved it on, or started it since,
            // nobody there could say.
            Ending::VmGone => {
                let mut since = self.watch.places(vm, effect.at, at).into_iter();
                since.all(|host| host.is_some_and(|host| host == *destination || host == intent.command.host))
            }
            Ending::Abandoned { .. } | Ending::Unresolved { .. } => false,
        };
        if lies {
            self.break_it(format!("I11: {id} is said to have ended {:?}, but {vm} was on {places:?}", outcome.ending));
        }
    }

    /// Whether a migration brought its vm to the destination: it is there when it is over.
    fn has_left(&self, vm: VmId, destination: &HostId, from: Duration, until: Option<Duration>) -> bool {
        let until = until.unwrap_or(from) + 2 * LOOK;
        self.watch.places(vm, until, until).iter().flatten().any(|host| host == destination)
    }

    /// I12: of the placements that an epoch counts for a vm, none is named again once a move has ended it.
    pub(super) fn placed_anew(
        &mut self,
        journals: &[Vec<Entry>],
        placements: &BTreeMap<CommandId, (VmId, Generation)>,
    ) {
        let completed = |entry: &Entry| match &entry.record {
            Record::Outcome { outcome } if outcome.ending == Ending::Completed => Some(outcome.id),
            _ => None,
        };
        let completed: BTreeSet<CommandId> = journals.iter().flatten().filter_map(completed).collect();
        let mut least: BTreeMap<(Epoch, VmId), Generation> = BTreeMap::new();
        for id in self.effects.iter().filter_map(|effect| effect.id).collect::<Vec<_>>() {
            let Some((vm, generation)) = placements.get(&id).copied() else { continue };
            let least = least.entry((id.epoch, vm)).or_default();
            if generation < *least {
                self.break_it(format!("I12: {id} moves {vm} from placement {generation}, which is over"));
            }
            *least = if completed.contains(&id) { Generation(generation.0 + 1) } else { generation };
        }
    }
}

/// The placement that an accepted order to move a vm names.
pub(super) fn placement(note: &Note) -> Option<(CommandId, (VmId, Generation))> {
    let Note::Accepted { command, .. } = note else { return None };
    match &command.order {
        Order::Migrate { vm, generation, .. } => Some((command.id, (*vm, *generation))),
        _ => None,
    }
}
