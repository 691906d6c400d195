//! Replacement: an efficient host that is empty takes the vms of hosts that draw more for the same room, and these sleep.
//!
//! Consolidation fills the hosts that hold vms anyway, whichever they are, so that a fleet of mixed hosts may go through a quiet
//! night on its oldest. Here one empty host a round, the most efficient first, is tried in the place of as many of the others as
//! it can take over, and judged with them as a whole: what it draws awake, what waking it takes, what is not saved meanwhile. One
//! that sleeps is only woken; once it is up, a later round finds it empty and looks again, with the wake behind it.

use crate::{
    policy::{
        Advice,
        board::{Board, Slot},
        bundle::Unit,
        consolidate::{Rest, candidates, pays},
        evacuation::{Draft, units_of},
    },
    proposal::{Action, Expectation, Motive, Move, Proposal},
    snapshot::HostPower,
    units::Joules,
};

/// Empty hosts that are tried in one round, each less efficient than the one before.
const TAKERS: usize = 3;

/// Hosts whose place an empty one is tried in, those that consolidation would like best first.
const REPLACED: usize = 16;

/// Less of a difference in what their room costs is no reason to look closer: it is the figures' own uncertainty.
const WORTH_A_LOOK: f64 = 1.02;

/// Proposes to empty hosts onto a more efficient one that is empty, or to wake that one. Nothing is woken while another host is
/// on its way: that may be the one.
pub(super) fn replace(board: &mut Board<'_>, advice: &mut Advice) {
    let is_waking = board.slots.iter().any(|slot| slot.is_up() && !slot.host.is_eligible_target());
    let takers = takers(board, !is_waking);
    let Some(cheapest) = takers.first().map(|taker| board.slots[*taker].cost) else { return };
    let dearer = |slot: &Slot<'_>| !slot.settled.is_empty() && slot.cost > cheapest * WORTH_A_LOOK;
    if !board.slots.iter().any(dearer) {
        return;
    }
    let hosts = candidates(board);
    if let Some(found) = takers.into_iter().find_map(|taker| tried(board, taker, &hosts)) {
        propose(board, &found, advice);
    }
}

/// A host in the place of others.
struct Replacement {
    taker: usize,
    replaced: Vec<Emptied>,
    /// All of it together.
    expected: Expectation,
}

struct Emptied {
    slot: usize,
    moves: Vec<Move>,
    expected: Expectation,
}

/// The best empty host of each kind, the most efficient first; those asleep among them where `may_wake` says so.
fn takers(board: &Board<'_>, may_wake: bool) -> Vec<usize> {
    let idle = |slot: &Slot<'_>| slot.host.is_eligible_target() && slot.is_empty() && !slot.emptied;
    let mut takers: Vec<usize> = (0..board.slots.len()).filter(|slot| idle(&board.slots[*slot])).collect();
    if may_wake {
        takers.extend(board.wakeable().into_iter().filter(|slot| board.slots[*slot].host.is_trusted()));
    }
    // A stable order: of two that cost the same the one that is awake comes first.
    takers.sort_by(|a, b| board.slots[*a].cost.total_cmp(&board.slots[*b].cost));
    takers.dedup_by(|a, b| board.slots[*a].cost <= board.slots[*b].cost * WORTH_A_LOOK);
    takers.truncate(TAKERS);
    takers
}

/// The host in `taker` in the place of as many of `hosts` as it can take over; `None` where that does not pay. The board is left
/// as it was.
fn tried(board: &mut Board<'_>, taker: usize, hosts: &[usize]) -> Option<Replacement> {
    let cost = board.slots[taker].cost * WORTH_A_LOOK;
    let dearer: Vec<usize> =
        hosts.iter().copied().filter(|slot| board.slots[*slot].cost > cost).take(REPLACED).collect();
    let sleeps = board.slots[taker].could_wake();
    // Counted among those that are up while it is tried.
    board.slots[taker].woken = sleeps;
    let mut rest = Rest::joined_by(board, taker);
    let mut drafts = Vec::new();
    for slot in dearer {
        if board.slots[slot].arriving > 0 || !rest.suffices_without(board, slot) {
            continue;
        }
        if let Some((draft, expected)) = emptied_onto(board, slot, taker) {
            rest.empty(&board.slots[slot].load);
            drafts.push((slot, draft, expected));
        }
    }
    let taken_back = drafts.into_iter().rev();
    let mut replaced: Vec<Emptied> =
        taken_back.map(|(slot, draft, expected)| Emptied { slot, moves: draft.take_back(board), expected }).collect();
    replaced.reverse();
    board.slots[taker].woken = false;
    let expected = together(board, taker, &replaced);
    let is_worth_it = !replaced.is_empty() && expected.gain >= Joules(board.tuning().min_gain_joules);
    is_worth_it.then_some(Replacement { taker, replaced, expected })
}

/// The host's units on the taker, and where that is full on the others; `None`, and the board as it was, where there is no place
/// for one or it does not pay.
fn emptied_onto<'a>(board: &mut Board<'a>, slot: usize, taker: usize) -> Option<(Draft<'a>, Expectation)> {
    let units = units_of(board, slot)?;
    let host = board.slots[slot].host.id();
    let mut draft = Draft::emptying(board, slot);
    let is_whole = draft.place_all(board, &units, |board, unit| place(board, unit, taker));
    let expected = is_whole.then(|| draft.expected(board, host)).filter(|expected| pays(board, slot, expected));
    let Some(expected) = expected else {
        draft.take_back(board);
        return None;
    };
    Some((draft, expected))
}

fn place(board: &Board<'_>, unit: &Unit<'_>, taker: usize) -> Option<usize> {
    let limit = board.tuning().cpu_fill_limit;
    let fits = board.with(taker, unit, limit).is_some();
    if fits { Some(taker) } else { board.best_target(unit, limit, Slot::is_inhabited) }
}

/// What emptying the hosts comes to, with what it costs that the taker is awake instead of asleep and, where it has to be woken,
/// with what is not saved until it is up.
fn together(board: &Board<'_>, taker: usize, replaced: &[Emptied]) -> Expectation {
    let emptied = replaced.iter().fold(Expectation::default(), |sum, one| sum.and(&one.expected));
    let (slot, objective) = (&board.slots[taker], board.objective());
    if slot.host.power == HostPower::Awake {
        return emptied.and(&objective.sleep(slot.host, &slot.load).undone());
    }
    let waking = slot.host.inventory.power.wake_time().as_secs_f64() / board.tuning().horizon.as_secs_f64();
    let missed = emptied.gain * waking.min(1.0);
    let late = Expectation { energy_if_done: missed, gain: Joules::ZERO - missed, ..Expectation::default() };
    emptied.and(&objective.wake(slot.host, &slot.load)).and(&late)
}

fn propose(board: &mut Board<'_>, found: &Replacement, advice: &mut Advice) {
    let taker = board.slots[found.taker].host;
    if taker.power != HostPower::Awake {
        board.slots[found.taker].woken = true;
        let hosts = found.replaced.iter().map(|one| board.slots[one.slot].host.id().clone()).collect();
        let (action, motive) = (Action::Wake { host: taker.id().clone() }, Motive::Replacement { hosts });
        advice.proposals.push(Proposal { action, motive, expected: found.expected });
        return;
    }
    for one in &found.replaced {
        board.slots[one.slot].emptied = true;
        one.moves.iter().for_each(|one| board.play(one));
        let host = board.slots[one.slot].host.id().clone();
        let motive = Motive::Consolidation { host: host.clone() };
        let action = Action::Evacuate { host, moves: one.moves.clone() };
        advice.proposals.push(Proposal { action, motive, expected: one.expected });
    }
}
