//! Relief: takes from a host that is over its limit, or about to be, the vms whose move clears it at least cost.

use crate::{
    objective::Objective,
    policy::{
        Advice,
        board::{Board, Slot},
        bundle::{Unit, units_on},
        offer::{propose, wake_for},
        swap::{self, Exchange},
    },
    proposal::Motive,
    risk::{HostLoad, Risk},
    snapshot::{HostPower, VmView},
    units::{Bytes, Cores},
};

/// Overloaded hosts looked at in one round, the worst first: the rest is looked at in the next.
const HOSTS_PER_ROUND: usize = 256;

/// Vms taken from one host in one round where no single one clears it.
const VMS_PER_HOST: usize = 4;

/// Proposes relief for every host in need. True where some host in need could not be helped.
pub(super) fn relieve(board: &mut Board<'_>, advice: &mut Advice) -> bool {
    let mut needy: Vec<(f64, usize)> =
        (0..board.slots.len()).filter_map(|slot| Some((need(board, slot)?, slot))).collect();
    needy.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    if needy.len() > HOSTS_PER_ROUND {
        advice
            .notes
            .push(format!("{} hosts are in need of relief, the worst {HOSTS_PER_ROUND} are seen to", needy.len()));
    }
    let mut unhelped = false;
    for (load, slot) in needy.into_iter().take(HOSTS_PER_ROUND) {
        unhelped |= !relieve_host(board, slot, load, advice);
    }
    unhelped
}

/// What counts as clear: now below the limit, and at the next step within what the host has.
struct Mark {
    limit: Cores,
    capacity: Cores,
}

impl Mark {
    fn of(board: &Board<'_>, slot: &Slot<'_>) -> Self {
        let capacity = slot.load.capacity;
        Self { limit: capacity * board.tuning().cpu_limit, capacity }
    }

    fn is_clear(&self, board: &Board<'_>, load: &HostLoad) -> bool {
        load.now() <= self.limit && load.next_step(&doubt(board)) <= self.capacity
    }
}

/// The load (as a share of capacity) for which the host needs relief, or nothing where it does not. A peak that is
/// shorter than `relief_after` is left to pass; a forecast has to exceed all the host has, for the room between the limit
/// and that is what keeps forecasts from stirring up vms.
fn need(board: &Board<'_>, slot: usize) -> Option<f64> {
    let slot = &board.slots[slot];
    let mark = Mark::of(board, slot);
    if slot.host.power != HostPower::Awake || !slot.host.is_trusted() || slot.settled.is_empty() {
        return None;
    }
    let (now, ahead) = (slot.load.now(), slot.load.next_step(&doubt(board)));
    if now > mark.limit && slot.host.overloaded_for >= board.tuning().relief_after {
        return Some(now.ratio_of(mark.capacity));
    }
    (ahead > mark.capacity).then(|| ahead.ratio_of(mark.capacity))
}

/// How unsure relief takes the next step to be.
fn doubt(board: &Board<'_>) -> Risk {
    Risk { times: board.risk.times * board.tuning().relief_share, ..board.risk }
}

fn relieve_host(board: &mut Board<'_>, slot: usize, load: f64, advice: &mut Advice) -> bool {
    let (host, mark) = (board.slots[slot].host.id().clone(), Mark::of(board, &board.slots[slot]));
    if mark.is_clear(board, &board.slots[slot].remaining()) {
        advice.notes.push(format!("{host} is at {:.0} %, what is leaving it already is enough", load * 100.0));
        return true;
    }
    let motive = Motive::Overload { host: host.clone(), load, limit: board.tuning().cpu_limit };
    let choices = choices(board, slot, &mark);
    let is_over = board.slots[slot].load.now() > mark.limit;
    let mut stuck = None;
    let mut taken = 0;
    for unit in &choices {
        if taken >= VMS_PER_HOST || mark.is_clear(board, &board.slots[slot].remaining()) {
            break;
        }
        match target(board, unit, is_over) {
            Some(to) => {
                advice.proposals.push(propose(board, unit, to, &motive));
                taken += unit.vms.len();
            }
            None => stuck = stuck.or(Some(unit)),
        }
    }
    if taken > 0 {
        return true;
    }
    match stuck {
        Some(unit) => make_room(board, slot, unit, &choices, &motive, advice),
        None => {
            // More room would not help it: nobody else has to wait for that.
            advice.notes.push(format!("{host} is at {:.0} %, none of its vms may be moved", load * 100.0));
            true
        }
    }
}

/// Where nothing has room for a vm of the host: an exchange, or another host woken. True where help will come.
fn make_room(
    board: &mut Board<'_>,
    slot: usize,
    unit: &Unit<'_>,
    choices: &[Unit<'_>],
    motive: &Motive,
    advice: &mut Advice,
) -> bool {
    let mark = Mark::of(board, &board.slots[slot]);
    let host = board.slots[slot].host.id().clone();
    if board.slots[slot].arriving > 0 {
        advice.notes.push(format!("{host} waits for what is under way to it"));
        return true;
    }
    match swap::exchange(board, slot, choices, motive, |board, load| mark.is_clear(board, load)) {
        Exchange::Found(proposal) => {
            advice.proposals.push(*proposal);
            return true;
        }
        Exchange::Unsafe(out, back) => advice.notes.push(format!(
            "vms {out} and {back} would clear {host} if they changed places, but neither has room to go first, nor aside"
        )),
        Exchange::None => {}
    }
    wake_for(board, slot, unit, motive, advice)
}

/// The movable units of a host in the order in which they should go: rested before resting, copies that end before those
/// that may not, those that clear the host alone before others, least data (per core of relief) first.
fn choices<'a>(board: &Board<'a>, slot: usize, mark: &Mark) -> Vec<Unit<'a>> {
    let objective = board.objective();
    let (units, _) = units_on(board, slot);
    let slot = &board.slots[slot];
    let remaining = slot.remaining();
    let mut ranked: Vec<_> = units
        .into_iter()
        .filter_map(|unit| Some((rank(board, &objective, slot, &remaining, mark, &unit)?, unit)))
        .collect();
    ranked.sort_by(|(a, _), (b, _)| {
        (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)).then(a.3.total_cmp(&b.3)).then_with(|| a.4.cmp(&b.4))
    });
    ranked.into_iter().map(|(_, unit)| unit).collect()
}

type Rank = (bool, bool, bool, f64, crate::id::VmId);

fn rank(
    board: &Board<'_>,
    objective: &Objective<'_>,
    slot: &Slot<'_>,
    remaining: &HostLoad,
    mark: &Mark,
    unit: &Unit<'_>,
) -> Option<Rank> {
    let peak = |vm: &&VmView| board.fleet.vm(vm.id()).map_or(0.0, |load| load.peak().get());
    let relief: f64 = unit.vms.iter().map(peak).sum();
    if relief <= 0.0 {
        return None;
    }
    let copies = || unit.vms.iter().map(|vm| objective.copy(vm, slot.host, slot.host));
    let converges = copies().all(|copy| copy.converges);
    let alone = mark.is_clear(board, &unit.off(*remaining, board.fleet));
    let data = copies().map(|copy| copy.copied).sum::<Bytes>().max(Bytes(1)).as_f64();
    let resting = unit.vms.iter().any(|vm| board.is_resting(vm));
    Some((resting, !converges, !alone, if alone { data } else { data / relief }, unit.first().id()))
}

/// Where relief goes: a host that stays comfortable, or else one that stays below its limit. How far a vm without a forecast may
/// stray is a guess, and that its host `is_over` its limit now is none: where the guess leaves no room, it goes where it fits as
/// it is.
fn target(board: &mut Board<'_>, unit: &Unit<'_>, is_over: bool) -> Option<usize> {
    let tuning = board.tuning();
    let any = |_: &Slot<'_>| true;
    let sure = board.best_target(unit, tuning.cpu_fill_limit, any);
    let sure = sure.or_else(|| board.best_target(unit, tuning.cpu_limit, any));
    let forecasts = &board.view.forecasts.vms;
    if sure.is_some() || !is_over || unit.vms.iter().all(|vm| forecasts.contains_key(&vm.id())) {
        return sure;
    }
    board.at_risk(0.0, |board| board.best_target(unit, tuning.cpu_limit, any))
}
