//! Commands: moved, refused, repeated, cancelled; sleep and wake.

use ballast_core::{
    command::{CommandStatus, DenyReason, Order},
    outcome::{Ending, Stage},
};
use ballast_proto::v1::{self, agent_message::Message as Up, scheduler_message::Message as Down};

use super::{
    rig::{Agent, Rig, ending, id},
    scheduler::Session,
};

#[tokio::test]
async fn a_vm_moves_through_three_stages_and_the_inventory_follows() {
    let mut rig = Rig::new().await;
    let (source, vm, destination) = rig.vm();
    let _agent = rig.agent(source);
    let mut session = rig.scheduler.welcome(1).await;
    session.command(&rig.migrate(id(1, 1), source, vm, destination)).await;
    assert_eq!(session.report(id(1, 1)).await, CommandStatus::Accepted);
    let mut stages = Vec::new();
    let outcome = loop {
        match session.report(id(1, 1)).await {
            CommandStatus::Running(progress) => stages.push(progress.stage),
            CommandStatus::Finished(outcome) => break outcome,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(outcome.ending, Ending::Completed);
    assert!(stages.is_sorted() && stages.contains(&Stage::Preparation) && stages.contains(&Stage::Migration));
    assert!(outcome.downtime.is_some() && outcome.copied.get() > 0 && outcome.iterations > 0, "{outcome:?}");
    assert_eq!(rig.place_of(vm), rig.hosts[destination]);
    loop {
        if let Up::Inventory(inventory) = session.next().await.unwrap()
            && !inventory.vms.iter().any(|record| record.vm_uuid == vm.0.as_bytes())
        {
            break;
        }
    }
}

#[tokio::test]
async fn the_same_command_twice_moves_the_vm_once_and_is_answered_twice() {
    let mut rig = Rig::new().await;
    let (source, vm, destination) = rig.vm();
    let _agent = rig.agent(source);
    let mut session = rig.scheduler.welcome(1).await;
    let command = rig.migrate(id(1, 1), source, vm, destination);
    session.command(&command).await;
    session.command(&command).await;
    let first = session.end(id(1, 1)).await;
    assert_eq!(ending(first.clone()), Ending::Completed);
    session.send(Down::ReportAck(v1::ReportAck { command_id: id(1, 1).to_string() })).await;
    session.command(&command).await;
    assert_eq!(session.end(id(1, 1)).await, first);
    assert_eq!(rig.fleet.with(|world| world.ledger().migrations), 1);
}

#[tokio::test]
async fn a_command_of_an_older_epoch_is_denied_even_after_a_restart() {
    let mut rig = Rig::new().await;
    let (source, vm, destination) = rig.vm();
    let agent = rig.agent(source);
    drop(rig.scheduler.welcome(5).await);
    drop(rig.scheduler.welcome(5).await);
    agent.kill().await;
    let _agent = rig.agent(source);
    let mut session = rig.scheduler.stream().await;
    while session.hello.highest_epoch == 0 {
        // Streams of the killed agent may still wait to be taken.
        session = rig.scheduler.stream().await;
    }
    assert_eq!(session.hello.highest_epoch, 5);
    session.welcome(v1::Welcome { epoch: 5, resume_from_seq: 1, window_count: 8, period_millis: 1000 }).await;
    session.command(&rig.migrate(id(4, 1), source, vm, destination)).await;
    let denied = session.end(id(4, 1)).await;
    assert!(matches!(denied, CommandStatus::Denied(DenyReason::StaleEpoch { .. })), "{denied:?}");
    assert_eq!(rig.place_of(vm), rig.hosts[source]);
}

/// A scheduler takes "unknown" for "can never run": without the fence on the disk a restarted agent would still obey the
/// scheduler before.
#[tokio::test]
async fn nobody_hears_that_a_command_is_unknown_before_the_fence_is_on_the_disk() {
    let mut rig = Rig::new().await;
    let (source, vm, destination) = rig.vm();
    let journal = rig.data_dir(source).join("journal");
    std::fs::create_dir_all(rig.data_dir(source)).unwrap();
    std::fs::write(&journal, "in the way").unwrap();
    let _agent = rig.agent(source);
    let mut session = rig.scheduler.welcome(3).await;
    let query = |number| Down::Query(v1::CommandQuery { command_ids: vec![id(2, number).to_string()] });
    session.send(query(1)).await;
    // Once this is answered, so would be what was asked before it.
    session.command(&rig.migrate(id(3, 1), source, vm, destination)).await;
    let mut heard = Vec::new();
    while !heard.contains(&id(3, 1).to_string()) {
        if let Up::Report(report) = session.next().await.unwrap() {
            heard.push(report.command_id);
        }
    }
    assert_eq!(heard, [id(3, 1).to_string()]);
    std::fs::remove_file(&journal).unwrap();
    session.send(query(2)).await;
    assert_eq!(session.report(id(2, 2)).await, CommandStatus::Unknown);
}

/// As a newer scheduler may send one.
#[tokio::test]
async fn an_order_of_a_kind_this_version_does_not_know_is_not_carried_out_and_the_next_one_is() {
    let mut rig = Rig::new().await;
    let (source, vm, destination) = rig.vm();
    let _agent = rig.agent(source);
    let mut session = rig.scheduler.welcome(1).await;
    let mut newer = v1::Command::from(rig.migrate(id(1, 1), source, vm, destination));
    newer.order = None;
    session.send(Down::Command(newer)).await;
    session.send(Down::Query(v1::CommandQuery { command_ids: vec![id(1, 1).to_string()] })).await;
    assert_eq!(session.report(id(1, 1)).await, CommandStatus::Unknown);
    session.command(&rig.migrate(id(1, 2), source, vm, destination)).await;
    assert_eq!(ending(session.end(id(1, 2)).await), Ending::Completed);
}

#[tokio::test]
async fn a_vm_that_is_not_here_is_denied_with_its_name() {
    let mut rig = Rig::new().await;
    let (source, vm, destination) = rig.vm();
    let _agent = rig.agent(destination);
    let mut session = rig.scheduler.welcome(1).await;
    session.command(&rig.migrate(id(1, 1), destination, vm, source)).await;
    assert_eq!(session.end(id(1, 1)).await, CommandStatus::Denied(DenyReason::VmNotHere { vm }));
}

#[tokio::test]
async fn a_query_is_answered_with_unknown_for_what_was_never_seen() {
    let mut rig = Rig::new().await;
    let _agent = rig.agent(0);
    let mut session = rig.scheduler.welcome(1).await;
    session.send(Down::Query(v1::CommandQuery { command_ids: vec!["1-9".to_owned()] })).await;
    assert_eq!(session.report(id(1, 9)).await, CommandStatus::Unknown);
}

#[tokio::test]
async fn a_cancel_stops_exactly_its_migration_and_the_vm_stays() {
    let mut rig = Rig::new().await;
    let (source, vm, destination) = rig.vm();
    // A link that moves nothing keeps the copy from ending first.
    rig.fleet.with(|world| world.stall_link(&rig.hosts[destination], true)).unwrap();
    let _agent = rig.agent(source);
    let mut session = rig.scheduler.welcome(1).await;
    session.command(&rig.migrate(id(1, 1), source, vm, destination)).await;
    while !matches!(session.report(id(1, 1)).await, CommandStatus::Running(_)) {}
    session.command(&rig.command(id(1, 2), source, Order::Cancel { migration: id(1, 1) })).await;
    let cancelled = ending(session.end(id(1, 1)).await);
    assert!(matches!(cancelled, Ending::Cancelled { .. }), "{cancelled:?}");
    assert_eq!(ending(session.end(id(1, 2)).await), Ending::Completed);
    assert_eq!(rig.place_of(vm), rig.hosts[source]);
}

#[tokio::test]
async fn a_host_with_a_vm_does_not_sleep() {
    let mut rig = Rig::new().await;
    let (source, ..) = rig.vm();
    let _agent = rig.agent(source);
    let mut session = rig.scheduler.welcome(1).await;
    session.command(&rig.command(id(1, 1), source, Order::Sleep)).await;
    let vms = rig.vms_on(source).len() as u64;
    assert_eq!(session.end(id(1, 1)).await, CommandStatus::Denied(DenyReason::NotEmpty { vms }));
}

/// A host whose vms have all moved to `destination`, and that was ordered to sleep by command 90.
struct Sleepy {
    rig: Rig,
    agent: Agent,
    session: Session,
    source: usize,
    destination: usize,
}

impl Sleepy {
    async fn new() -> Self {
        let mut rig = Rig::new().await;
        let (source, _, destination) = rig.vm();
        let agent = rig.agent(source);
        let mut session = rig.scheduler.welcome(1).await;
        for (number, vm) in (1..).zip(rig.vms_on(source)) {
            session.command(&rig.migrate(id(1, number), source, vm, destination)).await;
            assert_eq!(ending(session.end(id(1, number)).await), Ending::Completed);
        }
        session.command(&rig.command(id(1, 90), source, Order::Sleep)).await;
        Self { rig, agent, session, source, destination }
    }
}

/// Reads until the host says goodbye.
async fn goodbye(session: &mut Session) {
    while !matches!(session.next().await.expect("the stream ended"), Up::Goodbye(_)) {}
}

/// Seeds 4099, 4493 and 8611 of the simulation: the scheduler was lost before it knew, and the host slept unheard.
#[tokio::test]
async fn a_host_whose_goodbye_is_lost_with_its_link_stays_awake_and_says_so() {
    let Sleepy { mut rig, mut session, agent: _agent, .. } = Sleepy::new().await;
    goodbye(&mut session).await;
    drop(session);
    let mut again = rig.scheduler.welcome(1).await;
    let Ending::Failed { reason } = ending(again.end(id(1, 90)).await) else { panic!("it slept") };
    assert_eq!(reason, "the scheduler did not hear that the host goes to sleep");
}

#[tokio::test]
async fn a_host_whose_goodbye_nobody_hears_stays_awake_and_says_so() {
    let Sleepy { mut session, rig: _rig, agent: _agent, .. } = Sleepy::new().await;
    goodbye(&mut session).await;
    assert!(matches!(ending(session.end(id(1, 90)).await), Ending::Failed { .. }));
}

#[tokio::test]
async fn an_empty_host_says_goodbye_sleeps_and_comes_back_when_woken() {
    let Sleepy { mut rig, mut session, agent: _agent, source, destination } = Sleepy::new().await;
    let (mut goodbye, mut slept) = (false, false);
    while let Some(message) = session.next().await {
        match message {
            Up::Batch(batch) => session.ack(batch.seq).await,
            Up::Goodbye(_) => {
                goodbye = true;
                session.send(Down::GoodbyeHeard(v1::GoodbyeHeard {})).await;
            }
            Up::Report(report) if report.command_id == "1-90" => {
                slept = matches!(report.status, Some(v1::command_report::Status::Finished(_)));
            }
            _ => {}
        }
    }
    assert!(goodbye && slept);
    drop(session);

    let _neighbour = rig.agent(destination);
    let mut neighbour = rig.scheduler.welcome(1).await;
    let wake = Order::Wake { target: rig.hosts[source].clone(), address: None };
    neighbour.command(&rig.command(id(1, 91), destination, wake.clone())).await;
    let mut number = 91;
    // A host that is still falling asleep cannot be woken yet.
    while ending(neighbour.end(id(1, number)).await) != Ending::Completed {
        number += 1;
        neighbour.command(&rig.command(id(1, number), destination, wake.clone())).await;
    }
    let back = rig.scheduler.welcome(1).await;
    assert_eq!(back.hello.inventory.unwrap().host, rig.hosts[source].as_str());
}
