//! How well the cost of a migration is known beforehand: real vms that write memory at commanded rates are moved to and fro
//! between two real libvirt hosts, and what each copy was reckoned with stands beside what it took.
//!
//!     cargo build -p ballast-agent -p ballast-scheduler
//!     cargo run -p ballast-tests --bin migration-cost -- [--moves 60] [--out FILE.csv]
//!
//! Needs root and what `tests/lab/lab.sh deps` installs. The first half of the moves is what the scheduler learns from, the
//! second half is judged. Beside it stands the usual rule, memory ÷ bandwidth, with the bandwidth that the first half reached.

#![forbid(unsafe_code)]

mod moves;
mod report;

use std::{io::Write as _, path::PathBuf};

use anyhow::{Context, Result};
use ballast_tests::{
    lab::{self, Lab},
    lab_fleet::LabFleet,
};
use clap::Parser;

/// Moves vms of the lab to and fro and compares what their copies took with what was reckoned.
#[derive(Debug, Parser)]
struct Args {
    /// Moves that count; one more of each vm follows every change of what it writes, and does not.
    #[arg(long, default_value_t = 60)]
    moves: usize,
    /// A row per move.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(why) = lab::lacks() {
        anyhow::bail!("no lab on this machine: {why}");
    }
    let lab = Lab::up(2)?;
    let vms = moves::start_vms(&lab)?;
    let fleet = LabFleet::start(lab, 2, "recommend")?;
    let operator = fleet.operator().await?;
    fleet.trusted(&operator, 2).await?;
    let moved = moves::run(&fleet, operator, &vms, args.moves).await?;
    if let Some(path) = &args.out {
        std::fs::write(path, report::csv(&moved)).with_context(|| format!("write {}", path.display()))?;
    }
    let mut out = std::io::stdout();
    out.write_all(report::table(&moved).as_bytes())?;
    vms.iter().try_for_each(|vm| fleet.lab.is_whole(vm.name))
}
