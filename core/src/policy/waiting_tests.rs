//! Where waiting decides: whether room is kept awake, and made, for vms that may come.

use std::{sync::Arc, time::Duration};

use crate::{
    decide::decide,
    decision::{Decision, Step, Trigger},
    fixture::{Fleet, NOW, host_id},
    newcomers::Newcomers,
    policy::RiskGreedy,
    proposal::Motive,
    snapshot::HostPower,
    units::Bytes,
};

/// A full host and an empty one.
const FULL: &[(&str, &[f64])] = &[("a", &[0.5; 15]), ("b", &[])];

/// These hosts, and a day in which every hour six vms of 8 GiB came at once; waiting costs `price`.
fn fleet(hosts: &[(&str, &[f64])], price: f64) -> Fleet {
    let mut fleet = Fleet::new(hosts);
    fleet.tuning.waiting_joules_per_second = price;
    let mut newcomers = Newcomers::default();
    let begin = NOW.before(Duration::from_secs(24 * 3600));
    newcomers.watch(begin);
    for hour in 0..24 {
        let at = begin.after(Duration::from_secs(hour * 3600 + 60));
        (0..6).for_each(|_| newcomers.came(Bytes::from_gib(8), at));
    }
    fleet.snapshot.newcomers = Arc::new(newcomers);
    fleet
}

fn decided(fleet: &Fleet) -> Decision {
    decide(&fleet.input(Trigger::Round), &mut RiskGreedy)
}

fn step(decision: &Decision) -> Option<&Step> {
    decision.chosen.steps.first().map(|planned| &planned.step)
}

#[test]
fn an_empty_host_sleeps_where_waiting_has_no_price_and_stays_awake_where_it_has_one() {
    assert_eq!(step(&decided(&fleet(FULL, 0.0))), Some(&Step::Sleep { host: host_id("b") }));
    let kept = decided(&fleet(FULL, 10_000.0));
    assert_eq!(step(&kept), None);
    assert!(kept.notes.iter().any(|note| note == "b is empty, but vms that come would wait for it: it stays awake"));
    let cheap = decided(&fleet(FULL, 1.0));
    assert_eq!(step(&cheap), Some(&Step::Sleep { host: host_id("b") }), "it is not worth its energy");
    assert!(cheap.chosen.steps[0].expected.waiting_if_done > cheap.chosen.steps[0].expected.waiting_if_left);
}

#[test]
fn a_host_is_woken_for_vms_that_come_and_the_decision_says_what_their_waiting_is_worth() {
    let mut fleet = fleet(FULL, 10_000.0);
    fleet.host("b").power = HostPower::Asleep;
    let decision = decided(&fleet);
    assert!(matches!(step(&decision), Some(Step::Wake { .. })), "{decision:?}");
    assert!(matches!(decision.chosen.steps[0].motive, Motive::Waiting { seconds } if seconds > 60.0), "{decision:?}");
    let text = crate::explain::explain(&decision, &|_| None);
    assert!(
        text.contains("because vms that come would wait ") && text.contains("what new vms wait is worth 0 J if done")
    );
    fleet.tuning.waiting_joules_per_second = 0.0;
    assert_eq!(step(&decided(&fleet)), None);
}

#[test]
fn a_host_is_not_emptied_where_the_room_that_goes_with_it_is_worth_more() {
    let emptied = |price: f64| {
        let decision = decided(&fleet(&[("a", &[0.5; 8]), ("b", &[0.5, 0.5])], price));
        decision.chosen.steps.iter().any(|planned| matches!(planned.step, Step::Migrate(_)))
    };
    assert!(emptied(0.0) && emptied(1.0) && !emptied(10_000.0));
}
