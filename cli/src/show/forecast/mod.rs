//! What a vm is expected to want: CPU and memory as fans after what was used, and every figure in a table.

mod chart;

use std::io::{self, IsTerminal as _, Write};

use anyhow::Context as _;
use ballast_core::forecast::{Quantiles, ResourceForecast, VmForecast};
use ballast_proto::v1;
use serde_json::{Value, json};

use super::words;
use crate::table;
use chart::{Chart, Past};

/// What is drawn on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paper {
    /// Columns.
    width: usize,
    /// Whether it shows more than ASCII.
    is_fine: bool,
}

/// Columns where nobody says how many there are.
const WIDTH: usize = 80;

impl Paper {
    /// A terminal as wide as it is, within reason; anything else gets plain letters, for who knows where they end up.
    pub(crate) fn of_stdout() -> Self {
        let is_fine = io::stdout().is_terminal();
        let width = crossterm::terminal::size().map_or(WIDTH, |(columns, _)| usize::from(columns));
        Self { width: if is_fine { width.clamp(60, 120) } else { WIDTH }, is_fine }
    }

    #[cfg(test)]
    pub(super) fn new(width: usize, is_fine: bool) -> Self {
        Self { width, is_fine }
    }
}

pub(super) fn json(said: &v1::GetForecastResponse) -> anyhow::Result<Value> {
    let forecast: Value = serde_json::from_str(&said.forecast_json).context("the scheduler's forecast is not JSON")?;
    let step = |step: &v1::DemandStep| {
        let from = words::moment(step.from_unix_nanos);
        json!({ "from": from, "cpu_cores": step.cpu_cores, "memory_bytes": step.memory_bytes })
    };
    Ok(json!({
        "vm": said.vm,
        "name": words::some(&said.name),
        "method": said.method,
        "source": words::some(&said.source),
        "at": (said.now_unix_nanos > 0).then(|| words::moment(said.now_unix_nanos)),
        "history": said.history.iter().map(step).collect::<Vec<_>>(),
        "forecast": forecast,
    }))
}

pub(super) fn text(said: &v1::GetForecastResponse, paper: Paper, out: &mut dyn Write) -> anyhow::Result<()> {
    let forecast: VmForecast = serde_json::from_str(&said.forecast_json)
        .context("the scheduler's forecast is not one that this tool knows")?;
    writeln!(out, "{}", head(said))?;
    let of = |value: fn(&v1::DemandStep) -> Option<f64>| Past {
        now: said.now_unix_nanos,
        steps: said.history.iter().map(|step| (step.from_unix_nanos, value(step))).collect(),
    };
    let charts = [
        ("CPU, cores", of(|step| step.cpu_cores), &forecast.cpu, cores as fn(f64) -> String),
        ("memory", of(|step| step.memory_bytes), &forecast.memory, words::bytes),
    ];
    for (title, past, forecast, show) in charts {
        write!(out, "\n{}", Chart { title, past, forecast, show, width: paper.width, is_fine: paper.is_fine })?;
    }
    writeln!(out, "\n{}\n", chart::legend(paper.is_fine))?;
    writeln!(out, "median, and in brackets what it stays below 95 times of 100:")?;
    figures(&forecast, out)
}

fn head(said: &v1::GetForecastResponse) -> String {
    let who = if said.name.is_empty() { said.vm.clone() } else { format!("{} ({})", said.name, said.vm) };
    // A scheduler of before does not tell the source; the method is it, then.
    if said.source.is_empty() || said.source == said.method {
        format!("vm {who}, by {}", said.method)
    } else {
        format!("vm {who}, by {}; in use: {}", said.source, said.method)
    }
}

fn figures(forecast: &VmForecast, out: &mut dyn Write) -> anyhow::Result<()> {
    let rows = [
        row("CPU", &forecast.cpu, cores),
        row("memory", &forecast.memory, words::bytes),
        row("storage", &forecast.storage, words::rate),
        row("network", &forecast.network, words::rate),
    ];
    let head = ["", ">IN 5 MIN", ">IN 30 MIN", ">IN 60 MIN", ">MOST IN 30 MIN", ">MOST IN 60 MIN"];
    table::write(out, &head, &rows)?;
    Ok(())
}

fn cores(cores: f64) -> String {
    format!("{cores:.2}")
}

fn row(name: &str, forecast: &ResourceForecast, show: impl Fn(f64) -> String) -> Vec<String> {
    let cell = |quantiles: &Quantiles| format!("{} ({})", show(quantiles.median()), show(quantiles.q95()));
    let ahead = forecast.steps.iter().chain([&forecast.max_30_min, &forecast.max_60_min]);
    std::iter::once(name.to_owned()).chain(ahead.map(cell)).collect()
}
