//! Loads one scheduler with many hosts: synthetic agents over real gRPC, each with its own connection.
//!
//! Starts the scheduler it is given as a process of its own, so that its CPU time and memory are its alone, and prints
//! what it saw as one JSON object. Not a test: it has no opinion on the figures.
//!
//! `cargo run --release -p ballast-tests --bin load -- --scheduler target/release/ballast-scheduler --hosts 1000`
//!
//! With `--flood 50` over TLS, and measured by turns: as above, and while one more host sends fifty times as often as the others.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // what it is for

mod agents;
mod flood;
mod observed;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use ballast_daemon::{
    clock::Clock,
    tls::{Role, TlsFiles},
};
use ballast_proto::v1::{self, operator_client::OperatorClient};
use ballast_scheduler::metrics::names;
use ballast_tests::scripted::secure;
use clap::Parser;
use serde::Serialize;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use agents::{Acks, Agent};
use observed::Observed;

/// Loads one scheduler with many hosts and says how it fares.
#[derive(Debug, Parser)]
struct Args {
    /// The scheduler's program.
    #[arg(long)]
    scheduler: PathBuf,
    /// Hosts.
    #[arg(long, default_value_t = 1000)]
    hosts: usize,
    /// Vms on each host.
    #[arg(long, default_value_t = 30)]
    vms: usize,
    /// Time between two batches of a host.
    #[arg(long, default_value_t = 5.0)]
    period_seconds: f64,
    /// Time that is measured, once every host is connected and has sent.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Mode the scheduler is in.
    #[arg(long, default_value = "recommend")]
    mode: String,
    /// How many times as often one more host sends, in every second measurement.
    #[arg(long)]
    flood: Option<f64>,
    /// Measurements without and with that, by turns, so that whatever else the machine does falls on both.
    #[arg(long, default_value_t = 6)]
    rounds: u32,
    /// Show what the scheduler logs.
    #[arg(long)]
    verbose: bool,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    hosts: usize,
    vms_per_host: usize,
    period_seconds: f64,
    measured_seconds: f64,
    batches: usize,
    batches_per_second: f64,
    vm_samples_per_second: f64,
    unacknowledged: usize,
    ack_p50_millis: f64,
    ack_p99_millis: f64,
    ack_worst_millis: f64,
    scheduler_cpu_cores: f64,
    scheduler_resident_mib: f64,
    scheduler_resident_peak_mib: f64,
    newest_round_millis: f64,
    list_hosts_millis: f64,
    list_vms_of_a_host_millis: f64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.hosts > 0 && args.period_seconds > 0.0 && args.seconds > 0.0, "at least something is needed of each");
    let how = (args.flood.is_some(), args.verbose);
    let scheduler = Observed::start(&args.scheduler, args.period_seconds, &args.mode, how).await?;
    let clock = Clock::system();
    let acks = Arc::new(Acks::default());
    let mut agents = JoinSet::new();
    for number in 0..args.hosts {
        let tls = certificate(&scheduler, Role::Agent, &agents::host_name(number))?;
        let agent = Agent::new(number, args.vms, Duration::from_secs_f64(args.period_seconds), tls)?;
        agents.spawn(agent.run(scheduler.address, args.hosts, clock.clone(), Arc::clone(&acks)));
    }
    let Some(factor) = args.flood else {
        let report = measure(&args, &scheduler, &clock, &acks, &mut agents).await?;
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    };
    let mut flooded = flood::Flooded::new(factor);
    for _ in 0..args.rounds {
        flooded.quiet.push(measure(&args, &scheduler, &clock, &acks, &mut agents).await?);
        let flood = flood::begin(&args, factor, &scheduler, &clock)?;
        flooded.flooded.push(measure(&args, &scheduler, &clock, &acks, &mut agents).await?);
        flooded.flood_batches += flood.sent();
    }
    println!("{}", serde_json::to_string_pretty(&flooded.compared())?);
    Ok(())
}

/// A certificate of the scheduler's authority, where it has one.
fn certificate(scheduler: &Observed, role: Role, name: &str) -> Result<Option<TlsFiles>> {
    scheduler.authority.as_ref().map(|authority| authority.issue(role, name, None)).transpose()
}

/// Waits until every host is connected, then watches for as long as was asked.
async fn measure(
    args: &Args,
    scheduler: &Observed,
    clock: &Clock,
    acks: &Acks,
    agents: &mut JoinSet<Result<()>>,
) -> Result<Report> {
    let warm_up = Duration::from_secs_f64(args.period_seconds * 2.0 + 2.0);
    unless_one_fails(agents, clock.sleep(warm_up)).await?;
    acks.clear();
    let (cpu, at) = (scheduler.cpu_seconds()?, clock.elapsed());
    unless_one_fails(agents, clock.sleep(Duration::from_secs_f64(args.seconds))).await?;
    let span = (clock.elapsed() - at).as_secs_f64();
    let cores = (scheduler.cpu_seconds()? - cpu) / span;
    let (delays, unacknowledged) = acks.taken();
    let (resident, peak) = scheduler.resident_mib()?;
    let (list_hosts, list_vms) = ask(scheduler, clock).await?;
    let per_second = delays.len() as f64 / span;
    Ok(Report {
        hosts: args.hosts,
        vms_per_host: args.vms,
        period_seconds: args.period_seconds,
        measured_seconds: span,
        batches: delays.len(),
        batches_per_second: per_second,
        vm_samples_per_second: per_second * args.vms as f64,
        unacknowledged,
        ack_p50_millis: quantile(&delays, 0.5),
        ack_p99_millis: quantile(&delays, 0.99),
        ack_worst_millis: quantile(&delays, 1.0),
        scheduler_cpu_cores: cores,
        scheduler_resident_mib: resident,
        scheduler_resident_peak_mib: peak,
        newest_round_millis: scheduler.metric(names::ROUND_SECONDS).await? * 1000.0,
        list_hosts_millis: list_hosts,
        list_vms_of_a_host_millis: list_vms,
    })
}

/// Waits for `future`; an agent that ends before it is a failed measurement.
async fn unless_one_fails(agents: &mut JoinSet<Result<()>>, future: impl Future<Output = ()>) -> Result<()> {
    tokio::select! {
        () = future => Ok(()),
        Some(ended) = agents.join_next() => {
            ended??;
            anyhow::bail!("an agent ended before its time")
        }
    }
}

/// How long an operator waits for an answer meanwhile, in milliseconds.
async fn ask(scheduler: &Observed, clock: &Clock) -> Result<(f64, f64)> {
    let address = scheduler.address;
    let channel = match certificate(scheduler, Role::Operator, "load")? {
        Some(files) => secure(&files, &address.to_string()).await?,
        None => Channel::from_shared(format!("http://{address}"))?.connect().await?,
    };
    let mut client = OperatorClient::new(channel).max_decoding_message_size(256 << 20);
    let began = clock.elapsed();
    client.list_hosts(v1::ListHostsRequest {}).await.context("ListHosts")?;
    let between = clock.elapsed();
    client.list_vms(v1::ListVmsRequest { host: agents::host_name(0) }).await.context("ListVms")?;
    let millis = |span: Duration| span.as_secs_f64() * 1000.0;
    Ok((millis(between - began), millis(clock.elapsed() - between)))
}

/// The quantile of sorted values; zero of none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // between 0 and the length
    let index = ((sorted.len().saturating_sub(1)) as f64 * share).round() as usize;
    sorted.get(index).copied().unwrap_or(0.0)
}
