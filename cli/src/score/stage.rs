//! The scenario that is played: one that comes with ballast, or a file of the operator's, with its data read.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use anyhow::{Context as _, bail};
use ballast_core::policy::Policy;
use ballast_models::{
    policy::{
        self, Dqn,
        bundle::Bundle,
        table::{self, QTable},
    },
    stream::Streaming,
};
use ballast_sim::{
    scenario::file::{BUILTINS, Data, DemandSpec, ScenarioFile, builtin},
    score::{board::Runner, runner::FileRunner},
};

use super::ForecasterArg;
use crate::workload;

/// A scenario, ready to be played.
pub(super) struct Stage {
    pub(super) runner: Box<dyn Runner>,
    /// The policies it is meant to compare.
    pub(super) policies: Vec<String>,
    /// The seeds it is meant to be played with.
    pub(super) seeds: Vec<u64>,
}

/// Opens the scenario of that name, or the file; `data` is the folder with the traces, of which only `days` are read where
/// any are named. ballast's own policies play with `forecaster`, and `dqn` with the
/// networks of the bundle `policy`, or of the one that ships.
pub(super) fn open(
    scenario: &str,
    data: Option<&Path>,
    days: &[String],
    forecaster: &ForecasterArg,
    policy: Option<&Path>,
) -> anyhow::Result<Stage> {
    let file = read(scenario)?;
    let (policies, seeds) = (file.policies().to_vec(), file.seeds().to_vec());
    let days = with_data(&file, data, days)?;
    let learned = policy_of(policy)?;
    let make = move || Box::new(Dqn::policy(&learned)) as Box<dyn Policy>;
    let steered = Arc::new(table::shipped()?);
    let steer = move || Box::new(QTable::new(Arc::clone(&steered))) as Box<dyn Policy>;
    let mut runner =
        FileRunner::new(file, days).with_policy(policy::NAME, Box::new(make)).with_policy(table::NAME, Box::new(steer));
    if let Some(bundle) = forecaster.bundle()? {
        runner = runner.with_forecaster(Box::new(move || Box::new(Streaming::of(&bundle))));
    }
    Ok(Stage { runner: Box::new(runner), policies, seeds })
}

/// The learned policy of that file, or the one that ships.
fn policy_of(path: Option<&Path>) -> anyhow::Result<Bundle> {
    let Some(path) = path else { return Ok(policy::shipped()?) };
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    Bundle::from_bytes(&bytes).with_context(|| path.display().to_string())
}

/// A name first, then a path: a file of the same name in the working folder changes nothing.
fn read(scenario: &str) -> anyhow::Result<ScenarioFile> {
    if let Some(known) = builtin(scenario) {
        return Ok(known?);
    }
    let path = Path::new(scenario);
    if !path.is_file() {
        let names: Vec<&str> = BUILTINS.iter().map(|known| known.name).collect();
        bail!("scenario {scenario:?} is not known: {} or a file is needed", names.join(", "));
    }
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Ok(ScenarioFile::parse(scenario, &text)?)
}

/// The days of a scenario with their data, as far as they are wanted; a single `None` where it has no days.
fn with_data(
    file: &ScenarioFile,
    folder: Option<&Path>,
    wanted: &[String],
) -> anyhow::Result<BTreeMap<Option<String>, Data>> {
    let reads = !file.needs().is_empty() || matches!(file.demand(), DemandSpec::Telemetry(_));
    if let Some(folder) = folder.filter(|_| !reads) {
        bail!("--data {}: scenario {} reads no data", folder.display(), file.name());
    }
    let mut days = workload::days(file, folder)?;
    days.retain(|day| wanted.is_empty() || wanted.contains(day));
    if days.is_empty() {
        return Ok(BTreeMap::from([(None, workload::read(file, folder, None)?)]));
    }
    days.into_iter().map(|day| Ok((Some(day.clone()), workload::read(file, folder, Some(&day))?))).collect()
}
