//! Migrations from their order until the inventories say where the vm is.

use crate::{
    id::{CommandId, Generation, HostId, VmId},
    outcome::Ending,
    sample::VmState,
    snapshot::InFlight,
    units::Timestamp,
};

use super::{FleetState, Notes, host::HostState};

/// One migration that is ordered and not settled.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Move {
    pub(super) command: CommandId,
    pub(super) vm: VmId,
    pub(super) source: HostId,
    pub(super) destination: HostId,
    pub(super) since: Timestamp,
    /// How it ended, once it has.
    pub(super) ending: Option<Ending>,
    /// Complete inventories of the source since it ended.
    source_seen: u32,
    /// Complete inventories of the destination since it ended.
    destination_seen: u32,
}

/// What the two hosts of a migration say of its vm in their newest inventories.
#[derive(Debug, Clone, Copy)]
struct Said {
    /// The source claims it running or paused.
    at_source: bool,
    /// The destination claims it running or paused.
    at_destination: bool,
    /// Both inventories are complete.
    complete: bool,
    /// Both hosts are linked, so that what changes on them is heard.
    linked: bool,
}

/// What the inventories say of a migration that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    AtSource,
    AtDestination,
    /// On neither: shut off or deleted.
    Gone,
}

impl Move {
    pub(super) fn new(id: CommandId, vm: VmId, source: HostId, destination: HostId, since: Timestamp) -> Self {
        Self { command: id, vm, source, destination, since, ending: None, source_seen: 0, destination_seen: 0 }
    }

    pub(super) fn end(&mut self, ending: Ending) {
        self.ending = Some(ending);
        self.source_seen = 0;
        self.destination_seen = 0;
    }

    /// A complete inventory of `host` came in.
    pub(super) fn seen(&mut self, host: &HostId) {
        if self.ending.is_some() {
            self.source_seen = self.source_seen.saturating_add(u32::from(*host == self.source));
            self.destination_seen = self.destination_seen.saturating_add(u32::from(*host == self.destination));
        }
    }

    pub(super) fn touches(&self, host: &HostId) -> bool {
        self.source == *host || self.destination == *host
    }

    /// True while it explains that both its hosts claim to run the vm: their inventories come one after the other.
    pub(super) fn explains_both(&self) -> bool {
        match self.ending {
            None => true,
            Some(Ending::Completed | Ending::Unresolved { .. }) => self.source_seen < 2,
            Some(_) => false,
        }
    }

    pub(super) fn in_flight(&self) -> InFlight {
        InFlight {
            command: self.command,
            vm: self.vm,
            source: self.source.clone(),
            destination: self.destination.clone(),
            since: self.since,
        }
    }

    /// Where the vm is, if that can be told.
    fn verdict(&self, said: Said) -> Option<Verdict> {
        let ending = self.ending.as_ref()?;
        let Said { at_source, at_destination, complete, linked } = said;
        let seen = |source, destination| complete && self.source_seen >= source && self.destination_seen >= destination;
        let stayed = matches!(ending, Ending::Failed { .. } | Ending::Cancelled { .. } | Ending::Abandoned { .. });
        match (at_source, at_destination) {
            (false, true) if *ending == Ending::Completed && complete => Some(Verdict::AtDestination),
            (false, true) if seen(1, 1) => Some(Verdict::AtDestination),
            // The agent saw it fail and the source still has it: a destination that died of it need not agree.
            (true, false) if stayed => Some(Verdict::AtSource),
            // "Completed", but the source insists: once is an inventory from before, twice is the truth.
            (true, false) if seen(if *ending == Ending::Completed { 2 } else { 1 }, 1) => Some(Verdict::AtSource),
            // A host whose link is lost may have started it anew since.
            (false, false) if !linked => None,
            (false, false) if seen(2, 2) || (*ending == Ending::VmGone && seen(1, 1)) => Some(Verdict::Gone),
            _ => None,
        }
    }
}

impl FleetState {
    /// The unsettled migration of a vm; the oldest where there are several.
    pub(super) fn move_of(&self, vm: VmId) -> Option<&Move> {
        self.moves.of(vm).next()
    }

    /// Opens the locks of all migrations that the inventories have settled; gives the vms concerned.
    pub(super) fn settle(&mut self, now: Timestamp, notes: &mut Notes) -> Vec<VmId> {
        let settled: Vec<_> = self.moves.ended().filter_map(|one| Some((one.command, self.judge(one)?))).collect();
        settled.into_iter().filter_map(|(command, verdict)| self.unlock(command, verdict, now, notes)).collect()
    }

    fn judge(&self, one: &Move) -> Option<Verdict> {
        let claims = |host| {
            let claim = self.vms.get(&one.vm).and_then(|vm| vm.claims.get(host));
            claim.is_some_and(|c| c.missing == 0 && matches!(c.record.state, VmState::Running | VmState::Paused))
        };
        let both = |holds: fn(&HostState) -> bool| {
            [&one.source, &one.destination].into_iter().all(|host| self.hosts.get(host).is_some_and(holds))
        };
        one.verdict(Said {
            at_source: claims(&one.source),
            at_destination: claims(&one.destination),
            complete: both(|host| host.inventory.complete),
            linked: both(|host| host.connected),
        })
    }

    fn unlock(&mut self, command: CommandId, verdict: Verdict, now: Timestamp, notes: &mut Notes) -> Option<VmId> {
        let one = self.moves.remove(command)?;
        if let Some(vm) = self.vms.get_mut(&one.vm) {
            vm.last_moved_at = Some(now);
            // An agent that reports "completed" counts a new placement, so one is counted here even where it was wrong.
            if verdict == Verdict::AtDestination || one.ending == Some(Ending::Completed) {
                vm.generation = Generation(vm.generation.0.saturating_add(1));
            }
            if verdict == Verdict::AtDestination {
                vm.host = one.destination.clone();
            }
        }
        let place = match verdict {
            Verdict::AtSource => format!("it is on {}", one.source),
            Verdict::AtDestination => format!("it is on {}", one.destination),
            Verdict::Gone => "it is on neither host".into(),
        };
        notes.push(format!("vm {} is free again after {command}: {place}", one.vm));
        Some(one.vm)
    }
}
