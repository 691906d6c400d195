//! From a plan file to what is decided on: snapshot, forecasts and tuning. Recent use is fed to the forecaster that the
//! scheduler runs without a model. Called by [`super::Model::of`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use uuid::Builder;

use crate::{
    ewma::EwmaForecaster,
    forecast::{Ahead, Forecaster, Forecasts},
    id::{BootId, CommandId, Epoch, Generation, HostId, VmId},
    inventory::{CpuNeed, Inventory, VmLabels, VmRecord},
    plan::{
        check::{Checks, Problem},
        file::{CurveEntry, DoubtEntry, HostEntry, PlanFile, PowerEntry, VmEntry},
    },
    policy,
    power::{self, PowerCurve},
    sample::{HostSample, Reading, VmSample},
    snapshot::{Doubt, HostMode, HostPower, HostView, InFlight, Snapshot, VmView},
    units::{Bytes, BytesPerSec, Cores, Ratio, Timestamp, Watts, seconds},
};

/// How long ago something was that nobody told the time of.
const LONG_AGO: Duration = Duration::from_secs(86_400);

/// How long a state has lasted that nobody told the time of.
const FOR_LONG: Duration = Duration::from_secs(3600);

/// What a file says, checked.
#[derive(Debug, Clone)]
pub(super) struct Built {
    pub(super) snapshot: Snapshot,
    pub(super) forecasts: Forecasts,
    pub(super) drain: BTreeSet<HostId>,
    pub(super) policy: Option<String>,
}

/// Takes a file.
///
/// # Errors
/// Every value that cannot be taken.
pub(super) fn build(file: &PlanFile) -> Result<Built, Vec<Problem>> {
    let mut checks = Checks::default();
    for problem in file.tuning.problems() {
        checks.note(format!("tuning.{}", problem.field), problem.value, problem.expected);
    }
    let now = Timestamp::from_secs(file.taken_at_unix_seconds.min(10_000_000_000));
    checks.within("period_seconds".into(), file.period_seconds, (0.1, 86_400.0), "seconds");
    let mut snapshot = Snapshot { taken_at: now, epoch: Epoch(1), ..Snapshot::default() };
    for (index, entry) in file.hosts.iter().enumerate() {
        host(entry, index, now, &mut snapshot, &mut checks);
    }
    for (index, entry) in file.vms.iter().enumerate() {
        vm(entry, index, &mut snapshot, &mut checks);
    }
    let drain = file.drain.iter().enumerate();
    let drain = drain.filter_map(|(index, name)| known(format!("drain[{index}]"), name, &snapshot, &mut checks));
    let drain = drain.collect();
    if let Some(name) = file.policy.as_deref().filter(|name| policy::any_by_name(name).is_none()) {
        checks.note("policy", format!("{name:?}"), format!("one of {} is needed", policy::known()));
    }
    if checks.problems.is_empty() {
        let forecasts = forecasts(file, &mut snapshot);
        return Ok(Built { snapshot, forecasts, drain, policy: file.policy.clone() });
    }
    Err(checks.problems)
}

/// A host that the file names, by reference.
fn known(path: String, name: &str, snapshot: &Snapshot, checks: &mut Checks) -> Option<HostId> {
    let host = HostId::new(name).ok().filter(|host| snapshot.hosts.contains_key(host));
    if host.is_none() {
        checks.note(path, format!("{name:?}"), "the name of a host of this file is needed");
    }
    host
}

fn host(entry: &HostEntry, index: usize, now: Timestamp, snapshot: &mut Snapshot, checks: &mut Checks) {
    let at = |field: &str| format!("hosts[{index}].{field}");
    let Some(id) = checks.host(at("name"), &entry.name) else { return };
    if snapshot.hosts.contains_key(&id) {
        checks.note(at("name"), format!("{id:?}"), "a name that no other host has is needed");
    }
    let cores = checks.within(at("cpu_cores"), entry.cpu_cores, (0.01, 65_536.0), "cores");
    let bits = checks.within(at("migration_gbit"), entry.migration_gbit, (0.001, 10_000.0), "gigabits per second");
    let inventory = Inventory {
        host: id.clone(),
        boot: BootId::default(),
        taken_at: now,
        up_for: Duration::ZERO,
        complete: !entry.doubts.contains(&DoubtEntry::InventoryIncomplete),
        hypervisor: String::new(),
        cpu_capacity: Cores(cores),
        memory_capacity: checks.memory(at("memory_gib"), entry.memory_gib),
        cpu_model: entry.cpu_model.clone(),
        cpu_models: entry.cpu_models.iter().cloned().collect(),
        networks: entry.networks.iter().cloned().collect(),
        storages: entry.storages.iter().cloned().collect(),
        migration_uri: String::new(),
        migration_bandwidth: BytesPerSec(bits * 1e9 / 8.0),
        power: power(&entry.power, &at("power"), checks),
        sleep: entry.sleep,
        wake_address: None,
        fault_domain: entry.fault_domain.clone(),
        site: entry.site.clone(),
        vms: Vec::new(),
    };
    let power_since =
        now.before(checks.span(at("power_changed_seconds_ago"), entry.power_changed_seconds_ago, LONG_AGO));
    let used = entry.cpu_used.map(|used| checks.within(at("cpu_used"), used, (0.0, cores), "cores"));
    let sample = HostSample { cpu_used: Reading::measured(used.map(Cores)), ..HostSample::default() };
    let view = HostView {
        sample: Some(sample),
        // Known once the vms are.
        base: Cores::ZERO,
        heard_at: Some(now),
        power: if entry.asleep { HostPower::Asleep } else { HostPower::Awake },
        power_since,
        mode: if entry.draining { HostMode::Draining } else { HostMode::Active },
        doubts: doubts(entry, &inventory, &at("silent_seconds"), checks),
        // What the file does not say is filled in once the vms are known: until then the longest.
        overloaded_for: checks.span(at("over_limit_seconds"), entry.over_limit_seconds, Duration::MAX),
        empty_for: checks.span(at("empty_seconds"), entry.empty_seconds, FOR_LONG),
        inventory: Arc::new(inventory),
    };
    snapshot.hosts.insert(id, view);
}

fn power(entry: &PowerEntry, path: &str, checks: &mut Checks) -> PowerCurve {
    let curve = match entry {
        PowerEntry::Class(name) => PowerCurve::of_class(name)
            .ok_or_else(|| (format!("{name:?}"), format!("one of {} is needed", power::CLASSES.join(", ")))),
        PowerEntry::Curve(entry) => own_curve(entry),
    };
    curve.unwrap_or_else(|(value, expected)| {
        checks.note(path, value, expected);
        PowerCurve::epyc_7742()
    })
}

fn own_curve(entry: &CurveEntry) -> Result<PowerCurve, (String, String)> {
    let CurveEntry { load_watts, asleep_watts, wake_seconds, fall_asleep_seconds } = entry;
    let points: [f64; power::POINTS] = load_watts.clone().try_into().map_err(|watts: Vec<f64>| {
        (format!("{} values", watts.len()), "eleven values are needed: at 0, 10 ... 100 % load".to_owned())
    })?;
    for span in [wake_seconds, fall_asleep_seconds] {
        if !(0.0..=86_400.0).contains(span) {
            return Err((span.to_string(), "a number of seconds from 0 to 86400 is needed".to_owned()));
        }
    }
    let (wake, fall_asleep) = (seconds(*wake_seconds), seconds(*fall_asleep_seconds));
    PowerCurve::new(points.map(Watts), Watts(*asleep_watts), wake, fall_asleep)
        .map_err(|error| (format!("{load_watts:?}, asleep {asleep_watts}"), error.to_string()))
}

fn doubts(entry: &HostEntry, inventory: &Inventory, path: &str, checks: &mut Checks) -> Vec<Doubt> {
    let doubt = |doubt: &DoubtEntry| match doubt {
        DoubtEntry::Disconnected => Doubt::Disconnected,
        DoubtEntry::HypervisorAway => Doubt::HypervisorAway,
        DoubtEntry::InventoryIncomplete => Doubt::InventoryIncomplete,
        DoubtEntry::WakeFailed => Doubt::WakeFailed { waited: inventory.power.wake_time() * 3 },
    };
    let mut doubts: Vec<Doubt> = entry.doubts.iter().map(doubt).collect();
    if entry.silent_seconds.is_some() {
        doubts.push(Doubt::Silent { age: checks.span(path.to_owned(), entry.silent_seconds, Duration::ZERO) });
    }
    doubts
}

fn vm(entry: &VmEntry, index: usize, snapshot: &mut Snapshot, checks: &mut Checks) {
    let at = |field: &str| format!("vms[{index}].{field}");
    let Some(id) = vm_id(entry, index, checks) else { return };
    let host = known(at("host"), &entry.host, snapshot, checks);
    let record = record(entry, id, index, checks);
    let sample = sample(entry, &record, index, snapshot.taken_at, checks);
    let ago = entry.last_moved_seconds_ago;
    let last_moved_at = ago.map(|_| snapshot.taken_at.before(checks.span(at("last_moved_seconds_ago"), ago, LONG_AGO)));
    let to = entry.moving_to.as_ref().and_then(|name| known(at("moving_to"), name, snapshot, checks));
    let command = CommandId { epoch: Epoch(1), number: index as u64 + 1 };
    let Some(host) = host else { return };
    let locked_by = to.as_ref().map(|_| command);
    snapshot.in_flight.extend(to.map(|destination| InFlight {
        command,
        vm: id,
        source: host.clone(),
        destination,
        since: snapshot.taken_at,
    }));
    let record = Arc::new(record);
    let view = VmView {
        record,
        host,
        sample: Some(sample),
        generation: Generation(1),
        last_moved_at,
        locked_by,
        frozen: None,
    };
    if snapshot.vms.insert(id, view).is_some() {
        checks.note(at("name"), id, "a name and uuid that no other vm has are needed");
    }
}

/// The uuid given, or one made from the name: the same name gives the same uuid in every file.
fn vm_id(entry: &VmEntry, index: usize, checks: &mut Checks) -> Option<VmId> {
    match (&entry.uuid, &entry.name) {
        (Some(uuid), _) => match uuid.parse() {
            Ok(id) => Some(id),
            Err(error) => {
                let error: crate::id::InvalidId = error;
                checks.note(format!("vms[{index}].uuid"), format!("{uuid:?}"), format!("{} is needed", error.expected));
                None
            }
        },
        (None, Some(name)) if !name.is_empty() => Some(vm_named(name)),
        (None, _) => {
            checks.note(format!("vms[{index}].name"), "nothing", "a name or a uuid is needed");
            None
        }
    }
}

/// The id of a vm of which only the name is known.
pub fn vm_named(name: &str) -> VmId {
    let hash = blake3::hash(format!("ballast vm {name}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    VmId(Builder::from_custom_bytes(bytes).into_uuid())
}

fn record(entry: &VmEntry, id: VmId, index: usize, checks: &mut Checks) -> VmRecord {
    let at = |field: &str| format!("vms[{index}].{field}");
    if !(1..=65_536).contains(&entry.vcpus) {
        checks.note(at("vcpus"), entry.vcpus, "a number from 1 to 65536 is needed");
    }
    let cpu = match (&entry.cpu_model, &entry.cpu_same_as) {
        (Some(_), Some(model)) => {
            checks.note(at("cpu_same_as"), format!("{model:?}"), "either cpu_model or cpu_same_as, not both");
            CpuNeed::Any
        }
        (Some(model), None) => CpuNeed::Model(model.clone()),
        (None, Some(model)) => CpuNeed::SameAs(model.clone()),
        (None, None) => CpuNeed::Any,
    };
    let mut pin = |(index, name): (usize, &String)| checks.host(at(&format!("pinned_to[{index}]")), name);
    let pinned_to = entry.pinned_to.iter().enumerate().filter_map(&mut pin).collect();
    let convergence = entry.migration.wish();
    for problem in convergence.problems() {
        checks.note(at(&format!("migration.{}", problem.field.replace('-', "_"))), problem.value, problem.needed);
    }
    VmRecord {
        vm: id,
        name: entry.name.clone().unwrap_or_default(),
        state: entry.state,
        vcpus: entry.vcpus,
        memory_max: checks.memory(at("memory_gib"), entry.memory_gib),
        cpu,
        networks: entry.networks.iter().cloned().collect(),
        storages: entry.storages.iter().cloned().collect(),
        labels: VmLabels {
            pinned_to,
            anti_affinity: entry.anti_affinity.iter().cloned().collect(),
            affinity: entry.affinity.iter().cloned().collect(),
            spread: entry.spread.iter().cloned().collect(),
            users: entry.users.clone(),
            immovable: entry.immovable,
            convergence,
        },
        obstacles: entry.obstacles.clone(),
        busy: entry.busy,
    }
}

fn sample(entry: &VmEntry, record: &VmRecord, index: usize, now: Timestamp, checks: &mut Checks) -> VmSample {
    let at = |field: &str| format!("vms[{index}].{field}");
    for (step, value) in entry.cpu_recent.iter().enumerate() {
        checks.within(at(&format!("cpu_recent[{step}]")), *value, (0.0, 65_536.0), "cores");
    }
    let held = match entry.memory_used_gib {
        Some(gib) => checks.memory(at("memory_used_gib"), gib).min(record.memory_max),
        None => record.memory_max,
    };
    let dirty = entry.dirty_mib_per_second;
    let dirty = dirty.map(|mib| checks.within(at("dirty_mib_per_second"), mib, (0.0, 1e6), "MiB per second"));
    let steal = entry.steal.map(|share| checks.within(at("steal"), share, (0.0, 1.0), "parts of one"));
    VmSample {
        vm: record.vm,
        taken_at: now,
        state: entry.state,
        cpu_used: Reading::measured(entry.cpu_recent.last().copied().map(Cores)),
        steal: Reading::measured(steal.map(Ratio)),
        memory_used: Reading::Measured(held),
        memory_resident: Reading::Measured(held),
        dirty_rate: Reading::measured(dirty.map(|mib| BytesPerSec(mib * Bytes::from_mib(1).as_f64()))),
        ..VmSample::default()
    }
}

/// Feeds the recent use to the forecaster; and works out what it tells of how long hosts have been over their limit.
fn forecasts(file: &PlanFile, snapshot: &mut Snapshot) -> Forecasts {
    let period = seconds(file.period_seconds);
    let mut forecaster = EwmaForecaster::default();
    let mut by_host: BTreeMap<HostId, Vec<&[f64]>> = BTreeMap::new();
    for entry in &file.vms {
        let id = entry.uuid.as_ref().and_then(|uuid| uuid.parse().ok());
        let Some(id) = id.or_else(|| entry.name.as_deref().map(vm_named)) else { continue };
        for (back, value) in entry.cpu_recent.iter().rev().enumerate().rev() {
            let ago = period.saturating_mul(u32::try_from(back).unwrap_or(u32::MAX));
            forecaster.observe(&VmSample {
                vm: id,
                taken_at: snapshot.taken_at.before(ago),
                cpu_used: Reading::Measured(Cores(*value)),
                ..VmSample::default()
            });
        }
        if let Some(vm) = snapshot.vms.get(&id) {
            by_host.entry(vm.host.clone()).or_default().push(&entry.cpu_recent);
        }
    }
    for (id, host) in snapshot.hosts.iter_mut().filter(|(_, host)| host.overloaded_for == Duration::MAX) {
        let limit = (host.inventory.cpu_capacity * file.tuning.cpu_limit).get();
        host.overloaded_for = by_host.get(id).map_or(Duration::ZERO, |series| over_for(series, limit, period));
    }
    let mut forecasts = Forecasts::of(&forecaster, snapshot.vms.keys().copied(), snapshot.taken_at);
    for (id, vm) in &snapshot.vms {
        // Who gives one value means that it holds.
        let told = || vm.cpu_used().map(Ahead::steady);
        if let (None, Some(steady)) = (forecasts.vms.get(id), told()) {
            forecasts.vms.insert(*id, steady);
        }
    }
    forecasts
}

/// For how long the sum of `series` has been above `limit` without a break, up to now: an hour at least where it was so
/// all the time that is told. A series that is shorter than the longest began as its oldest value.
fn over_for(series: &[&[f64]], limit: f64, period: Duration) -> Duration {
    let told = series.iter().map(|values| values.len()).max().unwrap_or_default();
    let one = |values: &[f64], back: usize| {
        let index = values.len().saturating_sub(back + 1);
        values.get(index).copied().unwrap_or_default()
    };
    let at = |back: usize| series.iter().map(|values| one(values, back)).sum::<f64>();
    let over = (0..told).take_while(|back| at(*back) > limit).count();
    let since = period.saturating_mul(u32::try_from(over.saturating_sub(1)).unwrap_or(u32::MAX));
    if over == told && over > 0 { since.max(FOR_LONG) } else { since }
}
