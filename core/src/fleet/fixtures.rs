//! A small fleet for the tests of this module: hosts `a`, `b`, `c` and vms by number.

use std::{collections::BTreeSet, time::Duration};

use uuid::Uuid;

use super::{FleetSettings, FleetState};
use crate::{
    command::{Command, MigrationLimits, Order},
    id::{BootId, CommandId, Epoch, Generation, HostId, Seq, VmId},
    inventory::{Inventory, SleepSupport, VmRecord},
    outcome::{Ending, Outcome, StageTimes},
    power::PowerCurve,
    sample::{AgentHealth, Batch, HostSample, Reading, VmSample, VmState},
    snapshot::{Event, Snapshot},
    units::{Bytes, BytesPerSec, Cores, Timestamp},
};

pub(super) const SETTINGS: FleetSettings =
    FleetSettings { period: Duration::from_secs(5), silent_periods: 3, cpu_limit: 0.85 };

pub(super) fn host(name: &str) -> HostId {
    HostId::new(name).unwrap()
}

pub(super) fn vm(number: u128) -> VmId {
    VmId(Uuid::from_u128(number))
}

pub(super) fn boot(number: u128) -> BootId {
    BootId(Uuid::from_u128(number))
}

pub(super) fn id(number: u64) -> CommandId {
    CommandId { epoch: Epoch(1), number }
}

pub(super) fn record(number: u128, state: VmState) -> VmRecord {
    VmRecord { state, ..VmRecord::running(vm(number), format!("vm-{number}"), 2, Bytes::from_gib(2)) }
}

pub(crate) fn inventory(name: &str, vms: &[(u128, VmState)]) -> Inventory {
    Inventory {
        host: host(name),
        boot: boot(1),
        taken_at: Timestamp::EPOCH,
        up_for: Duration::ZERO,
        complete: true,
        hypervisor: "QEMU 9".into(),
        cpu_capacity: Cores(10.0),
        memory_capacity: Bytes::from_gib(64),
        cpu_model: "EPYC".into(),
        cpu_models: BTreeSet::new(),
        networks: BTreeSet::new(),
        storages: BTreeSet::new(),
        migration_uri: format!("qemu+tls://{name}/system"),
        migration_bandwidth: BytesPerSec(1e9),
        power: PowerCurve::epyc_7742(),
        sleep: SleepSupport::Suspend,
        wake_address: None,
        fault_domain: None,
        site: None,
        vms: vms.iter().map(|(number, state)| record(*number, *state)).collect(),
    }
}

pub(super) fn migrate(number: u64, vm_number: u128, from: &str, to: &str) -> Event {
    let order = Order::Migrate {
        vm: vm(vm_number),
        generation: Generation(0),
        destination: host(to),
        destination_uri: String::new(),
        limits: MigrationLimits::for_memory(Bytes::from_gib(2)),
    };
    ordered(number, from, order)
}

pub(super) fn ordered(number: u64, to: &str, order: Order) -> Event {
    Event::Ordered { command: Command { id: id(number), host: host(to), ttl: Duration::from_secs(10), order } }
}

pub(super) fn ended(number: u64, ending: Ending) -> Event {
    Event::Ended {
        outcome: Outcome {
            id: id(number),
            vm: None,
            source: host("a"),
            destination: None,
            ending,
            began_at: Timestamp::EPOCH,
            ended_at: Timestamp::EPOCH,
            stages: StageTimes::default(),
            downtime: None,
            copied: Bytes::ZERO,
            iterations: 0,
        },
    }
}

pub(super) fn failed() -> Ending {
    Ending::Failed { reason: "the destination said no".into() }
}

pub(super) fn unresolved() -> Ending {
    Ending::Unresolved { reason: "nobody answers".into() }
}

pub(super) fn batch(name: &str, cpu: f64, vms: &[(u128, f64)]) -> Batch {
    let vm = |(number, used): &(u128, f64)| VmSample {
        vm: vm(*number),
        cpu_used: Reading::Measured(Cores(*used)),
        ..VmSample::default()
    };
    Batch {
        host: host(name),
        boot: boot(1),
        seq: Seq(1),
        taken_at: Timestamp::EPOCH,
        sample: HostSample {
            cpu_capacity: Cores(10.0),
            cpu_used: Reading::Measured(Cores(cpu)),
            agent: AgentHealth { hypervisor_connected: true, ..AgentHealth::default() },
            ..HostSample::default()
        },
        vms: vms.iter().map(vm).collect(),
    }
}

/// A fleet and a clock that the test moves.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) fleet: FleetState,
    pub(super) now: Timestamp,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self { fleet: FleetState::new(Epoch(1), SETTINGS), now: Timestamp::from_secs(1000) }
    }

    /// Hosts that are connected and have sent one sample each.
    pub(super) fn with(inventories: &[Inventory]) -> Self {
        let mut stage = Self::new();
        for inventory in inventories {
            stage.connect(inventory.clone());
            stage.batch(batch(inventory.host.as_str(), 1.0, &[]));
        }
        stage
    }

    pub(super) fn event(&mut self, event: Event) {
        self.fleet.apply(&event, self.now);
        assert_eq!(self.fleet.problems(), Vec::<String>::new());
    }

    pub(super) fn connect(&mut self, inventory: Inventory) {
        self.event(Event::Connected { inventory: Box::new(inventory) });
    }

    pub(super) fn disconnect(&mut self, name: &str) {
        self.event(Event::Disconnected { host: host(name), boot: boot(1) });
    }

    pub(super) fn lists(&mut self, name: &str, vms: &[(u128, VmState)]) {
        self.event(Event::Inventory { inventory: Box::new(inventory(name, vms)) });
    }

    pub(super) fn batch(&mut self, batch: Batch) {
        self.event(Event::Batch { batch: Box::new(batch), absurd: Vec::new() });
    }

    pub(super) fn wait(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.fleet.snapshot(self.now)
    }
}
