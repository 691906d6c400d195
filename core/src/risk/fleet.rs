//! The demand on every host of a snapshot; a vm in flight counts on both its hosts.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
};

use crate::{
    forecast::{Ahead, Forecasts},
    id::{HostId, VmId},
    risk::{
        HostLoad, MeasuredRisk, VmLoad,
        correlation::bundles,
        loads::{Asking, Loads},
        names::Names,
    },
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
    /// Positions of the vms that have no forecast.
    unforeseen: Vec<usize>,
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
        if self.unforeseen.is_empty() {
            KnownLoad::Shared(self)
        } else if forecasts.risk.as_ref().is_some_and(|measured| !measured.bundles.is_empty()) {
            // Of what a bundle has in common each member's part depends on all the others'.
            KnownLoad::of(snapshot, forecasts)
        } else {
            KnownLoad::Own(Box::new(self.with_unforeseen_as_known(snapshot)))
        }
    }

    /// A fleet always has some vm that is too young for a forecast: only the hosts of such are added up anew, in the same order.
    fn with_unforeseen_as_known(&self, snapshot: &'a Snapshot) -> Self {
        let mut fleet = self.clone();
        let flights = flights(snapshot);
        let mut concerned = BTreeSet::new();
        for position in &self.unforeseen {
            let (vm, load) = fleet.vms.at_mut(*position);
            *load = VmLoad::as_known(vm, None);
            concerned.extend(places(vm, flights.get(&vm.id()).copied()).filter_map(|host| fleet.names.position(host)));
        }
        for host in concerned {
            let (name, load) = &mut fleet.hosts[host];
            let Some(view) = snapshot.hosts.get(*name) else { continue };
            *load = HostLoad { base: load.base, z: load.z, ..HostLoad::empty(view) };
            fleet.residents[host].iter().for_each(|vm| load.add(fleet.vms.at(*vm).load));
        }
        fleet.demand = HostLoad { z: fleet.demand.z, ..HostLoad::default() };
        fleet.vms.iter().for_each(|one| fleet.demand.add(one.load));
        fleet
    }

    fn added_up(
        snapshot: &'a Snapshot,
        forecasts: &Forecasts,
        load_of: impl Fn(&VmView, Option<&Ahead>) -> VmLoad,
    ) -> Self {
        let hosts: Vec<_> = snapshot.hosts.iter().map(|(id, host)| (id, empty(host, forecasts))).collect();
        let (names, residents) = (Names::of(snapshot.hosts.keys()), vec![Vec::new(); hosts.len()]);
        let mut fleet = Self { names, hosts, residents, ..Self::default() };
        let flights = flights(snapshot);
        let holding = || snapshot.vms.iter().filter(|(_, vm)| vm.record.state.holds_memory());
        let mut unforeseen = Vec::new();
        let mut next = 0;
        fleet.vms = Loads::of(holding().enumerate().map(|(position, (id, vm))| {
            let forecast = forecast_of(forecasts, *id, &mut next);
            if forecast.is_none() {
                unforeseen.push(position);
            }
            (*id, vm, load_of(vm, forecast))
        }));
        fleet.unforeseen = unforeseen;
        if let Some(measured) = &forecasts.risk {
            fleet.demand.z = Some(measured.fleet_z);
            take_apart(&mut fleet.vms, measured, snapshot);
        }
        for (position, Asking { id, vm, load, .. }) in fleet.vms.iter().enumerate() {
            fleet.demand.add(load);
            for host in places(vm, flights.get(&id).copied()).filter_map(|host| fleet.names.position(host)) {
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
        positions.unwrap_or_default().iter().map(|vm| self.vms.at(*vm).id)
    }

    /// The vms that count on the host at `position`, in order of id, and what each asks for.
    pub fn residents_at(&self, position: usize) -> impl Iterator<Item = Asking<'_, 'a>> {
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

/// The forecast of a vm. Most lie in the order of the vms, so that it is the one at `next`.
fn forecast_of<'f>(forecasts: &'f Forecasts, vm: VmId, next: &mut usize) -> Option<&'f Ahead> {
    let found = forecasts.vms.get_index(*next).filter(|(id, _)| **id == vm).map(|(_, ahead)| (*next, ahead));
    let (position, ahead) =
        found.or_else(|| forecasts.vms.get_full(&vm).map(|(position, _, ahead)| (position, ahead)))?;
    *next = position + 1;
    Some(ahead)
}

/// A host without vms, with the z that was measured for its class.
fn empty(host: &HostView, forecasts: &Forecasts) -> HostLoad {
    let z = forecasts.risk.as_ref().map(|measured| measured.z_of(&host.inventory));
    HostLoad { z, ..HostLoad::empty(host) }
}

/// Takes every vm's deviation apart: what is common to all, what to its bundle, what its own.
fn take_apart(vms: &mut Loads<'_>, measured: &MeasuredRisk, snapshot: &Snapshot) {
    if measured.loadings.is_empty() && measured.bundles.is_empty() {
        vms.iter_mut().for_each(|(_, load)| *load = load.taken_apart(measured.loading, 0.0, 0.0));
        return;
    }
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

fn flights(snapshot: &Snapshot) -> BTreeMap<VmId, &InFlight> {
    snapshot.in_flight.iter().map(|one| (one.vm, one)).collect()
}

/// Every host on which a vm counts, each once.
fn places<'a>(vm: &'a VmView, flight: Option<&'a InFlight>) -> impl Iterator<Item = &'a HostId> {
    let source = flight.map(|one| &one.source).filter(|host| **host != vm.host);
    let destination = flight.map(|one| &one.destination).filter(|host| **host != vm.host && Some(*host) != source);
    std::iter::once(&vm.host).chain(source).chain(destination)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::{Fleet, vm_id};

    proptest! {
        #[test]
        fn what_is_known_of_a_fleet_with_young_vms_is_the_same_as_if_it_were_added_up_anew(
            used in prop::collection::vec(prop::collection::vec(0.0..4.0f64, 0..5), 1..5),
            young in prop::collection::btree_set(1..20u32, 0..6),
            flying in prop::option::of(1..20u32),
        ) {
            let names = ["a", "b", "c", "d"];
            let hosts: Vec<(&str, &[f64])> = names.into_iter().zip(used.iter().map(Vec::as_slice)).collect();
            let mut fleet = Fleet::new(&hosts);
            fleet.forecast(1.4);
            fleet.forecasts.vms.retain(|vm, _| !young.iter().any(|number| vm_id(*number) == *vm));
            if let Some(number) = flying.filter(|number| fleet.snapshot.vms.contains_key(&vm_id(*number))) {
                fleet.fly(number, "a");
            }
            let load = FleetLoad::of(&fleet.snapshot, &fleet.forecasts);
            let known = load.known(&fleet.snapshot, &fleet.forecasts);
            prop_assert_eq!(&*known, &FleetLoad::as_known(&fleet.snapshot, &fleet.forecasts));
        }
    }
}
