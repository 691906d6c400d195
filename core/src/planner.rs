//! From wishes to steps: the most urgent first, each past the guard on top of what was taken before, within the bounds on
//! concurrent moves. Every step may begin at once, whatever becomes of the others; the moves of a bundle begin together or
//! not at all, and of an exchange those begin that are safe before the others have arrived.
//!
//! Called by [`crate::decide`]. It makes no choice of its own: a policy says what, the guard says whether, this says when.

pub mod collapse;
pub mod exchange;
mod units;

use crate::{
    decision::{Denial, Passed, Plan, Planned, Step},
    finding::Finding,
    guard::Guard,
    proposal::{Action, Motive, Move, Proposal},
};

/// What became of the wishes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Planning {
    /// What is to be done now.
    pub plan: Plan,
    /// Moves that have to wait until others have ended.
    pub waiting: usize,
    /// What is possible and has to wait.
    pub passed: Vec<Passed>,
    /// What the guard refused.
    pub denied: Vec<Denial>,
    /// What is only begun.
    pub notes: Vec<String>,
}

/// Plans `proposals`, and has the guard count every step that is taken.
pub fn plan(guard: &mut Guard<'_>, mut proposals: Vec<Proposal>) -> Planning {
    proposals.sort_by(|a, b| {
        let urgency = urgency(&a.motive).cmp(&urgency(&b.motive));
        urgency.then_with(|| yield_of(b).total_cmp(&yield_of(a)))
    });
    let mut planning = Planning::default();
    for proposal in proposals {
        let findings = guard.check(&proposal.action, &proposal.motive);
        match verdict(findings) {
            Verdict::Fine => take(guard, proposal, &mut planning),
            Verdict::Later(why) => {
                planning.waiting += proposal.action.moves().len();
                planning.passed.push(Passed { proposal, why });
            }
            Verdict::Never(findings) => planning.denied.push(Denial { proposal, findings }),
        }
    }
    planning
}

/// Relief before capacity, capacity before comfort; at equal urgency the policy's order stands. Balance prevents the
/// overload that relief would have to end, so it goes before what nobody's load waits for.
fn urgency(motive: &Motive) -> u8 {
    match motive {
        Motive::Operator { .. } | Motive::Overload { .. } => 0,
        Motive::Shortage { .. } | Motive::Spare { .. } | Motive::Waiting { .. } => 1,
        Motive::Balance { .. } => 2,
        Motive::Regret { .. }
        | Motive::Drain { .. }
        | Motive::Bundle { .. }
        | Motive::Apart { .. }
        | Motive::Pin { .. } => 3,
        Motive::Nearer { .. } | Motive::Room { .. } | Motive::Replacement { .. } | Motive::Consolidation { .. } => 4,
        Motive::Idle { .. } => 5,
    }
}

/// What a second of copying gains where hosts are emptied that may sleep then; more than anything for all else, whose order is
/// the policy's. Links are few where a whole fleet is packed, and most is saved where those hosts go first that sleep
/// soonest for what they save: Smith's rule (Smith 1956, Various Optimizers for Single-Stage Production). It also finishes
/// what is begun, for of a host that is half empty only half is left to copy.
fn yield_of(proposal: &Proposal) -> f64 {
    match (&proposal.action, &proposal.motive) {
        (Action::Evacuate { .. }, Motive::Consolidation { .. } | Motive::Replacement { .. }) => {
            let expected = &proposal.expected;
            expected.gain.get() / expected.copy_time.as_secs_f64().max(f64::MIN_POSITIVE)
        }
        _ => f64::INFINITY,
    }
}

enum Verdict {
    Fine,
    /// Nothing but a bound on concurrent moves is in the way.
    Later(String),
    Never(Vec<Finding>),
}

fn verdict(findings: Vec<Finding>) -> Verdict {
    match findings.first() {
        None => Verdict::Fine,
        Some(first) if findings.iter().all(is_bound) => Verdict::Later(first.to_string()),
        Some(_) => Verdict::Never(findings),
    }
}

fn is_bound(finding: &Finding) -> bool {
    matches!(finding, Finding::Concurrency { .. })
}

fn take(guard: &mut Guard<'_>, proposal: Proposal, planning: &mut Planning) {
    match &proposal.action {
        Action::Relocate(one) => accept(guard, Step::Migrate(one.clone()), &proposal, planning),
        Action::Together { moves } => accept_unit(guard, moves, &proposal, planning),
        Action::Evacuate { moves, .. } => begin(guard, moves.clone(), proposal, planning),
        Action::Swap(both) => exchange(guard, both.clone(), proposal, planning),
        Action::Sleep { host } => accept(guard, Step::Sleep { host: host.clone() }, &proposal, planning),
        Action::Wake { host } => match guard.waker_of(host).cloned() {
            Some(by) => accept(guard, Step::Wake { host: host.clone(), by }, &proposal, planning),
            None => deny(Finding::NobodyToWakeIt { host: host.clone() }, proposal, planning),
        },
    }
}

fn deny(finding: Finding, proposal: Proposal, planning: &mut Planning) {
    planning.denied.push(Denial { proposal, findings: vec![finding] });
}

fn accept(guard: &mut Guard<'_>, step: Step, proposal: &Proposal, planning: &mut Planning) {
    accept_planned(guard, planned(step, proposal, None), planning);
}

fn accept_planned(guard: &mut Guard<'_>, planned: Planned, planning: &mut Planning) {
    guard.accept(planned.step.clone());
    planning.plan.steps.push(planned);
}

fn planned(step: Step, proposal: &Proposal, part_of: Option<Action>) -> Planned {
    Planned { step, motive: proposal.motive.clone(), expected: proposal.expected, part_of }
}

/// Accepts every move of a unit; a bundle says in each that it is one.
fn accept_unit(guard: &mut Guard<'_>, moves: &[Move], proposal: &Proposal, planning: &mut Planning) {
    let part_of = (moves.len() > 1).then(|| Action::Together { moves: moves.to_vec() });
    for one in moves {
        accept_planned(guard, planned(Step::Migrate(one.clone()), proposal, part_of.clone()), planning);
    }
}

/// Begins an evacuation with as many of its moves as the bounds allow; the next rounds go on with it. A bundle begins
/// whole or waits whole.
fn begin(guard: &mut Guard<'_>, moves: Vec<Move>, proposal: Proposal, planning: &mut Planning) {
    let (mut begun, mut hindrance) = (0, None);
    for unit in units::units(guard.snapshot(), &moves) {
        match guard.check(&Action::Together { moves: unit.clone() }, &proposal.motive).into_iter().next() {
            None => {
                accept_unit(guard, &unit, &proposal, planning);
                begun += unit.len();
            }
            Some(finding) => hindrance = hindrance.or(Some(finding)),
        }
    }
    end_of(begun, moves.len(), hindrance, proposal, planning);
}

/// Begins an exchange with the moves that are safe now; where no order is, it is denied.
fn exchange(guard: &mut Guard<'_>, both: [Move; 2], proposal: Proposal, planning: &mut Planning) {
    let waves = match exchange::waves(&both, &guard.footing(&both, &proposal.motive)) {
        Ok(waves) => waves,
        Err(short) => {
            let [vm, other] = both.map(|one| one.vm);
            return deny(Finding::NoSafeOrder { vm, other, short }, proposal, planning);
        }
    };
    let all = waves.iter().map(Vec::len).sum();
    let (mut begun, mut hindrance) = (0, None);
    for one in waves.into_iter().next().unwrap_or_default() {
        let step = planned(Step::Migrate(one), &proposal, Some(proposal.action.clone()));
        match guard.check_planned(&step).into_iter().next() {
            None => {
                accept_planned(guard, step, planning);
                begun += 1;
            }
            Some(finding) => hindrance = hindrance.or(Some(finding)),
        }
    }
    end_of(begun, all, hindrance, proposal, planning);
}

/// Says what became of an action of which `begun` of `all` moves begin now.
fn end_of(begun: usize, all: usize, hindrance: Option<Finding>, proposal: Proposal, planning: &mut Planning) {
    if hindrance.as_ref().is_none_or(is_bound) {
        planning.waiting += all - begun;
    }
    match hindrance {
        Some(finding) if begun == 0 => planning.passed.push(Passed { proposal, why: finding.to_string() }),
        _ if begun < all => planning.notes.push(format!("{}: {begun} of {all} moves begin now", proposal.action)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixture::{Fleet, host_id, vm_id},
        proposal::Expectation,
    };

    fn relocation(vm: u32, from: &str, to: &str, motive: Motive) -> Proposal {
        let one = Move { vm: vm_id(vm), from: host_id(from), to: host_id(to) };
        Proposal { action: Action::Relocate(one), motive, expected: Expectation::default() }
    }

    fn relief(host: &str) -> Motive {
        Motive::Overload { host: host_id(host), load: 1.0, limit: 0.85 }
    }

    fn planned(fleet: &Fleet, proposals: Vec<Proposal>) -> Planning {
        let mut guard = Guard::new(&fleet.snapshot, &fleet.forecasts, &fleet.tuning);
        plan(&mut guard, proposals)
    }

    fn vms(planning: &Planning) -> Vec<crate::id::VmId> {
        let vm = |planned: &Planned| if let Step::Migrate(one) = &planned.step { Some(one.vm) } else { None };
        planning.plan.steps.iter().filter_map(vm).collect()
    }

    #[test]
    fn relief_comes_before_what_was_proposed_earlier_for_comfort() {
        let mut fleet = Fleet::new(&[("a", &[1.0]), ("b", &[4.0, 4.0, 4.0, 3.0]), ("c", &[]), ("d", &[])]);
        fleet.tuning.moves_in_fleet = 1;
        let comfort = relocation(1, "a", "c", Motive::Consolidation { host: host_id("a") });
        let planning = planned(&fleet, vec![comfort, relocation(2, "b", "d", relief("b"))]);
        assert_eq!(vms(&planning), [vm_id(2)]);
        assert_eq!(planning.passed.len(), 1);
        assert_eq!(planning.passed[0].why, "1 migrations run in the fleet already");
    }

    #[test]
    fn two_moves_into_one_host_wait_for_each_other() {
        let fleet = Fleet::new(&[("a", &[1.0]), ("b", &[1.0]), ("c", &[])]);
        let moves = vec![relocation(1, "a", "c", relief("a")), relocation(2, "b", "c", relief("b"))];
        let planning = planned(&fleet, moves);
        assert_eq!((vms(&planning), planning.passed.len()), (vec![vm_id(1)], 1));
    }

    #[test]
    fn an_evacuation_begins_with_what_the_bounds_allow() {
        let mut fleet = Fleet::new(&[("a", &[1.0, 1.0, 1.0]), ("b", &[1.0])]);
        fleet.tuning.moves_out_per_host = 2;
        fleet.tuning.moves_in_per_host = 2;
        let to_b = |vm| Move { vm: vm_id(vm), from: host_id("a"), to: host_id("b") };
        let action = Action::Evacuate { host: host_id("a"), moves: vec![to_b(1), to_b(2), to_b(3)] };
        let motive = Motive::Consolidation { host: host_id("a") };
        let planning = planned(&fleet, vec![Proposal { action, motive, expected: Expectation::default() }]);
        assert_eq!(vms(&planning), [vm_id(1), vm_id(2)]);
        assert_eq!(planning.notes, ["empty a (3 vms): 2 of 3 moves begin now"]);
    }

    #[test]
    fn of_hosts_that_are_emptied_those_go_first_whose_copies_gain_most_a_second() {
        let mut fleet = Fleet::new(&[("a", &[1.0]), ("b", &[1.0]), ("c", &[])]);
        fleet.tuning.moves_in_fleet = 1;
        let empty = |vm, from: &str, copy_secs, gain| {
            let moves = vec![Move { vm: vm_id(vm), from: host_id(from), to: host_id("c") }];
            let action = Action::Evacuate { host: host_id(from), moves };
            let copy_time = std::time::Duration::from_secs(copy_secs);
            let expected = Expectation { copy_time, gain: crate::units::Joules(gain), ..Expectation::default() };
            Proposal { action, motive: Motive::Consolidation { host: host_id(from) }, expected }
        };
        let planning = planned(&fleet, vec![empty(1, "a", 60, 90_000.0), empty(2, "b", 20, 80_000.0)]);
        assert_eq!((vms(&planning), planning.waiting), (vec![vm_id(2)], 1));
    }

    #[test]
    fn balance_comes_after_capacity_and_before_what_nobodys_load_waits_for() {
        let host = || host_id("a");
        let balance = urgency(&Motive::Balance { from_spread: 1.0, to_spread: 0.5 });
        assert!(urgency(&Motive::Shortage { cores_short: 1.0 }) < balance);
        assert!(balance < urgency(&Motive::Drain { host: host() }));
        assert!(balance < urgency(&Motive::Consolidation { host: host() }));
    }

    #[test]
    fn what_no_wait_will_allow_is_denied() {
        let fleet = Fleet::new(&[("a", &[1.0]), ("b", &[])]);
        let planning = planned(&fleet, vec![relocation(9, "a", "b", relief("a"))]);
        assert!(matches!(planning.denied[0].findings.as_slice(), [Finding::UnknownVm { .. }]));
    }
}
