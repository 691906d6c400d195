//! What it costs that vms which come wait for a host to wake: asked before a host is emptied or put to sleep, and when one is
//! woken for them.

use std::time::Duration;

use crate::{
    newcomers::Room,
    policy::board::{Board, Slot},
    proposal::Expectation,
    units::{Bytes, Joules},
};

/// What is expected of putting the host in `slot` to sleep, or of emptying it for that, waiting included.
pub(super) fn asleep(board: &Board<'_>, slot: usize, expected: Expectation) -> Expectation {
    if !matters(board) {
        return expected;
    }
    let (wake, its_vms) = (wake_time(board, slot), board.slots[slot].load.memory);
    let left = price(board, wake, Bytes::ZERO, |_| true);
    let done = price(board, wake, its_vms, |index| index != slot);
    expected.with_waiting(left, done)
}

/// What is expected of waking the host in `slot`, waiting included.
pub(super) fn awake(board: &Board<'_>, slot: usize, expected: Expectation) -> Expectation {
    if !matters(board) {
        return expected;
    }
    let wake = wake_time(board, slot);
    let left = price(board, wake, Bytes::ZERO, |_| true);
    let done =
        price_of(board, wake, &Room::of(gaps(board, |_| true).chain([gap(board, &board.slots[slot])]), Bytes::ZERO));
    expected.with_waiting(left, done)
}

fn matters(board: &Board<'_>) -> bool {
    board.tuning().waiting_joules_per_second > 0.0 && !board.view.snapshot.newcomers.is_empty()
}

fn wake_time(board: &Board<'_>, slot: usize) -> Duration {
    board.slots[slot].host.inventory.power.wake_time()
}

/// What waiting costs within the horizon where vms find room on the hosts for which `counts` holds, of which `taken` is taken.
fn price(board: &Board<'_>, wake: Duration, taken: Bytes, counts: impl Fn(usize) -> bool) -> Joules {
    price_of(board, wake, &Room::of(gaps(board, counts), taken))
}

fn price_of(board: &Board<'_>, wake: Duration, room: &Room) -> Joules {
    let (snapshot, tuning) = (board.view.snapshot, board.tuning());
    let seconds = snapshot.newcomers.waiting(room, wake, tuning.horizon, snapshot.taken_at);
    Joules(seconds * tuning.waiting_joules_per_second)
}

fn gaps(board: &Board<'_>, counts: impl Fn(usize) -> bool) -> impl Iterator<Item = Bytes> {
    let up = board.slots.iter().enumerate().filter(|(_, slot)| slot.is_up() && !slot.emptied);
    up.filter(move |(index, _)| counts(*index)).map(|(_, slot)| gap(board, slot))
}

fn gap(board: &Board<'_>, slot: &Slot<'_>) -> Bytes {
    slot.load.memory_capacity.scale(board.tuning().memory_ratio).saturating_sub(slot.load.memory)
}
