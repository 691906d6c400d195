//! Bad days of the agent: a scripted scheduler, the real agent on a simulated host, driven time.

use std::time::Duration;

use ballast_core::{
    command::{Command, CommandStatus, DenyReason},
    outcome::Ending,
};
use ballast_sim::scenario::HostSpec;
use ballast_tests::{
    fleet::{self, STEP, Vm, id, vm},
    logs::Logs,
    process::Process,
    scheduler::Time,
    scripted::vm_named,
    scripted_scheduler::{ScriptedScheduler, order},
};

/// An agent of `kvm1`, with `kvm2` beside it, and a scheduler that the test plays.
struct Stage {
    logs: Logs,
    time: Time,
    world: ballast_agent::hypervisor::simulated::Fleet,
    hosts: Vec<HostSpec>,
    scheduler: ScriptedScheduler,
    agent: Process,
    folder: tempfile::TempDir,
}

impl Stage {
    async fn new(vms: &[Vm]) -> Self {
        let (logs, time) = (Logs::watch(), Time::default());
        let (world, hosts) = fleet::pair(&time, vms).unwrap();
        let scheduler = ScriptedScheduler::listen().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let address = format!("http://{}", scheduler.address);
        let agent = fleet::agent(&hosts[0], address, folder.path().into(), &world, &logs, &time).unwrap();
        let stage = Self { logs, time, world, hosts, scheduler, agent, folder };
        stage.linked(3).await;
        stage
    }

    /// Waits for a hello and answers it.
    async fn linked(&self, epoch: u64) {
        assert!(self.until(60, || self.scheduler.hello().is_some()).await, "no hello");
        self.scheduler.welcome(epoch).await.unwrap();
    }

    async fn until(&self, seconds: u64, mut done: impl FnMut() -> bool) -> bool {
        self.time.until(Duration::from_secs(seconds), STEP, async || done()).await
    }

    /// Gives an order and waits for its last report.
    async fn carried_out(&self, command: &Command) -> CommandStatus {
        self.scheduler.command(command).await.unwrap();
        self.last_report(command).await
    }

    async fn last_report(&self, command: &Command) -> CommandStatus {
        let last = || self.scheduler.reports(command.id).into_iter().find(CommandStatus::is_final);
        assert!(self.until(300, || last().is_some()).await, "heard of it: {:?}", self.scheduler.reports(command.id));
        last().unwrap()
    }

    fn moves(&self) -> u64 {
        self.world.with(|world| world.ledger().migrations)
    }

    /// Loses the agent and starts it again with what it had written.
    async fn restart_agent(&mut self) {
        self.agent.crash().await.unwrap();
        self.scheduler.cut();
        let address = format!("http://{}", self.scheduler.address);
        let folder = self.folder.path().to_path_buf();
        self.agent = fleet::agent(&self.hosts[0], address, folder, &self.world, &self.logs, &self.time).unwrap();
    }
}

fn ending(status: &CommandStatus) -> &Ending {
    match status {
        CommandStatus::Finished(outcome) => &outcome.ending,
        other => panic!("not carried out: {other:?}"),
    }
}

fn denial(status: CommandStatus) -> DenyReason {
    match status {
        CommandStatus::Denied(reason) => reason,
        other => panic!("not denied: {other:?}"),
    }
}

#[tokio::test]
async fn a_command_is_carried_out_once_and_told() {
    let stage = Stage::new(&[vm("web", 0, 0.5)]).await;
    let status = stage.carried_out(&order((3, 1), "kvm1", id("web"), "kvm2").unwrap()).await;
    assert_eq!(ending(&status), &Ending::Completed);
    assert_eq!(stage.moves(), 1);
}

#[tokio::test]
async fn the_same_command_twice_acts_once() {
    let stage = Stage::new(&[vm("web", 0, 0.5)]).await;
    let command = order((3, 1), "kvm1", id("web"), "kvm2").unwrap();
    let first = stage.carried_out(&command).await;
    let told = stage.scheduler.reports(command.id).len();
    stage.scheduler.command(&command).await.unwrap();
    assert!(stage.until(30, || stage.scheduler.reports(command.id).len() > told).await, "no answer to the second");
    assert_eq!(stage.scheduler.reports(command.id).last(), Some(&first), "another answer");
    assert_eq!(stage.moves(), 1);
}

#[tokio::test]
async fn a_command_of_an_older_epoch_is_denied() {
    let stage = Stage::new(&[vm("web", 0, 0.5)]).await;
    stage.logs.expect("Denied a command");
    let status = stage.carried_out(&order((2, 9), "kvm1", id("web"), "kvm2").unwrap()).await;
    assert!(matches!(denial(status), DenyReason::StaleEpoch { .. }));
    assert_eq!(stage.moves(), 0);
}

#[tokio::test]
async fn the_fence_outlives_the_agent() {
    let mut stage = Stage::new(&[vm("web", 0, 0.5)]).await;
    stage.until(5, || false).await;
    stage.restart_agent().await;
    assert!(stage.until(60, || stage.scheduler.hello().is_some()).await, "no hello");
    assert_eq!(stage.scheduler.hello().map(|hello| hello.highest_epoch), Some(3));
}

#[tokio::test]
async fn a_vm_that_does_not_exist_is_denied_by_name() {
    let stage = Stage::new(&[vm("web", 0, 0.5)]).await;
    stage.logs.expect("Denied a command");
    let gone = vm_named("gone");
    let status = stage.carried_out(&order((3, 1), "kvm1", gone, "kvm2").unwrap()).await;
    assert_eq!(denial(status), DenyReason::VmNotHere { vm: gone });
}

#[tokio::test]
async fn a_command_for_another_host_is_denied() {
    let stage = Stage::new(&[vm("web", 0, 0.5)]).await;
    stage.logs.expect("Denied a command");
    let status = stage.carried_out(&order((3, 1), "kvm2", id("web"), "kvm1").unwrap()).await;
    assert!(matches!(denial(status), DenyReason::WrongHost { .. }));
}

#[tokio::test]
async fn a_destination_without_room_fails_with_the_hypervisors_words() {
    let mut large = vm("large", 1, 0.1);
    large.memory = ballast_core::units::Bytes::from_gib(31);
    let stage = Stage::new(&[vm("web", 0, 0.5), large]).await;
    let status = stage.carried_out(&order((3, 1), "kvm1", id("web"), "kvm2").unwrap()).await;
    let Ending::Failed { reason } = ending(&status) else { panic!("{status:?}") };
    assert!(reason.contains("memory"), "{reason}");
    let here = stage.world.with(|world| world.locate(&stage.hosts[0].host, id("web"))).unwrap();
    assert!(matches!(here, ballast_sim::observe::Location::Here { migrating: false, .. }), "{here:?}");
}

#[tokio::test]
async fn an_agent_killed_mid_migration_tells_the_outcome_after_its_restart() {
    let mut stage = Stage::new(&[vm("web", 0, 0.5)]).await;
    let command = order((3, 1), "kvm1", id("web"), "kvm2").unwrap();
    stage.scheduler.command(&command).await.unwrap();
    let copying =
        |status: &CommandStatus| matches!(status, CommandStatus::Running(progress) if progress.copied.get() > 0);
    assert!(stage.until(60, || stage.scheduler.reports(command.id).iter().any(copying)).await, "it never copied");
    stage.restart_agent().await;
    stage.linked(3).await;
    let status = stage.last_report(&command).await;
    assert_eq!(ending(&status), &Ending::Completed);
    assert_eq!(stage.moves(), 1, "the move was begun again");
}

#[tokio::test]
async fn an_agent_that_was_dead_when_the_migration_ended_still_tells_the_outcome() {
    let mut stage = Stage::new(&[vm("web", 0, 0.5)]).await;
    let command = order((3, 1), "kvm1", id("web"), "kvm2").unwrap();
    stage.scheduler.command(&command).await.unwrap();
    let running = |status: &CommandStatus| matches!(status, CommandStatus::Running(_));
    assert!(stage.until(60, || stage.scheduler.reports(command.id).iter().any(running)).await, "it never began");
    stage.agent.crash().await.unwrap();
    assert!(stage.until(300, || stage.moves() == 1).await, "the migration goes on without the agent");
    stage.restart_agent().await;
    stage.linked(3).await;
    assert_eq!(ending(&stage.last_report(&command).await), &Ending::Completed);
}

#[tokio::test]
async fn samples_wait_on_disk_while_no_scheduler_listens() {
    let mut stage = Stage::new(&[vm("web", 0, 0.5)]).await;
    assert!(stage.until(10, || !stage.scheduler.batches().is_empty()).await, "no batch");
    let before = stage.scheduler.batches().last().map(|batch| batch.seq).unwrap();
    stage.logs.expect("No link to the scheduler");
    stage.scheduler.cut();
    stage.until(20, || false).await;
    stage.restart_agent().await;
    stage.linked(3).await;
    assert!(stage.until(60, || !stage.scheduler.batches().is_empty()).await, "no batch after the restart");
    let first = stage.scheduler.batches()[0].seq;
    assert!(first <= before + 1, "batches {before} to {first} were lost");
}

#[tokio::test]
async fn a_torn_last_record_in_every_log_of_the_agent_is_cut_and_told() {
    let mut stage = Stage::new(&[vm("web", 0, 0.5)]).await;
    let status = stage.carried_out(&order((3, 1), "kvm1", id("web"), "kvm2").unwrap()).await;
    stage.scheduler.cut();
    stage.until(10, || false).await;
    stage.agent.crash().await.unwrap();
    let torn = super::disk::tear(stage.folder.path());
    assert!(torn.len() >= 2, "journal and spool are expected, found {torn:?}");
    stage.logs.expect("Cut an interrupted write").expect("No link to the scheduler");
    stage.restart_agent().await;
    assert!(stage.until(60, || stage.scheduler.hello().is_some()).await, "no hello");
    let id = order((3, 1), "kvm1", vm_named("web"), "kvm2").unwrap().id;
    assert_eq!(stage.scheduler.reports(id).last(), Some(&status), "the journal was lost");
}
