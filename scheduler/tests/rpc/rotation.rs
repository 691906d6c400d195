//! Certificates renewed while everything goes on: two hundred links, orders without a pause, three renewals two seconds
//! apart that end with another authority, and nothing dropped.

use std::{fs, time::Duration};

use ballast_core::{command::DenyReason, id::VmId, inventory::Inventory};
use ballast_daemon::{
    clock::Clock,
    tls::{Role, TlsFiles},
};
use ballast_proto::v1::{
    self, agent_message::Message as Up, operator_client::OperatorClient, scheduler_message::Message as Down,
};
use tokio::sync::mpsc;
use tonic::{Status, transport::Channel};

use crate::{
    certificates::{Authority, dial, gets_an_answer},
    running::{Link, Running, hello_of, inventory_with_web, open, soon},
};

const LINKS: usize = 200;
/// Time between two renewals.
const PACE: Duration = Duration::from_secs(2);

fn inventory(number: usize) -> Inventory {
    let mut inventory = inventory_with_web(&format!("kvm{number}"));
    let vm = u128::try_from(number).unwrap() + 1;
    inventory.vms[0].vm = VmId(uuid::Uuid::from_u128(vm));
    inventory.vms[0].name = format!("web-{number}");
    inventory
}

/// A scheduler that lets every host send and take one vm at a time, whatever happened before, and its operator ask on.
async fn scheduler(files: TlsFiles) -> Running {
    Running::start_with(|config| {
        config.tls = Some(files);
        // Nobody's sample grows old while the test runs.
        config.engine.period = Duration::from_secs(120);
        config.engine.tuning.moves_in_fleet = LINKS;
        config.engine.tuning.vm_cool_down = Duration::ZERO;
        config.limits.calls.burst = 10_000.0;
    })
    .await
}

/// Denies every order, and tells of each; ends with the link.
async fn deny(mut link: Link, heard: mpsc::Sender<String>) -> Status {
    loop {
        match link.heard().await {
            Ok(Some(Down::Command(command))) => {
                let reason = DenyReason::Unsupported { what: "no such way".into() };
                let status = Some(v1::command_report::Status::Denied(reason.into()));
                heard.send(command.command_id.clone()).await.unwrap();
                link.say(Up::Report(v1::CommandReport { command_id: command.command_id, status })).await;
            }
            Ok(Some(_)) => {}
            Ok(None) => return Status::ok("closed"),
            Err(status) => return status,
        }
    }
}

/// Puts `new` where `old` is read, one file after the other as `cp` does, the certificate before its key.
fn renew(old: &TlsFiles, new: &TlsFiles) {
    for (from, to) in [(&new.cert, &old.cert), (&new.key, &old.key)] {
        fs::copy(from, to).unwrap();
    }
}

/// Orders one move from every eighth host to its neighbour, once those before have ended; returns what they are called.
async fn order_all(operator: &mut OperatorClient<Channel>) -> Vec<String> {
    ended(operator).await;
    let mut ordered = Vec::new();
    for number in (0..LINKS).step_by(8) {
        let request = v1::MigrateRequest {
            vm: format!("web-{number}"),
            host: format!("kvm{}", number + 1),
            r#override: true,
            ..v1::MigrateRequest::default()
        };
        ordered.push(soon(operator.migrate(request)).await.unwrap().into_inner().migration_id);
    }
    ordered
}

/// Waits until a client with these files gets an answer, or none any more.
async fn until(running: &Running, files: &TlsFiles, gets_one: bool) {
    let clock = Clock::system();
    let asked = async {
        loop {
            if gets_an_answer(running, files).await == gets_one {
                return;
            }
            clock.sleep(Duration::from_millis(100)).await;
        }
    };
    soon(asked).await;
}

#[tokio::test]
async fn certificates_renewed_every_two_seconds_under_200_links_drop_no_link_and_no_command() {
    let (old, new) = (Authority::new(), Authority::new());
    let served = old.files(Role::Scheduler, "scheduler");
    let running = scheduler(served.clone()).await;
    let (heard, mut commands) = mpsc::channel(LINKS * 4);
    let (opened, mut openings) = mpsc::channel(LINKS);
    let mut links = tokio::task::JoinSet::new();
    for number in 0..LINKS {
        let files = old.files(Role::Agent, &format!("kvm{number}"));
        let channel = dial(&running, &files).await.unwrap();
        let (heard, opened) = (heard.clone(), opened.clone());
        links.spawn(async move {
            let link = open(channel, hello_of(inventory(number)), &inventory(number)).await;
            opened.send(()).await.unwrap();
            deny(link, heard).await
        });
    }
    for _ in 0..LINKS {
        soon(openings.recv()).await.unwrap();
    }
    let mut operator = OperatorClient::new(dial(&running, &old.files(Role::Operator, "alice")).await.unwrap());

    // A new certificate; then both authorities and a certificate of the new one; then the new authority alone.
    let both = [fs::read(&served.ca).unwrap(), fs::read(new.ca()).unwrap()].concat();
    let mut pace = Clock::system().interval(PACE);
    pace.tick().await;
    let mut ordered = order_all(&mut operator).await;
    renew(&served, &old.files(Role::Scheduler, "second"));
    pace.tick().await;
    ordered.extend(order_all(&mut operator).await);
    fs::write(&served.ca, &both).unwrap();
    renew(&served, &new.files(Role::Scheduler, "third"));
    pace.tick().await;
    ordered.extend(order_all(&mut operator).await);
    fs::copy(new.ca(), &served.ca).unwrap();
    until(&running, &new.files(Role::Operator, "bob"), true).await;
    ordered.extend(order_all(&mut operator).await);

    for _ in 0..ordered.len() {
        let id = soon(commands.recv()).await.unwrap();
        assert!(ordered.contains(&id), "{id} was never ordered");
    }
    assert!(links.try_join_next().is_none(), "a link ended");
    // One and the same link each from the beginning to the end.
    let text = running.metrics.render(ballast_core::units::Timestamp::EPOCH).unwrap();
    assert!(!text.contains("ballast_calls_refused_total{"), "{text}");
    assert_eq!(ended(&mut operator).await, ordered.len());
    let late = old.files(Role::Operator, "carol");
    until(&running, &TlsFiles { ca: new.ca(), ..late }, false).await;
}

/// Migrations that have come to their end, once all that were ordered have.
async fn ended(operator: &mut OperatorClient<Channel>) -> usize {
    let clock = Clock::system();
    let all = async {
        loop {
            let request = v1::ListMigrationsRequest { limit_count: 1000, running_only: false };
            let listed = operator.list_migrations(request).await.unwrap().into_inner().migrations;
            if listed.iter().all(|migration| migration.outcome.is_some()) {
                return listed.len();
            }
            clock.sleep(Duration::from_millis(50)).await;
        }
    };
    soon(all).await
}
