//! Moves and wakes as proposals, played on the round's own board: what every part of the greedy policy offers by.

use crate::{
    policy::{
        Advice,
        board::{Board, Slot},
        bundle::Unit,
    },
    proposal::{Action, Expectation, Motive, Move, Proposal},
    snapshot::VmView,
};

/// What moving one unit would change.
pub(super) fn offer(board: &Board<'_>, unit: &Unit<'_>, to: usize) -> Expectation {
    expectation(board, &moves_of(board, unit, to))
}

fn moves_of(board: &Board<'_>, unit: &Unit<'_>, to: usize) -> Vec<Move> {
    let to = board.slots[to].host.id();
    let one = |vm: &&VmView| Move { vm: vm.id(), from: vm.host.clone(), to: to.clone() };
    unit.vms.iter().map(one).collect()
}

fn expectation(board: &Board<'_>, moves: &[Move]) -> Expectation {
    board.objective().relocate(moves, board.fleet, |host| board.load_of(host))
}

/// Proposes the move of one unit and plays it.
pub(super) fn propose(board: &mut Board<'_>, unit: &Unit<'_>, to: usize, motive: &Motive) -> Proposal {
    let moves = moves_of(board, unit, to);
    let expected = expectation(board, &moves);
    moves.iter().for_each(|one| board.play(one));
    let action = match <[Move; 1]>::try_from(moves) {
        Ok([one]) => Action::Relocate(one),
        Err(moves) => Action::Together { moves },
    };
    Proposal { action, motive: motive.clone(), expected }
}

/// Proposes to wake a host that could take `unit`, unless one that could is waking already. True where help will come.
pub(super) fn wake_for(
    board: &mut Board<'_>,
    slot: usize,
    unit: &Unit<'_>,
    motive: &Motive,
    advice: &mut Advice,
) -> bool {
    let (limit, vm) = (board.tuning().cpu_limit, unit.first());
    let coming = |slot: &Slot<'_>| slot.is_up() && !slot.host.is_eligible_target();
    let waking =
        (0..board.slots.len()).find(|other| coming(&board.slots[*other]) && board.with(*other, unit, limit).is_some());
    if let Some(other) = waking {
        board.reserve(other, unit);
        advice.notes.push(format!("vm {} waits for {}, which is waking", vm.id(), board.slots[other].host.id()));
        return true;
    }
    let Some(sleeper) = board.wakeable().into_iter().find(|other| board.with(*other, unit, limit).is_some()) else {
        advice.notes.push(format!("no host, awake or asleep, has room for vm {} of {}", vm.id(), vm.host));
        return false;
    };
    let host = board.slots[sleeper].host;
    let expected = board.objective().wake(host, &board.slots[slot].load);
    board.slots[sleeper].woken = true;
    board.reserve(sleeper, unit);
    let action = Action::Wake { host: host.id().clone() };
    advice.proposals.push(Proposal { action, motive: motive.clone(), expected });
    true
}
