//! What goes onto the wire comes back the same, and what comes from a stranger is refused by name and never panics.

use std::{collections::BTreeSet, time::Duration};

use ballast_core::{
    command::{Command, CommandStatus, DenyReason, MigrationLimits, Order, Progress, Report},
    convergence::{BANDWIDTH_MBIT, Compression, Convergence, DOWNTIME_MS, PARALLEL, TIMEOUT_SECONDS},
    id::{BootId, CommandId, Epoch, Generation, HostId, Seq, VmId},
    inventory::{CpuNeed, Inventory, Obstacle, SleepSupport, VmLabels, VmRecord},
    outcome::{Ending, Outcome, Stage, StageTimes},
    power::PowerCurve,
    preflight::{Answer, Check, Passport, Question, Refusal},
    sample::{AgentHealth, Batch, HostSample, PowerSource, Pressure, Reading, VmSample, VmState},
    units::{Bytes, BytesPerSec, Cores, OpsPerSec, PacketsPerSec, Ratio, Seconds, Timestamp, Watts},
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use prost::Message;

use super::*;
use crate::v1;

/// What a double carries without loss.
const EXACT: u64 = 1 << 53;

fn host() -> impl Strategy<Value = HostId> {
    "[a-z0-9][a-z0-9.-]{0,8}".prop_map(|name| HostId::new(&name).unwrap())
}

fn command() -> impl Strategy<Value = CommandId> {
    any::<(u64, u64)>().prop_map(|(epoch, number)| CommandId { epoch: Epoch(epoch), number })
}

fn vm() -> impl Strategy<Value = VmId> {
    any::<u128>().prop_map(|bits| VmId(uuid::Uuid::from_u128(bits)))
}

fn boot() -> impl Strategy<Value = BootId> {
    any::<u128>().prop_map(|bits| BootId(uuid::Uuid::from_u128(bits)))
}

fn reading<T: Copy + std::fmt::Debug>(unit: fn(f64) -> T) -> impl Strategy<Value = Reading<T>> {
    (0..3u8, -1e12..1e12f64).prop_map(move |(kind, value)| match kind {
        0 => Reading::Measured(unit(value)),
        1 => Reading::Estimated(unit(value)),
        _ => Reading::Missing,
    })
}

fn memory() -> impl Strategy<Value = Reading<Bytes>> {
    reading(|value| Bytes::from_f64(value.abs()))
}

fn any_state() -> impl Strategy<Value = VmState> {
    select(vec![
        VmState::Running,
        VmState::Paused,
        VmState::Incoming,
        VmState::ShutOff,
        VmState::Crashed,
        VmState::Unknown,
    ])
}

fn pressure() -> impl Strategy<Value = Pressure> {
    vec(reading(Ratio), 5).prop_map(|p| Pressure {
        cpu_some: p[0],
        memory_some: p[1],
        memory_full: p[2],
        io_some: p[3],
        io_full: p[4],
    })
}

fn health() -> impl Strategy<Value = AgentHealth> {
    (any::<(u64, u64, u64, u64, bool)>(), 0.0..10.0).prop_map(|((resident, spooled, dropped, late, up), cpu)| {
        AgentHealth {
            resident: Bytes(resident),
            cpu_used: Cores(cpu),
            spooled,
            dropped,
            late_ticks: late,
            hypervisor_connected: up,
        }
    })
}

fn host_sample() -> impl Strategy<Value = HostSample> {
    let sources = [PowerSource::Curve, PowerSource::Dcmi, PowerSource::Redfish, PowerSource::Hwmon, PowerSource::Rapl];
    let figures = (0.0..1e4, reading(Cores), any::<u64>(), memory(), reading(Watts), select(sources.to_vec()));
    (figures, pressure(), health()).prop_map(|((cpu, used, memory, memory_used, power, source), pressure, agent)| {
        HostSample {
            cpu_capacity: Cores(cpu),
            cpu_used: used,
            memory_capacity: Bytes(memory),
            memory_used,
            power,
            power_source: source,
            pressure,
            agent,
        }
    })
}

fn vm_sample() -> impl Strategy<Value = VmSample> {
    let rates = vec(reading(BytesPerSec), 5);
    let ops = (reading(OpsPerSec), reading(OpsPerSec));
    let loads = (reading(Cores), reading(Ratio), memory(), memory(), memory(), memory());
    let waits = (reading(Seconds), reading(Seconds));
    let packets = vec(reading(PacketsPerSec), 4);
    let rest = (waits, packets);
    (vm(), any::<u64>(), any_state(), loads, rates, ops, rest).prop_map(
        |(vm, at, state, load, rate, ops, (waits, packets))| VmSample {
            vm,
            taken_at: Timestamp(at),
            state,
            cpu_used: load.0,
            steal: load.1,
            memory_used: load.2,
            memory_balloon: load.3,
            memory_resident: load.4,
            disk_read: rate[0],
            disk_write: rate[1],
            disk_read_ops: ops.0,
            disk_write_ops: ops.1,
            net_rx: rate[2],
            net_tx: rate[3],
            dirty_rate: rate[4],
            working_set: load.5,
            disk_read_latency: waits.0,
            disk_write_latency: waits.1,
            net_rx_packets: packets[0],
            net_tx_packets: packets[1],
            net_rx_lost: packets[2],
            net_tx_lost: packets[3],
        },
    )
}

fn batch() -> impl Strategy<Value = Batch> {
    (host(), boot(), any::<(u64, u64)>(), host_sample(), vec(vm_sample(), 0..4)).prop_map(
        |(host, boot, (seq, at), sample, vms)| Batch {
            host,
            boot,
            seq: Seq(seq),
            taken_at: Timestamp(at),
            sample,
            vms,
        },
    )
}

fn names() -> impl Strategy<Value = BTreeSet<String>> {
    vec("[a-z]{1,5}", 0..3).prop_map(|names| names.into_iter().collect())
}

fn convergence() -> impl Strategy<Value = Convergence> {
    let figures =
        (option::of(DOWNTIME_MS), option::of(BANDWIDTH_MBIT), option::of(TIMEOUT_SECONDS), option::of(PARALLEL));
    (figures, any::<bool>()).prop_map(|(figures, auto_converge)| {
        let (downtime_max_ms, bandwidth_mbit, timeout_seconds, parallel) = figures;
        let compression = Compression::None;
        let wish =
            Convergence { downtime_max_ms, bandwidth_mbit, timeout_seconds, auto_converge, parallel, compression };
        let compression = if wish.is_parallel() { Compression::Zstd } else { Compression::None };
        Convergence { compression, ..wish }
    })
}

fn record() -> impl Strategy<Value = VmRecord> {
    let needs = vec![CpuNeed::Any, CpuNeed::Model("EPYC".into()), CpuNeed::SameAs("Xeon".into())];
    let obstacles = vec![
        Obstacle::HostDevice("gpu".into()),
        Obstacle::LocalDisk("/x".into()),
        Obstacle::SharedFilesystem("/y".into()),
        Obstacle::Other("z".into()),
    ];
    let wishes = (vec(host(), 0..3), vec(names(), 3), any::<bool>(), vec(select(obstacles), 0..3), convergence());
    let facts = (any::<(u32, u64, bool)>(), select(needs), names(), names());
    (vm(), ".{0,8}", any_state(), facts, wishes).prop_map(|(vm, name, state, facts, wishes)| VmRecord {
        vm,
        name,
        state,
        vcpus: facts.0.0,
        memory_max: Bytes(facts.0.1),
        cpu: facts.1,
        networks: facts.2,
        storages: facts.3,
        labels: VmLabels {
            pinned_to: wishes.0.into_iter().collect(),
            anti_affinity: wishes.1[0].clone(),
            affinity: wishes.1[1].clone(),
            spread: wishes.1[2].clone(),
            users: wishes.1[2].first().cloned().filter(|users| !users.is_empty()),
            immovable: wishes.2,
            convergence: wishes.4,
        },
        obstacles: wishes.3,
        busy: facts.0.2,
    })
}

fn inventory() -> impl Strategy<Value = Inventory> {
    let sleep = select(vec![SleepSupport::None, SleepSupport::Suspend, SleepSupport::PowerOff]);
    let texts = (option::of("[a-f0-9:]{1,17}"), option::of("[a-z0-9]{1,8}"));
    let figures = (0.0..512.0, any::<(u64, u64, bool)>(), 0.0..1e11, sleep, texts);
    (host(), boot(), figures, vec(names(), 3), vec(record(), 0..3)).prop_map(|(host, boot, figures, sets, vms)| {
        Inventory {
            host,
            boot,
            taken_at: Timestamp(figures.1.0),
            up_for: Duration::from_secs(figures.1.1 >> 40),
            complete: figures.1.2,
            hypervisor: "QEMU 7.2".into(),
            cpu_capacity: Cores(figures.0),
            memory_capacity: Bytes(figures.1.1),
            cpu_model: "EPYC".into(),
            cpu_models: sets[0].clone(),
            networks: sets[1].clone(),
            storages: sets[2].clone(),
            migration_uri: "qemu+tls://a/system".into(),
            migration_bandwidth: BytesPerSec(figures.2),
            power: PowerCurve::epyc_7742(),
            sleep: figures.3,
            wake_address: figures.4.0,
            site: figures.4.1.clone().map(|domain| format!("site of {domain}")),
            fault_domain: figures.4.1,
            vms,
        }
    })
}

fn time() -> impl Strategy<Value = Duration> {
    (0..1_000_000_000u64).prop_map(Duration::from_millis)
}

fn order() -> impl Strategy<Value = Order> {
    let migrate = (vm(), any::<u64>(), host(), option::of(0.0..1e11), vec(time(), 5), any::<bool>());
    prop_oneof![
        migrate.prop_map(|(vm, generation, destination, bandwidth, times, tls)| Order::Migrate {
            vm,
            generation: Generation(generation),
            destination,
            destination_uri: "qemu+tls://b/system".into(),
            limits: MigrationLimits {
                bandwidth: bandwidth.map(BytesPerSec),
                downtime_start: times[0],
                downtime_max: times[1],
                prepare_timeout: times[2],
                completion_timeout: times[3],
                stall_timeout: times[4],
                tls,
                auto_converge: !tls,
                parallel: (generation % 2 == 0).then_some(4),
                compression: if tls { Compression::Zstd } else { Compression::None },
            },
        }),
        command().prop_map(|migration| Order::Cancel { migration }),
        Just(Order::Sleep),
        (host(), option::of("[a-f0-9:]{1,17}")).prop_map(|(target, address)| Order::Wake { target, address }),
    ]
}

fn ending() -> impl Strategy<Value = Ending> {
    let reason = ".{0,12}";
    prop_oneof![
        Just(Ending::Completed),
        Just(Ending::VmGone),
        reason.prop_map(|reason| Ending::Failed { reason }),
        reason.prop_map(|reason| Ending::Cancelled { reason }),
        reason.prop_map(|reason| Ending::Abandoned { reason }),
        reason.prop_map(|reason| Ending::Unresolved { reason }),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let places = (host(), option::of(host()), option::of(vm()));
    let figures = (any::<(u64, u64, u64, u64)>(), vec(time(), 3), option::of(time()));
    (command(), places, ending(), figures).prop_map(|(id, places, ending, (counts, times, downtime))| Outcome {
        id,
        vm: places.2,
        source: places.0,
        destination: places.1,
        ending,
        began_at: Timestamp(counts.0),
        ended_at: Timestamp(counts.1),
        stages: StageTimes { preparation: times[0], migration: times[1], switching: times[2] },
        downtime,
        copied: Bytes(counts.2),
        iterations: counts.3,
    })
}

fn progress() -> impl Strategy<Value = Progress> {
    let stages = [Stage::Queued, Stage::Preparation, Stage::Migration, Stage::Switching, Stage::Ended];
    (select(stages.to_vec()), time(), any::<(u64, u64, u64, u64)>(), 0.0..1e11, 0.0..1e11).prop_map(
        |(stage, elapsed, counts, rate, dirty)| Progress {
            stage,
            elapsed,
            total: Bytes(counts.0),
            copied: Bytes(counts.1),
            remaining: Bytes(counts.2),
            rate: BytesPerSec(rate),
            dirty_rate: BytesPerSec(dirty),
            iteration: counts.3,
        },
    )
}

fn report() -> impl Strategy<Value = Report> {
    let status = prop_oneof![
        Just(CommandStatus::Accepted),
        Just(CommandStatus::Unknown),
        progress().prop_map(CommandStatus::Running),
        outcome().prop_map(CommandStatus::Finished),
        any::<(u64, u64)>().prop_map(|(given, current)| {
            CommandStatus::Denied(DenyReason::StaleEpoch { given: Epoch(given), current: Epoch(current) })
        }),
        vm().prop_map(|vm| CommandStatus::Denied(DenyReason::VmNotHere { vm })),
        ".{0,9}".prop_map(|reason| CommandStatus::Denied(DenyReason::Other { reason })),
    ];
    (command(), status).prop_map(|(id, status)| Report { id, status })
}

/// There and back through the bytes.
fn returned<C, W>(value: C) -> Result<C, InvalidField>
where
    W: From<C> + Message + Default,
    C: TryFrom<W, Error = InvalidField>,
{
    let bytes = W::from(value).encode_to_vec();
    C::try_from(W::decode(bytes.as_slice()).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_batch_survives_the_wire(batch in batch()) {
        prop_assert_eq!(returned::<_, v1::Batch>(batch.clone()), Ok(batch));
    }

    #[test]
    fn an_inventory_survives_the_wire(inventory in inventory()) {
        prop_assert_eq!(returned::<_, v1::Inventory>(inventory.clone()), Ok(inventory));
    }

    #[test]
    fn a_command_survives_the_wire(id in command(), host in host(), ttl in time(), order in order()) {
        let command = Command { id, host, ttl, order };
        prop_assert_eq!(returned::<_, v1::Command>(command.clone()), Ok(command));
    }

    #[test]
    fn a_report_survives_the_wire(report in report()) {
        prop_assert_eq!(returned::<_, v1::CommandReport>(report.clone()), Ok(report));
    }

    #[test]
    fn arbitrary_bytes_never_panic(garbage in vec(any::<u8>(), 0..256)) {
        drop(v1::Batch::decode(garbage.as_slice()).map(Batch::try_from));
        drop(v1::Inventory::decode(garbage.as_slice()).map(Inventory::try_from));
        drop(v1::CommandReport::decode(garbage.as_slice()).map(Report::try_from));
        drop(v1::Command::decode(garbage.as_slice()).map(Command::try_from));
    }

    /// Noise seldom decodes at all, so this one damages single bytes of what does.
    #[test]
    fn a_damaged_batch_never_panics(batch in batch(), place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = v1::Batch::from(batch).encode_to_vec();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        drop(v1::Batch::decode(bytes.as_slice()).map(Batch::try_from));
    }

    #[test]
    fn memory_readings_are_exact_up_to_2_to_the_53(amount in 0..=EXACT) {
        let sample = VmSample { memory_used: Reading::Measured(Bytes(amount)), ..VmSample::default() };
        prop_assert_eq!(returned::<_, v1::VmSample>(sample), Ok(sample));
    }
}

fn a_batch() -> v1::Batch {
    let vm = |n: u128| v1::VmSample { vm_uuid: n.to_be_bytes().to_vec(), ..v1::VmSample::default() };
    v1::Batch {
        host: "kvm-1".into(),
        boot_uuid: vec![7; 16],
        sample: Some(v1::HostSample::default()),
        vms: (1..=4).map(vm).collect(),
        ..v1::Batch::default()
    }
}

#[test]
fn a_wrong_field_is_named_with_its_path() {
    let mut batch = a_batch();
    batch.vms[3].vm_uuid = vec![1, 2, 3];
    let error = Batch::try_from(batch).unwrap_err();
    assert_eq!(error.to_string(), "vms[3].vm_uuid = 3 bytes: a uuid of 16 bytes is needed");
}

#[test]
fn an_absent_sample_is_refused() {
    let error = Batch::try_from(v1::Batch { sample: None, ..a_batch() }).unwrap_err();
    assert_eq!(error.to_string(), "sample = absent: is needed");
}

#[test]
fn a_reading_of_no_stated_quality_is_missing() {
    let mut batch = a_batch();
    batch.vms[0].cpu_used_cores = Some(v1::Reading { value: 2.0, quality: 0 });
    batch.vms[1].cpu_used_cores = Some(v1::Reading { value: 2.0, quality: 99 });
    let batch = Batch::try_from(batch).unwrap();
    assert!(batch.vms.iter().all(|vm| vm.cpu_used.is_missing()));
}

#[test]
fn absurd_readings_pass_so_that_they_can_be_named() {
    let measured = |value| Some(v1::Reading { value, quality: v1::Quality::Measured.into() });
    let mut batch = a_batch();
    batch.vms[0].cpu_used_cores = measured(f64::NAN);
    batch.vms[1].cpu_used_cores = measured(-3.0);
    batch.vms[2].memory_used_bytes = measured(-1.0);
    batch.vms[3].memory_used_bytes = measured(f64::NAN);
    let vms = Batch::try_from(batch).unwrap().vms;
    assert!(vms[0].cpu_used.value().unwrap().get().is_nan());
    assert_eq!(vms[1].cpu_used, Reading::Measured(Cores(-3.0)));
    assert_eq!(vms[2].memory_used, Reading::Measured(Bytes(u64::MAX)), "never zero: that would look idle");
    assert_eq!(vms[3].memory_used, Reading::Measured(Bytes(u64::MAX)));
}

#[test]
fn a_refusal_with_unknown_data_keeps_its_words() {
    let denied = v1::Denied { reason_json: "{\"phase_of_moon\":{}}".into(), reason: "not tonight".into() };
    assert_eq!(DenyReason::from(denied), DenyReason::Other { reason: "not tonight".into() });
}

#[test]
fn a_wish_for_copies_that_is_out_of_range_is_refused_by_name() {
    let wish = v1::Convergence { parallel_connection_count: Some(99), ..v1::Convergence::default() };
    let error = Convergence::try_from(wish).unwrap_err().to_string();
    assert!(error.contains("parallel") && error.contains("99") && error.contains("from 1 to 16"), "{error}");
}

#[test]
fn an_order_of_an_older_scheduler_has_the_limits_of_everybody() {
    let wire = v1::MigrateOrder { vm_uuid: vec![0; 16], destination: "b".into(), ..v1::MigrateOrder::default() };
    let Order::Migrate { limits, .. } = Order::try_from(wire).unwrap() else { panic!("no migration") };
    assert_eq!((limits.auto_converge, limits.parallel, limits.compression), (false, None, Compression::None));
}

#[test]
fn an_outcome_without_an_ending_is_refused() {
    let outcome = v1::Outcome { command_id: "1-2".into(), source: "a".into(), ..v1::Outcome::default() };
    let report =
        v1::CommandReport { command_id: "1-2".into(), status: Some(v1::command_report::Status::Finished(outcome)) };
    assert_eq!(Report::try_from(report).unwrap_err().path, "finished.ending");
}

#[test]
fn a_curve_of_ten_points_is_refused() {
    let curve = v1::PowerCurve { load_watts: vec![1.0; 10], ..v1::PowerCurve::default() };
    let error = PowerCurve::try_from(curve).unwrap_err();
    assert_eq!(error.to_string(), "load_watts = 10 values: eleven values are needed");
}

/// A host with one running and one shut-off vm, whose link has closed.
fn lost_fleet() -> ballast_core::snapshot::Snapshot {
    use ballast_core::{fleet, snapshot::Event};
    let vm = |n: u128, state: v1::VmState| v1::VmRecord {
        vm_uuid: n.to_be_bytes().to_vec(),
        state: state.into(),
        memory_max_bytes: 1 << 30,
        immovable: true,
        cpu: Some(CpuNeed::Any.into()),
        ..v1::VmRecord::default()
    };
    let wire = v1::Inventory {
        host: "kvm-1".into(),
        boot_uuid: vec![0; 16],
        complete: true,
        power: Some(PowerCurve::epyc_7742().into()),
        vms: vec![vm(1, v1::VmState::Running), vm(2, v1::VmState::ShutOff)],
        ..v1::Inventory::default()
    };
    let inventory = Box::new(Inventory::try_from(wire).unwrap());
    let settings = fleet::FleetSettings { period: Duration::from_secs(5), silent_periods: 3, cpu_limit: 0.85 };
    let mut fleet = fleet::FleetState::new(Epoch(1), settings);
    fleet.apply(&Event::Inventory { inventory }, Timestamp::from_secs(1));
    fleet.snapshot(Timestamp::from_secs(1))
}

#[test]
fn an_operator_sees_what_holds_memory_and_why_a_host_is_doubted() {
    let status = host_status(&lost_fleet(), &HostId::new("kvm-1").unwrap()).unwrap();
    assert_eq!((status.vm_count, status.memory_reserved_bytes), (1, 1 << 30), "what is shut off holds nothing");
    assert_eq!(status.doubts[0], "no link to its agent");
    assert_eq!(status.power(), v1::HostPower::Awake);
}

#[test]
fn an_operator_sees_why_a_vm_is_left_alone() {
    let status = vm_status(&lost_fleet(), VmId(uuid::Uuid::from_u128(1))).unwrap();
    assert_eq!((status.host.as_str(), &status.obstacles[..]), ("kvm-1", &["labelled immovable".to_owned()][..]));
}

#[test]
fn a_preflight_answer_comes_back_the_same() {
    let refusals = Check::ALL.map(|check| Refusal::new(check, "7.1.0", "7.2.22 or newer")).to_vec();
    let answer = Answer { number: 7, refusals, passport: Some("{}".into()) };
    assert_eq!(Answer::try_from(v1::PreflightAnswer::from(answer.clone())).unwrap(), answer);
}

#[test]
fn a_passport_passes_through_a_scheduler_that_does_not_read_it() {
    let vm = VmId(uuid::Uuid::from_u128(5));
    let passport = Passport { vm, machine: "pc-q35-7.2".into(), memory: Bytes::from_gib(2), ..Passport::default() };
    let json = serde_json::to_string(&passport).unwrap();
    let age = Duration::from_millis(12);
    let wire = preflight_question(3, vm, true, Some((&json, age)));
    let question = Question { number: 3, vm, tls: true, passport: Some(Box::new(passport)), age };
    assert_eq!(Question::try_from(wire).unwrap(), question);
    let newer = json.replacen('{', "{\"known_to_a_newer_agent\": 1, ", 1);
    assert!(Question::try_from(preflight_question(3, vm, true, Some((&newer, age)))).is_ok());
}

#[test]
fn a_passport_of_another_vm_is_refused() {
    let (vm, other) = (VmId(uuid::Uuid::from_u128(5)), VmId(uuid::Uuid::from_u128(6)));
    let json = serde_json::to_string(&Passport { vm: other, ..Passport::default() }).unwrap();
    let refused = Question::try_from(preflight_question(3, vm, false, Some((&json, Duration::ZERO)))).unwrap_err();
    assert_eq!(refused.path, "passport_json");
}

#[test]
fn an_answer_beyond_its_bounds_is_refused() {
    let refusals = vec![v1::PreflightRefusal::default(); 65];
    assert!(Answer::try_from(v1::PreflightAnswer { refusals, ..Default::default() }).is_err());
    let passport_json = "x".repeat((256 << 10) + 1);
    assert!(Answer::try_from(v1::PreflightAnswer { passport_json, ..Default::default() }).is_err());
}
