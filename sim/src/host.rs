//! One simulated host: its share-out of CPU, its power, and its way to sleep and back.

use ballast_core::{
    snapshot::HostPower,
    units::{Timestamp, Watts},
};

use crate::{error::SimError, scenario::HostSpec};

/// CPU the host itself uses: kernel, hypervisor, the agent.
pub(crate) const OWN_CORES: f64 = 0.3;

/// Time constant of the pressure average, as the kernel's `avg10`.
const PRESSURE_SECONDS: f64 = 10.0;

/// What a host did in one tick.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Load {
    /// Cores wanted by vms, copies and the host itself.
    pub(crate) wanted: f64,
    /// Cores used.
    pub(crate) used: f64,
    /// Share of its demand that every vm got.
    pub(crate) served: f64,
}

/// One host.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) spec: HostSpec,
    pub(crate) power: HostPower,
    /// When `power` changes by itself, where it does.
    until: Option<Timestamp>,
    /// Its hypervisor answers.
    pub(crate) reachable: bool,
    /// Its migration link moves nothing.
    pub(crate) stalled: bool,
    pub(crate) load: Load,
    pub(crate) watts: Watts,
    pub(crate) pressure: f64,
    /// Cumulative, core-seconds and joules.
    pub(crate) core_seconds: f64,
    pub(crate) joules: f64,
    /// `core_seconds`, `joules` and the moment at the reading before.
    pub(crate) read_before: (f64, f64, Timestamp),
}

impl Host {
    pub(crate) fn new(spec: HostSpec, now: Timestamp) -> Self {
        let watts = spec.power.idle();
        Self {
            spec,
            power: HostPower::Awake,
            until: None,
            reachable: true,
            stalled: false,
            load: Load::default(),
            watts,
            pressure: 0.0,
            core_seconds: 0.0,
            joules: 0.0,
            read_before: (0.0, 0.0, now),
        }
    }

    /// Begins to fall asleep; the caller has seen to it that no vm is on it.
    pub(crate) fn sleep(&mut self, now: Timestamp) -> Result<(), SimError> {
        self.require(HostPower::Awake)?;
        self.power = HostPower::FallingAsleep;
        self.until = Some(now.after(self.spec.power.fall_asleep_time()));
        Ok(())
    }

    /// Begins to wake.
    pub(crate) fn wake(&mut self, now: Timestamp) -> Result<(), SimError> {
        self.require(HostPower::Asleep)?;
        self.power = HostPower::Waking;
        self.until = Some(now.after(self.spec.power.wake_time()));
        Ok(())
    }

    /// Ends a transition whose time has come.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        if self.until.is_some_and(|until| until <= now) {
            self.until = None;
            self.power = if self.power == HostPower::FallingAsleep { HostPower::Asleep } else { HostPower::Awake };
        }
    }

    pub(crate) fn require(&self, needed: HostPower) -> Result<(), SimError> {
        if self.power == needed {
            return Ok(());
        }
        Err(SimError::WrongPower { host: self.spec.host.clone(), power: self.power, needed })
    }

    /// True where it takes part in a migration.
    pub(crate) fn can_migrate(&self) -> bool {
        self.power == HostPower::Awake && self.reachable
    }

    /// Lets `seconds` pass with vms that want `vms` cores and copies that take `copies`.
    pub(crate) fn run(&mut self, seconds: f64, vms: f64, copies: f64) {
        self.load = if self.power == HostPower::Awake { self.share_out(vms, copies) } else { Load::default() };
        self.watts = self.draw();
        self.core_seconds += self.load.used * seconds;
        self.joules += self.watts.get() * seconds;
        let fresh = 1.0 - (-seconds / PRESSURE_SECONDS).exp();
        self.pressure += (self.waiting() - self.pressure) * fresh;
    }

    /// Copies and the host itself come first; vms share the rest in proportion to what they want.
    fn share_out(&self, vms: f64, copies: f64) -> Load {
        let capacity = self.spec.cpu_capacity.get();
        let left = (capacity - OWN_CORES - copies).max(0.0);
        let served = if vms > left { left / vms } else { 1.0 };
        Load { wanted: vms + copies + OWN_CORES, used: (vms * served + copies + OWN_CORES).min(capacity), served }
    }

    /// Power in its present state; transitions are taken at peak power, as the power model of the core does.
    fn draw(&self) -> Watts {
        match self.power {
            HostPower::Awake => self.spec.power.at(self.load.used / self.spec.cpu_capacity.get()),
            HostPower::FallingAsleep | HostPower::Waking => self.spec.power.peak(),
            HostPower::Asleep => self.spec.power.asleep(),
        }
    }

    /// Share of the time in which some task waits for a CPU: queues grow before a host is full.
    fn waiting(&self) -> f64 {
        let load = self.load.wanted / self.spec.cpu_capacity.get();
        (0.2 * load.powi(6) + (load - 1.0).max(0.0) * 2.0).min(1.0)
    }

    /// True where demand is above capacity.
    pub(crate) fn is_overloaded(&self) -> bool {
        self.load.wanted > self.spec.cpu_capacity.get() + 1e-9
    }
}
