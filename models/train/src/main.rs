//! `ballast-train`: offline training and judging of ballast's models.

#![forbid(unsafe_code)]

use std::time::Duration;

use ballast_train::{
    command::{self, ForecasterArgs},
    policy::{
        self, PolicyArgs,
        tabular::{self, TableArgs},
        transfer::{self, TransferArgs},
    },
    score::{self, ScoreArgs},
    speed::{self, SpeedArgs},
};
use clap::{Parser, Subcommand};
use rustix::time::{ClockId, clock_gettime};

/// Trains and judges ballast's models, away from any fleet.
#[derive(Debug, Parser)]
#[command(name = "ballast-train", version, disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Trains the forecaster on recordings and writes a bundle.
    Forecaster(Box<ForecasterArgs>),
    /// Judges bundles beside simple rules and trained methods, on vms and days that none was trained on.
    ForecastScore(ScoreArgs),
    /// Trains the policy on small fleets drawn from recorded days and writes a bundle.
    Policy(PolicyArgs),
    /// Learns the table of the slow loop on the same fleets.
    QTable(TableArgs),
    /// Measures how soon networks are good on a fleet that is new to them.
    Transfer(Box<TransferArgs>),
    /// Measures how fast this machine's devices train the forecaster.
    Speed(SpeedArgs),
}

fn main() -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    match Args::parse().command {
        Command::Forecaster(args) => command::run(&args, &mut out),
        Command::ForecastScore(args) => score::run(&args, &mut out),
        Command::Policy(args) => policy::run(&args, &mut out),
        Command::QTable(args) => tabular::run(&args, &mut out),
        Command::Transfer(args) => transfer::run(&args, &mut out),
        Command::Speed(args) => speed::run(&args, &since_boot, &mut out),
    }
}

fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    // Neither is negative, and the second is below a thousand million.
    Duration::new(now.tv_sec.try_into().unwrap_or_default(), now.tv_nsec.try_into().unwrap_or_default())
}
