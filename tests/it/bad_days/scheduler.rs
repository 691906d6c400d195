//! Bad days of the scheduler: scripted agents, the real scheduler, real gRPC, driven time.

use std::{collections::BTreeMap, time::Duration};

use ballast_core::{
    command::{Command, CommandStatus, Order, Progress},
    decision::Mode,
    id::HostId,
    outcome::{self, Ending, Outcome, StageTimes},
    sample::{Reading, VmState},
    snapshot::Snapshot,
    units::{Bytes, BytesPerSec, Cores},
};
use ballast_proto::v1::{self, agent_message::Message as Up, scheduler_message::Message as Down};
use ballast_scheduler::config::Config;
use ballast_tests::{
    logs::Logs,
    scheduler::{SchedulerUnderTest, Time, folder, quick},
    scripted::{ScriptedHost, ScriptedLink, vm_named},
};

const SECOND: Duration = Duration::from_secs(1);

fn host(name: &str) -> HostId {
    HostId::new(name).unwrap()
}

/// A scheduler and the scripted hosts that are linked to it. Every second each of them sends a batch.
struct Stage {
    logs: Logs,
    time: Time,
    config: Config,
    scheduler: SchedulerUnderTest,
    hosts: BTreeMap<String, ScriptedHost>,
    links: BTreeMap<String, ScriptedLink>,
    seqs: BTreeMap<String, u64>,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn new(mode: Mode, hosts: Vec<ScriptedHost>) -> Self {
        let logs = Logs::watch();
        let time = Time::default();
        let (folder, path) = folder().unwrap();
        let config = quick(&path.join("scheduler"), mode);
        let scheduler = SchedulerUnderTest::start(config.clone(), time.clock.clone(), &logs).await.unwrap();
        let named = |host: ScriptedHost| (host.inventory.host.to_string(), host);
        let hosts: BTreeMap<String, ScriptedHost> = hosts.into_iter().map(named).collect();
        let (links, seqs) = (BTreeMap::new(), BTreeMap::new());
        let mut stage = Self { logs, time, config, scheduler, hosts, links, seqs, _folder: folder };
        stage.connect_all().await;
        stage
    }

    async fn connect_all(&mut self) {
        for (name, host) in &self.hosts {
            let link = ScriptedLink::open(&self.scheduler.authority(), host, Vec::new(), 0).await.unwrap();
            self.links.insert(name.clone(), link);
        }
    }

    /// A second passes; every host of `speaking` sends a batch, changed by `change`.
    async fn second(&mut self, speaking: &[&str], change: impl Fn(&str, &mut v1::Batch)) {
        for name in speaking {
            let seq = self.seqs.entry((*name).to_owned()).or_default();
            *seq += 1;
            let mut batch = v1::Batch::from(self.hosts[*name].batch(*seq, self.time.now()));
            change(name, &mut batch);
            self.links[*name].send(Up::Batch(batch)).await.unwrap();
        }
        self.time.pass(SECOND, SECOND / 4).await;
    }

    async fn seconds(&mut self, count: usize, speaking: &[&str]) {
        for _ in 0..count {
            self.second(speaking, |_, _| ()).await;
        }
    }

    async fn snapshot(&self) -> std::sync::Arc<Snapshot> {
        self.scheduler.engine.snapshot().await.unwrap()
    }

    /// Lets the fleet run until the scheduler orders something of `of`, for at most `seconds`.
    async fn command(&mut self, of: &str, seconds: usize, speaking: &[&str]) -> Option<Command> {
        for _ in 0..seconds {
            self.second(speaking, |_, _| ()).await;
            if self.scheduler.engine.migrations(10, true).iter().any(|one| one.source == host(of)) {
                return Some(self.links.get_mut(of).unwrap().command().await.unwrap());
            }
        }
        None
    }

    /// Whether any migration was ever ordered.
    fn has_ordered(&self) -> bool {
        !self.scheduler.engine.migrations(10, false).is_empty()
    }

    /// Loses the scheduler and starts another one with its data, at the same address.
    async fn restart_scheduler(&mut self) {
        self.links.clear();
        self.scheduler.crash().await.unwrap();
        let mut config = self.config.clone();
        config.listen = self.scheduler.address;
        self.scheduler = SchedulerUnderTest::start(config, self.time.clock.clone(), &self.logs).await.unwrap();
    }
}

/// A host above its limit by two vms that a calmer host has room for.
fn overloaded(name: &str) -> ScriptedHost {
    ScriptedHost::new(name).unwrap().with_vm("busy-1", 3.8).with_vm("busy-2", 3.8)
}

fn idle(name: &str) -> ScriptedHost {
    ScriptedHost::new(name).unwrap()
}

fn migrate(command: &Command) -> (ballast_core::id::VmId, HostId) {
    match &command.order {
        Order::Migrate { vm, destination, .. } => (*vm, destination.clone()),
        other => panic!("not a migration: {other:?}"),
    }
}

fn outcome_of(command: &Command, ending: Ending) -> Outcome {
    let (vm, destination) = migrate(command);
    Outcome {
        id: command.id,
        vm: Some(vm),
        source: command.host.clone(),
        destination: Some(destination),
        ending,
        began_at: ballast_tests::scheduler::START,
        ended_at: ballast_tests::scheduler::START.after(5 * SECOND),
        stages: StageTimes { preparation: SECOND, migration: 3 * SECOND, switching: SECOND },
        downtime: Some(Duration::from_millis(120)),
        copied: Bytes::from_gib(1),
        iterations: 2,
    }
}

#[tokio::test]
async fn an_overloaded_host_is_relieved() {
    let mut stage = Stage::new(Mode::Auto, vec![overloaded("a"), idle("b")]).await;
    let command = stage.command("a", 60, &["a", "b"]).await.expect("an order within a minute");
    assert_eq!(migrate(&command).1, host("b"));
}

#[tokio::test]
async fn late_and_duplicate_telemetry_counts_once() {
    let mut stage = Stage::new(Mode::Auto, vec![idle("a")]).await;
    let link = stage.links.get_mut("a").unwrap();
    let batch = |seq| stage.hosts["a"].batch(seq, stage.time.now());
    for seq in [1, 2, 2, 1, 3] {
        link.batch(batch(seq)).await.unwrap();
    }
    // Acknowledgements wait for the telemetry log, which is written on a beat.
    stage.time.pass(3 * SECOND, SECOND).await;
    link.acknowledged(3).await.unwrap();
    let stats = stage.scheduler.engine.stats().await.unwrap();
    assert_eq!(stats.batches, 3, "taken");
    assert_eq!(stats.batches_duplicate + stats.batches_late, 2, "not taken again");
}

/// One way in which a reading can be absurd.
fn absurd(kind: &str, reading: &mut v1::Reading) {
    match kind {
        "nan" => reading.value = f64::NAN,
        "infinite" => reading.value = f64::INFINITY,
        "negative" => reading.value = -1.0,
        _ => reading.value *= 1000.0,
    }
}

#[tokio::test]
async fn absurd_telemetry_moves_nothing() {
    for kind in ["nan", "infinite", "negative", "a thousand times too large"] {
        let mut stage = Stage::new(Mode::Auto, vec![overloaded("a"), idle("b")]).await;
        for _ in 0..40 {
            stage
                .second(&["a", "b"], |name, batch| {
                    if name == "a" {
                        absurd(kind, batch.sample.as_mut().unwrap().cpu_used_cores.as_mut().unwrap());
                    }
                })
                .await;
        }
        let snapshot = stage.snapshot().await;
        let view = &snapshot.hosts[&host("a")];
        assert!(!view.doubts.is_empty(), "{kind}: nothing is doubted");
        assert!(view.sample.is_none_or(|sample| sample.cpu_used.is_missing()), "{kind}: taken for {:?}", view.sample);
        assert!(!stage.has_ordered(), "{kind}: something was moved");
        assert!(stage.scheduler.engine.stats().await.unwrap().readings_absurd > 0, "{kind}: not counted");
    }
}

#[tokio::test]
async fn an_absurd_vm_reading_is_missing_and_never_zero() {
    let mut stage = Stage::new(Mode::Auto, vec![overloaded("a"), idle("b")]).await;
    stage.seconds(2, &["a", "b"]).await;
    stage
        .second(&["a", "b"], |name, batch| {
            if name == "a" {
                absurd("negative", batch.vms[0].cpu_used_cores.as_mut().unwrap());
            }
        })
        .await;
    let snapshot = stage.snapshot().await;
    let sample = snapshot.vms[&vm_named("busy-1")].sample.unwrap();
    assert_eq!(sample.cpu_used, Reading::<Cores>::Missing);
}

#[tokio::test]
async fn a_host_silent_for_ten_periods_is_no_target() {
    // Four hosts, so that one silent among them is not taken for a fault of the scheduler's own.
    let hosts = vec![overloaded("a"), idle("b"), idle("c").with_vm("calm", 0.5), idle("d").with_vm("quiet", 0.5)];
    let mut stage = Stage::new(Mode::Auto, hosts).await;
    // The silent one would be the best target: it is empty. It falls silent before there is anything to decide.
    stage.seconds(2, &["b", "c", "d"]).await;
    stage.seconds(10, &["c", "d"]).await;
    let command = stage.command("a", 60, &["a", "c", "d"]).await.expect("an order within a minute");
    assert_ne!(migrate(&command).1, host("b"));
    let snapshot = stage.snapshot().await;
    assert!(!snapshot.hosts[&host("b")].is_eligible_target(), "{:?}", snapshot.hosts[&host("b")].doubts);
}

#[tokio::test]
async fn a_host_that_sends_fifty_times_as_much_makes_nobody_elses_figures_old() {
    let mut stage = Stage::new(Mode::Off, vec![idle("a").with_vm("loud", 0.5), idle("b").with_vm("calm", 0.5)]).await;
    for _ in 0..20 {
        for _ in 0..49 {
            let seq = stage.seqs.entry("a".to_owned()).or_default();
            *seq += 1;
            let batch = stage.hosts["a"].batch(*seq, stage.time.now());
            stage.links["a"].batch(batch).await.unwrap();
        }
        stage.seconds(1, &["a", "b"]).await;
    }
    // Whatever was sent has been taken, and the quiet host's as it came.
    stage.links.get_mut("b").unwrap().acknowledged(20).await.unwrap();
    stage.links.get_mut("a").unwrap().acknowledged(1_000).await.unwrap();
    let snapshot = stage.snapshot().await;
    let calm = &snapshot.hosts[&host("b")];
    assert!(calm.is_trusted() && calm.is_eligible_target(), "{:?}", calm.doubts);
}

#[tokio::test]
async fn a_host_silent_for_ten_periods_is_no_source() {
    let hosts = vec![overloaded("a"), idle("b"), idle("c"), idle("d")];
    let mut stage = Stage::new(Mode::Auto, hosts).await;
    stage.seconds(3, &["a", "b", "c", "d"]).await;
    assert!(!stage.has_ordered(), "too early to be relieved");
    stage.seconds(40, &["b", "c", "d"]).await;
    assert!(!stage.has_ordered(), "a vm of a silent host was moved");
    assert!(!stage.snapshot().await.hosts[&host("a")].is_trusted());
}

#[tokio::test]
async fn a_scheduler_killed_between_command_and_outcome_takes_the_outcome_up() {
    let mut stage = Stage::new(Mode::Auto, vec![overloaded("a"), idle("b")]).await;
    let command = stage.command("a", 60, &["a", "b"]).await.expect("an order within a minute");
    let (vm, destination) = migrate(&command);
    stage.links["a"].report(command.id, CommandStatus::Accepted).await.unwrap();
    stage.time.settle().await;
    stage.restart_scheduler().await;

    // The vm has arrived while nobody listened.
    let done = outcome_of(&command, Ending::Completed);
    let a = stage.hosts.get_mut("a").unwrap();
    let at = a.inventory.vms.iter().position(|record| record.vm == vm).unwrap();
    let (record, cpu) = (a.inventory.vms.remove(at), a.cpu_used.remove(at));
    let b = stage.hosts.get_mut("b").unwrap();
    b.inventory.vms.push(record);
    b.cpu_used.push(cpu);
    let report = ballast_core::command::Report { id: command.id, status: CommandStatus::Finished(done) };
    let epoch = command.id.epoch.0;
    let authority = stage.scheduler.authority();
    let mut link = ScriptedLink::open(&authority, &stage.hosts["a"], vec![report], epoch).await.unwrap();
    assert!(link.welcome.epoch > epoch, "a new start needs a new epoch");
    let other = ScriptedLink::open(&authority, &stage.hosts["b"], Vec::new(), epoch).await.unwrap();
    link.report_acknowledged(command.id).await.unwrap();
    stage.links = [("a".to_owned(), link), ("b".to_owned(), other)].into();
    stage.seqs.clear();
    stage.seconds(3, &["a", "b"]).await;

    let migrations = stage.scheduler.engine.migrations(10, false);
    let one = migrations.iter().find(|one| one.id == command.id).expect("the journal knows the migration");
    assert_eq!(one.outcome.as_ref().map(|outcome| &outcome.ending), Some(&Ending::Completed));
    let snapshot = stage.snapshot().await;
    let view = &snapshot.vms[&vm];
    assert_eq!((&view.host, view.locked_by), (&destination, None), "where it is, and unlocked");
}

#[tokio::test]
async fn a_command_no_agent_remembers_is_abandoned_and_its_vm_unlocked() {
    let mut stage = Stage::new(Mode::Auto, vec![overloaded("a"), idle("b")]).await;
    let command = stage.command("a", 60, &["a", "b"]).await.expect("an order within a minute");
    let (vm, _) = migrate(&command);
    stage.restart_scheduler().await;
    // The command was lost on the way: the agent has nothing in its journal.
    stage.connect_all().await;
    stage.seqs.clear();
    let asked = stage.links.get_mut("a").unwrap().next_such(|message| match message {
        Down::Query(query) => Some(query.command_ids),
        _ => None,
    });
    assert_eq!(asked.await.unwrap(), [command.id.to_string()]);
    stage.links["a"].report(command.id, CommandStatus::Unknown).await.unwrap();
    stage.seconds(2, &["a", "b"]).await;
    let migrations = stage.scheduler.engine.migrations(10, false);
    let one = migrations.iter().find(|one| one.id == command.id).expect("the journal knows the migration");
    let ending = one.outcome.as_ref().map(|outcome| outcome.ending.clone());
    assert!(matches!(ending, Some(Ending::Abandoned { .. })), "{ending:?}");
    let locked_by = stage.snapshot().await.vms[&vm].locked_by;
    assert_ne!(locked_by, Some(command.id), "the vm is still locked");
}

#[tokio::test]
async fn a_vm_that_two_hosts_claim_is_left_alone() {
    let mut hosts = vec![overloaded("a"), idle("b"), idle("c")];
    let twice = hosts[0].inventory.vms[0].clone();
    hosts[1].inventory.vms.push(twice);
    hosts[1].cpu_used.push(3.8);
    let mut stage = Stage::new(Mode::Auto, hosts).await;
    stage.seconds(30, &["a", "b", "c"]).await;
    let ordered = stage.scheduler.engine.migrations(10, false);
    assert!(ordered.iter().all(|one| one.vm != vm_named("busy-1")), "{ordered:?}");
    let snapshot = stage.snapshot().await;
    assert!(snapshot.vms[&vm_named("busy-1")].frozen.is_some(), "nobody said that it is left alone");
    stage.logs.expect("claim");
}

#[tokio::test]
async fn a_failed_migration_leaves_the_vm_where_it_is_and_free() {
    let mut stage = Stage::new(Mode::Auto, vec![overloaded("a"), idle("b")]).await;
    let command = stage.command("a", 60, &["a", "b"]).await.expect("an order within a minute");
    let (vm, _) = migrate(&command);
    let progress = Progress { stage: outcome::Stage::Migration, rate: BytesPerSec(1e8), ..Progress::default() };
    stage.links["a"].report(command.id, CommandStatus::Accepted).await.unwrap();
    stage.links["a"].report(command.id, CommandStatus::Running(progress)).await.unwrap();
    let failed = Ending::Failed { reason: "the connection to b was lost".into() };
    stage.links["a"].finished(outcome_of(&command, failed.clone())).await.unwrap();
    stage.links.get_mut("a").unwrap().report_acknowledged(command.id).await.unwrap();
    stage.seconds(1, &["a", "b"]).await;
    let ended = stage.scheduler.engine.migrations(10, false).into_iter().find(|one| one.id == command.id).unwrap();
    assert_eq!(ended.outcome.map(|outcome| outcome.ending), Some(failed));
    let snapshot = stage.snapshot().await;
    assert_eq!(snapshot.vms[&vm].host, host("a"));
    assert_ne!(snapshot.vms[&vm].locked_by, Some(command.id));
}

async fn refusal(stage: &Stage, vm: &str, to: &str) -> tonic::Status {
    let wish = v1::MigrateRequest { vm: vm.into(), host: to.into(), ..v1::MigrateRequest::default() };
    let mut operator = stage.scheduler.operator().await.unwrap();
    operator.migrate(wish).await.expect_err("an order that must not be given")
}

#[tokio::test]
async fn a_vm_that_does_not_exist_is_named_in_the_refusal() {
    let mut stage = Stage::new(Mode::Auto, vec![idle("a").with_vm("calm", 0.5), idle("b")]).await;
    stage.seconds(2, &["a", "b"]).await;
    let status = refusal(&stage, "no-such-vm", "b").await;
    assert_eq!(status.code(), tonic::Code::NotFound);
    assert!(status.message().contains("no-such-vm"), "{}", status.message());
    assert!(!stage.has_ordered());
}

#[tokio::test]
async fn a_vm_that_vanished_is_no_longer_moved() {
    let mut stage = Stage::new(Mode::Auto, vec![idle("a").with_vm("calm", 0.5), idle("b")]).await;
    stage.seconds(2, &["a", "b"]).await;
    let mut inventory = stage.hosts["a"].inventory.clone();
    inventory.vms.clear();
    let a = stage.hosts.get_mut("a").unwrap();
    a.inventory.vms.clear();
    a.cpu_used.clear();
    // One complete inventory without it is not believed yet; the second is.
    for _ in 0..2 {
        stage.links["a"].inventory(inventory.clone()).await.unwrap();
        stage.seconds(2, &["a", "b"]).await;
    }
    let status = refusal(&stage, "calm", "b").await;
    assert_eq!(status.code(), tonic::Code::NotFound, "{}", status.message());
}

#[tokio::test]
async fn an_inventory_that_is_not_complete_removes_no_vm() {
    let mut stage = Stage::new(Mode::Auto, vec![idle("a").with_vm("calm", 0.5), idle("b")]).await;
    stage.seconds(2, &["a", "b"]).await;
    let mut inventory = stage.hosts["a"].inventory.clone();
    inventory.vms.clear();
    inventory.complete = false;
    stage.links["a"].inventory(inventory).await.unwrap();
    stage.seconds(2, &["a", "b"]).await;
    let snapshot = stage.snapshot().await;
    assert!(snapshot.vms.contains_key(&vm_named("calm")), "an empty list was taken for an empty host");
    assert!(!snapshot.hosts[&host("a")].is_trusted());
}

#[tokio::test]
async fn a_destination_without_room_is_refused_with_the_figures() {
    let mut full = idle("b");
    full.inventory.memory_capacity = Bytes::from_gib(1);
    let mut stage = Stage::new(Mode::Auto, vec![idle("a").with_vm("calm", 0.5), full]).await;
    stage.seconds(2, &["a", "b"]).await;
    let status = refusal(&stage, "calm", "b").await;
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    assert!(status.message().contains("memory"), "{}", status.message());
    assert!(!stage.has_ordered());
}

#[tokio::test]
async fn a_paused_vm_is_not_moved() {
    let mut paused = idle("a").with_vm("calm", 0.5);
    paused.inventory.vms[0].state = VmState::Paused;
    let mut stage = Stage::new(Mode::Auto, vec![paused, idle("b")]).await;
    stage.seconds(2, &["a", "b"]).await;
    let status = refusal(&stage, "calm", "b").await;
    assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{}", status.message());
}

#[tokio::test]
async fn a_scheduler_that_meets_a_newer_epoch_steps_down() {
    let stage = Stage::new(Mode::Auto, vec![idle("a")]).await;
    stage.logs.expect("tepped down").expect("epoch");
    let refused = ScriptedLink::open(&stage.scheduler.authority(), &stage.hosts["a"], Vec::new(), 1000).await;
    let error = format!("{:#}", refused.expect_err("a link to a scheduler that was replaced"));
    assert!(error.contains("1000"), "{error}");
}
