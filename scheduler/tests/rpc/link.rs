//! The agent's side of the protocol: what opens a link, and what ends it with a reason.

use ballast_proto::v1::{self, agent_message::Message as Up};
use tonic::Code;

use crate::running::{Running, connect, hello, soon};

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
