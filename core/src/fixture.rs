//! Small fleets for the tests of the decision core: 16-core hosts of 64 GiB that sleep, vms of 4 vCPUs and 4 GiB.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use uuid::Uuid;

use crate::{
    decide::DecideInput,
    decision::{Decision, Mode, Trigger},
    forecast::{Ahead, Forecasts, NORMAL, Quantiles},
    id::{BootId, CommandId, DecisionId, Epoch, Generation, HostId, VmId},
    inventory::{CpuNeed, Inventory, SleepSupport, VmRecord},
    plan::play,
    policy::View,
    power::PowerCurve,
    risk::FleetLoad,
    sample::{HostSample, Reading, VmSample, VmState},
    snapshot::{HostMode, HostPower, HostView, InFlight, Snapshot, VmView},
    tuning::Tuning,
    units::{Bytes, BytesPerSec, Cores, Timestamp},
};

/// The moment of every fresh fleet: long after everything's last change.
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_000_000);

pub(crate) fn host_id(name: &str) -> HostId {
    HostId::new(name).unwrap()
}

pub(crate) fn vm_id(number: u32) -> VmId {
    VmId(Uuid::from_u128(u128::from(number)))
}

/// A fleet that can be changed, decided on, and made to obey.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    pub(crate) snapshot: Snapshot,
    pub(crate) forecasts: Forecasts,
    pub(crate) tuning: Tuning,
}

impl Fleet {
    /// Hosts by name, each with vms of the given CPU use, numbered from 1.
    pub(crate) fn new(hosts: &[(&str, &[f64])]) -> Self {
        let snapshot = Snapshot { taken_at: NOW, epoch: Epoch(1), ..Snapshot::default() };
        let forecasts = Forecasts { method: "test".into(), ..Forecasts::default() };
        let mut fleet = Self { snapshot, forecasts, tuning: Tuning::default() };
        let mut number = 0;
        for (name, vms) in hosts {
            fleet.snapshot.hosts.insert(host_id(name), host(name));
            for cpu in *vms {
                number += 1;
                fleet.add_vm(number, name, *cpu);
            }
        }
        fleet.measure();
        fleet
    }

    /// A vm that is known to go on as it is.
    pub(crate) fn add_vm(&mut self, number: u32, host: &str, cpu: f64) {
        self.forecasts.vms.insert(vm_id(number), forecast_of(cpu, 1.0));
        self.snapshot.vms.insert(vm_id(number), vm(number, host, cpu));
    }

    pub(crate) fn host(&mut self, name: &str) -> &mut HostView {
        self.snapshot.hosts.get_mut(&host_id(name)).unwrap()
    }

    pub(crate) fn vm(&mut self, number: u32) -> &mut VmView {
        self.snapshot.vms.get_mut(&vm_id(number)).unwrap()
    }

    pub(crate) fn record(&mut self, number: u32) -> &mut VmRecord {
        Arc::make_mut(&mut self.vm(number).record)
    }

    pub(crate) fn inventory(&mut self, name: &str) -> &mut Inventory {
        Arc::make_mut(&mut self.host(name).inventory)
    }

    /// Gives every vm the same kind of forecast: its use now as the median, `q95` times it as the 95 % quantile.
    pub(crate) fn forecast(&mut self, q95: f64) {
        for (id, vm) in &self.snapshot.vms {
            self.forecasts.vms.insert(*id, forecast_of(vm.cpu_used().unwrap().get(), q95));
        }
    }

    /// A migration under way.
    pub(crate) fn fly(&mut self, number: u32, to: &str) {
        let command = CommandId { epoch: Epoch(1), number: u64::from(number) };
        let vm = self.vm(number);
        vm.locked_by = Some(command);
        let source = vm.host.clone();
        let flight = InFlight { command, vm: vm_id(number), source, destination: host_id(to), since: NOW };
        self.snapshot.in_flight.push(flight);
    }

    pub(crate) fn view(&self) -> View<'_> {
        // Whoever has a view in a test does not have to keep what it was added up to.
        let load = Box::leak(Box::new(FleetLoad::of(&self.snapshot, &self.forecasts)));
        View { snapshot: &self.snapshot, forecasts: &self.forecasts, load, tuning: &self.tuning, seed: 0 }
    }

    pub(crate) fn input(&self, trigger: Trigger) -> DecideInput<'_> {
        let id = DecisionId { epoch: Epoch(1), number: 1 };
        DecideInput { view: self.view(), id, trigger, mode: Mode::Auto }
    }

    /// Sets every host's sample to what its vms use, at most all it has; and how long it has been over or empty.
    pub(crate) fn measure(&mut self) {
        let mut used: BTreeMap<HostId, (f64, usize)> = BTreeMap::new();
        for vm in self.snapshot.vms.values() {
            let at = used.entry(vm.host.clone()).or_default();
            *at = (at.0 + vm.cpu_used().map_or(0.0, Cores::get), at.1 + 1);
        }
        for (id, host) in &mut self.snapshot.hosts {
            let (cpu, vms) = used.get(id).copied().unwrap_or_default();
            let capacity = host.inventory.cpu_capacity;
            let sample = host.sample.get_or_insert_default();
            sample.cpu_used = Reading::Measured(Cores(cpu).min(capacity));
            let over = cpu > capacity.get() * self.tuning.cpu_limit;
            host.overloaded_for = if over { Duration::from_secs(600) } else { Duration::ZERO };
            host.empty_for = if vms == 0 { Duration::from_secs(3600) } else { Duration::ZERO };
        }
    }

    /// Carries out a decision and lets `span` pass; what is over or empty then has been so for long.
    pub(crate) fn obey(&mut self, decision: &Decision, span: Duration) {
        let Tuning { cpu_limit, relief_after, .. } = self.tuning;
        play(&mut self.snapshot, &decision.chosen.steps, span, cpu_limit, relief_after);
        self.measure();
    }

    pub(crate) fn awake(&self) -> usize {
        self.snapshot.hosts.values().filter(|host| host.power == HostPower::Awake).count()
    }
}

pub(crate) fn forecast_of(median: f64, q95: f64) -> Ahead {
    let deviation = median * (q95 - 1.0) / NORMAL[3];
    let quantiles = Quantiles(NORMAL.map(|z| median + z * deviation));
    Ahead { steps: [quantiles; 3], sums: None }
}

fn host(name: &str) -> HostView {
    let inventory = Inventory {
        host: host_id(name),
        boot: BootId::default(),
        taken_at: NOW,
        up_for: Duration::ZERO,
        complete: true,
        hypervisor: "test".into(),
        cpu_capacity: Cores(16.0),
        memory_capacity: Bytes::from_gib(64),
        cpu_model: "EPYC".into(),
        cpu_models: ["EPYC".to_owned()].into(),
        networks: ["br0".to_owned()].into(),
        storages: ["nfs".to_owned()].into(),
        migration_uri: format!("qemu+tls://{name}/system"),
        migration_bandwidth: BytesPerSec(1e9),
        power: PowerCurve::epyc_7742(),
        sleep: SleepSupport::Suspend,
        wake_address: None,
        fault_domain: None,
        site: None,
        vms: Vec::new(),
    };
    HostView {
        inventory: Arc::new(inventory),
        sample: Some(HostSample::default()),
        base: Cores::ZERO,
        heard_at: Some(NOW),
        power: HostPower::Awake,
        power_since: Timestamp::EPOCH,
        mode: HostMode::Active,
        doubts: Vec::new(),
        overloaded_for: Duration::ZERO,
        empty_for: Duration::ZERO,
    }
}

fn vm(number: u32, host: &str, cpu: f64) -> VmView {
    let record = VmRecord {
        cpu: CpuNeed::Model("EPYC".into()),
        networks: ["br0".to_owned()].into(),
        storages: ["nfs".to_owned()].into(),
        ..VmRecord::running(vm_id(number), format!("vm{number}"), 4, Bytes::from_gib(4))
    };
    let sample = VmSample {
        vm: vm_id(number),
        taken_at: NOW,
        state: VmState::Running,
        cpu_used: Reading::Measured(Cores(cpu)),
        memory_resident: Reading::Measured(Bytes::from_gib(2)),
        ..VmSample::default()
    };
    VmView {
        record: Arc::new(record),
        host: host_id(host),
        sample: Some(sample),
        generation: Generation(1),
        last_moved_at: None,
        locked_by: None,
        frozen: None,
    }
}
