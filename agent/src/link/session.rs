//! One stream to the scheduler, from hello to its end.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ballast_core::{
    command::{Command, CommandStatus, Report},
    id::{CommandId, Epoch, Seq},
    preflight::{Answer, Check, Question, Refusal},
};
use ballast_proto::{
    PREFLIGHT_CAPABILITY, PROTOCOL_VERSION,
    convert::{command_id, span},
    v1::{self, agent_link_client::AgentLinkClient, agent_message::Message, scheduler_message::Message as Order},
};
use tokio::sync::oneshot;
use tonic::{Streaming, transport::Channel};

use super::{
    Link,
    outbox::{Answers, Closed, Outbox},
};
use crate::{commands::Request, power_state::PowerState};

/// A word after so long a silence, when there is nothing to say.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Ends that were not acknowledged are told again after this.
const TELL_AGAIN: Duration = Duration::from_secs(30);
/// A scheduler that takes longer than this to answer hello is dialled anew.
const WELCOME: Duration = Duration::from_secs(120);
/// After the last word before sleep, the scheduler may take this long to close its side.
const CLOSING: Duration = Duration::from_secs(5);

/// How a session ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) was_welcomed: bool,
    pub(super) reason: String,
}

/// What a session that cannot send any more ended with.
const BROKEN: &str = "the stream broke";

/// What a session does next.
enum Turn {
    Heard(Result<Option<Box<v1::SchedulerMessage>>, tonic::Status>),
    Goodbye(oneshot::Sender<()>),
    Reports,
    Power,
    Inventory,
    KeepAlive,
    TellAgain,
    /// Samples came in, or may be sent again.
    Samples,
}

/// A session under way.
pub(super) struct Session<'a> {
    link: &'a mut Link,
    outbox: Outbox,
    answers: Answers,
    incoming: Streaming<v1::SchedulerMessage>,
    told: BTreeMap<CommandId, CommandStatus>,
    /// When ends that were not acknowledged are told again.
    tell_again_at: Duration,
    /// When the last word was sent.
    spoke_at: Duration,
    sent: Seq,
    acknowledged: Seq,
    window: u64,
    /// Who waits for the scheduler to hear the goodbye that was said.
    goodbye: Option<oneshot::Sender<()>>,
}

impl<'a> Session<'a> {
    /// Says hello, waits for the welcome and serves the stream to its end.
    pub(super) async fn open(link: &'a mut Link, client: AgentLinkClient<Channel>) -> Ended {
        let mut was_welcomed = false;
        let reason = match Self::greet(link, client).await {
            Ok(mut session) => {
                was_welcomed = true;
                session.link.connected.send_replace(true);
                session.serve().await
            }
            Err(reason) => reason,
        };
        Ended { was_welcomed, reason }
    }

    async fn greet(link: &'a mut Link, mut client: AgentLinkClient<Channel>) -> Result<Self, String> {
        let (outbox, stream, answers) = Outbox::new();
        let hello = hello(link).await;
        let told = told_by(&link.commands.reports.borrow_and_update());
        let refused = |Closed| "the stream closed before hello was sent".to_owned();
        outbox.urgent(Message::Hello(hello)).await.map_err(refused)?;
        let clock = link.clock.clone();
        let greeting = async {
            let mut incoming = client.connect(stream).await.map_err(|status| words(&status))?.into_inner();
            let first = incoming.message().await.map_err(|status| words(&status))?;
            Ok::<_, String>((incoming, first.and_then(|message| message.message)))
        };
        let greeted = clock.timeout(WELCOME, greeting).await;
        let (incoming, first) = greeted.map_err(|_| "the scheduler did not answer hello".to_owned())??;
        let Some(Order::Welcome(welcome)) = first else {
            return Err("the scheduler answered hello with something else than welcome".to_owned());
        };
        let zero = Seq::default();
        let (sent, acknowledged, window, goodbye) = (zero, zero, 1, None);
        let spoke_at = clock.elapsed();
        let tell_again_at = spoke_at + TELL_AGAIN;
        let mut session = Self {
            link,
            outbox,
            answers,
            incoming,
            told,
            tell_again_at,
            spoke_at,
            sent,
            acknowledged,
            window,
            goodbye,
        };
        session.welcomed(&welcome).await?;
        Ok(session)
    }

    async fn welcomed(&mut self, welcome: &v1::Welcome) -> Result<(), String> {
        let newest = self.raise_fence(Epoch(welcome.epoch)).await?;
        if newest > Epoch(welcome.epoch) {
            return Err(format!("the scheduler has epoch {}, which {newest} replaced", welcome.epoch));
        }
        let before = Seq(welcome.resume_from_seq.saturating_sub(1));
        self.link.backlog.with(|ring| ring.acknowledge(before));
        (self.sent, self.acknowledged) = (before, before);
        self.window = u64::from(welcome.window_count).max(1);
        if welcome.period_millis > 0 {
            let period = span(welcome.period_millis);
            self.link.period.send_if_modified(|told| std::mem::replace(told, period) != period);
        }
        tracing::info!(scheduler = self.link.config.scheduler, epoch = welcome.epoch, "Linked to the scheduler");
        Ok(())
    }

    async fn raise_fence(&self, epoch: Epoch) -> Result<Epoch, String> {
        let ending = || "the agent ends".to_owned();
        let (done, newest) = oneshot::channel();
        self.link.commands.requests.send(Request::RaiseFence { epoch, done }).await.map_err(|_| ending())?;
        newest.await.map_err(|_| ending())
    }

    /// Serves the stream; returns why it ended.
    async fn serve(&mut self) -> String {
        loop {
            if self.may_send() && self.send_batch().await.is_err() {
                return BROKEN.to_owned();
            }
            let turn = self.next_turn().await;
            match self.take(turn).await {
                Ok(None) => {}
                Ok(Some(reason)) => return reason,
                Err(Closed) => return BROKEN.to_owned(),
            }
        }
    }

    /// Waits for whatever comes first; what comes from the scheduler comes before everything else.
    async fn next_turn(&mut self) -> Turn {
        let (may_send, owes_an_end) = (self.may_send(), self.owes_an_end());
        let clock = self.link.clock.clone();
        tokio::select! {
            biased;
            message = self.incoming.message() => Turn::Heard(message.map(|message| message.map(Box::new))),
            Some(heard) = self.link.goodbyes.recv() => Turn::Goodbye(heard),
            Ok(()) = self.link.commands.reports.changed() => Turn::Reports,
            Ok(()) = self.link.power.changed() => Turn::Power,
            Ok(()) = self.link.inventory.changed() => Turn::Inventory,
            () = clock.sleep_until(self.spoke_at + KEEP_ALIVE) => Turn::KeepAlive,
            () = clock.sleep_until(self.tell_again_at), if owes_an_end => Turn::TellAgain,
            () = std::future::ready(()), if may_send => Turn::Samples,
            () = self.link.backlog.grown() => Turn::Samples,
            () = self.outbox.roomy(), if !self.outbox.has_room() => Turn::Samples,
        }
    }

    /// Does what a turn asks for; `Some` is why the session is over.
    async fn take(&mut self, turn: Turn) -> Result<Option<String>, Closed> {
        match turn {
            Turn::Heard(Ok(Some(message))) => self.receive(*message).await,
            Turn::Heard(Ok(None)) => return Ok(Some("the scheduler closed the stream".to_owned())),
            Turn::Heard(Err(status)) => return Ok(Some(words(&status))),
            Turn::Goodbye(heard) => self.say_goodbye(heard).await?,
            Turn::Reports => self.report().await?,
            Turn::Power if *self.link.power.borrow_and_update() == PowerState::Asleep => {
                return Ok(Some(self.close().await));
            }
            Turn::Inventory => self.send_inventory().await?,
            Turn::KeepAlive => self.say(Message::KeepAlive(v1::KeepAlive {})).await?,
            Turn::TellAgain => {
                self.told.retain(|_, status| !status.is_final());
                self.report().await?;
            }
            Turn::Power | Turn::Samples => {}
        }
        Ok(None)
    }

    fn may_send(&self) -> bool {
        let in_flight = self.sent.0.saturating_sub(self.acknowledged.0);
        in_flight < self.window
            && self.outbox.has_room()
            && self.link.backlog.with(|ring| ring.after(self.sent).is_some())
    }

    async fn send_batch(&mut self) -> Result<(), Closed> {
        let Some((seq, batch)) = self.link.backlog.after(self.sent) else { return Ok(()) };
        self.outbox.bulk(Message::Batch(batch)).await?;
        self.spoke_at = self.link.clock.elapsed();
        self.sent = seq;
        Ok(())
    }

    async fn send_inventory(&mut self) -> Result<(), Closed> {
        let inventory = self.link.inventory.borrow_and_update().clone();
        match inventory {
            Some(inventory) => self.say(Message::Inventory(Arc::unwrap_or_clone(inventory).into())).await,
            None => Ok(()),
        }
    }

    /// Tells what changed since it was last told.
    async fn report(&mut self) -> Result<(), Closed> {
        let reports = Arc::clone(&self.link.commands.reports.borrow_and_update());
        let owed_an_end = self.owes_an_end();
        let news: Vec<_> = reports.iter().filter(|report| self.told.get(&report.id) != Some(&report.status)).collect();
        for report in news {
            self.say(Message::Report(report.clone().into())).await?;
        }
        self.told = told_by(&reports);
        if !owed_an_end {
            self.tell_again_at = self.link.clock.elapsed() + TELL_AGAIN;
        }
        Ok(())
    }

    /// Whether an end was told that the scheduler has not acknowledged.
    fn owes_an_end(&self) -> bool {
        self.told.values().any(CommandStatus::is_final)
    }

    /// Sends what must not wait behind samples.
    async fn say(&mut self, message: Message) -> Result<(), Closed> {
        self.spoke_at = self.link.clock.elapsed();
        self.outbox.urgent(message).await
    }

    async fn say_goodbye(&mut self, heard: oneshot::Sender<()>) -> Result<(), Closed> {
        let reason = "going to sleep as ordered".to_owned();
        self.goodbye = Some(heard);
        self.say(Message::Goodbye(v1::Goodbye { reason })).await
    }

    fn goodbye_heard(&mut self) {
        if let Some(heard) = self.goodbye.take() {
            let _told_or_gave_up = heard.send(()).is_ok();
        }
    }

    /// Sends what is still owed, ends the own side and lets the scheduler end its.
    async fn close(&mut self) -> String {
        let _sent_or_broken = self.report().await.is_ok();
        let (unused, _stream, answers) = Outbox::new();
        // Without senders the stream ends once it has been read to its end.
        drop(std::mem::replace(&mut self.outbox, unused));
        self.answers = answers;
        let clock = self.link.clock.clone();
        let drained = async { while let Ok(Some(_)) = self.incoming.message().await {} };
        let _closed_or_slow = clock.timeout(CLOSING, drained).await.is_ok();
        "the host sleeps".to_owned()
    }

    async fn receive(&mut self, message: v1::SchedulerMessage) {
        let received_at = self.link.clock.elapsed();
        match message.message {
            Some(Order::Ack(ack)) => self.acknowledge(Seq(ack.seq)),
            Some(Order::Command(command)) => self.offer(command, received_at).await,
            Some(Order::Query(query)) => self.query(&query).await,
            Some(Order::ReportAck(ack)) => self.acknowledge_report(&ack.command_id).await,
            Some(Order::Preflight(question)) => self.preflight(question),
            Some(Order::GoodbyeHeard(_)) => self.goodbye_heard(),
            Some(Order::Welcome(_)) => tracing::warn!("The scheduler said welcome twice; ignored"),
            Some(Order::KeepAlive(_)) => {}
            None => tracing::warn!("A message of a kind this version does not know; ignored"),
        }
    }

    fn acknowledge(&mut self, seq: Seq) {
        // Never more than was sent: a wrong number must not throw away samples.
        let seq = seq.min(self.sent);
        self.acknowledged = self.acknowledged.max(seq);
        self.link.backlog.with(|ring| ring.acknowledge(seq));
    }

    async fn offer(&self, command: v1::Command, received_at: Duration) {
        let id = command.command_id.clone();
        match Command::try_from(command) {
            Ok(command) => {
                self.request(Request::Offer {
                    command: Box::new(command),
                    received_at,
                    answers: self.answers.reports.clone(),
                })
                .await
            }
            Err(error) => tracing::error!(command = id, %error, "A command makes no sense; nothing was done"),
        }
    }

    async fn query(&self, query: &v1::CommandQuery) {
        let ids = query.command_ids.iter().filter_map(|id| command_id(id, "command_ids").ok()).collect();
        self.request(Request::Query { ids, answers: self.answers.reports.clone() }).await;
    }

    /// Has a question looked into; where too many wait already, that is the answer.
    fn preflight(&self, question: v1::PreflightQuestion) {
        let number = question.number;
        let refuse = |refusal| {
            let answer = Answer { number, refusals: vec![refusal], passport: None };
            // A full queue means a scheduler that asks faster than it reads: it hears nothing, and takes it for no answer.
            let _told_or_silent = self.answers.preflights.try_send(answer).is_ok();
        };
        match Question::try_from(question) {
            Ok(question) => {
                if self.link.preflights.try_send((question, self.answers.preflights.clone())).is_err() {
                    refuse(Refusal::new(Check::Answer, "too many questions wait already", "a moment's patience"));
                }
            }
            Err(error) => refuse(Refusal::new(Check::Answer, error.to_string(), "a question that makes sense")),
        }
    }

    async fn acknowledge_report(&self, id: &str) {
        if let Ok(id) = command_id(id, "command_id") {
            self.request(Request::Acknowledge(id)).await;
        }
    }

    async fn request(&self, request: Request) {
        // The command task ends only with the agent.
        let _heard_or_ending = self.link.commands.requests.send(request).await.is_ok();
    }
}

/// What the agent says of itself first; waits until something is known of the host.
async fn hello(link: &mut Link) -> v1::Hello {
    let inventory = loop {
        if let Some(inventory) = link.inventory.borrow_and_update().clone() {
            break inventory;
        }
        if link.inventory.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let reports = Arc::clone(&link.commands.reports.borrow());
    v1::Hello {
        protocol_version: PROTOCOL_VERSION,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        inventory: Some(Arc::unwrap_or_clone(inventory).into()),
        resume_from_seq: link.backlog.with(|ring| ring.oldest().0),
        highest_epoch: link.commands.fence.borrow().0,
        commands: reports.iter().cloned().map(Into::into).collect(),
        capabilities: capabilities(link),
    }
}

fn capabilities(link: &Link) -> Vec<String> {
    let sleeps = link.config.host.sleep != ballast_core::inventory::SleepSupport::None;
    let all = [("sleep", sleeps), ("wake", true), (PREFLIGHT_CAPABILITY, true)];
    all.into_iter().filter(|(_, has)| *has).map(|(name, _)| name.to_owned()).collect()
}

fn told_by(reports: &[Report]) -> BTreeMap<CommandId, CommandStatus> {
    reports.iter().map(|report| (report.id, report.status.clone())).collect()
}

fn words(status: &tonic::Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}
