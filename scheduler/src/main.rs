//! The scheduler's program: reads arguments and configuration, runs until it is told to stop.
//!
//! Everything it does is in the library; here are only the command line, the signals and systemd.

#![forbid(unsafe_code)]

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Context;
use ballast_daemon::{
    clock::Clock,
    config::{ConfigError, Problem},
    held::HeldDir,
    logging, notify,
};
use ballast_scheduler::{
    Scheduler, SchedulerError,
    config::{Config, Strictness},
    engine::EngineError,
    export, health,
};
use clap::{Parser, Subcommand};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing::{error, info, warn};

/// A configuration that cannot be used: sysexits' EX_CONFIG, on which the unit does not try again.
const EX_CONFIG: u8 = 78;

/// Keeps a fleet of libvirt hosts level: takes in telemetry, decides, and commands live migrations.
#[derive(Debug, Parser)]
#[command(name = "ballast-scheduler", version)]
struct Args {
    /// The configuration file.
    #[arg(long, global = true, default_value = "/etc/ballast/scheduler.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves agents and operators.
    Run,
    /// Says everything that is wrong with the configuration, or prints it with every default filled in.
    CheckConfig,
    /// Prints recorded telemetry as CSV: one line per host and per vm of every batch.
    Export {
        /// Segments of the telemetry log, as they lie in `telemetry/` of the data directory.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    match args.command {
        Command::Run => run(&args.config),
        Command::CheckConfig => check_config(&args.config),
        Command::Export { files } => export(&files),
    }
}

#[allow(clippy::print_stdout, clippy::print_stderr)] // the command's whole purpose
fn check_config(path: &std::path::Path) -> ExitCode {
    let checked = Config::load(path, Strictness::Strict).map_err(|error| complaint(&error));
    match checked.and_then(|(config, _)| config.to_toml().map_err(|error| error.to_string())) {
        Ok(resolved) => {
            print!("{resolved}");
            ExitCode::SUCCESS
        }
        Err(complaint) => {
            eprintln!("{complaint}");
            ExitCode::from(EX_CONFIG)
        }
    }
}

#[allow(clippy::print_stderr)] // standard output is the lines
fn export(files: &[PathBuf]) -> ExitCode {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut print = || -> anyhow::Result<()> {
        writeln!(out, "{}", export::HEADER)?;
        files.iter().try_for_each(|file| export::csv(file, &mut out).map(drop))?;
        Ok(out.flush()?)
    };
    match print() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(path: &std::path::Path) -> ExitCode {
    let (config, unknown) = match Config::load(path, Strictness::AsStarted) {
        Ok(loaded) => loaded,
        Err(error) => {
            logging::init("info");
            error!("{}", complaint(&error));
            return ExitCode::from(EX_CONFIG);
        }
    };
    logging::init(&config.log_filter);
    warn_of(&unknown);
    match hold_and_serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error:#}");
            ExitCode::from(if is_of_configuration(&error) { EX_CONFIG } else { 1 })
        }
    }
}

/// The error with its cause, on one line or, for many problems, one line each.
fn complaint(error: &ConfigError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn warn_of(unknown: &[Problem]) {
    for problem in unknown {
        warn!(field = problem.field, "Unknown in the configuration, ignored: {}", problem.expected);
    }
}

fn is_of_configuration(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(SchedulerError::Engine(EngineError::UnknownPolicy { .. }) | SchedulerError::Tls(_))
    )
}

/// Nothing of the data directory is opened before it is this process's alone, and it stays so until the last thread is gone.
fn hold_and_serve(config: Config) -> anyhow::Result<()> {
    let _held = HeldDir::take(&config.engine.data_dir)?;
    serve(config)
}

#[tokio::main]
async fn serve(config: Config) -> anyhow::Result<()> {
    info!(version = env!("CARGO_PKG_VERSION"), data_dir = %config.engine.data_dir.display(), "Starting");
    let listener = bind(config.listen).await?;
    let metrics_listener = match config.metrics_listen {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    if !config.engine.migration_tls {
        warn!("migration_tls = false: the memory of every vm that moves goes over the network in plain");
    }
    let stop = stop_signal()?;
    let hangups = signal(SignalKind::hangup()).context("watch for SIGHUP")?;
    let scheduler = Scheduler::start(config, Clock::system()).await?;
    notify::ready("Waiting for agents");
    let watchdog = tokio::spawn(watch(scheduler.engine(), scheduler.metrics()));
    let reloads = tokio::spawn(reload(scheduler.engine(), hangups));
    let outcome = scheduler.serve(listener, metrics_listener, stop).await;
    watchdog.abort();
    reloads.abort();
    Ok(outcome?)
}

async fn bind(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))
}

/// Resolves at the first SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("watch for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => info!("SIGTERM: stopping"),
            _ = int.recv() => info!("SIGINT: stopping"),
        }
        notify::stopping();
    })
}

/// Loads the forecaster's model anew at every SIGHUP; the engine logs what came of it.
async fn reload(engine: ballast_scheduler::engine::Engine, mut hangups: tokio::signal::unix::Signal) {
    while hangups.recv().await.is_some() {
        info!("SIGHUP: loading the model anew");
        engine.reload_model().await;
    }
}

/// Tells systemd that the scheduler is alive, only while the engine's tasks turn, and what it is doing.
async fn watch(
    engine: ballast_scheduler::engine::Engine,
    metrics: std::sync::Arc<ballast_scheduler::metrics::Metrics>,
) {
    let mut beat = engine.clock().interval(notify::watchdog_period().unwrap_or(engine.settings().period));
    loop {
        beat.tick().await;
        if engine.is_alive() {
            notify::alive();
        }
        if let Some(look) = metrics.newest() {
            notify::status(&health::line(&look));
        }
    }
}
