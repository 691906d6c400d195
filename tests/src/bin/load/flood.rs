//! One more host that sends far more than its share, as fast as the scheduler reads it, and what the others notice of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use ballast_daemon::{clock::Clock, tls::Role};
use ballast_tests::scripted::{ScriptedHost, ScriptedLink};
use serde::Serialize;
use tokio::task::JoinHandle;

use crate::{Args, Report, certificate, observed::Observed, quantile};

const NAME: &str = "flood";

/// What is printed of measurements by turns.
#[derive(Debug, Serialize)]
pub(crate) struct Flooded {
    factor: f64,
    /// Batches of the flood that its links have taken.
    pub(crate) flood_batches: u64,
    /// How the middle one of the flooded measurements compares with the middle one of the others.
    ack_p50_ratio: f64,
    ack_p99_ratio: f64,
    /// Without the flood.
    pub(crate) quiet: Vec<Report>,
    /// With it.
    pub(crate) flooded: Vec<Report>,
}

impl Flooded {
    pub(crate) fn new(factor: f64) -> Self {
        let (quiet, flooded) = (Vec::new(), Vec::new());
        Self { factor, flood_batches: 0, ack_p50_ratio: 0.0, ack_p99_ratio: 0.0, quiet, flooded }
    }

    pub(crate) fn compared(mut self) -> Self {
        let ratio = |of: fn(&Report) -> f64| middle(&self.flooded, of) / middle(&self.quiet, of);
        self.ack_p50_ratio = ratio(|report| report.ack_p50_millis);
        self.ack_p99_ratio = ratio(|report| report.ack_p99_millis);
        self
    }
}

/// The figure in the middle of these reports'.
fn middle(reports: &[Report], of: fn(&Report) -> f64) -> f64 {
    let mut figures: Vec<f64> = reports.iter().map(of).collect();
    figures.sort_by(f64::total_cmp);
    quantile(&figures, 0.5)
}

/// A flood that goes on as long as this lives.
#[derive(Debug)]
pub(crate) struct Flood {
    sent: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Flood {
    /// Batches that its links have taken so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins a flood of batches that come `factor` times as often as an honest host's.
pub(crate) fn begin(args: &Args, factor: f64, scheduler: &Observed, clock: &Clock) -> Result<Flood> {
    let mut host = ScriptedHost::new(NAME)?;
    for vm in 0..args.vms {
        host = host.with_vm(&format!("flood-{vm:02}"), 0.1);
    }
    let files = certificate(scheduler, Role::Agent, NAME)?.context("a flood needs certificates")?;
    let (address, clock, sent) = (scheduler.address.to_string(), clock.clone(), Arc::new(AtomicU64::new(0)));
    let pause = Duration::from_secs_f64(args.period_seconds / factor);
    let count = Arc::clone(&sent);
    let task = tokio::spawn(async move {
        // A link that ends is opened again, as a hostile agent would.
        loop {
            if let Ok(link) = ScriptedLink::open_as(&files, &address, &host).await {
                drop(pour(link, &host, pause, &clock, &count).await);
            }
            clock.sleep(pause).await;
        }
    });
    Ok(Flood { sent, task })
}

/// Sends until the link ends. What is due and the link does not take is sent later, so that the rate is kept.
async fn pour(
    mut link: ScriptedLink,
    host: &ScriptedHost,
    pause: Duration,
    clock: &Clock,
    sent: &AtomicU64,
) -> Result<()> {
    let (mut seq, began) = (0_u32, clock.elapsed());
    loop {
        tokio::select! {
            () = clock.sleep_until(began + pause * seq) => {
                seq += 1;
                link.batch(host.batch(u64::from(seq), clock.now())).await?;
                sent.fetch_add(1, Relaxed);
            }
            message = link.next() => drop(message?),
        }
    }
}
