//! `ballast score`: policies played on a scenario, beside each other and beside the least that was possible.
//!
//! Asks no scheduler. What is played and counted is `ballast-sim`'s; here are the arguments, the clocks, the files and the
//! table. `docs/scoring.md` says what every figure means.

mod progress;
mod stage;
mod table;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::Write,
    num::NonZero,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use ballast_models::bundle::Bundle;
use ballast_sim::score::{
    board::{self, Board, Plan, Runner, Watch},
    plot,
};
use clap::Args as ClapArgs;
use rustix::time::{ClockId, clock_gettime};

use crate::{args::Output, offline};
use progress::Progress;
use stage::Stage;

/// What to score.
#[derive(Debug, Clone, PartialEq, ClapArgs)]
pub struct ScoreArgs {
    /// The scenario, by name.
    #[arg(long, value_name = "NAME|FILE")]
    pub scenario: String,
    /// Where the traces are that do not come with ballast.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// A day to play, as the scenario names it; may be given again [default: every day].
    #[arg(long = "day", value_name = "YYYYMMDD")]
    pub days: Vec<String>,
    /// Policies to play, separated by commas; `all` stands for every one there is [default: the scenario's own].
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub policies: Vec<String>,
    /// Play N seeds, from the scenario's first on [default: the scenario's own].
    #[arg(long, value_name = "N")]
    pub seeds: Option<u64>,
    /// Threads to play on; figures do not depend on it [default: as many as there are processors].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Settings of the risk knob to play, in standard deviations, for each policy that has one.
    #[arg(long, value_delimiter = ',', value_name = "Z,...")]
    pub risk: Vec<f64>,
    /// Settings of the same knob as shares of five-minute promises to hosts that may be broken: the standard deviations that
    /// takes are measured.
    #[arg(long, value_delimiter = ',', value_name = "SHARE,...")]
    pub alpha: Vec<f64>,
    /// What ballast's own policies forecast by: ewma, lstm (the model that ships), or a bundle's path.
    #[arg(long, default_value = "ewma", value_name = "FORECASTER")]
    pub forecaster: ForecasterArg,
    /// The networks that the policy dqn plays with [default: those that ship].
    #[arg(long, value_name = "FILE")]
    pub policy_bundle: Option<PathBuf>,
    /// The policy that the others are compared with [default: the first].
    #[arg(long, value_name = "POLICY")]
    pub against: Option<String>,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    pub json: bool,
    /// Draw energy against overload to this file.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// A forecaster by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ForecasterArg {
    /// The weighted means that need no model.
    #[default]
    Ewma,
    /// The model that ships.
    Lstm,
    /// A model of the operator's.
    Bundle(PathBuf),
}

impl std::str::FromStr for ForecasterArg {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "ewma" => Self::Ewma,
            "lstm" => Self::Lstm,
            path => Self::Bundle(path.into()),
        })
    }
}

impl ForecasterArg {
    /// The model it names; `None` for the one that needs none.
    fn bundle(&self) -> anyhow::Result<Option<Bundle>> {
        match self {
            Self::Ewma => Ok(None),
            Self::Lstm => offline::named(None).map(Some),
            Self::Bundle(path) => offline::named(Some(path)).map(Some),
        }
    }
}

impl ScoreArgs {
    /// What is to be played of a scenario, whose own choices stand where nothing was typed.
    fn plan(&self, stage: &Stage) -> Plan {
        let policies = match self.policies.as_slice() {
            [] => stage.policies.clone(),
            [all] if all == "all" => stage.runner.policies_known(),
            named => named.to_vec(),
        };
        let first = stage.seeds.first().copied().unwrap_or(1);
        let seeds = self.seeds.map_or_else(|| stage.seeds.clone(), |seeds| (first..first + seeds).collect());
        Plan {
            policies,
            days: self.days.clone(),
            seeds,
            risks: self.risk.clone(),
            alphas: self.alpha.clone(),
            against: self.against.clone(),
            threads: self.threads.unwrap_or_else(processors),
        }
    }
}

/// Scores; the table or the JSON goes to `out`, the picture to its file.
pub(crate) fn run(args: &ScoreArgs, output: Output, out: &mut dyn Write) -> anyhow::Result<()> {
    let bundle = args.policy_bundle.as_deref();
    let stage = stage::open(&args.scenario, args.data.as_deref(), &args.days, &args.forecaster, bundle)?;
    // Opened before anything is played: what cannot be written should not take a night to find out.
    let drawing = args.svg.as_deref().map(|path| Ok::<_, anyhow::Error>((path, create(path)?))).transpose()?;
    let board = play(stage.runner.as_ref(), &args.plan(&stage))?;
    if let Some((path, mut file)) = drawing {
        file.write_all(picture(&board).as_bytes()).with_context(|| refused(path))?;
    }
    if args.json || output == Output::Json {
        serde_json::to_writer_pretty(&mut *out, &board)?;
        writeln!(out)?;
        return Ok(());
    }
    Ok(table::write(&board, out)?)
}

fn create(path: &Path) -> anyhow::Result<File> {
    File::create(path).with_context(|| refused(path))
}

fn refused(path: &Path) -> String {
    format!("write the picture to {}", path.display())
}

fn play(runner: &dyn Runner, plan: &Plan) -> anyhow::Result<Board> {
    let progress = Progress::on_terminal();
    let told = |done, total| progress.tell(done, total);
    let watch = Watch { cpu: &|| clock(ClockId::ThreadCPUTime), wall: &|| clock(ClockId::Monotonic), progress: &told };
    let board = board::score(runner, plan, watch);
    progress.end();
    Ok(board?)
}

fn picture(board: &Board) -> String {
    let title = format!("{}: energy and overload", board.scenario);
    plot::frontier(&title, &board.curves(), &board.limits())
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// What a clock of this machine shows; only for saying how long something took.
fn clock(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}
