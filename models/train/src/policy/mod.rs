//! `ballast-train policy`: a Q-network that judges evacuations, learnt on small fleets drawn from recorded days.
//!
//! Deep Q-learning (Mnih et al. 2015) with a duelling network, double targets, returns over several rounds, prioritised replay and
//! an ensemble of which a different member acts in every episode. What an episode is paid is what the greedy policy's own course
//! of the same cell would have cost beyond it: demand is exogenous, so that the difference is exact, and its noise is gone. It
//! begins as the model's own judgement: the first episodes are the greedy policy's, and plans are worth what the model says.

pub mod cells;
mod checkpoint;
pub mod episode;
pub mod fleet;
pub mod learner;
mod material;
pub mod numbers;
pub mod replay;
mod reptile;
mod shaping;
pub mod tabular;
#[cfg(test)]
mod tests;
mod training;
pub mod transfer;
pub mod trial;

use std::{fs, io::Write, path::PathBuf};

use anyhow::Context as _;
use ballast_core::policy::ranked::{FEATURES, LEVELS};
use ballast_models::{
    bundle::DataSet,
    policy::{
        Seen,
        bundle::{Bundle, Card, SCHEMA},
        network::MEMBERS,
    },
};
use burn::tensor::Device as BurnDevice;
use clap::Args as ClapArgs;
use serde::Serialize;

use crate::device::Device;
use checkpoint::Asked;
use material::Material;
use numbers::Numbers;
use training::{Best, Run, Training};
use trial::{Outcome, Trial};

/// Cells of a trial of the newest networks. In a test it is enough that there are some.
const TRIAL: u64 = if cfg!(test) { 8 } else { 96 };

/// Turns between two trials.
const TRIAL_EVERY: usize = 15;

/// What is trained, on what, how long.
#[derive(Debug, Clone, ClapArgs)]
pub struct PolicyArgs {
    /// Folder with PlanetLab days (YYYYMMDD.csv.gz).
    #[arg(long, value_name = "DIR", required_unless_present = "experience")]
    pub data: Option<PathBuf>,
    /// Days to train on [default: all that are not tuned on].
    #[arg(long = "day", value_name = "YYYYMMDD", value_delimiter = ',')]
    pub days: Vec<String>,
    /// Days by which the best networks of the run are chosen.
    #[arg(long = "tune", value_name = "YYYYMMDD", value_delimiter = ',', required_unless_present = "experience")]
    pub tune: Vec<String>,
    /// Folder with a fleet's own days, as `ballast history` writes them: the last day judges, the one before chooses, and nothing
    /// is written that is not better than the greedy policy and than the networks of --from.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["data", "days", "tune"])]
    pub experience: Option<PathBuf>,
    /// Cells of the last day that judge: the more, the narrower the interval that has to be below one.
    #[arg(long, default_value_t = 192)]
    pub judged: u64,
    /// Networks to go on from [default with --experience: those that ship].
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Where the bundle goes.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// The run on disk, written after every turn; one that is there already is gone on with.
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Go on with the run of --checkpoint, and do not begin anew where there is none.
    #[arg(long, requires = "checkpoint")]
    pub resume: bool,
    /// Numbers of the run.
    #[command(flatten)]
    pub numbers: Numbers,
    /// Where burn computes: cpu (burn's own), cuda:N, vulkan:N or wgpu:N.
    #[arg(long, default_value = "cpu")]
    pub device: Device,
}

/// The numbers of a run, for the card.
#[derive(Debug, Serialize)]
struct Recipe<'a> {
    #[serde(flatten)]
    numbers: &'a Numbers,
    tuned_on: Vec<String>,
}

/// Trains, tells `out` how it goes, and writes the best networks.
///
/// # Errors
/// Where data or a checkpoint cannot be read, the device is not there, or the bundle cannot be written.
pub fn run(args: &PolicyArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    args.numbers.check()?;
    let (material, before) = (Material::read(args)?, material::begun_with(args)?);
    let asked = asked(&args.numbers, &material, before.as_ref())?;
    writeln!(out, "{}", material.told())?;
    let mut run = begin(args, before.as_ref(), &asked, out)?;
    let best = best_of(args, &material, &mut run, &asked, out)?;
    let seen = &run.training.seen;
    if let Some(judge) = &material.judge
        && !material::is_better((judge, args.judged), (&best.ensemble, seen), before.as_ref(), out)?
    {
        writeln!(out, "that is not better beyond doubt: nothing is written")?;
        return Ok(());
    }
    let card = card(&args.numbers, &material, seen, &best.outcome);
    let bytes = Bundle { card, ensemble: best.ensemble }.to_bytes()?;
    fs::write(&args.out, &bytes).with_context(|| format!("write {}", args.out.display()))?;
    writeln!(out, "{}: {} bytes", args.out.display(), bytes.len())?;
    Ok(())
}

/// All that the run depends on, which its checkpoint is held against.
fn asked(numbers: &Numbers, material: &Material, before: Option<&Bundle>) -> anyhow::Result<Asked> {
    let from = match before {
        Some(before) => blake3::hash(&before.to_bytes()?).to_hex().to_string(),
        None => "nothing".to_owned(),
    };
    let numbers = serde_json::to_value(numbers)?;
    let numbers = numbers.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.to_string()));
    let of = |name: &str, value: String| (name.to_owned(), value);
    let rest = [
        of("version", env!("CARGO_PKG_VERSION").to_owned()),
        of("day", material.train.names().join(",")),
        of("tune", material.tune.names().join(",")),
        of("data", material.train.hash.clone()),
        of("data to tune on", material.tune.hash.clone()),
        of("from", from),
    ];
    Ok(numbers.chain(rest).collect())
}

/// A run that is gone on with, or one that begins.
fn begin(args: &PolicyArgs, before: Option<&Bundle>, asked: &Asked, out: &mut dyn Write) -> anyhow::Result<Run> {
    let device = args.device.burn()?.unwrap_or_else(BurnDevice::flex);
    if let Some(path) = &args.checkpoint {
        if let Some(run) = checkpoint::load(path, asked, &device)? {
            writeln!(out, "{}: going on after turn {}", path.display(), run.turns)?;
            return Ok(run);
        }
        anyhow::ensure!(!args.resume, "--resume: there is no checkpoint {}", path.display());
    }
    Ok(Run::new(Training::new(&args.numbers, before, &device)))
}

/// Plays and learns for all turns; the networks that did best in a trial.
fn best_of(
    args: &PolicyArgs,
    material: &Material,
    run: &mut Run,
    asked: &Asked,
    out: &mut dyn Write,
) -> anyhow::Result<Best> {
    let trial = Trial::new(&material.tune, TRIAL)?;
    while run.turns < args.numbers.turns {
        let error = run.turn(&args.numbers, &material.train)?;
        if run.turns.is_multiple_of(TRIAL_EVERY) || run.turns == args.numbers.turns {
            run.try_out(&trial, error, out)?;
        }
        if let Some(path) = &args.checkpoint {
            checkpoint::save(path, run, asked)?;
        }
    }
    let best = run.best.clone().context("--turns 0: nothing was trained")?;
    writeln!(out, "the networks of turn {}: {} of the greedy's", best.turns, best.outcome)?;
    Ok(best)
}

fn card(numbers: &Numbers, material: &Material, seen: &Seen, outcome: &Outcome) -> Card {
    let recipe = Recipe { numbers, tuned_on: material.tune.names() };
    let days = &material.train;
    let data =
        DataSet { kind: material.kind.into(), files: days.names(), hash: days.hash.clone(), ..DataSet::default() };
    Card {
        schema: SCHEMA.into(),
        features: FEATURES,
        levels: LEVELS.to_vec(),
        members: MEMBERS,
        version: env!("CARGO_PKG_VERSION").into(),
        seed: numbers.seed,
        // Numbers and text cannot fail to be written.
        recipe: serde_json::to_value(recipe).unwrap_or_default(),
        data: vec![data],
        tuned: Some([outcome.ratio, outcome.low, outcome.high]),
        seen: seen.clone(),
    }
}
