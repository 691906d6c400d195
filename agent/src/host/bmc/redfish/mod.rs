//! A BMC's Redfish service: switching its host on, and what its host draws.
//!
//! `service` is one HTTPS connection, `trust` whom it is made to, `system` the host on it, `watts` its meter.

mod service;
mod system;
mod trust;
mod watts;

use std::time::Duration;

use ballast_daemon::clock::Clock;
use serde_json::Value;

use super::BmcOptions;
use crate::host::wake_address::RedfishAddress;

use service::Service;

pub(in crate::host) use trust::check as check_ca;
pub(in crate::host) use watts::WattsReader;

/// Switches the system on; one that is on is left alone.
///
/// # Errors
/// A sentence, without the password.
pub(in crate::host) async fn power_on(
    options: &BmcOptions,
    address: &RedfishAddress,
    deadline: Duration,
    clock: &Clock,
) -> Result<(), String> {
    let on = async {
        let mut service = Service::open(options, &address.bmc, clock).await?;
        let system = system::find(&mut service, address.system.as_deref()).await?;
        match system::next(&system)? {
            system::Next::Nothing => Ok(()),
            system::Next::SwitchOn { target } => service.post(&target, &system::on()).await,
        }
    };
    clock.timeout(deadline, on).await.unwrap_or_else(|_| Err(format!("no answer within {deadline:?}")))
}

/// Where a resource says that another one is.
fn link<'a>(resource: &'a Value, name: &str) -> Option<&'a str> {
    at(resource.get(name)?)
}

/// Where a reference to a resource points.
fn at(reference: &Value) -> Option<&str> {
    reference.get("@odata.id")?.as_str()
}
