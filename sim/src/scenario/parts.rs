//! The parts of a scenario: hosts, vms, the terms time passes on, and what goes wrong when.
//!
//! Made by [`crate::placement`], by scenario files and by tests; the [`crate::World`] reads them and changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ballast_core::{
    id::{HostId, VmId},
    inventory::{CpuNeed, VmLabels, VmRecord},
    migration_cost::Help,
    power::PowerCurve,
    sample::VmState,
    units::{Bytes, BytesPerSec, Cores},
};

/// The CPU model every host of a made-up fleet provides.
pub(crate) const COMMON_CPU: &str = "x86-64-v3";
/// The network every host of a made-up fleet has.
pub(crate) const NETWORK: &str = "br0";
/// The storage every host of a made-up fleet reaches.
pub(crate) const STORAGE: &str = "pool0";

/// One host of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct HostSpec {
    /// Its name.
    pub host: HostId,
    /// Its hardware, for people.
    pub hardware: String,
    /// CPU that vms may use.
    pub cpu_capacity: Cores,
    /// Memory that vms may use.
    pub memory_capacity: Bytes,
    /// Storage traffic it can carry, read and written together; `None` where that is no limit.
    pub storage_bandwidth: Option<BytesPerSec>,
    /// Network traffic of its vms it can carry, both ways together; `None` where that is no limit.
    pub network_bandwidth: Option<BytesPerSec>,
    /// Power model.
    pub power: PowerCurve,
    /// Its CPU model.
    pub cpu_model: String,
    /// CPU models it can provide to vms.
    pub cpu_models: BTreeSet<String>,
    /// Networks present.
    pub networks: BTreeSet<String>,
    /// Shared storages reachable.
    pub storages: BTreeSet<String>,
    /// Bandwidth migrations may use.
    pub migration_bandwidth: BytesPerSec,
    /// Rack, power feed or whatever fails as one; `None` where it stands alone.
    pub fault_domain: Option<String>,
    /// Where it is.
    pub site: Option<String>,
    /// Round-trip time to each group of users.
    pub rtt: BTreeMap<String, Duration>,
}

impl HostSpec {
    /// A host with the network, the storage and the common CPU model of every made-up fleet, and no limit on its I/O.
    pub fn new(host: HostId, cpu_capacity: Cores, memory_capacity: Bytes, power: PowerCurve) -> Self {
        Self {
            host,
            hardware: String::new(),
            cpu_capacity,
            memory_capacity,
            storage_bandwidth: None,
            network_bandwidth: None,
            power,
            cpu_model: COMMON_CPU.into(),
            cpu_models: BTreeSet::from([COMMON_CPU.into()]),
            networks: BTreeSet::from([NETWORK.into()]),
            storages: BTreeSet::from([STORAGE.into()]),
            migration_bandwidth: BytesPerSec(10e9 / 8.0),
            fault_domain: None,
            site: None,
            rtt: BTreeMap::new(),
        }
    }
}

/// How a vm writes its memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Writes {
    /// Bytes per second that it writes while idle.
    pub idle: BytesPerSec,
    /// Bytes per second that it writes more for every core it gets.
    pub per_core: BytesPerSec,
    /// Share of the memory in use that it writes again and again, 0 to 1.
    pub working_set: f64,
}

/// One vm of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct VmSpec {
    /// Its uuid.
    pub vm: VmId,
    /// Its name.
    pub name: String,
    /// Number of virtual CPUs.
    pub vcpus: u32,
    /// CPU it wants where its series says 1; at most `vcpus`.
    pub cpu_full: Cores,
    /// Memory it may grow to.
    pub memory_max: Bytes,
    /// Share of that memory it always uses: its operating system and caches, which the recordings leave out.
    pub memory_floor: f64,
    /// The operator's wishes.
    pub labels: VmLabels,
    /// Index of the series it replays.
    pub series: usize,
    /// Slot of the series it begins at.
    pub offset: usize,
    /// Index of the host it runs on at first; `None` where one is found for it when it arrives.
    pub home: Option<usize>,
    /// When it is started, from the start of the scenario.
    pub arrives: Duration,
    /// When it is shut down, from the start of the scenario; `None` where it stays.
    pub departs: Option<Duration>,
    /// How it writes memory; `None` takes the general assumption, off by a factor of its own.
    pub writes: Option<Writes>,
    /// The requests it answers, where it is a service: index into the scenario's services.
    pub service: Option<usize>,
}

impl VmSpec {
    /// A vm that is there from the start on host `home` to the end, replays `series` from its first slot, and has no
    /// wishes.
    pub fn new(vm: VmId, name: String, vcpus: u32, memory_max: Bytes, series: usize, home: Option<usize>) -> Self {
        Self {
            vm,
            name,
            vcpus,
            cpu_full: Cores(f64::from(vcpus)),
            memory_max,
            memory_floor: 0.0,
            labels: VmLabels::default(),
            series,
            offset: 0,
            home,
            arrives: Duration::ZERO,
            departs: None,
            writes: None,
            service: None,
        }
    }

    /// What a hypervisor would say of it.
    pub(crate) fn record(&self, state: VmState, busy: bool) -> VmRecord {
        VmRecord {
            vm: self.vm,
            name: self.name.clone(),
            state,
            vcpus: self.vcpus,
            memory_max: self.memory_max,
            cpu: CpuNeed::Model(COMMON_CPU.into()),
            networks: BTreeSet::from([NETWORK.into()]),
            storages: BTreeSet::from([STORAGE.into()]),
            labels: self.labels.clone(),
            obstacles: Vec::new(),
            busy,
        }
    }
}

/// What lies between two slots of a recording.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Between {
    /// A straight line.
    #[default]
    Line,
    /// The value of the slot, until the next begins.
    Hold,
}

/// The terms time passes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// How often the demand of every vm is looked at; between two looks it stays as it is.
    pub step: Duration,
    /// What lies between two slots of a recording.
    pub between: Between,
    /// Largest random deviation from the recording, as a share of the demand: recordings know nothing within a slot.
    pub jitter: f64,
    /// CPU that every awake host uses itself: kernel, hypervisor, the agent.
    pub own_cores: Cores,
    /// Share of its CPU a vm loses while it is copied.
    pub copy_slowdown: f64,
    /// How a copy that does not converge is helped.
    pub convergence: Help,
    /// What goes wrong, in order of time.
    pub faults: Vec<Fault>,
}

impl Default for Terms {
    /// A look every second, a fifth of jitter, 0.3 cores for the host itself, 10 % slowdown while copied (Voorsluys et al.
    /// 2009), no help for copies, and no faults.
    fn default() -> Self {
        Self {
            step: Duration::from_secs(1),
            between: Between::Line,
            jitter: 0.2,
            own_cores: Cores(0.3),
            copy_slowdown: 0.1,
            convergence: Help::default(),
            faults: Vec::new(),
        }
    }
}

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// When, from the start of the scenario.
    pub at: Duration,
    /// When it is mended; `None` where it is not.
    pub until: Option<Duration>,
    /// Index of the host.
    pub host: usize,
    /// What.
    pub what: FaultKind,
}

/// What goes wrong with a host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FaultKind {
    /// It loses power: its vms stop, and are started elsewhere after a minute where there is room.
    Lost,
    /// Its hypervisor does not answer; its vms run on.
    HypervisorAway,
    /// Its agent says nothing; its vms run on.
    AgentSilent,
    /// Its migration link has this share of its bandwidth; 0 moves nothing.
    SlowLink(f64),
    /// Its power meter repeats its last reading.
    MeterStuck,
}

/// Requests that a service answers, slot by slot; the cores it wants follow from them.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Requests per second in every slot.
    pub requests: Vec<f32>,
    /// Core-seconds that one request takes, on average, in every slot.
    pub work: Vec<f32>,
    /// Age at which a request that waits is given up.
    pub patience: Duration,
}
