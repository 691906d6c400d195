//! One live migration under way: the rounds of the shared model, and the record of what a hypervisor would tell of it.
//!
//! The world says when time passes and at which rates; [`Flight::pass`] tells it what came of it.

use std::time::Duration;

use ballast_core::{
    command::{MigrationLimits, Progress},
    id::VmId,
    migration_cost::{CopyJob, Help, Phase, PreCopy},
    outcome::Stage,
    units::{Bytes, BytesPerSec, Timestamp, seconds},
};

/// Events kept of one migration: a copy that never converges must not fill the memory.
const EVENTS_MAX: usize = 1000;

/// What a migration reports, in the order it happened; `Returned` is always the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlightEvent {
    /// A pass over memory begins; the first ends the preparation.
    Iteration(u64),
    /// The vm is paused at its source for the switch-over.
    Suspended,
    /// Final figures.
    Statistics {
        /// Pause of the vm; `None` where it never paused.
        downtime: Option<Duration>,
        /// Data copied.
        copied: Bytes,
        /// Passes over memory.
        iterations: u64,
    },
    /// The call returned, with the hypervisor's words where it failed.
    Returned(Result<(), String>),
}

/// One migration.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    pub(crate) vm: VmId,
    pub(crate) source: usize,
    pub(crate) destination: usize,
    pub(crate) limits: MigrationLimits,
    copy: PreCopy,
    memory: Bytes,
    /// When it began.
    pub(crate) began: Timestamp,
    /// Up to when it has been advanced.
    since: Timestamp,
    /// The phase that the world has taken note of.
    pub(crate) noted: Phase,
    /// Which of its entries in the agenda counts: all before it are void.
    pub(crate) version: u64,
    pub(crate) is_over: bool,
    /// Set by a fault: fails half-way through the first pass.
    doomed: Option<String>,
    events: Vec<FlightEvent>,
}

impl Flight {
    pub(crate) fn new(
        vm: VmId,
        (source, destination): (usize, usize),
        (job, help): (CopyJob, Help),
        limits: MigrationLimits,
        now: Timestamp,
    ) -> Self {
        Self {
            vm,
            source,
            destination,
            limits,
            copy: PreCopy::new(job).helped(help),
            memory: job.memory,
            began: now,
            since: now,
            noted: Phase::Preparing,
            version: 0,
            is_over: false,
            doomed: None,
            events: Vec::new(),
        }
    }

    /// A fault: it will fail half-way through the first pass.
    pub(crate) fn doom(&mut self, reason: Option<String>) {
        self.doomed = reason;
    }

    /// Lets time pass until `now` at the rates of before, and takes down what it would report.
    pub(crate) fn pass(&mut self, now: Timestamp) {
        let span = now.since(self.since);
        self.since = self.since.max(now);
        if span.is_zero() || self.is_over {
            return;
        }
        let (round, phase) = (self.copy.round(), self.copy.phase());
        self.copy.advance(span);
        for new in round + 1..=self.copy.round() {
            self.record(FlightEvent::Iteration(u64::from(new)));
        }
        if self.copy.copied() >= self.memory.scale(0.5)
            && let Some(reason) = self.doomed.take()
        {
            return self.fail(reason);
        }
        let is_before = matches!(phase, Phase::Preparing | Phase::Copying);
        if is_before && !matches!(self.copy.phase(), Phase::Preparing | Phase::Copying) {
            self.record(FlightEvent::Suspended);
        }
        if self.copy.phase() == Phase::Done {
            self.end(Ok(()));
        }
    }

    /// The copy gets another share of the link.
    pub(crate) fn set_bandwidth(&mut self, rate: BytesPerSec) {
        self.copy.set_bandwidth(rate);
    }

    /// The vm writes at another rate.
    pub(crate) fn set_dirty_rate(&mut self, rate: BytesPerSec) {
        self.copy.set_dirty_rate(rate);
    }

    /// The vm writes another amount again and again.
    pub(crate) fn set_working_set(&mut self, set: Bytes) {
        self.copy.set_working_set(set);
    }

    /// When it will change by itself at the present rates, where it ever does: a nanosecond late rather than early.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        if self.is_over {
            return None;
        }
        let half = self.doomed.as_ref().and_then(|_| {
            let left = self.memory.scale(0.5).saturating_sub(self.copy.copied()).as_f64();
            let rate = self.copy.rate().get();
            (rate > 0.0).then(|| seconds(left / rate))
        });
        let next = [self.copy.until_change(), half].into_iter().flatten().min()?;
        Some(self.since.after(next.saturating_add(Duration::from_nanos(1))))
    }

    /// Ends it at its source.
    pub(crate) fn fail(&mut self, reason: String) {
        self.end(Err(reason));
    }

    fn end(&mut self, result: Result<(), String>) {
        self.is_over = true;
        let downtime = result.is_ok().then(|| self.copy.downtime());
        let iterations = u64::from(self.copy.round());
        self.events.push(FlightEvent::Statistics { downtime, copied: self.copy.copied(), iterations });
        self.events.push(FlightEvent::Returned(result));
    }

    fn record(&mut self, event: FlightEvent) {
        if self.events.len() < EVENTS_MAX {
            self.events.push(event);
        }
    }

    /// Allows another pause.
    pub(crate) fn allow_downtime(&mut self, longest: Duration) {
        self.copy.allow_downtime(longest);
    }

    /// Pause of the vm, known from the switch-over on.
    pub(crate) fn paused(&self) -> Duration {
        if matches!(self.copy.phase(), Phase::Preparing | Phase::Copying) {
            Duration::ZERO
        } else {
            self.copy.downtime()
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.copy.phase()
    }

    /// True while it can no longer be stopped: the vm is paused, or runs at the destination with its memory in two places.
    pub(crate) fn is_switching(&self) -> bool {
        matches!(self.copy.phase(), Phase::Switching | Phase::Fetching)
    }

    /// True while it takes a share of its hosts' links.
    pub(crate) fn is_copying(&self) -> bool {
        !self.is_over && !matches!(self.copy.phase(), Phase::Preparing | Phase::Done)
    }

    /// True where it has brought the vm to its destination.
    pub(crate) fn has_arrived(&self) -> bool {
        matches!(self.copy.phase(), Phase::Fetching | Phase::Done)
    }

    /// Rate of the copy now.
    pub(crate) fn rate(&self) -> BytesPerSec {
        self.copy.rate()
    }

    /// Share of its CPU that the vm is kept from using so that the copy converges.
    pub(crate) fn throttle(&self) -> f64 {
        self.copy.throttle()
    }

    pub(crate) fn copied(&self) -> Bytes {
        self.copy.copied()
    }

    pub(crate) fn events(&self) -> &[FlightEvent] {
        &self.events
    }

    /// How far it is at `now`.
    pub(crate) fn progress(&self, now: Timestamp) -> Progress {
        let mut copy = self.copy;
        copy.advance(now.since(self.since));
        let progress = copy.progress(self.memory);
        let stage = if self.is_over { Stage::Ended } else { progress.stage };
        Progress { stage, ..progress }
    }
}
