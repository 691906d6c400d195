//! A policy with the greedy rule standing by for when it fails.
//!
//! A learned policy may be of anyone's making. Where it panics, moves vms without end, or does harm by moves that it expects to
//! gain, the greedy rule decides that very round, and for half an hour; then it may try again, and where it fails again it waits
//! twice as long, a day at most.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use crate::{
    decide::{DecideInput, decide},
    decision::Decision,
    hindsight::{Hindsight, Settled, Track},
    oversight::words,
    policy::{Policy, RiskGreedy},
    restless::Restless,
    units::Timestamp,
};

/// Time for which a policy that has failed is not asked.
const REST: Duration = Duration::from_secs(30 * 60);

/// The same at most, and the time without a failure after which earlier ones are forgotten.
const REST_MAX: Duration = Duration::from_secs(24 * 3600);

/// Makes a policy that knows of no round yet; `None` where it cannot be made.
pub type Maker = Box<dyn Fn() -> Option<Box<dyn Policy>> + Send>;

/// That the policy has failed just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// With what words.
    pub what: String,
    /// Until when it is not asked.
    pub until: Timestamp,
}

/// What comes of one round.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// The decision.
    pub decision: Decision,
    /// That the policy has failed just now.
    pub failure: Option<Failure>,
    /// What earlier decisions have gained, where that is settled by now.
    pub settled: Vec<Settled>,
}

/// A policy whose panics are caught: what it knew is thrown away with it, and it is begun anew.
pub struct Caught {
    name: String,
    make: Maker,
    policy: Option<Box<dyn Policy>>,
}

impl std::fmt::Debug for Caught {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caught").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Caught {
    /// The policy of that name, which `make` makes.
    pub fn new(name: String, make: Maker) -> Self {
        Self { name, make, policy: None }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it decides, or with what words it panicked; `None` where it cannot be made.
    pub fn decide(&mut self, input: &DecideInput<'_>) -> Option<Result<Decision, String>> {
        let mut policy = self.policy.take().or_else(|| (self.make)())?;
        let asked = catch_unwind(AssertUnwindSafe(|| decide(input, &mut *policy)));
        if asked.is_ok() {
            self.policy = Some(policy);
        }
        Some(asked.map_err(|panic| words(&*panic)))
    }
}

/// The policy and what became of it lately.
#[derive(Debug)]
pub struct Standby {
    policy: Caught,
    restless: Restless,
    hindsight: Hindsight,
    track: Track,
    failures: u32,
    failed_at: Timestamp,
    rests_until: Timestamp,
}

impl Standby {
    /// That policy, with the greedy rule standing by.
    pub fn new(policy: Caught) -> Self {
        let (failed_at, rests_until) = (Timestamp::EPOCH, Timestamp::EPOCH);
        let (restless, hindsight, track) = (Restless::default(), Hindsight::default(), Track::default());
        Self { policy, restless, hindsight, track, failures: 0, failed_at, rests_until }
    }

    /// What the policy decides, or the greedy rule where it fails, rests or cannot be made; whether it has failed just now; and
    /// what has come of earlier decisions, whoever made them.
    pub fn decide(&mut self, input: &DecideInput<'_>) -> Decided {
        let settled = self.hindsight.look(input.view);
        self.track.add(settled.iter().cloned());
        let (decision, failure) = self.choose(input);
        self.hindsight.took(&decision, input.view);
        Decided { decision, failure, settled }
    }

    fn choose(&mut self, input: &DecideInput<'_>) -> (Decision, Option<Failure>) {
        let now = input.view.snapshot.taken_at;
        if now < self.rests_until {
            return (self.instead(input), None);
        }
        let decided = self.policy.decide(input).map(|decided| {
            let decision = decided?;
            let too_many = self.restless.took(&decision, input.view.snapshot.vms.len());
            let wrong = too_many.or_else(|| self.track.verdict(self.policy.name(), now));
            wrong.map_or(Ok(decision), Err)
        });
        match decided {
            Some(Ok(decision)) => {
                if now.since(self.failed_at) >= REST_MAX {
                    self.failures = 0;
                }
                (decision, None)
            }
            Some(Err(what)) => {
                let rest = REST.saturating_mul(1 << self.failures.min(16)).min(REST_MAX);
                (self.failed_at, self.rests_until) = (now, now.after(rest));
                self.failures = self.failures.saturating_add(1);
                // What it did before this does not count against it again.
                self.track.clear();
                (self.instead(input), Some(Failure { what, until: self.rests_until }))
            }
            None => (self.instead(input), None),
        }
    }

    fn instead(&self, input: &DecideInput<'_>) -> Decision {
        let mut decision = decide(input, &mut RiskGreedy);
        let (name, greedy, until) = (self.policy.name(), RiskGreedy::NAME, self.rests_until);
        decision.notes.push(if input.view.snapshot.taken_at < until {
            format!("{name} has failed: {greedy} decides until {until}")
        } else {
            format!("{name} cannot be made: {greedy} decides")
        });
        decision
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    };

    use super::*;
    use crate::{
        decision::{Mode, Trigger},
        fixture::{Fleet, host_id, vm_id},
        policy::{Advice, View},
        proposal::{Action, Expectation, Motive, Move, Proposal},
    };

    /// Sends a vm to and fro, for no reason.
    struct ToAndFro;

    impl Policy for ToAndFro {
        fn name(&self) -> &'static str {
            "to-and-fro"
        }

        fn propose(&mut self, view: View<'_>) -> Advice {
            let from = view.snapshot.vms[&vm_id(1)].host.clone();
            let to = if from == host_id("a") { host_id("b") } else { host_id("a") };
            let action = Action::Relocate(Move { vm: vm_id(1), from, to });
            let motive = Motive::Balance { from_spread: 1.0, to_spread: 0.0 };
            Advice { proposals: vec![Proposal { action, motive, expected: Expectation::default() }], notes: Vec::new() }
        }
    }

    /// Moves a vm where there is no room for it, and expects to gain.
    struct Wishful;

    impl Policy for Wishful {
        fn name(&self) -> &'static str {
            "wishful"
        }

        fn propose(&mut self, view: View<'_>) -> Advice {
            let mut advice = ToAndFro.propose(view);
            advice.proposals[0].expected.overload_if_left = 100.0;
            advice
        }
    }

    #[test]
    fn one_that_does_harm_by_what_it_expects_to_gain_has_failed() {
        let mut fleet = Fleet::new(&[("a", &[1.0, 1.0]), ("b", &[2.0; 3])]);
        fleet.tuning.vm_cool_down = Duration::ZERO;
        let mut standby = Standby::new(Caught::new("wishful".to_owned(), Box::new(|| Some(Box::new(Wishful)))));
        let failed = (1..=120).find_map(|_| {
            let Decided { decision, failure, settled } = standby.decide(&fleet.input(Trigger::Round));
            assert!(settled.iter().all(|one| one.policy == "wishful"));
            // Slowly enough not to be restless.
            fleet.obey(&decision, 5 * MINUTE);
            failure.map(|failure| failure.what)
        });
        let what = failed.unwrap();
        assert!(
            what.starts_with("20 proposals of the last day cost ") && what.contains(" where they were to gain "),
            "{what}"
        );
        let Decided { decision, .. } = standby.decide(&fleet.input(Trigger::Round));
        assert_eq!(decision.policy, RiskGreedy::NAME);
    }

    /// After how many minutes a policy that moves one vm in every round has failed, in that mode, within two hours.
    fn minutes_until_it_fails(mode: Mode) -> Option<u32> {
        let mut fleet = Fleet::new(&[("a", &[1.0, 1.0]), ("b", &[2.0; 3])]);
        fleet.tuning.vm_cool_down = Duration::ZERO;
        let mut standby = Standby::new(Caught::new("to-and-fro".to_owned(), Box::new(|| Some(Box::new(ToAndFro)))));
        (1..=120).find(|_| {
            let input = DecideInput { mode, ..fleet.input(Trigger::Round) };
            let Decided { decision, failure, .. } = standby.decide(&input);
            fleet.obey(&decision, MINUTE);
            let what = failure.map(|failure| failure.what);
            assert!(what.as_ref().is_none_or(|what| what.starts_with("33 moves of 5 vms within an hour")), "{what:?}");
            what.is_some()
        })
    }

    #[test]
    fn one_that_moves_vms_without_end_has_failed() {
        assert_eq!(minutes_until_it_fails(Mode::Auto), Some(33));
    }

    #[test]
    fn what_nobody_carries_out_is_no_failure() {
        assert_eq!(minutes_until_it_fails(Mode::Recommend), None);
    }

    /// Panics while it is told to; counts how often it is asked.
    struct Moody(Arc<AtomicBool>, Arc<AtomicU32>);

    impl Policy for Moody {
        fn name(&self) -> &'static str {
            "moody"
        }

        fn propose(&mut self, _view: View<'_>) -> Advice {
            self.1.fetch_add(1, Relaxed);
            assert!(!self.0.load(Relaxed), "out of sorts");
            Advice::default()
        }
    }

    struct World {
        fleet: Fleet,
        standby: Standby,
        is_bad: Arc<AtomicBool>,
        asked: Arc<AtomicU32>,
    }

    impl World {
        fn new() -> Self {
            let (is_bad, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
            let (bad, count) = (Arc::clone(&is_bad), Arc::clone(&asked));
            let make: Maker = Box::new(move || Some(Box::new(Moody(Arc::clone(&bad), Arc::clone(&count)))));
            let fleet = Fleet::new(&[("a", &[1.0, 1.0]), ("b", &[2.0; 3])]);
            Self { fleet, standby: Standby::new(Caught::new("moody".to_owned(), make)), is_bad, asked }
        }

        fn after(&mut self, span: Duration) -> (Decision, Option<Failure>) {
            self.fleet.snapshot.taken_at = self.fleet.snapshot.taken_at.after(span);
            let Decided { decision, failure, .. } = self.standby.decide(&self.fleet.input(Trigger::Round));
            (decision, failure)
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_policy_that_does_well_decides() {
        let (decision, failure) = World::new().after(MINUTE);
        assert_eq!((decision.policy.as_str(), failure), ("moody", None));
    }

    #[test]
    fn where_it_panics_the_greedy_rule_decides_the_same_round_and_says_so() {
        let mut world = World::new();
        world.is_bad.store(true, Relaxed);
        let (decision, failure) = world.after(MINUTE);
        let until = world.fleet.snapshot.taken_at.after(REST);
        assert_eq!(failure, Some(Failure { what: "out of sorts".to_owned(), until }));
        assert_eq!(decision.policy, RiskGreedy::NAME);
        assert!(!decision.chosen.steps.is_empty(), "{decision:?}");
        assert!(
            decision.notes.last().unwrap().starts_with("moody has failed: risk-greedy decides until "),
            "{decision:?}"
        );
    }

    #[test]
    fn it_rests_for_half_an_hour_then_twice_as_long_and_is_trusted_again_when_it_does_well() {
        let mut world = World::new();
        world.is_bad.store(true, Relaxed);
        world.after(MINUTE);
        assert_eq!(world.after(29 * MINUTE).0.policy, RiskGreedy::NAME);
        assert_eq!(world.asked.load(Relaxed), 1, "nobody asks it while it rests");
        let (_, failure) = world.after(MINUTE);
        assert_eq!(failure.unwrap().until, world.fleet.snapshot.taken_at.after(2 * REST));
        world.is_bad.store(false, Relaxed);
        assert_eq!(world.after(60 * MINUTE).0.policy, "moody");
        world.after(REST_MAX);
        world.is_bad.store(true, Relaxed);
        let (_, failure) = world.after(MINUTE);
        assert_eq!(failure.unwrap().until, world.fleet.snapshot.taken_at.after(REST), "a day is forgiven");
    }
}
