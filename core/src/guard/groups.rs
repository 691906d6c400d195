//! The rules about vms that belong together, or apart: anti-affinity, bundles, and groups spread over fault domains.
//!
//! A vm counts wherever it is, may still be, or is about to be: on its source until it has really left, on the destination
//! of every move accepted before, of every move of the same wish, and of every migration under way.

use std::collections::BTreeMap;

use crate::{
    finding::Finding,
    guard::{Guard, checks::Case},
    id::{HostId, VmId},
    inventory::VmLabels,
    snapshot::{Snapshot, VmView},
};

/// The members of every bundle and of every group to be spread, shut-off vms left out.
#[derive(Debug, Clone, Default)]
pub(super) struct Groups<'a> {
    bundles: BTreeMap<&'a str, Vec<&'a VmView>>,
    spread: BTreeMap<&'a str, Vec<&'a VmView>>,
}

impl<'a> Groups<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let mut groups = Self::default();
        for vm in snapshot.vms.values().filter(|vm| vm.record.state.holds_memory()) {
            let VmLabels { affinity, spread, .. } = &vm.record.labels;
            affinity.iter().for_each(|group| groups.bundles.entry(group).or_default().push(vm));
            spread.iter().for_each(|group| groups.spread.entry(group).or_default().push(vm));
        }
        groups
    }
}

fn members<'g, 'a>(groups: &'g BTreeMap<&'a str, Vec<&'a VmView>>, group: &str) -> &'g [&'a VmView] {
    groups.get(group).map_or(&[], Vec::as_slice)
}

/// Where `vm` will be once everything that is under way, accepted and wished for has come about.
fn destination<'c>(case: &Case<'c>, vm: &'c VmView) -> &'c HostId {
    let guard: &'c Guard<'c> = case.guard;
    let wished = case.wish.whole.iter().find(|one| one.vm == vm.id()).map(|one| &one.to);
    let accepted = || guard.accepted.moves.of(vm.id()).next().map(|one| &one.to);
    let flying = || guard.flying.of(vm.id()).next().map(|one| &one.to);
    wished.or_else(accepted).or_else(flying).unwrap_or(&vm.host)
}

/// No member of the vm's bundles is left behind.
pub(super) fn affinity(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for group in &case.vm.record.labels.affinity {
        let others = members(&case.guard.groups.bundles, group).iter().filter(|other| other.id() != case.vm.id());
        let apart = others.map(|other| (other.id(), destination(case, other))).filter(|(_, at)| *at != case.to.id());
        findings.extend(apart.map(|(other, at)| Finding::TornApart {
            vm: case.vm.id(),
            other,
            group: group.clone(),
            at: at.clone(),
        }));
    }
}

/// Every host on which `vm` counts.
fn places<'c>(case: &'c Case<'_>, vm: &'c VmView) -> impl Iterator<Item = &'c HostId> {
    let guard = case.guard;
    let flying = guard.flying.of(vm.id()).flat_map(|flight| [&flight.from, &flight.to]);
    let wished = case.wish.whole.iter().filter(|one| one.vm == vm.id());
    let moves = guard.accepted.moves.of(vm.id()).chain(wished).map(|one| &one.to);
    std::iter::once(&vm.host).chain(flying).chain(moves)
}

/// No other member of the vm's spread groups is in the destination's fault domain.
pub(super) fn spread(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let domain = case.to.inventory.fails_with();
    let fails_with = |host: &HostId| case.guard.snapshot.hosts.get(host).map(|host| host.inventory.fails_with());
    for group in &case.vm.record.labels.spread {
        let others = members(&case.guard.groups.spread, group).iter().copied();
        let counted = others.filter(|other| other.id() != case.vm.id() && Some(other.id()) != case.wish.leaving);
        let there = counted.filter(|other| places(case, other).any(|host| fails_with(host) == Some(domain)));
        findings.extend(there.map(|other| Finding::FaultDomain {
            vm: case.vm.id(),
            other: other.id(),
            group: group.clone(),
            domain: domain.to_owned(),
        }));
    }
}

/// No other member of the vm's anti-affinity groups is on the destination.
pub(super) fn anti_affinity(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let (guard, to) = (case.guard, case.to.id());
    let groups = &case.vm.record.labels.anti_affinity;
    if groups.is_empty() {
        return;
    }
    let wished = case.wish.before().iter().filter(|one| one.to == *to);
    let arriving = guard.accepted.moves.to(to).chain(wished).map(|one| one.vm);
    let counted = |other: &VmId| *other != case.vm.id() && Some(*other) != case.wish.leaving;
    let others = guard.load.residents(to).chain(arriving).filter(counted);
    for other in others.filter_map(|other| guard.snapshot.vms.get(&other)) {
        let shared = groups.intersection(&other.record.labels.anti_affinity);
        findings.extend(shared.map(|group| Finding::AntiAffinity {
            vm: case.vm.id(),
            other: other.id(),
            group: group.clone(),
            host: to.clone(),
        }));
    }
}
