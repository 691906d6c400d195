//! A wager from its order to what came of it, and when a policy is told to have done harm.

use std::time::Duration;

use super::*;
use crate::{
    decide::decide,
    decision::{Plan, Planned, Step, Trigger},
    fixture::{Fleet, host_id, vm_id},
    policy::RiskGreedy,
    proposal::{Motive, Move},
    snapshot::HostPower,
    units::Cores,
};

const MINUTE: Duration = Duration::from_secs(60);

/// Looks once a minute for so long; what is settled meanwhile.
fn watch(hindsight: &mut Hindsight, fleet: &mut Fleet, minutes: u32) -> Vec<Settled> {
    let mut settled = Vec::new();
    for _ in 0..minutes {
        fleet.snapshot.taken_at = fleet.snapshot.taken_at.after(MINUTE);
        settled.extend(hindsight.look(fleet.view()));
    }
    settled
}

/// A wager on vm 1 from a to b, with the gain that the objective expects, which has arrived.
fn moved(fleet: &mut Fleet, motive: Motive) -> (Hindsight, Decision) {
    let mut hindsight = Hindsight::default();
    hindsight.look(fleet.view());
    let mut decision = decide(&fleet.input(Trigger::Round), &mut crate::policy::LeaveAlone);
    let one = Move { vm: vm_id(1), from: host_id("a"), to: host_id("b") };
    let view = fleet.view();
    let objective = crate::objective::Objective::new(view.snapshot, view.tuning);
    let expected = objective.relocate(std::slice::from_ref(&one), view.load, |host| view.load.host(host).copied());
    let step = Step::Migrate(one);
    decision.chosen = Plan { steps: vec![Planned { step, motive, expected, part_of: None }] };
    hindsight.took(&decision, view);
    fleet.vm(1).host = host_id("b");
    (hindsight, decision)
}

fn overload() -> Motive {
    Motive::Overload { host: host_id("a"), load: 1.0, limit: 0.85 }
}

fn worth(settled: &Settled) -> (f64, f64) {
    (settled.came.worth(settled.price).get(), settled.expected.worth(settled.price).get())
}

#[test]
fn where_demand_comes_as_foreseen_what_came_is_what_was_expected() {
    let mut fleet = Fleet::new(&[("a", &[4.0; 5]), ("b", &[1.0])]);
    let (mut hindsight, decision) = moved(&mut fleet, overload());
    let settled = watch(&mut hindsight, &mut fleet, 60);
    assert_eq!(settled.len(), 1, "the horizon is an hour");
    assert_eq!((settled[0].decision, settled[0].moved), (decision.id, 1));
    let (came, expected) = worth(&settled[0]);
    assert!(came > 1e6 && (came / expected - 1.0).abs() < 1e-3, "{}", settled[0]);
    assert_eq!(watch(&mut hindsight, &mut fleet, 120), [], "once");
}

#[test]
fn where_demand_falls_away_a_relief_is_worth_nothing_but_its_copy() {
    let mut fleet = Fleet::new(&[("a", &[4.0; 5]), ("b", &[1.0])]);
    let (mut hindsight, _) = moved(&mut fleet, overload());
    for number in 1..=5 {
        fleet.vm(number).sample.as_mut().unwrap().cpu_used = crate::sample::Reading::Measured(Cores(0.1));
    }
    let settled = watch(&mut hindsight, &mut fleet, 60);
    assert!(settled[0].came.served < 0.0 && settled[0].expected.served > 3600.0, "{}", settled[0]);
}

#[test]
fn an_emptying_is_one_wager_and_gains_by_the_sleep_of_its_host() {
    let mut fleet = Fleet::new(&[("a", &[1.0, 1.0]), ("b", &[2.0; 3])]);
    let mut hindsight = Hindsight::default();
    hindsight.look(fleet.view());
    let mut settled = Vec::new();
    for _ in 0..70 {
        let decision = decide(&fleet.input(Trigger::Round), &mut RiskGreedy);
        hindsight.took(&decision, fleet.view());
        fleet.obey(&decision, MINUTE);
        settled.extend(hindsight.look(fleet.view()));
    }
    assert_eq!(fleet.snapshot.hosts[&host_id("a")].power, HostPower::Asleep);
    assert_eq!((settled.len(), settled[0].moved), (1, 2), "its moves were ordered in two rounds");
    let (came, expected) = worth(&settled[0]);
    assert!(expected > 1e5 && (0.8..1.1).contains(&(came / expected)), "{}", settled[0]);
}

#[test]
fn a_vm_that_goes_elsewhere_is_held_against_the_time_it_stayed_and_all_of_its_copy() {
    let mut fleet = Fleet::new(&[("a", &[4.0; 5]), ("b", &[1.0]), ("c", &[])]);
    let (mut hindsight, _) = moved(&mut fleet, overload());
    watch(&mut hindsight, &mut fleet, 15);
    for elsewhere in ["a", "c"] {
        fleet.vm(1).host = host_id(elsewhere);
        let settled = watch(&mut hindsight.clone(), &mut fleet.clone(), 1);
        let Settled { came, expected, .. } = &settled[0];
        assert!((expected.served / (4.0 * 3600.0) - 16.0 / 60.0).abs() < 0.01, "{expected:?}");
        assert!((came.served / (4.0 * 3600.0) - 15.0 / 60.0).abs() < 0.01, "{came:?}");
    }
}

#[test]
fn a_vm_that_never_arrives_and_what_need_not_gain_settle_nothing() {
    let mut fleet = Fleet::new(&[("a", &[4.0; 5]), ("b", &[1.0])]);
    let (mut hindsight, _) = moved(&mut fleet, overload());
    fleet.vm(1).host = host_id("a");
    assert_eq!(watch(&mut hindsight, &mut fleet, 61), []);
    let (mut hindsight, _) = moved(&mut fleet, Motive::Operator { who: "ada".into() });
    assert_eq!(watch(&mut hindsight, &mut fleet, 61), []);
}

#[test]
fn what_nobody_looked_at_is_not_judged() {
    let mut fleet = Fleet::new(&[("a", &[4.0; 5]), ("b", &[1.0])]);
    let (mut hindsight, _) = moved(&mut fleet, overload());
    fleet.snapshot.taken_at = fleet.snapshot.taken_at.after(BLIND + MINUTE);
    assert_eq!(hindsight.look(fleet.view()), []);
    assert_eq!(watch(&mut hindsight, &mut fleet, 61), []);
}

#[test]
fn a_settled_proposal_reads_as_a_person_would_tell_it() {
    let gain = |energy, served| Gain { energy: Joules(energy), served, distance: Joules::ZERO };
    let settled = Settled {
        decision: "1-2".parse().unwrap(),
        policy: "dqn".into(),
        is_relief: false,
        at: crate::fixture::NOW,
        moved: 2,
        price: 500.0,
        expected: gain(360_000.0, -40.0),
        came: gain(324_000.0, -20.0),
    };
    assert_eq!(
        settled.to_string(),
        "gained 314000 J (340000 J expected) by 2 vms: 0.0900 kWh (0.1000 expected) and -20.0 core-seconds served (-40.0 expected)"
    );
}

fn settled(came: f64, policy: &str, is_relief: bool) -> Settled {
    let gain = |energy| Gain { energy: Joules(energy), ..Gain::default() };
    let decision = "1-2".parse().unwrap();
    let (at, expected, came) = (crate::fixture::NOW, gain(100.0), gain(came));
    Settled { decision, policy: policy.into(), is_relief, at, moved: 1, price: 500.0, expected, came }
}

#[test]
fn a_policy_whose_proposals_do_harm_on_the_whole_is_told_and_only_that() {
    let now = crate::fixture::NOW;
    let verdict = |all: Vec<Settled>| {
        let mut track = Track::default();
        track.add(all);
        track.verdict("dqn", now)
    };
    let harm = || vec![settled(-10.0, "dqn", false); 20];
    assert_eq!(
        verdict(harm()).as_deref(),
        Some("20 proposals of the last day cost 200 J where they were to gain 2000 J")
    );
    assert_eq!(verdict(vec![settled(1.0, "dqn", false); 20]), None, "less than expected is no harm");
    assert_eq!(verdict(vec![settled(-10.0, "dqn", false); 19]), None, "nineteen say nothing yet");
    assert_eq!(verdict(vec![settled(-10.0, "other", false); 20]), None);
    assert_eq!(verdict(vec![settled(-10.0, "dqn", true); 20]), None, "relief is the same for all policies");
    let mut track = Track::default();
    track.add(harm());
    assert_eq!(track.verdict("dqn", now.after(Duration::from_secs(24 * 3600))), None, "a day is forgiven");
}
