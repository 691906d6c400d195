//! `forecast-score`: how good the forecaster is, and everything that it is compared with, on vms and days that none of them has
//! seen.

mod compare;
mod report;
mod table;
#[cfg(test)]
mod tests;

use std::{fs, io::Write, path::PathBuf};

use anyhow::Context as _;
use ballast_core::history::History;
use ballast_models::{bundle::Bundle, kernel::threads::Threads, network::Network, predictor::Predictor};

pub use compare::{Difference, Pair, Resampling, blocks};
pub use report::{Against, Line, Measure, Panel, Report, Share};

use crate::{
    baselines::{Effort, Material, Method, Trainer},
    data::folder,
    judge::judge,
    split::{Judged, Parts, Split},
};

/// Judges forecasters on recordings.
#[derive(Debug, Clone, clap::Args)]
pub struct ScoreArgs {
    /// Recordings, or folders with recordings.
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    pub data: Vec<PathBuf>,
    /// Names of the vms and days that are judged and never trained on, one per line.
    #[arg(long, required = true, value_name = "FILE")]
    pub hold_out: Vec<PathBuf>,
    /// Slot from which on long recordings are judged; what goes before is trained on.
    #[arg(long, default_value_t = 12_960, value_name = "STEP")]
    pub until: u32,
    /// Methods to compare with.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Method::ALL)]
    pub methods: Vec<Method>,
    /// Bundles to judge besides.
    #[arg(long, value_name = "FILE")]
    pub bundle: Vec<PathBuf>,
    /// Name of the method that all are set against; the first bundle where there is one.
    #[arg(long, value_name = "NAME")]
    pub against: Option<String>,
    /// Weight of histories of a day or less in training; that of longer ones is 1.
    #[arg(long, default_value_t = 0.5, value_name = "WEIGHT")]
    pub short_weight: f32,
    /// Seed of all that is drawn.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Writes JSON.
    #[arg(long, conflicts_with = "markdown")]
    pub json: bool,
    /// Writes tables in Markdown.
    #[arg(long)]
    pub markdown: bool,
}

/// A method under the name that tables show.
struct Named {
    name: String,
    predictor: Box<dyn Predictor>,
}

/// Trains, judges, and writes what came of it to `out`.
///
/// # Errors
/// Where a file cannot be read or has nothing to judge, or `out` does not take the report.
pub fn run(args: &ScoreArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let report = score(args, Effort::default())?;
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &report).context("write the report")?;
        writeln!(out).context("write the report")
    } else {
        table::write(&report, args.markdown, out).context("write the report")
    }
}

/// The report itself, with so much effort for the methods that are compared with.
///
/// # Errors
/// As [`run`].
pub fn score(args: &ScoreArgs, effort: Effort) -> anyhow::Result<Report> {
    let recordings = recordings(args)?;
    let methods = methods(args, &recordings, effort)?;
    let reference = reference(args, &methods)?;
    let mut panels = Vec::new();
    for Recording { kind, judged, .. } in &recordings {
        let said = methods.iter().map(|method| {
            let tallies = judge(method.predictor.as_ref(), &judged.histories, &judged.origins);
            report::Said { name: &method.name, tallies }
        });
        let said: Vec<_> = said.collect();
        panels.extend(report::panels(kind, judged, &said, &reference, args.seed));
    }
    Ok(Report { seed: args.seed, until: args.until, reference, panels })
}

/// One kind of recording, split.
struct Recording {
    kind: &'static str,
    training: Vec<History>,
    judged: Judged,
}

fn recordings(args: &ScoreArgs) -> anyhow::Result<Vec<Recording>> {
    let mut split = Split { until: Some(args.until), ..Split::default() };
    for path in &args.hold_out {
        let held = Split::read(Some(path), None)?.held;
        anyhow::ensure!(!held.is_empty(), "{}: no name of a vm or a day is there", path.display());
        split.held.extend(held);
    }
    let recordings = folder::read_all(&args.data)?.into_iter().map(|recorded| {
        let kind = recorded.kind;
        let Parts { training, judged, .. } = split.parts(recorded, 0);
        Recording { kind, training, judged }
    });
    let recordings: Vec<Recording> = recordings.collect();
    let judged = recordings.iter().any(|recording| !recording.judged.histories.is_empty());
    anyhow::ensure!(judged, "nothing to judge: none of the vms and days held out is there from slot {} on", args.until);
    Ok(recordings)
}

fn methods(args: &ScoreArgs, recordings: &[Recording], effort: Effort) -> anyhow::Result<Vec<Named>> {
    let histories: Vec<&[History]> = recordings.iter().map(|recording| recording.training.as_slice()).collect();
    let material = Material { histories: &histories, short_weight: args.short_weight };
    let mut trainer = Trainer::new(material, effort, args.seed);
    let mut methods = Vec::new();
    for method in &args.methods {
        let predictor = trainer.train(*method).with_context(|| format!("train {method:?}"))?;
        methods.push(Named { name: predictor.name().to_owned(), predictor });
    }
    for path in &args.bundle {
        let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let bundle = Bundle::from_bytes(&bytes).with_context(|| path.display().to_string())?;
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        methods.push(Named { name: stem, predictor: Box::new(Network::new(&bundle.weights, Threads::One)) });
    }
    Ok(methods)
}

/// The method that all are set against: the one that was asked for, the first bundle, the own window, or the first of all.
fn reference(args: &ScoreArgs, methods: &[Named]) -> anyhow::Result<String> {
    let known = || methods.iter().map(|method| method.name.as_str());
    if let Some(name) = &args.against {
        let names = known().collect::<Vec<_>>().join(", ");
        anyhow::ensure!(known().any(|known| known == name), "--against {name}: there are {names}");
        return Ok(name.clone());
    }
    let bundle = methods.get(args.methods.len());
    let usual = methods.iter().find(|method| method.name == "own-window");
    let chosen = bundle.or(usual).or(methods.first());
    chosen.map(|method| method.name.clone()).context("no method to judge: --methods or --bundle names them")
}
