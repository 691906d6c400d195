//! What a drill has shown: a table of victims and phases, and every promise that was broken, in words.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use ballast_proto::v1::{self, EndingKind};

use super::plan::{Phase, Side, Victim};

/// What came of the strikes of one kind.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    at_source: usize,
    at_destination: usize,
    completed: usize,
    failed: usize,
    other: usize,
    helped: usize,
    left_behind: usize,
}

impl Row {
    fn ended(&mut self, ending: EndingKind) {
        match ending {
            EndingKind::Completed => self.completed += 1,
            EndingKind::Failed | EndingKind::Cancelled => self.failed += 1,
            _ => self.other += 1,
        }
    }
}

/// The sum of a drill.
#[derive(Debug, Default)]
pub struct Report {
    rows: BTreeMap<(Victim, Phase), Row>,
    /// Moves that no strike was timed by.
    beside: Row,
    doubled: usize,
    /// Those that were seen to run twice and were not put right since.
    doubled_now: BTreeSet<String>,
    broken: Vec<String>,
    lost: usize,
    corrupted: usize,
    untrue: usize,
    forgotten: usize,
}

impl Report {
    /// Kills so far.
    pub fn kills(&self) -> usize {
        self.rows.values().map(|row| row.at_source + row.at_destination).sum()
    }

    /// Promises that were broken, in words.
    pub fn broken(&self) -> &[String] {
        &self.broken
    }

    pub(super) fn struck(&mut self, victim: Victim, phase: Phase, side: Side) {
        let row = self.rows.entry((victim, phase)).or_default();
        match side {
            Side::Source => row.at_source += 1,
            Side::Destination => row.at_destination += 1,
        }
    }

    fn row(&mut self, struck: Option<(Victim, Phase)>) -> &mut Row {
        match struck {
            Some(strike) => self.rows.entry(strike).or_default(),
            None => &mut self.beside,
        }
    }

    pub(super) fn ended(&mut self, struck: Option<(Victim, Phase)>, ending: EndingKind) {
        self.row(struck).ended(ending);
    }

    pub(super) fn helped(&mut self, struck: Option<(Victim, Phase)>) {
        self.row(struck).helped += 1;
    }

    pub(super) fn left_behind(&mut self, struck: Option<(Victim, Phase)>) {
        self.row(struck).left_behind += 1;
    }

    pub(super) fn lost(&mut self, vm: &str, places: &dyn fmt::Debug) {
        self.lost += 1;
        self.broken.push(format!("{vm} runs nowhere: {places:?}"));
    }

    /// These vms run twice: told once of each, however often it is seen.
    pub(super) fn doubled(&mut self, vms: Vec<String>) {
        for vm in vms {
            if self.doubled_now.insert(vm.clone()) {
                self.doubled += 1;
                self.broken.push(format!("{vm} runs twice"));
            }
        }
    }

    /// Every vm runs once again.
    pub(super) fn single(&mut self) {
        self.doubled_now.clear();
    }

    pub(super) fn stopped(&mut self, why: &str) {
        self.broken.push(format!("the drill stopped after {} kills: {why}", self.kills()));
    }

    pub(super) fn forgotten(&mut self, vm: &str) {
        self.forgotten += 1;
        self.broken.push(format!("{vm} is not listed any more"));
    }

    pub(super) fn corrupted(&mut self, vm: &str, found: &str) {
        self.corrupted += 1;
        self.broken.push(format!("{vm} is not whole: {found}"));
    }

    pub(super) fn untrue(&mut self, vm: &str, outcome: &v1::Outcome, host: &str) {
        self.untrue += 1;
        self.broken.push(format!("{vm} runs on {host}, but: {:?} {}", outcome.ending(), outcome.reason));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| killed | when | kills at the source | at the destination | moves completed | stayed | other | helped by a person | remains removed by a person |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|")?;
        let line = |f: &mut fmt::Formatter<'_>, victim: &dyn fmt::Display, phase: &dyn fmt::Display, row: &Row| {
            let Row { at_source, at_destination, completed, failed, other, helped, left_behind } = row;
            writeln!(
                f,
                "| {victim} | {phase} | {at_source} | {at_destination} | {completed} | {failed} | {other} | {helped} | {left_behind} |"
            )
        };
        for ((victim, phase), row) in &self.rows {
            line(f, victim, phase, row)?;
        }
        line(f, &"(others)", &"moves meanwhile", &self.beside)?;
        let Self { lost, doubled, corrupted, untrue, forgotten, .. } = self;
        writeln!(
            f,
            "{} kills: {lost} vms lost, {doubled} doubled, {corrupted} corrupted, {forgotten} forgotten, {untrue} outcomes untrue",
            self.kills()
        )?;
        self.broken.iter().try_for_each(|what| writeln!(f, "  {what}"))
    }
}
