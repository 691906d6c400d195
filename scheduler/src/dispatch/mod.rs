//! Carries commands out: intent on the disk, command to the agent, outcome on the disk, and only then the vm is free.
//!
//! One task owns the table of open commands (`table`, pure) and everything about them happens in its order. It decides
//! nothing about the fleet: the control loop hands it what was decided, and it refuses only what would break the
//! protocol (a vm that is held, a host that is away, a scheduler that was replaced).

mod table;
mod worth;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ballast_core::{
    command::{Command, Order, Report},
    decision::Decision,
    id::{CommandId, DecisionId, HostId},
    migration_cost::Experience,
    outcome::{Ending, Outcome},
    snapshot::Event,
    units::nanos_of,
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    counters::Counters,
    engine::{SessionId, ToAgent},
    journal::{Journal, Ledger, NotDurable, OpenIntent, Record},
    shared::Shared,
    state_task::State,
};
use table::{Effect, Table};
use worth::Copies;

/// Requests that may wait; senders wait beyond.
const QUEUE: usize = 4096;

/// How often timeouts are looked at: a fraction of the shortest.
const TICK: Duration = Duration::from_millis(500);

/// What became of one intent: its command's id, or why it was not given.
pub(crate) type Given = Result<CommandId, String>;

/// What is to be journalled in one write, and then ordered.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Written whatever can be ordered.
    pub(crate) records: Vec<Record>,
    /// The decision, where it is new: written whatever can be ordered.
    pub(crate) decision: Option<Box<Decision>>,
    /// The decision's id.
    pub(crate) id: DecisionId,
    /// Who approved it, where somebody did.
    pub(crate) approved_by: Option<String>,
    /// What is to be ordered.
    pub(crate) intents: Vec<OpenIntent>,
}

#[derive(Debug)]
pub(crate) enum Request {
    /// Journal the plan in one write, then send its commands.
    Issue { plan: Plan, reply: oneshot::Sender<Result<Vec<Given>, NotDurable>> },
    /// A host opened a link.
    Connected { session: SessionId, host: HostId, reports: Vec<Report> },
    /// A link ended.
    Disconnected { session: SessionId, host: HostId },
    /// An agent said where a command stands.
    Report { host: HostId, report: Report },
    /// A host goes to sleep on our order.
    Goodbye { host: HostId },
    /// Answers once all before it is done.
    Settle { reply: oneshot::Sender<()> },
}

/// The way to the dispatcher.
#[derive(Debug, Clone)]
pub(crate) struct Dispatch {
    requests: mpsc::Sender<Request>,
}

impl Dispatch {
    /// Hands a request over; false where the dispatcher has ended.
    pub(crate) async fn tell(&self, request: Request) -> bool {
        self.requests.send(request).await.is_ok()
    }

    /// Journals and gives orders.
    pub(crate) async fn issue(&self, plan: Plan) -> Result<Vec<Given>, NotDurable> {
        let (reply, answer) = oneshot::channel();
        let ended = || NotDurable { why: "the dispatcher has ended".into() };
        if !self.tell(Request::Issue { plan, reply }).await {
            return Err(ended());
        }
        answer.await.map_err(|_| ended())?
    }
}

/// The dispatcher, before it runs.
pub(crate) struct Dispatcher {
    shared: Arc<Shared>,
    journal: Journal,
    state: State,
    table: Table,
    sessions: BTreeMap<HostId, SessionId>,
    asleep: BTreeSet<HostId>,
    copies: Experience,
    /// Migrations that are open, for what is to be watched once they have completed.
    departures: BTreeMap<CommandId, OpenIntent>,
    /// What is left of the copies under way, and what they are worth.
    worth: Copies,
    requests: mpsc::Receiver<Request>,
    beat: Arc<AtomicU64>,
}

impl Dispatcher {
    /// A dispatcher that takes up the open commands of `ledger`.
    pub(crate) fn new(
        shared: Arc<Shared>,
        journal: Journal,
        state: State,
        ledger: &Ledger,
        beat: Arc<AtomicU64>,
    ) -> (Self, Dispatch) {
        let (sender, requests) = mpsc::channel(QUEUE);
        let mut table = Table::new(shared.epoch, shared.settings.commands.clone());
        let now = shared.clock.elapsed();
        for intent in ledger.open.values() {
            table.adopt(intent.command.clone(), intent.accepted, now);
            if intent.said_goodbye {
                table.goodbye_heard(intent.command.id, now);
            }
        }
        for (intent, _) in ledger.unresolved.values() {
            table.adopt_unresolved(intent.command.clone());
        }
        let asleep = ledger.asleep.keys().cloned().collect();
        let (sessions, copies, departures) = (BTreeMap::new(), ledger.copies.clone(), ledger.open.clone());
        let worth = Copies::of(ledger.open.values());
        let dispatcher =
            Self { shared, journal, state, table, sessions, asleep, copies, departures, worth, requests, beat };
        (dispatcher, Dispatch { requests: sender })
    }

    /// Runs until every [`Dispatch`] is gone.
    pub(crate) async fn run(mut self) {
        let mut ticks = self.shared.clock.interval(TICK);
        loop {
            self.beat.store(nanos_of(self.shared.clock.elapsed()), Relaxed);
            tokio::select! {
                biased;
                () = ticks.tick() => {
                    let effects = self.table.tick(self.shared.clock.now(), self.shared.clock.elapsed());
                    self.carry_out(effects).await;
                }
                request = self.requests.recv() => match request {
                    Some(request) => self.handle(request).await,
                    None => return,
                },
            }
            self.shared.counters.commands_open.store(self.table.len() as u64, Relaxed);
        }
    }

    async fn handle(&mut self, request: Request) {
        let now = self.shared.clock.elapsed();
        match request {
            Request::Issue { plan, reply } => {
                let result = self.issue(plan).await;
                // Who asked may have gone; what was given is in the journal all the same.
                drop(reply.send(result));
            }
            Request::Connected { session, host, reports } => self.connected(session, host, reports).await,
            Request::Disconnected { session, host } => {
                if self.sessions.get(&host) == Some(&session) {
                    self.sessions.remove(&host);
                    self.table.disconnected(&host);
                }
            }
            Request::Report { host, report } => {
                let effects = self.table.report(&host, report, self.shared.clock.now(), now);
                self.carry_out(effects).await;
            }
            Request::Goodbye { host } => {
                let effects = self.table.goodbye(&host, now);
                self.carry_out(effects).await;
            }
            Request::Settle { reply } => drop(reply.send(())),
        }
    }

    async fn connected(&mut self, session: SessionId, host: HostId, reports: Vec<Report>) {
        if self.asleep.contains(&host) && self.journal.write(vec![Record::Awake { host: host.clone() }]).await.is_ok() {
            self.asleep.remove(&host);
        }
        self.sessions.insert(host.clone(), session);
        let mentioned = reports.iter().map(|report| report.id).collect();
        let effects = self.table.connected(&host, &mentioned, self.shared.clock.elapsed());
        self.carry_out(effects).await;
        for report in reports {
            let now = self.shared.clock.elapsed();
            let effects = self.table.report(&host, report, self.shared.clock.now(), now);
            self.carry_out(effects).await;
        }
    }

    /// Journals a plan with the intents that can be given, then gives them. Nothing is sent, and nothing is held against
    /// a vm, unless all of it is on the disk.
    async fn issue(&mut self, plan: Plan) -> Result<Vec<Given>, NotDurable> {
        let Plan { mut records, decision, id, approved_by, intents } = plan;
        let mut given: Vec<Given> = Vec::with_capacity(intents.len());
        let mut accepted: Vec<OpenIntent> = Vec::new();
        for intent in intents {
            match self.refusal(&intent.command, &accepted) {
                Some(why) => given.push(Err(why)),
                None => {
                    given.push(Ok(intent.command.id));
                    accepted.push(intent);
                }
            }
        }
        records.extend(decision.map(|decision| Record::Decision { decision }));
        if accepted.iter().any(|intent| !matches!(intent.command.order, Order::Cancel { .. })) {
            records.push(Record::Executed { decision: id, who: approved_by });
        }
        for intent in &accepted {
            records.push(Record::Intent { intent: Box::new(intent.clone()) });
            if intent.command.order == Order::Sleep {
                // Before the order: the host may sleep and its outcome be lost, and it must be possible to wake it.
                records.extend(self.sleeper(&intent.command.host).await);
            }
        }
        if !records.is_empty() {
            self.journal.write(records).await?;
        }
        for intent in accepted {
            if intent.command.order == Order::Sleep {
                self.asleep.insert(intent.command.host.clone());
            }
            self.give(intent).await;
        }
        Ok(given)
    }

    /// Why a command cannot be given, whatever was decided.
    fn refusal(&self, command: &Command, before: &[OpenIntent]) -> Option<String> {
        if let Err(why) = self.shared.may_order() {
            return Some(why.to_string());
        }
        if !self.shared.links.has(&command.host) {
            return Some(format!("host {} is not connected", command.host));
        }
        let twice = |vm| before.iter().any(|intent| intent.command.order.vm() == Some(vm));
        match &command.order {
            Order::Migrate { vm, .. } if twice(*vm) => Some(format!("vm {vm} is ordered to move already")),
            Order::Migrate { vm, .. } => self.table.holder(*vm).map(|by| format!("vm {vm} is held by command {by}")),
            Order::Cancel { migration } => match self.table.command(*migration) {
                Some(_) => None,
                None => Some(format!("migration {migration} is over")),
            },
            // Its word on what it still has to do, or has done, would come only when it is woken.
            Order::Sleep => {
                let host = &command.host;
                let earlier = before.iter().find(|intent| intent.command.host == *host).map(|intent| intent.command.id);
                let holder = earlier.or_else(|| self.table.carried_out_by(host)).or_else(|| self.table.wake_of(host));
                holder.map(|by| held(host, by))
            }
            // An open order to sleep does not stand against it: the host may have slept before it could say so.
            Order::Wake { target, .. } => self.table.wake_of(target).map(|by| held(target, by)),
        }
    }

    async fn give(&mut self, intent: OpenIntent) {
        let effects = self.begin(intent).await;
        self.carry_out(effects).await;
    }

    /// Takes up a command whose intent is on the disk; what is to be done for it first.
    async fn begin(&mut self, intent: OpenIntent) -> Vec<Effect> {
        let command = intent.command.clone();
        self.state.event(Event::Ordered { command: command.clone() }).await;
        self.shared.counters.commanded(command.order.kind());
        tracing::info!(
            migration = %command.id, host = %command.host, vm = %intent.name, order = command.order.kind(),
            why = %intent.motive, "ordered"
        );
        if intent.departure.is_some() {
            self.departures.insert(command.id, intent.clone());
        }
        self.worth.begin(&intent);
        intent.migration().into_iter().for_each(|migration| self.shared.history.ordered(migration));
        if let Order::Cancel { migration } = command.order {
            self.shared.history.stopped(migration, intent.motive);
        }
        self.table.issue(command, self.shared.clock.elapsed())
    }

    async fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                // A message that finds no reader is repeated by the table's next tick.
                Effect::Send(host, message) => drop(self.shared.links.send(&host, message)),
                Effect::Accepted(id) => {
                    // Lost, it would only make a later loss of the agent's record look milder.
                    drop(self.journal.write(vec![Record::Accepted { id }]).await);
                }
                Effect::Goodbye(id, host) => self.hear_goodbye(id, &host).await,
                Effect::Progress(id, progress) => effects.extend(self.progressed(id, progress).await),
                Effect::Close(outcome) => effects.extend(self.close(outcome).await),
                Effect::StepDown(seen) => {
                    if self.shared.step_down(seen) {
                        drop(self.journal.write(vec![Record::SteppedDown { seen }]).await);
                    }
                }
                Effect::Resent(id) => {
                    Counters::add(&self.shared.counters.commands_resent, 1);
                    tracing::debug!(migration = %id, "not answered, sent again");
                }
                Effect::Alarm(id) => self.alarm(id),
                Effect::Unknown(id) => {
                    Counters::add(&self.shared.counters.reports_unknown, 1);
                    tracing::warn!(migration = %id, "an agent works on a command that this journal does not know");
                }
            }
        }
    }

    /// Journals that a host goes to sleep by an order; only then it may.
    async fn hear_goodbye(&mut self, id: CommandId, host: &HostId) {
        if self.journal.write(vec![Record::Goodbye { id }]).await.is_ok() {
            self.table.goodbye_heard(id, self.shared.clock.elapsed());
            // Where it is lost, the host stays awake and says so.
            let _heard_or_stays_awake = self.shared.links.send(host, ToAgent::GoodbyeHeard);
        }
    }

    fn alarm(&self, id: CommandId) {
        let Some(command) = self.table.command(id) else { return };
        tracing::warn!(
            migration = %id, host = %command.host,
            "its host is away and cannot be asked; what it holds stays locked until the host is back"
        );
    }

    /// Journals an outcome; only then the agent may forget it and the vm is free.
    async fn close(&mut self, outcome: Outcome) -> Vec<Effect> {
        let kind = self.table.command(outcome.id).map_or("migrate", |command| command.order.kind());
        let (slept, host) = (outcome.ending == Ending::Completed, &outcome.source);
        let mut records = vec![Record::Outcome { outcome: outcome.clone() }];
        match kind {
            "sleep" if slept => records.extend(self.sleeper(host).await),
            "sleep" => records.push(Record::Awake { host: host.clone() }),
            _ => {}
        }
        if self.journal.write(records).await.is_err() {
            return Vec::new();
        }
        if kind == "sleep" && slept {
            self.asleep.insert(host.clone());
        } else if kind == "sleep" {
            self.asleep.remove(host);
        }
        let effects = self.table.closed(&outcome);
        self.count(kind, &outcome);
        self.shared.history.ended(&outcome);
        self.learn(&outcome).await;
        self.worth.end(outcome.id);
        let departed = self.departures.remove(&outcome.id);
        let arrived = departed.filter(|_| outcome.ending == Ending::Completed);
        let moved = arrived.and_then(|intent| intent.arrived(self.shared.clock.now()));
        self.state.event(Event::Ended { outcome }).await;
        if let Some(moved) = moved {
            self.state.event(Event::Arrived { moved: Box::new(moved) }).await;
        }
        effects
    }

    /// What a copy took tells how the next ones will go.
    async fn learn(&mut self, outcome: &Outcome) {
        let copy = self.shared.history.migration(outcome.id).and_then(|migration| migration.copy);
        if copy.is_some_and(|copy| self.copies.note(&copy, outcome)) {
            self.state.event(Event::Copying { factors: self.copies.factors() }).await;
        }
    }

    /// What is needed to wake a host that falls asleep: the store that also knows it may be lost.
    async fn sleeper(&self, host: &HostId) -> Option<Record> {
        let snapshot = self.state.snapshot().await?;
        let inventory = snapshot.hosts.get(host)?.inventory.clone();
        Some(Record::Asleep { inventory: Box::new(Arc::unwrap_or_clone(inventory)) })
    }

    fn count(&self, kind: &'static str, outcome: &Outcome) {
        let counters = &self.shared.counters;
        counters.ended(kind, ending_name(&outcome.ending));
        Counters::add(&counters.copied_bytes, outcome.copied.get());
        Counters::add(&counters.downtime_nanos, outcome.downtime.map_or(0, nanos_of));
        let (migration, host, ending) = (outcome.id, &outcome.source, &outcome.ending);
        match ending {
            Ending::Unresolved { .. } => {
                tracing::error!(%migration, %host, vm = ?outcome.vm, %ending, "nobody can tell where the vm runs; look at both hosts");
            }
            _ => tracing::info!(%migration, %host, vm = ?outcome.vm, %ending, downtime = ?outcome.downtime, "over"),
        }
    }
}

fn held(host: &HostId, by: CommandId) -> String {
    format!("host {host} is held by command {by}")
}

fn ending_name(ending: &Ending) -> &'static str {
    match ending {
        Ending::Completed => "completed",
        Ending::Failed { .. } => "failed",
        Ending::Cancelled { .. } => "cancelled",
        Ending::VmGone => "vm_gone",
        Ending::Abandoned { .. } => "abandoned",
        Ending::Unresolved { .. } => "unresolved",
    }
}
