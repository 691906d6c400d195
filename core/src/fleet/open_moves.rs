//! The unsettled migrations, found by vm and by host: a fleet of ten thousand hosts may have a thousand of them, and every
//! inventory asks about each vm that it lists.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    id::{CommandId, HostId, VmId},
    outcome::Ending,
};

use super::moves::Move;

/// Migrations that are ordered and not yet settled, in order of their commands.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct OpenMoves {
    open: BTreeMap<CommandId, Move>,
    by_vm: BTreeMap<VmId, BTreeSet<CommandId>>,
    by_host: BTreeMap<HostId, BTreeSet<CommandId>>,
    ended: BTreeSet<CommandId>,
}

impl OpenMoves {
    /// Takes one that was ordered.
    pub(super) fn insert(&mut self, one: Move) {
        self.by_vm.entry(one.vm).or_default().insert(one.command);
        for host in [&one.source, &one.destination] {
            self.by_host.entry(host.clone()).or_default().insert(one.command);
        }
        self.open.insert(one.command, one);
    }

    /// Forgets one.
    pub(super) fn remove(&mut self, command: CommandId) -> Option<Move> {
        let one = self.open.remove(&command)?;
        self.ended.remove(&command);
        drop_from(&mut self.by_vm, &one.vm, command);
        [&one.source, &one.destination].into_iter().for_each(|host| drop_from(&mut self.by_host, host, command));
        Some(one)
    }

    /// One of them.
    pub(super) fn get(&self, command: CommandId) -> Option<&Move> {
        self.open.get(&command)
    }

    /// All, the oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Move> {
        self.open.values()
    }

    /// Those of a vm, the oldest first: more than one only where a history is replayed out of order.
    pub(super) fn of(&self, vm: VmId) -> impl Iterator<Item = &Move> {
        self.by_vm.get(&vm).into_iter().flatten().filter_map(|command| self.open.get(command))
    }

    /// True where one leaves or reaches the host.
    pub(super) fn touch(&self, host: &HostId) -> bool {
        self.by_host.contains_key(host)
    }

    /// Those that have ended, the oldest first.
    pub(super) fn ended(&self) -> impl Iterator<Item = &Move> {
        self.ended.iter().filter_map(|command| self.open.get(command))
    }

    /// One has ended so; its vm, where it is known.
    pub(super) fn end(&mut self, command: CommandId, ending: Ending) -> Option<VmId> {
        let one = self.open.get_mut(&command)?;
        one.end(ending);
        self.ended.insert(command);
        Some(one.vm)
    }

    /// A complete inventory of `host` came in.
    pub(super) fn seen(&mut self, host: &HostId) {
        for command in self.by_host.get(host).into_iter().flatten() {
            if let Some(one) = self.open.get_mut(command) {
                one.seen(host);
            }
        }
    }

    /// Every contradiction between what is open and how it is found, in words; empty unless there is a bug.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut anew = Self::default();
        for one in self.open.values() {
            anew.insert(one.clone());
            if one.ending.is_some() {
                anew.ended.insert(one.command);
            }
        }
        if anew == *self { Vec::new() } else { vec![format!("{self:?} is found as {anew:?} would not be")] }
    }
}

fn drop_from<K: Ord>(index: &mut BTreeMap<K, BTreeSet<CommandId>>, key: &K, command: CommandId) {
    if let Some(commands) = index.get_mut(key) {
        commands.remove(&command);
        if commands.is_empty() {
            index.remove(key);
        }
    }
}
