//! Real hosts, real vms, real migrations: what the README promises, on three libvirtd of one machine.
//!
//! Where the machine cannot hold the lab the tests say SKIPPED; `tests/run` tells whether it can.

mod copies;
mod faults;
mod tls;

use std::{collections::BTreeMap, process::Command, time::Duration};

use ballast_proto::v1;
use ballast_tests::{
    lab::{self, Lab, NETWORK, Ping},
    lab_fleet::{LabFleet, eventually},
    skip::skipped,
    sources,
};
use tokio_stream::StreamExt as _;

const HOSTS: usize = 3;
/// The bound for how long a moving vm may be out of reach.
const GAP_SECONDS_MAX: f64 = 1.0;

/// A lab, unless this machine cannot hold one.
fn lab(test: &str) -> Option<Lab> {
    if let Some(why) = lab::lacks() {
        skipped(test, &why);
        return None;
    }
    Some(Lab::up(HOSTS).unwrap())
}

fn address(number: u32) -> String {
    format!("{NETWORK}.{number}")
}

/// An order for a vm that may have booted just now, and has used a whole processor for that: its destination need not have one free.
fn moved(vm: &str, host: &str) -> v1::MigrateRequest {
    v1::MigrateRequest { vm: vm.into(), host: host.into(), r#override: true, ..v1::MigrateRequest::default() }
}

fn ended(kind: v1::EndingKind) -> impl Fn(&v1::Migration) -> bool {
    move |migration| migration.outcome.as_ref().is_some_and(|outcome| outcome.ending() == kind)
}

/// Every stage in which a migration was seen, in order, by migration.
type Stages = BTreeMap<String, Vec<v1::Stage>>;

fn note(stages: &mut Stages, migration: &v1::Migration) {
    let Some(progress) = &migration.progress else { return };
    let seen = stages.entry(migration.migration_id.clone()).or_default();
    if seen.last() != Some(&progress.stage()) {
        seen.push(progress.stage());
    }
}

/// What happened, from the first sample to the outcome, as a reader of the log would tell it.
fn tell(fleet: &LabFleet, migration: &v1::Migration, stages: &[v1::Stage], why: &str, ping: &Ping) {
    let outcome = migration.outcome.as_ref().unwrap();
    let (answers, gap) = ping.longest_gap();
    println!("== decision {}\n{why}", migration.decision_id);
    println!(
        "== command {}: {} from {} to {}",
        migration.migration_id, migration.name, migration.source, migration.destination
    );
    println!("== motive: {}", migration.motive);
    println!("== stages seen: {stages:?}");
    println!(
        "== outcome {:?}: preparation {} ms, migration {} ms, switching {} ms, downtime {:?} ms, {} bytes in {} passes",
        outcome.ending(),
        outcome.preparation_millis,
        outcome.migration_millis,
        outcome.switching_millis,
        outcome.downtime_millis,
        outcome.copied_bytes,
        outcome.iteration_count
    );
    println!("== ping: {answers} answers, longest gap {gap:.1} s");
    println!("== scheduler's log of it");
    let log = fleet.scheduler.log();
    for line in log.lines().filter(|line| line.contains(&migration.migration_id) || line.contains("Decid")).take(40) {
        println!("{line}");
    }
}

#[tokio::test]
async fn an_overloaded_host_is_relieved_and_nobody_told_it_to() {
    let Some(lab) = lab("lab::an_overloaded_host_is_relieved_and_nobody_told_it_to") else { return };
    let overloaded = Lab::host(1);
    lab.vm(&overloaded, "busy-1", &address(101), 10).unwrap();
    lab.vm(&overloaded, "busy-2", &address(102), 10).unwrap();
    lab.vm(&Lab::host(2), "calm", &address(103), 5).unwrap();
    let pings: BTreeMap<&str, Ping> = [("busy-1", 101), ("busy-2", 102)]
        .into_iter()
        .map(|(name, number)| (name, Ping::start(&lab, &address(number)).unwrap()))
        .collect();
    let fleet = LabFleet::start(lab, HOSTS, "auto").unwrap();
    let mut operator = fleet.operator().await.unwrap();
    fleet.trusted(&operator, HOSTS).await.unwrap();
    let mut watch = operator.watch_migrations(v1::WatchMigrationsRequest {}).await.unwrap().into_inner();

    // From here on nobody but the vms' own load says anything.
    fleet.lab.load("busy-1", 70).unwrap();
    fleet.lab.load("busy-2", 70).unwrap();
    let mut stages = Stages::new();
    let moved = ballast_daemon::clock::Clock::system()
        .timeout(Duration::from_secs(240), async {
            while let Some(event) = watch.next().await {
                let migration = event.unwrap().migration.unwrap();
                note(&mut stages, &migration);
                if migration.source == overloaded && ended(v1::EndingKind::Completed)(&migration) {
                    return Some(migration);
                }
            }
            None
        })
        .await
        .expect("a migration within four minutes")
        .expect("the watch goes on");

    let request = v1::ExplainRequest { id: moved.migration_id.clone() };
    let why = operator.explain(request).await.unwrap().into_inner().text;
    let ping = &pings[moved.name.as_str()];
    let seen = &stages[&moved.migration_id];
    tell(&fleet, &moved, seen, &why, ping);

    let on = eventually(Duration::from_secs(20), async || {
        let on = fleet.lab.running_on(&moved.name, HOSTS);
        (on.len() == 1).then_some(on)
    });
    assert_eq!(on.await, Some(vec![moved.destination.clone()]), "where {} runs", moved.name);
    let outcome = moved.outcome.as_ref().unwrap();
    assert!(outcome.preparation_millis > 0 && outcome.migration_millis > 0 && outcome.copied_bytes > 0, "{outcome:?}");
    assert!(outcome.downtime_millis.is_some(), "{outcome:?}");
    for stage in [v1::Stage::Preparation, v1::Stage::Migration, v1::Stage::Switching] {
        assert!(seen.contains(&stage), "{stage:?} was not seen among {seen:?}");
    }
    // A gap shows only where enough was asked before and after it.
    let answered = eventually(Duration::from_secs(30), async || (ping.longest_gap().0 > 100).then_some(()));
    assert_eq!(answered.await, Some(()), "{:?} pings were answered", ping.longest_gap().0);
    let (_, gap) = ping.longest_gap();
    assert!(gap <= GAP_SECONDS_MAX, "out of reach for {gap:.1} s");
}

/// Takes the bridge of a host away from its vms, or gives it back: its inventory shows that within a minute only.
fn rename_bridge(lab: &Lab, host: &str, from: &str, to: &str) {
    for arguments in [&["set", from, "down"][..], &["set", from, "name", to], &["set", to, "up"]] {
        lab.within(host, ["ip", "link"].iter().chain(arguments)).unwrap();
    }
}

#[tokio::test]
async fn a_host_that_lacks_the_network_is_not_sent_the_vm_until_it_has_it() {
    let Some(lab) = lab("lab::a_host_that_lacks_the_network_is_not_sent_the_vm_until_it_has_it") else { return };
    let (source, destination) = (Lab::host(1), Lab::host(2));
    lab.vm(&source, "web-1", &address(131), 10).unwrap();
    let fleet = LabFleet::start(lab, HOSTS, "recommend").unwrap();
    let mut operator = fleet.operator().await.unwrap();
    fleet.trusted(&operator, HOSTS).await.unwrap();
    let before = fleet.lab.virsh(&source, &["domid", "web-1"]).unwrap();

    rename_bridge(&fleet.lab, &destination, "br0", "br9");
    let wish = moved("web-1", &destination);
    let refused = operator.migrate(wish.clone()).await.unwrap_err();
    println!("refused: {}", refused.message());
    let expected = format!("says {destination}: network: it is not there, but br0 is needed");
    assert!(refused.message().contains(&expected), "{}", refused.message());
    let migrations = operator.list_migrations(v1::ListMigrationsRequest::default()).await.unwrap().into_inner();
    assert!(migrations.migrations.is_empty(), "{migrations:?}");
    assert_eq!(fleet.lab.running_on("web-1", HOSTS), std::slice::from_ref(&source));
    assert_eq!(fleet.lab.virsh(&source, &["domid", "web-1"]).unwrap(), before, "it was touched");

    rename_bridge(&fleet.lab, &destination, "br9", "br0");
    // The host may have been silent for a moment, and the order is refused for that until it is trusted again.
    let ordered = eventually(Duration::from_secs(60), async || operator.clone().migrate(wish.clone()).await.ok()).await;
    let id = ordered.expect("an order that is taken").into_inner().migration_id;
    let moved = eventually(Duration::from_secs(120), async || {
        let listed = operator.clone().list_migrations(v1::ListMigrationsRequest::default()).await.ok()?.into_inner();
        listed.migrations.into_iter().find(|one| one.migration_id == id && one.outcome.is_some())
    });
    let outcome = moved.await.expect("an outcome").outcome.unwrap();
    assert_eq!(outcome.ending(), v1::EndingKind::Completed, "{outcome:?}");
    assert_eq!(fleet.lab.running_on("web-1", HOSTS), [destination]);
}

#[tokio::test]
async fn a_libvirtd_killed_mid_copy_leaves_the_vm_running_once() {
    let Some(lab) = lab("lab::a_libvirtd_killed_mid_copy_leaves_the_vm_running_once") else { return };
    let (source, destination) = (Lab::host(1), Lab::host(3));
    lab.vm(&source, "web-1", &address(111), 30).unwrap();
    // A libvirtd looks into its QEMU the first time it is asked to use it; that is not what is to be disturbed.
    lab.virsh(&destination, &["domcapabilities"]).unwrap();
    // Slow enough to be caught in the middle.
    lab.virsh(&source, &["migrate-setspeed", "web-1", "2"]).unwrap();
    let fleet = LabFleet::start(lab, HOSTS, "recommend").unwrap();
    let mut operator = fleet.operator().await.unwrap();
    fleet.trusted(&operator, HOSTS).await.unwrap();
    let mut watch = operator.watch_migrations(v1::WatchMigrationsRequest {}).await.unwrap().into_inner();
    let wish = moved("web-1", &destination);
    let id = operator.migrate(wish).await.unwrap().into_inner().migration_id;

    let mut killed = false;
    let ended = ballast_daemon::clock::Clock::system()
        .timeout(Duration::from_secs(240), async {
            while let Some(event) = watch.next().await {
                let migration = event.unwrap().migration.unwrap();
                let progress = migration.progress.unwrap_or_default();
                let copying = progress.stage() == v1::Stage::Migration && progress.copied_bytes > 0;
                if migration.migration_id == id && copying && !killed {
                    println!("killing libvirtd of {destination} at {} bytes", progress.copied_bytes);
                    fleet.lab.kill_libvirtd(&destination).unwrap();
                    killed = true;
                }
                if let Some(outcome) = migration.outcome.filter(|_| migration.migration_id == id) {
                    return Some(outcome);
                }
            }
            None
        })
        .await
        .expect("an outcome within four minutes")
        .expect("the watch goes on");
    println!("outcome: {:?}: {}", ended.ending(), ended.reason);

    assert!(killed, "the migration was over before it could be disturbed");
    assert!(matches!(ended.ending(), v1::EndingKind::Failed | v1::EndingKind::Cancelled), "{ended:?}");
    assert!(!ended.reason.is_empty(), "an outcome without a reason");
    fleet.lab.restart_libvirtd(&destination).unwrap();
    let on = eventually(Duration::from_secs(60), async || {
        let on = fleet.lab.running_on("web-1", HOSTS);
        (on.len() == 1).then_some(on)
    });
    assert_eq!(on.await, Some(vec![source]), "where web-1 runs");
    let answered = Ping::start(&fleet.lab, &address(111)).unwrap();
    let answers = eventually(Duration::from_secs(20), async || (answered.longest_gap().0 > 5).then_some(()));
    assert!(answers.await.is_some(), "web-1 does not answer");
}

/// Runs the client that is not ours against the lab's scheduler, by name and with certificates as a person would.
fn gcurl(fleet: &LabFleet, python: &str, arguments: &[&str]) -> String {
    let files = fleet.operator_files();
    let [ca, cert, key] = [&files.ca, &files.cert, &files.key].map(|path| path.to_str().unwrap());
    let mut command = Command::new(python);
    command.arg(sources::root().join("tests/grpc/gcurl.py"));
    command.args(["-cacert", ca, "-cert", cert, "-key", key]);
    let (options, what) = arguments.split_at(arguments.len() - 1);
    let output = command.args(options).arg(LabFleet::address()).args(what).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_client_that_is_not_ours_moves_a_vm() {
    let Some(lab) = lab("lab::a_client_that_is_not_ours_moves_a_vm") else { return };
    let Some(python) = ballast_tests::grpc::python("lab::a_client_that_is_not_ours_moves_a_vm") else { return };
    lab.vm(&Lab::host(1), "web-1", &address(121), 20).unwrap();
    let fleet = LabFleet::start(lab, HOSTS, "recommend").unwrap();
    let operator = fleet.operator().await.unwrap();
    fleet.trusted(&operator, HOSTS).await.unwrap();

    let services = gcurl(&fleet, &python, &["list"]);
    println!("{services}");
    assert!(services.contains("ballast.v1.Operator"), "{services}");
    let hosts = gcurl(&fleet, &python, &["ballast.v1.Operator/ListHosts"]);
    assert!((1..=HOSTS).all(|number| hosts.contains(&Lab::host(number))), "{hosts}");
    let moved = moved_by_hand(&fleet, &python, "web-1", &Lab::host(2)).await;
    println!("{moved}");
    assert_eq!(fleet.lab.running_on("web-1", HOSTS), [Lab::host(2)]);
}

/// Orders a move; what `ListMigrations` says once it is over.
async fn moved_by_hand(fleet: &LabFleet, python: &str, vm: &str, host: &str) -> String {
    let wish = format!("{{\"vm\": \"{vm}\", \"host\": \"{host}\", \"override\": true, \"reason\": \"by hand\"}}");
    let ordered = gcurl(fleet, python, &["-d", &wish, "ballast.v1.Operator/Migrate"]);
    assert!(ordered.contains("migration_id"), "{ordered}");
    let ended = eventually(Duration::from_secs(120), async || {
        let migrations = gcurl(fleet, python, &["ballast.v1.Operator/ListMigrations"]);
        migrations.contains("ENDING_KIND_").then_some(migrations)
    });
    let migrations = ended.await.expect("an outcome in ListMigrations");
    assert!(migrations.contains("ENDING_KIND_COMPLETED"), "{migrations}");
    migrations
}
