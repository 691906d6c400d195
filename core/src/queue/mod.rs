//! Decides whether a command may be carried out on this host, and remembers what became of each.
//!
//! Pure: the agent's command task owns one, journals what it accepts before acting on it, and performs it. Nothing waits
//! in here: a command is accepted, answered from the record, or denied with data.
//!
//! ```text
//!   offer ──▶ Denied(reason) ───────────────┐
//!     │  └──▶ Known(status): nothing is done │
//!     ▼                                      ▼
//!   Accepted ──▶ Running(progress) ──▶ Finished, Denied ──acknowledged──▶ remembered, then forgotten
//! ```

mod settled;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::{
    command::{Command, CommandStatus, DenyReason, Order, Progress, Report},
    id::{CommandId, Epoch, Generation, HostId, VmId},
    outcome::{Ending, Outcome},
};
use settled::Settled;

/// Vms whose newest generation is remembered; the longest untouched is forgotten first.
const GENERATIONS: usize = 4096;
/// Commands other than migrations that may be open at once: cancels, wakes and a sleep are each over in seconds.
const OTHERS: usize = 64;

/// What becomes of a command that was offered.
#[derive(Debug, Clone, PartialEq)]
pub enum Admission {
    /// New: journal it, then carry it out.
    Accepted,
    /// Seen before: this is where it stands.
    Known(CommandStatus),
    /// Not carried out, for this reason.
    Denied(DenyReason),
}

/// A command that is accepted and not over.
#[derive(Debug, Clone, PartialEq)]
pub struct Open {
    /// What was ordered.
    pub command: Command,
    /// When it was received, by the agent's monotonic clock.
    pub received_at: Duration,
    /// `Accepted` or `Running`.
    pub status: CommandStatus,
}

/// The commands of one agent.
#[derive(Debug)]
pub struct Queue {
    host: HostId,
    moves_out: usize,
    fence: Epoch,
    open: BTreeMap<CommandId, Open>,
    settled: Settled,
    generations: BTreeMap<VmId, (Epoch, Generation)>,
    generation_order: VecDeque<VmId>,
}

impl Queue {
    /// An empty queue of `host`, which may have `moves_out` migrations under way.
    pub fn new(host: HostId, moves_out: usize) -> Self {
        Self {
            host,
            moves_out,
            fence: Epoch::default(),
            open: BTreeMap::new(),
            settled: Settled::default(),
            generations: BTreeMap::new(),
            generation_order: VecDeque::new(),
        }
    }

    /// The newest epoch seen: what carries an older one is denied.
    pub fn fence(&self) -> Epoch {
        self.fence
    }

    /// Raises the fence; true where that changed it, and it must be journalled before anything is answered.
    pub fn raise_fence(&mut self, epoch: Epoch) -> bool {
        let raised = epoch > self.fence;
        self.fence = self.fence.max(epoch);
        raised
    }

    /// Accepts, answers from the record or denies a command received at `received_at`, at `now`, both by the agent's
    /// monotonic clock. A denial is remembered like any other end, so that a late duplicate is denied too.
    pub fn offer(&mut self, command: Command, received_at: Duration, now: Duration) -> Admission {
        if let Some(status) = self.status(command.id) {
            return Admission::Known(status);
        }
        if let Err(reason) = self.check(&command, received_at, now) {
            self.settled.add(command.id, CommandStatus::Denied(reason.clone()));
            return Admission::Denied(reason);
        }
        self.raise_fence(command.id.epoch);
        self.insert(command, received_at);
        Admission::Accepted
    }

    /// Puts back a command that an earlier life of the agent had journalled as accepted.
    pub fn restore_open(&mut self, command: Command, received_at: Duration) {
        self.raise_fence(command.id.epoch);
        self.insert(command, received_at);
    }

    /// Puts back the end of a command that an earlier life of the agent had journalled.
    pub fn restore_settled(&mut self, id: CommandId, status: CommandStatus) {
        self.settle(id, status);
    }

    fn insert(&mut self, command: Command, received_at: Duration) {
        if let Order::Migrate { vm, generation, .. } = &command.order {
            self.note_generation(*vm, (command.id.epoch, *generation));
        }
        self.open.insert(command.id, Open { command, received_at, status: CommandStatus::Accepted });
    }

    fn check(&self, command: &Command, received_at: Duration, now: Duration) -> Result<(), DenyReason> {
        if command.id.epoch < self.fence {
            return Err(DenyReason::StaleEpoch { given: command.id.epoch, current: self.fence });
        }
        if command.host != self.host {
            return Err(DenyReason::WrongHost { meant: command.host.clone() });
        }
        check_ttl(command, received_at, now)?;
        match &command.order {
            Order::Migrate { vm, generation, .. } => self.check_move(command.id.epoch, *vm, *generation),
            Order::Cancel { migration } => self.check_cancel(*migration),
            Order::Sleep => self.check_sleep(),
            Order::Wake { .. } => self.check_others(),
        }
    }

    fn check_move(&self, epoch: Epoch, vm: VmId, generation: Generation) -> Result<(), DenyReason> {
        let known = self.generations.get(&vm).copied().unwrap_or_default();
        if (epoch, generation) < known {
            return Err(DenyReason::StaleGeneration { given: generation, current: known.1 });
        }
        if let Some(with) = self.migrating(vm).or_else(|| self.sleeping()) {
            return Err(DenyReason::Busy { with });
        }
        let mut moves = self.moves();
        match (moves.next(), moves.count() + 1) {
            (Some(with), under_way) if under_way >= self.moves_out => Err(DenyReason::Busy { with }),
            _ => Ok(()),
        }
    }

    fn check_cancel(&self, migration: CommandId) -> Result<(), DenyReason> {
        let is_move = |open: &Open| open.command.order.vm().is_some();
        if self.open.get(&migration).is_none_or(|open| !is_move(open)) {
            return Err(DenyReason::NothingToCancel { migration });
        }
        self.check_others()
    }

    fn check_sleep(&self) -> Result<(), DenyReason> {
        match self.moves().next().or_else(|| self.sleeping()) {
            Some(with) => Err(DenyReason::Busy { with }),
            None => self.check_others(),
        }
    }

    fn check_others(&self) -> Result<(), DenyReason> {
        let mut others = self.open.values().filter(|open| open.command.order.vm().is_none());
        match others.nth(OTHERS - 1) {
            Some(last) => Err(DenyReason::Busy { with: last.command.id }),
            None => Ok(()),
        }
    }

    fn moves(&self) -> impl Iterator<Item = CommandId> {
        self.open.values().filter(|open| open.command.order.vm().is_some()).map(|open| open.command.id)
    }

    fn migrating(&self, vm: VmId) -> Option<CommandId> {
        self.open.values().find(|open| open.command.order.vm() == Some(vm)).map(|open| open.command.id)
    }

    fn sleeping(&self) -> Option<CommandId> {
        self.open.values().find(|open| open.command.order == Order::Sleep).map(|open| open.command.id)
    }

    /// Whether an accepted command may still be begun at `now`: asked again right before its effect.
    ///
    /// # Errors
    /// [`DenyReason`] where its time to live is over or a newer epoch has been seen since.
    pub fn may_begin(&self, id: CommandId, now: Duration) -> Result<(), DenyReason> {
        let Some(open) = self.open.get(&id) else { return Ok(()) };
        if id.epoch < self.fence {
            return Err(DenyReason::StaleEpoch { given: id.epoch, current: self.fence });
        }
        check_ttl(&open.command, open.received_at, now)
    }

    /// Notes how far an open command is; one that is not open changes nothing.
    pub fn progress(&mut self, id: CommandId, progress: Progress) {
        if let Some(open) = self.open.get_mut(&id) {
            open.status = CommandStatus::Running(progress);
        }
    }

    /// Notes that a command is over.
    pub fn finish(&mut self, outcome: Outcome) {
        if let (Some(vm), Ending::Completed) = (outcome.vm, &outcome.ending) {
            let known = self.generations.get(&vm).copied().unwrap_or_default();
            self.note_generation(vm, (known.0, Generation(known.1.0 + 1)));
        }
        self.settle(outcome.id, CommandStatus::Finished(outcome));
    }

    /// Notes that an accepted command was refused before it had any effect.
    pub fn deny(&mut self, id: CommandId, reason: DenyReason) {
        self.settle(id, CommandStatus::Denied(reason));
    }

    fn settle(&mut self, id: CommandId, status: CommandStatus) {
        self.open.remove(&id);
        if self.settled.status(id).is_none() {
            self.settled.add(id, status);
        }
    }

    /// The scheduler has journalled the end of a command; true where it was still owed.
    pub fn acknowledge(&mut self, id: CommandId) -> bool {
        self.settled.acknowledge(id)
    }

    /// Where a command stands, if it is known.
    pub fn status(&self, id: CommandId) -> Option<CommandStatus> {
        self.open.get(&id).map(|open| open.status.clone()).or_else(|| self.settled.status(id).cloned())
    }

    /// Answers a query: the report of every command named, `Unknown` for those never seen.
    pub fn answer(&self, id: CommandId) -> Report {
        Report { id, status: self.status(id).unwrap_or(CommandStatus::Unknown) }
    }

    /// All the scheduler must be told: what is open, and what is over and not acknowledged.
    pub fn reports(&self) -> Vec<Report> {
        let open = self.open.iter().map(|(id, open)| Report { id: *id, status: open.status.clone() });
        let owed = self.settled.owed().map(|(id, status)| Report { id, status: status.clone() });
        open.chain(owed).collect()
    }

    /// What is accepted and not over.
    pub fn open(&self) -> impl Iterator<Item = &Open> {
        self.open.values()
    }

    /// Ends owed to the scheduler that had to be dropped because it acknowledged none for too long.
    pub fn dropped(&self) -> u64 {
        self.settled.dropped()
    }

    fn note_generation(&mut self, vm: VmId, placement: (Epoch, Generation)) {
        let known = self.generations.entry(vm).or_default();
        *known = placement.max(*known);
        self.generation_order.retain(|other| *other != vm);
        self.generation_order.push_back(vm);
        if self.generation_order.len() > GENERATIONS {
            let oldest = self.generation_order.pop_front();
            oldest.and_then(|oldest| self.generations.remove(&oldest));
        }
    }
}

fn check_ttl(command: &Command, received_at: Duration, now: Duration) -> Result<(), DenyReason> {
    let waited = now.saturating_sub(received_at);
    if waited <= command.ttl {
        return Ok(());
    }
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    Err(DenyReason::Expired { waited_ms: millis(waited), ttl_ms: millis(command.ttl) })
}
