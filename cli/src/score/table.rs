//! The scoreboard for people: policies by cost, the limits, and how each policy compares with one of them.

use std::io::{self, Write};

use ballast_sim::score::{
    board::{Board, Comparison, Summary},
    figure::{FIGURES, Figure},
    stats::Estimate,
};

use crate::table;

/// Columns that every table has, by the figures' names in JSON.
const ALWAYS: [&str; 14] = [
    "energy_kwh",
    "gap",
    "unserved_cpu_share",
    "overload_time_share",
    "overload_p95_s",
    "slatah",
    "pdm",
    "esv",
    "migrations",
    "moved_bytes",
    "downtime_s",
    "wakes",
    "mean_awake_hosts",
    "cost_joules",
];

/// Columns shown where a policy has something other than zero to show.
const WHERE_THERE: [&str; 7] = [
    "unserved_io_share",
    "fault_domain_breach_h",
    "mean_user_rtt_ms",
    "start_wait_p95_s",
    "answered_share",
    "latency_p95_ms",
    "migrations_failed",
];

/// Writes the scoreboard.
pub(super) fn write(board: &Board, out: &mut dyn Write) -> io::Result<()> {
    let summaries = board.summaries();
    let runs = summaries.first().map_or(0, |summary| summary.runs);
    writeln!(out, "{}: means over {runs} {}, cheapest first", board.scenario, if runs == 1 { "run" } else { "runs" })?;
    policies(&summaries, out)?;
    limits(board, out)?;
    comparisons(&board.comparisons, out)
}

fn policies(summaries: &[Summary], out: &mut dyn Write) -> io::Result<()> {
    let columns = columns(summaries);
    let right = |figure: &&Figure| format!(">{}", figure.head);
    let heads: Vec<String> = ["POLICY".to_owned()].into_iter().chain(columns.iter().map(right)).collect();
    let heads: Vec<&str> = heads.iter().map(String::as_str).chain([">DECIDING s"]).collect();
    let row = |summary: &Summary| {
        let figures = columns.iter().map(|figure| figure.show(summary.mean(figure)));
        let deciding = format!("{:.2}", summary.deciding_cpu_s);
        [summary.policy.clone()].into_iter().chain(figures).chain([deciding]).collect()
    };
    table::write(out, &heads, &summaries.iter().map(row).collect::<Vec<Vec<String>>>())
}

/// The figures that are shown, in the order of the JSON.
fn columns(summaries: &[Summary]) -> Vec<&'static Figure> {
    let has_some = |figure: &&Figure| {
        summaries.iter().any(|summary| summary.mean(figure).is_some_and(|mean| mean.is_finite() && mean != 0.0))
    };
    let is_shown =
        |figure: &&Figure| ALWAYS.contains(&figure.name) || (WHERE_THERE.contains(&figure.name) && has_some(figure));
    FIGURES.iter().filter(is_shown).collect()
}

fn limits(board: &Board, out: &mut dyn Write) -> io::Result<()> {
    let limits: Vec<String> =
        board.limits().into_iter().map(|limit| format!("{} {:.2} kWh", limit.name, limit.energy_kwh)).collect();
    if limits.is_empty() { Ok(()) } else { writeln!(out, "\nlimits: {}", limits.join(", ")) }
}

fn comparisons(comparisons: &[Comparison], out: &mut dyn Write) -> io::Result<()> {
    let Some(first) = comparisons.first() else { return Ok(()) };
    writeln!(out, "\nagainst {}: difference and ratio of means, with 95 % intervals", first.against)?;
    let heads = ["POLICY", "FIGURE", ">MEAN", ">DIFFERENCE", "95 %", ">RATIO", "95 %"];
    let rows: Vec<Vec<String>> = comparisons.iter().filter_map(row).collect();
    table::write(out, &heads, &rows)
}

fn row(comparison: &Comparison) -> Option<Vec<String>> {
    let figure = Figure::named(comparison.figure)?;
    let contrast = &comparison.contrast;
    let shown = |value: f64| figure.show(Some(value));
    let ratio = |value: f64| format!("{value:.3}");
    Some(vec![
        comparison.policy.clone(),
        figure.head.to_owned(),
        shown(contrast.mean),
        shown(contrast.difference.value),
        interval(contrast.difference, shown),
        contrast.ratio.map_or_else(|| "-".into(), |estimate| ratio(estimate.value)),
        contrast.ratio.map_or_else(|| "-".into(), |estimate| interval(estimate, ratio)),
    ])
}

fn interval(estimate: Estimate, show: impl Fn(f64) -> String) -> String {
    estimate.interval.map_or_else(|| "-".into(), |[low, high]| format!("{} to {}", show(low), show(high)))
}
