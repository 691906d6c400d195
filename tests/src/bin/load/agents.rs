//! Synthetic agents: they send what a real one would send and note when it is acknowledged.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use ballast_daemon::{clock::Clock, tls::TlsFiles};
use ballast_proto::v1::scheduler_message::Message as Down;
use ballast_tests::scripted::{ScriptedHost, ScriptedLink};

/// What all agents saw.
#[derive(Debug, Default)]
pub(crate) struct Acks(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Milliseconds from sending a batch to its acknowledgement.
    delays: Vec<f64>,
    /// Batches sent and not yet acknowledged.
    open: usize,
}

impl Acks {
    /// Forgets the delays so far.
    pub(crate) fn clear(&self) {
        self.lock().delays.clear();
    }

    /// The delays, sorted, and how many batches are still open.
    pub(crate) fn taken(&self) -> (Vec<f64>, usize) {
        let mut seen = self.lock();
        let mut delays = std::mem::take(&mut seen.delays);
        delays.sort_by(f64::total_cmp);
        (delays, seen.open)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sent(&self) {
        self.lock().open += 1;
    }

    fn acknowledged(&self, delay: Duration) {
        let mut seen = self.lock();
        seen.open -= 1;
        seen.delays.push(delay.as_secs_f64() * 1000.0);
    }
}

/// The name of the host with that number.
pub(crate) fn host_name(number: usize) -> String {
    format!("load-{number:04}")
}

/// One host and its vms.
#[derive(Debug)]
pub(crate) struct Agent {
    number: usize,
    host: ScriptedHost,
    period: Duration,
    /// Its certificate, where the scheduler wants one.
    tls: Option<TlsFiles>,
}

impl Agent {
    /// A host of 64 cores and 256 GiB with `vms` vms of 2 GiB.
    pub(crate) fn new(number: usize, vms: usize, period: Duration, tls: Option<TlsFiles>) -> Result<Self> {
        let mut host = ScriptedHost::new(&host_name(number))?;
        host.inventory.cpu_capacity = ballast_core::units::Cores(64.0);
        host.inventory.memory_capacity = ballast_core::units::Bytes::from_gib(256);
        for vm in 0..vms {
            host = host.with_vm(&format!("load-{number:04}-{vm:02}"), 0.0);
        }
        Ok(Self { number, host, period, tls })
    }

    /// Sends a batch per period, the hosts spread evenly over it, until the link ends.
    pub(crate) async fn run(
        mut self,
        to: SocketAddr,
        of: usize,
        clock: Clock,
        acks: std::sync::Arc<Acks>,
    ) -> Result<()> {
        let share = self.number as f64 / of as f64;
        clock.sleep(self.period.mul_f64(share)).await;
        let opened = match &self.tls {
            Some(files) => ScriptedLink::open_as(files, &to.to_string(), &self.host).await,
            None => ScriptedLink::open(&to.to_string(), &self.host, Vec::new(), 0).await,
        };
        let mut link = opened.with_context(|| format!("host {}", self.number))?;
        let mut beat = clock.interval(self.period);
        let mut open: VecDeque<(u64, Duration)> = VecDeque::new();
        let mut seq = 0;
        loop {
            tokio::select! {
                () = beat.tick() => {
                    seq += 1;
                    self.load(seq);
                    open.push_back((seq, clock.elapsed()));
                    acks.sent();
                    link.batch(self.host.batch(seq, clock.now())).await?;
                }
                message = link.next() => {
                    let Down::Ack(ack) = message? else { continue };
                    while open.front().is_some_and(|(seq, _)| *seq <= ack.seq) {
                        let Some((_, at)) = open.pop_front() else { break };
                        acks.acknowledged(clock.elapsed() - at);
                    }
                }
            }
        }
    }

    /// What the vms use at this tick: each has its own level and slow wave, and none stands still.
    fn load(&mut self, seq: u64) {
        let number = self.number;
        for (vm, used) in self.host.cpu_used.iter_mut().enumerate() {
            let phase = (number * 31 + vm * 17) as f64;
            let wave = (seq as f64 / 20.0 + phase).sin();
            *used = 0.2 + (phase * 0.618).fract() + 0.15 * wave;
        }
    }
}
