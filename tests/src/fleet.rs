//! A whole fleet in one process: the real scheduler, real agents on simulated hosts, real gRPC on loopback, one clock that
//! the test drives. Any of them can be lost and started again with what it had written.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use ballast_agent::{
    config::Config as AgentConfig,
    host::simulated::SimulatedHost,
    hypervisor::simulated::{Fleet, SimulatedHypervisor},
};
use ballast_core::{
    convergence::Convergence,
    decision::Mode,
    id::{HostId, VmId},
    inventory::VmLabels,
    power::PowerCurve,
    units::{Bytes, BytesPerSec, Cores},
};
use ballast_scheduler::config::Config;
use ballast_sim::{
    Scenario, World,
    observe::Location,
    scenario::{HostSpec, VmSpec, Writes},
    trace::{Series, Slot},
};

use crate::{
    logs::Logs,
    process::Process,
    scheduler::{START, SchedulerUnderTest, Time, quick},
    scripted::vm_named,
};

/// One vm of a test's fleet.
#[derive(Debug, Clone)]
pub struct Vm {
    /// Its name.
    pub name: &'static str,
    /// Index of the host it runs on at first.
    pub home: usize,
    /// Share of its four vCPUs that it wants, always.
    pub cpu: f32,
    /// Memory it may grow to.
    pub memory: Bytes,
    /// How its copies are to go.
    pub convergence: Convergence,
}

/// A vm that wants `cores` of its four vCPUs, on the host of index `home`.
pub fn vm(name: &'static str, home: usize, cores: f32) -> Vm {
    let convergence = Convergence::default();
    Vm { name, home, cpu: cores / 4.0, memory: Bytes::from_gib(2), convergence }
}

/// Memory of each host.
const MEMORY: Bytes = Bytes::from_gib(32);
/// The seed of every test's fleet.
const SEED: u64 = 7;
/// A step of time that every loop of the daemons notices.
pub const STEP: Duration = Duration::from_millis(250);

/// A running fleet.
#[derive(Debug)]
pub struct SimFleet {
    /// What all of them log.
    pub logs: Logs,
    /// Their time.
    pub time: Time,
    /// The hosts and vms as they really are.
    pub world: Fleet,
    /// The scheduler.
    pub scheduler: SchedulerUnderTest,
    agents: BTreeMap<String, Process>,
    config: Config,
    hosts: Vec<HostSpec>,
    data: PathBuf,
    _folder: tempfile::TempDir,
}

impl SimFleet {
    /// A fleet of `hosts` hosts of 8 cores and 32 GiB, named `kvm1` …, with these vms, everything running.
    ///
    /// # Errors
    /// Where something does not start.
    pub async fn start(mode: Mode, hosts: usize, vms: &[Vm]) -> Result<Self> {
        Self::start_with(mode, hosts, vms, |_| ()).await
    }

    /// The same with other settings of the scheduler.
    ///
    /// # Errors
    /// Where something does not start.
    pub async fn start_with(mode: Mode, hosts: usize, vms: &[Vm], change: impl FnOnce(&mut Config)) -> Result<Self> {
        let logs = Logs::watch();
        let time = Time::default();
        let folder = tempfile::tempdir()?;
        let hosts: Vec<HostSpec> = (1..=hosts).map(|number| host(number, MEMORY)).collect::<Result<_>>()?;
        let world = Fleet::new(World::new(&scenario(hosts.clone(), vms)?, SEED), time.clock.clone());
        let mut config = quick(&folder.path().join("scheduler"), mode);
        change(&mut config);
        let scheduler = SchedulerUnderTest::start(config.clone(), time.clock.clone(), &logs).await?;
        config.listen = scheduler.address;
        let data = folder.path().to_path_buf();
        let agents = BTreeMap::new();
        let mut fleet = Self { logs, time, world, scheduler, agents, config, hosts, data, _folder: folder };
        for spec in fleet.hosts.clone() {
            fleet.start_agent(spec.host.as_str())?;
        }
        Ok(fleet)
    }

    /// Where a host's agent keeps its files.
    pub fn agent_dir(&self, host: &str) -> PathBuf {
        self.data.join(host)
    }

    /// Where the scheduler keeps its files.
    pub fn scheduler_dir(&self) -> PathBuf {
        self.config.engine.data_dir.clone()
    }

    /// Starts the agent of a host, with what an earlier one had written.
    ///
    /// # Errors
    /// Where there is no such host, or no thread.
    pub fn start_agent(&mut self, host: &str) -> Result<()> {
        let spec = self.hosts.iter().find(|spec| spec.host.as_str() == host).context("no such host")?;
        let scheduler = format!("http://{}", self.scheduler.address);
        let agent = agent(spec, scheduler, self.agent_dir(host), &self.world, &self.logs, &self.time)?;
        self.agents.insert(host.to_owned(), agent);
        Ok(())
    }

    /// Loses the agent of a host; its vms and their migrations go on.
    ///
    /// # Errors
    /// Where it had failed before.
    pub async fn crash_agent(&mut self, host: &str) -> Result<()> {
        self.agents.remove(host).context("no such agent")?.crash().await
    }

    /// Loses the scheduler.
    ///
    /// # Errors
    /// Where it had failed before.
    pub async fn crash_scheduler(&mut self) -> Result<()> {
        self.scheduler.crash().await
    }

    /// Starts a scheduler at the old address with what the one before had written.
    ///
    /// # Errors
    /// Where it does not start.
    pub async fn restart_scheduler(&mut self) -> Result<()> {
        self.scheduler = SchedulerUnderTest::start(self.config.clone(), self.time.clock.clone(), &self.logs).await?;
        Ok(())
    }

    /// Lets time pass until `done`, for at most `seconds`; false where it was not done by then.
    pub async fn until(&self, seconds: u64, mut done: impl FnMut(&Self) -> bool) -> bool {
        let look = async || {
            // The scheduler's answer shows that it has kept up; a lost one has nothing to say.
            drop(self.scheduler.engine.snapshot().await);
            done(self)
        };
        self.time.until(Duration::from_secs(seconds), STEP, look).await
    }

    /// Lets time pass until every host is known, sampled and trusted.
    ///
    /// # Errors
    /// With what is doubted, after a minute of the fleet's time.
    pub async fn trusted(&self) -> Result<()> {
        let all = async || {
            let Ok(snapshot) = self.scheduler.engine.snapshot().await else { return false };
            let well =
                |host: &HostId| snapshot.hosts.get(host).is_some_and(|view| view.is_trusted() && view.sample.is_some());
            self.hosts.iter().all(|spec| well(&spec.host))
        };
        if self.time.until(Duration::from_secs(60), STEP, all).await {
            return Ok(());
        }
        let snapshot = self.scheduler.engine.snapshot().await?;
        let doubts: Vec<_> = snapshot.hosts.values().map(|view| (view.id().clone(), view.doubts.clone())).collect();
        anyhow::bail!("after a minute: {doubts:?}")
    }

    /// Hosts on which a vm really runs.
    pub fn runs_on(&self, name: &str) -> Vec<String> {
        let vm = vm_named(name);
        self.world.with(|world| {
            let there = |spec: &&HostSpec| matches!(world.locate(&spec.host, vm), Ok(Location::Here { .. }));
            self.hosts.iter().filter(there).map(|spec| spec.host.to_string()).collect()
        })
    }

    /// From now on a vm writes `share` of its memory again and again, so many bytes per second.
    ///
    /// # Errors
    /// Where there is no such vm.
    pub fn writes(&self, name: &str, rate: BytesPerSec, share: f64) -> Result<()> {
        let writes = Writes { idle: rate, per_core: BytesPerSec::ZERO, working_set: share };
        Ok(self.world.with(|world| world.set_writes(vm_named(name), writes))?)
    }

    /// Migrations that have really been completed.
    pub fn moves(&self) -> u64 {
        self.world.with(|world| world.ledger().migrations)
    }
}

/// The host `kvm<number>` of 8 cores.
///
/// # Errors
/// Never: the name is one.
pub(crate) fn host(number: usize, memory: Bytes) -> Result<HostSpec> {
    let any = || "any".to_owned();
    let mut spec = HostSpec::new(HostId::new(&format!("kvm{number}"))?, Cores(8.0), memory, PowerCurve::ml110_g5());
    spec.hardware = "a test's".into();
    spec.networks.insert(any());
    spec.storages.insert(any());
    // A vm of 2 GiB takes about ten seconds: long enough to be disturbed.
    spec.migration_bandwidth = BytesPerSec(200e6);
    Ok(spec)
}

fn scenario(hosts: Vec<HostSpec>, vms: &[Vm]) -> Result<Scenario> {
    let series = vms.iter().map(|vm| {
        let slot = Slot { cpu: vm.cpu, memory: 0.5, ..Slot::default() };
        Arc::new(Series::new(vm.name.to_owned(), vec![slot; 2]))
    });
    let specs = vms.iter().enumerate().map(|(index, vm)| VmSpec {
        memory_floor: 0.5,
        labels: VmLabels { convergence: vm.convergence, ..VmLabels::default() },
        ..VmSpec::new(id(vm.name), vm.name.to_owned(), 4, vm.memory, index, Some(vm.home))
    });
    Ok(Scenario::new(START, Duration::from_secs(86_400), hosts, specs.collect(), series.collect())?)
}

/// The uuid of a vm of this name.
pub fn id(name: &str) -> VmId {
    vm_named(name)
}

/// Starts an agent on a simulated host.
///
/// # Errors
/// Where no thread can be made.
pub fn agent(
    spec: &HostSpec,
    scheduler: String,
    data_dir: PathBuf,
    world: &Fleet,
    logs: &Logs,
    time: &Time,
) -> Result<Process> {
    let capacity = (spec.cpu_capacity, spec.memory_capacity);
    let config = AgentConfig::embedded(spec.host.clone(), scheduler, data_dir, capacity, spec.power.clone());
    agent_with(config, spec, world, logs, time)
}

/// Starts an agent with a configuration of its own on a simulated host.
///
/// # Errors
/// Where no thread can be made.
pub fn agent_with(config: AgentConfig, spec: &HostSpec, world: &Fleet, logs: &Logs, time: &Time) -> Result<Process> {
    let hypervisor = SimulatedHypervisor::new(world.clone(), spec.host.clone());
    let host = SimulatedHost::new(world.clone(), spec.host.clone());
    let clock = time.clock.clone();
    Process::spawn(spec.host.as_str(), logs, move |stop| async move {
        // A sender that is gone means that the test is over.
        let stopped = async { drop(stop.await) };
        Ok(ballast_agent::run(config, hypervisor, host, clock, stopped).await?)
    })
}

/// A world with one simulated host and its neighbour, for an agent that a scripted scheduler orders about.
///
/// # Errors
/// Where the vms make no sense.
pub fn pair(time: &Time, vms: &[Vm]) -> Result<(Fleet, Vec<HostSpec>)> {
    let hosts = vec![host(1, MEMORY)?, host(2, MEMORY)?];
    Ok((Fleet::new(World::new(&scenario(hosts.clone(), vms)?, SEED), time.clock.clone()), hosts))
}
