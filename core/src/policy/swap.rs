//! Relief by exchange: where no host has room for any vm of an overloaded one, a large one of its vms and a smaller one of
//! another host change places.
//!
//! Only what can be done in a safe order is proposed; the planner works the order out, and the guard checks each step.

use crate::{
    id::VmId,
    objective::Objective,
    policy::{
        board::{Board, Slot},
        bundle::{Unit, units_on},
    },
    proposal::{Action, Motive, Move, Proposal},
    risk::HostLoad,
    snapshot::VmView,
    units::Bytes,
};

/// Other hosts looked at, those with most CPU left first.
const HOSTS: usize = 64;

/// Vms of the overloaded host looked at, in the order in which relief would take them.
const VMS: usize = 8;

/// What became of the search.
pub(super) enum Exchange {
    /// This clears the host.
    Found(Box<Proposal>),
    /// These two would, but there is no memory to do it safely.
    Unsafe(VmId, VmId),
    /// None would.
    None,
}

/// The exchange that clears the host in `slot` with the least data copied; `clears` says what is clear.
pub(super) fn exchange(
    board: &mut Board<'_>,
    slot: usize,
    units: &[Unit<'_>],
    motive: &Motive,
    clears: impl Fn(&Board<'_>, &HostLoad) -> bool,
) -> Exchange {
    let objective = board.objective();
    let mut best: Option<(Bytes, VmId, VmId, usize)> = None;
    let mut unsafe_one = None;
    for (out, other, back) in pairs(board, slot, units) {
        if !fits(board, slot, out, other, back, &clears) {
            continue;
        }
        if !has_order(board, slot, out, other, back) {
            unsafe_one = unsafe_one.or(Some((out.id(), back.id())));
            continue;
        }
        let data = data(board, &objective, slot, out, other, back);
        let found = (data, out.id(), back.id(), other);
        if best.is_none_or(|best| (found.0, found.1, found.2) < (best.0, best.1, best.2)) {
            best = Some(found);
        }
    }
    match (best, unsafe_one) {
        (Some((_, out, back, other)), _) => Exchange::Found(Box::new(propose(board, slot, out, other, back, motive))),
        (None, Some((out, back))) => Exchange::Unsafe(out, back),
        (None, None) => Exchange::None,
    }
}

/// Vms that could change places: one of the host's, another host, one of that host's.
fn pairs<'a>(board: &Board<'a>, slot: usize, units: &[Unit<'a>]) -> Vec<(&'a VmView, usize, &'a VmView)> {
    let single = |unit: &Unit<'a>| (unit.vms.len() == 1 && unit.anchor.is_none()).then(|| unit.first());
    let out: Vec<&VmView> = units.iter().filter_map(single).take(VMS).collect();
    let mut pairs = Vec::new();
    for other in partners(board, slot) {
        let (theirs, _) = units_on(board, other);
        let rested = theirs.iter().filter_map(single).filter(|vm| !board.is_resting(vm));
        for back in rested {
            pairs.extend(out.iter().map(|out| (*out, other, back)));
        }
    }
    pairs
}

/// Hosts that could take part, those with most CPU left first.
fn partners(board: &Board<'_>, slot: usize) -> Vec<usize> {
    let open = |other: &usize| {
        let candidate: &Slot<'_> = &board.slots[*other];
        let quiet = candidate.arriving == 0 && candidate.leaving.is_empty() && !candidate.emptied;
        *other != slot && quiet && candidate.host.is_eligible_target()
    };
    let mut partners: Vec<usize> = (0..board.slots.len()).filter(open).collect();
    let left = |slot: usize| {
        let load = &board.slots[slot].load;
        load.capacity.get() - load.ahead(&board.risk).get()
    };
    partners.sort_by(|a, b| left(*b).total_cmp(&left(*a)).then(a.cmp(b)));
    partners.truncate(HOSTS);
    partners
}

/// Whether both hosts hold what they then have, and the first is clear.
fn fits(
    board: &Board<'_>,
    slot: usize,
    out: &VmView,
    other: usize,
    back: &VmView,
    clears: &impl Fn(&Board<'_>, &HostLoad) -> bool,
) -> bool {
    let limit = board.tuning().cpu_limit;
    let here = board.in_place_of(slot, back, out, limit);
    here.is_some_and(|load| clears(board, &load)) && board.in_place_of(other, out, back, limit).is_some()
}

/// Whether one of the two can go first, or aside to a third host, as the planner will have it.
fn has_order(board: &Board<'_>, slot: usize, out: &VmView, other: usize, back: &VmView) -> bool {
    let ratio = board.tuning().memory_ratio;
    let free = |slot: usize| {
        let load = &board.slots[slot].load;
        load.memory_capacity.scale(ratio).saturating_sub(load.memory)
    };
    let first = out.memory_reserved() <= free(other) || back.memory_reserved() <= free(slot);
    let limit = board.tuning().cpu_limit;
    let aside = |vm: &VmView| {
        let third = |index: &usize| *index != slot && *index != other && board.slots[*index].host.is_eligible_target();
        let mut thirds = (0..board.slots.len()).filter(third);
        thirds.any(|index| !board.slots[index].emptied && board.has_room(index, vm, limit))
    };
    first || aside(back) || aside(out)
}

fn data(board: &Board<'_>, objective: &Objective<'_>, slot: usize, out: &VmView, other: usize, back: &VmView) -> Bytes {
    let (here, there) = (board.slots[slot].host, board.slots[other].host);
    objective.copy(out, here, there).copied.saturating_add(objective.copy(back, there, here).copied)
}

fn propose(board: &mut Board<'_>, slot: usize, out: VmId, other: usize, back: VmId, motive: &Motive) -> Proposal {
    let (here, there) = (board.slots[slot].host.id().clone(), board.slots[other].host.id().clone());
    let both = [Move { vm: out, from: here.clone(), to: there.clone() }, Move { vm: back, from: there, to: here }];
    let expected = board.objective().relocate(&both, board.fleet, |host| board.load_of(host));
    both.iter().for_each(|one| board.play(one));
    Proposal { action: Action::Swap(both), motive: motive.clone(), expected }
}
