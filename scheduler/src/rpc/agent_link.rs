//! The `AgentLink` service: one session per stream, from `Hello` until either side ends it.
//!
//! Converts and checks; everything else is the engine's. What cannot be understood ends the stream with a status that
//! names the field, for an agent that speaks wrongly must not be half understood. Both directions are bounded: up, the
//! engine holds the reader back, and with it the agent; down, the engine's outbox is drained as the stream takes it.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};

use ballast_core::{
    command::Report,
    id::{Epoch, HostId, Seq},
    inventory::Inventory,
};
use ballast_daemon::{clock::Clock, tls};
use ballast_proto::{
    PROTOCOL_VERSION,
    convert::{InvalidField, millis, preflight_question},
    v1::{self, agent_link_server::AgentLink, agent_message::Message as Up, scheduler_message::Message as Down},
};

use super::{
    auth::{self, Caller},
    rate::Buckets,
    status,
};
use crate::{
    engine::{Engine, Hello, Session, SessionId, ToAgent, Welcome},
    metrics::{Limited, Metrics},
};

/// Answers to an agent that come from here and not from the engine: keep-alives and the final status.
const LOCAL_QUEUE: usize = 4;

/// The service.
#[derive(Debug)]
pub(super) struct LinkService {
    /// Where everything goes.
    pub(super) engine: Engine,
    /// Where messages that had to wait are counted.
    pub(super) metrics: Arc<Metrics>,
    /// How many messages of each agent are read, over one link or many.
    pub(super) messages: Arc<Buckets>,
}

type Downstream = Result<v1::SchedulerMessage, Status>;

#[tonic::async_trait]
impl AgentLink for LinkService {
    type ConnectStream = Pin<Box<dyn Stream<Item = Downstream> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let caller = auth::caller(&request)?;
        let ends = request.peer_certs().and_then(|chain| tls::ends_of_der(chain.first()?));
        let mut inbound = request.into_inner();
        let hello = hello(first_of(&mut inbound).await?)?;
        let host = hello.inventory.host.clone();
        caller.may_speak_for(&host)?;
        let session = self.engine.hello(hello).await.map_err(|refusal| status::refusal(&refusal))?;
        ends.into_iter().for_each(|ends| self.metrics.certificate_shown(&host, ends));
        info!(%host, epoch = %session.welcome.epoch, "Link opened");
        let (local, local_messages) = mpsc::channel(LOCAL_QUEUE);
        // Over loopback a whole fleet may come as one, faster than time: it is not held back.
        let is_limited = matches!(caller, Caller::Certified(_));
        let pace = is_limited.then(|| Pace {
            messages: Arc::clone(&self.messages),
            clock: self.engine.clock().clone(),
            metrics: Arc::clone(&self.metrics),
            was_told: false,
        });
        let link = Link { engine: self.engine.clone(), session: session.id, host, local, pace };
        tokio::spawn(link.read(inbound));
        Ok(Response::new(Box::pin(outbound(session, local_messages))))
    }
}

/// The first message, which must be `Hello`. The server's time limit for calls bounds the wait.
async fn first_of(inbound: &mut Streaming<v1::AgentMessage>) -> Result<v1::Hello, Status> {
    match inbound.message().await?.and_then(|message| message.message) {
        Some(Up::Hello(hello)) => Ok(hello),
        Some(other) => Err(Status::invalid_argument(format!("the first message is {}, not hello", name(&other)))),
        None => Err(Status::invalid_argument("the stream ended before hello")),
    }
}

/// Checks and converts `Hello`.
fn hello(wire: v1::Hello) -> Result<Hello, Status> {
    if wire.protocol_version != PROTOCOL_VERSION {
        return Err(Status::invalid_argument(format!(
            "hello.protocol_version = {}: this scheduler speaks {PROTOCOL_VERSION}",
            wire.protocol_version
        )));
    }
    let inventory = wire.inventory.ok_or_else(|| InvalidField::absent("inventory"));
    let inventory = inventory.and_then(Inventory::try_from).map_err(|error| status::malformed("hello", error))?;
    let report = |(index, report)| {
        Report::try_from(report).map_err(|error| status::malformed(&format!("hello.commands[{index}]"), error))
    };
    Ok(Hello {
        inventory,
        resume_from: Seq(wire.resume_from_seq),
        highest_epoch: Epoch(wire.highest_epoch),
        reports: wire.commands.into_iter().enumerate().map(report).collect::<Result<_, _>>()?,
        capabilities: wire.capabilities,
    })
}

/// The reading half of one link.
struct Link {
    engine: Engine,
    session: SessionId,
    host: HostId,
    local: mpsc::Sender<Downstream>,
    pace: Option<Pace>,
}

/// How fast one link is read.
struct Pace {
    messages: Arc<Buckets>,
    clock: Clock,
    metrics: Arc<Metrics>,
    was_told: bool,
}

impl Pace {
    /// Waits until the next message may be read.
    async fn keep(&mut self, host: &HostId) {
        let wait = self.messages.reserve(host.as_str(), self.clock.elapsed());
        if wait.is_zero() {
            return;
        }
        self.metrics.rate_limited(Limited::Message);
        if !std::mem::replace(&mut self.was_told, true) {
            warn!(%host, "The agent sends more than it may; it is read more slowly");
        }
        self.clock.sleep(wait).await;
    }
}

impl Link {
    /// Reads until the stream ends, then tells the engine.
    async fn read(mut self, mut inbound: Streaming<v1::AgentMessage>) {
        let (local, mut pace) = (self.local.clone(), self.pace.take());
        let end = tokio::select! {
            biased;
            end = self.read_all(&mut inbound, &mut pace) => end,
            // The writing half has ended, and with it the link, whether or not the agent has noticed.
            () = local.closed() => Ok(()),
        };
        match end {
            Ok(()) => info!(host = %self.host, "Link closed"),
            Err(status) => {
                warn!(host = %self.host, code = ?status.code(), reason = status.message(), "Link ended");
                // A full queue means that the agent reads nothing: it cannot be told why either.
                let _told = self.local.try_send(Err(status));
            }
        }
        self.engine.closed(self.session).await;
    }

    async fn read_all(&self, inbound: &mut Streaming<v1::AgentMessage>, pace: &mut Option<Pace>) -> Result<(), Status> {
        while let Some(message) = inbound.message().await? {
            if let Some(pace) = pace {
                pace.keep(&self.host).await;
            }
            let Some(message) = message.message else {
                return Err(self.malformed("message", InvalidField::absent("message")));
            };
            self.take(message).await?;
        }
        Ok(())
    }

    async fn take(&self, message: Up) -> Result<(), Status> {
        let what = name(&message);
        debug!(host = %self.host, what, "Received");
        let malformed = |error| self.malformed(what, error);
        let taken = match message {
            Up::Batch(batch) => self.engine.batch(self.session, batch.try_into().map_err(malformed)?).await,
            Up::Inventory(inventory) => {
                self.engine.inventory(self.session, inventory.try_into().map_err(malformed)?).await
            }
            Up::Report(report) => self.engine.report(self.session, report.try_into().map_err(malformed)?).await,
            Up::Preflight(answer) => self.engine.preflight(self.session, answer.try_into().map_err(malformed)?),
            Up::Goodbye(goodbye) => {
                info!(host = %self.host, reason = goodbye.reason, "Host goes to sleep");
                self.engine.goodbye(self.session).await
            }
            Up::KeepAlive(_) => {
                self.answer_keep_alive();
                Ok(())
            }
            Up::Hello(_) => return Err(self.malformed("hello", InvalidField::new("hello", "a second one", "one"))),
        };
        taken.map_err(|error| status::session(&error))
    }

    fn answer_keep_alive(&self) {
        let alive = v1::SchedulerMessage { message: Some(Down::KeepAlive(v1::KeepAlive {})) };
        // Where the queue is full, answers are on their way already.
        let _queued = self.local.try_send(Ok(alive));
    }

    fn malformed(&self, what: &str, error: InvalidField) -> Status {
        self.engine.malformed(self.session);
        status::malformed(what, error)
    }
}

fn name(message: &Up) -> &'static str {
    match message {
        Up::Hello(_) => "hello",
        Up::Batch(_) => "batch",
        Up::Inventory(_) => "inventory",
        Up::Report(_) => "report",
        Up::KeepAlive(_) => "keep_alive",
        Up::Preflight(_) => "preflight",
        Up::Goodbye(_) => "goodbye",
    }
}

/// The writing half: `Welcome`, then what the engine and the reader have to say, until one of them ends it.
fn outbound(session: Session, local: mpsc::Receiver<Downstream>) -> impl Stream<Item = Downstream> + Send {
    let first = stream::once(std::future::ready(Ok(welcome(session.welcome))));
    let rest = stream::unfold(Some((session.outbox, local)), |halves| async {
        let (mut outbox, mut local) = halves?;
        let next = tokio::select! {
            biased;
            Some(own) = local.recv() => own,
            message = outbox.recv() => downstream(message?),
        };
        let open = next.is_ok();
        Some((next, open.then_some((outbox, local))))
    });
    first.chain(rest)
}

fn welcome(welcome: Welcome) -> v1::SchedulerMessage {
    let message = Down::Welcome(v1::Welcome {
        epoch: welcome.epoch.0,
        resume_from_seq: welcome.resume_from.0,
        window_count: welcome.window,
        period_millis: millis(welcome.period),
    });
    v1::SchedulerMessage { message: Some(message) }
}

fn downstream(message: ToAgent) -> Downstream {
    let message = match message {
        ToAgent::Command(command) => Down::Command(command.into()),
        ToAgent::Query(ids) => {
            Down::Query(v1::CommandQuery { command_ids: ids.iter().map(ToString::to_string).collect() })
        }
        ToAgent::Preflight { number, vm, tls, passport, age } => {
            Down::Preflight(preflight_question(number, vm, tls, passport.as_deref().map(|json| (json, age))))
        }
        ToAgent::ReportAck(id) => Down::ReportAck(v1::ReportAck { command_id: id.to_string() }),
        ToAgent::GoodbyeHeard => Down::GoodbyeHeard(v1::GoodbyeHeard {}),
        ToAgent::Ack(seq) => Down::Ack(v1::Ack { seq: seq.0 }),
        ToAgent::Close { why } => return Err(Status::aborted(why)),
    };
    Ok(v1::SchedulerMessage { message: Some(message) })
}
