//! A scheduler on a free port of loopback, and clients for it.

use std::{net::SocketAddr, time::Duration};

use ballast_core::{
    id::{BootId, HostId, Seq, VmId},
    inventory::{Inventory, SleepSupport, VmRecord},
    power::PowerCurve,
    sample::{AgentHealth, Batch, HostSample, Reading, VmSample, VmState},
    units::{Bytes, BytesPerSec, Cores, Timestamp, Watts},
};
use ballast_daemon::clock::Clock;
use ballast_proto::v1::{
    self, agent_link_client::AgentLinkClient, agent_message::Message as Up, operator_client::OperatorClient,
    scheduler_message::Message as Down,
};
use ballast_scheduler::{Scheduler, config::Config, metrics::Metrics};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
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
        up_for: Duration::ZERO,
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
        fault_domain: None,
        site: None,
        vms: Vec::new(),
    }
}

/// The uuid of the only vm of these tests.
pub(crate) const WEB: VmId = VmId(uuid::Uuid::from_u128(42));

/// An inventory of a host with one vm, named `web`.
pub(crate) fn inventory_with_web(host: &str) -> Inventory {
    let web = VmRecord {
        networks: ["br0".to_owned()].into(),
        storages: ["pool".to_owned()].into(),
        ..VmRecord::running(WEB, "web", 2, Bytes::from_gib(2))
    };
    Inventory { vms: vec![web], ..inventory(host) }
}

/// A batch of a host and its vms, which use a tenth of a core each.
pub(crate) fn batch(inventory: &Inventory, seq: u64) -> v1::Batch {
    let at = Clock::system().now();
    let sample = |record: &VmRecord| VmSample {
        vm: record.vm,
        taken_at: at,
        state: VmState::Running,
        cpu_used: Reading::Measured(Cores(0.1)),
        memory_used: Reading::Measured(Bytes::from_gib(1)),
        ..VmSample::default()
    };
    let batch = Batch {
        host: inventory.host.clone(),
        boot: inventory.boot,
        seq: Seq(seq),
        taken_at: at,
        sample: HostSample {
            cpu_capacity: inventory.cpu_capacity,
            cpu_used: Reading::Measured(Cores(0.5)),
            memory_capacity: inventory.memory_capacity,
            memory_used: Reading::Measured(Bytes::from_gib(4)),
            power: Reading::Estimated(Watts(95.0)),
            agent: AgentHealth { hypervisor_connected: true, ..AgentHealth::default() },
            ..HostSample::default()
        },
        vms: inventory.vms.iter().map(sample).collect(),
    };
    batch.into()
}

/// A hello of an empty host.
pub(crate) fn hello(host: &str) -> v1::Hello {
    hello_of(inventory(host))
}

/// A hello with that inventory.
pub(crate) fn hello_of(inventory: Inventory) -> v1::Hello {
    v1::Hello {
        protocol_version: ballast_proto::PROTOCOL_VERSION,
        agent_version: "test".into(),
        inventory: Some(inventory.into()),
        resume_from_seq: 1,
        highest_epoch: 0,
        commands: Vec::new(),
        capabilities: Vec::new(),
    }
}

/// An open link: what it can say, and what it hears.
#[derive(Debug)]
pub(crate) struct Link {
    up: mpsc::Sender<v1::AgentMessage>,
    down: Streaming<v1::SchedulerMessage>,
}

/// Opens a link whose first message is `first`.
pub(crate) async fn connect(channel: Channel, first: Up) -> Result<Link, Status> {
    let (up, messages) = mpsc::channel(8);
    up.send(v1::AgentMessage { message: Some(first) }).await.unwrap();
    let down = AgentLinkClient::new(channel).connect(ReceiverStream::new(messages)).await?.into_inner();
    Ok(Link { up, down })
}

/// A link over `channel`, welcomed, that has sent one batch and seen it acknowledged.
pub(crate) async fn open(channel: Channel, hello: v1::Hello, inventory: &Inventory) -> Link {
    let mut link = soon(connect(channel, Up::Hello(hello))).await.unwrap();
    assert!(matches!(link.next().await, Ok(Down::Welcome(_))));
    link.say(Up::Batch(batch(inventory, 1))).await;
    link.until(|message| matches!(message, Down::Ack(ack) if ack.seq == 1)).await;
    link
}

impl Link {
    /// A link of a host with that inventory, welcomed, that has sent one batch and seen it acknowledged.
    pub(crate) async fn of(running: &Running, inventory: Inventory) -> Self {
        open(running.channel().await, hello_of(inventory.clone()), &inventory).await
    }

    /// The next message; `None` where the link was closed. Waits for as long as nothing is said.
    pub(crate) async fn heard(&mut self) -> Result<Option<Down>, Status> {
        Ok(self.down.message().await?.and_then(|message| message.message))
    }

    pub(crate) async fn say(&self, message: Up) {
        self.up.send(v1::AgentMessage { message: Some(message) }).await.unwrap();
    }

    /// The next message, or the status the link ended with.
    pub(crate) async fn next(&mut self) -> Result<Down, Status> {
        let message = soon(self.down.message()).await?;
        let message = message.ok_or_else(|| Status::ok("the link ended without a reason"))?;
        Ok(message.message.unwrap())
    }

    /// The next message for which `wanted` holds.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Down) -> bool) -> Down {
        loop {
            let message = self.next().await.unwrap();
            if wanted(&message) {
                return message;
            }
        }
    }

    /// The status the link ends with.
    pub(crate) async fn end(&mut self) -> Status {
        loop {
            if let Err(status) = self.next().await {
                return status;
            }
        }
    }
}

/// Waits for `future`, but not for ever: a test that hangs says nothing.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    Clock::system().timeout(Duration::from_secs(20), future).await.expect("an answer within 20 s")
}
