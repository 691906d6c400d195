//! One host of a simulated fleet: its figures, its sleep, and waking its neighbours.

use std::time::Duration;

use ballast_core::{
    id::{BootId, HostId},
    sample::{PowerSource, Reading},
    snapshot::HostPower,
};

use super::{Host, HostError, HostReading};
use crate::hypervisor::simulated::Fleet;

/// How often a sleeper looks whether it was woken: the fleet's own tick.
const LOOK: Duration = Duration::from_secs(1);

/// One host of a simulated fleet.
#[derive(Debug, Clone)]
pub struct SimulatedHost {
    fleet: Fleet,
    host: HostId,
}

impl SimulatedHost {
    /// The host of that name.
    pub fn new(fleet: Fleet, host: HostId) -> Self {
        Self { fleet, host }
    }
}

impl Host for SimulatedHost {
    async fn read(&self) -> HostReading {
        let Ok(reading) = self.fleet.with(|world| world.host_reading(&self.host)) else {
            return HostReading::default();
        };
        HostReading {
            cpu_used: Reading::Measured(reading.cpu_used),
            memory_used: Reading::Measured(reading.memory_used),
            // The simulated meter errs as a good wall meter does.
            power: Reading::Measured(reading.power),
            power_source: PowerSource::Dcmi,
            pressure: reading.pressure,
            ..HostReading::default()
        }
    }

    async fn sleep(&self) -> Result<(), HostError> {
        self.fleet.with(|world| world.sleep(&self.host)).map_err(|error| HostError::Failed(error.to_string()))
    }

    async fn wake(&self, target: &HostId, _address: Option<&str>) -> Result<(), HostError> {
        self.fleet.with(|world| world.wake(target)).map_err(|error| HostError::Failed(error.to_string()))
    }

    fn boot(&self) -> Result<BootId, HostError> {
        Ok(self.fleet.with(|world| world.boot(&self.host)))
    }

    fn up_for(&self) -> Option<Duration> {
        Some(self.fleet.with(|world| world.up_for(&self.host)))
    }

    async fn woken(&self) {
        while self.fleet.with(|world| world.host_power(&self.host)) != Ok(HostPower::Awake) {
            self.fleet.clock().sleep(LOOK).await;
        }
    }
}
