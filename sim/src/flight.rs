//! One live migration under way: the rounds of the shared model, and the record of what a hypervisor would tell of it.

use std::time::Duration;

use ballast_core::{
    command::{MigrationLimits, Progress},
    id::VmId,
    migration_cost::{CopyJob, Phase, PreCopy},
    outcome::Stage,
    units::{Bytes, BytesPerSec},
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

/// How far one tick brought it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Step {
    /// Seconds of the tick in which the vm was paused.
    pub(crate) paused: f64,
    /// It is over: the vm goes to the destination.
    pub(crate) arrived: bool,
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
    pub(crate) is_over: bool,
    /// Set by a fault: fails half-way through the first pass.
    pub(crate) doomed: Option<String>,
    events: Vec<FlightEvent>,
}

impl Flight {
    pub(crate) fn new(vm: VmId, (source, destination): (usize, usize), job: CopyJob, limits: MigrationLimits) -> Self {
        let (copy, memory) = (PreCopy::new(job), job.memory);
        let (is_over, doomed, events) = (false, None, Vec::new());
        Self { vm, source, destination, limits, copy, memory, is_over, doomed, events }
    }

    /// Lets `span` pass at these rates.
    pub(crate) fn advance(&mut self, span: Duration, bandwidth: BytesPerSec, dirty_rate: BytesPerSec) -> Step {
        let (round, phase, paused) = (self.copy.round(), self.copy.phase(), self.paused());
        self.copy.set_bandwidth(bandwidth);
        self.copy.set_dirty_rate(dirty_rate);
        self.copy.advance(span);
        for new in round + 1..=self.copy.round() {
            self.record(FlightEvent::Iteration(u64::from(new)));
        }
        if self.copy.copied() >= self.memory.scale(0.5)
            && let Some(reason) = self.doomed.take()
        {
            self.fail(reason);
            return Step::default();
        }
        let switching = |phase| matches!(phase, Phase::Switching | Phase::Done);
        if switching(self.copy.phase()) && !switching(phase) {
            self.record(FlightEvent::Suspended);
        }
        let arrived = self.copy.phase() == Phase::Done;
        let step = Step { paused: (self.paused() - paused).as_secs_f64(), arrived };
        if arrived {
            self.end(Ok(()));
        }
        step
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

    /// Pause of the vm so far.
    pub(crate) fn paused(&self) -> Duration {
        if self.is_switching() || self.copy.phase() == Phase::Done { self.copy.downtime() } else { Duration::ZERO }
    }

    pub(crate) fn is_switching(&self) -> bool {
        self.copy.phase() == Phase::Switching
    }

    /// True while it takes a share of its hosts' links.
    pub(crate) fn is_copying(&self) -> bool {
        !self.is_over && self.copy.phase() != Phase::Preparing
    }

    pub(crate) fn copied(&self) -> Bytes {
        self.copy.copied()
    }

    pub(crate) fn events(&self) -> &[FlightEvent] {
        &self.events
    }

    pub(crate) fn progress(&self) -> Progress {
        let stage = match self.copy.phase() {
            _ if self.is_over => Stage::Ended,
            Phase::Preparing => Stage::Preparation,
            Phase::Copying => Stage::Migration,
            Phase::Switching => Stage::Switching,
            Phase::Done => Stage::Ended,
        };
        Progress {
            stage,
            elapsed: self.copy.elapsed(),
            total: self.memory,
            copied: self.copy.copied(),
            remaining: self.copy.remaining(),
            rate: self.copy.rate(),
            dirty_rate: self.copy.dirty_rate(),
            iteration: u64::from(self.copy.round()),
        }
    }
}
