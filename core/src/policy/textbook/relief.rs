//! Relief by a textbook rule: vms leave a host until its rule no longer finds it overloaded, and each goes where it adds
//! least power, to a sleeping host too. Such a host is woken first, and the vm follows in a later round.

use super::{detect::Verdict, round::Round, select::Candidate};
use crate::{
    policy::{Advice, board::Slot, bundle::Unit, offer::propose},
    proposal::{Action, Motive, Proposal},
    snapshot::{HostMode, HostPower, VmView},
    units::count,
};

/// A vm that is to leave, and why.
struct Leaving<'a> {
    vm: &'a VmView,
    motive: Motive,
}

/// Proposes relief for every host that the rule finds overloaded.
pub(super) fn relieve(round: &mut Round<'_, '_>, advice: &mut Advice) {
    let needy: Vec<(usize, Verdict)> =
        (0..round.gauges.len()).filter_map(|slot| Some((slot, need(round, slot)?))).collect();
    needy.iter().for_each(|(slot, _)| round.over[*slot] = true);
    let mut leaving = Vec::new();
    for (slot, verdict) in needy {
        leaving.extend(choose(round, slot, verdict, advice));
    }
    leaving.sort_by(|a, b| round.now(b.vm.id()).total_cmp(&round.now(a.vm.id())));
    leaving.iter().for_each(|one| place(round, one, advice));
}

/// What the rule says of a host where it finds it overloaded and can act on that.
fn need(round: &Round<'_, '_>, slot: usize) -> Option<Verdict> {
    let host = &round.board.slots[slot];
    let can_be_relieved = host.host.power == HostPower::Awake && host.host.is_trusted() && !host.settled.is_empty();
    let verdict = can_be_relieved.then(|| round.judge(slot, &round.gauges[slot]))?;
    verdict.is_over.then_some(verdict)
}

/// The vms that leave a host.
fn choose<'a>(round: &Round<'a, '_>, slot: usize, verdict: Verdict, advice: &mut Advice) -> Vec<Leaving<'a>> {
    let host = &round.board.slots[slot];
    let motive = Motive::Overload { host: host.host.id().clone(), load: verdict.load, limit: verdict.limit };
    let may_go =
        |vm: &&VmView| round.board.is_movable(vm) && (is_above_limit(round, host) || !round.board.is_resting(vm));
    let mut movable: Vec<&'a VmView> = host.settled.iter().copied().filter(may_go).collect();
    if movable.is_empty() {
        advice.notes.push(format!("{motive}, none of its vms may be moved"));
    }
    let (mut staying, mut leaving) = (round.counted(slot), Vec::new());
    while let Some(index) = pick(round, &movable) {
        let vm = movable.remove(index);
        staying.retain(|other| *other != vm.id());
        leaving.push(Leaving { vm, motive: motive.clone() });
        if !round.judge(slot, &round.gauge_of(slot, &staying)).is_over {
            break;
        }
    }
    leaving
}

/// True where the host is above the limit that lets need break a vm's rest.
fn is_above_limit(round: &Round<'_, '_>, slot: &Slot<'_>) -> bool {
    let limit = slot.host.inventory.cpu_capacity * round.board.tuning().cpu_limit;
    slot.load.now() > limit || slot.load.next_step(&round.board.risk) > limit
}

fn pick(round: &Round<'_, '_>, movable: &[&VmView]) -> Option<usize> {
    let candidate = |vm: &&VmView| Candidate {
        memory: vm.memory_reserved().as_f64(),
        utilisation: round.now(vm.id()) / f64::from(vm.record.vcpus.max(1)),
        history: round.histories.of(vm.id()),
    };
    let candidates: Vec<Candidate<'_>> = movable.iter().map(candidate).collect();
    let view = round.board.view;
    let first = movable.first()?.id().0.as_u128();
    let lot = lot(view.seed ^ view.snapshot.taken_at.nanos(), first, movable.len());
    round.rule.selector.pick(&candidates, lot)
}

/// A number by lot: the finaliser of `SplitMix64` (Steele et al. 2014) over all that tells one draw from another.
#[allow(clippy::cast_possible_truncation)] // Both halves of the id are used.
fn lot(seed: u64, vm: u128, vms: usize) -> u64 {
    let mut mixed = seed;
    for part in [vm as u64, (vm >> 64) as u64, count(vms).to_bits()] {
        mixed = (mixed ^ part).wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
    }
    mixed
}

/// Finds a place for one vm: a move where the place is awake, else a host that is woken, or waited for.
fn place(round: &mut Round<'_, '_>, one: &Leaving<'_>, advice: &mut Advice) {
    let (vm, limit) = (one.vm, round.board.tuning().cpu_limit);
    let Some(slot) = round.best(vm, limit, |slot| is_open(&round.board.slots[slot])) else {
        advice.notes.push(format!("no host, awake or asleep, has room for vm {} of {}", vm.id(), vm.host));
        return;
    };
    round.assign(slot, vm.id());
    let target = &round.board.slots[slot];
    if target.host.is_eligible_target() {
        advice.proposals.push(propose(&mut round.board, &Unit::alone(vm), slot, &one.motive));
        return;
    }
    if target.could_wake() {
        let action = Action::Wake { host: target.host.id().clone() };
        let source = round.board.load_of(&vm.host).unwrap_or_default();
        let expected = round.board.objective().wake(target.host, &source);
        advice.proposals.push(Proposal { action, motive: one.motive.clone(), expected });
        round.board.slots[slot].woken = true;
    } else {
        advice.notes.push(format!("vm {} waits for {}, which is waking", vm.id(), target.host.id()));
    }
    round.board.reserve(slot, &Unit::alone(vm));
}

/// Hosts that are up, are on their way up, or sleep and have not failed to wake.
fn is_open(slot: &Slot<'_>) -> bool {
    let is_waking = slot.host.power == HostPower::Waking || slot.woken;
    slot.host.mode == HostMode::Active
        && (slot.host.is_eligible_target() || is_waking || (slot.could_wake() && slot.host.is_trusted()))
}
