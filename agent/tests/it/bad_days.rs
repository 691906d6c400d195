//! Bad days: killed in the middle, no disk, no room, a copy that does not end.

use ballast_core::{
    command::{CommandStatus, DenyReason},
    outcome::{Ending, Stage},
};

use ballast_proto::v1::{self, scheduler_message::Message as Down};

use super::rig::{Rig, ending, id};

#[tokio::test]
async fn an_agent_killed_in_the_middle_of_a_migration_tells_how_it_ended_when_it_is_back() {
    let mut rig = Rig::new().await;
    let (source, vm, destination) = rig.vm();
    let agent = rig.agent(source);
    let mut session = rig.scheduler.welcome(1).await;
    session.command(&rig.migrate(id(1, 1), source, vm, destination)).await;
    loop {
        match session.report(id(1, 1)).await {
            CommandStatus::Running(progress) if progress.stage >= Stage::Preparation => break,
            _ => {}
        }
    }
    agent.kill().await;
    drop(session);
    let _agent = rig.agent(source);
    let mut session = rig.scheduler.welcome(1).await;
    let told_in_hello = session.hello.commands.iter().any(|report| report.command_id == "1-1");
    assert!(told_in_hello);
    assert_eq!(ending(session.end(id(1, 1)).await), Ending::Completed);
    assert_eq!(rig.place_of(vm), rig.hosts[destination]);
    assert_eq!(rig.fleet.with(|world| world.ledger().migrations), 1);
}

#[tokio::test]
async fn an_agent_that_was_away_for_the_end_finds_it_by_asking_both_hosts() {
    let mut rig = Rig::new().await;
    let (source, vm, destination) = rig.vm();
    let agent = rig.agent(source);
    let mut session = rig.scheduler.welcome(1).await;
    session.command(&rig.migrate(id(1, 1), source, vm, destination)).await;
    while !matches!(session.report(id(1, 1)).await, CommandStatus::Running(_)) {}
    agent.kill().await;
    drop(session);
    while rig.place_of(vm) != rig.hosts[destination] {
        rig.clock.sleep(std::time::Duration::from_secs(1)).await;
    }
    let _agent = rig.agent(source);
    let mut session = rig.scheduler.welcome(1).await;
    let finished = session.hello.commands.clone().into_iter().find_map(|report| {
        let report = ballast_core::command::Report::try_from(report).unwrap();
        report.status.is_final().then_some(report.status)
    });
    let status = match finished {
        Some(status) => status,
        None => session.end(id(1, 1)).await,
    };
    assert_eq!(ending(status), Ending::Completed);
}

#[tokio::test]
async fn without_a_disk_samples_flow_and_commands_are_denied() {
    let mut rig = Rig::new().await;
    let (source, vm, destination) = rig.vm();
    let blocked = rig.data_dir(source);
    std::fs::write(&blocked, "not a directory").unwrap();
    let _agent = rig.agent_in(source, blocked);
    let mut session = rig.scheduler.welcome(1).await;
    assert_eq!(session.batch().await.seq, 1);
    session.command(&rig.migrate(id(1, 1), source, vm, destination)).await;
    let denied = session.end(id(1, 1)).await;
    assert!(matches!(denied, CommandStatus::Denied(DenyReason::NotDurable { .. })), "{denied:?}");
    assert_eq!(rig.place_of(vm), rig.hosts[source]);
}

#[tokio::test]
async fn a_migration_that_fails_ends_as_failed_with_the_hypervisors_words() {
    let mut rig = Rig::new().await;
    let (source, vm, destination) = rig.vm();
    rig.fleet.with(|world| world.fail_next_migration("the destination went away"));
    let _agent = rig.agent(source);
    let mut session = rig.scheduler.welcome(1).await;
    session.command(&rig.migrate(id(1, 1), source, vm, destination)).await;
    let failed = ending(session.end(id(1, 1)).await);
    assert!(failed.to_string().contains("the destination went away"), "{failed}");
    assert_eq!(rig.place_of(vm), rig.hosts[source]);
}

#[tokio::test]
async fn a_copy_that_stands_still_is_given_up_and_the_vm_stays() {
    let mut rig = Rig::new().await;
    let (source, vm, destination) = rig.vm();
    rig.fleet.with(|world| world.stall_link(&rig.hosts[destination], true)).unwrap();
    let _agent = rig.agent(source);
    let mut session = rig.scheduler.welcome(1).await;
    session.command(&rig.migrate(id(1, 1), source, vm, destination)).await;
    let failed = ending(session.end(id(1, 1)).await);
    assert!(matches!(failed, Ending::Failed { .. }), "{failed}");
    assert_eq!(rig.place_of(vm), rig.hosts[source]);
}

#[tokio::test]
async fn a_torn_record_at_the_end_of_the_journal_costs_nothing_that_was_answered() {
    let mut rig = Rig::new().await;
    let (source, vm, destination) = rig.vm();
    let agent = rig.agent(source);
    let mut session = rig.scheduler.welcome(3).await;
    session.command(&rig.migrate(id(3, 1), source, vm, destination)).await;
    let end = session.end(id(3, 1)).await;
    session.send(Down::ReportAck(v1::ReportAck { command_id: id(3, 1).to_string() })).await;
    // Requests are served in their order: once this is answered, the acknowledgement is the journal's last record.
    session.send(Down::Query(v1::CommandQuery { command_ids: vec!["3-9".to_owned()] })).await;
    assert_eq!(session.report(id(3, 9)).await, CommandStatus::Unknown);
    agent.stop().await;
    drop(session);
    let journal = rig.data_dir(source).join("journal");
    let file = ballast_daemon::segments::segment_files(&journal).unwrap().pop().unwrap();
    // The beginning of a record that was never answered: a length, and no more.
    let torn = [std::fs::read(&file).unwrap(), vec![200, 1, 0, 0, 7]].concat();
    std::fs::write(&file, torn).unwrap();
    let _agent = rig.agent(source);
    let mut session = rig.scheduler.welcome(3).await;
    assert_eq!(session.hello.highest_epoch, 3);
    session.command(&rig.migrate(id(3, 1), source, vm, destination)).await;
    assert_eq!(session.end(id(3, 1)).await, end);
}
