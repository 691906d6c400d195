//! One decision: who leaves the overloaded hosts, and which hosts are emptied.

use ballast_core::policy::textbook::{Candidate, Consolidation, HISTORY};

use super::{
    board::Board,
    fleet::{Fleet, Move},
};
use crate::noise;

/// The migrations that `rule` wants at this moment, in the order in which they begin. A vm may be there twice: assigned
/// by relief to a host that is then emptied.
pub(super) fn decide(fleet: &Fleet, rule: Consolidation, seed: u64) -> Vec<Move> {
    let mut board = Board::new(fleet, rule);
    let mut moves = Vec::new();
    let mut kept = relieve(&mut board, rule, seed, &mut moves);
    board.close_off();
    empty(&mut board, &mut kept, &mut moves);
    moves
}

/// Takes vms from overloaded hosts until they are no longer overloaded, and finds places for them. What comes back says
/// which hosts are not to be emptied.
fn relieve(board: &mut Board<'_>, rule: Consolidation, seed: u64, moves: &mut Vec<Move>) -> Vec<bool> {
    let over: Vec<usize> = (0..board.slots()).filter(|slot| board.is_overloaded_now(*slot)).collect();
    let mut leaving = Vec::new();
    for slot in &over {
        board.close(*slot);
        leaving.extend(choose(board, *slot, rule, seed));
    }
    by_demand(board.fleet, &mut leaving);
    let mut targets = Vec::new();
    for vm in leaving {
        if let Some((slot, _)) = board.assign(vm) {
            moves.push(Move { vm, to: board.host(slot) });
            targets.push(slot);
        }
    }
    let mut kept = vec![false; board.slots()];
    over.into_iter().for_each(|slot| kept[slot] = true);
    if board.fleet.quirks.excl {
        targets.into_iter().for_each(|slot| kept[slot] = true);
    }
    kept
}

/// The vms that leave an overloaded host.
fn choose(board: &Board<'_>, slot: usize, rule: Consolidation, seed: u64) -> Vec<usize> {
    let mut staying = board.vms(slot);
    let mut leaving = Vec::new();
    while let Some(index) = pick(board.fleet, &staying, rule, seed) {
        leaving.push(staying.remove(index));
        if !board.is_overloaded_with(slot, &staying) {
            break;
        }
    }
    leaving
}

fn pick(fleet: &Fleet, vms: &[usize], rule: Consolidation, seed: u64) -> Option<usize> {
    let demand = &fleet.demand;
    let candidate = |vm: &usize| Candidate {
        memory: f64::from(demand.kinds[*vm].ram),
        utilisation: demand.mips[*vm] / demand.kinds[*vm].mips,
        history: demand.shares(*vm, HISTORY),
    };
    let candidates: Vec<Candidate<'_>> = vms.iter().map(candidate).collect();
    let first = vms.first().map_or(0, |vm| u64::try_from(*vm).unwrap_or_default());
    let lot = noise::hash(seed, fleet.moment(), first << 16 | u64::try_from(vms.len()).unwrap_or_default());
    rule.selector.pick(&candidates, lot)
}

/// Largest demand first; of equals, whoever stands first.
fn by_demand(fleet: &Fleet, vms: &mut [usize]) {
    vms.sort_by(|a, b| fleet.demand.mips[*b].total_cmp(&fleet.demand.mips[*a]));
}

/// Empties the least used host again and again, until none is left that was not looked at. A host from which not all vms
/// find a place keeps all of them, and takes none either.
fn empty(board: &mut Board<'_>, kept: &mut [bool], moves: &mut Vec<Move>) {
    while let Some(slot) = least_used(board, kept) {
        kept[slot] = true;
        board.close(slot);
        let Some(assigned) = empty_one(board, slot) else { continue };
        for one in assigned {
            kept[one.slot] = true;
            moves.push(Move { vm: one.vm, to: board.host(one.slot) });
        }
    }
}

fn least_used(board: &Board<'_>, kept: &[bool]) -> Option<usize> {
    let mut best: (f64, Option<usize>) = (1.0, None);
    for (slot, is_kept) in kept.iter().enumerate() {
        let host = &board.fleet.hosts[board.host(slot)];
        // What was assigned to a host that is off does not count as being used.
        let is_used = host.utilisation > 0.0 && !host.vms.is_empty();
        if !is_kept && is_used && host.utilisation < best.0 {
            best = (host.utilisation, Some(slot));
        }
    }
    best.1
}

/// A vm and the host it is assigned to.
struct Assigned {
    vm: usize,
    slot: usize,
}

fn empty_one(board: &mut Board<'_>, slot: usize) -> Option<Vec<Assigned>> {
    let mut vms = board.vms(slot);
    by_demand(board.fleet, &mut vms);
    let (mut assigned, mut befores) = (Vec::new(), Vec::new());
    for vm in vms {
        let Some((slot, before)) = board.assign(vm) else {
            board.put_back(befores);
            return None;
        };
        assigned.push(Assigned { vm, slot });
        befores.push(before);
    }
    Some(assigned)
}
