//! The file that `ballast plan` reads: a fleet at one moment as a person would write it down, with a default for whatever
//! can be left out. `docs/plan.md` shows it by example. Parsing is the caller's; [`super::build`] checks and converts.

use serde::Deserialize;

use crate::{
    convergence::{Compression, Convergence},
    inventory::{Obstacle, SleepSupport},
    sample::VmState,
    tuning::Tuning,
};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    /// What it is about, for people.
    #[serde(default)]
    pub about: String,
    /// When it was taken, in seconds since 1970 [default: 1000000000]. Everything else is told relative to it.
    #[serde(default = "taken_at")]
    pub taken_at_unix_seconds: u64,
    /// Time between two values of `cpu_recent` [default: 300].
    #[serde(default = "period")]
    pub period_seconds: f64,
    /// Policy that proposes [default: risk-greedy].
    #[serde(default)]
    pub policy: Option<String>,
    /// Hosts that are to be emptied as a whole or not at all, as `--drain` asks.
    #[serde(default)]
    pub drain: Vec<String>,
    /// The hosts.
    pub hosts: Vec<HostEntry>,
    /// The vms.
    #[serde(default)]
    pub vms: Vec<VmEntry>,
    /// Numbers to decide by; what is not named keeps its default.
    #[serde(default)]
    pub tuning: Tuning,
}

fn taken_at() -> u64 {
    1_000_000_000
}

fn period() -> f64 {
    300.0
}

/// One host.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostEntry {
    /// Its name.
    pub name: String,
    /// CPU that vms may use.
    pub cpu_cores: f64,
    /// Memory that vms may use.
    pub memory_gib: f64,
    /// Its power over its load: a class by name, or figures of its own [default: epyc-7742].
    #[serde(default)]
    pub power: PowerEntry,
    /// How it sleeps: none, suspend or power_off [default: suspend].
    #[serde(default = "suspend")]
    pub sleep: SleepSupport,
    /// True where it sleeps.
    #[serde(default)]
    pub asleep: bool,
    /// True where it is to be emptied, as far as that goes.
    #[serde(default)]
    pub draining: bool,
    /// What fails together with it [default: it fails alone].
    #[serde(default)]
    pub fault_domain: Option<String>,
    /// Where it is, as `proximity` of the tuning calls it.
    #[serde(default)]
    pub site: Option<String>,
    /// Networks present.
    #[serde(default)]
    pub networks: Vec<String>,
    /// Shared storages reachable.
    #[serde(default)]
    pub storages: Vec<String>,
    /// Its CPU model.
    #[serde(default)]
    pub cpu_model: String,
    /// CPU models it can provide.
    #[serde(default)]
    pub cpu_models: Vec<String>,
    /// Bandwidth that migrations may use, in gigabits per second [default: 10].
    #[serde(default = "bandwidth")]
    pub migration_gbit: f64,
    /// CPU in use on it [default: what its vms use, at most all it has].
    #[serde(default)]
    pub cpu_used: Option<f64>,
    /// For how long it has been over its limit [default: as the recent use of its vms tells, else an hour].
    #[serde(default)]
    pub over_limit_seconds: Option<f64>,
    /// For how long it has held no vm [default: an hour].
    #[serde(default)]
    pub empty_seconds: Option<f64>,
    /// When it last fell asleep or woke [default: a day ago].
    #[serde(default)]
    pub power_changed_seconds_ago: Option<f64>,
    /// For how long it has sent nothing, where that is too long.
    #[serde(default)]
    pub silent_seconds: Option<f64>,
    /// What else makes its figures doubtful.
    #[serde(default)]
    pub doubts: Vec<DoubtEntry>,
}

fn suspend() -> SleepSupport {
    SleepSupport::Suspend
}

fn bandwidth() -> f64 {
    10.0
}

/// Why a host's figures are not to be acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoubtEntry {
    /// No link to its agent.
    Disconnected,
    /// Its agent cannot reach the hypervisor.
    HypervisorAway,
    /// What it does not list may still be there.
    InventoryIncomplete,
    /// It did not come back when it was last woken.
    WakeFailed,
}

/// A host's power.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum PowerEntry {
    /// A class: one of [`crate::power::CLASSES`].
    Class(String),
    /// The site's own figures.
    Curve(CurveEntry),
}

impl Default for PowerEntry {
    fn default() -> Self {
        Self::Class("epyc-7742".to_owned())
    }
}

/// A site's own power curve.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurveEntry {
    /// Watts at 0, 10 … 100 % load: eleven values.
    pub load_watts: Vec<f64>,
    /// Watts asleep [default: 5].
    #[serde(default = "asleep_watts")]
    pub asleep_watts: f64,
    /// Time from the wake order until it carries load [default: 30].
    #[serde(default = "wake")]
    pub wake_seconds: f64,
    /// Time from the sleep order until it draws its sleeping power [default: 15].
    #[serde(default = "fall_asleep")]
    pub fall_asleep_seconds: f64,
}

fn asleep_watts() -> f64 {
    5.0
}

fn wake() -> f64 {
    30.0
}

fn fall_asleep() -> f64 {
    15.0
}

/// One vm.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmEntry {
    /// Its name; this or `uuid` is needed.
    #[serde(default)]
    pub name: Option<String>,
    /// Its uuid [default: made from the name].
    #[serde(default)]
    pub uuid: Option<String>,
    /// The host it is on.
    pub host: String,
    /// Number of virtual CPUs.
    pub vcpus: u32,
    /// Memory it may grow to.
    pub memory_gib: f64,
    /// Memory it holds: what a migration copies [default: all of it].
    #[serde(default)]
    pub memory_used_gib: Option<f64>,
    /// CPU it used lately, in cores, oldest first; the last value is now. From twelve values on it is forecast; with none
    /// it is taken to use every vCPU.
    #[serde(default)]
    pub cpu_recent: Vec<f64>,
    /// Share of the time it had to wait for a CPU, 0 to 1.
    #[serde(default)]
    pub steal: Option<f64>,
    /// Memory it writes, which a migration has to copy again.
    #[serde(default)]
    pub dirty_mib_per_second: Option<f64>,
    /// What it is doing: running, paused, shut_off, crashed [default: running].
    #[serde(default = "running")]
    pub state: VmState,
    /// Networks it is attached to.
    #[serde(default)]
    pub networks: Vec<String>,
    /// Shared storages its disks lie on.
    #[serde(default)]
    pub storages: Vec<String>,
    /// CPU model it was started with [default: any CPU will do].
    #[serde(default)]
    pub cpu_model: Option<String>,
    /// CPU of the host that was passed through to it: it runs on an equal one only.
    #[serde(default)]
    pub cpu_same_as: Option<String>,
    /// Hosts it may run on [default: all].
    #[serde(default)]
    pub pinned_to: Vec<String>,
    /// Groups whose members must not share a host.
    #[serde(default)]
    pub anti_affinity: Vec<String>,
    /// Bundles: their members stay on one host and move as one.
    #[serde(default)]
    pub affinity: Vec<String>,
    /// Groups whose members must not share a fault domain.
    #[serde(default)]
    pub spread: Vec<String>,
    /// Whose requests it serves, as `proximity` of the tuning calls them.
    #[serde(default)]
    pub users: Option<String>,
    /// How its copies are to go.
    #[serde(default)]
    pub migration: MigrationEntry,
    /// True where it is to be left alone.
    #[serde(default)]
    pub immovable: bool,
    /// Why it cannot be moved at all.
    #[serde(default)]
    pub obstacles: Vec<Obstacle>,
    /// True while libvirt runs a job on it.
    #[serde(default)]
    pub busy: bool,
    /// When it last moved [default: never].
    #[serde(default)]
    pub last_moved_seconds_ago: Option<f64>,
    /// Where it is on its way to.
    #[serde(default)]
    pub moving_to: Option<String>,
}

/// An operator's wish for the copies of a vm, as the label has it (docs/labels.md).
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MigrationEntry {
    /// Longest pause at the switch-over.
    pub max_downtime_ms: Option<u32>,
    /// Rate that a copy is held to, megabits per second.
    pub bandwidth_mbit: Option<u32>,
    /// Time in which a copy has to end.
    pub timeout_seconds: Option<u32>,
    /// Whether the vm may be slowed down until its copy converges.
    pub auto_converge: bool,
    /// Connections that a copy is spread over.
    pub parallel: Option<u32>,
    /// How the stream is made smaller.
    pub compression: Compression,
}

impl MigrationEntry {
    /// The wish, which may be one that cannot be granted.
    pub(super) fn wish(&self) -> Convergence {
        Convergence {
            downtime_max_ms: self.max_downtime_ms,
            bandwidth_mbit: self.bandwidth_mbit,
            timeout_seconds: self.timeout_seconds,
            auto_converge: self.auto_converge,
            parallel: self.parallel,
            compression: self.compression,
        }
    }
}

fn running() -> VmState {
    VmState::Running
}
