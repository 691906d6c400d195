//! The agent's program: reads arguments and configuration, runs until it is told to stop.
//!
//! Everything it does is in the library; here are only the command line, the signals and systemd.

#![forbid(unsafe_code)]

mod program;

use std::{path::PathBuf, process::ExitCode};

use ballast_agent::config::{Config, Machine};
use ballast_daemon::{config::File, logging};
use clap::{Parser, Subcommand};

/// A configuration that cannot be used: sysexits' EX_CONFIG, on which the unit does not try again.
const EX_CONFIG: u8 = 78;

/// Watches one host and its vms for ballast, and moves vms away when told to.
#[derive(Debug, Parser)]
#[command(name = "ballast-agent", version)]
struct Args {
    /// The configuration file.
    #[arg(long, global = true, default_value = "/etc/ballast/agent.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watches this host until it is told to stop.
    Run,
    /// Says everything that is wrong with the configuration, or prints it with every default filled in.
    CheckConfig,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match args.command {
        Command::Run => run(&args.config),
        Command::CheckConfig => check_config(&args.config),
    }
}

#[allow(clippy::print_stdout, clippy::print_stderr)] // the command's whole purpose
fn check_config(path: &std::path::Path) -> ExitCode {
    match File::read(path).and_then(|file| Config::from_file(file, &Machine::here(), true)) {
        Ok((config, _)) => {
            println!("{config}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", program::words(&error));
            ExitCode::from(EX_CONFIG)
        }
    }
}

fn run(path: &std::path::Path) -> ExitCode {
    let (config, unknown) = match program::load(path) {
        Ok(loaded) => loaded,
        Err(error) => {
            logging::init("info");
            tracing::error!("{}", program::words(&error));
            return ExitCode::from(EX_CONFIG);
        }
    };
    logging::init(&config.log);
    for problem in unknown {
        tracing::warn!(field = problem.field, "Unknown in the configuration, ignored: {}", problem.expected);
    }
    match program::hold_and_serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(if program::is_of_configuration(&error) { EX_CONFIG } else { 1 })
        }
    }
}
