//! The driver over a simulated fleet: the demo, the load test and the tests run the agent on it.
//!
//! All hosts of a fleet share one [`Fleet`]; whoever looks at it first moves it to the clock's time.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ballast_core::{
    counters::VmCounters,
    id::{HostId, VmId},
    inventory::Inventory,
    preflight::{Disk, Passport, Premises},
};
use ballast_daemon::clock::Clock;
use ballast_sim::{FlightEvent, SimError, World, observe::Location};
use tokio::sync::mpsc;

use super::{Hypervisor, HypervisorError, HypervisorFacts, MigrationEvent, MigrationJob, Whereabouts};

/// How often a migration under way is looked at, and the fleet for changes: its own tick.
const LOOK: Duration = Duration::from_secs(1);
/// Events that may wait; a reader that falls behind holds up its own watch only.
const EVENTS: usize = 64;

/// The machine type of every simulated vm.
const MACHINE: &str = "simulated";

/// A simulated fleet and the clock it lives by.
#[derive(Debug, Clone)]
pub struct Fleet {
    world: Arc<Mutex<World>>,
    clock: Clock,
    /// Hosts that lack what no inventory shows.
    without_machine: Arc<Mutex<BTreeSet<HostId>>>,
}

impl Fleet {
    /// A fleet that moves with `clock`.
    pub fn new(world: World, clock: Clock) -> Self {
        Self { world: Arc::new(Mutex::new(world)), clock, without_machine: Arc::default() }
    }

    /// The same fleet for somebody who lives by another clock: time in it has come as far as the furthest of them.
    #[must_use]
    pub fn by(&self, clock: Clock) -> Self {
        Self { world: Arc::clone(&self.world), clock, without_machine: Arc::clone(&self.without_machine) }
    }

    /// From now on the hypervisor of `host` does not know the machine type of any vm: its inventory looks as before.
    pub fn forget_machine(&self, host: &HostId) {
        self.without_machine.lock().unwrap_or_else(PoisonError::into_inner).insert(host.clone());
    }

    fn knows_machine(&self, host: &HostId) -> bool {
        !self.without_machine.lock().unwrap_or_else(PoisonError::into_inner).contains(host)
    }

    /// Looks at the fleet as it is now, or orders it about.
    pub fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.advance_to(self.clock.now());
        look(&mut world)
    }

    /// The clock it lives by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// The hypervisor of one host of a simulated fleet.
#[derive(Debug, Clone)]
pub struct SimulatedHypervisor {
    fleet: Fleet,
    host: HostId,
}

impl SimulatedHypervisor {
    /// The hypervisor of `host`.
    pub fn new(fleet: Fleet, host: HostId) -> Self {
        Self { fleet, host }
    }

    fn facts_now(&self) -> Result<Inventory, HypervisorError> {
        self.fleet.with(|world| world.facts(&self.host)).map_err(refusal)
    }

    /// Something that differs whenever a migration, a sleep or a wake began or ended anywhere.
    fn stirrings(&self) -> (u64, u64, u64, u64, usize) {
        self.fleet.with(|world| {
            let ledger = world.ledger();
            (ledger.migrations, ledger.aborted, ledger.sleeps, ledger.wakes, world.flights().len())
        })
    }

    fn watch(&self, vm: VmId) -> mpsc::Receiver<MigrationEvent> {
        let (events, receiver) = mpsc::channel(EVENTS);
        tokio::spawn(watch(self.fleet.clone(), self.host.clone(), vm, events));
        receiver
    }
}

impl Hypervisor for SimulatedHypervisor {
    async fn facts(&self) -> Result<HypervisorFacts, HypervisorError> {
        let inventory = self.facts_now()?;
        Ok(HypervisorFacts {
            version: inventory.hypervisor,
            cpu_model: inventory.cpu_model,
            cpu_models: inventory.cpu_models.into_iter().collect(),
            networks: inventory.networks.into_iter().collect(),
            storages: inventory.storages.into_iter().collect(),
            vms: inventory.vms,
        })
    }

    async fn counters(&self, _deadline: Duration) -> Result<Vec<VmCounters>, HypervisorError> {
        self.fleet.with(|world| world.counters(&self.host)).map_err(refusal)
    }

    async fn migrate(&self, job: MigrationJob) -> Result<mpsc::Receiver<MigrationEvent>, HypervisorError> {
        let begun = self.fleet.with(|world| {
            let named = world.host_at(&job.destination_uri);
            let destination = named.ok_or(SimError::UnknownHost(job.destination.clone()))?;
            world.begin_migration(&self.host, job.vm, &destination, job.limits)
        });
        begun.map_err(refusal)?;
        Ok(self.watch(job.vm))
    }

    async fn resume_watching(&self, vm: VmId) -> Result<Option<mpsc::Receiver<MigrationEvent>>, HypervisorError> {
        let location = self.fleet.with(|world| world.locate(&self.host, vm)).map_err(refusal)?;
        let is_leaving = matches!(location, Location::Here { migrating: true, .. });
        Ok(is_leaving.then(|| self.watch(vm)))
    }

    async fn abort(&self, vm: VmId) -> Result<(), HypervisorError> {
        self.fleet.with(|world| world.abort(&self.host, vm)).map_err(refusal)
    }

    async fn allow_downtime(&self, vm: VmId, longest: Duration) -> Result<(), HypervisorError> {
        self.fleet.with(|world| world.allow_downtime(&self.host, vm, longest)).map_err(refusal)
    }

    async fn locate(&self, vm: VmId) -> Result<Whereabouts, HypervisorError> {
        self.fleet.with(|world| world.locate(&self.host, vm)).map(whereabouts).map_err(refusal)
    }

    async fn locate_at(&self, uri: &str, vm: VmId) -> Result<Whereabouts, HypervisorError> {
        let found = self.fleet.with(|world| {
            let host = world.host_at(uri).ok_or_else(|| HypervisorError::Unreachable(format!("no host at {uri}")))?;
            world.locate(&host, vm).map_err(refusal)
        });
        found.map(whereabouts)
    }

    async fn passport(&self, vm: VmId) -> Result<Passport, HypervisorError> {
        let facts = self.facts_now()?;
        let record = facts.vms.into_iter().find(|record| record.vm == vm).ok_or(HypervisorError::NoSuchVm(vm))?;
        let disk = |storage: String| Disk { path: storage.clone(), storage: Some(storage) };
        Ok(Passport {
            vm,
            obstacles: record.obstacles,
            machine: MACHINE.into(),
            cpu: Some(record.cpu),
            memory: record.memory_max,
            vcpus: record.vcpus,
            networks: record.networks,
            disks: record.storages.into_iter().map(disk).collect(),
            ..Passport::default()
        })
    }

    async fn premises(&self, _passport: &Passport) -> Result<Premises, HypervisorError> {
        let facts = self.facts_now()?;
        let knows = self.fleet.knows_machine(&self.host);
        Ok(Premises {
            machine_lacking: (!knows).then(|| "the machine type is not known here".to_owned()),
            cpu_model: facts.cpu_model,
            cpu_models: facts.cpu_models,
            networks: facts.networks,
            storages: facts.storages,
            ..Premises::default()
        })
    }

    async fn changes(&self) {
        let (before, seen) = (self.facts_now().ok().map(|facts| facts.vms), self.stirrings());
        let mut last = seen;
        loop {
            self.fleet.clock.sleep(LOOK).await;
            let now = self.stirrings();
            // Most hosts are not concerned by most changes of the fleet.
            if std::mem::replace(&mut last, now) != now && self.facts_now().ok().map(|facts| facts.vms) != before {
                return;
            }
        }
    }
}

/// Passes on what a migration reports, with its progress at every look, until it has returned or nobody listens. Where the
/// vm has begun to move anew meanwhile, this one is over, and how it ended nobody can tell any more.
async fn watch(fleet: Fleet, host: HostId, vm: VmId, events: mpsc::Sender<MigrationEvent>) {
    let mut told = 0;
    let began = fleet.with(|world| world.migration_began(&host, vm));
    loop {
        if fleet.with(|world| world.migration_began(&host, vm)) != began {
            let lost = HypervisorError::Refused("another migration of the vm has begun since".to_owned());
            // Nobody listens any more: nobody needs it.
            let _told = events.send(MigrationEvent::Returned(Err(lost))).await.is_ok();
            return;
        }
        let (news, progress) = fleet.with(|world| {
            let all = world.migration_events(&host, vm);
            (all.get(told..).unwrap_or_default().to_vec(), world.migration_progress(&host, vm))
        });
        told += news.len();
        let over = news.iter().any(|event| matches!(event, FlightEvent::Returned(_)));
        let progress = progress.filter(|_| !over).map(MigrationEvent::Progress);
        for event in news.into_iter().map(translate).chain(progress) {
            if events.send(event).await.is_err() {
                return;
            }
        }
        if over {
            return;
        }
        fleet.clock.sleep(LOOK).await;
    }
}

fn translate(event: FlightEvent) -> MigrationEvent {
    match event {
        FlightEvent::Iteration(number) => MigrationEvent::Iteration(number),
        FlightEvent::Suspended => MigrationEvent::Suspended,
        FlightEvent::Statistics { downtime, copied, iterations } => {
            MigrationEvent::Statistics { downtime, copied, iterations }
        }
        FlightEvent::Returned(result) => MigrationEvent::Returned(result.map_err(HypervisorError::Refused)),
    }
}

fn whereabouts(location: Location) -> Whereabouts {
    match location {
        Location::Here { state, migrating } => Whereabouts::Here { state, migrating },
        Location::NotHere => Whereabouts::NotHere,
    }
}

fn refusal(error: SimError) -> HypervisorError {
    match error {
        SimError::UnknownVm(vm) | SimError::NotHere { vm, .. } => HypervisorError::NoSuchVm(vm),
        SimError::Unreachable(_) | SimError::WrongPower { .. } | SimError::UnknownHost(_) => {
            HypervisorError::Unreachable(error.to_string())
        }
        SimError::Busy(_)
        | SimError::SameHost { .. }
        | SimError::NoMigration(_)
        | SimError::TooLate(_)
        | SimError::NotEmpty { .. } => HypervisorError::Refused(error.to_string()),
    }
}
