//! Sleep and wake.

use ballast_core::{id::HostId, snapshot::HostPower};

use super::{World, agenda::Due};
use crate::error::SimError;

impl World {
    /// Puts a host to sleep.
    ///
    /// # Errors
    /// [`SimError`] where it is not awake, or a vm is on it or on its way to it.
    pub fn sleep(&mut self, host: &HostId) -> Result<(), SimError> {
        let index = self.host(host)?;
        let there = self.residents[index].len();
        let coming = self.flights_at(index).filter(|flight| flight.destination == index).count();
        // A vm that has left by post-copy still needs its source.
        let leaving = self.flights_at(index).filter(|flight| flight.source == index && flight.has_arrived()).count();
        if there + coming + leaving > 0 {
            return Err(SimError::NotEmpty { host: host.clone(), vms: there + coming + leaving });
        }
        self.settle(index);
        self.changed(index);
        let until = self.hosts[index].sleep(self.now)?;
        self.agenda.add(until, Due::Host(index));
        self.refresh(index);
        self.ledger.sleeps += 1;
        Ok(())
    }

    /// Wakes a host.
    ///
    /// # Errors
    /// [`SimError`] where it is not asleep.
    pub fn wake(&mut self, host: &HostId) -> Result<(), SimError> {
        let index = self.host(host)?;
        self.wake_host(index)
    }

    pub(super) fn wake_host(&mut self, index: usize) -> Result<(), SimError> {
        self.settle(index);
        self.changed(index);
        let until = self.hosts[index].wake(self.now)?;
        self.agenda.add(until, Due::Host(index));
        self.refresh(index);
        self.ledger.wakes += 1;
        Ok(())
    }

    pub(super) fn host_is_due(&mut self, index: usize) {
        self.settle(index);
        self.changed(index);
        self.hosts[index].settle(self.now);
        self.refresh(index);
        if self.hosts[index].power == HostPower::Awake {
            self.start_waiting();
        }
    }
}
