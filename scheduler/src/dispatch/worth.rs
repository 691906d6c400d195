//! Follows every copy under way by its agent's reports, and stops the moves that are no longer worth what they still cost.
//!
//! What is left and whether it is worth it, core says ([`Renewed`]). Here its verdict becomes an order like any other: journalled,
//! sent, repeated and answered. Only in mode `auto`, for nobody else than an operator stops what an operator approved.

use std::collections::BTreeMap;

use ballast_core::{
    command::{Order, Progress},
    decision::Mode,
    id::CommandId,
    migration_cost::{GiveUp, Judged, Renewed},
};

use super::{Dispatcher, table::Effect};
use crate::journal::{OpenIntent, Record};

/// Who is said to have asked for a move to be stopped.
const WHO: &str = "ballast";

/// The copies under way.
#[derive(Debug, Default)]
pub(super) struct Copies(BTreeMap<CommandId, Renewed>);

impl Copies {
    /// Those of the intents of an earlier start; of what was reported then nothing is known.
    pub(super) fn of<'a>(intents: impl IntoIterator<Item = &'a OpenIntent>) -> Self {
        let mut copies = Self::default();
        intents.into_iter().for_each(|intent| copies.begin(intent));
        copies
    }

    /// Follows the copy that an intent orders, where one was reckoned.
    pub(super) fn begin(&mut self, intent: &OpenIntent) {
        let Order::Migrate { limits, .. } = &intent.command.order else { return };
        if let (Some(copy), Some(stake)) = (&intent.copy, &intent.stake) {
            self.0.insert(intent.command.id, Renewed::new(copy.job, *limits, stake.prices, stake.worth));
        }
    }

    /// A command is over.
    pub(super) fn end(&mut self, id: CommandId) {
        self.0.remove(&id);
    }

    fn report(&mut self, id: CommandId, progress: &Progress) -> Option<Judged> {
        self.0.get_mut(&id)?.report(progress)
    }
}

impl Dispatcher {
    /// Takes how far a migration is; what is to be done where it is given up.
    pub(super) async fn progressed(&mut self, id: CommandId, progress: Progress) -> Vec<Effect> {
        let judged = self.worth.report(id, &progress);
        self.shared.history.progressed(id, progress, judged.map(|judged| judged.rest));
        let give_up = judged.and_then(|judged| judged.give_up);
        match give_up.filter(|_| self.shared.mode() == Mode::Auto) {
            Some(reason) => self.give_up(id, &reason).await,
            None => Vec::new(),
        }
    }

    /// Orders a migration to stop. Where that cannot be ordered now, the next reports come to the same.
    async fn give_up(&mut self, migration: CommandId, reason: &GiveUp) -> Vec<Effect> {
        let Some(known) = self.shared.history.migration(migration) else { return Vec::new() };
        if self.table.cancel_of(migration).is_some() {
            return Vec::new();
        }
        let (id, ttl) = (self.shared.command_id(), self.shared.settings.commands.ttl);
        let why = format!("given up: {reason}");
        let intent = OpenIntent::stopping(known, (id, ttl), why, self.shared.clock.now());
        if let Some(why) = self.refusal(&intent.command, &[]) {
            tracing::debug!(%migration, why, %reason, "not worth going on with, and cannot be stopped now");
            return Vec::new();
        }
        let asked = Record::CancelRequested { migration, by: id, who: WHO.to_owned() };
        if self.journal.write(vec![asked, Record::Intent { intent: Box::new(intent.clone()) }]).await.is_err() {
            return Vec::new();
        }
        self.shared.counters.gave_up(reason.kind());
        self.begin(intent).await
    }
}
