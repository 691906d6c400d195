//! What passes between the engine and one agent's link, in core's words: `rpc` converts it to and from the wire.

use std::time::Duration;

use ballast_core::{
    command::{Command, Report},
    id::{CommandId, Epoch, HostId, Seq, VmId},
    inventory::Inventory,
};
use tokio::sync::mpsc;

/// One link of one agent, for as long as it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// What an agent opens its link with.
#[derive(Debug, Clone, PartialEq)]
pub struct Hello {
    /// The host and what is on it.
    pub inventory: Inventory,
    /// The oldest batch the agent still holds unacknowledged.
    pub resume_from: Seq,
    /// The newest epoch the agent has seen.
    pub highest_epoch: Epoch,
    /// Where each command of its journal stands that has not been acknowledged as final.
    pub reports: Vec<Report>,
    /// What it can do beyond the least.
    pub capabilities: Vec<String>,
}

/// What the agent is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome {
    /// The scheduler's epoch.
    pub epoch: Epoch,
    /// The agent sends from this batch on.
    pub resume_from: Seq,
    /// Batches that may be unacknowledged.
    pub window: u32,
    /// Time between two samples.
    pub period: Duration,
}

/// An open link, as the engine hands it to whoever carries its messages.
#[derive(Debug)]
pub struct Session {
    /// Names it in every later call.
    pub id: SessionId,
    /// The first message to the agent.
    pub welcome: Welcome,
    /// The messages after it. Its end means that the link is to be closed.
    pub outbox: mpsc::Receiver<ToAgent>,
}

/// A message to an agent.
#[derive(Debug, Clone, PartialEq)]
pub enum ToAgent {
    /// An order.
    Command(Command),
    /// What is known of these?
    Query(Vec<CommandId>),
    /// A final report has been journalled.
    ReportAck(CommandId),
    /// May this vm leave, or, with a passport, arrive?
    Preflight {
        /// Named in the answer.
        number: u64,
        /// Which vm.
        vm: VmId,
        /// Whether its copy would be encrypted.
        tls: bool,
        /// What its source's agent wrote for its destination's.
        passport: Option<String>,
        /// How long ago that came in.
        age: Duration,
    },
    /// That the host goes to sleep is journalled.
    GoodbyeHeard,
    /// Batches up to this one have been stored.
    Ack(Seq),
    /// The link ends: another of the same host has replaced it, or the scheduler stops.
    Close {
        /// Why, in words.
        why: String,
    },
}

/// Why a link is not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another scheduler has taken over.
    #[error(
        "this scheduler (epoch {own}) stepped down: epoch {seen} has been seen; stop the other scheduler, or, where the \
         journal was lost, start this one with epoch_min above {seen}"
    )]
    SteppedDown {
        /// Epoch of this scheduler.
        own: Epoch,
        /// The newer one an agent has seen.
        seen: Epoch,
    },
    /// As many hosts as can be handled are connected.
    #[error("{limit} hosts are connected already, which is the most this scheduler takes")]
    TooMany {
        /// The bound.
        limit: usize,
    },
    /// The scheduler stops.
    #[error("the scheduler is stopping")]
    Stopping,
}

/// Why a message of a link is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The link was closed or replaced.
    #[error("the link was closed or replaced by a newer one of the same host")]
    Ended,
    /// The message names another host than the link's.
    #[error("host {named} was named on the link of {own}")]
    WrongHost {
        /// The link's host.
        own: HostId,
        /// The host named.
        named: HostId,
    },
    /// The scheduler stops.
    #[error("the scheduler is stopping")]
    Stopping,
}
