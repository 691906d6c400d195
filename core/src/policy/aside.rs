//! Stepping aside: where one vm is all that keeps a host from being emptied, a vm of another host goes elsewhere and leaves it
//! its place.
//!
//! An ejection chain of two links (Glover 1996, *Ejection chains, reference structures and alternating path methods for traveling
//! salesman problems*), judged as a whole by the model. Only the first link is proposed: once that vm has gone, a later round finds
//! the host easy to empty, and where it does not, nothing is lost but one copy.

use crate::{
    objective::Objective,
    policy::{
        board::{Board, Slot},
        bundle::{Unit, units_on},
        consolidate::pays,
        evacuation::Draft,
    },
    proposal::{Action, Motive, Move, Proposal},
    snapshot::VmView,
    units::{Bytes, Joules},
};

/// Hosts on which somebody may step aside that are looked at, those with most room left first.
const HOSTS: usize = 64;

/// Who makes room for whom.
#[derive(Clone)]
struct Aside<'a> {
    /// Steps aside.
    goes: Unit<'a>,
    /// From this host.
    from: usize,
    /// To this host.
    to: usize,
    /// Takes its place.
    follows: Unit<'a>,
}

/// Proposes that a vm steps aside so that the host in `slot`, whose `units` are in order of size, can be emptied by a later round;
/// `None` where that takes more than one such step, or costs more than it saves.
pub(super) fn step_aside<'a>(board: &mut Board<'a>, slot: usize, units: &[Unit<'a>]) -> Option<Proposal> {
    let host = board.slots[slot].host.id().clone();
    let mut draft = Draft::emptying(board, slot);
    let mut aside = None;
    let is_whole = units.iter().all(|unit| place(board, &mut draft, unit, &mut aside));
    let expected = is_whole.then(|| draft.expected(board, &host));
    draft.take_back(board);
    let (aside, expected) = aside.zip(expected)?;
    if !pays(board, slot, &expected) {
        return None;
    }
    Some(propose(board, slot, &aside, expected.gain))
}

/// Puts a unit where there is room, or once where somebody steps aside for it.
fn place<'a>(board: &mut Board<'a>, draft: &mut Draft<'a>, unit: &Unit<'a>, aside: &mut Option<Aside<'a>>) -> bool {
    if let Some(to) = board.best_target(unit, board.tuning().cpu_fill_limit, Slot::is_inhabited) {
        draft.place(board, unit, to);
        return true;
    }
    let found = aside.is_none().then(|| find(board, unit)).flatten();
    let Some(found) = found else { return false };
    draft.place(board, &found.goes, found.to);
    draft.is_gone(board, found.from, &found.goes);
    draft.place(board, &found.follows, found.from);
    *aside = Some(found);
    true
}

/// Who could step aside for `unit` with the least data copied.
fn find<'a>(board: &Board<'a>, unit: &Unit<'a>) -> Option<Aside<'a>> {
    let vm = single(unit)?;
    let (objective, limit) = (board.objective(), board.tuning().cpu_fill_limit);
    let mut best: Option<(Bytes, Aside<'a>)> = None;
    for from in hosts(board, vm) {
        for goes in units_on(board, from).0 {
            let Some(data) = may_go(board, &objective, from, &goes) else { continue };
            if best.as_ref().is_some_and(|(least, _)| *least <= data) {
                continue;
            }
            let leaves_room = board.in_place_of(from, vm, goes.first(), limit).is_some();
            let to = leaves_room.then(|| board.best_target(&goes, limit, Slot::is_inhabited)).flatten();
            if let Some(to) = to {
                best = Some((data, Aside { goes, from, to, follows: unit.clone() }));
            }
        }
    }
    best.map(|(_, aside)| aside)
}

/// Hosts that may take `vm` in place of one of theirs, those with most room left first.
fn hosts(board: &Board<'_>, vm: &VmView) -> Vec<usize> {
    let quiet = |slot: &Slot<'_>| slot.arriving == 0 && slot.leaving.is_empty() && slot.is_inhabited();
    let open = |index: &usize| board.is_open(*index, vm) && quiet(&board.slots[*index]);
    let mut hosts: Vec<(f64, usize)> =
        (0..board.slots.len()).filter(open).map(|index| (board.room_left(&board.slots[index].load), index)).collect();
    hosts.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    hosts.into_iter().take(HOSTS).map(|(_, index)| index).collect()
}

/// The data that moving the unit copies; `None` where it is no single vm, rests, or writes faster than it can be copied.
fn may_go(board: &Board<'_>, objective: &Objective<'_>, from: usize, unit: &Unit<'_>) -> Option<Bytes> {
    let vm = single(unit).filter(|vm| !board.is_resting(vm))?;
    let host = board.slots[from].host;
    Some(objective.copy(vm, host, host)).filter(|copy| copy.converges).map(|copy| copy.copied)
}

fn single<'a>(unit: &Unit<'a>) -> Option<&'a VmView> {
    (unit.vms.len() == 1 && unit.anchor.is_none()).then(|| unit.first())
}

/// The first link, played; the place it leaves is kept for who follows.
fn propose(board: &mut Board<'_>, slot: usize, aside: &Aside<'_>, gain: Joules) -> Proposal {
    let [from, to] = [aside.from, aside.to].map(|slot| board.slots[slot].host.id().clone());
    let one = Move { vm: aside.goes.first().id(), from, to };
    let expected = board.objective().relocate(std::slice::from_ref(&one), board.fleet, |host| board.load_of(host));
    board.play(&one);
    board.reserve(aside.from, &aside.follows);
    let host = board.slots[slot].host.id().clone();
    Proposal { action: Action::Relocate(one), motive: Motive::Room { host, gain }, expected }
}
