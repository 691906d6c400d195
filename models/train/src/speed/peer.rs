//! PyTorch's side: a script in a process of its own.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Context as _;
use ballast_core::forecast::LEVELS;
use ballast_models::{
    features::{CONTEXT, HIGHS, INPUTS, MEDIANS},
    network::TARGETS,
    scale::RESOURCES,
};
use serde::Deserialize;

use crate::recipe::Recipe;

const SCRIPT: &str = include_str!("peer.py");

/// What the script says of one way of computing.
#[derive(Debug, Deserialize)]
pub(super) struct Measured {
    /// Its name.
    pub(super) name: String,
    /// Seconds per chunk of each round.
    pub(super) seconds: Vec<f64>,
}

/// Everything that the script has to know.
pub(super) fn sizes(recipe: &Recipe, device: &str, (rounds, chunks): (u32, usize)) -> serde_json::Value {
    let walk = recipe.walk;
    serde_json::json!({
        "device": device, "rounds": rounds, "chunks": chunks,
        "lanes": walk.lanes, "steps": walk.steps, "samples": walk.lanes * walk.steps.div_ceil(walk.stride),
        "inputs": INPUTS, "hidden": recipe.hidden, "width": recipe.width, "context": CONTEXT,
        "resources": RESOURCES, "targets": TARGETS, "levels": LEVELS, "medians": MEDIANS, "highs": HIGHS,
    })
}

/// Runs the script.
///
/// # Errors
/// Where `python` cannot be started, or says something else than measurements.
pub(super) fn measure(python: &Path, sizes: &serde_json::Value) -> anyhow::Result<Vec<Measured>> {
    let mut command = Command::new(python);
    command.args(["-", &sizes.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("start {}", python.display()))?;
    let mut input = child.stdin.take().context("the script's input")?;
    input.write_all(SCRIPT.as_bytes())?;
    drop(input);
    let output = child.wait_with_output()?;
    anyhow::ensure!(output.status.success(), "{}: {}", python.display(), output.status);
    let lines = std::str::from_utf8(&output.stdout)?.lines();
    lines.map(|line| serde_json::from_str(line).with_context(|| format!("{line:?}"))).collect()
}
