//! What operators are told when something cannot be done: the code a program needs, the words a person needs.

use ballast_proto::v1;
use tonic::{Code, Status};

use crate::running::{Link, Running, inventory, inventory_with_web, soon};

#[track_caller]
fn check(status: &Status, code: Code, words: &[&str]) {
    assert_eq!(status.code(), code, "{}", status.message());
    for word in words {
        assert!(status.message().contains(word), "{word:?} is not in {:?}", status.message());
    }
}

fn migrate(vm: &str, host: &str) -> v1::MigrateRequest {
    v1::MigrateRequest { vm: vm.into(), host: host.into(), dry_run: true, ..v1::MigrateRequest::default() }
}

#[tokio::test]
async fn requests_that_make_no_sense_name_the_field() {
    let running = Running::start().await;
    let mut client = running.operator().await;
    let status = soon(client.migrate(migrate("", "kvm1"))).await.unwrap_err();
    check(&status, Code::InvalidArgument, &["vm is empty"]);
    let status = soon(client.migrate(migrate("web", "not a host"))).await.unwrap_err();
    check(&status, Code::InvalidArgument, &["host = \"not a host\""]);
    let request = v1::CancelMigrationRequest { migration_id: "seven".into() };
    check(
        &soon(client.cancel_migration(request)).await.unwrap_err(),
        Code::InvalidArgument,
        &["migration_id", "seven"],
    );
    let request = v1::ApproveRequest { decision_id: String::new() };
    check(&soon(client.approve(request)).await.unwrap_err(), Code::InvalidArgument, &["decision_id"]);
    let request = v1::SetModeRequest { mode: v1::Mode::Unspecified.into() };
    check(&soon(client.set_mode(request)).await.unwrap_err(), Code::InvalidArgument, &["mode", "MODE_AUTO"]);
    let request = v1::DrainRequest { host: String::new() };
    check(&soon(client.drain(request)).await.unwrap_err(), Code::InvalidArgument, &["host"]);
}

#[tokio::test]
async fn what_is_not_there_is_not_found_by_its_name() {
    let running = Running::start().await;
    let _link = Link::of(&running, inventory("kvm1")).await;
    let mut client = running.operator().await;
    check(
        &soon(client.migrate(migrate("web", "kvm1"))).await.unwrap_err(),
        Code::NotFound,
        &["vm \"web\"", "not known"],
    );
    let request = v1::GetForecastRequest { vm: "web".into() };
    check(&soon(client.get_forecast(request)).await.unwrap_err(), Code::NotFound, &["vm \"web\""]);
    let request = v1::DrainRequest { host: "kvm9".into() };
    check(&soon(client.drain(request)).await.unwrap_err(), Code::NotFound, &["host kvm9"]);
    let request = v1::UndrainRequest { host: "kvm9".into() };
    check(&soon(client.undrain(request)).await.unwrap_err(), Code::NotFound, &["host kvm9"]);
    let request = v1::ListVmsRequest { host: "kvm9".into() };
    check(&soon(client.list_vms(request)).await.unwrap_err(), Code::NotFound, &["host kvm9"]);
    let request = v1::CancelMigrationRequest { migration_id: "1-99".into() };
    check(&soon(client.cancel_migration(request)).await.unwrap_err(), Code::NotFound, &["migration 1-99"]);
    let request = v1::ApproveRequest { decision_id: "1-99".into() };
    check(&soon(client.approve(request)).await.unwrap_err(), Code::NotFound, &["decision 1-99"]);
    let request = v1::ExplainRequest { id: "1-99".into() };
    check(&soon(client.explain(request)).await.unwrap_err(), Code::NotFound, &["1-99"]);
}

#[tokio::test]
async fn what_the_fleet_does_not_allow_is_a_failed_precondition_with_every_reason() {
    let running = Running::start().await;
    let _source = Link::of(&running, inventory_with_web("kvm1")).await;
    let mut client = running.operator().await;
    let order = v1::MigrateRequest { dry_run: false, ..migrate("web", "kvm1") };
    let status = soon(client.migrate(order)).await.unwrap_err();
    check(&status, Code::FailedPrecondition, &["kvm1 is both source and destination"]);
    let _target = Link::of(&running, inventory("kvm2")).await;
    soon(client.drain(v1::DrainRequest { host: "kvm2".into() })).await.unwrap();
    let order = v1::MigrateRequest { dry_run: false, ..migrate("web", "kvm2") };
    check(&soon(client.migrate(order)).await.unwrap_err(), Code::FailedPrecondition, &["kvm2 is being drained"]);
}

#[tokio::test]
async fn a_dry_run_says_what_would_speak_against_it_and_orders_nothing() {
    let running = Running::start().await;
    let _source = Link::of(&running, inventory_with_web("kvm1")).await;
    let mut client = running.operator().await;
    let answer = soon(client.migrate(migrate("web", "kvm1"))).await.unwrap().into_inner();
    assert_eq!((answer.migration_id.as_str(), answer.decision_id.as_str()), ("", ""));
    assert!(answer.findings.iter().any(|finding| finding.contains("both source and destination")), "{answer:?}");
    let listed = soon(client.list_migrations(v1::ListMigrationsRequest::default())).await.unwrap().into_inner();
    assert!(listed.migrations.is_empty());
}

#[tokio::test]
async fn an_operator_sees_hosts_vms_and_the_snapshot() {
    let running = Running::start().await;
    let _source = Link::of(&running, inventory_with_web("kvm1")).await;
    let mut client = running.operator().await;
    let hosts = soon(client.list_hosts(v1::ListHostsRequest {})).await.unwrap().into_inner();
    assert_eq!((hosts.epoch, hosts.mode()), (1, v1::Mode::Recommend));
    assert_eq!((hosts.hosts[0].host.as_str(), hosts.hosts[0].vm_count), ("kvm1", 1));
    let vms = soon(client.list_vms(v1::ListVmsRequest::default())).await.unwrap().into_inner().vms;
    assert_eq!((vms[0].name.as_str(), vms[0].host.as_str()), ("web", "kvm1"));
    let json = soon(client.get_snapshot(v1::GetSnapshotRequest {})).await.unwrap().into_inner().snapshot_json;
    let snapshot: ballast_core::snapshot::Snapshot = serde_json::from_str(&json).unwrap();
    assert_eq!(snapshot.hosts.len(), 1);
}

#[tokio::test]
async fn the_mode_is_set_and_said() {
    let running = Running::start().await;
    let mut client = running.operator().await;
    let change = soon(client.set_mode(v1::SetModeRequest { mode: v1::Mode::Auto.into() })).await.unwrap().into_inner();
    assert_eq!(change.previous(), v1::Mode::Recommend);
    let hosts = soon(client.list_hosts(v1::ListHostsRequest {})).await.unwrap().into_inner();
    assert_eq!(hosts.mode(), v1::Mode::Auto);
}
