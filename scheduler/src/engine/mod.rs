//! The scheduler without its network: what agents' links and operators' requests are handed to, and what decides.
//!
//! [`Engine`] is a cheap handle; behind it run four tasks, each owning what it changes: the state task (fleet, ingest,
//! forecaster), the control loop (when to decide, and every operator's order), the dispatcher (commands until their
//! outcome), and the recorder (telemetry log and store). `rpc` and `metrics` call this handle and nothing behind it.

mod operator;
mod session;
mod settings;
mod stats;

use std::sync::Arc;

use ballast_core::{
    command::Report,
    decision::Mode,
    forecast::Forecasts,
    id::{CommandId, DecisionId, HostId},
    inventory::Inventory,
    sample::Batch,
    snapshot::{HostMode, Snapshot},
};
use ballast_daemon::clock::Clock;
use tokio::sync::{broadcast, mpsc, oneshot};

pub use operator::{
    Approval, DecisionRecord, Explanation, ManualMove, ManualResult, MigrationRecord, ModeChange, OperatorError,
};
pub use session::{Hello, Refusal, Session, SessionError, SessionId, ToAgent, Welcome};
pub use settings::{CommandSettings, EngineSettings, KeepSettings};
pub use stats::{EngineStats, Impairment};

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
    /// No policy of that name.
    #[error("policy = {name:?}: one of {} is needed", .known.join(", "))]
    UnknownPolicy {
        /// What was given.
        name: String,
        /// What would have been accepted.
        known: Vec<String>,
    },
}

/// The scheduler's engine: cheap to clone, shared by every link and request.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: EngineSettings,
    clock: Clock,
}

impl Engine {
    /// Opens journal, log and store below the data directory, takes up where the last start ended, and starts the tasks.
    /// The journal's new epoch is durable when this returns.
    ///
    /// # Errors
    /// [`EngineError`] when the journal is damaged or cannot be written, or a setting names nothing that exists. A
    /// damaged store or an unwritable telemetry log is no error: the engine goes on without and says so.
    pub async fn start(settings: EngineSettings, clock: Clock) -> Result<Self, EngineError> {
        Ok(Self { inner: Arc::new(Inner { settings, clock }) })
    }

    /// Stops giving orders, closes every link, and returns once journal, log and store are on the disk. Migrations that
    /// run go on; the next start takes them up.
    pub async fn stop(&self) {}

    /// Returns when the engine cannot go on, with the reason: one of its tasks has ended unasked.
    pub async fn failed(&self) -> String {
        std::future::pending().await
    }

    /// True while every task has been round its loop lately: what the systemd watchdog is told.
    pub fn is_alive(&self) -> bool {
        true
    }

    /// The clock the engine reads.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The settings it was started with.
    pub fn settings(&self) -> &EngineSettings {
        &self.inner.settings
    }

    // What agents' links call.

    /// Opens a link; a link the host had before is closed. The reports of `hello` are taken as if they came after it.
    ///
    /// # Errors
    /// [`Refusal`] when this scheduler takes no links (any more).
    pub async fn hello(&self, hello: Hello) -> Result<Session, Refusal> {
        let _unused: (Hello, mpsc::Sender<ToAgent>, oneshot::Sender<()>);
        drop(hello);
        Err(Refusal::Stopping)
    }

    /// Takes a batch; waits while the engine is behind, so that the link's flow control holds the agent back. Its
    /// acknowledgement comes through the outbox once it is in the telemetry log.
    ///
    /// # Errors
    /// [`SessionError`] when the link is over or the batch is another host's.
    pub async fn batch(&self, session: SessionId, batch: Batch) -> Result<(), SessionError> {
        let _ = (session, batch);
        Err(SessionError::Stopping)
    }

    /// Takes a changed inventory.
    ///
    /// # Errors
    /// [`SessionError`] when the link is over or the inventory is another host's.
    pub async fn inventory(&self, session: SessionId, inventory: Inventory) -> Result<(), SessionError> {
        let _ = (session, inventory);
        Err(SessionError::Stopping)
    }

    /// Takes what an agent says of a command. A final report is acknowledged through the outbox once it is journalled.
    ///
    /// # Errors
    /// [`SessionError`] when the link is over.
    pub async fn report(&self, session: SessionId, report: Report) -> Result<(), SessionError> {
        let _ = (session, report);
        Err(SessionError::Stopping)
    }

    /// The host goes to sleep on our order: its silence is expected.
    ///
    /// # Errors
    /// [`SessionError`] when the link is over.
    pub async fn goodbye(&self, session: SessionId) -> Result<(), SessionError> {
        let _ = session;
        Err(SessionError::Stopping)
    }

    /// The link has ended, whoever ended it. Later calls with this session fail.
    pub async fn closed(&self, session: SessionId) {
        let _ = session;
    }

    /// Counts a message of a link that could not be understood.
    pub fn malformed(&self, session: SessionId) {
        let _ = session;
    }

    // What operators' requests call.

    /// The fleet now.
    ///
    /// # Errors
    /// [`OperatorError::Stopping`].
    pub async fn snapshot(&self) -> Result<Arc<Snapshot>, OperatorError> {
        Err(OperatorError::Stopping)
    }

    /// What every vm is expected to want.
    ///
    /// # Errors
    /// [`OperatorError::Stopping`].
    pub async fn forecasts(&self) -> Result<Arc<Forecasts>, OperatorError> {
        Err(OperatorError::Stopping)
    }

    /// Whether plans are carried out.
    pub fn mode(&self) -> Mode {
        Mode::Off
    }

    /// Sets whether plans are carried out; journalled before this returns.
    ///
    /// # Errors
    /// [`OperatorError`] when it cannot be journalled.
    pub async fn set_mode(&self, mode: Mode, who: &str) -> Result<ModeChange, OperatorError> {
        let _ = (mode, who);
        Err(OperatorError::Stopping)
    }

    /// Has the next rounds empty a host and keeps it empty, or puts it back in use; journalled before this returns.
    /// Returns the number of vms on it.
    ///
    /// # Errors
    /// [`OperatorError`] when the host is not known or it cannot be journalled.
    pub async fn set_host_mode(&self, host: &HostId, mode: HostMode, who: &str) -> Result<usize, OperatorError> {
        let _ = (host, mode, who);
        Err(OperatorError::Stopping)
    }

    /// Moves a vm past the same checks as the scheduler's own plans.
    ///
    /// # Errors
    /// [`OperatorError::Denied`] with every finding that stands against it, and the others as they say.
    pub async fn migrate(&self, wish: ManualMove) -> Result<ManualResult, OperatorError> {
        drop(wish);
        Err(OperatorError::Stopping)
    }

    /// Orders a running migration to stop; returns the id of that order. What comes of it shows on the migration.
    ///
    /// # Errors
    /// [`OperatorError`] when it is not known, over, or its source not connected.
    pub async fn cancel(&self, migration: CommandId, who: &str) -> Result<CommandId, OperatorError> {
        let _ = (migration, who);
        Err(OperatorError::Stopping)
    }

    /// Carries out a recommendation: whatever of it the guard still allows now.
    ///
    /// # Errors
    /// [`OperatorError`] when it is not known or was carried out already.
    pub async fn approve(&self, decision: DecisionId, who: &str) -> Result<Approval, OperatorError> {
        let _ = (decision, who);
        Err(OperatorError::Stopping)
    }

    /// Migrations, newest first, at most `limit`.
    pub fn migrations(&self, limit: usize, running_only: bool) -> Vec<MigrationRecord> {
        let _ = (limit, running_only);
        Vec::new()
    }

    /// Every change of a migration from now on. Who is too slow misses some and is told how many.
    pub fn watch(&self) -> broadcast::Receiver<MigrationRecord> {
        broadcast::channel(1).1
    }

    /// Decisions, newest first, at most `limit`.
    pub fn decisions(&self, limit: usize, include_empty: bool) -> Vec<DecisionRecord> {
        let _ = (limit, include_empty);
        Vec::new()
    }

    /// A decision, or the decision behind a migration, with all its reasons. Decisions and commands are numbered from
    /// one counter, so that an id names one thing only.
    ///
    /// # Errors
    /// [`OperatorError`] when it is no id, or none that is kept.
    pub fn explain(&self, id: &str) -> Result<Explanation, OperatorError> {
        Err(OperatorError::UnknownId { id: id.to_owned() })
    }

    /// Everything metrics need.
    pub async fn stats(&self) -> Result<EngineStats, OperatorError> {
        Err(OperatorError::Stopping)
    }
}
