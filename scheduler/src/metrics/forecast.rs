//! How forecasting stands, for a scrape: who forecasts, how well, how fast, and why not the model.
//!
//! Every label is of a closed set: reasons are kinds here, and words in the answer to `GetForecast`.

use std::{fmt, sync::Arc};

use ballast_core::oversight::{
    ModelMode, Report, Sources, Standing,
    breaker::{Breaker, Reason},
    resource::{Resource, Target},
    score::Score,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::{
    Look,
    engine::{labelled, seconds, total},
    names,
};
use crate::engine::ForecastStats;

/// Encodes the forecasting of one look.
#[derive(Debug)]
pub(super) struct Forecasting(pub(super) Arc<Look>);

impl Collector for Forecasting {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let stats = &self.0.stats.forecast;
        standing(&mut encoder, &stats.report, self.0.sources)?;
        scores(&mut encoder, &stats.report)?;
        running(&mut encoder, stats)
    }
}

/// One where `name` is `actual`, zero for the others.
fn one_of<'a>(actual: &str, all: impl IntoIterator<Item = &'a str>) -> Vec<(&'a str, u64)> {
    all.into_iter().map(|name| (name, u64::from(name == actual))).collect()
}

fn standing(encoder: &mut DescriptorEncoder, report: &Report, sources: Sources) -> fmt::Result {
    let gauge = |name, help| (name, help, MetricType::Gauge);
    let known = std::iter::once(report.fallback.as_str()).chain(report.model.as_deref());
    let methods = one_of(report.in_use(), known);
    labelled(encoder, gauge(names::FORECAST_METHOD, "One for the forecaster in use"), "method", methods)?;
    let modes = one_of(report.mode.name(), ModelMode::ALL.map(ModelMode::name));
    labelled(encoder, gauge(names::FORECAST_MODE, "One for what the model may do now"), "mode", modes)?;
    let states = one_of(report.breaker.name(), Breaker::NAMES);
    labelled(encoder, gauge(names::FORECAST_BREAKER, "One for the state of the breaker"), "state", states)?;
    let why = one_of(reason(report), Reason::KINDS);
    labelled(encoder, gauge(names::FORECAST_SET_ASIDE, "One for why the model is set aside"), "why", why)?;
    let vms = [("model", sources.model), ("fallback", sources.fallback), ("none", sources.none)];
    let vms = vms.map(|(source, vms)| (source, vms as u64));
    labelled(encoder, gauge(names::FORECAST_VMS, "Vms, by whose forecast they have"), "source", vms)
}

/// Why the model is set aside, where it is: a late answer is a reason for as long as it is waited for.
fn reason(report: &Report) -> &'static str {
    match (&report.standing, report.breaker.why()) {
        (_, Some(why)) => why.kind(),
        (Standing::Late, None) => Reason::Late { times: 1 }.kind(),
        (_, None) => "",
    }
}

/// A metric of every score: which value of it, and whose that is.
type Each<'a> = &'a [(&'a str, fn(&Score) -> f64)];

fn scores(encoder: &mut DescriptorEncoder, report: &Report) -> fmt::Result {
    let pinball: Each<'_> =
        &[("model", Score::model), ("fallback", Score::fallback), ("persistence", Score::persistence)];
    by_score(encoder, (names::FORECAST_PINBALL, "Running mean pinball loss, in the resource's unit"), report, pinball)?;
    let coverage: Each<'_> = &[("model", Score::coverage), ("fallback", Score::coverage_fallback)];
    by_score(encoder, (names::FORECAST_COVERAGE, "Share of values below the 95 % quantile"), report, coverage)?;
    let help = "Forecasts that have come due";
    let mut metric = encoder.encode_descriptor(names::FORECAST_SCORED, help, None, MetricType::Counter)?;
    for (resource, target) in pairs() {
        let labels = [("resource", resource.name()), ("target", target.name())];
        ConstCounter::new(report.scores.of(resource, target).count).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn by_score(
    encoder: &mut DescriptorEncoder,
    (name, help): (&str, &str),
    report: &Report,
    values: Each<'_>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (resource, target) in pairs() {
        for (forecaster, value) in values {
            let labels = [("resource", resource.name()), ("target", target.name()), ("forecaster", *forecaster)];
            let value = value(report.scores.of(resource, target));
            ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn pairs() -> impl Iterator<Item = (Resource, Target)> {
    Resource::ALL.into_iter().flat_map(|resource| Target::ALL.map(|target| (resource, target)))
}

fn running(encoder: &mut DescriptorEncoder, stats: &ForecastStats) -> fmt::Result {
    seconds(encoder, names::FORECAST_SECONDS, "Time of the model's newest answer", stats.time_last)?;
    let answers = [("any", stats.answered), ("late", stats.late)];
    let counter = |name, help| (name, help, MetricType::Counter);
    labelled(encoder, counter(names::FORECAST_ANSWERS, "Answers of the model"), "when", answers)?;
    let states = [("taken", stats.states_restored), ("refused", stats.states_refused)];
    labelled(encoder, counter(names::FORECAST_STATES, "States of vms given to the model"), "fate", states)?;
    total(encoder, names::FORECAST_REFUSED, "Bundles that were refused", stats.models_refused)
}
