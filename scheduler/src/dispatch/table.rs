//! Every command from its intent to its outcome: a state machine without clock, journal or network.
//!
//! `dispatch::task` owns it, tells it what happened, and carries out the effects it returns, in order. All times are the
//! scheduler's monotonic clock.
//!
//! ```text
//!   issue ─▶ Sent ──accepted, running──▶ Held ──finished──▶ closing ─▶ (journalled) ─▶ gone
//!             │ not answered: again          │ silent: ask
//!             │ time to live over: ask       ▼
//!             └──────────▶ Asked ──unknown──▶ closing: abandoned; unresolved where it once was held
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ballast_core::{
    command::{Command, CommandStatus, DenyReason, Order, Progress, Report},
    id::{CommandId, Epoch, HostId, VmId},
    outcome::{Ending, Outcome},
    units::Timestamp,
};

use crate::engine::{CommandSettings, ToAgent};

/// Longest pause between two repetitions or questions.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// A host that said goodbye and has been away for so long sleeps: one that stays awake after all is back by then and says so.
const FALLING_ASLEEP: Duration = Duration::from_secs(30);

/// What is to be done because of what happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Put a message into a host's outbox.
    Send(HostId, ToAgent),
    /// The agent has journalled the command: journal that.
    Accepted(CommandId),
    /// The host goes to sleep by the command: journal that, call [`Table::goodbye_heard`] and let it.
    Goodbye(CommandId, HostId),
    /// Show how far a command is.
    Progress(CommandId, Progress),
    /// Journal the outcome, then call [`Table::closed`].
    Close(Outcome),
    /// A newer epoch exists.
    StepDown(Epoch),
    /// The command was sent once more.
    Resent(CommandId),
    /// The command has been open for long and its host cannot be asked.
    Alarm(CommandId),
    /// A report of a command nobody knows.
    Unknown(CommandId),
}

/// What is known of a command.
#[derive(Debug, Clone, PartialEq)]
enum Standing {
    /// Sent, or to be sent, and not answered.
    Sent { tries: u32, next: Duration },
    /// Its agent has it.
    Held { heard: Duration },
    /// Its agent is to say whether it has it.
    Asked { tries: u32, next: Duration, held: bool },
    /// It is over; the outcome waits to be journalled.
    Closing { outcome: Box<Outcome>, next: Duration },
}

#[derive(Debug, Clone, PartialEq)]
struct Open {
    command: Command,
    issued: Duration,
    standing: Standing,
    /// When the host, which goes to sleep by it and has said so, was last there.
    here: Option<Duration>,
    alarmed: bool,
}

/// The open commands.
#[derive(Debug)]
pub(crate) struct Table {
    epoch: Epoch,
    settings: CommandSettings,
    open: BTreeMap<CommandId, Open>,
    unresolved: BTreeMap<CommandId, Command>,
    connected: BTreeSet<HostId>,
}

impl Table {
    /// An empty table of the scheduler's epoch.
    pub(crate) fn new(epoch: Epoch, settings: CommandSettings) -> Self {
        let (open, unresolved, connected) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { epoch, settings, open, unresolved, connected }
    }

    /// Takes over a command of an earlier start: its agent will be asked when it connects.
    pub(crate) fn adopt(&mut self, command: Command, accepted: bool, now: Duration) {
        let standing = Standing::Asked { tries: 0, next: now, held: accepted };
        self.open.insert(command.id, Open::new(command, standing, now));
    }

    /// Remembers a command whose outcome is unresolved: a later, better report replaces it.
    pub(crate) fn adopt_unresolved(&mut self, command: Command) {
        self.unresolved.insert(command.id, command);
    }

    /// The open command that holds `vm`.
    pub(crate) fn holder(&self, vm: VmId) -> Option<CommandId> {
        self.open.values().find(|open| open.command.order.vm() == Some(vm)).map(|open| open.command.id)
    }

    /// An open command that `host` carries out, whatever it is. An order to sleep stays open when the host sleeps before it
    /// could say so.
    pub(crate) fn carried_out_by(&self, host: &HostId) -> Option<CommandId> {
        self.open.values().find(|open| open.command.host == *host).map(|open| open.command.id)
    }

    /// The open order that wakes `host`.
    pub(crate) fn wake_of(&self, host: &HostId) -> Option<CommandId> {
        let is_it = |command: &Command| matches!(&command.order, Order::Wake { target, .. } if target == host);
        self.open.values().find(|open| is_it(&open.command)).map(|open| open.command.id)
    }

    /// The open order to stop a migration.
    pub(crate) fn cancel_of(&self, migration: CommandId) -> Option<CommandId> {
        let order = Order::Cancel { migration };
        self.open.values().find(|open| open.command.order == order).map(|open| open.command.id)
    }

    /// An open command.
    pub(crate) fn command(&self, id: CommandId) -> Option<&Command> {
        self.open.get(&id).map(|open| &open.command)
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Takes a command whose intent is on the disk, and sends it.
    pub(crate) fn issue(&mut self, command: Command, now: Duration) -> Vec<Effect> {
        let send = Effect::Send(command.host.clone(), ToAgent::Command(command.clone()));
        let standing = Standing::Sent { tries: 1, next: now + self.settings.accept_timeout };
        self.open.insert(command.id, Open::new(command, standing, now));
        vec![send]
    }

    /// A host opened a link; it is asked for every command of its own that its hello did not mention. Its reports come
    /// after this, one by one.
    pub(crate) fn connected(&mut self, host: &HostId, mentioned: &BTreeSet<CommandId>, now: Duration) -> Vec<Effect> {
        self.connected.insert(host.clone());
        let mut ask = Vec::new();
        for open in self.open.values_mut().filter(|open| open.command.host == *host) {
            if !mentioned.contains(&open.command.id) && open.standing.becomes_asked(now) {
                ask.push(open.command.id);
            }
        }
        if ask.is_empty() { Vec::new() } else { vec![Effect::Send(host.clone(), ToAgent::Query(ask))] }
    }

    /// A host's link ended.
    pub(crate) fn disconnected(&mut self, host: &HostId) {
        self.connected.remove(host);
    }

    /// The host said that it goes to sleep.
    pub(crate) fn goodbye(&mut self, host: &HostId, now: Duration) -> Vec<Effect> {
        let sleeps = |open: &&mut Open| open.command.host == *host && open.command.order == Order::Sleep;
        let Some(open) = self.open.values_mut().find(sleeps) else { return Vec::new() };
        let mut effects = open.hold(now);
        effects.push(Effect::Goodbye(open.command.id, host.clone()));
        effects
    }

    /// That the host goes to sleep by this command is on the disk: when it is gone, that is carried out.
    pub(crate) fn goodbye_heard(&mut self, id: CommandId, now: Duration) {
        if let Some(open) = self.open.get_mut(&id) {
            open.here = Some(now);
        }
    }

    /// Takes what `host` says of a command at `now`, `at` by the wall clock.
    pub(crate) fn report(&mut self, host: &HostId, report: Report, at: Timestamp, now: Duration) -> Vec<Effect> {
        let id = report.id;
        let mut effects = self.step_down(&report.status);
        let Some(open) = self.open.get_mut(&id).filter(|open| open.command.host == *host) else {
            effects.extend(self.report_of_closed(host, report));
            return effects;
        };
        effects.extend(match report.status {
            CommandStatus::Accepted => open.hold(now),
            CommandStatus::Running(progress) => {
                let mut effects = open.hold(now);
                effects.push(Effect::Progress(id, progress));
                effects
            }
            CommandStatus::Finished(outcome) => open.close(settled(&open.command, outcome), now),
            CommandStatus::Denied(reason) => {
                let reason = format!("denied by {host}: {reason}");
                let outcome = open.command.ended(Ending::Abandoned { reason }, at);
                open.close(outcome, now)
            }
            CommandStatus::Unknown => open.unknown(at, now),
        });
        effects
    }

    /// A denial for a newer epoch than ours says that we were replaced.
    fn step_down(&self, status: &CommandStatus) -> Vec<Effect> {
        match status {
            CommandStatus::Denied(DenyReason::StaleEpoch { current, .. }) if *current > self.epoch => {
                vec![Effect::StepDown(*current)]
            }
            _ => Vec::new(),
        }
    }

    /// A report of a command that is over, or was never ours: its agent may forget it once it is over there too.
    fn report_of_closed(&mut self, host: &HostId, report: Report) -> Vec<Effect> {
        let id = report.id;
        if let CommandStatus::Finished(outcome) = &report.status
            && !matches!(outcome.ending, Ending::Unresolved { .. })
            && let Some(command) = self.unresolved.get(&id).filter(|command| command.host == *host)
        {
            return vec![Effect::Close(settled(command, outcome.clone()))];
        }
        let ack = Effect::Send(host.clone(), ToAgent::ReportAck(id));
        match (report.status.is_final(), report.status) {
            (_, CommandStatus::Unknown) => Vec::new(),
            (true, _) => vec![ack],
            (false, _) => vec![Effect::Unknown(id)],
        }
    }

    /// The outcome is on the disk: the agent may forget it.
    pub(crate) fn closed(&mut self, outcome: &Outcome) -> Vec<Effect> {
        let open = self.open.remove(&outcome.id).map(|open| open.command);
        let Some(command) = open.or_else(|| self.unresolved.remove(&outcome.id)) else { return Vec::new() };
        let ack = Effect::Send(command.host.clone(), ToAgent::ReportAck(outcome.id));
        if matches!(outcome.ending, Ending::Unresolved { .. }) {
            self.unresolved.insert(outcome.id, command);
        }
        vec![ack]
    }

    /// Repeats, asks and warns where it is time to.
    pub(crate) fn tick(&mut self, at: Timestamp, now: Duration) -> Vec<Effect> {
        let (settings, connected) = (self.settings.clone(), &self.connected);
        let mut effects = Vec::new();
        for open in self.open.values_mut() {
            let is_here = connected.contains(&open.command.host);
            effects.extend(open.tick(is_here, (at, now), &settings));
        }
        effects
    }
}

impl Standing {
    /// Turns to asking, at once; false where the command is over already.
    fn becomes_asked(&mut self, now: Duration) -> bool {
        let held = match self {
            Self::Closing { .. } => return false,
            Self::Sent { .. } => false,
            Self::Held { .. } => true,
            Self::Asked { held, .. } => *held,
        };
        *self = Self::Asked { tries: 1, next: now + back_off(Duration::from_secs(2), 1), held };
        true
    }
}

impl Open {
    fn new(command: Command, standing: Standing, issued: Duration) -> Self {
        Self { command, issued, standing, here: None, alarmed: false }
    }

    /// The agent has it.
    fn hold(&mut self, now: Duration) -> Vec<Effect> {
        let known = match self.standing {
            Standing::Held { .. } | Standing::Asked { held: true, .. } => true,
            Standing::Sent { .. } | Standing::Asked { held: false, .. } => false,
            Standing::Closing { .. } => return Vec::new(),
        };
        self.standing = Standing::Held { heard: now };
        self.alarmed = false;
        if known { Vec::new() } else { vec![Effect::Accepted(self.command.id)] }
    }

    /// It is over.
    fn close(&mut self, outcome: Outcome, now: Duration) -> Vec<Effect> {
        if let Standing::Closing { .. } = self.standing {
            return Vec::new();
        }
        let next = now + back_off(Duration::from_secs(2), 1);
        self.standing = Standing::Closing { outcome: Box::new(outcome.clone()), next };
        vec![Effect::Close(outcome)]
    }

    /// The agent has no record of it. With the fence raised by the link's welcome, and nothing sent after the question,
    /// it can never run; but where it once was held, the agent has lost its memory and it may have run.
    fn unknown(&mut self, at: Timestamp, now: Duration) -> Vec<Effect> {
        let host = &self.command.host;
        let ending = match self.standing {
            Standing::Asked { held: false, .. } => {
                Ending::Abandoned { reason: format!("{host} has no record of it and will deny it from now on") }
            }
            Standing::Asked { held: true, .. } | Standing::Held { .. } => {
                Ending::Unresolved { reason: format!("{host} had accepted it and has lost its record of it") }
            }
            // It was sent again since, so the answer may be older than the command's arrival.
            Standing::Sent { .. } | Standing::Closing { .. } => return Vec::new(),
        };
        let outcome = self.command.ended(ending, at);
        self.close(outcome, now)
    }

    fn tick(&mut self, is_here: bool, (at, now): (Timestamp, Duration), settings: &CommandSettings) -> Vec<Effect> {
        let (id, host) = (self.command.id, self.command.host.clone());
        if !is_here && !matches!(self.standing, Standing::Closing { .. }) {
            return if self.sleeps(now) {
                self.close(self.command.ended(Ending::Completed, at), now)
            } else {
                self.alarm(now, settings)
            };
        }
        self.here = self.here.map(|_| now);
        let expired = now >= self.issued + self.command.ttl;
        match &mut self.standing {
            Standing::Sent { tries, next } if now >= *next && !expired => {
                *tries += 1;
                *next = now + back_off(settings.accept_timeout, *tries);
                vec![Effect::Resent(id), Effect::Send(host, ToAgent::Command(self.command.clone()))]
            }
            Standing::Sent { next, .. } if now < *next => Vec::new(),
            Standing::Held { heard } if now < *heard + settings.silence_timeout => Vec::new(),
            Standing::Sent { .. } | Standing::Held { .. } => {
                self.standing.becomes_asked(now);
                vec![Effect::Send(host, ToAgent::Query(vec![id]))]
            }
            Standing::Asked { tries, next, .. } if now >= *next => {
                *tries += 1;
                *next = now + back_off(Duration::from_secs(2), *tries);
                vec![Effect::Send(host, ToAgent::Query(vec![id]))]
            }
            Standing::Closing { outcome, next } if now >= *next => {
                *next = now + Duration::from_secs(2);
                vec![Effect::Close((**outcome).clone())]
            }
            Standing::Asked { .. } | Standing::Closing { .. } => Vec::new(),
        }
    }

    /// Whether its host said goodbye and has been gone for long enough.
    fn sleeps(&self, now: Duration) -> bool {
        self.here.is_some_and(|here| now >= here + FALLING_ASLEEP)
    }

    fn alarm(&mut self, now: Duration, settings: &CommandSettings) -> Vec<Effect> {
        if self.alarmed || now < self.issued + settings.alarm_after {
            return Vec::new();
        }
        self.alarmed = true;
        vec![Effect::Alarm(self.command.id)]
    }
}

/// `first`, doubled with every try after the first, bounded.
fn back_off(first: Duration, tries: u32) -> Duration {
    first.saturating_mul(1 << tries.saturating_sub(1).min(8)).min(BACK_OFF_MAX)
}

/// An agent's outcome, with the command's own data in place of what the agent says of it: an agent decides how a command
/// ended, not what it was.
fn settled(command: &Command, outcome: Outcome) -> Outcome {
    let own = command.ended(outcome.ending.clone(), outcome.ended_at);
    Outcome { id: own.id, vm: own.vm, source: own.source, destination: own.destination, ..outcome }
}

#[cfg(test)]
mod tests;
