//! The engine's own counts for a scrape: its [`EngineStats`], one line each.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use ballast_core::decision::Mode;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::{Look, names};
use crate::engine::{EngineStats, Impairment};

/// Encodes the counts of one look.
#[derive(Debug)]
pub(super) struct Counts(pub(super) Arc<Look>);

impl Collector for Counts {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let stats = &self.0.stats;
        let encoder = &mut encoder;
        intake(encoder, stats)?;
        keeping(encoder, stats)?;
        deciding(encoder, stats)?;
        commands(encoder, stats)?;
        state(encoder, stats)
    }
}

pub(super) fn total(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: u64) -> fmt::Result {
    ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
}

fn gauge(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: u64) -> fmt::Result {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

pub(super) fn seconds(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: Duration) -> fmt::Result {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value.as_secs_f64()).encode(metric)
}

/// A metric with one value per label value.
pub(super) fn labelled<'a>(
    encoder: &mut DescriptorEncoder,
    (name, help, kind): (&str, &str, MetricType),
    label: &str,
    values: impl IntoIterator<Item = (&'a str, u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (key, value) in values {
        let labels = [(label, key)];
        let one = metric.encode_family(&labels)?;
        match kind {
            MetricType::Counter => ConstCounter::new(value).encode(one)?,
            _ => ConstGauge::new(value).encode(one)?,
        }
    }
    Ok(())
}

fn intake(encoder: &mut DescriptorEncoder, stats: &EngineStats) -> fmt::Result {
    let fates = [
        ("taken", stats.batches),
        ("duplicate", stats.batches_duplicate),
        ("late", stats.batches_late),
        ("missing", stats.batches_missing),
    ];
    let batches = (names::BATCHES, "Batches of samples, by what became of them", MetricType::Counter);
    labelled(encoder, batches, "fate", fates)?;
    total(encoder, names::VM_SAMPLES, "Samples of vms taken", stats.vm_samples)?;
    total(encoder, names::ABSURD_READINGS, "Readings made missing as absurd", stats.readings_absurd)?;
    total(encoder, names::LINKS_OPENED, "Links of agents opened", stats.sessions_opened)?;
    total(encoder, names::LINKS_REFUSED, "Links of agents refused", stats.sessions_refused)?;
    seconds(encoder, names::ACK_SECONDS_MAX, "Longest wait for an ack in the last period", stats.ack_delay_max)
}

fn keeping(encoder: &mut DescriptorEncoder, stats: &EngineStats) -> fmt::Result {
    let dropped = [
        ("malformed_message", stats.malformed),
        ("telemetry_log", stats.log_dropped),
        ("store_window", stats.store_dropped),
        ("model_batch", stats.forecast.dropped),
    ];
    let metric = (names::DROPPED, "What was dropped at a bound or by a fault", MetricType::Counter);
    labelled(encoder, metric, "what", dropped)?;
    total(encoder, names::LOG_BYTES, "Telemetry logged, before compression", stats.log_bytes)?;
    total(encoder, names::STORE_REBUILT, "Times the store was damaged and rebuilt", stats.store_quarantined)?;
    total(encoder, names::JOURNAL_RECORDS, "Records journalled", stats.journal_records)?;
    total(encoder, names::JOURNAL_FAILURES, "Journal writes that failed", stats.journal_failures)
}

fn deciding(encoder: &mut DescriptorEncoder, stats: &EngineStats) -> fmt::Result {
    let rounds = [("round", stats.rounds), ("early", stats.early_rounds), ("relief", stats.relief_rounds)];
    labelled(encoder, (names::ROUNDS, "Looks at the fleet, by kind", MetricType::Counter), "kind", rounds)?;
    let decisions =
        [("acting", stats.decisions), ("empty", stats.decisions_empty), ("repeated", stats.decisions_repeated)];
    labelled(encoder, (names::DECISIONS, "Decisions, by content", MetricType::Counter), "content", decisions)?;
    let each =
        |counts: &BTreeMap<&'static str, u64>| counts.iter().map(|(key, count)| (*key, *count)).collect::<Vec<_>>();
    let asked = (names::PREFLIGHTS, "Migrations agents were asked about, by answer", MetricType::Counter);
    labelled(encoder, asked, "answer", each(&stats.preflights))?;
    let refusals = (names::PREFLIGHT_REFUSALS, "What agents had against migrations, by check", MetricType::Counter);
    labelled(encoder, refusals, "check", each(&stats.preflight_refusals))?;
    seconds(encoder, names::ROUND_SECONDS, "Time of the newest round", stats.decision_time_last)
}

fn commands(encoder: &mut DescriptorEncoder, stats: &EngineStats) -> fmt::Result {
    let given = stats.commands.iter().map(|(kind, count)| (*kind, *count));
    labelled(encoder, (names::COMMANDS, "Commands given, by kind", MetricType::Counter), "kind", given)?;
    let help = "Commands that ended, by kind and ending";
    let mut ended = encoder.encode_descriptor(names::COMMANDS_ENDED, help, None, MetricType::Counter)?;
    for ((kind, ending), value) in &stats.outcomes {
        ConstCounter::new(*value).encode(ended.encode_family(&[("kind", *kind), ("ending", *ending)])?)?;
    }
    let given_up = (names::MOVES_GIVEN_UP, "Moves stopped as not worth going on with, by reason", MetricType::Counter);
    labelled(encoder, given_up, "reason", stats.given_up.iter().map(|(reason, count)| (*reason, *count)))?;
    total(encoder, names::COMMANDS_RESENT, "Commands repeated for want of an answer", stats.commands_resent)?;
    total(encoder, names::REPORTS_UNKNOWN, "Reports of commands nobody gave", stats.reports_unknown)?;
    total(encoder, names::COPIED_BYTES, "Memory copied by migrations", stats.copied_bytes)?;
    gauge(encoder, names::COMMANDS_OPEN, "Commands without outcome", stats.commands_open)
}

fn state(encoder: &mut DescriptorEncoder, stats: &EngineStats) -> fmt::Result {
    gauge(encoder, names::LINKS, "Links of agents that are open", stats.sessions)?;
    gauge(encoder, names::EPOCH, "The scheduler's epoch", stats.epoch.0)?;
    let is = |mode| u64::from(stats.mode == mode);
    let modes = [("off", is(Mode::Off)), ("recommend", is(Mode::Recommend)), ("auto", is(Mode::Auto))];
    labelled(encoder, (names::MODE, "One for the mode in force", MetricType::Gauge), "mode", modes)?;
    let metric = (names::IMPAIRED, "One for each thing that does not work", MetricType::Gauge);
    labelled(encoder, metric, "what", impairments(stats))
}

fn impairments(stats: &EngineStats) -> [(&'static str, u64); 4] {
    let any = |is: fn(&Impairment) -> bool| u64::from(stats.impairments.iter().any(is));
    [
        ("journal", any(|it| matches!(it, Impairment::JournalUnwritable { .. }))),
        ("telemetry_log", any(|it| matches!(it, Impairment::TelemetryLogUnwritable { .. }))),
        ("store", any(|it| matches!(it, Impairment::StoreUnusable { .. }))),
        ("stepped_down", any(|it| matches!(it, Impairment::SteppedDown { .. }))),
    ]
}
