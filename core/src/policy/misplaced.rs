//! Vms that are where their labels do not let them be: on a host they are not pinned to, with one they keep apart from, or in
//! its fault domain. People place vms by hand, hosts are lost, labels are given later; no rule about moves prevents that.
//!
//! Of those that must not be together all but one go, those that are cheapest to copy first. Cost: a look at every vm that
//! has such labels.

use std::collections::BTreeMap;

use crate::{
    policy::{
        Advice,
        board::{Board, Slot},
        bundle::unit_of,
        offer::{propose, wake_for},
    },
    proposal::Motive,
    snapshot::VmView,
};

/// Proposes to move each to where it may be.
pub(super) fn mend(board: &mut Board<'_>, advice: &mut Advice) {
    for (vm, motive) in astray(board).into_iter().chain(crowded(board)) {
        // One that has just been moved, for whatever reason, is looked at again when it has rested.
        if can_go(board, vm) && !board.is_resting(vm) {
            put_right(board, vm, &motive, advice);
        }
    }
}

/// Whether it may be moved, and its copy would end: no host is woken for a move that nobody will order.
fn can_go(board: &Board<'_>, vm: &VmView) -> bool {
    let host = board.slot_of(&vm.host).map(|slot| board.slots[slot].host);
    let ends = |host| board.objective().copy(vm, host, host).converges;
    board.is_movable(vm) && host.is_some_and(ends)
}

/// Vms on hosts that their pins do not name.
fn astray<'a>(board: &Board<'a>) -> Vec<(&'a VmView, Motive)> {
    let wrong = |vm: &&VmView| {
        let pins = &vm.record.labels.pinned_to;
        !pins.is_empty() && !pins.contains(&vm.host)
    };
    let settled = board.slots.iter().flat_map(|slot| slot.settled.iter().copied());
    settled.filter(wrong).map(|vm| (vm, Motive::Pin { host: vm.host.clone() })).collect()
}

/// What must not be shared, and by which group.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Shared<'a> {
    Host(&'a str, &'a str),
    Domain(&'a str, &'a str),
}

/// Of the vms that share what they must not, all that can move but one.
fn crowded<'a>(board: &Board<'a>) -> Vec<(&'a VmView, Motive)> {
    let mut sharing: BTreeMap<Shared<'a>, Vec<&'a VmView>> = BTreeMap::new();
    for slot in &board.slots {
        let (host, domain) = (slot.host.id().as_str(), slot.host.inventory.fails_with());
        for vm in &slot.settled {
            let labels = &vm.record.labels;
            let by_host = labels.anti_affinity.iter().map(|group| Shared::Host(host, group));
            let by_domain = labels.spread.iter().map(|group| Shared::Domain(domain, group));
            by_host.chain(by_domain).for_each(|shared| sharing.entry(shared).or_default().push(vm));
        }
    }
    sharing
        .into_iter()
        .flat_map(|(shared, members)| surplus(board, members).map(move |vm| (vm, motive(&shared))))
        .collect()
}

/// All but the one that should stay: one that cannot go, or else the largest.
fn surplus<'a>(board: &Board<'a>, mut members: Vec<&'a VmView>) -> impl Iterator<Item = &'a VmView> + use<'a> {
    members.sort_by_key(|vm| (!can_go(board, vm), vm.memory_reserved(), vm.id()));
    members.pop();
    members.into_iter()
}

fn motive(shared: &Shared<'_>) -> Motive {
    let (Shared::Host(place, group) | Shared::Domain(place, group)) = *shared;
    Motive::Apart { group: group.to_owned(), place: place.to_owned() }
}

fn put_right<'a>(board: &mut Board<'a>, vm: &'a VmView, motive: &Motive, advice: &mut Advice) {
    let Some(slot) = board.slot_of(&vm.host).filter(|slot| board.slots[*slot].host.is_trusted()) else { return };
    let Some(unit) = unit_of(board, vm) else {
        advice.notes.push(format!("vm {} stays where it should not be: its bundle cannot move", vm.id()));
        return;
    };
    let tuning = board.tuning();
    let open = |slot: &Slot<'_>| slot.is_inhabited();
    let to = [tuning.cpu_fill_limit, tuning.cpu_limit]
        .into_iter()
        .find_map(|limit| board.best_target(&unit, limit, open).or_else(|| board.best_target(&unit, limit, |_| true)));
    match to {
        Some(to) => advice.proposals.push(propose(board, &unit, to, motive)),
        None => drop(wake_for(board, slot, &unit, motive, advice)),
    }
}
