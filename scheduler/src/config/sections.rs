//! The sections of the file, with their defaults and the range of every value.

use std::{
    net::{AddrParseError, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use ballast_core::{
    decision::Mode,
    policy::RiskGreedy,
    units::{Bytes, seconds},
};
use ballast_daemon::{config::Problems, tls::TlsFiles};
use serde::{Deserialize, Serialize};

use super::Limits;
use crate::{
    engine::{CommandSettings, KeepSettings},
    rpc::rate::Rate,
};

/// Loopback: a first start shows itself to nobody else.
pub(super) const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7070);

/// `[scheduler]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Scheduler {
    /// Address of the gRPC services.
    pub(super) listen: String,
    /// Address of `/metrics` and `/healthz`; empty for none.
    pub(super) metrics_listen: String,
    /// Journal, telemetry log and store.
    pub(super) data_dir: PathBuf,
    /// Time between two samples of an agent.
    pub(super) period_seconds: f64,
    /// Time between two regular rounds.
    pub(super) round_seconds: f64,
    /// Shortest time between two looks at overloaded hosts.
    pub(super) relief_seconds: f64,
    /// Policy that proposes.
    pub(super) policy: String,
    /// Policy that is asked in every round and compared; empty for none.
    pub(super) policy_shadow: String,
    /// The file with the networks of a learned policy; empty for those that ship.
    pub(super) policy_bundle: PathBuf,
    /// Mode of the first start; later the journal remembers.
    pub(super) mode: Mode,
    /// Seed of every random choice.
    pub(super) seed: u64,
    /// Least epoch of the next start; see the message of a scheduler that stepped down.
    pub(super) epoch_min: u64,
    /// Encrypt migrations with the hypervisors' own TLS.
    pub(super) migration_tls: bool,
    /// Show CPU and steal of each vm among the metrics.
    pub(super) metrics_per_vm: bool,
}

impl Default for Scheduler {
    fn default() -> Self {
        Self {
            listen: LISTEN.to_string(),
            metrics_listen: "127.0.0.1:7071".to_owned(),
            // The systemd unit's StateDirectory.
            data_dir: "/var/lib/ballast/scheduler".into(),
            // Kepler's interval; a bulk reading of twenty vms costs libvirtd 30 ms, so 5 s keep it below one percent.
            period_seconds: 5.0,
            // A migration takes seconds to minutes: deciding more often would decide on moves still under way.
            round_seconds: 60.0,
            relief_seconds: 1.0,
            policy: RiskGreedy::NAME.to_owned(),
            policy_shadow: String::new(),
            policy_bundle: PathBuf::new(),
            // A newcomer sees what would be done before anything is done.
            mode: Mode::Recommend,
            seed: 1,
            epoch_min: 1,
            // A vm's memory holds what its users trusted it with; plain must be asked for.
            migration_tls: true,
            // Two series per vm: for fleets beyond ten thousand vms rather turned off.
            metrics_per_vm: true,
        }
    }
}

impl Scheduler {
    pub(super) fn listen(&self) -> Result<SocketAddr, AddrParseError> {
        self.listen.parse()
    }

    pub(super) fn metrics_listen(&self) -> Result<Option<SocketAddr>, AddrParseError> {
        if self.metrics_listen.is_empty() { Ok(None) } else { self.metrics_listen.parse().map(Some) }
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        const ADDRESS: &str = "an address with port is needed, as 127.0.0.1:7070 or [::1]:7070";
        if self.listen().is_err() {
            problems.push("scheduler.listen", quoted(&self.listen), ADDRESS);
        }
        if self.metrics_listen().is_err() {
            problems.push("scheduler.metrics_listen", quoted(&self.metrics_listen), ADDRESS);
        }
        if !self.data_dir.is_absolute() {
            let shown = quoted(&self.data_dir.to_string_lossy());
            problems.push("scheduler.data_dir", shown, "an absolute path is needed");
        }
        within(problems, "scheduler.period_seconds", self.period_seconds, 0.5, 300.0);
        within(problems, "scheduler.round_seconds", self.round_seconds, self.period_seconds.max(1.0), 3600.0);
        within(problems, "scheduler.relief_seconds", self.relief_seconds, 0.1, 300.0);
        if !ballast_models::policy::NAMES.contains(&self.policy.as_str()) {
            let expected = format!("one of {} is needed", ballast_models::policy::NAMES.join(", "));
            problems.push("scheduler.policy", quoted(&self.policy), expected);
        }
        let shadow = self.policy_shadow.as_str();
        if !shadow.is_empty() && (shadow == self.policy || !ballast_models::policy::NAMES.contains(&shadow)) {
            let names = ballast_models::policy::NAMES.join(", ");
            let expected = format!("nothing, or one of {names} that is not scheduler.policy is needed");
            problems.push("scheduler.policy_shadow", quoted(shadow), expected);
        }
        if !self.policy_bundle.as_os_str().is_empty() && !self.policy_bundle.is_absolute() {
            let shown = quoted(&self.policy_bundle.to_string_lossy());
            problems.push(
                "scheduler.policy_bundle",
                shown,
                "an absolute path is needed, or nothing for the one that ships",
            );
        }
        if self.epoch_min == 0 {
            problems.push("scheduler.epoch_min", 0, "at least 1 is needed");
        }
    }
}

/// `[tls]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tls {
    /// Certificate of the authority that signs agents and operators.
    pub(super) ca: PathBuf,
    /// Own certificate.
    pub(super) cert: PathBuf,
    /// Key of the own certificate.
    pub(super) key: PathBuf,
}

impl Tls {
    pub(super) fn check(&self, problems: &mut Problems) {
        for (field, path) in [("tls.ca", &self.ca), ("tls.cert", &self.cert), ("tls.key", &self.key)] {
            if path.as_os_str().is_empty() {
                problems.push(field, "\"\"", "the path of a PEM file is needed");
            } else if let Err(error) = std::fs::metadata(path) {
                let shown = quoted(&path.to_string_lossy());
                problems.push(field, shown, format!("a PEM file that can be read is needed ({error})"));
            }
        }
    }
}

impl From<Tls> for TlsFiles {
    fn from(tls: Tls) -> Self {
        Self { ca: tls.ca, cert: tls.cert, key: tls.key }
    }
}

/// `[commands]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Commands {
    /// How long after receipt a command may still be begun.
    pub(super) ttl_seconds: f64,
    /// Time to the first repetition of a command that is not answered.
    pub(super) accept_timeout_seconds: f64,
    /// Time without news of a command after which its agent is asked.
    pub(super) silence_timeout_seconds: f64,
    /// Time an open command of an unreachable host is waited for before a warning.
    pub(super) alarm_after_seconds: f64,
}

impl Default for Commands {
    fn default() -> Self {
        // The engine's own, where their reasons stand.
        let settings = CommandSettings::default();
        Self {
            ttl_seconds: settings.ttl.as_secs_f64(),
            accept_timeout_seconds: settings.accept_timeout.as_secs_f64(),
            silence_timeout_seconds: settings.silence_timeout.as_secs_f64(),
            alarm_after_seconds: settings.alarm_after.as_secs_f64(),
        }
    }
}

impl From<Commands> for CommandSettings {
    fn from(commands: Commands) -> Self {
        Self {
            ttl: seconds(commands.ttl_seconds),
            accept_timeout: seconds(commands.accept_timeout_seconds),
            silence_timeout: seconds(commands.silence_timeout_seconds),
            alarm_after: seconds(commands.alarm_after_seconds),
        }
    }
}

impl Commands {
    pub(super) fn check(&self, problems: &mut Problems) {
        within(problems, "commands.ttl_seconds", self.ttl_seconds, 1.0, 3600.0);
        within(problems, "commands.accept_timeout_seconds", self.accept_timeout_seconds, 0.1, 300.0);
        within(problems, "commands.silence_timeout_seconds", self.silence_timeout_seconds, 1.0, 3600.0);
        within(problems, "commands.alarm_after_seconds", self.alarm_after_seconds, 1.0, 86_400.0);
    }
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LimitsSection {
    /// Batches an agent may have unacknowledged.
    pub(super) window_count: u32,
    /// Largest message taken.
    pub(super) message_kib_max: u32,
    /// Streams and calls at a time on one connection.
    pub(super) streams_per_connection: u32,
    /// Calls per second that one certificate may make in the long run.
    pub(super) calls_per_second: f64,
    /// Calls it may make at once.
    pub(super) calls_burst: u32,
    /// Messages per second that are read of one agent in the long run.
    pub(super) messages_per_second: f64,
    /// Messages that are read of it at once.
    pub(super) messages_burst: u32,
    /// Decisions kept in memory.
    pub(super) decisions_kept: u32,
    /// Migrations kept in memory.
    pub(super) migrations_kept: u32,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            // Five minutes of samples at 5 s: an agent that comes back catches up in one go.
            window_count: 64,
            // A batch of a thousand vms is 400 KiB, an inventory of as many 600 KiB.
            message_kib_max: 4096,
            // An agent needs one, an operator's tool a few.
            streams_per_connection: 64,
            // `ballast top` asks three things a second; a person with a script a few more.
            calls_per_second: 20.0,
            calls_burst: 200,
            // At the shortest period an agent sends two batches a second, and now and then a report.
            messages_per_second: 20.0,
            // An hour of samples at 5 s, a quarter at 1 s: an agent that comes back catches up in one go.
            messages_burst: 1000,
            decisions_kept: 1000,
            migrations_kept: 1000,
        }
    }
}

impl LimitsSection {
    pub(super) fn services(&self) -> Limits {
        Limits {
            message_bytes_max: self.message_kib_max as usize * 1024,
            streams_per_connection: self.streams_per_connection,
            calls: Rate { per_second: self.calls_per_second, burst: f64::from(self.calls_burst) },
            messages: Rate { per_second: self.messages_per_second, burst: f64::from(self.messages_burst) },
        }
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        between(problems, "limits.window_count", self.window_count, 1, 10_000);
        between(problems, "limits.message_kib_max", self.message_kib_max, 64, 65_536);
        between(problems, "limits.streams_per_connection", self.streams_per_connection, 1, 10_000);
        within(problems, "limits.calls_per_second", self.calls_per_second, 0.1, 100_000.0);
        between(problems, "limits.calls_burst", self.calls_burst, 1, 1_000_000);
        // An agent samples twice a second at most; below that honest ones would fall behind.
        within(problems, "limits.messages_per_second", self.messages_per_second, 4.0, 100_000.0);
        between(problems, "limits.messages_burst", self.messages_burst, 1, 1_000_000);
        between(problems, "limits.decisions_kept", self.decisions_kept, 10, 100_000);
        between(problems, "limits.migrations_kept", self.migrations_kept, 10, 100_000);
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Log {
    /// What is logged.
    pub(super) filter: String,
    /// Size of a telemetry segment.
    pub(super) telemetry_segment_mib: u64,
    /// Age of a telemetry segment.
    pub(super) telemetry_segment_seconds: f64,
    /// Size of the telemetry log.
    pub(super) telemetry_total_mib: u64,
    /// Age of the oldest telemetry.
    pub(super) telemetry_days: f64,
    /// Size of a journal segment.
    pub(super) journal_segment_mib: u64,
    /// Size of the journal.
    pub(super) journal_total_mib: u64,
    /// Length of the windows in the store.
    pub(super) windows_seconds: f64,
}

impl Default for Log {
    fn default() -> Self {
        // The engine's own, where their reasons stand.
        let keep = KeepSettings::default();
        Self {
            filter: "info".to_owned(),
            telemetry_segment_mib: mib(keep.telemetry_segment),
            telemetry_segment_seconds: keep.telemetry_segment_age.as_secs_f64(),
            telemetry_total_mib: mib(keep.telemetry_total),
            telemetry_days: keep.telemetry_age.as_secs_f64() / DAY_SECONDS,
            journal_segment_mib: mib(keep.journal_segment),
            journal_total_mib: mib(keep.journal_total),
            windows_seconds: keep.windows.as_secs_f64(),
        }
    }
}

const DAY_SECONDS: f64 = 86_400.0;

impl Log {
    pub(super) fn keep(&self, limits: &LimitsSection) -> KeepSettings {
        KeepSettings {
            telemetry_segment: Bytes::from_mib(self.telemetry_segment_mib),
            telemetry_segment_age: seconds(self.telemetry_segment_seconds),
            telemetry_total: Bytes::from_mib(self.telemetry_total_mib),
            telemetry_age: seconds(self.telemetry_days * DAY_SECONDS),
            journal_segment: Bytes::from_mib(self.journal_segment_mib),
            journal_total: Bytes::from_mib(self.journal_total_mib),
            windows: seconds(self.windows_seconds),
            decisions: limits.decisions_kept as usize,
            migrations: limits.migrations_kept as usize,
        }
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        /// 16 TiB: more is a slip of the pen.
        const MIB_MAX: u64 = 16 * 1024 * 1024;
        between(problems, "log.telemetry_segment_mib", self.telemetry_segment_mib, 1, 4096);
        within(problems, "log.telemetry_segment_seconds", self.telemetry_segment_seconds, 10.0, 7.0 * DAY_SECONDS);
        let at_least = self.telemetry_segment_mib.saturating_mul(2);
        between(problems, "log.telemetry_total_mib", self.telemetry_total_mib, at_least, MIB_MAX);
        within(problems, "log.telemetry_days", self.telemetry_days, 0.01, 3660.0);
        between(problems, "log.journal_segment_mib", self.journal_segment_mib, 1, 1024);
        let at_least = self.journal_segment_mib.saturating_mul(2);
        between(problems, "log.journal_total_mib", self.journal_total_mib, at_least, MIB_MAX);
        within(problems, "log.windows_seconds", self.windows_seconds, 30.0, DAY_SECONDS);
    }
}

fn mib(bytes: Bytes) -> u64 {
    bytes.get() / Bytes::from_mib(1).get()
}

pub(super) fn quoted(text: &str) -> String {
    format!("{text:?}")
}

/// NaN is within nothing.
pub(super) fn within(problems: &mut Problems, field: &str, value: f64, low: f64, high: f64) {
    if !(low..=high).contains(&value) {
        problems.push(field, value, format!("a number from {low} to {high} is needed"));
    }
}

pub(super) fn between<T: PartialOrd + Copy + std::fmt::Display>(
    problems: &mut Problems,
    field: &str,
    value: T,
    low: T,
    high: T,
) {
    if !(low..=high).contains(&value) {
        problems.push(field, value, format!("a number from {low} to {high} is needed"));
    }
}
