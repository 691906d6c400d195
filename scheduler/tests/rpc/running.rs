//! A scheduler on a free port of loopback, and clients for it.

use std::{net::SocketAddr, time::Duration};

use ballast_core::{
    id::{BootId, HostId},
    inventory::{Inventory, SleepSupport},
    power::PowerCurve,
    units::{Bytes, BytesPerSec, Cores, Timestamp},
};
use ballast_daemon::clock::Clock;
use ballast_proto::v1::{
    self, agent_link_client::AgentLinkClient, agent_message::Message as Up, operator_client::OperatorClient,
};
use ballast_scheduler::{Scheduler, config::Config, metrics::Metrics};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

/// A scheduler that serves until it is dropped or stopped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: std::sync::Arc<Metrics>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ballast_scheduler::SchedulerError>>,
    _data: TempDir,
}

impl Running {
    /// Without TLS, with every default.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    /// With a configuration changed by `change`.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = Config::for_embedding(data.path(), address);
        change(&mut config);
        let scheduler = Scheduler::start(config, Clock::system()).await.unwrap();
        let metrics = scheduler.metrics();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move {
            let _dropped_or_told = stopped.await;
        };
        let task = tokio::spawn(scheduler.serve(listener, None, shutdown));
        Self { address, metrics, stop, task, _data: data }
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn operator(&self) -> OperatorClient<Channel> {
        OperatorClient::new(self.channel().await)
    }

    /// Stops it and waits for its end.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

/// An inventory of an empty host.
pub(crate) fn inventory(host: &str) -> Inventory {
    Inventory {
        host: HostId::new(host).unwrap(),
        boot: BootId(uuid::Uuid::from_u128(7)),
        taken_at: Timestamp::from_secs(1),
        complete: true,
        hypervisor: "test 1".into(),
        cpu_capacity: Cores(8.0),
        memory_capacity: Bytes::from_gib(32),
        cpu_model: "any".into(),
        cpu_models: ["any".to_owned()].into(),
        networks: ["br0".to_owned()].into(),
        storages: ["pool".to_owned()].into(),
        migration_uri: format!("test://{host}"),
        migration_bandwidth: BytesPerSec(1.25e9),
        power: PowerCurve::ml110_g5(),
        sleep: SleepSupport::None,
        wake_address: None,
        vms: Vec::new(),
    }
}

/// A hello of that host.
pub(crate) fn hello(host: &str) -> v1::Hello {
    v1::Hello {
        protocol_version: ballast_proto::PROTOCOL_VERSION,
        agent_version: "test".into(),
        inventory: Some(inventory(host).into()),
        resume_from_seq: 1,
        highest_epoch: 0,
        commands: Vec::new(),
        capabilities: Vec::new(),
    }
}

/// An open link: what it can say, and what it hears.
pub(crate) type Link = (tokio::sync::mpsc::Sender<v1::AgentMessage>, Streaming<v1::SchedulerMessage>);

/// Opens a link whose first message is `first`.
pub(crate) async fn connect(channel: Channel, first: Up) -> Result<Link, Status> {
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    sender.send(v1::AgentMessage { message: Some(first) }).await.unwrap();
    let down = AgentLinkClient::new(channel).connect(ReceiverStream::new(receiver)).await?.into_inner();
    Ok((sender, down))
}

/// Waits for `future`, but not for ever: a test that hangs says nothing.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    Clock::system().timeout(Duration::from_secs(20), future).await.expect("an answer within 20 s")
}
