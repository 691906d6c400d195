//! Draining: every vm of a host that its operator wants empty goes where it fits, one by one, for each that is gone helps.
//!
//! The load is spread over the rest, each unit to the host that keeps most room, so that no single host takes it all; only
//! where that leaves a vm without a place are they packed.

use crate::{
    id::HostId,
    policy::{
        Advice,
        board::{Board, Slot},
        bundle::{Unit, units_on},
        evacuation::by_size,
        offer::{propose, wake_for},
    },
    proposal::{Motive, Move},
    quiet::too_busy,
    snapshot::{HostMode, HostPower},
};

/// Vms of one host proposed in one round: more than any budget lets go at a time.
const VMS_PER_HOST: usize = 8;

/// Proposes the next moves off every draining host. True where some vm has no place yet.
pub(super) fn drain(board: &mut Board<'_>, advice: &mut Advice) -> bool {
    let drained = |slot: &Slot<'_>| slot.host.mode == HostMode::Draining && slot.host.power == HostPower::Awake;
    let mut homeless = false;
    for slot in 0..board.slots.len() {
        if drained(&board.slots[slot]) && board.slots[slot].host.is_trusted() {
            homeless |= drain_host(board, slot, advice);
        }
    }
    homeless
}

fn drain_host(board: &mut Board<'_>, slot: usize, advice: &mut Advice) -> bool {
    let host = board.slots[slot].host.id().clone();
    let (mut units, stuck) = units_on(board, slot);
    if stuck > 0 {
        advice.notes.push(format!("{host} is being drained, {stuck} of its vms cannot be moved"));
    }
    by_size(board, slot, &mut units);
    let units = calm_ones(board, slot, units, advice);
    let motive = Motive::Drain { host: host.clone() };
    let spread = places(board, &units, Way::Spread);
    let packed = if spread.iter().any(Option::is_none) { places(board, &units, Way::Packed) } else { Vec::new() };
    let homeless = |places: &[Option<usize>]| places.iter().filter(|place| place.is_none()).count();
    let chosen = if packed.is_empty() || homeless(&spread) <= homeless(&packed) { spread } else { packed };
    let mut taken = 0;
    let mut left = None;
    for (unit, place) in units.iter().zip(chosen) {
        match place {
            Some(to) if taken < VMS_PER_HOST => {
                advice.proposals.push(propose(board, unit, to, &motive));
                taken += unit.vms.len();
            }
            // Its turn comes in a later round, and its place is kept.
            Some(to) => board.reserve(to, unit),
            None => left = left.or(Some(unit)),
        }
    }
    if let Some(unit) = left {
        make_room(board, slot, unit, &host, advice);
    }
    left.is_some()
}

/// Those whose copies would end. The others wait until they write less, whatever room there is.
fn calm_ones<'a>(board: &Board<'a>, slot: usize, units: Vec<Unit<'a>>, advice: &mut Advice) -> Vec<Unit<'a>> {
    let (objective, host) = (board.objective(), board.slots[slot].host);
    let busy =
        |unit: &Unit<'_>| unit.vms.iter().find_map(|vm| Some(too_busy(&objective, vm, host, host)?.finding(vm.id())));
    let (mut calm, mut waiting) = (Vec::with_capacity(units.len()), Vec::new());
    for unit in units {
        match busy(&unit) {
            Some(finding) => waiting.push(finding.to_string()),
            None => calm.push(unit),
        }
    }
    if !waiting.is_empty() {
        advice.notes.push(format!("{} is being drained and waits: {}", host.id(), waiting.join("; ")));
    }
    calm
}

/// How places are chosen.
#[derive(Clone, Copy)]
enum Way {
    Spread,
    Packed,
}

/// Where each unit goes, in order, each with those before it in their places; the board is left as it was.
fn places(board: &mut Board<'_>, units: &[Unit<'_>], way: Way) -> Vec<Option<usize>> {
    let (mut before, mut played): (Vec<(usize, Slot<'_>)>, Vec<Move>) = (Vec::new(), Vec::new());
    let mut places = Vec::with_capacity(units.len());
    for unit in units {
        let place = target(board, unit, way);
        places.push(place);
        let Some(to) = place else { continue };
        for touched in [Some(to), board.slot_of(&unit.first().host)].into_iter().flatten() {
            if before.iter().all(|(index, _)| *index != touched) {
                before.push((touched, board.slots[touched].clone()));
            }
        }
        for vm in &unit.vms {
            let one = Move { vm: vm.id(), from: vm.host.clone(), to: board.slots[to].host.id().clone() };
            board.play(&one);
            played.push(one);
        }
    }
    board.restore(before, &played);
    places
}

fn target(board: &Board<'_>, unit: &Unit<'_>, way: Way) -> Option<usize> {
    let tuning = board.tuning();
    let choose = |limit: f64, inhabited: bool| {
        let allowed = |slot: &Slot<'_>| !inhabited || slot.is_inhabited();
        match way {
            Way::Spread => board.roomiest(unit, limit, allowed),
            Way::Packed => board.best_target(unit, limit, allowed),
        }
    };
    let limits = [tuning.cpu_fill_limit, tuning.cpu_limit];
    // A host with vms first: an empty one may be about to sleep.
    let inhabited = limits.iter().find_map(|limit| choose(*limit, true));
    inhabited.or_else(|| limits.iter().find_map(|limit| choose(*limit, false)))
}

fn make_room(board: &mut Board<'_>, slot: usize, unit: &Unit<'_>, host: &HostId, advice: &mut Advice) {
    wake_for(board, slot, unit, &Motive::Drain { host: host.clone() }, advice);
}
