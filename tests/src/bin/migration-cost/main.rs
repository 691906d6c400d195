//! How well the cost of a migration is known beforehand: real vms that write memory at commanded rates are moved to and fro
//! between two real libvirt hosts, and what each copy was reckoned with stands beside what it took.
//!
//!     cargo build -p ballast-agent -p ballast-scheduler
//!     cargo run -p ballast-tests --bin migration-cost -- [--moves 60] [--link MBIT] [--out FILE.csv]
//!     cargo run -p ballast-tests --bin migration-cost -- --by-turns 24 [--out FILE.csv]
//!
//! Needs root and what `tests/lab/lab.sh deps` installs. The first half of the moves is what the scheduler learns from, the
//! second half is judged. With `--link` the hosts' cables carry no more than that, so that copies last, and two more vms write more
//! than they carry: their copies cannot converge, which is to be foretold, and they are to be given up in time. Beside it stands the usual rule, memory ÷ bandwidth, with the bandwidth that the first half reached.
//! With `--by-turns` the same vms are moved by `virsh` as well: what ballast adds to a migration.

#![forbid(unsafe_code)]

mod moves;
mod report;
mod scene;
mod turns;

use std::{io::Write as _, path::PathBuf};

use anyhow::{Context, Result};
use ballast_tests::{
    lab::{self, Lab},
    lab_fleet::{LabFleet, Terms},
};
use clap::Parser;

use moves::Run;
use scene::{Scene, Vm};

/// Moves vms of the lab to and fro and compares what their copies took with what was reckoned.
#[derive(Debug, Parser)]
struct Args {
    /// Moves that count; one more of each vm follows every change of what it writes, and does not.
    #[arg(long, default_value_t = 60)]
    moves: usize,
    /// Megabits per second that a host can send; as much as the machine gives where it is not said.
    #[arg(long, value_name = "MBIT")]
    link: Option<u32>,
    /// Moves vms so many times each by turns through ballast and by `virsh migrate`, and compares what both took.
    #[arg(long, value_name = "MOVES", conflicts_with_all = ["moves", "link"])]
    by_turns: Option<usize>,
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
    let scene = Scene::over(args.link);
    let lab = Lab::up(2)?;
    scene.start(&lab)?;
    let terms = Terms { memory_mib: scene.memory_mib(), ..Terms::plain("recommend") };
    let fleet = LabFleet::start_on(lab, 2, &terms)?;
    let operator = fleet.operator().await?;
    fleet.trusted(&operator, 2).await?;
    let (rows, told) = match args.by_turns {
        Some(each) => {
            let took = turns::run(&mut Run::new(&fleet, operator), &scene, each).await?;
            (turns::csv(&took), turns::table(&took))
        }
        None => {
            let came = moves::run(&fleet, operator, &scene, args.moves).await?;
            (report::csv(&came.moved), report::table(&came.moved) + &report::stubborn(&came.stubborn))
        }
    };
    if let Some(path) = &args.out {
        std::fs::write(path, rows).with_context(|| format!("write {}", path.display()))?;
    }
    std::io::stdout().write_all(told.as_bytes())?;
    let is_whole = |vm: &Vm| fleet.lab.is_whole(vm.name);
    if args.by_turns.is_some() {
        turns::writers(&scene).try_for_each(is_whole)
    } else {
        scene.all().try_for_each(is_whole)
    }
}
