//! `ballast demo`: a scheduler and a fleet of simulated hosts in one process, without libvirt, faster than real time.
//!
//! Scheduler and agents are the real ones and talk gRPC on loopback; only what lies below the agents is simulated
//! (`ballast-sim`, demand from recorded traces), and time is driven. [`stage`] puts the parts together, [`pace`] moves time,
//! [`news`] tells what happened, [`tui`] or [`plain`] shows it, [`report`] sums up against the same fleet left alone.

mod look;
mod news;
mod pace;
mod plain;
mod report;
mod stage;
mod tui;

use std::{
    io::{IsTerminal, Write},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::Context;
use ballast_daemon::{clock::Clock, logging};
use ballast_sim::{FleetSize, Scenario};

use crate::args::Output;

use look::Look;
use news::Newsroom;
use pace::{Pacer, Speed};
use report::Summary;
use stage::Stage;

/// Speed where somebody watches: twelve hours pass in half a minute, and slowly enough to be seen while a vm moves.
const WATCHED: Speed = Speed { usual: 1800.0, moving: Some(40.0) };

/// Where the operator's tool looks for a scheduler that is not named.
const KNOWN_PORT: u16 = 7070;

/// What the demo can be told.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoArgs {
    /// Number of simulated hosts.
    #[arg(long, default_value_t = 12)]
    hosts: usize,
    /// Number of vms; ten per host if not given.
    #[arg(long)]
    vms: Option<usize>,
    /// Hours of the fleet's time to run.
    #[arg(long, default_value_t = 12.0)]
    hours: f64,
    /// Fleet seconds per second; 0 is as fast as it can. Without it: 0 or, on a terminal, fast with slow motion for moves.
    #[arg(long)]
    speed: Option<f64>,
    /// Seed of the fleet and of every choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds of the fleet's time between two samples of a host.
    #[arg(long, default_value_t = 15)]
    period: u64,
    /// Print one JSON object at the end and nothing else.
    #[arg(long)]
    json: bool,
    /// Go on in real time after the end, so that other commands and any gRPC client can talk to the scheduler.
    #[arg(long)]
    keep_running: bool,
    /// Print lines even on a terminal.
    #[arg(long)]
    no_tui: bool,
    /// Where the scheduler listens. Without it: any free port, with --keep-running port 7070 of 127.0.0.1.
    #[arg(long)]
    listen: Option<SocketAddr>,
}

impl DemoArgs {
    fn fleet(&self) -> anyhow::Result<FleetSize> {
        anyhow::ensure!(
            (0.02..=168.0).contains(&self.hours),
            "--hours {}: 0.02 to 168 (a week) are needed",
            self.hours
        );
        let vms = self.vms.unwrap_or(self.hosts.saturating_mul(10));
        Ok(FleetSize { hosts: self.hosts, vms, duration: Duration::from_secs_f64(self.hours * 3600.0) })
    }

    fn listen(&self) -> SocketAddr {
        let port = if self.keep_running { KNOWN_PORT } else { 0 };
        self.listen.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, port).into())
    }

    fn shows_tui(&self) -> bool {
        std::io::stdout().is_terminal() && !self.json && !self.no_tui
    }

    fn speed(&self) -> anyhow::Result<Speed> {
        if self.speed.is_none() && self.shows_tui() {
            return Ok(WATCHED);
        }
        let usual = self.speed.unwrap_or_default();
        anyhow::ensure!(usual.is_finite() && usual >= 0.0, "--speed {usual}: a number of at least 0 is needed");
        Ok(Speed { usual, moving: None })
    }

    fn period(&self) -> anyhow::Result<Duration> {
        anyhow::ensure!((1..=60).contains(&self.period), "--period {}: 1 to 60 seconds are needed", self.period);
        Ok(Duration::from_secs(self.period))
    }
}

/// Runs the demo; what is not a live view goes to `out`.
///
/// # Errors
/// What kept it from starting, or a part of it that ended before its time.
pub async fn run(args: &DemoArgs, output: Output, out: &mut dyn Write) -> anyhow::Result<()> {
    let args = &DemoArgs { json: args.json || output == Output::Json, ..args.clone() };
    let (size, speed, period) = (args.fleet()?, args.speed()?, args.period()?);
    let scenario = Scenario::fleet(size, args.seed)?;
    if !args.shows_tui() {
        logging::init("error");
    }
    let real = Clock::system();
    let mut stage = Stage::build(&scenario, args.seed, period, args.listen()).await?;
    let mut pacer = Pacer::new(real.clone(), speed, period);
    let mut show = Show::begin(args, &stage, out)?;
    let mut newsroom = Newsroom::new(&stage);
    pacer.warm_up(&mut stage).await?;
    while stage.now() < scenario.end() && !show.is_left()? {
        pacer.step(&mut stage).await?;
        show.tell(&stage, &newsroom.gather(&stage)?, &real)?;
    }
    let summary = Summary::of(&stage, &scenario, args.seed, real.elapsed());
    show.end();
    plain::summary(out, &summary, args.json)?;
    if args.keep_running {
        linger(&mut stage, &mut pacer, args.json, out).await?;
    }
    stage.strike().await
}

/// Goes on in real time until the operator ends it.
async fn linger(stage: &mut Stage, pacer: &mut Pacer, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    // With --json standard output is one object.
    let mut complaints = std::io::stderr();
    plain::address(if json { &mut complaints } else { out }, stage.address())?;
    let second = Duration::from_secs(1);
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            outcome = &mut interrupted => return outcome.context("wait for Ctrl-C"),
            outcome = pacer.pass(stage, second, 1.0) => outcome?,
        }
    }
}

/// How the demo is shown.
enum Show<'a> {
    /// A live view on the terminal.
    Tui(Box<tui::Tui>),
    /// A line for every event.
    Plain(&'a mut dyn Write),
    /// One object at the end.
    Json,
}

impl<'a> Show<'a> {
    fn begin(args: &DemoArgs, stage: &Stage, out: &'a mut dyn Write) -> anyhow::Result<Self> {
        if args.json {
            return Ok(Self::Json);
        }
        if args.shows_tui() {
            return Ok(Self::Tui(Box::new(tui::Tui::open()?)));
        }
        plain::opening(out, stage, args)?;
        Ok(Self::Plain(out))
    }

    fn tell(&mut self, stage: &Stage, news: &[news::News], real: &Clock) -> anyhow::Result<()> {
        match self {
            Self::Tui(tui) => tui.tell(news, real, || Look::at(stage)),
            Self::Plain(out) => news.iter().try_for_each(|news| plain::line(out, news)),
            Self::Json => Ok(()),
        }
    }

    /// True once the watcher has asked to leave.
    fn is_left(&mut self) -> anyhow::Result<bool> {
        if let Self::Tui(tui) = self { tui.is_left() } else { Ok(false) }
    }

    /// Gives the terminal back before anything is printed on it.
    fn end(self) {
        drop(self);
    }
}

#[cfg(test)]
mod tests;
