//! What moves for gain have gained by the demand that came, beside what was expected of them, for a scrape.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

use super::{Look, engine::labelled, names};

/// Encodes the gains of one look; both kinds are always there.
#[derive(Debug)]
pub(super) struct Gained(pub(super) Arc<Look>);

impl Collector for Gained {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let gains = ["relief", "round"].map(|kind| (kind, self.0.stats.gains.get(kind).copied().unwrap_or_default()));
        let help = "Moves for gain whose horizon is over, proposal by proposal, by kind of look";
        let metric = (names::SETTLED, help, MetricType::Counter);
        labelled(&mut encoder, metric, "kind", gains.map(|(kind, gains)| (kind, gains.settled)))?;
        // A gauge, for a gain may be negative.
        let help = "What these were expected to gain by the objective, and what they gained by the demand that came";
        let mut metric = encoder.encode_descriptor(names::GAIN, help, None, MetricType::Gauge)?;
        for (kind, gains) in gains {
            for (which, gain) in [("expected", gains.expected), ("came", gains.came)] {
                ConstGauge::new(gain.get()).encode(metric.encode_family(&[("kind", kind), ("which", which)])?)?;
            }
        }
        Ok(())
    }
}
