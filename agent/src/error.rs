//! Why the agent cannot run. What it can live with (no scheduler, no hypervisor, a full disk) is not here.

use ballast_daemon::{segments::SegmentError, tls::TlsError};
use thiserror::Error;

use crate::host::HostError;

/// Why the agent ended on its own.
#[derive(Debug, Error)]
pub enum AgentError {
    /// The id of this boot is not known.
    #[error("ask the kernel for the id of this boot")]
    Boot(#[source] HostError),
    /// The journal of commands is damaged: acting without it could repeat a command.
    #[error(
        "read the journal of commands: put its files back from a backup, or move its directory away once no migration of this host's vms is under way and start anew"
    )]
    Journal(#[source] SegmentError),
    /// A record of the journal makes no sense.
    #[error(
        "read the journal of commands: {file} holds a record that is none: {reason}; put its files back from a backup, or move its \
         directory away once no migration of this host's vms is under way and start anew"
    )]
    Record {
        /// Which file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// Certificates cannot be used.
    #[error("set up TLS")]
    Tls(#[from] TlsError),
    /// The scheduler's address cannot be used.
    #[error("use {uri} as the scheduler's address")]
    Endpoint {
        /// What was configured.
        uri: String,
        /// What came of it.
        #[source]
        source: tonic::transport::Error,
    },
    /// A part ended that never should.
    #[error("task {task} ended: {reason}")]
    Task {
        /// Which.
        task: &'static str,
        /// How.
        reason: String,
    },
}
