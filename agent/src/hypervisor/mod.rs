//! What the agent asks of a hypervisor, and the contracts that every driver keeps.
//!
//! Two drivers: `libvirt` for real hosts, `simulated` for the demo and the tests; both pass the same contract tests.
//! A driver never destroys, undefines, resumes or starts a vm: the hypervisors' migration protocol alone decides who
//! runs it.

#[cfg(feature = "libvirt")]
pub mod libvirt;
#[cfg(feature = "simulated")]
pub mod simulated;

use std::{future::Future, time::Duration};

use ballast_core::{
    command::{MigrationLimits, Progress},
    counters::VmCounters,
    id::{HostId, VmId},
    inventory::VmRecord,
    preflight::{Passport, Premises},
    sample::VmState,
    units::Bytes,
};
use thiserror::Error;
use tokio::sync::mpsc;

/// Why a hypervisor did not do as asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HypervisorError {
    /// It cannot be reached; nothing is known.
    #[error("the hypervisor cannot be reached: {0}")]
    Unreachable(String),
    /// It did not answer in time; what was asked may or may not happen.
    #[error("the hypervisor did not answer within {0:?}")]
    TimedOut(Duration),
    /// No such vm here.
    #[error("vm {0} is not on this host")]
    NoSuchVm(VmId),
    /// It refused or failed, in its own words.
    #[error("{0}")]
    Refused(String),
}

/// What a hypervisor knows of the host and its vms.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HypervisorFacts {
    /// Hypervisor and version, for people.
    pub version: String,
    /// The host's CPU model.
    pub cpu_model: String,
    /// CPU models it can provide.
    pub cpu_models: Vec<String>,
    /// Networks and bridges present.
    pub networks: Vec<String>,
    /// Shared storages reachable.
    pub storages: Vec<String>,
    /// Every vm defined or running here.
    pub vms: Vec<VmRecord>,
}

/// A migration to begin.
#[derive(Debug, Clone, PartialEq)]
pub struct MigrationJob {
    /// Which vm.
    pub vm: VmId,
    /// Where to.
    pub destination: HostId,
    /// How this hypervisor reaches the destination's.
    pub destination_uri: String,
    /// Bounds; the driver applies bandwidth, the first downtime and TLS, the caller watches the times.
    pub limits: MigrationLimits,
}

/// What a migration under way reports. `Returned` is always the last.
#[derive(Debug, Clone, PartialEq)]
pub enum MigrationEvent {
    /// A pass over memory begins; the first ends the preparation.
    Iteration(u64),
    /// How far it is; asked for regularly by the driver itself.
    Progress(Progress),
    /// The vm is paused at the source for the switch-over.
    Suspended,
    /// Final figures, where the hypervisor gave any.
    Statistics {
        /// Pause of the vm.
        downtime: Option<Duration>,
        /// Data copied.
        copied: Bytes,
        /// Passes over memory.
        iterations: u64,
    },
    /// The call returned. This alone does not say where the vm runs: ask [`Hypervisor::locate`] on both hosts.
    Returned(Result<(), HypervisorError>),
}

/// Where a vm is, as far as this host can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// Here, in this state; `migrating` while a migration job of it runs out of this host.
    Here {
        /// What it is doing.
        state: VmState,
        /// Whether a job moves it away.
        migrating: bool,
    },
    /// Not running here.
    NotHere,
}

/// A hypervisor. Every call ends within a deadline of the driver's own, and none waits for another.
pub trait Hypervisor: Send + Sync + 'static {
    /// Everything slow-changing. An error means that nothing is known, not that nothing is there.
    fn facts(&self) -> impl Future<Output = Result<HypervisorFacts, HypervisorError>> + Send;

    /// Counters of every running vm that could be read before `deadline`; a vm that migrates, starts or hangs never
    /// delays the others and may be left out.
    fn counters(&self, deadline: Duration) -> impl Future<Output = Result<Vec<VmCounters>, HypervisorError>> + Send;

    /// Begins a live migration and returns at once; what happens comes through the channel, `Returned` last.
    /// The migration goes on to its end even if the agent dies (peer to peer).
    fn migrate(
        &self,
        job: MigrationJob,
    ) -> impl Future<Output = Result<mpsc::Receiver<MigrationEvent>, HypervisorError>> + Send;

    /// Watches a migration that another life of this agent began: the same events, or `None` where no job runs.
    fn resume_watching(
        &self,
        vm: VmId,
    ) -> impl Future<Output = Result<Option<mpsc::Receiver<MigrationEvent>>, HypervisorError>> + Send;

    /// Stops the migration of a vm; the vm goes on here. May be repeated.
    fn abort(&self, vm: VmId) -> impl Future<Output = Result<(), HypervisorError>> + Send;

    /// Allows a longer pause to a migration under way.
    fn allow_downtime(&self, vm: VmId, longest: Duration) -> impl Future<Output = Result<(), HypervisorError>> + Send;

    /// Where a vm is.
    fn locate(&self, vm: VmId) -> impl Future<Output = Result<Whereabouts, HypervisorError>> + Send;

    /// Where a vm is according to the hypervisor at `uri` (the destination of its migration), asked from here.
    fn locate_at(&self, uri: &str, vm: VmId) -> impl Future<Output = Result<Whereabouts, HypervisorError>> + Send;

    /// What a vm needs of another host, as it runs now; clocks and files are the caller's.
    fn passport(&self, vm: VmId) -> impl Future<Output = Result<Passport, HypervisorError>> + Send;

    /// What this host has of what a vm needs; clocks and files are the caller's.
    fn premises(&self, passport: &Passport) -> impl Future<Output = Result<Premises, HypervisorError>> + Send;

    /// Something about the vms changed: read [`Hypervisor::facts`] again. Ends when the driver is dropped.
    fn changes(&self) -> impl Future<Output = ()> + Send;
}
