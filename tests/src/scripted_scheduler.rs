//! A scheduler that says exactly what a test tells it to: how an agent is shown bad days.

use std::{
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use ballast_core::{
    command::{Command, CommandStatus, MigrationLimits, Order, Report},
    id::{CommandId, Epoch, Generation, HostId, VmId},
    units::Bytes,
};
use ballast_daemon::tls::TlsFiles;
use ballast_proto::v1::{
    self,
    agent_link_server::{AgentLink, AgentLinkServer},
    agent_message::Message as Up,
    scheduler_message::Message as Down,
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Certificate, Identity, ServerTlsConfig},
};

/// What agents have said, in order.
type Heard = Arc<Mutex<Vec<Up>>>;

/// A scripted scheduler.
#[derive(Debug)]
pub struct ScriptedScheduler {
    /// Where it listens.
    pub address: SocketAddr,
    heard: Heard,
    outbox: Outbox,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
}

type Outbox = Arc<Mutex<Option<mpsc::Sender<Result<v1::SchedulerMessage, Status>>>>>;

#[derive(Debug)]
struct Service {
    heard: Heard,
    outbox: Outbox,
}

#[tonic::async_trait]
impl AgentLink for Service {
    type ConnectStream = ReceiverStream<Result<v1::SchedulerMessage, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (sender, receiver) = mpsc::channel(64);
        *lock(&self.outbox) = Some(sender);
        lock(&self.heard).retain(|message| !matches!(message, Up::Hello(_)));
        let (heard, mut messages) = (Arc::clone(&self.heard), request.into_inner());
        tokio::spawn(async move {
            while let Ok(Some(message)) = messages.message().await {
                lock(&heard).extend(message.message);
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ScriptedScheduler {
    /// Listens on loopback.
    ///
    /// # Errors
    /// Where it cannot.
    pub async fn listen() -> Result<Self> {
        Self::listen_as(SocketAddr::from(([127, 0, 0, 1], 0)), None).await
    }

    /// Listens at an address, with certificates of whatever role, where a test gives some.
    ///
    /// # Errors
    /// Where it cannot.
    pub async fn listen_as(address: SocketAddr, tls: Option<&TlsFiles>) -> Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (heard, outbox) = (Heard::default(), Outbox::default());
        let service = Service { heard: Arc::clone(&heard), outbox: Arc::clone(&outbox) };
        let mut server = tonic::transport::Server::builder();
        if let Some(files) = tls {
            server = server.tls_config(server_tls(files)?)?;
        }
        let server = server.add_service(AgentLinkServer::new(service));
        let server = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Ok(Self { address, heard, outbox, server })
    }

    /// Whether an agent has said hello since the last welcome.
    pub fn hello(&self) -> Option<v1::Hello> {
        let heard = lock(&self.heard);
        heard.iter().rev().find_map(|message| if let Up::Hello(hello) = message { Some(hello.clone()) } else { None })
    }

    /// Answers a hello. What was heard before is forgotten.
    ///
    /// # Errors
    /// Where no agent is linked.
    pub async fn welcome(&self, epoch: u64) -> Result<()> {
        lock(&self.heard).clear();
        let welcome = v1::Welcome { epoch, resume_from_seq: 1, window_count: 64, period_millis: 1000 };
        self.send(Down::Welcome(welcome)).await
    }

    /// Sends any message.
    ///
    /// # Errors
    /// Where no agent is linked.
    pub async fn send(&self, message: Down) -> Result<()> {
        let sender = lock(&self.outbox).clone().context("no agent is linked")?;
        sender.send(Ok(v1::SchedulerMessage { message: Some(message) })).await.context("the link is over")
    }

    /// Orders something.
    ///
    /// # Errors
    /// Where no agent is linked.
    pub async fn command(&self, command: &Command) -> Result<()> {
        self.send(Down::Command(command.clone().into())).await
    }

    /// Everything that was reported of a command.
    pub fn reports(&self, id: CommandId) -> Vec<CommandStatus> {
        let heard = lock(&self.heard);
        let reports = heard.iter().flat_map(|message| match message {
            Up::Report(report) => vec![report.clone()],
            Up::Hello(hello) => hello.commands.clone(),
            _ => Vec::new(),
        });
        let parsed = reports.filter_map(|wire| Report::try_from(wire).ok());
        parsed.filter(|report| report.id == id).map(|report| report.status).collect()
    }

    /// Batches that were heard since the last welcome.
    pub fn batches(&self) -> Vec<v1::Batch> {
        let heard = lock(&self.heard);
        heard
            .iter()
            .filter_map(|message| if let Up::Batch(batch) = message { Some(batch.clone()) } else { None })
            .collect()
    }

    /// Ends it, so that its address is free; its link is cut.
    pub async fn close(mut self) {
        self.cut();
        self.server.abort();
        // Aborted, as was asked for.
        let _aborted = (&mut self.server).await.is_err();
    }

    /// Cuts the link, as a network does. A hello that was not answered is forgotten.
    pub fn cut(&self) {
        lock(&self.outbox).take();
        lock(&self.heard).retain(|message| !matches!(message, Up::Hello(_)));
    }
}

/// tonic's own TLS: the daemons' would refuse to serve with the certificate of another role.
fn server_tls(files: &TlsFiles) -> Result<ServerTlsConfig> {
    let identity = Identity::from_pem(fs::read(&files.cert)?, fs::read(&files.key)?);
    Ok(ServerTlsConfig::new().identity(identity).client_ca_root(Certificate::from_pem(fs::read(&files.ca)?)))
}

impl Drop for ScriptedScheduler {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The order to move `vm` from `from` to `to`.
///
/// # Errors
/// Where a name is none.
pub fn order(id: (u64, u64), from: &str, vm: VmId, to: &str) -> Result<Command> {
    Ok(Command {
        id: CommandId { epoch: Epoch(id.0), number: id.1 },
        host: HostId::new(from)?,
        ttl: Duration::from_secs(60),
        order: Order::Migrate {
            vm,
            generation: Generation(1),
            destination: HostId::new(to)?,
            destination_uri: format!("simulated://{to}/"),
            limits: MigrationLimits::for_memory(Bytes::from_gib(2)),
        },
    })
}
