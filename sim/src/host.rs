//! One simulated host: its share-out of CPU and I/O, its power, and its way to sleep and back.
//!
//! Rates are constant between two events; [`Host::pass`] counts them up. The world says when, and what the vms want.

use std::{collections::BTreeSet, time::Duration};

use ballast_core::{
    snapshot::HostPower,
    units::{Bytes, BytesPerSec, Cores, Timestamp, Watts},
};

use crate::{error::SimError, scenario::HostSpec};

/// Time constant of the pressure average, as the kernel's `avg10`.
const PRESSURE_SECONDS: f64 = 10.0;

/// What the vms of a host want together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Wants {
    /// Cores that runnable vms want.
    pub(crate) cpu: f64,
    /// Cores that copies take.
    pub(crate) copies: f64,
    /// Storage traffic, bytes per second.
    pub(crate) storage: f64,
    /// Network traffic, bytes per second.
    pub(crate) network: f64,
}

/// What a host does between two events.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Load {
    /// Cores wanted by vms, copies and the host itself.
    pub(crate) wanted: f64,
    /// Cores used.
    pub(crate) used: f64,
    /// Share of its CPU demand that every vm gets.
    pub(crate) served: f64,
    /// Share of its storage demand that every vm gets.
    pub(crate) storage: f64,
    /// Share of its network demand that every vm gets.
    pub(crate) network: f64,
}

/// What a host's vms add to the ledger per second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Rates {
    pub(crate) demand: f64,
    pub(crate) overload: f64,
    pub(crate) migration: f64,
    pub(crate) io_demand: f64,
    pub(crate) io_unserved: f64,
    pub(crate) users: f64,
    pub(crate) users_rtt: f64,
}

/// One host.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) spec: HostSpec,
    pub(crate) power: HostPower,
    /// When `power` changes by itself, where it does.
    pub(crate) until: Option<Timestamp>,
    /// Its hypervisor answers.
    pub(crate) reachable: bool,
    /// It has lost its power supply.
    pub(crate) lost: bool,
    /// How often it was booted on request.
    pub(crate) boots: u64,
    /// When it has got its power back; `None` where it has been up since before the scenario began.
    pub(crate) up_since: Option<Timestamp>,
    /// Its agent says nothing.
    pub(crate) silent: bool,
    /// Its power meter repeats this.
    pub(crate) meter_stuck_at: Option<Watts>,
    /// Share of its migration link that works.
    pub(crate) link: f64,
    /// CPU the host itself uses.
    own_cores: f64,
    pub(crate) load: Load,
    pub(crate) rates: Rates,
    pub(crate) watts: Watts,
    pub(crate) pressure: f64,
    /// Up to when everything has been counted.
    pub(crate) since: Timestamp,
    /// Cumulative, core-seconds and joules.
    pub(crate) core_seconds: f64,
    pub(crate) joules: f64,
    /// `core_seconds`, `joules` and the moment at the reading before.
    pub(crate) read_before: (f64, f64, Timestamp),
    /// When it became overloaded, while it is.
    pub(crate) overloaded_since: Option<Timestamp>,
    /// Memory promised to the vms on it and on their way to it.
    pub(crate) reserved: Bytes,
    /// Migrations under way that touch it, by the index of their vm.
    pub(crate) flights: BTreeSet<usize>,
    /// How often its inventory, its power or its vms' states have changed.
    pub(crate) changes: u64,
}

impl Host {
    pub(crate) fn new(spec: HostSpec, own_cores: Cores, now: Timestamp) -> Self {
        let watts = spec.power.idle();
        Self {
            spec,
            power: HostPower::Awake,
            until: None,
            reachable: true,
            lost: false,
            boots: 0,
            up_since: None,
            silent: false,
            meter_stuck_at: None,
            link: 1.0,
            own_cores: own_cores.get(),
            load: Load::default(),
            rates: Rates::default(),
            watts,
            pressure: 0.0,
            since: now,
            core_seconds: 0.0,
            joules: 0.0,
            read_before: (0.0, 0.0, now),
            overloaded_since: None,
            reserved: Bytes::ZERO,
            flights: BTreeSet::new(),
            changes: 0,
        }
    }

    /// Begins to fall asleep; the caller has seen to it that no vm is on it. When it will be asleep.
    pub(crate) fn sleep(&mut self, now: Timestamp) -> Result<Timestamp, SimError> {
        self.require(HostPower::Awake)?;
        Ok(self.change(HostPower::FallingAsleep, now.after(self.spec.power.fall_asleep_time())))
    }

    /// Begins to wake. When it will be awake.
    pub(crate) fn wake(&mut self, now: Timestamp) -> Result<Timestamp, SimError> {
        self.require(HostPower::Asleep)?;
        Ok(self.change(HostPower::Waking, now.after(self.spec.power.wake_time())))
    }

    fn change(&mut self, power: HostPower, until: Timestamp) -> Timestamp {
        self.power = power;
        self.until = Some(until);
        until
    }

    /// Ends a transition whose time has come.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        if self.until.is_some_and(|until| until <= now) {
            self.until = None;
            self.power = if self.power == HostPower::FallingAsleep { HostPower::Asleep } else { HostPower::Awake };
        }
    }

    pub(crate) fn require(&self, needed: HostPower) -> Result<(), SimError> {
        if self.power == needed && !self.lost {
            return Ok(());
        }
        Err(SimError::WrongPower { host: self.spec.host.clone(), power: self.power, needed })
    }

    /// True where it takes part in a migration.
    pub(crate) fn can_migrate(&self) -> bool {
        self.power == HostPower::Awake && self.reachable && !self.lost
    }

    /// True where it runs vms.
    pub(crate) fn is_up(&self) -> bool {
        self.power == HostPower::Awake && !self.lost
    }

    /// Bandwidth of its migration link as it is now.
    pub(crate) fn migration_bandwidth(&self) -> BytesPerSec {
        self.spec.migration_bandwidth * self.link
    }

    /// Lets `span` pass at the rates of now.
    pub(crate) fn pass(&mut self, span: Duration) {
        let seconds = span.as_secs_f64();
        (self.core_seconds, self.joules, self.pressure) = self.counted(seconds);
    }

    /// Core-seconds, joules and pressure after `seconds` more at the rates of now.
    pub(crate) fn counted(&self, seconds: f64) -> (f64, f64, f64) {
        let fresh = 1.0 - (-seconds / PRESSURE_SECONDS).exp();
        let pressure = self.pressure + (self.waiting() - self.pressure) * fresh;
        (self.core_seconds + self.load.used * seconds, self.joules + self.watts.get() * seconds, pressure)
    }

    /// Takes what its vms want from now on.
    pub(crate) fn carry(&mut self, wants: Wants) {
        self.load = if self.is_up() { self.share_out(wants) } else { Load::default() };
        self.watts = self.draw();
    }

    /// Copies and the host itself come first; vms share the rest in proportion to what they want.
    fn share_out(&self, wants: Wants) -> Load {
        let capacity = self.spec.cpu_capacity.get();
        let left = (capacity - self.own_cores - wants.copies).max(0.0);
        let served = if wants.cpu > left { left / wants.cpu } else { 1.0 };
        let share = |wanted: f64, limit: Option<BytesPerSec>| match limit {
            Some(limit) if wanted > limit.get() => limit.get() / wanted,
            _ => 1.0,
        };
        Load {
            wanted: wants.cpu + wants.copies + self.own_cores,
            used: (wants.cpu * served + wants.copies + self.own_cores).min(capacity),
            served,
            storage: share(wants.storage, self.spec.storage_bandwidth),
            network: share(wants.network, self.spec.network_bandwidth),
        }
    }

    /// Power in its present state; transitions are taken at peak power, as the power model of the core does.
    fn draw(&self) -> Watts {
        match self.power {
            _ if self.lost => Watts::ZERO,
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
