//! The scheduler's configuration: TOML sections, every problem told at once, every default with its reason.
//!
//! [`Config::load`] reads a file for `main`; the demo and the tests use [`Config::for_embedding`]. What is made here is
//! checked: nothing after it asks again whether a number makes sense.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use ballast_core::{tuning::Tuning, units::seconds};
use ballast_daemon::{
    config::{ConfigError, File, Problem, Problems},
    tls::TlsFiles,
};
use serde::Serialize;

use crate::{
    engine::{CommandSettings, EngineSettings, ForecastSettings},
    rpc::rate::Rate,
};

mod sections;
#[cfg(test)]
mod tests;

mod forecast;

use forecast::Forecast;
use sections::{Commands, LimitsSection, Log, Scheduler, Tls};

/// Bounds of the services.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Largest message taken.
    pub message_bytes_max: usize,
    /// Streams and calls at a time on one connection.
    pub streams_per_connection: u32,
    /// Calls of one certificate.
    pub calls: Rate,
    /// Messages of one agent's link.
    pub messages: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        LimitsSection::default().services()
    }
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where agents and operators are served.
    pub listen: SocketAddr,
    /// Where metrics are served; `None` for nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// Certificates; `None` only on loopback.
    pub tls: Option<TlsFiles>,
    /// What the engine is told.
    pub engine: EngineSettings,
    /// Bounds of the services.
    pub limits: Limits,
    /// Whether metrics show each vm.
    pub metrics_per_vm: bool,
    /// What is logged, as `info` or `ballast_scheduler=debug,info`.
    pub log_filter: String,
    resolved: Sections,
}

/// The sections as they are written in a file; shown by `check-config` with every default filled in.
#[derive(Debug, Clone, Default, Serialize)]
struct Sections {
    scheduler: Scheduler,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls>,
    tuning: Tuning,
    forecast: Forecast,
    commands: Commands,
    limits: LimitsSection,
    log: Log,
}

/// How strictly a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// An unknown key is a mistake: when a configuration is checked, and at the first start.
    Strict,
    /// An unknown key is warned of, so that an older version still starts with a newer file.
    Lenient,
    /// As at a start: strict where the data directory holds nothing yet, else lenient.
    AsStarted,
}

impl Config {
    /// Reads a file. Beside the configuration come the unknown keys to warn of.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem of the file.
    pub fn load(path: &Path, strictness: Strictness) -> Result<(Self, Vec<Problem>), ConfigError> {
        Self::read(File::read(path)?, strictness)
    }

    /// Takes the text of a file; `path` is for messages.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem of the text.
    pub fn parse(text: &str, path: &Path, strictness: Strictness) -> Result<(Self, Vec<Problem>), ConfigError> {
        Self::read(File::parse(text, path)?, strictness)
    }

    /// A configuration with every default, for a scheduler inside another program: on loopback, without metrics, and with a
    /// model that is waited for, because the program's clock may outrun it. Whoever embeds it changes the fields it wants
    /// changed.
    pub fn for_embedding(data_dir: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        let mut config = Self::from_sections(Sections::default());
        config.engine.data_dir = data_dir.into();
        config.listen = listen;
        config.metrics_listen = None;
        config.engine.forecast.deadline = None;
        config
    }

    /// The configuration as TOML with every default filled in: a file that would give the same configuration.
    ///
    /// # Errors
    /// Only where a value has no TOML form, such as a path that is not UTF-8.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(&self.resolved)
    }

    fn read(mut file: File, strictness: Strictness) -> Result<(Self, Vec<Problem>), ConfigError> {
        let sections = Sections::read(&mut file);
        sections.check(&mut file.problems);
        let strict = match strictness {
            Strictness::Strict => true,
            Strictness::Lenient => false,
            Strictness::AsStarted => is_first_start(&sections.scheduler.data_dir),
        };
        file.finish((), strict).map(|((), unknown)| (Self::from_sections(sections), unknown))
    }

    /// Only for sections that have been checked: an address that is none would become the default one.
    fn from_sections(sections: Sections) -> Self {
        let Sections { scheduler, tls, tuning, forecast, commands, limits, log } = sections.clone();
        let engine = EngineSettings {
            data_dir: scheduler.data_dir.clone(),
            period: seconds(scheduler.period_seconds),
            window: limits.window_count,
            round_interval: seconds(scheduler.round_seconds),
            relief_interval: seconds(scheduler.relief_seconds),
            tuning,
            policy: scheduler.policy.clone(),
            policy_shadow: Some(scheduler.policy_shadow.clone()).filter(|name| !name.is_empty()),
            policy_bundle: Some(scheduler.policy_bundle.clone()).filter(|path| !path.as_os_str().is_empty()),
            seed: scheduler.seed,
            initial_mode: scheduler.mode,
            epoch_min: scheduler.epoch_min,
            migration_tls: scheduler.migration_tls,
            commands: CommandSettings::from(commands),
            forecast: ForecastSettings::from(forecast),
            keep: log.keep(&limits),
        };
        Self {
            listen: scheduler.listen().unwrap_or(sections::LISTEN),
            metrics_listen: scheduler.metrics_listen().unwrap_or_default(),
            tls: tls.map(TlsFiles::from),
            engine,
            limits: limits.services(),
            metrics_per_vm: scheduler.metrics_per_vm,
            log_filter: log.filter,
            resolved: sections,
        }
    }
}

impl Sections {
    fn read(file: &mut File) -> Self {
        let with_tls = file.has("tls");
        let tls: Tls = file.section("tls");
        Self {
            scheduler: file.section("scheduler"),
            tls: with_tls.then_some(tls),
            tuning: file.section("tuning"),
            forecast: file.section("forecast"),
            commands: file.section("commands"),
            limits: file.section("limits"),
            log: file.section("log"),
        }
    }

    fn check(&self, problems: &mut Problems) {
        self.scheduler.check(problems);
        for wrong in self.tuning.problems() {
            problems.push(format!("tuning.{}", wrong.field), wrong.value, wrong.expected);
        }
        self.forecast.check(problems);
        self.commands.check(problems);
        self.limits.check(problems);
        self.log.check(problems);
        if let Some(tls) = &self.tls {
            tls.check(problems);
        }
        self.check_exposure(problems);
    }

    /// Without TLS everybody who reaches the port may move vms: only this machine may.
    fn check_exposure(&self, problems: &mut Problems) {
        let Ok(listen) = self.scheduler.listen() else { return };
        if self.tls.is_none() && !is_loopback(listen.ip()) {
            let expected = "beyond loopback a section [tls] with ca, cert and key is needed, for agents and operators \
                            are known by their certificates";
            problems.push("scheduler.listen", listen, expected);
        }
    }
}

/// True for addresses that only this machine reaches.
pub(crate) fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => address.is_loopback() || address.to_ipv4_mapped().is_some_and(|it| it.is_loopback()),
    }
}

fn is_first_start(data_dir: &Path) -> bool {
    fs::read_dir(data_dir).map_or(true, |mut entries| entries.next().is_none())
}
