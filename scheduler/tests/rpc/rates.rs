//! More than one certificate may ask for, at a running server: calls are refused with a hint, messages are read later.

use ballast_daemon::tls::Role;
use ballast_proto::v1::{
    self, agent_message::Message as Up, operator_client::OperatorClient, scheduler_message::Message as Down,
};
use ballast_scheduler::rpc::rate::Rate;
use tonic::Code;

use crate::{
    certificates::{Authority, dial},
    running::{Running, batch, hello, inventory, open, soon},
};

async fn scheduler(ours: &Authority, rate: Rate) -> Running {
    let files = ours.files(Role::Scheduler, "scheduler");
    Running::start_with(|config| {
        config.tls = Some(files);
        (config.limits.calls, config.limits.messages) = (rate, rate);
    })
    .await
}

fn metrics(running: &Running) -> String {
    running.metrics.render(ballast_core::units::Timestamp::EPOCH).unwrap()
}

#[tokio::test]
async fn a_call_too_many_is_refused_with_a_hint_and_another_identity_goes_on() {
    let ours = Authority::new();
    // One call an hour: none comes back while the test runs.
    let running = scheduler(&ours, Rate { per_second: 1.0 / 3600.0, burst: 1.0 }).await;
    let mut bob = OperatorClient::new(dial(&running, &ours.files(Role::Viewer, "bob")).await.unwrap());
    soon(bob.list_hosts(v1::ListHostsRequest {})).await.unwrap();
    let refusal = soon(bob.list_hosts(v1::ListHostsRequest {})).await.unwrap_err();
    assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal:?}");
    assert!(refusal.metadata().contains_key("grpc-retry-pushback-ms"), "{refusal:?}");
    assert!(metrics(&running).contains("ballast_rate_limited_total{what=\"call\"} 1"));
    let mut carol = OperatorClient::new(dial(&running, &ours.files(Role::Viewer, "carol")).await.unwrap());
    soon(carol.list_hosts(v1::ListHostsRequest {})).await.unwrap();
}

#[tokio::test]
async fn messages_too_many_are_read_later_and_none_is_lost() {
    let ours = Authority::new();
    let running = scheduler(&ours, Rate { per_second: 20.0, burst: 3.0 }).await;
    let channel = dial(&running, &ours.files(Role::Agent, "kvm1")).await.unwrap();
    let mut link = open(channel, hello("kvm1"), &inventory("kvm1")).await;
    for seq in 2..=12 {
        link.say(Up::Batch(batch(&inventory("kvm1"), seq))).await;
    }
    link.until(|message| matches!(message, Down::Ack(ack) if ack.seq == 12)).await;
    assert!(metrics(&running).contains("ballast_rate_limited_total{what=\"message\"}"));
}
