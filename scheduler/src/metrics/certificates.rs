//! When certificates end: the scheduler's own, and those that agents have shown.
//!
//! An agent serves no metrics itself; what it shows when it links is all that is needed to warn of its end. Nothing is shown
//! of hosts that are not in the snapshot, and hosts that have left it are forgotten.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, OnceLock, PoisonError},
};

use ballast_core::{id::HostId, snapshot::Snapshot, units::Timestamp};
use ballast_daemon::tls::Credentials;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

use super::names;

/// What is known of certificates.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    own: OnceLock<Credentials>,
    shown: Mutex<BTreeMap<HostId, Shown>>,
}

/// What an agent showed last.
#[derive(Debug, Clone, Copy)]
struct Shown {
    ends: Timestamp,
    /// Since the last look: its host need not be in the snapshot yet.
    is_new: bool,
}

impl Certificates {
    /// The scheduler serves with these from now on.
    pub(super) fn hold(&self, own: Credentials) {
        // Whoever serves twice with one set of metrics shows the first one's end.
        drop(self.own.set(own));
    }

    /// The agent of a host has shown one.
    pub(super) fn show(&self, host: HostId, ends: Timestamp) {
        self.with(|shown| shown.insert(host, Shown { ends, is_new: true }));
    }

    /// Forgets hosts that are not there any more.
    pub(super) fn keep(&self, snapshot: &Snapshot) {
        self.with(|shown| {
            shown.retain(|host, shown| std::mem::take(&mut shown.is_new) || snapshot.hosts.contains_key(host));
        });
    }

    /// For a scrape, as of now.
    pub(super) fn ends(&self, snapshot: Option<&Snapshot>) -> Ends {
        let is_there = |host: &HostId| snapshot.is_some_and(|snapshot| snapshot.hosts.contains_key(host));
        let of_host = |(host, shown): (&HostId, &Shown)| (host.clone(), shown.ends);
        let hosts = self.with(|shown| shown.iter().filter(|(host, _)| is_there(host)).map(of_host).collect());
        Ends { own: self.own.get().map(Credentials::valid_until), hosts }
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut BTreeMap<HostId, Shown>) -> T) -> T {
        use_it(&mut self.shown.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Encodes the ends of certificates.
#[derive(Debug)]
pub(super) struct Ends {
    own: Option<Timestamp>,
    hosts: Vec<(HostId, Timestamp)>,
}

impl Collector for Ends {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let (name, help) = (names::CERTIFICATE_END, "When the scheduler's own certificate ends, in Unix time");
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        if let Some(own) = self.own {
            ConstGauge::new(unix(own)).encode(metric)?;
        }
        let (name, help) = (names::HOST_CERTIFICATE_END, "When the certificate of a host's agent ends, in Unix time");
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (host, ends) in &self.hosts {
            ConstGauge::new(unix(*ends)).encode(metric.encode_family(&[("host", host.as_str())])?)?;
        }
        Ok(())
    }
}

/// Seconds since 1970, as Prometheus has time.
fn unix(at: Timestamp) -> f64 {
    at.since(Timestamp::EPOCH).as_secs_f64()
}
