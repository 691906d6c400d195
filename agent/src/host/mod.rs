//! What the agent asks of the host itself: load, memory, pressure, power, and to sleep or to wake another.
//!
//! Never through the hypervisor: a stuck hypervisor must not blind the host's own figures.

pub mod bmc;
mod boot;
mod command;
mod kernel_file;
pub mod power;
mod psi;
pub mod real;
#[cfg(feature = "simulated")]
pub mod simulated;
pub mod sleep;
pub mod wake_address;

use std::{future::Future, time::Duration};

use ballast_core::{
    id::{BootId, HostId},
    sample::{PowerSource, Pressure, Reading},
    units::{Bytes, Cores, Watts},
};
use thiserror::Error;
use tonic::transport::{Channel, Endpoint};

/// One reading of the host.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct HostReading {
    /// CPU in use.
    pub cpu_used: Reading<Cores>,
    /// Memory in use: what is not available to a new process.
    pub memory_used: Reading<Bytes>,
    /// Power draw as a meter gives it; `Missing` where the host has none (the sampler then estimates by the curve).
    pub power: Reading<Watts>,
    /// Where it comes from.
    pub power_source: PowerSource,
    /// Pressure stall information.
    pub pressure: Pressure,
    /// Resident memory of the agent.
    pub agent_resident: Bytes,
    /// CPU the agent used since the reading before.
    pub agent_cpu: Cores,
}

/// Why a host did not sleep or wake another.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HostError {
    /// No way to do it is configured.
    #[error("{0} is not configured on this host")]
    NotConfigured(&'static str),
    /// It was tried and did not work.
    #[error("{0}")]
    Failed(String),
}

/// The host the agent runs on.
pub trait Host: Send + Sync + 'static {
    /// Opens a connection to the scheduler over its network.
    fn dial(&self, scheduler: &Endpoint) -> impl Future<Output = Result<Channel, tonic::transport::Error>> + Send {
        scheduler.connect()
    }

    /// Reads it; what cannot be read is `Missing`.
    fn read(&self) -> impl Future<Output = HostReading> + Send;

    /// Puts it to sleep; returns when the order was accepted.
    fn sleep(&self) -> impl Future<Output = Result<(), HostError>> + Send;

    /// Which boot of the host this is: the kernel's own id of it.
    ///
    /// # Errors
    /// [`HostError::Failed`] when the kernel does not say; without it sequence numbers mean nothing.
    fn boot(&self) -> Result<BootId, HostError> {
        boot::of_this_machine()
    }

    /// How long the host has been up, sleeps in between included; `None` where the kernel does not say.
    fn up_for(&self) -> Option<Duration> {
        boot::uptime_of_this_machine()
    }

    /// Returns once the host is awake after [`Host::sleep`]. On a real host whoever can ask is awake.
    fn woken(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Wakes another host.
    fn wake(&self, target: &HostId, address: Option<&str>) -> impl Future<Output = Result<(), HostError>> + Send;
}
