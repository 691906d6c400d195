//! `forecast-score` by itself, until the command line has it: `cargo run -p ballast-train --example forecast_score -- --help`.

use std::io::stdout;

use ballast_train::score::{ScoreArgs, run};
use clap::Parser;

#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    score: ScoreArgs,
}

fn main() -> anyhow::Result<()> {
    run(&Args::parse().score, &mut stdout().lock())
}
