//! The agent's side of the protocol: what opens a link, and what ends it with a reason.

use ballast_proto::v1::{self, agent_message::Message as Up, scheduler_message::Message as Down};
use tonic::Code;

use crate::running::{Link, Running, batch, connect, hello, inventory, inventory_with_web, soon};

async fn refusal_of(first: Up) -> tonic::Status {
    let running = Running::start().await;
    soon(connect(running.channel().await, first)).await.unwrap_err()
}

#[tokio::test]
async fn the_first_message_must_be_hello() {
    let refusal = refusal_of(Up::KeepAlive(v1::KeepAlive {})).await;
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert_eq!(refusal.message(), "the first message is keep_alive, not hello");
}

#[tokio::test]
async fn another_version_of_the_protocol_is_refused_by_name() {
    let refusal = refusal_of(Up::Hello(v1::Hello { protocol_version: 9, ..hello("kvm1") })).await;
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert_eq!(refusal.message(), "hello.protocol_version = 9: this scheduler speaks 1");
}

#[tokio::test]
async fn a_hello_without_inventory_says_what_is_missing() {
    let refusal = refusal_of(Up::Hello(v1::Hello { inventory: None, ..hello("kvm1") })).await;
    assert_eq!(refusal.message(), "hello.inventory = absent: is needed");
}

#[tokio::test]
async fn a_malformed_inventory_is_refused_with_the_path_of_the_field() {
    let mut wire = hello("kvm1");
    let mut inventory = wire.inventory.take().unwrap();
    inventory.host = "not a host".into();
    wire.inventory = Some(inventory);
    let refusal = refusal_of(Up::Hello(wire)).await;
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert!(refusal.message().starts_with("hello.host = \"not a host\""), "{}", refusal.message());
}

#[tokio::test]
async fn hello_is_answered_with_the_terms_of_the_link() {
    let running = Running::start().await;
    let mut link = soon(connect(running.channel().await, Up::Hello(hello("kvm1")))).await.unwrap();
    let Down::Welcome(welcome) = link.next().await.unwrap() else { panic!("no welcome first") };
    assert_eq!((welcome.epoch, welcome.window_count, welcome.period_millis), (1, 64, 5000));
}

#[tokio::test]
async fn a_malformed_batch_ends_the_link_with_the_path_of_the_field() {
    let running = Running::start().await;
    let inventory = inventory_with_web("kvm1");
    let mut link = Link::of(&running, inventory.clone()).await;
    let mut malformed = batch(&inventory, 2);
    malformed.vms[0].vm_uuid = vec![1, 2, 3];
    link.say(Up::Batch(malformed)).await;
    let status = link.end().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "batch.vms[0].vm_uuid = 3 bytes: a uuid of 16 bytes is needed");
}

#[tokio::test]
async fn a_batch_of_another_host_ends_the_link() {
    let running = Running::start().await;
    let mut link = Link::of(&running, inventory("kvm1")).await;
    link.say(Up::Batch(batch(&inventory("kvm2"), 2))).await;
    let status = link.end().await;
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("kvm2"), "{}", status.message());
}

#[tokio::test]
async fn a_second_hello_ends_the_link() {
    let running = Running::start().await;
    let mut link = Link::of(&running, inventory("kvm1")).await;
    link.say(Up::Hello(hello("kvm1"))).await;
    assert_eq!(link.end().await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_keep_alive_is_answered() {
    let running = Running::start().await;
    let mut link = Link::of(&running, inventory("kvm1")).await;
    link.say(Up::KeepAlive(v1::KeepAlive {})).await;
    link.until(|message| matches!(message, Down::KeepAlive(_))).await;
}

#[tokio::test]
async fn a_second_link_of_a_host_ends_the_first_with_a_reason() {
    let running = Running::start().await;
    let mut first = Link::of(&running, inventory("kvm1")).await;
    let _second = soon(connect(running.channel().await, Up::Hello(hello("kvm1")))).await.unwrap();
    let status = first.end().await;
    assert_eq!(status.code(), Code::Aborted);
    assert!(!status.message().is_empty());
}

#[tokio::test]
async fn an_order_of_an_operator_reaches_the_agent_and_is_watched_to_its_end() {
    let running = Running::start().await;
    let mut source = Link::of(&running, inventory_with_web("kvm1")).await;
    let _target = Link::of(&running, inventory("kvm2")).await;
    let mut client = running.operator().await;
    let mut events = soon(client.watch_migrations(v1::WatchMigrationsRequest {})).await.unwrap().into_inner();
    let request = v1::MigrateRequest { vm: "web".into(), host: "kvm2".into(), ..v1::MigrateRequest::default() };
    let answer = soon(client.migrate(request)).await.unwrap().into_inner();
    let Down::Command(command) = source.until(|message| matches!(message, Down::Command(_))).await else { panic!() };
    assert_eq!(command.command_id, answer.migration_id);
    let running_one = soon(events.message()).await.unwrap().unwrap().migration.unwrap();
    assert_eq!((running_one.migration_id, running_one.outcome), (answer.migration_id.clone(), None));
    source.say(Up::Report(denied(&answer.migration_id))).await;
    loop {
        let migration = soon(events.message()).await.unwrap().unwrap().migration.unwrap();
        if let Some(outcome) = migration.outcome {
            assert!(outcome.reason.contains("no such way"), "{}", outcome.reason);
            return;
        }
    }
}

fn denied(id: &str) -> v1::CommandReport {
    let reason = ballast_core::command::DenyReason::Unsupported { what: "no such way".into() };
    v1::CommandReport { command_id: id.into(), status: Some(v1::command_report::Status::Denied(reason.into())) }
}
