//! The demand on every host of a snapshot; a vm in flight counts on both its hosts.

use std::collections::BTreeMap;

use crate::{
    forecast::Forecasts,
    id::{HostId, VmId},
    risk::{HostLoad, VmLoad},
    snapshot::{InFlight, Snapshot, VmView},
    units::Cores,
};

/// Demand by host and by vm.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FleetLoad<'a> {
    hosts: BTreeMap<&'a HostId, HostLoad>,
    residents: BTreeMap<&'a HostId, Vec<VmId>>,
    vms: BTreeMap<VmId, VmLoad>,
    /// All vms, each once, on no host.
    demand: HostLoad,
}

impl<'a> FleetLoad<'a> {
    /// Adds up the fleet.
    pub fn of(snapshot: &'a Snapshot, forecasts: &Forecasts) -> Self {
        let hosts = snapshot.hosts.iter().map(|(id, host)| (id, HostLoad::empty(host))).collect();
        let mut fleet = Self { hosts, ..Self::default() };
        let flights: BTreeMap<VmId, &InFlight> = snapshot.in_flight.iter().map(|one| (one.vm, one)).collect();
        let mut used: BTreeMap<&HostId, f64> = BTreeMap::new();
        for (id, vm) in snapshot.vms.iter().filter(|(_, vm)| vm.record.state.holds_memory()) {
            let load = VmLoad::of(vm, forecasts.vms.get(id));
            fleet.vms.insert(*id, load);
            fleet.demand.add(&load);
            places(vm, flights.get(id).copied()).for_each(|host| fleet.settle(host, *id, &load));
            *used.entry(&vm.host).or_default() += vm.cpu_used().map_or(0.0, Cores::get);
        }
        for (id, host) in &snapshot.hosts {
            let measured = host.sample.as_ref().and_then(|sample| sample.cpu_used.value());
            let by_vms = Cores(used.get(id).copied().unwrap_or_default());
            if let Some(load) = fleet.hosts.get_mut(id) {
                load.base = measured.filter(|used| used.is_sane()).unwrap_or_default().saturating_sub(by_vms);
            }
        }
        fleet
    }

    fn settle(&mut self, host: &'a HostId, vm: VmId, load: &VmLoad) {
        if let Some(at) = self.hosts.get_mut(host) {
            at.add(load);
            self.residents.entry(host).or_default().push(vm);
        }
    }

    /// The demand on one host.
    pub fn host(&self, host: &HostId) -> Option<&HostLoad> {
        self.hosts.get(host)
    }

    /// Demand by host, in order of name.
    pub fn hosts(&self) -> impl Iterator<Item = (&'a HostId, &HostLoad)> {
        self.hosts.iter().map(|(id, load)| (*id, load))
    }

    /// What one vm asks for; `None` where it is unknown or takes nothing (shut off).
    pub fn vm(&self, vm: VmId) -> Option<&VmLoad> {
        self.vms.get(&vm)
    }

    /// The vms that count on a host.
    pub fn residents(&self, host: &HostId) -> &[VmId] {
        self.residents.get(host).map_or(&[], Vec::as_slice)
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

/// Every host on which a vm counts, each once.
fn places<'a>(vm: &'a VmView, flight: Option<&'a InFlight>) -> impl Iterator<Item = &'a HostId> {
    let source = flight.map(|one| &one.source).filter(|host| **host != vm.host);
    let destination = flight.map(|one| &one.destination).filter(|host| **host != vm.host && Some(*host) != source);
    std::iter::once(&vm.host).chain(source).chain(destination)
}
