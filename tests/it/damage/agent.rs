//! The agent's files: journal, its note of the head, and spool.

use std::{path::PathBuf, time::Duration};

use ballast_agent::hypervisor::simulated::Fleet;
use ballast_core::{
    command::{Command, CommandStatus},
    outcome::Ending,
};
use ballast_daemon::segments::segment_files;
use ballast_sim::scenario::HostSpec;
use ballast_tests::{
    damage::{self, Harm},
    fleet::{self, STEP, id, vm},
    logs::Logs,
    process::Process,
    scheduler::Time,
    scripted_scheduler::{ScriptedScheduler, order},
};

use super::{Answer, matrix, refused, told};

const EPOCH: u64 = 3;

/// A data directory in which an agent has carried out one command, until it was killed.
struct Before {
    folder: tempfile::TempDir,
    time: Time,
    world: Fleet,
    hosts: Vec<HostSpec>,
    command: Command,
    answer: CommandStatus,
    /// Batches that nobody has acknowledged.
    waiting: usize,
}

/// An agent that runs, and the scheduler that it finds.
struct Linked {
    scheduler: ScriptedScheduler,
    agent: Process,
    logs: Logs,
}

impl Before {
    async fn new() -> Self {
        let time = Time::default();
        let (world, hosts) = fleet::pair(&time, &[vm("web", 0, 0.5)]).unwrap();
        let command = order((EPOCH, 1), "kvm1", id("web"), "kvm2").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let answer = CommandStatus::Unknown;
        let mut before = Self { folder, time, world, hosts, command, answer, waiting: 0 };
        let mut linked = before.agent(before.dir("before")).await.unwrap();
        before.answer = before.asked(&linked.scheduler).await;
        assert!(matches!(&before.answer, CommandStatus::Finished(it) if it.ending == Ending::Completed));
        before.waiting = linked.scheduler.batches().len();
        linked.agent.crash().await.unwrap();
        linked.logs.expect("");
        before
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An agent on `dir` that a scheduler has welcomed, or why it ended.
    async fn agent(&self, dir: PathBuf) -> Result<Linked, (String, Logs)> {
        let (scheduler, logs) = (ScriptedScheduler::listen().await.unwrap(), Logs::watch());
        let address = format!("http://{}", scheduler.address);
        let mut agent = fleet::agent(&self.hosts[0], address, dir, &self.world, &logs, &self.time).unwrap();
        let came = async || scheduler.hello().is_some() || agent.has_ended();
        assert!(self.time.until(Duration::from_secs(60), STEP, came).await, "neither a hello nor an end");
        if agent.has_ended() {
            let error = format!("{:#}", agent.stop().await.unwrap_err());
            return Err((error, logs));
        }
        Ok(Linked { scheduler, agent, logs })
    }

    /// Welcomes the agent and gives the command, again where it was given before; how it ended.
    async fn asked(&self, scheduler: &ScriptedScheduler) -> CommandStatus {
        scheduler.welcome(EPOCH).await.unwrap();
        scheduler.command(&self.command).await.unwrap();
        let last = || scheduler.reports(self.command.id).into_iter().find(CommandStatus::is_final);
        let heard = async || last().is_some();
        assert!(self.time.until(Duration::from_secs(300), STEP, heard).await, "no end of the command");
        last().unwrap()
    }

    /// Harms `file` of a copy and starts an agent on it, which must know of the epoch and the command or not start.
    async fn start(&self, harm: Harm, file: impl Fn(PathBuf) -> PathBuf, lost: impl Fn(&Linked) -> bool) -> Answer {
        let dir = self.dir(&format!("{harm:?}"));
        damage::copy(&self.dir("before"), &dir).unwrap();
        let file = file(dir.clone());
        harm.to(&file).unwrap();
        let mut linked = match self.agent(dir).await {
            Ok(linked) => linked,
            Err((error, logs)) => {
                logs.expect("");
                return refused(&error, &file, harm);
            }
        };
        let told = told(&linked.logs, &file);
        let answer = self.judge(&linked, harm, told, lost).await;
        linked.agent.crash().await.unwrap();
        answer
    }

    async fn judge(&self, linked: &Linked, harm: Harm, told: bool, lost: impl Fn(&Linked) -> bool) -> Answer {
        let fence = linked.scheduler.hello().unwrap().highest_epoch;
        let answer = self.asked(&linked.scheduler).await;
        assert_eq!(self.world.with(|world| world.ledger().migrations), 1, "{harm:?}: carried out again");
        if matches!(answer, CommandStatus::Denied(_)) {
            assert!(told, "{harm:?}: denied without a word of the file");
            return Answer::Told;
        }
        assert_eq!((fence, &answer), (EPOCH, &self.answer), "{harm:?}");
        match (lost(linked), told) {
            (false, _) => Answer::Whole,
            (true, true) => Answer::Told,
            (true, false) => Answer::Unmissed,
        }
    }
}

fn nothing(_: &Linked) -> bool {
    false
}

#[tokio::test]
async fn a_damaged_journal_of_the_agent_stops_it_or_has_it_deny_every_command() {
    let before = Before::new().await;
    let newest = |dir: PathBuf| segment_files(&dir.join("journal")).unwrap().pop().unwrap();
    let answers = matrix("agent: journal", async |harm| before.start(harm, newest, nothing).await).await;
    let denies: Vec<_> = answers.iter().filter(|(_, answer)| *answer != Answer::Refused).collect();
    assert_eq!(denies, [&(Harm::Directory, Answer::Told)], "what cannot be read as a file is a disk's fault");
}

#[tokio::test]
async fn damage_to_the_note_of_the_agents_journals_head_costs_nothing() {
    let before = Before::new().await;
    let head = |dir: PathBuf| dir.join("journal/head");
    let answers = matrix("agent: journal, `head`", async |harm| before.start(harm, head, nothing).await).await;
    assert!(answers.iter().all(|(_, answer)| *answer == Answer::Whole), "{answers:?}");
}

#[tokio::test]
async fn a_damaged_spool_costs_samples_and_is_told_of() {
    let before = Before::new().await;
    let waiting = before.waiting as u64;
    let newest = |dir: PathBuf| segment_files(&dir.join("spool")).unwrap().pop().unwrap();
    // The first one sent is the oldest one held.
    let lost = |linked: &Linked| {
        let sent: Vec<u64> = linked.scheduler.batches().iter().map(|batch| batch.seq).collect();
        !(1..=waiting).all(|seq| sent.contains(&seq))
    };
    let answers = matrix("agent: spool", async |harm| before.start(harm, newest, lost).await).await;
    let unmissed: Vec<_> =
        answers.iter().filter(|(_, answer)| *answer == Answer::Unmissed).map(|(it, _)| *it).collect();
    assert_eq!(unmissed, [Harm::Deleted], "a spool that is gone was removed by somebody; anything else is told of");
}
