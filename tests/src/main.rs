//! Long runs of what the tests do in short: `ballast-tests simulate --seeds 0..10000`.

#![forbid(unsafe_code)]

use std::{
    collections::BTreeMap,
    fmt::Display,
    ops::Range,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use ballast_daemon::clock::Clock;
use ballast_tests::{
    drill::{self, Victim},
    simulation::{Options, Report, play},
};
use clap::{Args, Parser, Subcommand};

/// The harness of ballast's tests.
#[derive(Debug, Parser)]
#[command(name = "ballast-tests", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plays seeds of the deterministic simulation; fails where a promise is broken.
    Simulate(Simulate),
    /// Writes what a coverage-guided fuzzer begins from: a folder for each reader, with its seeds.
    Seeds {
        /// Where to.
        out: PathBuf,
    },
    /// Kills agents, the scheduler and libvirtd while real vms move between the lab's hosts; fails where one is lost, doubled or
    /// not whole. Needs root, what `tests/lab/lab.sh deps` installs, and the daemons built beside it.
    Drill(Drill),
}

#[derive(Debug, Args)]
struct Drill {
    /// Chooses the moments, the sides and the ways of the vms.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Kills of each victim.
    #[arg(long, default_value_t = 30)]
    kills: usize,
    /// Who is killed.
    #[arg(long, value_delimiter = ',', default_value = "agent,scheduler,libvirtd")]
    victims: Vec<Victim>,
}

#[derive(Debug, Args)]
struct Simulate {
    /// The seeds, as FIRST..END, the end left out; or a single one.
    #[arg(long, value_parser = seeds)]
    seeds: Range<u64>,
    /// Simulated seconds of each run; the last 64 are quiet.
    #[arg(long, default_value_t = 180)]
    seconds: u64,
    /// Runs at a time; each has a thread.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Prints the hash of every run.
    #[arg(long)]
    hashes: bool,
    /// Prints every line of each run's trace.
    #[arg(long)]
    trace: bool,
    /// Shows what the daemons log, as `info` or `ballast_scheduler=debug`.
    #[arg(long)]
    log: Option<String>,
    /// Plants a bug, or each of them in turn with `all`, and says which seed finds it.
    #[cfg(feature = "planted")]
    #[arg(long)]
    planted: Option<String>,
}

fn seeds(text: &str) -> Result<Range<u64>> {
    match text.split_once("..") {
        Some((first, end)) => Ok(first.parse()?..end.parse()?),
        None => text.parse().map(|seed: u64| seed..seed.saturating_add(1)).context("a seed or FIRST..END is needed"),
    }
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Simulate(args) => simulate(&args),
        Command::Seeds { out } => seeds_for_fuzzing(&out).map(|()| true),
        Command::Drill(args) => drill(args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(format_args!("{error:#}"));
            ExitCode::from(2)
        }
    }
}

fn seeds_for_fuzzing(out: &Path) -> Result<()> {
    for target in ballast_tests::fuzz::TARGETS {
        let folder = out.join(target.name);
        std::fs::create_dir_all(&folder)?;
        for (number, seed) in (target.seeds)()?.into_iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}

#[allow(clippy::print_stdout)] // What is printed is what the program is for.
fn say(line: impl Display) {
    println!("{line}");
}

fn drill(args: Drill) -> Result<bool> {
    let Drill { seed, kills, victims } = args;
    let began = Clock::system();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let tell = |line: &dyn Display| say(format_args!("{:6.1} {line}", began.elapsed().as_secs_f64()));
    let report = runtime.block_on(drill::run(&drill::Options { seed, kills, victims }, &tell))?;
    say(format_args!("seed {seed}, {:.0} s\n{report}", began.elapsed().as_secs_f64()));
    Ok(report.broken().is_empty())
}

fn simulate(args: &Simulate) -> Result<bool> {
    if let Some(filter) = &args.log {
        ballast_daemon::logging::init(filter);
    }
    let options = Options { span: Duration::from_secs(args.seconds), keeps_trace: args.trace, ..Options::default() };
    #[cfg(feature = "planted")]
    if let Some(name) = &args.planted {
        return plant(name, args, &options);
    }
    let began = Clock::system();
    let total = sweep(args, &options)?;
    let (runs, took) = (args.seeds.end.saturating_sub(args.seeds.start), began.elapsed().as_secs_f64());
    #[allow(clippy::cast_precision_loss)] // For people.
    let speed = (runs * args.seconds) as f64 / took;
    say(format_args!(
        "{runs} runs of {} s, {} broken; {took:.0} s, {speed:.0} simulated seconds per second",
        args.seconds,
        total.broken.len()
    ));
    say(format_args!("{} commands, {} migrations begun", total.commands, total.migrations));
    total.faults.iter().for_each(|(kind, times)| say(format_args!("{times:8} {kind}")));
    Ok(total.broken.is_empty())
}

/// What many runs came to.
#[derive(Debug, Default)]
struct Total {
    broken: Vec<u64>,
    faults: BTreeMap<&'static str, u64>,
    commands: u64,
    migrations: u64,
}

fn sweep(args: &Simulate, options: &Options) -> Result<Total> {
    let (next, total) = (AtomicU64::new(args.seeds.start), Mutex::new(Total::default()));
    std::thread::scope(|scope| {
        let worker = || -> Result<()> {
            loop {
                let seed = next.fetch_add(1, Relaxed);
                if seed >= args.seeds.end {
                    return Ok(());
                }
                let report = play(seed, options)?;
                tell(&report, args);
                total.lock().unwrap_or_else(PoisonError::into_inner).add(&report);
            }
        };
        let workers: Vec<_> = (0..args.jobs.max(1)).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(outcome) => outcome,
            Err(_) => anyhow::bail!("a run panicked"),
        })
    })?;
    Ok(total.into_inner().unwrap_or_else(PoisonError::into_inner))
}

impl Total {
    fn add(&mut self, report: &Report) {
        self.broken.extend((!report.broken.is_empty()).then_some(report.seed));
        (self.commands, self.migrations) = (self.commands + report.commands, self.migrations + report.migrations);
        report.faults.iter().for_each(|(kind, times)| *self.faults.entry(kind).or_default() += times);
    }
}

fn tell(report: &Report, args: &Simulate) {
    if args.trace {
        say(&report.trace);
    }
    if args.hashes {
        say(format_args!("seed {} {}", report.seed, report.hash));
    }
    if !report.broken.is_empty() {
        say(format_args!("seed {} broke what was promised:", report.seed));
        report.broken.iter().for_each(|what| say(format_args!("    {what}")));
        say(format_args!("  again: ballast-tests simulate --seeds {} --seconds {} --trace", report.seed, args.seconds));
    }
}

/// Plants bugs and says which seed finds each.
#[cfg(feature = "planted")]
fn plant(name: &str, args: &Simulate, options: &Options) -> Result<bool> {
    use ballast_tests::simulation::planted::{Bug, Bugs};

    let wanted: Vec<Bug> = Bug::ALL.iter().copied().filter(|bug| name == "all" || bug.name() == name).collect();
    anyhow::ensure!(!wanted.is_empty(), "no bug is named {name}");
    let mut all_found = true;
    for bug in wanted {
        let mut found = None;
        for seed in args.seeds.clone() {
            let report = play(seed, &Options { bugs: Bugs::planted(bug), ..options.clone() })?;
            if args.trace {
                say(&report.trace);
            }
            if let Some(first) = report.broken.first() {
                found = Some((seed - args.seeds.start + 1, first.clone()));
                break;
            }
        }
        all_found &= found.is_some();
        match found {
            Some((seeds, how)) => say(format_args!("{:24} {seeds:4}  {how}", bug.name())),
            None => say(format_args!("{:24}    -  not found", bug.name())),
        }
    }
    Ok(all_found)
}
