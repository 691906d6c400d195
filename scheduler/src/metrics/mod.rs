//! What Prometheus is told: counters kept here, and the engine's and the fleet's figures as of the newest look at them.
//!
//! [`observe`] looks once per sampling period and keeps what it saw, so that the cost of scrapes does not grow with
//! their number. Every name is a constant in [`names`]. Labels take values from closed sets, except `host` and `vm` in
//! [`fleet`], which are read from the snapshot and so never outlive what they name. [`http`] serves the text.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ballast_core::{
    decision::{Decision, Trigger},
    finding::Finding,
    id::HostId,
    outcome::Ending,
    oversight::Sources,
    proposal::Motive,
    snapshot::{HostPower, HostView, Snapshot},
    units::{Timestamp, Watts},
};
use ballast_daemon::tls::Credentials;
use prometheus_client::{
    encoding::text,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use tokio::sync::{broadcast::error::RecvError, watch};

use self::certificates::Certificates;
use crate::engine::{DecisionRecord, Engine, EngineStats, MigrationRecord};

mod certificates;
mod engine;
mod fleet;
mod forecast;
mod gains;
pub mod http;
pub mod names;
mod risk;
mod shadow;
#[cfg(test)]
mod tests;

/// A counter per value of one label.
type PerLabel = Family<[(&'static str, String); 1], Counter>;

/// Decisions looked at per period; more than that many in one period are only counted by the engine.
const DECISIONS_PER_LOOK: usize = 200;

/// What the newest look at the engine showed.
#[derive(Debug)]
pub struct Look {
    /// The fleet.
    pub snapshot: Arc<Snapshot>,
    /// The engine's own counts.
    pub stats: EngineStats,
    /// Whose forecasts the vms have.
    pub sources: Sources,
    /// When it was taken.
    pub at: Timestamp,
}

/// What was too much of one identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// A call, which was refused.
    Call,
    /// A message of a link, which was read later.
    Message,
}

impl Limited {
    fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Message => "message",
        }
    }
}

/// Everything that is counted here rather than in the engine. Shared behind an `Arc`; nothing in it blocks.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    per_vm: bool,
    newest: watch::Sender<Option<Arc<Look>>>,
    energy: Counter<f64, AtomicU64>,
    steps: PerLabel,
    denied: PerLabel,
    migration: Histogram,
    downtime: Histogram,
    refused: PerLabel,
    handshakes_refused: Counter,
    rate_limited: PerLabel,
    watchers_behind: Counter,
    certificates: Certificates,
    counted_up_to: AtomicU64,
}

impl Metrics {
    /// All at zero; with `per_vm` also two figures of each vm.
    pub fn new(per_vm: bool) -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            per_vm,
            newest: watch::Sender::new(None),
            energy: Counter::default(),
            steps: PerLabel::default(),
            denied: PerLabel::default(),
            // 0.25 s to 17 min: a small idle guest to one of 64 GiB that writes.
            migration: Histogram::new(exponential_buckets(0.25, 2.0, 13)),
            // 5 ms (post-copy) to 10 s.
            downtime: Histogram::new(exponential_buckets(0.005, 2.0, 12)),
            refused: PerLabel::default(),
            handshakes_refused: Counter::default(),
            rate_limited: PerLabel::default(),
            watchers_behind: Counter::default(),
            certificates: Certificates::default(),
            counted_up_to: AtomicU64::new(0),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(names::ENERGY_JOULES, "Energy of all hosts since the start", self.energy.clone());
        registry.register(names::STEPS_CHOSEN, "Steps chosen, by motive", self.steps.clone());
        registry.register(names::PROPOSALS_DENIED, "Findings against proposals, by rule", self.denied.clone());
        registry.register(names::MIGRATION_SECONDS, "Time of completed migrations", self.migration.clone());
        registry.register(names::DOWNTIME_SECONDS, "Pause of vms that moved, as measured", self.downtime.clone());
        registry.register(names::CALLS_REFUSED, "Calls refused, by status code", self.refused.clone());
        let limited = self.rate_limited.clone();
        registry.register(names::RATE_LIMITED, "Calls refused and messages held back as too many", limited);
        let handshakes = self.handshakes_refused.clone();
        registry.register(names::HANDSHAKES_REFUSED, "Connections refused for want of a certificate", handshakes);
        registry.register(names::WATCHERS_BEHIND, "Watchers given a fresh list", self.watchers_behind.clone());
    }

    /// The newest look at the engine; `None` before the first.
    pub fn newest(&self) -> Option<Arc<Look>> {
        self.newest.borrow().clone()
    }

    /// Every look from now on.
    pub fn looks(&self) -> watch::Receiver<Option<Arc<Look>>> {
        self.newest.subscribe()
    }

    /// The text of a scrape at `now`.
    ///
    /// # Errors
    /// Only where a value cannot be formatted, which a `String` always can.
    pub fn render(&self, now: Timestamp) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        text::encode_registry(&mut text, &self.registry)?;
        let newest = self.newest();
        let mut ends = Registry::default();
        ends.register_collector(Box::new(self.certificates.ends(newest.as_ref().map(|look| &*look.snapshot))));
        text::encode_registry(&mut text, &ends)?;
        if let Some(look) = newest {
            let mut moment = Registry::default();
            moment.register_collector(Box::new(engine::Counts(Arc::clone(&look))));
            moment.register_collector(Box::new(forecast::Forecasting(Arc::clone(&look))));
            moment.register_collector(Box::new(risk::Promises(Arc::clone(&look))));
            moment.register_collector(Box::new(gains::Gained(Arc::clone(&look))));
            moment.register_collector(Box::new(shadow::Compared(Arc::clone(&look))));
            moment.register_collector(Box::new(fleet::Fleet { look, now, per_vm: self.per_vm }));
            text::encode_registry(&mut text, &moment)?;
        }
        text::encode_eof(&mut text)?;
        Ok(text)
    }

    /// A call was refused.
    pub fn refused(&self, code: tonic::Code) {
        bump(&self.refused, "code", &format!("{code:?}"));
    }

    /// Somebody asked for more than one identity may.
    pub fn rate_limited(&self, what: Limited) {
        bump(&self.rate_limited, "what", what.name());
    }

    /// A connection was refused before any call: no certificate of our authority, or none in time.
    pub fn handshake_refused(&self) {
        self.handshakes_refused.inc();
    }

    /// The scheduler serves with these certificates.
    pub(crate) fn holds(&self, own: Credentials) {
        self.certificates.hold(own);
    }

    /// The agent of a host has shown a certificate that ends then.
    pub(crate) fn certificate_shown(&self, host: &HostId, ends: Timestamp) {
        self.certificates.show(host.clone(), ends);
    }

    /// A watcher of migrations was slower than they are.
    pub fn watcher_behind(&self) {
        self.watchers_behind.inc();
    }

    fn take_look(&self, look: Look, period: Duration) {
        self.certificates.keep(&look.snapshot);
        self.energy.inc_by(fleet_power(&look.snapshot).over(period).get());
        self.newest.send_replace(Some(Arc::new(look)));
    }

    fn take_migration(&self, migration: &MigrationRecord) {
        let Some(outcome) = &migration.outcome else { return };
        if outcome.ending == Ending::Completed {
            self.migration.observe(outcome.ended_at.since(outcome.began_at).as_secs_f64());
        }
        if let Some(downtime) = outcome.downtime {
            self.downtime.observe(downtime.as_secs_f64());
        }
    }

    /// Counts the decisions of this start that are newer than those counted before.
    fn take_decisions(&self, newest_first: &[DecisionRecord]) {
        let epoch = self.newest().map(|look| look.stats.epoch).unwrap_or_default();
        let own = || newest_first.iter().map(|record| &record.decision).filter(|decision| decision.id.epoch == epoch);
        let newest = own().map(|decision| decision.id.number).max().unwrap_or(0);
        let before = self.counted_up_to.fetch_max(newest, Ordering::Relaxed);
        own().filter(|decision| decision.id.number > before).for_each(|decision| self.take_decision(decision));
    }

    fn take_decision(&self, decision: &Decision) {
        for planned in &decision.chosen.steps {
            bump(&self.steps, "motive", motive_name(&planned.motive, &decision.trigger));
        }
        for finding in decision.denied.iter().flat_map(|denial| &denial.findings) {
            bump(&self.denied, "rule", &rule_name(finding));
        }
    }
}

/// Looks at the engine once per sampling period, and at every migration that changes, until the engine stops.
pub async fn observe(metrics: Arc<Metrics>, engine: Engine) {
    let period = engine.settings().period;
    let mut beat = engine.clock().interval(period);
    let mut migrations = engine.watch();
    loop {
        tokio::select! {
            biased;
            () = beat.tick() => {
                let Some(look) = look_at(&engine).await else { return };
                metrics.take_look(look, period);
                let decisions = engine.decisions(DECISIONS_PER_LOOK, true);
                metrics.take_decisions(&decisions);
            }
            change = migrations.recv() => match change {
                Ok(migration) => metrics.take_migration(&migration),
                Err(RecvError::Lagged(_)) => metrics.watcher_behind(),
                Err(RecvError::Closed) => return,
            }
        }
    }
}

async fn look_at(engine: &Engine) -> Option<Look> {
    let stats = engine.stats().await.ok()?;
    let snapshot = engine.snapshot().await.ok()?;
    let forecasts = engine.forecasts().await.ok()?;
    let sources = Sources::of(&forecasts, snapshot.vms.len(), &stats.forecast.report);
    Some(Look { snapshot, stats, sources, at: engine.clock().now() })
}

/// What all hosts draw: as they report, and asleep as their power model says. A host in doubt counts with its newest
/// sample, for a silent host still draws power.
fn fleet_power(snapshot: &Snapshot) -> Watts {
    Watts(snapshot.hosts.values().map(|host| host_power(host).get()).sum())
}

fn host_power(host: &HostView) -> Watts {
    let reported = host.sample.and_then(|sample| sample.power.value());
    match host.power {
        HostPower::Asleep => host.inventory.power.asleep(),
        HostPower::Awake | HostPower::FallingAsleep | HostPower::Waking => reported.unwrap_or(Watts::ZERO),
    }
}

fn bump(family: &PerLabel, name: &'static str, value: &str) {
    family.get_or_create(&[(name, value.to_owned())]).inc();
}

fn motive_name(motive: &Motive, trigger: &Trigger) -> &'static str {
    match (trigger, motive) {
        (Trigger::Operator { .. }, _) | (_, Motive::Operator { .. }) => "operator",
        (_, Motive::Overload { .. }) => "overload",
        (_, Motive::Balance { .. }) => "balance",
        (_, Motive::Consolidation { .. } | Motive::Room { .. } | Motive::Replacement { .. }) => "consolidation",
        (_, Motive::Drain { .. }) => "drain",
        (_, Motive::Bundle { .. }) => "bundle",
        (_, Motive::Apart { .. }) => "apart",
        (_, Motive::Pin { .. }) => "pin",
        (_, Motive::Nearer { .. }) => "nearer",
        (_, Motive::Regret { .. }) => "regret",
        (_, Motive::Shortage { .. } | Motive::Spare { .. }) => "shortage",
        (_, Motive::Waiting { .. }) => "waiting",
        (_, Motive::Idle { .. }) => "idle",
    }
}

/// The rule's name as JSON shows it: the variant, whatever its data, so that a new rule needs no line here.
fn rule_name(finding: &Finding) -> String {
    let value = serde_json::to_value(finding).unwrap_or_default();
    value.as_object().and_then(|fields| fields.keys().next().cloned()).unwrap_or_else(|| "unnamed".to_owned())
}
