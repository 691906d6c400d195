//! A scheduler that says exactly what a test tells it to, over real gRPC on loopback.

use std::net::SocketAddr;

use ballast_core::{
    command::{Command, CommandStatus, Report},
    id::CommandId,
};
use ballast_proto::v1::{
    self,
    agent_link_server::{AgentLink, AgentLinkServer},
    agent_message::Message as Up,
    scheduler_message::Message as Down,
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

type Sent = Result<v1::SchedulerMessage, Status>;

/// Listens, and hands every stream that an agent opens to the test.
#[derive(Debug)]
pub(crate) struct Scheduler {
    pub(crate) address: SocketAddr,
    streams: mpsc::Receiver<(Streaming<v1::AgentMessage>, mpsc::Sender<Sent>)>,
}

struct Service(mpsc::Sender<(Streaming<v1::AgentMessage>, mpsc::Sender<Sent>)>);

#[tonic::async_trait]
impl AgentLink for Service {
    type ConnectStream = ReceiverStream<Sent>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (down, outgoing) = mpsc::channel(64);
        let taken = self.0.send((request.into_inner(), down)).await;
        taken.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

impl Scheduler {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stream, streams) = mpsc::channel(4);
        let service = AgentLinkServer::new(Service(stream));
        let incoming = TcpListenerStream::new(listener);
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        Self { address, streams }
    }

    /// The next stream an agent opens, with its hello.
    pub(crate) async fn stream(&mut self) -> Session {
        let (mut up, down) = self.streams.recv().await.unwrap();
        let first = up.message().await.unwrap().unwrap().message;
        let Some(Up::Hello(hello)) = first else { panic!("expected hello, got {first:?}") };
        Session { up, down, hello }
    }

    /// The next stream, welcomed with `epoch`, a window of 8 and a period of 1 s, resuming where the agent asks.
    pub(crate) async fn welcome(&mut self, epoch: u64) -> Session {
        let session = self.stream().await;
        let resume_from_seq = session.hello.resume_from_seq;
        session.welcome(v1::Welcome { epoch, resume_from_seq, window_count: 8, period_millis: 1000 }).await;
        session
    }
}

/// One stream of one agent.
#[derive(Debug)]
pub(crate) struct Session {
    up: Streaming<v1::AgentMessage>,
    down: mpsc::Sender<Sent>,
    pub(crate) hello: v1::Hello,
}

impl Session {
    pub(crate) async fn send(&self, message: Down) {
        self.down.send(Ok(v1::SchedulerMessage { message: Some(message) })).await.unwrap();
    }

    pub(crate) async fn welcome(&self, welcome: v1::Welcome) {
        self.send(Down::Welcome(welcome)).await;
    }

    pub(crate) async fn command(&self, command: &Command) {
        self.send(Down::Command(command.clone().into())).await;
    }

    pub(crate) async fn ack(&self, seq: u64) {
        self.send(Down::Ack(v1::Ack { seq })).await;
    }

    /// The next message; `None` when the agent ended the stream.
    pub(crate) async fn next(&mut self) -> Option<Up> {
        self.up.message().await.ok().flatten().and_then(|message| message.message)
    }

    /// The next batch; everything else is passed over.
    pub(crate) async fn batch(&mut self) -> v1::Batch {
        loop {
            if let Up::Batch(batch) = self.next().await.expect("the stream ended") {
                return batch;
            }
        }
    }

    /// The next report of a command; batches are acknowledged on the way.
    pub(crate) async fn report(&mut self, id: CommandId) -> CommandStatus {
        loop {
            match self.next().await.expect("the stream ended") {
                Up::Batch(batch) => self.ack(batch.seq).await,
                Up::Report(report) if report.command_id == id.to_string() => {
                    return Report::try_from(report).unwrap().status;
                }
                _ => {}
            }
        }
    }

    /// How a command ends.
    pub(crate) async fn end(&mut self, id: CommandId) -> CommandStatus {
        loop {
            let status = self.report(id).await;
            if status.is_final() {
                return status;
            }
        }
    }
}
