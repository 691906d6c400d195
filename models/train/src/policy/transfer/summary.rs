//! What the runs come to: a table of scores, how much of the whole data's an hour is worth, and how many steps each start needs.

use std::{collections::BTreeMap, io::Write};

use ballast_core::units::count;

use super::curve::{Curve, Judge};

/// Share of a score that counts as reaching it.
const REACHED: f64 = 0.95;

/// Student's t, two-sided 95 %, for one to nine degrees of freedom.
const STUDENT: [f64; 9] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];

/// A mean over seeds with half the width of its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mean {
    pub(super) value: f64,
    pub(super) half: f64,
}

impl Mean {
    /// Of two to ten values.
    pub(super) fn of(values: &[f64]) -> Self {
        let number = count(values.len());
        let value = values.iter().sum::<f64>() / number;
        let squares: f64 = values.iter().map(|one| (one - value).powi(2)).sum();
        let student = values.len().checked_sub(2).and_then(|place| STUDENT.get(place)).copied().unwrap_or(f64::NAN);
        Self { value, half: student * (squares / (number - 1.0) / number).sqrt() }
    }

    fn low(self) -> f64 {
        self.value - self.half
    }

    fn high(self) -> f64 {
        self.value + self.half
    }
}

impl std::fmt::Display for Mean {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.4} ({:.4} to {:.4})", self.value, self.low(), self.high())
    }
}

/// The runs of one start on so many hours, by seed: scores in the order of the steps.
#[derive(Debug, Default)]
struct Row {
    start: String,
    hours: u32,
    runs: BTreeMap<u64, Vec<f64>>,
}

impl Row {
    fn at(&self, place: usize) -> Mean {
        Mean::of(&self.runs.values().map(|scores| scores[place]).collect::<Vec<f64>>())
    }

    fn last(&self) -> usize {
        self.runs.values().map(|scores| scores.len() - 1).min().unwrap_or(0)
    }

    /// What each seed has at last over what it has in `other`, or less it.
    fn against(&self, other: &Self, by: impl Fn(f64, f64) -> f64) -> Mean {
        let place = self.last();
        let pairs = self.runs.iter().filter_map(|(seed, ours)| Some((ours[place], *other.runs.get(seed)?.get(place)?)));
        Mean::of(&pairs.map(|(ours, theirs)| by(ours, theirs)).collect::<Vec<f64>>())
    }
}

/// Writes the table and what follows from it.
///
/// # Errors
/// Where `out` cannot be written.
pub(super) fn write(curves: &[Curve], judge: &Judge, out: &mut dyn Write) -> anyhow::Result<()> {
    let Some(steps) = curves.first().map(|curve| curve.points.iter().map(|(steps, _)| *steps).collect::<Vec<_>>())
    else {
        return Ok(());
    };
    let rows = rows(curves, |cost| judge.score(cost));
    let head: Vec<String> = steps.iter().map(|steps| format!(" {steps} steps |")).collect();
    writeln!(out, "\n| start | hours |{}\n|---|---|{}", head.concat(), "---|".repeat(steps.len()))?;
    for row in &rows {
        let cells: Vec<String> = (0..steps.len()).map(|place| format!(" {} |", row.at(place))).collect();
        writeln!(out, "| {} | {} |{}", row.start, row.hours, cells.concat())?;
    }
    writeln!(out)?;
    of_hours(&rows, out)?;
    over_the_rule(&rows, out)?;
    of_steps(&rows, &steps, out)
}

/// Runs of a kind together: by the name of the start, then by hours.
fn rows(curves: &[Curve], score: impl Fn(f64) -> f64) -> Vec<Row> {
    let mut rows: BTreeMap<(&str, u32), Row> = BTreeMap::new();
    for curve in curves {
        let row = rows.entry((&curve.start, curve.hours)).or_default();
        (row.start, row.hours) = (curve.start.clone(), curve.hours);
        row.runs.insert(curve.seed, curve.points.iter().map(|(_, cost)| score(*cost)).collect());
    }
    rows.into_values().collect()
}

/// The row of most hours of the same start.
fn whole<'a>(rows: &'a [Row], start: &str) -> Option<&'a Row> {
    rows.iter().filter(|row| row.start == start).max_by_key(|row| row.hours)
}

/// What few hours are worth beside all of them.
fn of_hours(rows: &[Row], out: &mut dyn Write) -> anyhow::Result<()> {
    for row in rows {
        let Some(whole) = whole(rows, &row.start).filter(|whole| whole.hours > row.hours) else { continue };
        let share = row.against(whole, |ours, theirs| ours / theirs);
        let verdict = if share.low() >= REACHED {
            "reached"
        } else if share.high() < REACHED {
            "not reached"
        } else {
            "within its interval"
        };
        writeln!(
            out,
            "{}: {} h give {share} of the score of {} h; {REACHED}: {verdict}",
            row.start, row.hours, whole.hours
        )?;
    }
    Ok(())
}

/// Whether all hours are worth anything over the greedy rule.
fn over_the_rule(rows: &[Row], out: &mut dyn Write) -> anyhow::Result<()> {
    for row in rows.iter().filter(|row| whole(rows, &row.start).is_some_and(|whole| whole.hours == row.hours)) {
        let gain = row.at(row.last());
        let gain = Mean { value: gain.value - 1.0, ..gain };
        let verdict = if gain.low() > 0.0 {
            "better"
        } else if gain.high() < 0.0 {
            "worse"
        } else {
            "a tie: which start and how many hours give most of it cannot be said"
        };
        writeln!(out, "{}: {} h give {gain} over the greedy rule: {verdict}", row.start, row.hours)?;
    }
    Ok(())
}

/// The steps after which each start has what new networks have at last with all of the data.
fn of_steps(rows: &[Row], steps: &[usize], out: &mut dyn Write) -> anyhow::Result<()> {
    let Some(aim) = whole(rows, "scratch").map(|row| REACHED * row.at(row.last()).value) else { return Ok(()) };
    for row in rows {
        let first = (0..=row.last()).find(|place| row.at(*place).value >= aim);
        let when = first.map_or_else(|| "not reached".to_owned(), |place| format!("after {} steps", steps[place]));
        writeln!(out, "{}, {} h: {aim:.4}, {REACHED} of what scratch has at last: {when}", row.start, row.hours)?;
    }
    Ok(())
}
