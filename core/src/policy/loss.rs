//! N+1: whether the hosts that stay awake would carry the fleet without the largest of them. Asked before a host is emptied
//! or put to sleep, and when hosts are woken ahead of need.

use crate::{
    id::HostId,
    policy::board::{Board, Slot},
    risk::HostLoad,
};

/// The host whose loss the hosts for which `counts` holds would not bear; `None` where they bear any, and where the tuning
/// does not ask for it. `fill` is the share of a host's CPU that counts. Sums are compared, not placements.
pub(super) fn unborne<'a>(
    board: &Board<'a>,
    fill: f64,
    counts: impl Fn(usize, &Slot<'a>) -> bool,
) -> Option<&'a HostId> {
    if !board.tuning().n_plus_one {
        return None;
    }
    let (pool, _) = board.pool(&counts);
    let up = || {
        let slots = board.slots.iter().enumerate().filter(|(_, slot)| slot.is_up() && !slot.emptied);
        slots.filter(|(index, slot)| counts(*index, slot)).map(|(_, slot)| slot)
    };
    let most_cpu = up().max_by(|a, b| a.load.capacity.total_cmp(&b.load.capacity));
    let most_memory = up().max_by_key(|slot| slot.load.memory_capacity);
    let lost = most_cpu.into_iter().chain(most_memory).find(|slot| !bears(board, &pool, &slot.load, fill));
    lost.map(|slot| slot.host.id())
}

fn bears(board: &Board<'_>, pool: &HostLoad, lost: &HostLoad, fill: f64) -> bool {
    let cores = pool.capacity.saturating_sub(lost.capacity) * fill;
    let memory = pool.memory_capacity.saturating_sub(lost.memory_capacity).scale(board.tuning().memory_ratio);
    pool.ahead(&board.risk) <= cores && pool.memory <= memory
}
