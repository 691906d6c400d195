//! Wall power from the host's own BMC by Redfish.

use ballast_core::units::Watts;
use ballast_daemon::clock::Clock;

use super::asked::Meter;
use crate::host::{
    bmc::{BmcOptions, redfish::WattsReader},
    wake_address::RedfishAddress,
};

/// The host's own BMC, and as whom it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedfishMeter {
    /// Where it is.
    pub address: RedfishAddress,
    /// As whom.
    pub bmc: BmcOptions,
}

/// Asks it.
#[derive(Debug)]
pub(super) struct Redfish(WattsReader);

impl Redfish {
    pub(super) fn new(meter: &RedfishMeter) -> Self {
        Self(WattsReader::new(meter.bmc.clone(), meter.address.clone()))
    }
}

impl Meter for Redfish {
    const NAME: &'static str = "redfish";

    async fn ask(&mut self, clock: &Clock) -> Result<Watts, String> {
        self.0.read(clock).await
    }
}
