//! `ballast-train forecaster`: from recordings to a bundle.

use std::{
    fs,
    io::{IsTerminal as _, Write},
    path::PathBuf,
};

use anyhow::Context as _;
use ballast_core::history::SLOTS_PER_DAY;
use ballast_models::{
    bundle::{Bundle, Card, DataSet, Precision, Score},
    kernel::threads::Threads,
    network::{Network, Weights},
};
use clap::Args;

use crate::{
    checkpoint,
    data::{Set, folder},
    device::Device,
    engine::Engine,
    judge, plots,
    recipe::Recipe,
    split::{Fold, Judged, Parts, Split},
    training::{Step, Training},
};

/// Trains a forecaster.
#[derive(Debug, Clone, Args)]
pub struct ForecasterArgs {
    /// Recordings, files or folders: Parquet or CSV with a row per vm and step, and the wide forms of PlanetLab and Google.
    #[arg(long, required = true, value_name = "PATH")]
    pub data: Vec<PathBuf>,
    /// Origin and terms of the data, for the bundle's card.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub licence: String,
    /// Vms, or days of a recording of days, that are not trained on but judged: a file with one name per line.
    #[arg(long, value_name = "FILE")]
    pub hold_out: Option<PathBuf>,
    /// Hold out one fold of several besides, as in 2/5: vms are dealt by blocks of neighbours.
    #[arg(long, value_name = "K/N")]
    pub fold: Option<Fold>,
    /// The step at which training ends and judging begins in recordings of more than a day.
    #[arg(long, value_name = "STEP")]
    pub until: Option<u32>,
    /// Of recordings of more than a day, train on only so many hours before that step, or before their end.
    #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(u32).range(1..))]
    pub hours: Option<u32>,
    /// One block of so many neighbouring vms is kept apart to stop training by; 0 for none.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub validation: u32,
    /// Where the bundle goes.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Keep the weights in 16 bits: half the size.
    #[arg(long)]
    pub half: bool,
    /// Where to compute: cpu, cuda, vulkan or wgpu, with an index as in cuda:1. Several share the work.
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_delimiter = ',')]
    pub device: Vec<Device>,
    /// The run on disk, written after every epoch; one that is there already is gone on with.
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Go on with the run of --checkpoint, and do not begin anew where there is none.
    #[arg(long, requires = "checkpoint")]
    pub resume: bool,
    /// A line of JSON per epoch.
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// A folder for pictures of the run and of forecasts.
    #[arg(long, value_name = "FOLDER")]
    pub plots: Option<PathBuf>,
    /// Begin with the weights of this bundle rather than with random ones.
    #[arg(long, value_name = "BUNDLE")]
    pub from: Option<PathBuf>,
    /// Leave the recurrent cell as it is and train the heads only.
    #[arg(long, requires = "from")]
    pub freeze_cell: bool,
    /// Numbers of the run.
    #[command(flatten)]
    pub numbers: Numbers,
}

/// Numbers of the run.
#[derive(Debug, Clone, Args)]
pub struct Numbers {
    /// A GRU in place of the LSTM.
    #[arg(long)]
    pub gru: bool,
    /// Units of the cell.
    #[arg(long, default_value_t = 64)]
    pub hidden: usize,
    /// Units of each head's hidden layer.
    #[arg(long, default_value_t = 64)]
    pub width: usize,
    /// Epochs, at most.
    #[arg(long, default_value_t = 6)]
    pub epochs: u32,
    /// Epochs without a better loss on the validation set after which training stops; 0 for never.
    #[arg(long, default_value_t = 0)]
    pub patience: u32,
    /// Highest learning rate.
    #[arg(long, default_value_t = 2e-3)]
    pub rate: f64,
    /// Weight decay.
    #[arg(long, default_value_t = 0.05)]
    pub decay: f32,
    /// Share of the heads' values that are forgotten while training.
    #[arg(long, default_value_t = 0.1)]
    pub forget: f32,
    /// How far vms are moved on the scale while training.
    #[arg(long, default_value_t = 1.0)]
    pub shift: f32,
    /// Weight of histories of a day or less.
    #[arg(long, default_value_t = 0.5)]
    pub short_weight: f32,
    /// Series abreast.
    #[arg(long, default_value_t = 128)]
    pub lanes: usize,
    /// One slot of so many is learnt from.
    #[arg(long, default_value_t = 4)]
    pub stride: usize,
    /// Seed of everything that is drawn.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl Numbers {
    /// The recipe they make.
    ///
    /// # Errors
    /// Where one is out of its range.
    pub fn recipe(&self, freezes_cell: bool) -> anyhow::Result<Recipe> {
        let usual = Recipe::default();
        within("hidden", self.hidden, 1..=1024)?;
        within("width", self.width, 1..=1024)?;
        within("epochs", self.epochs, 1..=10_000)?;
        within("lanes", self.lanes, 1..=65_536)?;
        within("stride", self.stride, 1..=usual.walk.steps)?;
        within("rate", self.rate, 1e-8..=1.0)?;
        within("decay", self.decay, 0.0..=10.0)?;
        within("forget", self.forget, 0.0..=0.9)?;
        within("shift", self.shift, 0.0..=3.0)?;
        within("short-weight", self.short_weight, 0.0..=100.0)?;
        let walk = crate::batch::Walk {
            lanes: self.lanes,
            stride: self.stride,
            forgets: self.forget,
            shift: self.shift,
            ..usual.walk
        };
        Ok(Recipe {
            is_gru: self.gru,
            hidden: self.hidden,
            width: self.width,
            walk,
            epochs: self.epochs,
            patience: self.patience,
            rate: self.rate,
            decay: self.decay,
            freezes_cell,
            seed: self.seed,
            ..usual
        })
    }
}

fn within<T: PartialOrd + std::fmt::Display>(
    field: &str,
    value: T,
    range: std::ops::RangeInclusive<T>,
) -> anyhow::Result<()> {
    let (least, most) = (range.start(), range.end());
    anyhow::ensure!(range.contains(&value), "{field} is {value}, {least} to {most} is needed");
    Ok(())
}

/// What is trained on and judged, by kind of recording.
struct Data {
    sets: Vec<DataSet>,
    hash: String,
    training: Set,
    validation: Vec<Judged>,
    judged: Vec<(String, Judged)>,
}

impl Data {
    fn read(args: &ForecasterArgs) -> anyhow::Result<Self> {
        let last = args.hours.map(|hours| (hours * SLOTS_PER_DAY / 24) as usize);
        let split = Split { last, fold: args.fold, ..Split::read(args.hold_out.as_deref(), args.until)? };
        let mut data = Self {
            sets: Vec::new(),
            hash: String::new(),
            training: Set::default(),
            validation: Vec::new(),
            judged: Vec::new(),
        };
        let mut hasher = blake3::Hasher::new();
        for recorded in folder::read_all(&args.data)? {
            hasher.update(recorded.hash.as_bytes());
            let (kind, files, hash) = (recorded.kind, recorded.files.clone(), recorded.hash.clone());
            let Parts { training, validation, judged } = split.parts(recorded, args.validation);
            let slots = training.iter().map(|history| history.slots.len()).sum();
            let name =
                |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            data.sets.push(DataSet {
                kind: kind.to_owned(),
                files: files.iter().map(name).collect(),
                hash,
                histories: training.len(),
                slots,
                licence: args.licence.clone(),
            });
            data.training.series.extend(Set::of(&training, args.numbers.short_weight).series);
            data.validation.push(validation);
            data.judged.push((kind.to_owned(), judged));
        }
        for name in &split.held {
            hasher.update(name.as_bytes());
        }
        hasher.update(format!("{:?} {:?} {:?} {}", split.until, split.last, split.fold, args.validation).as_bytes());
        data.hash = hasher.finalize().to_hex().to_string();
        anyhow::ensure!(!data.training.series.is_empty(), "no vm is left to train on: everything is held out");
        Ok(data)
    }

    /// Mean pinball loss over all that is kept apart to stop training by, each kind of recording with the same weight.
    fn validate(&self, weights: &Weights) -> Option<f64> {
        let network = Network::new(weights, Threads::One);
        let losses: Vec<f64> = self
            .validation
            .iter()
            .filter(|judged| !judged.histories.is_empty())
            .map(|judged| judge::pooled(&judge::judge(&network, &judged.histories, &judged.origins)))
            .map(|tallies| judge::mean_pinball(&tallies))
            .collect();
        (!losses.is_empty()).then(|| losses.iter().sum::<f64>() / losses.len() as f64)
    }
}

/// Trains and writes a bundle; says how it goes on `out`.
///
/// # Errors
/// Where data, device, checkpoint or bundle cannot be read or written.
pub fn run(args: &ForecasterArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let recipe = args.numbers.recipe(args.freeze_cell)?;
    let data = Data::read(args)?;
    writeln!(out, "{} histories, {} slots to train on", data.training.series.len(), data.training.slots())?;
    let mut training = begin(args, recipe, &data)?;
    let mut engine = Engine::new(&training.progress().weights, &args.device, recipe.walk, recipe.loss)?;
    while !training.is_over() {
        let epoch = training.epoch(&data.training, &mut engine, live, |weights| data.validate(weights))?;
        let validation = epoch.validation.map_or_else(String::new, |loss| format!(", validation {loss:.4}"));
        writeln!(out, "epoch {}: loss {:.4}{validation}, rate {:.6}", epoch.number, epoch.loss, epoch.rate)?;
        if let Some(path) = &args.log {
            let mut file = fs::OpenOptions::new().create(true).append(true).open(path)?;
            writeln!(file, "{}", serde_json::to_string(&epoch)?)?;
        }
        if let Some(path) = &args.checkpoint {
            checkpoint::save(path, &training, &data.hash)?;
        }
    }
    let weights = training.result().clone();
    let scores = scores(&weights, &data, out)?;
    if let Some(folder) = &args.plots {
        plots::run(folder, &training.progress().epochs)?;
        plots::forecasts(folder, &weights, &data.judged)?;
    }
    let card = Card {
        seed: recipe.seed,
        epochs: u32::try_from(training.progress().epochs.len())?,
        recipe: serde_json::to_value(recipe)?,
        data: data.sets,
        scores,
        ..Card::of(recipe.sizes())
    };
    let precision = if args.half { Precision::Half } else { Precision::Full };
    let bytes = Bundle { card, weights }.to_bytes(precision)?;
    fs::write(&args.out, &bytes).with_context(|| format!("write {}", args.out.display()))?;
    writeln!(out, "{}: {} bytes", args.out.display(), bytes.len())?;
    Ok(())
}

/// A run that is gone on with, or one that begins.
fn begin(args: &ForecasterArgs, recipe: Recipe, data: &Data) -> anyhow::Result<Training> {
    if let Some(path) = &args.checkpoint {
        if let Some(training) = checkpoint::load(path, &recipe, &data.hash)? {
            return Ok(training);
        }
        anyhow::ensure!(!args.resume, "--resume: there is no checkpoint {}", path.display());
    }
    let Some(path) = &args.from else { return Ok(Training::begin(recipe, recipe.first_weights()?)) };
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let bundle = Bundle::from_bytes(&bytes).with_context(|| path.display().to_string())?;
    let (found, needed) = (bundle.weights.sizes(), recipe.sizes());
    anyhow::ensure!(found == needed, "{}: {found:?} found, {needed:?} is asked for", path.display());
    Ok(Training::begin(recipe, bundle.weights))
}

/// One line that is written over and over, for a person who looks on.
fn live(step: &Step) {
    let mut terminal = std::io::stderr();
    let (done, all) = step.chunks;
    if terminal.is_terminal() && (done.is_multiple_of(10) || done == all) {
        let end = if done == all { "\n" } else { "" };
        let line = format!(
            "\repoch {} {done}/{all} loss {:.4} rate {:.6} {} slots{end}",
            step.epoch, step.loss, step.rate, step.slots
        );
        // Nothing depends on what a terminal that has gone away would have shown.
        drop(terminal.write_all(line.as_bytes()));
    }
}

/// How good the network is on what was held out.
fn scores(weights: &Weights, data: &Data, out: &mut dyn Write) -> anyhow::Result<Vec<Score>> {
    let network = Network::new(weights, Threads::One);
    let mut scores = Vec::new();
    for (kind, judged) in data.judged.iter().filter(|(_, judged)| !judged.histories.is_empty()) {
        let tallies = judge::pooled(&judge::judge(&network, &judged.histories, &judged.origins));
        scores.extend(judge::scores(kind, &tallies));
    }
    for score in &scores {
        writeln!(
            out,
            "{:<10} {:<8} {:<7} MAE {:>7.3}  pinball .9 {:>6.3}  coverage .95 {:>5.1} %",
            score.set, score.resource, score.target, score.mae, score.pinball_90, score.coverage_95
        )?;
    }
    Ok(scores)
}
