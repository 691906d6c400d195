//! The scheduler without its network: what agents' links and operators' requests are handed to, and what decides.
//!
//! [`Engine`] is a cheap handle; behind it run four tasks, each owning what it changes: the state task (fleet, ingest,
//! forecaster), the control loop (when to decide, and every operator's order), the dispatcher (commands until their
//! outcome), and the recorder (telemetry log and store). `rpc` and `metrics` call this handle and nothing behind it.

mod agents;
mod operator;
mod operators;
mod session;
mod settings;
mod start;
mod stats;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ballast_core::id::Epoch;
use ballast_daemon::clock::Clock;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

use crate::{
    control::Control,
    dispatch::{self, Dispatch},
    model::{Models, Reloader},
    recorder::Recorder,
    shared::Shared,
    state_task::State,
};

pub use operator::{
    Approval, DecisionRecord, Explanation, ManualMove, ManualResult, MigrationRecord, ModeChange, OperatorError,
    Outlook,
};
pub use session::{Hello, Refusal, Session, SessionError, SessionId, ToAgent, Welcome};
pub use settings::{CommandSettings, EngineSettings, ForecastSettings, KeepSettings};
pub use stats::{EngineStats, ForecastStats, Impairment};

/// Why the engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A directory or file cannot be used.
    #[error("{what} cannot be used: {why}")]
    Unusable {
        /// Which part.
        what: &'static str,
        /// What the system said, with the path.
        why: String,
    },
    /// The journal is there and is not what was written.
    #[error(
        "the journal cannot be used: {why}; put its files back from a backup, or move {} away once no migration is under way and \
         set epoch_min above every epoch so far, which the agents know: starting without it forgets open commands, drained and \
         sleeping hosts, and the mode",
        dir.display()
    )]
    Journal {
        /// Where it lies.
        dir: std::path::PathBuf,
        /// What is wrong, with file and place.
        why: String,
    },
    /// No policy of that name.
    #[error("policy = {name:?}: one of {} is needed", .known.join(", "))]
    UnknownPolicy {
        /// What was given.
        name: String,
        /// What would have been accepted.
        known: Vec<String>,
    },
}

/// The scheduler's engine: cheap to clone, shared by every link and request. When the last handle is dropped its tasks
/// end, as if the process had been killed; [`Engine::stop`] is the orderly way.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    state: State,
    dispatch: Dispatch,
    control: Control,
    recorder: Recorder,
    reloader: Reloader,
    failed: watch::Sender<Option<String>>,
    beats: [Arc<AtomicU64>; 4],
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.stop();
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Time a stop waits for what the model knows; it is lost then, which costs the vms a warm-up.
const SAVE_TIMEOUT: Duration = Duration::from_secs(3);

/// A task that has not been round its loop for so long is stuck; a decision on the largest fleet takes seconds.
const STUCK_AFTER: Duration = Duration::from_secs(60);

impl Engine {
    /// Opens journal, log and store below the data directory, takes up where the last start ended, and starts the tasks.
    /// The journal's new epoch is durable when this returns. `models` makes the forecaster's model; one that cannot be made
    /// is warned of and done without.
    ///
    /// # Errors
    /// [`EngineError`] when the journal is damaged or cannot be written, or a setting names nothing that exists. A
    /// damaged store or an unwritable telemetry log is no error: the engine goes on without and says so.
    pub async fn start(settings: EngineSettings, models: Models, clock: Clock) -> Result<Self, EngineError> {
        start::start(settings, models, clock).await
    }

    /// Stops giving orders, closes every link, and returns once journal, log and store are on the disk. Migrations that
    /// run go on; the next start takes them up.
    pub async fn stop(&self) {
        let inner = &self.inner;
        inner.shared.stop();
        inner.shared.links.close_all("the scheduler stops");
        let (reply, settled) = oneshot::channel();
        if inner.dispatch.tell(dispatch::Request::Settle { reply }).await {
            // An error means that the dispatcher has ended, which is as good.
            drop(settled.await);
        }
        if let Err(elapsed) = self.clock().timeout(SAVE_TIMEOUT, inner.state.save()).await {
            tracing::info!(%elapsed, "the model's states are not kept");
        }
        inner.recorder.close().await;
    }

    /// Returns when the engine cannot go on, with the reason: one of its tasks has ended unasked.
    pub async fn failed(&self) -> String {
        let mut failed = self.inner.failed.subscribe();
        let why = failed.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        match why {
            Some(why) => why,
            // The sender is held by this very handle and never gone.
            None => std::future::pending().await,
        }
    }

    /// True while every task has been round its loop lately: what the systemd watchdog is told.
    pub fn is_alive(&self) -> bool {
        let now = self.shared().clock.elapsed();
        let is_recent =
            |beat: &Arc<AtomicU64>| now.saturating_sub(Duration::from_nanos(beat.load(Relaxed))) < STUCK_AFTER;
        self.inner.failed.borrow().is_none() && self.inner.beats.iter().all(is_recent)
    }

    fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// The clock the engine reads.
    pub fn clock(&self) -> &Clock {
        &self.shared().clock
    }

    /// The settings it was started with.
    pub fn settings(&self) -> &EngineSettings {
        &self.shared().settings
    }

    /// This start's epoch.
    pub fn epoch(&self) -> Epoch {
        self.shared().epoch
    }
}

#[cfg(test)]
mod tests;
