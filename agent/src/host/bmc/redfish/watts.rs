//! What a host draws at the wall, by its BMC's Redfish service.
//!
//! The chassis of the system say: by their `EnvironmentMetrics`, or where there are none by the older `Power`. Which one
//! does is found once and asked from then on, over one connection; any failure begins anew.

use ballast_core::units::Watts;
use ballast_daemon::clock::Clock;
use serde_json::Value;

use super::{super::BmcOptions, at, link, service::Service, system};
use crate::host::wake_address::RedfishAddress;

/// Reads one host's power.
#[derive(Debug)]
pub(in crate::host) struct WattsReader {
    options: BmcOptions,
    address: RedfishAddress,
    found: Option<(Service, Place)>,
}

/// A resource that holds a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    kind: Kind,
    path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    EnvironmentMetrics,
    Power,
}

impl WattsReader {
    /// Of the host at `address`.
    pub(in crate::host) fn new(options: BmcOptions, address: RedfishAddress) -> Self {
        Self { options, address, found: None }
    }

    /// Reads it.
    ///
    /// # Errors
    /// A sentence, where the BMC gives none.
    pub(in crate::host) async fn read(&mut self, clock: &Clock) -> Result<Watts, String> {
        let (mut service, place) = match self.found.take() {
            Some(found) => found,
            None => {
                let mut service = Service::open(&self.options, &self.address.bmc, clock).await?;
                let place = find(&mut service, self.address.system.as_deref()).await?;
                (service, place)
            }
        };
        let watts = watts(place.kind, &service.get_link(&place.path).await?);
        let watts = watts.ok_or_else(|| format!("{} holds no power reading any more", place.path))?;
        self.found = Some((service, place));
        Ok(watts)
    }
}

/// The first place that holds a reading. Chassis are not added up: one may stand in another, whose reading is of both.
async fn find(service: &mut Service, system: Option<&str>) -> Result<Place, String> {
    let system = system::find(service, system).await?;
    let mut why = "none of its system's chassis has a power reading".to_owned();
    for chassis in system["Links"]["Chassis"].as_array().into_iter().flatten().filter_map(at) {
        for place in places(&service.get_link(chassis).await?) {
            match service.get_link(&place.path).await {
                Ok(resource) if watts(place.kind, &resource).is_some() => return Ok(place),
                Ok(_) => {}
                // Another may still do.
                Err(error) => why = error,
            }
        }
    }
    Err(why)
}

/// Where a chassis may have its reading, in the order to be tried.
fn places(chassis: &Value) -> Vec<Place> {
    let place = |kind, name| link(chassis, name).map(|path| Place { kind, path: path.to_owned() });
    let metrics = place(Kind::EnvironmentMetrics, "EnvironmentMetrics");
    metrics.into_iter().chain(place(Kind::Power, "Power")).collect()
}

/// The reading in a resource. One that is null, or 0 as by a BMC that does not measure, is none.
fn watts(kind: Kind, resource: &Value) -> Option<Watts> {
    let reading = match kind {
        Kind::EnvironmentMetrics => &resource["PowerWatts"]["Reading"],
        Kind::Power => &resource["PowerControl"][0]["PowerConsumedWatts"],
    };
    reading.as_f64().filter(|watts| watts.is_finite() && *watts > 0.0).map(Watts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reading_of_nothing_is_none() {
        for (reading, expected) in [
            (json!(220.5), Some(220.5)),
            (json!(0), None),
            (json!(-3), None),
            (json!(null), None),
            (json!("220"), None),
        ] {
            let (new, old) = (
                json!({ "PowerWatts": { "Reading": reading } }),
                json!({ "PowerControl": [{ "PowerConsumedWatts": reading }] }),
            );
            assert_eq!(watts(Kind::EnvironmentMetrics, &new), expected.map(Watts));
            assert_eq!(watts(Kind::Power, &old), expected.map(Watts));
        }
        assert_eq!(watts(Kind::Power, &json!({ "PowerControl": [] })), None);
        assert_eq!(watts(Kind::EnvironmentMetrics, &json!([])), None);
    }

    #[test]
    fn the_newer_way_of_a_chassis_is_tried_first() {
        let chassis = json!({ "Power": { "@odata.id": "/p" }, "EnvironmentMetrics": { "@odata.id": "/e" } });
        let paths: Vec<String> = places(&chassis).into_iter().map(|place| place.path).collect();
        assert_eq!(paths, ["/e", "/p"]);
        assert!(places(&json!({ "Power": {} })).is_empty());
    }
}
