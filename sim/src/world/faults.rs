//! What goes wrong: as the scenario has it, and on request.

use std::time::Duration;

use ballast_core::id::{HostId, VmId};

use super::{World, agenda::Due};
use crate::{
    error::SimError,
    scenario::{FaultKind, Writes},
    vm::Place,
};

/// Time until the vms of a host that died are started elsewhere: fencing and the decision of whoever does it.
const RESTART_AFTER: Duration = Duration::from_secs(60);

impl World {
    /// A fault of the scenario sets in, or is mended.
    pub(super) fn fault(&mut self, index: usize, sets_in: bool) {
        let (host, what) = (self.terms.faults[index].host, self.terms.faults[index].what);
        match what {
            FaultKind::Lost if sets_in => self.lose(host, Some(RESTART_AFTER)),
            FaultKind::Lost => self.regain(host),
            FaultKind::HypervisorAway => self.answer(host, !sets_in),
            FaultKind::AgentSilent => self.hosts[host].silent = sets_in,
            FaultKind::SlowLink(share) => self.set_link(host, if sets_in { share.clamp(0.0, 1.0) } else { 1.0 }),
            FaultKind::MeterStuck => {
                self.hosts[host].meter_stuck_at = sets_in.then_some(self.hosts[host].watts);
            }
        }
    }

    /// A host loses its power supply: migrations with it fail, its vms stop, and whoever does that starts them where there
    /// is room `restart_after`, or nobody does.
    fn lose(&mut self, host: usize, restart_after: Option<Duration>) {
        self.fail_flights_at(host);
        self.settle(host);
        self.changed(host);
        self.hosts[host].lost = true;
        self.hosts[host].until = None;
        for vm in std::mem::take(&mut self.residents[host]) {
            self.residents[host].insert(vm);
            self.take_out(vm, host);
            self.vms[vm].stop(Place::Nowhere);
            if let Some(after) = restart_after {
                self.agenda.add(self.now.after(after), Due::Arrival(vm));
            }
        }
        self.refresh(host);
    }

    fn regain(&mut self, host: usize) {
        self.settle(host);
        self.changed(host);
        self.hosts[host].lost = false;
        self.hosts[host].up_since = Some(self.now());
        self.hosts[host].power = ballast_core::snapshot::HostPower::Awake;
        self.refresh(host);
        self.start_waiting();
    }

    fn answer(&mut self, host: usize, reachable: bool) {
        self.changed(host);
        self.hosts[host].reachable = reachable;
        if !reachable {
            self.fail_flights_at(host);
        }
    }

    fn set_link(&mut self, host: usize, share: f64) {
        self.hosts[host].link = share;
        self.reshare(host);
    }

    /// A fault: the host loses its power supply, and its vms with it; they are started where there is room `restart_after`,
    /// or never. It is down until [`World::boot_up`].
    ///
    /// # Errors
    /// [`SimError::UnknownHost`].
    pub fn lose_power(&mut self, host: &HostId, restart_after: Option<Duration>) -> Result<(), SimError> {
        let index = self.host(host)?;
        self.lose(index, restart_after);
        Ok(())
    }

    /// A host that lost its power supply has booted anew: awake, empty, and under another boot id. One that is up stays as
    /// it is.
    ///
    /// # Errors
    /// [`SimError::UnknownHost`].
    pub fn boot_up(&mut self, host: &HostId) -> Result<(), SimError> {
        let index = self.host(host)?;
        if self.hosts[index].lost {
            self.hosts[index].boots += 1;
            self.regain(index);
        }
        Ok(())
    }

    /// A fault: the next migration that begins fails half-way, with these words.
    pub fn fail_next_migration(&mut self, reason: &str) {
        self.fail_next = Some(reason.into());
    }

    /// From now on the vm writes its memory like this, one that is being copied too.
    ///
    /// # Errors
    /// [`SimError::UnknownVm`].
    pub fn set_writes(&mut self, vm: VmId, writes: Writes) -> Result<(), SimError> {
        let index = self.vm(vm)?;
        self.vms[index].spec.writes = Some(writes);
        let set = self.vms[index].working_set();
        if let Some(flight) = self.flights.get_mut(&index) {
            flight.pass(self.now);
            flight.set_working_set(set);
        }
        if let Some(host) = self.vms[index].host() {
            self.settle(host);
            self.refresh(host);
        }
        Ok(())
    }

    /// A fault: the host's hypervisor stops (or starts again) to answer. Its vms run on; migrations from and to it fail.
    ///
    /// # Errors
    /// [`SimError::UnknownHost`].
    pub fn set_host_unreachable(&mut self, host: &HostId, unreachable: bool) -> Result<(), SimError> {
        let index = self.host(host)?;
        self.answer(index, !unreachable);
        Ok(())
    }

    /// A fault: the host's migration link moves nothing (or moves again).
    ///
    /// # Errors
    /// [`SimError::UnknownHost`].
    pub fn stall_link(&mut self, host: &HostId, stalled: bool) -> Result<(), SimError> {
        let index = self.host(host)?;
        self.set_link(index, if stalled { 0.0 } else { 1.0 });
        Ok(())
    }

    /// True while the host's agent says nothing, by a fault of the scenario.
    ///
    /// # Errors
    /// [`SimError::UnknownHost`].
    pub fn is_agent_silent(&self, host: &HostId) -> Result<bool, SimError> {
        let host = &self.hosts[self.host(host)?];
        Ok(host.silent || host.lost)
    }
}
