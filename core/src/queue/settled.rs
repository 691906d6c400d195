//! Commands that are over: kept until acknowledged so that the end is told, and longer so that a late duplicate is
//! answered from the record. Both parts are bounded.

use std::collections::{BTreeMap, VecDeque};

use crate::{command::CommandStatus, id::CommandId};

/// Ends that may be owed to the scheduler at once: days of it being away, at the rate a host is commanded.
const OWED: usize = 1024;
/// Acknowledged ends remembered for duplicates: far more than can be under way in one stream.
const REMEMBERED: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Settled {
    statuses: BTreeMap<CommandId, CommandStatus>,
    owed: VecDeque<CommandId>,
    remembered: VecDeque<CommandId>,
    dropped: u64,
}

impl Settled {
    pub(super) fn add(&mut self, id: CommandId, status: CommandStatus) {
        self.statuses.insert(id, status);
        self.owed.push_back(id);
        if self.owed.len() > OWED {
            self.dropped += 1;
            let oldest = self.owed.pop_front();
            oldest.into_iter().for_each(|oldest| self.remember(oldest));
        }
    }

    pub(super) fn acknowledge(&mut self, id: CommandId) -> bool {
        let before = self.owed.len();
        self.owed.retain(|owed| *owed != id);
        let was_owed = self.owed.len() < before;
        if was_owed {
            self.remember(id);
        }
        was_owed
    }

    fn remember(&mut self, id: CommandId) {
        self.remembered.push_back(id);
        if self.remembered.len() > REMEMBERED {
            let oldest = self.remembered.pop_front();
            oldest.and_then(|oldest| self.statuses.remove(&oldest));
        }
    }

    pub(super) fn status(&self, id: CommandId) -> Option<&CommandStatus> {
        self.statuses.get(&id)
    }

    pub(super) fn owed(&self) -> impl Iterator<Item = (CommandId, &CommandStatus)> {
        self.owed.iter().filter_map(|id| Some((*id, self.statuses.get(id)?)))
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}
