//! What a vm is expected to want.

use std::io::Write;

use anyhow::Context as _;
use ballast_core::forecast::{Quantiles, ResourceForecast, VmForecast};
use ballast_proto::v1;
use serde_json::{Value, json};

use super::words;
use crate::table;

pub(super) fn json(said: &v1::GetForecastResponse) -> anyhow::Result<Value> {
    let forecast: Value = serde_json::from_str(&said.forecast_json).context("the scheduler's forecast is not JSON")?;
    Ok(json!({ "vm": said.vm, "method": said.method, "forecast": forecast }))
}

pub(super) fn text(said: &v1::GetForecastResponse, out: &mut dyn Write) -> anyhow::Result<()> {
    let forecast: VmForecast = serde_json::from_str(&said.forecast_json)
        .context("the scheduler's forecast is not one that this tool knows")?;
    writeln!(out, "vm {}, by {}: median, and in brackets what it stays below 95 times of 100", said.vm, said.method)?;
    let rows = [
        row("CPU", &forecast.cpu, |cores| format!("{cores:.2}")),
        row("memory", &forecast.memory, words::bytes),
        row("storage", &forecast.storage, words::rate),
        row("network", &forecast.network, words::rate),
    ];
    let head = ["", ">IN 5 MIN", ">IN 30 MIN", ">IN 60 MIN", ">MOST IN 30 MIN", ">MOST IN 60 MIN"];
    table::write(out, &head, &rows)?;
    Ok(())
}

fn row(name: &str, forecast: &ResourceForecast, show: impl Fn(f64) -> String) -> Vec<String> {
    let cell = |quantiles: &Quantiles| format!("{} ({})", show(quantiles.median()), show(quantiles.q95()));
    let ahead = forecast.steps.iter().chain([&forecast.max_30_min, &forecast.max_60_min]);
    std::iter::once(name.to_owned()).chain(ahead.map(cell)).collect()
}
