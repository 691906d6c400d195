//! A small simulated fleet, time as the test lets it pass, and agents that can be started and killed.

use std::{path::PathBuf, time::Duration};

use ballast_agent::{
    AgentError,
    config::Config,
    host::simulated::SimulatedHost,
    hypervisor::simulated::{Fleet, SimulatedHypervisor},
};
use ballast_core::{
    command::{Command, CommandStatus, MigrationLimits, Order},
    id::{CommandId, Epoch, Generation, HostId, VmId},
    outcome::Ending,
    power::PowerCurve,
    units::{Bytes, Cores},
};
use ballast_daemon::clock::Clock;
use ballast_sim::{FleetSize, Scenario, World, observe::migration_uri};
use tokio::{sync::oneshot, task::JoinHandle};

/// How much faster than real the fleet's time passes; slow enough for a message to arrive within a simulated second.
const SPEED: u32 = 25;

/// The fleet, its time, and a place for the agents' files.
pub(crate) struct Rig {
    pub(crate) fleet: Fleet,
    pub(crate) clock: Clock,
    pub(crate) hosts: Vec<HostId>,
    pub(crate) scheduler: super::scheduler::Scheduler,
    dir: tempfile::TempDir,
    pump: JoinHandle<()>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// An agent under way.
pub(crate) struct Agent {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), AgentError>>,
}

impl Agent {
    /// As SIGTERM does.
    pub(crate) async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }

    /// As SIGKILL does: nothing is put in order.
    pub(crate) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

impl Rig {
    /// Three hosts with six vms, and a scheduler that waits for the test's words.
    pub(crate) async fn new() -> Self {
        let size = FleetSize { hosts: 3, vms: 6, duration: Duration::from_secs(24 * 3600) };
        let scenario = Scenario::fleet(size, 1).unwrap();
        let (clock, driver) = Clock::driven(scenario.start());
        let fleet = Fleet::new(World::new(&scenario, 1), clock.clone());
        let hosts = fleet.with(|world| world.host_ids());
        let pump = tokio::spawn(async move {
            let real = Clock::system();
            let mut beat = real.interval(Duration::from_millis(1));
            loop {
                beat.tick().await;
                driver.advance(Duration::from_millis(1) * SPEED);
            }
        });
        let scheduler = super::scheduler::Scheduler::start().await;
        Self { fleet, clock, hosts, scheduler, dir: tempfile::tempdir().unwrap(), pump }
    }

    /// Where a host's agent keeps its files.
    pub(crate) fn data_dir(&self, host: usize) -> PathBuf {
        self.dir.path().join(self.hosts[host].as_str())
    }

    /// Starts the agent of a host over the files it left.
    pub(crate) fn agent(&self, host: usize) -> Agent {
        self.agent_in(host, self.data_dir(host))
    }

    /// Starts the agent of a host over other files.
    pub(crate) fn agent_in(&self, host: usize, data_dir: PathBuf) -> Agent {
        let id = self.hosts[host].clone();
        let uri = format!("http://{}", self.scheduler.address);
        let capacity = (Cores(64.0), Bytes::from_gib(256));
        let mut config = Config::embedded(id.clone(), uri, data_dir, capacity, PowerCurve::epyc_7742());
        config.libvirt.migration_uri = migration_uri(&id);
        let hypervisor = self.hypervisor(host);
        let machine = SimulatedHost::new(self.fleet.clone(), id);
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _told_or_dropped = stopped.await.is_ok();
        };
        let task = tokio::spawn(ballast_agent::run(config, hypervisor, machine, self.clock.clone(), stopped));
        Agent { stop: Some(stop), task }
    }

    pub(crate) fn hypervisor(&self, host: usize) -> SimulatedHypervisor {
        SimulatedHypervisor::new(self.fleet.clone(), self.hosts[host].clone())
    }

    /// A vm on a host, and how many there are.
    pub(crate) fn vms_on(&self, host: usize) -> Vec<VmId> {
        let facts = self.fleet.with(|world| world.facts(&self.hosts[host])).unwrap();
        facts.vms.iter().map(|record| record.vm).collect()
    }

    /// A host with a vm, that vm, and another host.
    pub(crate) fn vm(&self) -> (usize, VmId, usize) {
        let source = (0..self.hosts.len()).find(|host| !self.vms_on(*host).is_empty()).unwrap();
        (source, self.vms_on(source)[0], (source + 1) % self.hosts.len())
    }

    /// Where a vm runs: always on exactly one host.
    pub(crate) fn place_of(&self, vm: VmId) -> HostId {
        let hosts = self.fleet.with(|world| world.running_on(vm));
        assert_eq!(hosts.len(), 1, "{hosts:?}");
        hosts.into_iter().next().unwrap()
    }

    /// A command to a host.
    pub(crate) fn command(&self, id: CommandId, host: usize, order: Order) -> Command {
        Command { id, host: self.hosts[host].clone(), ttl: Duration::from_secs(600), order }
    }

    /// An order to move a vm from one host to another.
    pub(crate) fn migrate(&self, id: CommandId, source: usize, vm: VmId, destination: usize) -> Command {
        let order = Order::Migrate {
            vm,
            generation: Generation(0),
            destination: self.hosts[destination].clone(),
            destination_uri: migration_uri(&self.hosts[destination]),
            limits: MigrationLimits::for_memory(Bytes::from_gib(4)),
        };
        self.command(id, source, order)
    }
}

/// The id of a command.
pub(crate) fn id(epoch: u64, number: u64) -> CommandId {
    CommandId { epoch: Epoch(epoch), number }
}

/// How a finished command ended.
#[track_caller]
pub(crate) fn ending(status: CommandStatus) -> Ending {
    match status {
        CommandStatus::Finished(outcome) => outcome.ending,
        other => panic!("expected an outcome, got {other:?}"),
    }
}
