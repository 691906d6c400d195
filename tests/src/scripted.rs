//! An agent that says exactly what a test tells it to, over real gRPC: how the scheduler is shown bad days.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use ballast_core::{
    command::{Command, CommandStatus, Report},
    id::{BootId, CommandId, HostId, Seq, VmId},
    inventory::{Inventory, SleepSupport, VmRecord},
    outcome::Outcome,
    power::PowerCurve,
    sample::{AgentHealth, Batch, HostSample, PowerSource, Pressure, Reading, VmSample, VmState},
    units::{Bytes, BytesPerSec, Cores, Timestamp},
};
use ballast_daemon::{clock::Clock, tls::TlsFiles};
use ballast_proto::v1::{
    self, agent_link_client::AgentLinkClient, agent_message::Message as Up, scheduler_message::Message as Down,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

/// How long a real daemon may take to answer before the test calls it silent.
const PATIENCE: Duration = Duration::from_secs(20);

/// A host as a test describes it.
#[derive(Debug, Clone)]
pub struct ScriptedHost {
    /// The inventory it shows.
    pub inventory: Inventory,
    /// Cores each of its vms uses.
    pub cpu_used: Vec<f64>,
}

impl ScriptedHost {
    /// A host of 8 cores and 32 GiB without vms.
    pub fn new(name: &str) -> Result<Self> {
        let inventory = Inventory {
            host: HostId::new(name)?,
            boot: BootId(uuid_of(name, 1)),
            taken_at: Timestamp::EPOCH,
            up_for: Duration::ZERO,
            complete: true,
            hypervisor: "scripted 1".into(),
            cpu_capacity: Cores(8.0),
            memory_capacity: Bytes::from_gib(32),
            cpu_model: "any".into(),
            cpu_models: ["any".to_owned()].into(),
            networks: ["br0".to_owned()].into(),
            storages: ["pool".to_owned()].into(),
            migration_uri: format!("scripted://{name}"),
            migration_bandwidth: BytesPerSec(1.25e9),
            power: PowerCurve::ml110_g5(),
            sleep: SleepSupport::None,
            wake_address: None,
            fault_domain: None,
            site: None,
            vms: Vec::new(),
        };
        Ok(Self { inventory, cpu_used: Vec::new() })
    }

    /// The same with one more vm of 2 GiB that uses `cpu_used` cores.
    #[must_use]
    pub fn with_vm(mut self, name: &str, cpu_used: f64) -> Self {
        self.inventory.vms.push(VmRecord {
            networks: ["br0".to_owned()].into(),
            storages: ["pool".to_owned()].into(),
            ..VmRecord::running(vm_named(name), name, 4, Bytes::from_gib(2))
        });
        self.cpu_used.push(cpu_used);
        self
    }

    /// A batch of what it is doing.
    pub fn batch(&self, seq: u64, at: Timestamp) -> Batch {
        let used: f64 = self.cpu_used.iter().sum();
        let vms = self.inventory.vms.iter().zip(&self.cpu_used).map(|(record, cpu)| vm_sample(record.vm, *cpu, at));
        Batch {
            host: self.inventory.host.clone(),
            boot: self.inventory.boot,
            seq: Seq(seq),
            taken_at: at,
            sample: HostSample {
                cpu_capacity: self.inventory.cpu_capacity,
                cpu_used: Reading::Measured(Cores(used.min(self.inventory.cpu_capacity.get()))),
                memory_capacity: self.inventory.memory_capacity,
                memory_used: Reading::Measured(Bytes::from_gib(4)),
                power: Reading::Estimated(self.inventory.power.at(used / self.inventory.cpu_capacity.get())),
                power_source: PowerSource::Curve,
                pressure: Pressure::default(),
                agent: AgentHealth { hypervisor_connected: true, ..AgentHealth::default() },
            },
            vms: vms.collect(),
        }
    }
}

fn vm_sample(vm: VmId, cpu: f64, at: Timestamp) -> VmSample {
    VmSample {
        vm,
        taken_at: at,
        state: VmState::Running,
        cpu_used: Reading::Measured(Cores(cpu)),
        memory_used: Reading::Measured(Bytes::from_gib(1)),
        memory_resident: Reading::Measured(Bytes::from_gib(2)),
        dirty_rate: Reading::Measured(BytesPerSec(1e6)),
        ..VmSample::default()
    }
}

/// The uuid that a scripted vm of this name has.
pub fn vm_named(name: &str) -> VmId {
    VmId(uuid_of(name, 2))
}

/// A uuid from a name: the same in every run. FNV-1a, twice with different starts.
fn uuid_of(name: &str, salt: u64) -> uuid::Uuid {
    let hash = |start: u64| {
        name.bytes().fold(start ^ salt, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    uuid::Uuid::from_u64_pair(hash(0xcbf2_9ce4_8422_2325), hash(0x8422_2325_cbf2_9ce4))
}

/// A link to a scheduler, opened by a script.
#[derive(Debug)]
pub struct ScriptedLink {
    up: mpsc::Sender<v1::AgentMessage>,
    down: Streaming<v1::SchedulerMessage>,
    /// What the scheduler answered the hello.
    pub welcome: v1::Welcome,
}

impl ScriptedLink {
    /// Opens a link as `host`, with what its journal says of commands.
    pub async fn open(address: &str, host: &ScriptedHost, reports: Vec<Report>, highest_epoch: u64) -> Result<Self> {
        let channel = Channel::from_shared(format!("http://{address}"))?.connect().await.context("connect")?;
        Self::over(channel, host, reports, highest_epoch).await
    }

    /// Opens a link as `host` over TLS, with the certificate of `files`, whoever's that is.
    pub async fn open_as(files: &TlsFiles, address: &str, host: &ScriptedHost) -> Result<Self> {
        Self::over(secure(files, address).await?, host, Vec::new(), 0).await
    }

    /// Opens a link as `host` over a connection that stands.
    pub async fn over(channel: Channel, host: &ScriptedHost, reports: Vec<Report>, highest_epoch: u64) -> Result<Self> {
        let mut client = AgentLinkClient::new(channel);
        let (up, messages) = mpsc::channel(64);
        let hello = v1::Hello {
            protocol_version: ballast_proto::PROTOCOL_VERSION,
            agent_version: "scripted".into(),
            inventory: Some(host.inventory.clone().into()),
            resume_from_seq: 1,
            highest_epoch,
            commands: reports.into_iter().map(Into::into).collect(),
            capabilities: vec!["sleep".into(), "wake".into()],
        };
        up.send(v1::AgentMessage { message: Some(Up::Hello(hello)) }).await?;
        let mut down = client.connect(ReceiverStream::new(messages)).await.context("open the link")?.into_inner();
        let first = patiently(down.message()).await?.context("the link closed before a welcome")?;
        match first.message {
            Some(Down::Welcome(welcome)) => Ok(Self { up, down, welcome }),
            other => bail!("the scheduler began with {other:?}"),
        }
    }

    /// Sends any message.
    pub async fn send(&self, message: Up) -> Result<()> {
        self.up.send(v1::AgentMessage { message: Some(message) }).await.context("the link is closed")
    }

    /// Sends a batch.
    pub async fn batch(&self, batch: Batch) -> Result<()> {
        self.send(Up::Batch(batch.into())).await
    }

    /// Sends a changed inventory.
    pub async fn inventory(&self, inventory: Inventory) -> Result<()> {
        self.send(Up::Inventory(inventory.into())).await
    }

    /// Says where a command stands.
    pub async fn report(&self, id: CommandId, status: CommandStatus) -> Result<()> {
        self.send(Up::Report(Report { id, status }.into())).await
    }

    /// Says how a command ended.
    pub async fn finished(&self, outcome: Outcome) -> Result<()> {
        self.report(outcome.id, CommandStatus::Finished(outcome)).await
    }

    /// The next message, whatever it is.
    pub async fn next(&mut self) -> Result<Down> {
        let message = patiently(self.down.message()).await?.context("the link was closed")?;
        message.message.context("an empty message")
    }

    /// The next message for which `wanted` has an answer; others are passed over.
    pub async fn next_such<T>(&mut self, wanted: impl Fn(Down) -> Option<T>) -> Result<T> {
        loop {
            if let Some(found) = wanted(self.next().await?) {
                return Ok(found);
            }
        }
    }

    /// The next command.
    pub async fn command(&mut self) -> Result<Command> {
        let wire = self.next_such(|message| if let Down::Command(wire) = message { Some(wire) } else { None }).await?;
        Ok(Command::try_from(wire)?)
    }

    /// Waits for the acknowledgement of batches up to `seq`.
    pub async fn acknowledged(&mut self, seq: u64) -> Result<()> {
        self.next_such(|message| if let Down::Ack(ack) = message { (ack.seq >= seq).then_some(()) } else { None }).await
    }

    /// Waits for the acknowledgement of a final report.
    pub async fn report_acknowledged(&mut self, id: CommandId) -> Result<()> {
        let wanted = id.to_string();
        self.next_such(|message| match message {
            Down::ReportAck(ack) if ack.command_id == wanted => Some(()),
            _ => None,
        })
        .await
    }
}

/// A connection over TLS to a scheduler on this machine.
///
/// # Errors
/// Where it cannot be made with these certificates.
pub async fn secure(files: &TlsFiles, address: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("https://{address}"))?;
    files.secure(endpoint, "127.0.0.1")?.connect().await.context("connect")
}

/// Waits for a real answer, but not for ever.
pub async fn patiently<T, E>(future: impl Future<Output = Result<T, E>>) -> Result<T>
where
    E: Into<anyhow::Error>,
{
    Clock::system().timeout(PATIENCE, future).await.context("no answer")?.map_err(Into::into)
}
