//! What an operator does, through the wire, against a whole simulated fleet.

use ballast_core::{convergence::Convergence, decision::Mode, outcome::Ending};
use ballast_proto::v1;
use ballast_tests::fleet::{SimFleet, Vm, vm};
use tonic::Code;

async fn calm() -> SimFleet {
    let vms = [vm("web-1", 0, 0.5), vm("web-2", 0, 0.5), vm("db", 1, 1.0)];
    started(Mode::Recommend, 3, &vms).await
}

async fn started(mode: Mode, hosts: usize, vms: &[Vm]) -> SimFleet {
    let fleet = SimFleet::start(mode, hosts, vms).await.unwrap();
    fleet.trusted().await.unwrap();
    fleet
}

fn wish(vm: &str, host: &str) -> v1::MigrateRequest {
    v1::MigrateRequest { vm: vm.into(), host: host.into(), reason: "a test".into(), ..v1::MigrateRequest::default() }
}

async fn over(fleet: &SimFleet, migration: &str) -> Ending {
    let ending = |fleet: &SimFleet| {
        let all = fleet.scheduler.engine.migrations(100, false);
        let one = all.into_iter().find(|one| one.id.to_string() == migration)?;
        one.outcome.map(|outcome| outcome.ending)
    };
    assert!(fleet.until(600, |fleet| ending(fleet).is_some()).await, "no outcome\n{}", fleet.logs.text());
    ending(fleet).unwrap()
}

#[tokio::test]
async fn a_vm_is_moved_by_name() {
    let fleet = calm().await;
    let mut operator = fleet.scheduler.operator().await.unwrap();
    let reply = operator.migrate(wish("web-1", "kvm3")).await.unwrap().into_inner();
    assert_eq!(over(&fleet, &reply.migration_id).await, Ending::Completed);
    assert_eq!(fleet.runs_on("web-1"), ["kvm3"]);
    let request = v1::ExplainRequest { id: reply.decision_id };
    let text = operator.explain(request).await.unwrap().into_inner().text;
    assert!(text.contains("a test") || text.contains("operator"), "{text}");
}

#[tokio::test]
async fn a_dry_run_only_tells() {
    let fleet = calm().await;
    let mut operator = fleet.scheduler.operator().await.unwrap();
    let dry = v1::MigrateRequest { dry_run: true, ..wish("web-1", "kvm3") };
    let reply = operator.migrate(dry).await.unwrap().into_inner();
    assert_eq!((reply.migration_id.as_str(), reply.decision_id.as_str()), ("", ""));
    fleet.until(30, |_| false).await;
    assert_eq!(fleet.moves(), 0);
}

#[tokio::test]
async fn a_running_migration_is_cancelled_and_the_vm_stays() {
    let fleet = calm().await;
    let mut operator = fleet.scheduler.operator().await.unwrap();
    let reply = operator.migrate(wish("web-1", "kvm3")).await.unwrap().into_inner();
    let flying = |fleet: &SimFleet| fleet.world.with(|world| !world.flights().is_empty());
    assert!(fleet.until(60, flying).await, "it never began");
    let request = v1::CancelMigrationRequest { migration_id: reply.migration_id.clone() };
    operator.cancel_migration(request).await.unwrap();
    let ending = over(&fleet, &reply.migration_id).await;
    assert!(matches!(ending, Ending::Cancelled { .. }), "{ending:?}");
    assert_eq!(fleet.runs_on("web-1"), ["kvm1"]);
    let again = v1::CancelMigrationRequest { migration_id: reply.migration_id };
    assert_eq!(operator.cancel_migration(again).await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn what_a_vms_label_says_of_its_copies_holds_on_the_way() {
    let held = |convergence| [Vm { convergence, ..vm("web-1", 0, 0.5) }, vm("db", 1, 1.0)];
    // A GiB at 25 MB/s.
    let slow = Convergence { bandwidth_mbit: Some(200), downtime_max_ms: Some(100), ..Convergence::default() };
    let fleet = started(Mode::Recommend, 3, &held(slow)).await;
    let mut operator = fleet.scheduler.operator().await.unwrap();
    let reply = operator.migrate(wish("web-1", "kvm3")).await.unwrap().into_inner();
    assert_eq!(over(&fleet, &reply.migration_id).await, Ending::Completed);
    let outcome = fleet.scheduler.engine.migrations(1, false).remove(0).outcome.unwrap();
    assert!(outcome.stages.migration.as_secs() > 40, "{outcome:?}");
    // The vm's own 100 ms, and what the switch-over takes beyond the last pages.
    assert!(outcome.downtime.is_some_and(|pause| pause.as_millis() <= 200), "{outcome:?}");

    let hasty = Convergence { timeout_seconds: Some(20), ..slow };
    let fleet = started(Mode::Recommend, 3, &held(hasty)).await;
    let mut operator = fleet.scheduler.operator().await.unwrap();
    let refused = operator.migrate(wish("web-1", "kvm3")).await.unwrap_err();
    assert!(refused.message().contains("would not end within its limits"), "{}", refused.message());
    let anyhow = v1::MigrateRequest { r#override: true, ..wish("web-1", "kvm3") };
    let reply = operator.migrate(anyhow).await.unwrap().into_inner();
    let Ending::Failed { reason } = over(&fleet, &reply.migration_id).await else { panic!("it did not fail") };
    assert_eq!(reason, "the copy was not done within 20s");
    assert_eq!(fleet.runs_on("web-1"), ["kvm1"]);
}

#[tokio::test]
async fn a_drained_host_is_emptied_and_stays_empty() {
    let fleet = calm().await;
    let mut operator = fleet.scheduler.operator().await.unwrap();
    operator.set_mode(v1::SetModeRequest { mode: v1::Mode::Auto.into() }).await.unwrap();
    let reply = operator.drain(v1::DrainRequest { host: "kvm1".into() }).await.unwrap().into_inner();
    assert_eq!(reply.vm_count, 2);
    let empty = |fleet: &SimFleet| ["web-1", "web-2"].iter().all(|vm| fleet.runs_on(vm) != ["kvm1"]);
    assert!(fleet.until(600, empty).await, "not emptied\n{}", fleet.logs.text());
    let refused = operator.migrate(wish("db", "kvm1")).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{}", refused.message());
    operator.undrain(v1::UndrainRequest { host: "kvm1".into() }).await.unwrap();
}

#[tokio::test]
async fn a_recommendation_is_carried_out_on_approval_once() {
    let fleet = started(Mode::Recommend, 2, &[vm("busy-1", 0, 3.9), vm("busy-2", 0, 3.9)]).await;
    let recommended = |fleet: &SimFleet| !fleet.scheduler.engine.decisions(10, false).is_empty();
    assert!(fleet.until(120, recommended).await, "nothing was recommended");
    let mut operator = fleet.scheduler.operator().await.unwrap();
    let listed = operator.list_decisions(v1::ListDecisionsRequest::default()).await.unwrap().into_inner().decisions;
    let request = v1::ApproveRequest { decision_id: listed[0].decision_id.clone() };
    let approved = operator.approve(request.clone()).await.unwrap().into_inner();
    assert!(!approved.command_ids.is_empty(), "{approved:?}");
    assert!(fleet.until(300, |fleet| fleet.moves() == 1).await, "approved and not carried out");
    assert_eq!(operator.approve(request).await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn the_mode_outlives_a_restart() {
    let mut fleet = calm().await;
    let mut operator = fleet.scheduler.operator().await.unwrap();
    let reply = operator.set_mode(v1::SetModeRequest { mode: v1::Mode::Off.into() }).await.unwrap().into_inner();
    assert_eq!(reply.previous(), v1::Mode::Recommend);
    fleet.logs.expect("No link to the scheduler");
    fleet.crash_scheduler().await.unwrap();
    fleet.restart_scheduler().await.unwrap();
    assert_eq!(fleet.scheduler.engine.mode(), Mode::Off);
}

#[tokio::test]
async fn mistakes_of_an_operator_are_named() {
    let fleet = calm().await;
    let mut operator = fleet.scheduler.operator().await.unwrap();
    let unknown_host = operator.migrate(wish("web-1", "nowhere")).await.unwrap_err();
    assert!(matches!(unknown_host.code(), Code::NotFound | Code::FailedPrecondition), "{unknown_host:?}");
    assert!(unknown_host.message().contains("nowhere"), "{}", unknown_host.message());
    let no_id = operator.explain(v1::ExplainRequest { id: "x".into() }).await.unwrap_err();
    assert!(no_id.message().contains('x'), "{}", no_id.message());
    let same = operator.migrate(wish("web-1", "kvm1")).await.unwrap_err();
    assert_eq!(same.code(), Code::FailedPrecondition, "{}", same.message());
    assert_eq!(fleet.scheduler.engine.migrations(10, false).len(), 0);
}

#[tokio::test]
async fn a_watcher_sees_every_stage() {
    let fleet = calm().await;
    let mut operator = fleet.scheduler.operator().await.unwrap();
    let mut watch = operator.watch_migrations(v1::WatchMigrationsRequest {}).await.unwrap().into_inner();
    let reply = operator.migrate(wish("web-1", "kvm3")).await.unwrap().into_inner();
    over(&fleet, &reply.migration_id).await;
    let mut stages = Vec::new();
    while let Some(event) = ballast_tests::scripted::patiently(watch.message()).await.unwrap() {
        let migration = event.migration.unwrap();
        let stage = migration.progress.unwrap_or_default().stage();
        if stages.last() != Some(&stage) {
            stages.push(stage);
        }
        if migration.outcome.is_some() {
            break;
        }
    }
    for stage in [v1::Stage::Preparation, v1::Stage::Migration] {
        assert!(stages.contains(&stage), "{stage:?} was not seen among {stages:?}");
    }
}
