//! The command task: the one owner of queue and journal.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ballast_core::{
    command::{Command, CommandStatus, DenyReason, Order},
    id::{BootId, CommandId, Epoch},
    migration::{Migration, Ticket},
    outcome::{Ending, Outcome, StageTimes},
    queue::{Admission, Queue},
    units::{Bytes, Timestamp},
};
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
};

use super::{Answers, Ends, Request, act::Tools};
use crate::{
    host::Host,
    hypervisor::Hypervisor,
    inventory::Refresh,
    journal::{Journal, Record},
    migrate::{Calls, Driver, News},
};

/// News of one migration that may wait; progress beyond is outdated anyway.
const NEWS: usize = 16;

/// What a task that was started here came to.
enum Done {
    /// The question before acceptance was answered.
    Checked(CommandId, Result<(), DenyReason>),
    /// An order other than a migration is over.
    CarriedOut(CommandId, Timestamp, Ending),
    /// A migration's driver returned; its outcome came as news.
    Driven,
    /// The host slept and is awake.
    Rested,
}

/// The ways to a migration that is checked or under way.
#[derive(Debug)]
struct Reins {
    cancel: mpsc::Sender<String>,
    /// Taken when the migration starts.
    cancels: Option<mpsc::Receiver<String>>,
    /// Cancel commands that wait for its end.
    waiting: Vec<CommandId>,
}

impl Reins {
    fn new() -> Self {
        // Only the first cancel counts; the others wait for the same end.
        let (cancel, cancels) = mpsc::channel(1);
        Self { cancel, cancels: Some(cancels), waiting: Vec::new() }
    }
}

/// The task.
pub(crate) struct Task<H, S> {
    queue: Queue,
    journal: Journal,
    ends: Ends,
    tools: Tools<H, S>,
    refresh: Refresh,
    /// The newest epoch that the disk has, and the newest of which it was said that the disk does not take it.
    durable: Epoch,
    complained: Epoch,
    /// Offered, not yet on the disk: nobody is told of these.
    checking: BTreeSet<CommandId>,
    reins: BTreeMap<CommandId, Reins>,
    tasks: JoinSet<Done>,
    news: (mpsc::Sender<News>, mpsc::Receiver<News>),
}

/// What the journal says of earlier lives, put into a queue; and the commands that were open, with when each began.
pub(crate) fn restore(mut queue: Queue, records: Vec<Record>) -> (Queue, BTreeMap<CommandId, (Timestamp, BootId)>) {
    let mut began = BTreeMap::new();
    let mut boot = BootId::default();
    for record in records {
        match record {
            Record::Started { boot: this } => boot = this,
            Record::Fence(epoch) => {
                queue.raise_fence(epoch);
            }
            Record::Accepted { command, at } => {
                began.insert(command.id, (at, boot));
                // The record of the fence itself may have gone with the oldest segment.
                queue.raise_fence(command.id.epoch);
                queue.restore_open(command, Duration::ZERO);
            }
            Record::Settled { id, status } => {
                queue.raise_fence(id.epoch);
                queue.restore_settled(id, status);
            }
            Record::Acknowledged(id) => {
                queue.acknowledge(id);
            }
        }
    }
    let open: Vec<CommandId> = queue.open().map(|open| open.command.id).collect();
    began.retain(|id, _| open.contains(id));
    (queue, began)
}

impl<H: Hypervisor, S: Host> Task<H, S> {
    /// A task over what [`restore`] gave.
    pub(crate) fn new(queue: Queue, journal: Journal, ends: Ends, tools: Tools<H, S>, refresh: Refresh) -> Self {
        let news = mpsc::channel(NEWS);
        let task = Self {
            durable: queue.fence(),
            complained: Epoch::default(),
            queue,
            journal,
            ends,
            tools,
            refresh,
            checking: BTreeSet::new(),
            reins: BTreeMap::new(),
            tasks: JoinSet::new(),
            news,
        };
        // The first hello must not outrun the journal: it carries the fence and every open command.
        task.publish();
        task
    }

    /// Takes up what was open, then serves requests until the agent ends.
    pub(crate) async fn run(mut self, boot: BootId, open: BTreeMap<CommandId, (Timestamp, BootId)>) {
        let started = vec![Record::Started { boot }];
        if let Err(error) = self.journal.append(started, self.tools.clock.now()).await {
            tracing::error!(error, "The journal cannot be written: every command will be denied until it can");
        }
        self.recover(boot, open).await;
        self.publish();
        loop {
            tokio::select! {
                biased;
                // What has happened comes before what is asked: a scheduler that asks without end holds up nothing.
                Some(news) = self.news.1.recv() => self.hear(news).await,
                Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => self.take(done).await,
                request = self.ends.requests.recv() => match request {
                    Some(request) => self.serve(request).await,
                    None => return,
                },
            }
            self.publish();
        }
    }

    /// Tells the link where everything stands, where that changed.
    fn publish(&self) {
        let mut reports = self.queue.reports();
        reports.retain(|report| !self.checking.contains(&report.id));
        self.ends.reports.send_if_modified(|told| {
            let changed = **told != reports;
            if changed {
                *told = Arc::new(reports);
            }
            changed
        });
        self.ends.fence.send_if_modified(|told| {
            let newest = self.queue.fence();
            std::mem::replace(told, newest) != newest
        });
    }

    async fn serve(&mut self, request: Request) {
        match request {
            Request::Offer { command, received_at, answers } => self.offer(*command, received_at, &answers).await,
            Request::Query { ids, answers } => {
                self.write_fence().await;
                ids.into_iter().for_each(|id| self.answer(id, &answers));
            }
            Request::Acknowledge(id) => self.acknowledge(id).await,
            Request::RaiseFence { epoch, done } => {
                self.queue.raise_fence(epoch);
                self.write_fence().await;
                // A link that is gone asks again with its next life.
                let _told_or_gone = done.send(self.queue.fence()).is_ok();
            }
        }
    }

    /// Journals the newest epoch where the disk does not have it.
    async fn write_fence(&mut self) {
        let fence = self.queue.fence();
        if fence == self.durable {
            return;
        }
        match self.journal.append(vec![Record::Fence(fence)], self.tools.clock.now()).await {
            Ok(()) => self.durable = fence,
            Err(error) if std::mem::replace(&mut self.complained, fence) != fence => tracing::warn!(
                error,
                "The newest epoch cannot be journalled: until it is, nobody is told that a command is unknown here"
            ),
            Err(_) => {}
        }
    }

    fn answer(&self, id: CommandId, answers: &Answers) {
        if self.checking.contains(&id) {
            // It is told as soon as it is accepted or denied.
            return;
        }
        if self.durable < self.queue.fence() && self.queue.status(id).is_none() {
            // Who hears that it is unknown takes it for one that can never run, and without the fence a restarted agent
            // would obey the scheduler before.
            return;
        }
        // A full channel means a scheduler that asks faster than it reads; it asks again.
        let _told_or_asked_again = answers.try_send(self.queue.answer(id)).is_ok();
    }

    async fn acknowledge(&mut self, id: CommandId) {
        if self.queue.acknowledge(id) {
            // Lost, this only means that the end is told once more after a restart.
            let records = vec![Record::Acknowledged(id)];
            if let Err(error) = self.journal.append(records, self.tools.clock.now()).await {
                tracing::debug!(error, "An acknowledgement could not be journalled");
            }
        }
    }

    async fn offer(&mut self, command: Command, received_at: Duration, answers: &Answers) {
        let id = command.id;
        let order = command.order.clone();
        let admission = self.queue.offer(command, received_at, self.tools.clock.elapsed());
        self.write_fence().await;
        match admission {
            Admission::Known(_) => self.answer(id, answers),
            Admission::Denied(reason) => {
                tracing::warn!(command = %id, kind = order.kind(), %reason, "Denied a command")
            }
            Admission::Accepted => self.check(id, order),
        }
    }

    /// Asks what must be asked before acceptance, without holding up the next request.
    fn check(&mut self, id: CommandId, order: Order) {
        if order.vm().is_some() {
            self.reins.insert(id, Reins::new());
        }
        self.checking.insert(id);
        let tools = self.tools.clone();
        self.tasks.spawn(async move { Done::Checked(id, tools.check(&order).await) });
    }

    async fn take(&mut self, done: Result<Done, JoinError>) {
        match done {
            Ok(Done::Checked(id, Ok(()))) => self.accept(id).await,
            Ok(Done::Checked(id, Err(reason))) => self.deny(id, reason),
            Ok(Done::CarriedOut(id, began_at, ending)) => self.carried_out(id, began_at, ending).await,
            Ok(Done::Driven | Done::Rested) => {}
            Err(error) => tracing::error!(%error, "A command's task died; its command stays open until a restart"),
        }
    }

    fn deny(&mut self, id: CommandId, reason: DenyReason) {
        self.checking.remove(&id);
        tracing::warn!(command = %id, %reason, "Denied a command");
        self.queue.deny(id, reason);
        let waiting = self.reins.remove(&id).map(|reins| reins.waiting).unwrap_or_default();
        for cancel in waiting {
            self.queue.deny(cancel, DenyReason::NothingToCancel { migration: id });
        }
    }

    /// Journals a command as accepted, then begins it.
    async fn accept(&mut self, id: CommandId) {
        if let Err(reason) = self.queue.may_begin(id, self.tools.clock.elapsed()) {
            return self.deny(id, reason);
        }
        let Some(command) = self.queue.open().find(|open| open.command.id == id).map(|open| open.command.clone())
        else {
            return;
        };
        let at = self.tools.clock.now();
        let record = Record::Accepted { command: command.clone(), at };
        match self.journal.append(vec![record], at).await {
            Ok(()) => {
                self.checking.remove(&id);
                self.begin(command, at).await;
            }
            Err(error) => self.deny(id, DenyReason::NotDurable { error }),
        }
    }

    async fn begin(&mut self, command: Command, at: Timestamp) {
        tracing::info!(command = %command.id, kind = command.order.kind(), "Accepted a command");
        // The scheduler hears of the acceptance before anything comes of it.
        self.publish();
        match command.order {
            Order::Migrate { .. } => self.drive(&command, None),
            Order::Cancel { migration } => self.cancel(command.id, migration).await,
            Order::Sleep | Order::Wake { .. } => {
                let tools = self.tools.clone();
                self.tasks.spawn(async move {
                    let ending = tools.carry_out(&command.order).await;
                    Done::CarriedOut(command.id, at, ending)
                });
            }
        }
    }

    /// Starts the task of a migration; `recovered` is when an earlier life of the agent began it.
    fn drive(&mut self, command: &Command, recovered: Option<Timestamp>) {
        let Order::Migrate { vm, destination, destination_uri, limits, .. } = &command.order else { return };
        let now = self.tools.clock.now();
        let ticket = Ticket {
            id: command.id,
            vm: *vm,
            source: command.host.clone(),
            destination: destination.clone(),
            limits: *limits,
        };
        let machine = match recovered {
            Some(began_at) => Migration::recovered(ticket, began_at, now),
            None => Migration::new(ticket, now),
        };
        let reins = self.reins.entry(command.id).or_insert_with(Reins::new);
        let Some(cancels) = reins.cancels.take() else { return };
        let driver = Driver {
            machine,
            destination_uri: destination_uri.clone(),
            hypervisor: Arc::clone(&self.tools.hypervisor),
            clock: self.tools.clock.clone(),
            cancels,
            news: self.news.0.clone(),
            watch: None,
            calls: Calls::default(),
        };
        self.tasks.spawn(async move {
            driver.run().await;
            Done::Driven
        });
    }

    async fn cancel(&mut self, id: CommandId, migration: CommandId) {
        let Some(reins) = self.reins.get_mut(&migration) else {
            let ending = Ending::Failed { reason: format!("migration {migration} was over before") };
            return self.carried_out(id, self.tools.clock.now(), ending).await;
        };
        reins.waiting.push(id);
        // Full means that another cancel was told already.
        let _told_before = reins.cancel.try_send(format!("cancelled by command {id}")).is_err();
    }

    async fn hear(&mut self, news: News) {
        match news {
            News::Progress(progress, id) => self.queue.progress(id, progress),
            News::Finished(outcome) => self.finished(outcome).await,
        }
    }

    async fn finished(&mut self, outcome: Outcome) {
        self.refresh.ask();
        let stopped = outcome.ending != Ending::Completed;
        let reins = self.reins.remove(&outcome.id);
        let migration = outcome.id;
        self.settle(outcome).await;
        for cancel in reins.map(|reins| reins.waiting).unwrap_or_default() {
            let ending = if stopped {
                Ending::Completed
            } else {
                Ending::Failed { reason: format!("migration {migration} completed before it could be stopped") }
            };
            self.carried_out(cancel, self.tools.clock.now(), ending).await;
        }
    }

    async fn carried_out(&mut self, id: CommandId, began_at: Timestamp, ending: Ending) {
        let order = self.queue.open().find(|open| open.command.id == id).map(|open| open.command.order.clone());
        let slept = order == Some(Order::Sleep) && ending == Ending::Completed;
        tracing::info!(command = %id, %ending, "Command ended");
        self.settle(self.outcome(id, began_at, ending)).await;
        if slept {
            self.publish();
            let tools = self.tools.clone();
            self.tasks.spawn(async move {
                tools.rest().await;
                Done::Rested
            });
        }
    }

    fn outcome(&self, id: CommandId, began_at: Timestamp, ending: Ending) -> Outcome {
        Outcome {
            id,
            vm: None,
            source: self.tools.config.host_id.clone(),
            destination: None,
            ending,
            began_at,
            ended_at: self.tools.clock.now(),
            stages: StageTimes::default(),
            downtime: None,
            copied: Bytes::ZERO,
            iterations: 0,
        }
    }

    async fn settle(&mut self, outcome: Outcome) {
        let (id, at) = (outcome.id, outcome.ended_at);
        self.queue.finish(outcome.clone());
        let record = Record::Settled { id, status: CommandStatus::Finished(outcome) };
        if let Err(error) = self.journal.append(vec![record], at).await {
            // After a restart the end is found again from where the vm is.
            tracing::warn!(command = %id, error, "The end of a command could not be journalled");
        }
    }

    /// Takes up the commands an earlier life of this agent had accepted.
    async fn recover(&mut self, boot: BootId, began: BTreeMap<CommandId, (Timestamp, BootId)>) {
        let open: Vec<Command> = self.queue.open().map(|open| open.command.clone()).collect();
        for command in open {
            let (at, began_in) = began.get(&command.id).copied().unwrap_or_default();
            tracing::info!(command = %command.id, kind = command.order.kind(), "Taking up a command from before the restart");
            match &command.order {
                Order::Migrate { .. } => self.drive(&command, Some(at)),
                // The boot it slept through is over: it did go down.
                Order::Sleep if began_in != boot => self.carried_out_before(&command, at, Ending::Completed).await,
                Order::Sleep | Order::Wake { .. } | Order::Cancel { .. } => {
                    let reason = "the agent was restarted before it was known to be done".to_owned();
                    self.carried_out_before(&command, at, Ending::Failed { reason }).await;
                }
            }
        }
    }

    async fn carried_out_before(&mut self, command: &Command, began_at: Timestamp, ending: Ending) {
        let outcome = self.outcome(command.id, began_at, ending);
        self.settle(outcome).await;
    }
}
