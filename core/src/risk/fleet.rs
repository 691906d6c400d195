//! The demand on every host of a snapshot; a vm in flight counts on both its hosts.

use std::{collections::BTreeMap, ops::Deref};

use crate::{
    forecast::{Forecasts, VmForecast},
    id::{HostId, VmId},
    risk::{HostLoad, MeasuredRisk, VmLoad, correlation::bundles, loads::Loads, names::Names},
    snapshot::{HostView, InFlight, Snapshot, VmView},
};

/// Demand by host and by vm.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FleetLoad<'a> {
    names: Names<'a>,
    /// In order of name.
    hosts: Vec<(&'a HostId, HostLoad)>,
    /// By host, the positions of its vms.
    residents: Vec<Vec<usize>>,
    vms: Loads<'a>,
    /// All vms, each once, on no host.
    demand: HostLoad,
    /// Every vm has a forecast.
    foreseen: bool,
}

impl<'a> FleetLoad<'a> {
    /// Adds up the fleet; vms without a forecast are uncertain.
    pub fn of(snapshot: &'a Snapshot, forecasts: &Forecasts) -> Self {
        Self::added_up(snapshot, forecasts, VmLoad::of)
    }

    /// Adds up the fleet; vms without a forecast go on as they are.
    fn as_known(snapshot: &'a Snapshot, forecasts: &Forecasts) -> Self {
        Self::added_up(snapshot, forecasts, VmLoad::as_known)
    }

    /// The same fleet as [`Self::as_known`] has it; where every vm has a forecast that is no other.
    pub fn known(&'a self, snapshot: &'a Snapshot, forecasts: &Forecasts) -> KnownLoad<'a> {
        if self.foreseen { KnownLoad::Shared(self) } else { KnownLoad::of(snapshot, forecasts) }
    }

    fn added_up(
        snapshot: &'a Snapshot,
        forecasts: &Forecasts,
        load_of: impl Fn(&VmView, Option<&VmForecast>) -> VmLoad,
    ) -> Self {
        let hosts: Vec<_> = snapshot.hosts.iter().map(|(id, host)| (id, empty(host, forecasts))).collect();
        let (names, residents) = (Names::of(snapshot.hosts.keys()), vec![Vec::new(); hosts.len()]);
        let mut fleet = Self { names, hosts, residents, ..Self::default() };
        let flights: BTreeMap<VmId, &InFlight> = snapshot.in_flight.iter().map(|one| (one.vm, one)).collect();
        let holding = || snapshot.vms.iter().filter(|(_, vm)| vm.record.state.holds_memory());
        let mut foreseen = true;
        fleet.vms = Loads::of(holding().map(|(id, vm)| {
            let forecast = forecasts.vms.get(id);
            foreseen &= forecast.is_some();
            (*id, vm, load_of(vm, forecast))
        }));
        fleet.foreseen = foreseen;
        if let Some(measured) = &forecasts.risk {
            fleet.demand.z = Some(measured.fleet_z);
            take_apart(&mut fleet.vms, measured, snapshot);
        }
        for (position, (vm, load)) in fleet.vms.iter().enumerate() {
            fleet.demand.add(load);
            for host in places(vm, flights.get(&vm.id()).copied()).filter_map(|host| fleet.names.position(host)) {
                fleet.hosts[host].1.add(load);
                fleet.residents[host].push(position);
            }
        }
        for ((_, load), host) in fleet.hosts.iter_mut().zip(snapshot.hosts.values()) {
            load.base = host.base;
        }
        fleet
    }

    /// Where a host stands in the snapshot's order.
    pub fn position(&self, host: &HostId) -> Option<usize> {
        self.names.position(host)
    }

    /// The demand on one host.
    pub fn host(&self, host: &HostId) -> Option<&HostLoad> {
        self.names.position(host).map(|position| &self.hosts[position].1)
    }

    /// Demand by host, in order of name.
    pub fn hosts(&self) -> impl Iterator<Item = (&'a HostId, &HostLoad)> {
        self.hosts.iter().map(|(id, load)| (*id, load))
    }

    /// What one vm asks for; `None` where it is unknown or takes nothing (shut off).
    pub fn vm(&self, vm: VmId) -> Option<&VmLoad> {
        self.vms.get(vm)
    }

    /// The vms that count on a host, in order of id.
    pub fn residents(&self, host: &HostId) -> impl Iterator<Item = VmId> {
        let positions = self.names.position(host).map(|position| self.residents[position].as_slice());
        positions.unwrap_or_default().iter().map(|vm| self.vms.at(*vm).0.id())
    }

    /// The vms that count on the host at `position`, in order of id, and what each asks for.
    pub fn residents_at(&self, position: usize) -> impl Iterator<Item = (&'a VmView, &VmLoad)> {
        self.residents[position].iter().map(|vm| self.vms.at(*vm))
    }

    /// The demand of all vms, each counted once, over the capacity of the hosts for which `counts` holds.
    pub fn pool(&self, counts: impl Fn(&HostId) -> bool) -> HostLoad {
        let hosts = self.hosts.iter().filter(|(id, _)| counts(id)).map(|(_, load)| load);
        self.pool_over(hosts)
    }

    /// The demand of all vms, each counted once, over the capacity of `hosts`.
    pub fn pool_over<'l>(&self, hosts: impl Iterator<Item = &'l HostLoad>) -> HostLoad {
        hosts.fold(self.demand, HostLoad::with_host)
    }
}

/// The demand as [`FleetLoad::as_known`] has it, somebody else's where that is the same.
#[derive(Debug, Clone)]
pub enum KnownLoad<'a> {
    /// Added up by somebody else.
    Shared(&'a FleetLoad<'a>),
    /// Added up for this.
    Own(Box<FleetLoad<'a>>),
}

impl<'a> KnownLoad<'a> {
    /// Adds up the fleet.
    pub fn of(snapshot: &'a Snapshot, forecasts: &Forecasts) -> Self {
        Self::Own(Box::new(FleetLoad::as_known(snapshot, forecasts)))
    }
}

impl<'a> Deref for KnownLoad<'a> {
    type Target = FleetLoad<'a>;

    fn deref(&self) -> &FleetLoad<'a> {
        match self {
            Self::Shared(load) => load,
            Self::Own(load) => load,
        }
    }
}

/// A host without vms, with the z that was measured for its class.
fn empty(host: &HostView, forecasts: &Forecasts) -> HostLoad {
    let z = forecasts.risk.as_ref().map(|measured| measured.z_of(&host.inventory));
    HostLoad { z, ..HostLoad::empty(host) }
}

/// Takes every vm's deviation apart: what is common to all, what to its bundle, what its own.
fn take_apart(vms: &mut Loads<'_>, measured: &MeasuredRisk, snapshot: &Snapshot) {
    let bundles = bundles(snapshot);
    let mut together: BTreeMap<&str, f64> = BTreeMap::new();
    for (vm, bundle) in &bundles {
        *together.entry(bundle).or_default() += vms.get(*vm).map_or(0.0, |load| load.step(1).1);
    }
    for (id, load) in vms.iter_mut() {
        let bundle = bundles.get(&id).copied();
        let beyond = bundle.and_then(|bundle| measured.bundles.get(bundle)).copied().unwrap_or_default();
        let others = bundle.and_then(|bundle| together.get(bundle)).map_or(0.0, |all| all - load.step(1).1);
        *load = load.taken_apart(measured.loading_of(id), beyond, others.max(0.0));
    }
}

/// Every host on which a vm counts, each once.
fn places<'a>(vm: &'a VmView, flight: Option<&'a InFlight>) -> impl Iterator<Item = &'a HostId> {
    let source = flight.map(|one| &one.source).filter(|host| **host != vm.host);
    let destination = flight.map(|one| &one.destination).filter(|host| **host != vm.host && Some(*host) != source);
    std::iter::once(&vm.host).chain(source).chain(destination)
}
