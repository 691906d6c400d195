//! Draining: every vm of a host that its operator wants empty goes where it fits, one by one, for each that is gone helps.

use crate::{
    id::HostId,
    policy::{
        Advice,
        board::{Board, Slot},
        relieve::{propose, wake_for},
    },
    proposal::Motive,
    snapshot::{HostMode, HostPower, VmView},
};

/// Vms of one host proposed in one round: more than any budget lets go at a time.
const VMS_PER_HOST: usize = 8;

/// Proposes the next moves off every draining host.
pub(super) fn drain(board: &mut Board<'_>, advice: &mut Advice) {
    let drained = |slot: &Slot<'_>| slot.host.mode == HostMode::Draining && slot.host.power == HostPower::Awake;
    for slot in 0..board.slots.len() {
        if drained(&board.slots[slot]) && board.slots[slot].host.is_trusted() {
            drain_host(board, slot, advice);
        }
    }
}

fn drain_host(board: &mut Board<'_>, slot: usize, advice: &mut Advice) {
    let host = board.slots[slot].host.id().clone();
    let (movable, stuck): (Vec<&VmView>, Vec<&VmView>) =
        board.slots[slot].settled.clone().into_iter().partition(|vm| board.is_movable(vm));
    if !stuck.is_empty() {
        advice.notes.push(format!("{host} is being drained, {} of its vms cannot be moved", stuck.len()));
    }
    let motive = Motive::Drain { host: host.clone() };
    let mut homeless = None;
    for vm in movable.into_iter().take(VMS_PER_HOST) {
        match target(board, vm) {
            Some(to) => advice.proposals.push(propose(board, vm, to, &motive)),
            None => homeless = homeless.or(Some(vm)),
        }
    }
    if let Some(vm) = homeless {
        make_room(board, slot, vm, &host, advice);
    }
}

fn target(board: &Board<'_>, vm: &VmView) -> Option<usize> {
    let tuning = board.tuning();
    let limits = [tuning.cpu_fill_limit, tuning.cpu_limit];
    // A host with vms first: an empty one may be about to sleep.
    let inhabited = limits.iter().find_map(|limit| board.best_target(vm, *limit, Slot::is_inhabited));
    inhabited.or_else(|| limits.iter().find_map(|limit| board.best_target(vm, *limit, |_| true)))
}

fn make_room(board: &mut Board<'_>, slot: usize, vm: &VmView, host: &HostId, advice: &mut Advice) {
    wake_for(board, slot, vm, &Motive::Drain { host: host.clone() }, advice);
}
