//! Hosts of a recorded fleet as a file: what `ballast history --hosts` writes beside the table of its vms, and `ballast-train` reads.

use ballast_core::{
    id::HostId,
    power::{CurveFit, PowerCurve},
    units::{Bytes, BytesPerSec, Cores},
};
use serde::{Deserialize, Serialize};

use super::TraceError;
use crate::scenario::HostSpec;

/// One host as its inventory and its meter have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedHost {
    /// Its name.
    pub host: HostId,
    /// CPU that vms may use, in cores.
    pub cpu_cores: f64,
    /// Memory that vms may use.
    pub memory_bytes: u64,
    /// Bandwidth migrations may use.
    pub migration_bytes_per_second: f64,
    /// Its power curve, corrected by its meter where there is one.
    pub power: PowerCurve,
    /// Readings of a meter by which the curve was corrected; zero where it is as configured.
    pub readings: u64,
}

impl RecordedHost {
    /// A host, its curve corrected by what its meter said.
    pub fn new(spec: &HostSpec, meter: &CurveFit) -> Self {
        let corrected = meter.corrected(&spec.power);
        Self {
            host: spec.host.clone(),
            cpu_cores: spec.cpu_capacity.get(),
            memory_bytes: spec.memory_capacity.get(),
            migration_bytes_per_second: spec.migration_bandwidth.get(),
            readings: if corrected.is_some() { meter.readings() } else { 0 },
            power: corrected.unwrap_or_else(|| spec.power.clone()),
        }
    }

    /// As a host of a scenario; what is wrong with it otherwise.
    fn spec(&self) -> Result<HostSpec, String> {
        let positive = |field: &str, value: f64| {
            let is_fine = value.is_finite() && value > 0.0;
            if is_fine { Ok(value) } else { Err(format!("{field} = {value}: a number above 0 is needed")) }
        };
        let cores = Cores(positive("cpu_cores", self.cpu_cores)?);
        #[allow(clippy::cast_precision_loss)] // Only whether there is any.
        positive("memory_bytes", self.memory_bytes as f64)?;
        let link = positive("migration_bytes_per_second", self.migration_bytes_per_second)?;
        let curve = &self.power;
        // What was read may be no curve.
        let power = PowerCurve::new(*curve.points(), curve.asleep(), curve.wake_time(), curve.fall_asleep_time())
            .map_err(|error| error.to_string())?;
        let spec = HostSpec::new(self.host.clone(), cores, Bytes(self.memory_bytes), power);
        Ok(HostSpec { migration_bandwidth: BytesPerSec(link), ..spec })
    }
}

/// The file's text.
///
/// # Errors
/// Where JSON cannot say it, which no host should lead to.
pub fn write(hosts: &[RecordedHost]) -> serde_json::Result<String> {
    serde_json::to_string_pretty(hosts)
}

/// The hosts that the file's text names.
///
/// # Errors
/// [`TraceError`] with the line, or the host, and what is wrong there.
pub fn parse(file: &str, text: &str) -> Result<Vec<HostSpec>, TraceError> {
    let wrong = |line, column: &str, what| TraceError { file: file.into(), line, column: column.into(), what };
    let hosts: Vec<RecordedHost> = serde_json::from_str(text)
        .map_err(|error| wrong(error.line(), &error.column().to_string(), error.to_string()))?;
    if hosts.is_empty() {
        return Err(wrong(0, "host", "no host is there".into()));
    }
    hosts.iter().map(|host| host.spec().map_err(|what| wrong(0, host.host.as_str(), what))).collect()
}

#[cfg(test)]
mod tests {
    use ballast_core::units::Watts;

    use super::*;

    fn spec() -> HostSpec {
        let (cores, memory) = (Cores(32.0), Bytes::from_gib(128));
        HostSpec::new(HostId::new("kvm1").unwrap(), cores, memory, PowerCurve::epyc_7742())
    }

    #[test]
    fn what_was_written_is_read_with_the_curve_that_the_meter_corrected() {
        let mut meter = CurveFit::default();
        (0..200).for_each(|_| meter.observe(&spec().power, 0.5, Watts(spec().power.at(0.5).get() + 30.0)));
        let host = RecordedHost::new(&spec(), &meter);
        assert_eq!(host.readings, 200);
        let read = parse("hosts.json", &write(std::slice::from_ref(&host)).unwrap()).unwrap();
        assert_eq!((read.len(), read[0].cpu_capacity, &read[0].power), (1, Cores(32.0), &host.power));
        assert!((read[0].power.at(0.5) - spec().power.at(0.5)).get() > 29.0);
    }

    #[test]
    fn without_a_meter_the_curve_is_as_configured() {
        let host = RecordedHost::new(&spec(), &CurveFit::default());
        assert_eq!((host.readings, host.power), (0, spec().power));
    }

    #[test]
    fn what_cannot_be_is_refused_by_host_and_field() {
        let host = RecordedHost { cpu_cores: -1.0, ..RecordedHost::new(&spec(), &CurveFit::default()) };
        let error = parse("hosts.json", &write(&[host]).unwrap()).unwrap_err().to_string();
        assert_eq!(error, "hosts.json, line 0, column kvm1: cpu_cores = -1: a number above 0 is needed");
        assert!(parse("hosts.json", "[]").unwrap_err().to_string().ends_with("no host is there"));
        assert!(parse("hosts.json", "{").is_err());
    }
}
