//! What was promised to hosts and what came of it, for a scrape: zero, and no class, where the operator has fixed the risk.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

use super::{Look, engine::labelled, names};

/// Encodes the promises of one look.
#[derive(Debug)]
pub(super) struct Promises(pub(super) Arc<Look>);

impl Collector for Promises {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let measured = self.0.stats.risk.clone();
        let all = measured.as_ref().map(|report| ("all".to_owned(), report.measured.fleet_z));
        let report = measured.unwrap_or_default();
        let fates = [("broken", report.kept.broken), ("kept", report.kept.promises.saturating_sub(report.kept.broken))];
        let promises = (names::RISK_PROMISES, "Promises to hosts, by what became of them", MetricType::Counter);
        labelled(&mut encoder, promises, "fate", fates)?;
        let help = "Standard deviations above the mean that hosts are promised";
        let mut metric = encoder.encode_descriptor(names::RISK_DEVIATIONS, help, None, MetricType::Gauge)?;
        let classes = report.measured.z.iter().map(|(class, z)| (class.to_string(), *z));
        for (class, z) in classes.chain(all) {
            ConstGauge::new(z).encode(metric.encode_family(&[("class", class)])?)?;
        }
        Ok(())
    }
}
