//! One decision from one view: policy, guard, planner, and everything that was thought of on the way.
//!
//! The same input gives the same decision, byte for byte. Called by the scheduler's control loop, by replay, by the
//! simulation and by the operator's interface; it carries nothing out.

use serde::{Deserialize, Serialize};

use crate::{
    aftercare::{self, Worse},
    decision::{Decision, Denial, Mode, Plan, Planned, Step, Trigger},
    finding::Finding,
    guard::Guard,
    id::{DecisionId, HostId, VmId},
    objective::Objective,
    planner::{self, Planning, collapse::collapse},
    policy::{Advice, Policy, View},
    preflight::Said,
    proposal::{Action, Expectation, Motive, Move, Proposal},
    snapshot::Snapshot,
};

/// Proposals of a kind that a decision lists; what is beyond is counted in its notes.
pub const LISTED_MAX: usize = 64;

/// What a decision is made from.
#[derive(Debug, Clone)]
pub struct DecideInput<'a> {
    /// The fleet, its forecasts, and the numbers to decide by.
    pub view: View<'a>,
    /// The decision's id.
    pub id: DecisionId,
    /// What set it off. For [`Trigger::Relief`] only relief, and the waking it needs, is taken from the policy.
    pub trigger: Trigger,
    /// The mode it is made in; it changes nothing but what the decision says of itself.
    pub mode: Mode,
}

/// One move that an operator orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManualMove {
    /// Which vm.
    pub vm: VmId,
    /// Where to.
    pub to: HostId,
    /// Who orders it.
    pub who: String,
    /// Set aside findings that are matters of comfort.
    pub set_aside_comfort: bool,
}

/// What came of an operator's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Manual {
    /// The decision; its plan has one step where the order stands, none where it was denied.
    pub decision: Decision,
    /// What spoke against it and was set aside.
    pub set_aside: Vec<Finding>,
}

/// Decides what is to happen next.
pub fn decide(input: &DecideInput<'_>, policy: &mut dyn Policy) -> Decision {
    let Advice { proposals, mut notes } = ask(input, policy);
    // Whoever proposed the moves: what went wrong is put right first.
    let proposals = ways_back(input.view).into_iter().chain(proposals).collect();
    let (proposals, straightened) = collapse(proposals, |one| judge(input.view, one));
    notes.extend(straightened);
    notes.extend(refused(input.view.snapshot));
    let mut guard = guard_of(input.view);
    let planning = planner::plan(&mut guard, proposals);
    notes.extend(planning.notes.iter().cloned());
    let mut decision = blank(input, policy.name());
    decision.notes = notes;
    list(&mut decision, planning);
    decision
}

fn guard_of(view: View<'_>) -> Guard<'_> {
    Guard::with(view.snapshot, view.tuning, view.load.known(view.snapshot, view.forecasts))
}

/// What policies were not to propose because agents refused it lately: without it a crowded host would seem forgotten.
fn refused(snapshot: &Snapshot) -> impl Iterator<Item = String> {
    let each = snapshot.refused.iter().flat_map(|(vm, moves)| moves.iter().map(move |one| (vm, one)));
    each.take(LISTED_MAX).filter_map(|(vm, one)| {
        let Said { by, refusal } = one.said.first()?;
        Some(format!("vm {vm} is not sent to {} until {}: {by} said {refusal}", one.to, one.until))
    })
}

fn ask(input: &DecideInput<'_>, policy: &mut dyn Policy) -> Advice {
    if input.trigger != Trigger::Relief {
        return policy.propose(input.view);
    }
    let mut advice = policy.relieve(input.view);
    advice.proposals.retain(|proposal| matches!(proposal.motive, Motive::Overload { .. }));
    advice
}

/// The ways back of vms that, or whose neighbours, fare worse since they moved.
fn ways_back(view: View<'_>) -> Vec<Proposal> {
    let back = |(vm, to, worse): (VmId, &HostId, Worse)| {
        let host = view.snapshot.vms.get(&vm)?.host.clone();
        let one = Move { vm, from: host.clone(), to: to.clone() };
        let expected = judge(view, &one);
        Some(Proposal { action: Action::Relocate(one), motive: Motive::Regret { host, worse }, expected })
    };
    aftercare::regrets(view.snapshot).filter_map(back).collect()
}

/// Decides on one move that an operator orders: the same guard, with comfort set aside where that was asked for.
pub fn decide_manual(input: &DecideInput<'_>, order: &ManualMove) -> Manual {
    let proposal = manual_proposal(input.view, order);
    let findings = guard_of(input.view).check(&proposal.action, &proposal.motive);
    let may_go = |finding: &Finding| order.set_aside_comfort && finding.can_be_overridden();
    let (set_aside, standing): (Vec<_>, Vec<_>) = findings.into_iter().partition(may_go);
    let mut decision = blank(input, "operator");
    decision.trigger = Trigger::Operator { who: order.who.clone(), overridden: !set_aside.is_empty() };
    decision.notes = set_aside.iter().map(|finding| format!("set aside: {finding}")).collect();
    match (&proposal.action, standing.is_empty()) {
        (Action::Relocate(one), true) => {
            let step = Step::Migrate(one.clone());
            let planned = Planned { step, motive: proposal.motive, expected: proposal.expected, part_of: None };
            decision.chosen = Plan { steps: vec![planned] };
        }
        _ => decision.denied.push(Denial { proposal, findings: standing }),
    }
    Manual { decision, set_aside }
}

fn manual_proposal(view: View<'_>, order: &ManualMove) -> Proposal {
    // A vm that is not known has no source; the guard says so whatever stands there.
    let from = view.snapshot.vms.get(&order.vm).map_or_else(|| order.to.clone(), |vm| vm.host.clone());
    let one = Move { vm: order.vm, from, to: order.to.clone() };
    let expected = judge(view, &one);
    Proposal { action: Action::Relocate(one), motive: Motive::Operator { who: order.who.clone() }, expected }
}

/// What one move is expected to change, by itself.
fn judge(view: View<'_>, one: &Move) -> Expectation {
    let objective = Objective::new(view.snapshot, view.tuning);
    objective.relocate(std::slice::from_ref(one), view.load, |host| view.load.host(host).copied())
}

fn blank(input: &DecideInput<'_>, policy: &str) -> Decision {
    Decision {
        id: input.id,
        at: input.view.snapshot.taken_at,
        trigger: input.trigger.clone(),
        mode: input.mode,
        policy: policy.to_owned(),
        forecast: input.view.forecasts.method.clone(),
        chosen: Plan::default(),
        waiting: 0,
        considered: Vec::new(),
        denied: Vec::new(),
        notes: Vec::new(),
    }
}

fn list(decision: &mut Decision, planning: Planning) {
    let Planning { plan, waiting, mut passed, mut denied, .. } = planning;
    for (kind, all) in [("considered", passed.len()), ("denied", denied.len())] {
        if all > LISTED_MAX {
            decision.notes.push(format!("{all} proposals were {kind}, the first {LISTED_MAX} are listed"));
        }
    }
    passed.truncate(LISTED_MAX);
    denied.truncate(LISTED_MAX);
    (decision.chosen, decision.waiting) = (plan, waiting);
    decision.considered = passed;
    decision.denied = denied;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aftercare::{Care, Who},
        fixture::{Fleet, NOW, host_id, vm_id},
        preflight::{Check, Refusal, Refused},
        tuning::LEAST_REST,
    };

    fn order(vm: u32, set_aside_comfort: bool) -> ManualMove {
        ManualMove { vm: vm_id(vm), to: host_id("b"), who: "ada".into(), set_aside_comfort }
    }

    fn decided(fleet: &Fleet, order: &ManualMove) -> Manual {
        decide_manual(&fleet.input(Trigger::Round), order)
    }

    #[test]
    fn an_operators_sound_move_is_chosen_and_says_who_ordered_it() {
        let fleet = Fleet::new(&[("a", &[1.0]), ("b", &[])]);
        let manual = decided(&fleet, &order(1, true));
        assert_eq!(manual.decision.chosen.steps.len(), 1);
        assert_eq!(manual.decision.trigger, Trigger::Operator { who: "ada".into(), overridden: false });
    }

    #[test]
    fn comfort_is_set_aside_only_on_request_and_is_recorded() {
        let mut fleet = Fleet::new(&[("a", &[1.0]), ("b", &[])]);
        fleet.vm(1).last_moved_at = Some(NOW);
        let denied = decided(&fleet, &order(1, false)).decision;
        assert!(denied.chosen.steps.is_empty() && denied.denied.len() == 1);
        let manual = decided(&fleet, &order(1, true));
        assert_eq!(manual.decision.chosen.steps.len(), 1);
        assert_eq!(manual.decision.trigger, Trigger::Operator { who: "ada".into(), overridden: true });
        assert!(matches!(manual.set_aside.as_slice(), [Finding::CoolDown { .. }]));
        assert!(manual.decision.notes[0].starts_with("set aside: vm "));
    }

    #[test]
    fn what_agents_refused_lately_is_not_proposed_again_and_the_decision_says_so() {
        let mut fleet = Fleet::new(&[("a", &[3.5, 3.5, 3.5, 3.5]), ("b", &[3.0]), ("c", &[3.0])]);
        let to = |fleet: &Fleet| {
            let decision = decide(&fleet.input(Trigger::Relief), &mut crate::policy::RiskGreedy);
            let Some(Step::Migrate(one)) = decision.chosen.steps.first().map(|planned| planned.step.clone()) else {
                panic!("{decision:?}")
            };
            (one.to, decision.notes)
        };
        let (first, _) = to(&fleet);
        let other = if first == host_id("b") { host_id("c") } else { host_id("b") };
        let said = vec![Said { by: first.clone(), refusal: Refusal::new(Check::Machine, "it is not known", "q35") }];
        let refused = Refused { to: first.clone(), said, until: NOW.after(std::time::Duration::from_secs(60)) };
        fleet.snapshot.refused = (1..=4).map(|number| (vm_id(number), vec![refused.clone()])).collect();
        let (second, notes) = to(&fleet);
        assert_eq!(second, other);
        assert!(notes.iter().any(|note| note.contains("machine: it is not known, but q35 is needed")), "{notes:?}");
    }

    #[test]
    fn the_guard_denies_what_agents_refused_lately_to_everybody_but_an_operator() {
        let mut fleet = Fleet::new(&[("a", &[1.0]), ("b", &[])]);
        let said = vec![Said { by: host_id("b"), refusal: Refusal::new(Check::Network, "it is not there", "br0") }];
        let refused = Refused { to: host_id("b"), said, until: NOW.after(std::time::Duration::from_secs(60)) };
        fleet.snapshot.refused.insert(vm_id(1), vec![refused]);
        let action = Action::Relocate(Move { vm: vm_id(1), from: host_id("a"), to: host_id("b") });
        let guard = Guard::new(&fleet.snapshot, &fleet.forecasts, &fleet.tuning);
        let findings = guard.check(&action, &Motive::Consolidation { host: host_id("a") });
        assert!(matches!(&findings[..], [Finding::Preflight { .. }]), "{findings:?}");
        assert_eq!(decided(&fleet, &order(1, false)).decision.chosen.steps.len(), 1);
    }

    fn care(fleet: &mut Fleet, vm: u32, care: Care) {
        fleet.snapshot.aftercare.insert(vm_id(vm), care);
    }

    #[test]
    fn a_vm_that_fares_worse_where_it_was_moved_to_goes_back_although_it_has_just_moved() {
        let mut fleet = Fleet::new(&[("a", &[1.0]), ("b", &[])]);
        let worse = Worse { who: Who::Vm, found: 0.34, expected: 0.03 };
        care(&mut fleet, 1, Care::Watched { from: host_id("b"), worse: Some(worse) });
        fleet.vm(1).last_moved_at = Some(NOW.before(LEAST_REST));
        for trigger in [Trigger::Round, Trigger::Relief] {
            let decision = decide(&fleet.input(trigger), &mut crate::policy::LeaveAlone);
            let steps = &decision.chosen.steps;
            assert_eq!(steps.len(), 1, "{decision:?}");
            assert_eq!(steps[0].step.to_string(), format!("move {} from a to b", vm_id(1)));
            let why = "since it was moved to a it waits for a processor 34 % of the time, 3 % were expected";
            assert_eq!(steps[0].motive.to_string(), why);
        }
        care(&mut fleet, 1, Care::Watched { from: host_id("b"), worse: None });
        let decision = decide(&fleet.input(Trigger::Round), &mut crate::policy::LeaveAlone);
        assert!(decision.chosen.steps.is_empty(), "it fares as expected");
    }

    #[test]
    fn a_vm_that_was_moved_back_is_left_alone_unless_somebody_orders_otherwise() {
        let mut fleet = Fleet::new(&[("a", &[1.0]), ("b", &[])]);
        care(&mut fleet, 1, Care::LeftAlone { until: NOW.after(std::time::Duration::from_secs(60)) });
        let denied = decided(&fleet, &order(1, false)).decision.denied;
        assert!(matches!(denied[0].findings.as_slice(), [Finding::LeftAlone { .. }]), "{denied:?}");
        assert_eq!(decided(&fleet, &order(1, true)).decision.chosen.steps.len(), 1);
    }

    #[test]
    fn safety_is_never_set_aside() {
        let mut fleet = Fleet::new(&[("a", &[1.0]), ("b", &[])]);
        fleet.vm(1).frozen = Some("two hosts claim it".into());
        let manual = decided(&fleet, &order(1, true));
        assert!(manual.decision.chosen.steps.is_empty());
        assert!(matches!(manual.decision.denied[0].findings.as_slice(), [Finding::Frozen { .. }]));
    }

    #[test]
    fn an_unknown_vm_is_denied_by_name() {
        let fleet = Fleet::new(&[("a", &[1.0]), ("b", &[])]);
        let denied = decided(&fleet, &order(7, true)).decision.denied;
        assert!(denied[0].findings.contains(&Finding::UnknownVm { vm: vm_id(7) }), "{denied:?}");
    }

    #[test]
    fn a_detour_is_one_move_and_a_round_trip_none() {
        struct Restless;
        impl Policy for Restless {
            fn name(&self) -> &'static str {
                "restless"
            }
            fn propose(&mut self, _view: View<'_>) -> Advice {
                let leg = |vm, from, to| {
                    let one = Move { vm: vm_id(vm), from: host_id(from), to: host_id(to) };
                    let motive = Motive::Drain { host: host_id(from) };
                    Proposal { action: Action::Relocate(one), motive, expected: Expectation::default() }
                };
                let proposals = vec![leg(1, "a", "b"), leg(2, "a", "c"), leg(1, "b", "c"), leg(2, "c", "a")];
                Advice { proposals, notes: vec![] }
            }
        }
        let fleet = Fleet::new(&[("a", &[1.0, 1.0]), ("b", &[]), ("c", &[])]);
        let decision = decide(&fleet.input(Trigger::Round), &mut Restless);
        let steps: Vec<String> = decision.chosen.steps.iter().map(|planned| planned.step.to_string()).collect();
        assert_eq!(steps, [format!("move {} from a to c", vm_id(1))]);
        assert!(decision.chosen.steps[0].expected.copied > crate::units::Bytes::ZERO, "judged anew");
        assert_eq!((decision.denied.len(), decision.notes.len()), (0, 2));
    }

    #[test]
    fn a_policy_gone_mad_gets_nothing_past_the_guard_and_a_bounded_record() {
        struct Mad;
        impl Policy for Mad {
            fn name(&self) -> &'static str {
                "mad"
            }
            fn propose(&mut self, _view: View<'_>) -> Advice {
                let motive = Motive::Overload { host: host_id("a"), load: f64::NAN, limit: 0.0 };
                let action = Action::Relocate(Move { vm: vm_id(1), from: host_id("b"), to: host_id("nowhere") });
                let proposal = Proposal { action, motive, expected: Expectation::default() };
                Advice { proposals: vec![proposal; 1000], notes: vec![] }
            }
        }
        let fleet = Fleet::new(&[("a", &[1.0]), ("b", &[])]);
        let decision = decide(&fleet.input(Trigger::Round), &mut Mad);
        assert!(decision.chosen.steps.is_empty());
        assert_eq!(decision.denied.len(), LISTED_MAX);
        assert_eq!(decision.notes, ["1000 proposals were denied, the first 64 are listed"]);
    }
}
