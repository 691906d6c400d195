//! What all tasks of one engine share: clock, settings, counters, links, history, and the two switches.
//!
//! The switches are the mode and "stepped down"; everything else is owned by a task.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use ballast_core::{
    decision::Mode,
    id::{CommandId, DecisionId, Epoch},
};
use ballast_daemon::clock::Clock;

use crate::{
    counters::Counters,
    engine::{EngineSettings, OperatorError},
    history::History,
    links::Links,
    preflight::Preflights,
    pulse::Pulse,
};

/// Shared by the tasks of one engine.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: EngineSettings,
    pub(crate) clock: Clock,
    pub(crate) epoch: Epoch,
    pub(crate) counters: Arc<Counters>,
    pub(crate) links: Links,
    pub(crate) preflights: Preflights,
    pub(crate) history: History,
    pub(crate) pulse: Pulse,
    numbers: AtomicU64,
    mode: Mutex<Mode>,
    newer: AtomicU64,
    stopping: AtomicBool,
}

impl Shared {
    pub(crate) fn new(
        settings: EngineSettings,
        clock: Clock,
        epoch: Epoch,
        mode: Mode,
        counters: Arc<Counters>,
        history: History,
    ) -> Self {
        let pulse = Pulse::new(clock.elapsed(), settings.period);
        Self {
            settings,
            clock,
            epoch,
            counters,
            links: Links::default(),
            preflights: Preflights::default(),
            history,
            pulse,
            numbers: AtomicU64::new(1),
            mode: Mutex::new(mode),
            newer: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        }
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Relaxed)
    }

    /// The next decision's id; from one counter with the commands', so that an id names one thing.
    pub(crate) fn decision_id(&self) -> DecisionId {
        DecisionId { epoch: self.epoch, number: self.number() }
    }

    /// The next command's id.
    pub(crate) fn command_id(&self) -> CommandId {
        CommandId { epoch: self.epoch, number: self.number() }
    }

    pub(crate) fn mode(&self) -> Mode {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    /// A newer epoch was seen: this scheduler gives no more orders, ever. True the first time.
    pub(crate) fn step_down(&self, seen: Epoch) -> bool {
        self.newer.fetch_max(seen.0, Relaxed);
        let own = self.epoch;
        let first = self.counters.step_down(&format!("epoch {seen} has been seen, this scheduler has {own}"));
        if first {
            tracing::error!(
                %seen, %own,
                "another scheduler has taken over, or this one's journal was lost: it gives no more orders; stop it, or \
                 start it with an epoch_min above the one seen"
            );
        }
        first
    }

    /// The newer epoch that was seen.
    pub(crate) fn newer_epoch(&self) -> Option<Epoch> {
        Some(Epoch(self.newer.load(Relaxed))).filter(|newer| *newer > self.epoch)
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// Whether orders may be given at all.
    pub(crate) fn may_order(&self) -> Result<(), OperatorError> {
        if self.is_stopping() {
            return Err(OperatorError::Stopping);
        }
        match self.newer_epoch() {
            Some(newer) => Err(OperatorError::SteppedDown {
                why: format!("epoch {newer} has been seen, this scheduler has {}", self.epoch),
            }),
            None => Ok(()),
        }
    }
}
