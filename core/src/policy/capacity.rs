//! How many hosts stay awake: wakes ahead of need, puts empty hosts to sleep when the rest suffices.

use crate::{
    inventory::SleepSupport,
    policy::{
        Advice,
        board::{Board, Slot},
        consolidate::HEADROOM,
        loss, waiting,
    },
    proposal::{Action, Motive, Proposal},
    units::Joules,
};

/// Proposes to wake hosts where the fleet's demand at the risk quantile, with the spares, is more than the awake hosts
/// should carry, or too few are awake. True where it is.
pub(super) fn wake_ahead(board: &mut Board<'_>, advice: &mut Advice) -> bool {
    let mut sleepers = board.wakeable().into_iter();
    let mut is_short = false;
    loop {
        let (pool, hosts) = board.pool(|_, _| true);
        let short = board.cores_short(&pool, hosts, board.tuning().cpu_fill_limit);
        let enough = short.get() <= 0.0 && hosts >= board.tuning().min_awake;
        let unborne = loss::unborne(board, board.tuning().cpu_limit, |_, _| true).filter(|_| enough);
        if enough && unborne.is_none() {
            return is_short;
        }
        is_short = true;
        let Some(slot) = sleepers.next() else {
            if let Some(lost) = unborne {
                advice.notes.push(format!("the loss of {lost} could not be borne, and no host is asleep to be woken"));
                return true;
            }
            let short = short.get().max(0.0);
            advice
                .notes
                .push(format!("{hosts} hosts are awake, {short:.1} cores are short, and none is asleep to be woken"));
            return true;
        };
        let host = board.slots[slot].host;
        let expected = board.objective().wake(host, &pool);
        let motive = match unborne {
            Some(lost) => Motive::Spare { host: lost.clone() },
            None => Motive::Shortage { cores_short: short.get().max(0.0) },
        };
        advice.proposals.push(Proposal { action: Action::Wake { host: host.id().clone() }, motive, expected });
        board.slots[slot].woken = true;
    }
}

/// Proposes to wake hosts for vms that may come, as long as each saves them more waiting than it costs.
pub(super) fn wake_for_newcomers(board: &mut Board<'_>, advice: &mut Advice) {
    for slot in board.wakeable() {
        let (pool, _) = board.pool(|_, _| true);
        let host = board.slots[slot].host;
        let expected = waiting::awake(board, slot, board.objective().wake(host, &pool));
        if expected.waiting_if_left <= expected.waiting_if_done || expected.gain <= Joules(0.0) {
            return;
        }
        let seconds = expected.waiting_if_left.get() / board.tuning().waiting_joules_per_second;
        let action = Action::Wake { host: host.id().clone() };
        advice.proposals.push(Proposal { action, motive: Motive::Waiting { seconds }, expected });
        board.slots[slot].woken = true;
    }
}

/// Proposes to put hosts to sleep that have been empty long enough, the least efficient first.
pub(super) fn sleep_idle(board: &mut Board<'_>, advice: &mut Advice) {
    let mut idle: Vec<usize> = (0..board.slots.len()).filter(|slot| may_sleep(board, &board.slots[*slot])).collect();
    idle.sort_by(|a, b| board.slots[*b].cost.total_cmp(&board.slots[*a].cost).then(a.cmp(b)));
    let fill = board.tuning().cpu_fill_limit * HEADROOM;
    let (mut rest, mut hosts) = board.pool(|_, _| true);
    for slot in idle.into_iter().take(board.tuning().sleeps_per_round) {
        (rest, hosts) = (rest.without_host(&board.slots[slot].load), hosts - 1);
        let spared = loss::unborne(board, fill, |index, _| index != slot).is_none();
        let short = board.cores_short(&rest, hosts, fill).get() > 0.0 || rest.memory > rest.memory_capacity;
        if short || hosts < board.tuning().min_awake || !spared {
            return;
        }
        let host = board.slots[slot].host;
        let break_even = host.inventory.power.break_even();
        let expected = waiting::asleep(board, slot, board.objective().sleep(host, &rest));
        if expected.gain <= Joules(0.0) || board.tuning().horizon < break_even {
            let why = if expected.waiting_if_done > expected.waiting_if_left && expected.gain <= Joules(0.0) {
                "vms that come would wait for it".to_owned()
            } else {
                format!("its sleep pays only after {} s", break_even.as_secs())
            };
            advice.notes.push(format!("{} is empty, but {why}: it stays awake", host.id()));
            (rest, hosts) = (rest.with_host(&board.slots[slot].load), hosts + 1);
            continue;
        }
        let motive = Motive::Idle { empty_for: host.empty_for, break_even };
        advice.proposals.push(Proposal { action: Action::Sleep { host: host.id().clone() }, motive, expected });
        board.slots[slot].emptied = true;
    }
}

fn may_sleep(board: &Board<'_>, slot: &Slot<'_>) -> bool {
    let (host, tuning) = (slot.host, board.tuning());
    let awake_for = board.view.snapshot.taken_at.since(host.power_since);
    let can = host.is_eligible_target() && host.inventory.sleep != SleepSupport::None;
    let empty = slot.is_empty() && host.has_been_empty_for(tuning.sleep_after);
    can && empty && !slot.woken && awake_for >= tuning.power_dwell
}
