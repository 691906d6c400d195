//! What the policy in the shadow wanted beside the one in force, for a scrape: zero where there is none.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

use super::{Look, engine::labelled, names};

/// Encodes the comparison of one look.
#[derive(Debug)]
pub(super) struct Compared(pub(super) Arc<Look>);

impl Collector for Compared {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let tally = self.0.stats.shadow.clone().unwrap_or_default();
        let rounds = [("compared", tally.rounds - tally.failures), ("failed", tally.failures)];
        let metric = (names::SHADOW_ROUNDS, "Rounds in which the policy in the shadow was asked", MetricType::Counter);
        labelled(&mut encoder, metric, "fate", rounds)?;
        let steps = [("both", tally.both), ("active", tally.only_active), ("shadow", tally.only_shadow)];
        let metric = (names::SHADOW_STEPS, "Steps by which of the two policies wanted them", MetricType::Counter);
        labelled(&mut encoder, metric, "wanted_by", steps)?;
        // A gauge, for a gain may be negative.
        let help = "What the objective expected of each policy's steps, summed over the rounds";
        let mut metric = encoder.encode_descriptor(names::SHADOW_GAIN, help, None, MetricType::Gauge)?;
        for (whose, gain) in [("active", tally.gain_active), ("shadow", tally.gain_shadow)] {
            ConstGauge::new(gain.get()).encode(metric.encode_family(&[("policy", whose)])?)?;
        }
        Ok(())
    }
}
