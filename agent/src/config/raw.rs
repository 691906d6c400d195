//! The configuration file as it is written: sections of plain values, every default with its reason.

use std::path::PathBuf;

use ballast_daemon::{config::File, tls::TlsFiles};
use serde::{Deserialize, Serialize};

use super::{CpuAccounting, PowerMeter, bmc::BmcSection};

/// Bandwidth that migrations may use where none is given: gigabit Ethernet, the least a fleet has.
pub(super) const DEFAULT_BANDWIDTH_MBIT: f64 = 1000.0;

/// `[agent]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AgentSection {
    pub(super) host: Option<String>,
    pub(super) scheduler: String,
    pub(super) data_dir: String,
    pub(super) period_seconds: f64,
    pub(super) moves_out: usize,
    pub(super) clock_difference_max_seconds: f64,
    pub(super) log: String,
}

impl Default for AgentSection {
    fn default() -> Self {
        Self {
            host: None,
            // A first try is on one machine.
            scheduler: "http://127.0.0.1:7070".to_owned(),
            // Where the unit's StateDirectory points.
            data_dir: "/var/lib/ballast/agent".to_owned(),
            period_seconds: super::DEFAULT_PERIOD.as_secs_f64(),
            moves_out: super::DEFAULT_MOVES_OUT,
            clock_difference_max_seconds: super::DEFAULT_CLOCK_DIFFERENCE.as_secs_f64(),
            log: "info".to_owned(),
        }
    }
}

/// `[libvirt]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LibvirtSection {
    pub(super) uri: String,
    pub(super) migration_uri: Option<String>,
    pub(super) migration_bandwidth_mbit: f64,
    pub(super) shared_paths: Vec<PathBuf>,
    pub(super) migration_tls_dir: Option<PathBuf>,
    pub(super) measure_writes: bool,
}

impl Default for LibvirtSection {
    fn default() -> Self {
        Self {
            uri: "qemu:///system".to_owned(),
            migration_uri: None,
            migration_bandwidth_mbit: DEFAULT_BANDWIDTH_MBIT,
            shared_paths: Vec::new(),
            migration_tls_dir: None,
            measure_writes: true,
        }
    }
}

/// How the file says that a host sleeps.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SleepWay {
    /// It does not: switching machines off is for the operator to allow.
    #[default]
    None,
    Suspend,
    PowerOff,
}

/// `[host]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HostSection {
    pub(super) cpu_cores: Option<f64>,
    pub(super) memory_mib: Option<u64>,
    pub(super) cpu_accounting: CpuAccounting,
    pub(super) sleep: SleepWay,
    pub(super) sleep_command: Vec<String>,
    pub(super) wake_command: Vec<String>,
    pub(super) wake_address: Option<String>,
    pub(super) fault_domain: Option<String>,
    pub(super) site: Option<String>,
}

/// `[power]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PowerSection {
    pub(super) class: Option<String>,
    pub(super) load_watts: Option<Vec<f64>>,
    pub(super) asleep_watts: Option<f64>,
    pub(super) wake_seconds: Option<f64>,
    pub(super) fall_asleep_seconds: Option<f64>,
    pub(super) sources: Vec<PowerMeter>,
}

impl Default for PowerSection {
    fn default() -> Self {
        Self {
            class: None,
            load_watts: None,
            asleep_watts: None,
            wake_seconds: None,
            fall_asleep_seconds: None,
            // The wall first: it is what the bill counts.
            sources: vec![PowerMeter::Dcmi, PowerMeter::Hwmon, PowerMeter::Rapl],
        }
    }
}

/// The whole file.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) agent: AgentSection,
    pub(super) tls: Option<TlsFiles>,
    pub(super) libvirt: LibvirtSection,
    pub(super) host: HostSection,
    pub(super) power: PowerSection,
    pub(super) bmc: BmcSection,
}

impl Raw {
    pub(super) fn read(file: &mut File) -> Self {
        let tls = file.has("tls").then(|| file.section("tls"));
        Self {
            agent: file.section("agent"),
            tls,
            libvirt: file.section("libvirt"),
            host: file.section("host"),
            power: file.section("power"),
            bmc: file.section("bmc"),
        }
    }
}
