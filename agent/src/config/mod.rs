//! Configuration of the agent: what is written in the file, and what follows from it.
//!
//! [`raw`] is the file as it is; [`Config`] is checked and complete. Every problem is told at once.

mod bmc;
mod check;
mod options;
mod raw;
#[cfg(test)]
mod tests;

use std::{fmt, path::PathBuf, time::Duration};

use ballast_core::{
    id::HostId,
    inventory::SleepSupport,
    power::PowerCurve,
    units::{Bytes, BytesPerSec, Cores},
};
use ballast_daemon::{
    config::{ConfigError, File, Problem},
    tls::TlsFiles,
};
use serde::{Deserialize, Serialize};

pub use bmc::BmcConfig;
pub use check::Machine;

/// Time between two samples until the scheduler says otherwise: the granularity at which forecasts gain nothing more.
pub const DEFAULT_PERIOD: Duration = Duration::from_secs(5);
/// Migrations that may leave at once: libvirt's own protocol is dependable for one or two per host.
pub const DEFAULT_MOVES_OUT: usize = 2;

/// By how much two hosts' clocks may differ for a vm to move between them: NTP keeps them within milliseconds, and a guest that
/// sees the time jump by more than this had better stay.
pub const DEFAULT_CLOCK_DIFFERENCE: Duration = Duration::from_secs(5);

/// Whose CPU use counts as the host's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CpuAccounting {
    /// Everything that runs on the machine: right where the machine is the host.
    #[default]
    Host,
    /// The vms alone: for several hosts on one machine, as in a test lab.
    #[serde(alias = "guests")]
    Vms,
}

/// Where a power figure may come from, in the order it is tried; the power curve is always the last resort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerMeter {
    /// Wall power by IPMI DCMI.
    Dcmi,
    /// Wall power by the BMC's Redfish interface.
    Redfish,
    /// A hwmon power meter.
    Hwmon,
    /// The processor's RAPL counters.
    Rapl,
}

/// How the hypervisor is reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LibvirtConfig {
    /// The local hypervisor.
    pub uri: String,
    /// Where other hosts' hypervisors reach this one.
    pub migration_uri: String,
    /// Bandwidth migrations may use.
    pub migration_bandwidth: BytesPerSec,
    /// Paths whose content every host of the fleet sees, where the filesystem does not tell.
    pub shared_paths: Vec<PathBuf>,
    /// Where QEMU finds its certificates for encrypted migrations, where that is not libvirt's default.
    pub migration_tls_dir: Option<PathBuf>,
    /// Whether it is measured how fast vms write their memory.
    pub measures_writes: bool,
}

/// The host itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HostConfig {
    /// CPU that vms may use.
    pub cpu_capacity: Cores,
    /// Memory that vms may use.
    pub memory_capacity: Bytes,
    /// Whose CPU use counts.
    pub cpu_accounting: CpuAccounting,
    /// How it sleeps.
    pub sleep: SleepSupport,
    /// Command that puts it to sleep; empty for the way of `sleep`.
    pub sleep_command: Vec<String>,
    /// Command that wakes another host, its name and wake address appended unless it places one of them; empty for the way
    /// that the address names.
    pub wake_command: Vec<String>,
    /// What wakes this host: a hardware address, or its BMC.
    pub wake_address: Option<String>,
    /// What fails together with this host.
    pub fault_domain: Option<String>,
    /// Where this host is.
    pub site: Option<String>,
}

/// Power of the host.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PowerConfig {
    /// Its power model.
    pub curve: PowerCurve,
    /// Meters to try, in this order.
    pub meters: Vec<PowerMeter>,
}

/// The agent's configuration: checked and complete.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Config {
    /// Name of this host.
    pub host_id: HostId,
    /// Address of the scheduler, as `http://` or `https://` with host and port.
    pub scheduler: String,
    /// Certificates; required unless the scheduler is on this machine.
    pub tls: Option<TlsFiles>,
    /// Where journal and spool are kept.
    pub data_dir: PathBuf,
    /// Time between two samples until the scheduler says otherwise.
    pub period: Duration,
    /// Migrations that may leave at once.
    pub moves_out: usize,
    /// By how much the clock of a vm's source may differ from this host's.
    pub clock_difference_max: Duration,
    /// Filter of the log, as `info` or `ballast_agent=debug,info`.
    pub log: String,
    /// The hypervisor.
    pub libvirt: LibvirtConfig,
    /// The host.
    pub host: HostConfig,
    /// Its power.
    pub power: PowerConfig,
    /// As whom BMCs are spoken to, where they are.
    pub bmc: Option<BmcConfig>,
}

impl Config {
    /// Understands a file; `machine` supplies what the file leaves out. With `strict` unknown keys are errors, else they
    /// come back to be warned of.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with every problem at once.
    pub fn from_file(mut file: File, machine: &Machine, strict: bool) -> Result<(Self, Vec<Problem>), ConfigError> {
        let raw = raw::Raw::read(&mut file);
        let config = check::resolve(raw, machine, &mut file.problems);
        file.finish(config, strict)
    }

    /// A configuration for a host of a fleet that lives in one process: no files but `data_dir`, no TLS.
    pub fn embedded(
        host_id: HostId,
        scheduler: String,
        data_dir: PathBuf,
        capacity: (Cores, Bytes),
        curve: PowerCurve,
    ) -> Self {
        let migration_uri = format!("simulated://{host_id}/");
        Self {
            host_id,
            scheduler,
            tls: None,
            data_dir,
            period: DEFAULT_PERIOD,
            moves_out: DEFAULT_MOVES_OUT,
            clock_difference_max: DEFAULT_CLOCK_DIFFERENCE,
            log: "info".to_owned(),
            libvirt: LibvirtConfig {
                uri: migration_uri.clone(),
                migration_uri,
                migration_bandwidth: check::megabits(raw::DEFAULT_BANDWIDTH_MBIT),
                shared_paths: Vec::new(),
                migration_tls_dir: None,
                measures_writes: true,
            },
            host: HostConfig {
                cpu_capacity: capacity.0,
                memory_capacity: capacity.1,
                cpu_accounting: CpuAccounting::Host,
                sleep: SleepSupport::Suspend,
                sleep_command: Vec::new(),
                wake_command: Vec::new(),
                wake_address: None,
                fault_domain: None,
                site: None,
            },
            power: PowerConfig { curve, meters: Vec::new() },
            bmc: None,
        }
    }
}

impl fmt::Display for Config {
    /// What `check-config` prints: every value in effect, as JSON, for people and for scripts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string_pretty(self).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}
