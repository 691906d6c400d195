//! Consolidation by a textbook rule: the least used host is emptied where every vm of it finds a place on a host that is
//! awake, then the next one; and hosts without vms are put to sleep.
//!
//! Vms are placed as relief places them. Unlike in the original a host to which vms are on their way is left alone: it
//! could not sleep before they had come.

use super::round::{Gauge, Round};
use crate::{
    inventory::SleepSupport,
    policy::{
        Advice,
        board::{Board, Slot},
    },
    proposal::{Action, Motive, Move, Proposal},
    snapshot::VmView,
};

/// Proposes evacuations, at most as many as there may be moves at a time.
pub(super) fn empty(round: &mut Round<'_, '_>, advice: &mut Advice) {
    let mut candidates: Vec<usize> = (0..round.gauges.len()).filter(|slot| may_be_emptied(round, *slot)).collect();
    candidates.sort_by(|a, b| round.utilisation(*a).total_cmp(&round.utilisation(*b)).then(a.cmp(b)));
    let (mut found, mut unplaced) = (0, 0);
    for slot in candidates {
        if found == round.board.tuning().moves_in_fleet {
            break;
        }
        // One that took vms of a host emptied before it is not emptied itself.
        if round.board.slots[slot].arriving > 0 {
            continue;
        }
        match evacuate(round, slot) {
            Some(proposal) => {
                advice.proposals.push(proposal);
                found += 1;
            }
            None => unplaced += 1,
        }
    }
    if unplaced > 0 {
        advice.notes.push(format!("{unplaced} hosts could be emptied only where there is no room"));
    }
}

/// True where every vm of the host may be moved and the host may sleep afterwards.
fn may_be_emptied(round: &Round<'_, '_>, slot: usize) -> bool {
    let (board, host) = (&round.board, &round.board.slots[slot]);
    let can_go = |vm: &&VmView| board.is_movable(vm) && !board.is_resting(vm);
    let sleeps = host.host.inventory.sleep != SleepSupport::None;
    let open = host.host.is_eligible_target() && sleeps && host.arriving == 0 && !host.settled.is_empty();
    open && !round.over[slot] && host.settled.iter().all(can_go)
}

/// All vms of a host to where they add least power, or none. The host takes none in this round either way.
fn evacuate(round: &mut Round<'_, '_>, slot: usize) -> Option<Proposal> {
    let host = round.board.slots[slot].host.id().clone();
    let mut vms = round.board.slots[slot].settled.clone();
    vms.sort_by(|a, b| round.now(b.id()).total_cmp(&round.now(a.id())).then_with(|| a.id().cmp(&b.id())));
    round.board.slots[slot].emptied = true;
    let mut tried =
        Tried { moves: Vec::new(), slots: vec![(slot, round.board.slots[slot].clone())], gauges: Vec::new() };
    for vm in vms {
        let limit = round.board.tuning().cpu_fill_limit;
        let Some(to) = round.best(vm, limit, |to| is_open(&round.board, to)) else {
            tried.take_back(round);
            return None;
        };
        tried.play(round, Move { vm: vm.id(), from: host.clone(), to: round.board.slots[to].host.id().clone() }, to);
    }
    let before = |id: &_| tried.slots.iter().find(|(_, slot)| slot.host.id() == id).map(|(_, slot)| slot.load);
    let expected = round.board.objective().evacuate(&host, &tried.moves, round.board.fleet, before);
    let motive = Motive::Consolidation { host: host.clone() };
    Some(Proposal { action: Action::Evacuate { host, moves: tried.moves }, motive, expected })
}

/// Hosts that are awake and hold vms: the original does not wake hosts to empty others.
fn is_open(board: &Board<'_>, slot: usize) -> bool {
    let slot: &Slot<'_> = &board.slots[slot];
    slot.host.is_eligible_target() && slot.is_inhabited()
}

/// What was played of an evacuation, and how the hosts concerned were before.
struct Tried<'a> {
    moves: Vec<Move>,
    slots: Vec<(usize, Slot<'a>)>,
    gauges: Vec<(usize, Gauge)>,
}

impl<'a> Tried<'a> {
    fn play(&mut self, round: &mut Round<'a, '_>, one: Move, to: usize) {
        if self.slots.iter().all(|(slot, _)| *slot != to) {
            self.slots.push((to, round.board.slots[to].clone()));
            self.gauges.push((to, round.gauges[to]));
        }
        round.board.play(&one);
        round.assign(to, one.vm);
        self.moves.push(one);
    }

    fn take_back(self, round: &mut Round<'a, '_>) {
        round.board.restore(self.slots, &self.moves);
        self.gauges.into_iter().for_each(|(slot, gauge)| round.gauges[slot] = gauge);
    }
}

/// Proposes to put hosts to sleep that hold no vms, as long as the rest carries the fleet.
pub(super) fn sleep(round: &mut Round<'_, '_>, advice: &mut Advice) {
    let idle: Vec<usize> = (0..round.gauges.len()).filter(|slot| may_sleep(round, *slot)).collect();
    let tuning = round.board.tuning();
    for slot in idle.into_iter().take(tuning.sleeps_per_round) {
        let board = &mut round.board;
        let (rest, hosts) = board.pool(|index, _| index != slot);
        if board.cores_short(&rest, hosts, tuning.cpu_limit).get() > 0.0 || hosts < tuning.min_awake {
            return;
        }
        let host = board.slots[slot].host;
        let expected = board.objective().sleep(host, &rest);
        let motive = Motive::Idle { empty_for: host.empty_for, break_even: host.inventory.power.break_even() };
        advice.proposals.push(Proposal { action: Action::Sleep { host: host.id().clone() }, motive, expected });
        board.slots[slot].emptied = true;
    }
}

fn may_sleep(round: &Round<'_, '_>, slot: usize) -> bool {
    let (slot, tuning) = (&round.board.slots[slot], round.board.tuning());
    let can = slot.host.is_eligible_target() && slot.host.inventory.sleep != SleepSupport::None;
    let empty = slot.is_empty() && slot.host.has_been_empty_for(tuning.sleep_after);
    let awake_for = round.board.view.snapshot.taken_at.since(slot.host.power_since);
    can && empty && !slot.woken && awake_for >= tuning.power_dwell
}
