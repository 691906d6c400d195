//! Before steps become commands: both agents of every migration are asked, what they refuse leaves the plan and is
//! remembered, and what is left is held against the fleet as it is after the asking.

use std::sync::Arc;

use ballast_core::{
    decision::{Denial, Planned, Step},
    finding::Finding,
    guard::Guard,
    preflight::Said,
    proposal::{Action, Motive, Move, Proposal},
    snapshot::{Event, Snapshot},
};
use futures::future::join_all;

use super::ControlLoop;
use crate::{
    counters::Counters,
    preflight::{Verdict, ask},
};

/// What is left of a plan.
pub(super) struct Asked {
    /// The fleet after the asking.
    pub(super) snapshot: Arc<Snapshot>,
    /// What may be ordered.
    pub(super) steps: Vec<Planned>,
    /// What may not.
    pub(super) denied: Vec<Denial>,
}

impl ControlLoop {
    /// Asks about the migrations among `steps`. Nothing else is decided meanwhile: a plan rests on the places it takes.
    pub(super) async fn preflight(&self, steps: Vec<Planned>, snapshot: Arc<Snapshot>) -> Asked {
        let moves: Vec<Move> = steps.iter().filter_map(migration).cloned().collect();
        if moves.is_empty() {
            return Asked { snapshot, steps, denied: Vec::new() };
        }
        let tls = self.shared.settings.migration_tls;
        let verdicts = join_all(moves.iter().map(|one| ask(&self.shared, one, tls))).await;
        let mut refused = Vec::new();
        for (one, verdict) in moves.into_iter().zip(verdicts) {
            if let Verdict::Refused(said) = verdict {
                self.state.event(Event::Refused { vm: one.vm, to: one.to.clone(), said: said.clone() }).await;
                refused.push((one, said));
            }
        }
        let (steps, mut denied) = without_refused(steps, &refused);
        // Asking took a while; a scheduler that stops has nothing left to do.
        let Some((snapshot, forecasts)) = self.state.view().await else {
            return Asked { snapshot, steps: Vec::new(), denied };
        };
        let guard = Guard::new(&snapshot, &forecasts, &self.shared.settings.tuning);
        let (steps, outdated) = still_allowed(steps, guard);
        denied.extend(outdated);
        Counters::add(&self.shared.counters.denied, denied.len() as u64);
        Asked { snapshot, steps, denied }
    }
}

fn migration(planned: &Planned) -> Option<&Move> {
    if let Step::Migrate(one) = &planned.step { Some(one) } else { None }
}

/// The wish that a step belongs to: a bundle and an exchange stand or fall as a whole.
fn wish(planned: &Planned) -> Action {
    let alone = || match &planned.step {
        Step::Migrate(one) => Action::Relocate(one.clone()),
        Step::Sleep { host } => Action::Sleep { host: host.clone() },
        Step::Wake { host, .. } => Action::Wake { host: host.clone() },
    };
    planned.part_of.clone().unwrap_or_else(alone)
}

fn deny(denied: &mut Vec<Denial>, planned: &Planned, findings: Vec<Finding>) {
    let action = wish(planned);
    match denied.iter_mut().find(|denial| denial.proposal.action == action) {
        Some(denial) => denial.findings.extend(findings),
        None => {
            let proposal = Proposal { action, motive: planned.motive.clone(), expected: planned.expected };
            denied.push(Denial { proposal, findings });
        }
    }
}

/// The steps of wishes of which no move was refused, and the others as denials.
fn without_refused(steps: Vec<Planned>, refused: &[(Move, Vec<Said>)]) -> (Vec<Planned>, Vec<Denial>) {
    let mut denied = Vec::new();
    for planned in &steps {
        let said = migration(planned).and_then(|one| refused.iter().find(|(other, _)| other == one));
        if let Some((one, said)) = said {
            deny(&mut denied, planned, said.iter().map(|said| said.finding(one.vm, &one.to)).collect());
        }
    }
    (of_none(steps, &denied), denied)
}

/// The steps that belong to no denied wish.
fn of_none(steps: Vec<Planned>, denied: &[Denial]) -> Vec<Planned> {
    let stands = |planned: &Planned| !denied.iter().any(|denial| denial.proposal.action == wish(planned));
    steps.into_iter().filter(stands).collect()
}

/// The steps against which nothing stands now, and the others as denials. What an operator has set aside stays set aside.
fn still_allowed(steps: Vec<Planned>, mut guard: Guard<'_>) -> (Vec<Planned>, Vec<Denial>) {
    let mut denied = Vec::new();
    for planned in &steps {
        let by_operator = matches!(planned.motive, Motive::Operator { .. });
        let mut findings = guard.check_planned(planned);
        findings.retain(|finding| !by_operator || !finding.can_be_overridden());
        if findings.is_empty() {
            guard.accept(planned.step.clone());
        } else {
            deny(&mut denied, planned, findings);
        }
    }
    (of_none(steps, &denied), denied)
}

#[cfg(test)]
mod tests {
    use ballast_core::{
        id::{HostId, VmId},
        preflight::{Check, Refusal},
        proposal::Expectation,
    };

    use super::*;

    fn host(name: &str) -> HostId {
        HostId::new(name).unwrap()
    }

    fn one(vm: u128, to: &str) -> Move {
        Move { vm: VmId(uuid::Uuid::from_u128(vm)), from: host("a"), to: host(to) }
    }

    fn planned(one: Move, part_of: Option<Action>) -> Planned {
        let motive = Motive::Drain { host: host("a") };
        Planned { step: Step::Migrate(one), motive, expected: Expectation::default(), part_of }
    }

    fn refused(one: Move) -> (Move, Vec<Said>) {
        let refusal = Refusal::new(Check::Network, "it is not there", "br0");
        (one, vec![Said { by: host("b"), refusal }])
    }

    #[test]
    fn a_refused_move_leaves_the_plan_and_the_others_stay() {
        let steps = vec![planned(one(1, "b"), None), planned(one(2, "b"), None)];
        let (left, denied) = without_refused(steps, &[refused(one(1, "b"))]);
        assert_eq!(left.iter().map(migration).collect::<Vec<_>>(), [Some(&one(2, "b"))]);
        assert_eq!(denied.len(), 1);
        assert!(matches!(&denied[0].findings[..], [Finding::Preflight { .. }]), "{denied:?}");
    }

    #[test]
    fn a_bundle_of_which_one_is_refused_stays_whole_where_it_is() {
        let whole = Action::Together { moves: vec![one(1, "b"), one(2, "b")] };
        let steps = vec![planned(one(1, "b"), Some(whole.clone())), planned(one(2, "b"), Some(whole.clone()))];
        let (left, denied) = without_refused(steps, &[refused(one(2, "b"))]);
        assert!(left.is_empty());
        assert_eq!(denied.iter().map(|denial| &denial.proposal.action).collect::<Vec<_>>(), [&whole]);
    }
}
