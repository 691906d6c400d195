//! Receives commands, journals what it accepts, carries it out and tells how it ended.
//!
//! One task owns the queue and the journal; the link hands it requests in the order they came and reads what it
//! publishes. Nothing touches the hypervisor or the host before the record of its command is on the disk.
//!
//! ```text
//!   link ── Request ──▶ task: queue.offer ─▶ check (asks the hypervisor) ─▶ journal Accepted ─▶ carry out ─▶ journal Settled
//!   link ◀─ Reports ── all that is open or owed ◀────────────────────────────────┴──────────────────┘
//! ```

mod act;
mod task;

use std::{sync::Arc, time::Duration};

use ballast_core::{
    command::{Command, Report},
    id::{CommandId, Epoch},
};
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use act::{Tools, check_vm};
pub(crate) use task::{Task, restore};

/// Requests that may wait: far above what a scheduler has open with one host.
const REQUESTS: usize = 256;

/// Where answers to single requests go.
pub(crate) type Answers = mpsc::Sender<Report>;

/// What the link asks of the command task.
#[derive(Debug)]
pub(crate) enum Request {
    /// A command came in.
    Offer {
        /// What is ordered.
        command: Box<Command>,
        /// When it was received, by the monotonic clock.
        received_at: Duration,
        /// Where a duplicate's record goes.
        answers: Answers,
    },
    /// Where do these stand?
    Query {
        /// Which.
        ids: Vec<CommandId>,
        /// Where the answers go.
        answers: Answers,
    },
    /// The scheduler knows how this one ended.
    Acknowledge(CommandId),
    /// A scheduler of this epoch answers: older ones are done for.
    RaiseFence {
        /// Its epoch.
        epoch: Epoch,
        /// Told the newest epoch once that is on the disk.
        done: oneshot::Sender<Epoch>,
    },
}

/// What the scheduler is to be told: everything open, and every end not yet acknowledged.
pub(crate) type Reports = watch::Receiver<Arc<Vec<Report>>>;

/// The link's ends of the command task.
#[derive(Debug, Clone)]
pub(crate) struct Commands {
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) reports: Reports,
    pub(crate) fence: watch::Receiver<Epoch>,
}

/// The task's ends.
#[derive(Debug)]
pub(crate) struct Ends {
    requests: mpsc::Receiver<Request>,
    reports: watch::Sender<Arc<Vec<Report>>>,
    fence: watch::Sender<Epoch>,
}

/// Channels between link and command task.
pub(crate) fn channels() -> (Commands, Ends) {
    let (request, requests) = mpsc::channel(REQUESTS);
    let (publish, reports) = watch::channel(Arc::default());
    let (raise, fence) = watch::channel(Epoch::default());
    (Commands { requests: request, reports, fence }, Ends { requests, reports: publish, fence: raise })
}
