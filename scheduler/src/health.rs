//! Whether the scheduler does its work: told to gRPC health, `/healthz` and systemd in the same words.
//!
//! It serves only while the journal can be written and no other scheduler has taken over; without a telemetry log or a
//! store it still does its work, with less to show for it later.

use std::{fmt, sync::Arc};

use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    engine::{Engine, EngineStats, Impairment},
    metrics::{Look, Metrics},
    rpc,
};

/// A reporter that says all is well, as it is when the engine has just started.
pub(crate) fn reporter() -> HealthReporter {
    HealthReporter::new()
}

/// Tells `reporter` after every look whether the services serve, until the looks end.
pub(crate) async fn tell(reporter: HealthReporter, metrics: Arc<Metrics>) {
    set(&reporter, ServingStatus::Serving).await;
    let mut looks = metrics.looks();
    while looks.changed().await.is_ok() {
        let well = looks.borrow_and_update().as_ref().is_none_or(|look| trouble(&look.stats).is_none());
        set(&reporter, if well { ServingStatus::Serving } else { ServingStatus::NotServing }).await;
    }
}

async fn set(reporter: &HealthReporter, status: ServingStatus) {
    for name in rpc::HEALTH_NAMES {
        reporter.set_service_status(name, status).await;
    }
}

/// Why it does not do its work; `None` where it does.
pub(crate) fn trouble(stats: &EngineStats) -> Option<String> {
    stats.impairments.iter().find_map(|impairment| match impairment {
        Impairment::JournalUnwritable { why } => Some(format!("the journal cannot be written: {why}")),
        Impairment::SteppedDown { why } => Some(format!("stepped down: {why}")),
        Impairment::TelemetryLogUnwritable { .. } | Impairment::StoreUnusable { .. } => None,
    })
}

/// What is wrong as of the newest look, or now with the engine's tasks; `None` where all is well.
pub fn check(metrics: &Metrics, engine: &Engine) -> Option<String> {
    if !engine.is_alive() {
        return Some("a part of the engine does not answer".to_owned());
    }
    metrics.newest().and_then(|look| trouble(&look.stats))
}

/// One line for `systemctl status`.
pub fn line(look: &Look) -> String {
    let fleet = &look.snapshot;
    let count = |items: usize, what| Count(items, what);
    let mode = serde_json::to_value(look.stats.mode).unwrap_or_default();
    let mode = mode.as_str().unwrap_or_default();
    let state = format!(
        "{}, {}, {} running, mode {mode}, epoch {}",
        count(fleet.hosts.len(), "host"),
        count(fleet.vms.len(), "vm"),
        count(fleet.in_flight.len(), "migration"),
        look.stats.epoch
    );
    match trouble(&look.stats) {
        Some(trouble) => format!("{trouble}; {state}"),
        None => state,
    }
}

struct Count(usize, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}
