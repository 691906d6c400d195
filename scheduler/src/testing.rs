//! Hosts, vms and batches for tests of this crate: small, valid, and different only where a test says so.

use std::{collections::BTreeSet, time::Duration};

use ballast_core::{
    command::{Command, MigrationLimits, Order},
    id::{BootId, CommandId, DecisionId, Epoch, Generation, HostId, Seq, VmId},
    inventory::{Inventory, SleepSupport, VmRecord},
    outcome::{Ending, Outcome, StageTimes},
    power::PowerCurve,
    sample::{AgentHealth, Batch, HostSample, Reading, VmSample, VmState},
    units::{Bytes, BytesPerSec, Cores, Timestamp, Watts},
};
use uuid::Uuid;

use crate::journal::OpenIntent;

pub(crate) mod logs;
pub(crate) mod models;

/// A host's id.
pub(crate) fn host(name: &str) -> HostId {
    HostId::new(name).unwrap()
}

/// The vm of a number.
pub(crate) fn vm(number: u128) -> VmId {
    VmId(Uuid::from_u128(number))
}

/// The command of a number, of epoch 1.
pub(crate) fn id(number: u64) -> CommandId {
    CommandId { epoch: Epoch(1), number }
}

/// A vm of 2 vCPUs and 2 GiB.
pub(crate) fn vm_record(number: u128) -> VmRecord {
    VmRecord::running(vm(number), format!("vm{number}"), 2, Bytes::from_gib(2))
}

/// A host of 8 cores and 32 GiB with these vms, in its first boot.
pub(crate) fn inventory(name: &str, vms: &[u128]) -> Inventory {
    Inventory {
        host: host(name),
        boot: BootId(Uuid::from_u128(1)),
        taken_at: Timestamp::from_secs(1000),
        up_for: Duration::ZERO,
        complete: true,
        hypervisor: "test".into(),
        cpu_capacity: Cores(8.0),
        memory_capacity: Bytes::from_gib(32),
        cpu_model: "test".into(),
        cpu_models: BTreeSet::new(),
        networks: BTreeSet::new(),
        storages: BTreeSet::new(),
        migration_uri: format!("test://{name}"),
        migration_bandwidth: BytesPerSec(1e9),
        power: PowerCurve::ml110_g5(),
        sleep: SleepSupport::Suspend,
        wake_address: None,
        fault_domain: None,
        site: None,
        vms: vms.iter().map(|number| vm_record(*number)).collect(),
    }
}

/// A sample of a host that uses `cpu` cores.
pub(crate) fn host_sample(cpu: f64) -> HostSample {
    HostSample {
        cpu_capacity: Cores(8.0),
        cpu_used: Reading::Measured(Cores(cpu)),
        memory_capacity: Bytes::from_gib(32),
        memory_used: Reading::Measured(Bytes::from_gib(4)),
        power: Reading::Measured(Watts(150.0)),
        agent: AgentHealth { hypervisor_connected: true, ..AgentHealth::default() },
        ..HostSample::default()
    }
}

/// A batch of a host of this inventory whose vms share `cpu` cores evenly.
pub(crate) fn batch(inventory: &Inventory, seq: u64, at: Timestamp, cpu: f64) -> Batch {
    let share = cpu / ballast_core::units::count(inventory.vms.len().max(1));
    let sample = |record: &VmRecord| VmSample {
        vm: record.vm,
        taken_at: at,
        state: VmState::Running,
        cpu_used: Reading::Measured(Cores(share.min(2.0))),
        memory_used: Reading::Measured(Bytes::from_gib(1)),
        memory_resident: Reading::Measured(Bytes::from_gib(1)),
        ..VmSample::default()
    };
    Batch {
        host: inventory.host.clone(),
        boot: inventory.boot,
        seq: Seq(seq),
        taken_at: at,
        sample: host_sample(cpu),
        vms: inventory.vms.iter().map(sample).collect(),
    }
}

/// The order to move vm 7 from `a` to `b`.
pub(crate) fn migrate(number: u64) -> Command {
    let order = Order::Migrate {
        vm: vm(7),
        generation: Generation(1),
        destination: host("b"),
        destination_uri: "test://b".into(),
        limits: MigrationLimits::for_memory(Bytes::from_gib(2)),
    };
    Command { id: id(number), host: host("a"), ttl: Duration::from_secs(60), order }
}

/// An intent of a command.
pub(crate) fn intent(command: Command) -> OpenIntent {
    let decision = DecisionId { epoch: Epoch(1), number: 1 };
    let (name, motive) = ("vm7".into(), "test".into());
    let ordered_at = Timestamp::from_secs(1);
    OpenIntent {
        command,
        decision,
        name,
        motive,
        ordered_at,
        accepted: false,
        said_goodbye: false,
        copy: None,
        departure: None,
        stake: None,
    }
}

/// An outcome of [`migrate`].
pub(crate) fn outcome(number: u64, ending: Ending) -> Outcome {
    Outcome {
        id: id(number),
        vm: Some(vm(7)),
        source: host("a"),
        destination: Some(host("b")),
        ending,
        began_at: Timestamp::from_secs(1),
        ended_at: Timestamp::from_secs(2),
        stages: StageTimes::default(),
        downtime: Some(Duration::from_millis(40)),
        copied: Bytes::from_gib(1),
        iterations: 3,
    }
}
