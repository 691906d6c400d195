//! Bugs that are planted into a run, to see that the simulation finds them.
//!
//! All are planted from outside, through what a run is made of: what a process finds of its files when it starts, what its
//! hypervisor answers, what the wire makes of its messages, and which bounds it keeps. The product holds none of it.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use ballast_core::{
    command::{Command, CommandStatus, Order, Report},
    id::HostId,
    outcome::{Ending, Outcome},
    units::Timestamp,
};
use ballast_daemon::segments::{Options, SegmentWriter, read_dir};
use ballast_proto::v1::{
    self, agent_message::Message as Up, command_report::Status, scheduler_message::Message as Down,
};
use ballast_scheduler::{
    config::Config,
    journal::{Entry, Ledger, OpenIntent, Record, SEGMENT_KIND},
};

use super::books::AGENT_KIND;

macro_rules! bugs {
    ($($(#[doc = $doc:literal])+ $bug:ident = $name:literal),+ $(,)?) => {
        /// A bug that can be planted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug { $($(#[doc = $doc])+ $bug),+ }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$bug),+];

            /// Its name on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Self::$bug => $name),+ }
            }
        }
    };
}

bugs! {
    /// The welcome of a new scheduler raises no fence: agents obey the one before, too.
    NoFencing = "no-fencing",
    /// An agent forgets at its restart what it has carried out.
    NoDedupe = "no-dedupe",
    /// The scheduler sends commands whose intents are not on the disk yet: a crash loses the newest.
    NoWriteAhead = "no-write-ahead",
    /// A restarted scheduler closes what is open as abandoned and asks nobody.
    NoReconcile = "no-reconcile",
    /// The first word of a migration under way is taken for its end.
    EarlyUnlock = "early-unlock",
    /// A hypervisor that does not answer is taken for one without vms.
    EmptyMeansGone = "empty-means-gone",
    /// An agent carries out commands that are not in its journal yet: a crash loses the newest.
    AgentNoWriteAhead = "agent-no-write-ahead",
    /// An agent forgets the newest epoch at its restart.
    ForgottenFence = "forgotten-fence",
    /// The scheduler comes back with its journal as it was one life before.
    OldBackup = "old-backup",
    /// An agent does not tell of what it carries out, and denies that it knows of it.
    ForgetfulHello = "forgetful-hello",
    /// A destination that does not answer is taken for one without the vm.
    SilentMeansAbsent = "silent-means-absent",
    /// The figures of a dead sampler are sent again and again.
    StuckSampler = "stuck-sampler",
    /// The rest of a vm after a move is not kept.
    NoCoolDown = "no-cool-down",
    /// The rest of a vm after a move is forgotten with the scheduler's life.
    ForgottenCoolDown = "forgotten-cool-down",
    /// The bounds of moves at a time are not kept.
    NoBudget = "no-budget",
    /// Hosts that say nothing are decided about all the same.
    NoFreshness = "no-freshness",
    /// The driver begins a migration that failed once more, by itself.
    DriverRetries = "driver-retries",
    /// A migration that could be stopped no more is said to have been.
    LyingCancel = "lying-cancel",
    /// An outcome is acknowledged to the agent and then lost.
    LostOutcome = "lost-outcome",
    /// A scheduler that takes over begins under the epoch of the one before.
    SharedEpoch = "shared-epoch",
    /// Every order names the first placement of its vm.
    ReusedGeneration = "reused-generation",
    /// A host without power loses the newest records of its agent's journal, as if nobody had synced them.
    UnsyncedJournal = "unsynced-journal",
}

/// The bugs of a run: mostly none.
#[derive(Debug, Clone, Default)]
pub struct Bugs {
    planted: Option<Bug>,
    memory: Arc<Mutex<Memory>>,
}

/// What a planted bug has to remember.
#[derive(Debug, Default)]
struct Memory {
    first_epoch: BTreeMap<usize, u64>,
    denied: BTreeMap<String, u32>,
}

impl Bugs {
    /// One planted bug.
    #[cfg(feature = "planted")]
    pub fn planted(bug: Bug) -> Self {
        Self { planted: Some(bug), memory: Arc::default() }
    }

    /// Whether this one is planted.
    pub(super) fn has(&self, bug: Bug) -> bool {
        self.planted == Some(bug)
    }

    fn memory<T>(&self, use_it: impl FnOnce(&mut Memory) -> T) -> T {
        use_it(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Bounds that are promised and not kept.
    pub(super) fn of_settings(&self, config: &mut Config) {
        let tuning = &mut config.engine.tuning;
        match self.planted {
            Some(Bug::NoCoolDown) => tuning.vm_cool_down = Duration::ZERO,
            Some(Bug::NoBudget) => {
                (tuning.moves_in_fleet, tuning.moves_in_per_host, tuning.moves_out_per_host) = (100, 100, 100);
            }
            Some(Bug::NoFreshness) => (tuning.silent_periods, tuning.silent_share_max) = (10_000, 1.0),
            _ => {}
        }
    }

    /// What an agent says.
    pub(super) fn of_agent(&self, host: usize, message: &mut Up) {
        match (self.planted, message) {
            (Some(Bug::ForgetfulHello), Up::Hello(hello)) => hello.commands.clear(),
            (Some(Bug::ForgetfulHello), Up::Report(report)) => self.deny_knowledge(report),
            (Some(Bug::EarlyUnlock), Up::Report(report)) => early(host, report),
            (Some(Bug::LyingCancel), Up::Report(report)) => lie(report),
            _ => {}
        }
    }

    /// What the scheduler says.
    pub(super) fn of_scheduler(&self, host: usize, message: &mut Down) {
        match (self.planted, message) {
            (Some(Bug::NoFencing), Down::Welcome(welcome)) => {
                let first = self.memory(|memory| *memory.first_epoch.entry(host).or_insert(welcome.epoch));
                welcome.epoch = first;
            }
            (Some(Bug::ReusedGeneration), Down::Command(command)) => {
                if let Some(v1::command::Order::Migrate(order)) = &mut command.order {
                    order.generation = 1;
                }
            }
            _ => {}
        }
    }

    /// Every second word about a command denies it.
    fn deny_knowledge(&self, report: &mut v1::CommandReport) {
        let count = self.memory(|memory| {
            let count = memory.denied.entry(report.command_id.clone()).or_default();
            *count += 1;
            *count
        });
        if count.is_multiple_of(2) && matches!(report.status, Some(Status::Accepted(_) | Status::Running(_))) {
            report.status = Some(Status::Unknown(true));
        }
    }

    /// What an agent finds of its journal at a start.
    ///
    /// # Errors
    /// Where the journal cannot be rewritten.
    pub(super) fn of_agents_journal(&self, dir: &Path, now: Timestamp) -> Result<()> {
        let keeps = |value: &serde_json::Value| match self.planted {
            Some(Bug::NoDedupe) => value.get("settled").is_none() && value.get("accepted").is_none(),
            Some(Bug::ForgottenFence) => {
                value.get("fence").is_none() && value.get("settled").is_none() && value.get("accepted").is_none()
            }
            _ => true,
        };
        let touches = [Bug::NoDedupe, Bug::ForgottenFence, Bug::AgentNoWriteAhead].into_iter().any(|bug| self.has(bug));
        if !touches || !dir.exists() {
            return Ok(());
        }
        let mut records = Vec::new();
        read_dir(dir, AGENT_KIND, |entry| records.push(entry.bytes))?;
        let value = |bytes: &Vec<u8>| serde_json::from_slice::<serde_json::Value>(bytes).unwrap_or_default();
        if self.has(Bug::AgentNoWriteAhead) {
            let unsettled = open_of(&records.iter().map(value).collect::<Vec<_>>());
            records =
                records.into_iter().enumerate().filter(|(at, _)| !unsettled.contains(at)).map(|(_, it)| it).collect();
        }
        records.retain(|bytes| keeps(&value(bytes)));
        rewrite(dir, AGENT_KIND, records.into_iter().map(|bytes| vec![bytes]), now)
    }

    /// What a scheduler that takes over is given of the journal of the one before.
    ///
    /// # Errors
    /// Where the journal cannot be rewritten.
    pub(super) fn of_takeover(&self, dir: &Path, now: Timestamp) -> Result<()> {
        if !self.has(Bug::SharedEpoch) {
            return Ok(());
        }
        let mut entries = Vec::new();
        read_dir(dir, SEGMENT_KIND, |raw| entries.extend(Entry::decode(&raw.bytes).ok()))?;
        without_last_life(&mut entries);
        write_entries(dir, &entries, now)
    }

    /// What is left of an agent's journal when its host loses power.
    ///
    /// # Errors
    /// Where the journal cannot be rewritten.
    pub(super) fn of_power_loss(&self, dir: &Path, now: Timestamp) -> Result<()> {
        if !self.has(Bug::UnsyncedJournal) || !dir.exists() {
            return Ok(());
        }
        let mut records = Vec::new();
        read_dir(dir, AGENT_KIND, |entry| records.push(vec![entry.bytes]))?;
        records.truncate(records.len().saturating_sub(4));
        rewrite(dir, AGENT_KIND, records.into_iter(), now)
    }

    /// What the scheduler finds of its journal at a start.
    ///
    /// # Errors
    /// Where the journal cannot be rewritten.
    pub(super) fn of_schedulers_journal(&self, dir: &Path, now: Timestamp) -> Result<()> {
        let touches = [Bug::NoWriteAhead, Bug::NoReconcile, Bug::OldBackup, Bug::ForgottenCoolDown, Bug::LostOutcome];
        if !touches.into_iter().any(|bug| self.has(bug)) || !dir.exists() {
            return Ok(());
        }
        let mut entries = Vec::new();
        read_dir(dir, SEGMENT_KIND, |raw| entries.extend(Entry::decode(&raw.bytes).ok()))?;
        self.spoil(&mut entries, now);
        write_entries(dir, &entries, now)
    }

    fn spoil(&self, entries: &mut Vec<Entry>, now: Timestamp) {
        match self.planted {
            Some(Bug::NoWriteAhead) => {
                let last = entries.iter().rposition(|entry| matches!(entry.record, Record::Intent { .. }));
                let fresh = last.filter(|at| now.since(entries[*at].at) < Duration::from_secs(30));
                fresh.into_iter().for_each(|at| drop(entries.drain(at..)));
            }
            Some(Bug::OldBackup) => without_last_life(entries),
            Some(Bug::NoReconcile) => {
                let ending = Ending::Abandoned { reason: "nobody was asked".to_owned() };
                let gone = |intent: &OpenIntent| intent.command.ended(ending.clone(), now);
                let outcomes: Vec<Outcome> = fold(entries).open.values().map(gone).collect();
                entries
                    .extend(outcomes.into_iter().map(|outcome| Entry { at: now, record: Record::Outcome { outcome } }));
            }
            Some(Bug::LostOutcome) => {
                let last = entries.iter().rposition(|entry| matches!(entry.record, Record::Outcome { .. }));
                last.into_iter().for_each(|at| drop(entries.remove(at)));
            }
            Some(Bug::ForgottenCoolDown) => {
                let mut ledger = fold(entries);
                ledger.moved.clear();
                entries.push(Entry { at: now, record: Record::Checkpoint { ledger: Box::new(ledger) } });
            }
            _ => {}
        }
    }
}

/// Leaves out everything from the beginning of the last life on.
fn without_last_life(entries: &mut Vec<Entry>) {
    let last = entries.iter().rposition(|entry| matches!(entry.record, Record::EpochStart { .. }));
    last.filter(|at| *at > 0).into_iter().for_each(|at| drop(entries.drain(at..)));
}

fn write_entries(dir: &Path, entries: &[Entry], now: Timestamp) -> Result<()> {
    let encoded: Result<Vec<_>, String> = entries.iter().map(|entry| entry.encode().map(|bytes| vec![bytes])).collect();
    rewrite(dir, SEGMENT_KIND, encoded.map_err(anyhow::Error::msg)?.into_iter(), now)
}

/// Places of the acceptances that have no end.
fn open_of(records: &[serde_json::Value]) -> Vec<usize> {
    let id = |value: &serde_json::Value, of: &[&str]| of.iter().try_fold(value.clone(), |it, key| it.get(key).cloned());
    let settled: Vec<_> = records.iter().filter_map(|value| id(value, &["settled", "id"])).collect();
    let accepted =
        records.iter().enumerate().filter_map(|(at, value)| Some((at, id(value, &["accepted", "command", "id"])?)));
    accepted.filter(|(_, id)| !settled.contains(id)).map(|(at, _)| at).collect()
}

/// What entries come to.
fn fold(entries: &[Entry]) -> Ledger {
    let mut ledger = Ledger::new(0);
    entries.iter().for_each(|entry| ledger.apply(entry));
    ledger.without_history()
}

fn early(host: usize, report: &mut v1::CommandReport) {
    let Ok(host) = HostId::new(&format!("kvm{}", host + 1)) else { return };
    let Ok(Report { id, status: CommandStatus::Running(_) }) = Report::try_from(report.clone()) else { return };
    let ending = Ending::Failed { reason: "no end was waited for".to_owned() };
    // An agent says of an outcome how it ended, not what it was of.
    let outcome = Command { id, host, ttl: Duration::ZERO, order: Order::Sleep }.ended(ending, Timestamp::EPOCH);
    *report = Report { id, status: CommandStatus::Finished(outcome) }.into();
}

fn lie(report: &mut v1::CommandReport) {
    let Ok(Report { id, status: CommandStatus::Finished(outcome) }) = Report::try_from(report.clone()) else { return };
    if outcome.ending == Ending::Completed && outcome.vm.is_some() {
        let ending = Ending::Cancelled { reason: "as ordered".to_owned() };
        *report = Report { id, status: CommandStatus::Finished(Outcome { ending, ..outcome }) }.into();
    }
}

/// Writes a journal anew, one record per group of entries.
fn rewrite(dir: &Path, kind: u16, groups: impl Iterator<Item = Vec<Vec<u8>>>, now: Timestamp) -> Result<()> {
    std::fs::remove_dir_all(dir)?;
    let options = Options { kind, compress: false, sync: true, segment_bytes_max: 4 << 20, total_bytes_max: None };
    let (mut writer, _) = SegmentWriter::open(dir, options)?;
    for group in groups {
        group.iter().try_for_each(|entry| writer.push(entry))?;
        writer.commit(now)?;
    }
    Ok(())
}
