//! Vms go nearer to their users where that is worth more than the energy and the copy it takes. Only to hosts that are awake
//! and in use: no host is woken for distance alone.

use crate::{
    policy::{
        Advice,
        board::{Board, Slot},
        bundle::{Unit, units_on},
        offer::{offer, propose},
    },
    proposal::Motive,
    risk::VmLoad,
    snapshot::VmView,
    units::{Joules, count},
};

impl Board<'_> {
    /// What the distance to the users of `unit` costs on a host, in what holding the room that it takes up costs on the most
    /// efficient one: the measure of [`Slot::cost`]. Nothing where distance has no price.
    pub(super) fn remoteness(&self, slot: &Slot<'_>, unit: &Unit<'_>) -> f64 {
        let proximity = &self.tuning().proximity;
        if !proximity.matters() {
            return 0.0;
        }
        let loads = || unit.vms.iter().filter_map(|vm| Some((vm, self.fleet.vm(vm.id())?)));
        let of = |(vm, load): (&&VmView, &VmLoad)| {
            proximity.of(&slot.host.inventory, &vm.record, load.mean(&self.risk), 1.0).get()
        };
        let watts: f64 = loads().map(of).sum();
        let room = self.share(loads().map(|(_, load)| load.peak()).sum(), loads().map(|(_, load)| load.memory).sum());
        watts / (room * self.watts_per_room).max(f64::MIN_POSITIVE)
    }

    /// Milliseconds between a host and the users of `unit`, the mean of its vms that have any; 0 where none has.
    fn rtt_ms(&self, slot: &Slot<'_>, unit: &Unit<'_>) -> f64 {
        let rtt = |vm: &&VmView| self.tuning().proximity.rtt_ms(&slot.host.inventory, &vm.record);
        let known: Vec<f64> = unit.vms.iter().filter_map(rtt).collect();
        known.iter().sum::<f64>() / count(known.len().max(1))
    }
}

/// Proposes the moves that gain most, at most as many as there may be moves at a time.
pub(super) fn approach(board: &mut Board<'_>, advice: &mut Advice) {
    if !board.tuning().proximity.matters() {
        return;
    }
    let mut wishes: Vec<(Joules, usize, Unit<'_>)> = Vec::new();
    for slot in 0..board.slots.len() {
        // What a host that is being emptied or relieved gives away is decided there.
        if board.slots[slot].host.is_trusted() && !board.slots[slot].gives {
            let (units, _) = units_on(board, slot);
            wishes.extend(units.into_iter().filter_map(|unit| wish(board, slot, unit)));
        }
    }
    wishes.sort_by(|a, b| b.0.get().total_cmp(&a.0.get()).then_with(|| a.2.first().id().cmp(&b.2.first().id())));
    let mut left = board.tuning().moves_in_fleet;
    for (_, slot, unit) in wishes {
        if left == 0 {
            break;
        }
        // Those before it may have taken its place.
        let Some(to) = nearer(board, slot, &unit) else { continue };
        let [from_ms, to_ms] = [slot, to].map(|slot| board.rtt_ms(&board.slots[slot], &unit));
        let users = unit.vms.iter().find_map(|vm| vm.record.labels.users.clone()).unwrap_or_default();
        let motive = Motive::Nearer { users, from_ms, to_ms };
        if offer(board, &unit, to).gain >= Joules(board.tuning().min_gain_joules) {
            advice.proposals.push(propose(board, &unit, to, &motive));
            left -= 1;
        }
    }
}

/// What would be gained by moving `unit` off `slot` for the sake of its users, where that is enough.
fn wish<'a>(board: &Board<'a>, slot: usize, unit: Unit<'a>) -> Option<(Joules, usize, Unit<'a>)> {
    // The search is spared for those that are near enough already: in a fleet at rest that is nearly all.
    if most(board, slot, &unit) < Joules(board.tuning().min_gain_joules) {
        return None;
    }
    let converges = |vm| board.objective().copy(vm, board.slots[slot].host, board.slots[slot].host).converges;
    let rested = unit.vms.iter().all(|vm| !board.is_resting(vm) && converges(vm));
    let to = rested.then(|| nearer(board, slot, &unit)).flatten()?;
    let gain = offer(board, &unit, to).gain;
    (gain >= Joules(board.tuning().min_gain_joules)).then_some((gain, slot, unit))
}

/// What the distance alone could gain if `unit` were as near to its users as any site is.
fn most(board: &Board<'_>, slot: usize, unit: &Unit<'_>) -> Joules {
    let (proximity, inventory) = (&board.tuning().proximity, &board.slots[slot].host.inventory);
    let horizon = board.tuning().horizon.as_secs_f64();
    let of = |vm: &&VmView| {
        let away = proximity.rtt_ms(inventory, &vm.record)? - proximity.nearest_ms(&vm.record)?;
        let wanted = board.fleet.vm(vm.id())?.mean(&board.risk);
        Some(proximity.price(wanted.get() * horizon, away))
    };
    unit.vms.iter().filter_map(of).sum()
}

/// The best host in use at which the users of `unit` are nearer than at `slot`.
fn nearer<'a>(board: &Board<'a>, slot: usize, unit: &Unit<'a>) -> Option<usize> {
    let now = board.rtt_ms(&board.slots[slot], unit);
    let closer = |other: &Slot<'a>| other.is_inhabited() && board.rtt_ms(other, unit) < now;
    (now > 0.0).then(|| board.best_target(unit, board.tuning().cpu_fill_limit, closer)).flatten()
}
