//! What operators are told when something cannot be done: the code a program needs, the words a person needs.

use ballast_proto::v1;
use tonic::{Code, Status};

use crate::running::{Running, soon};

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
