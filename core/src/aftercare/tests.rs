//! Who is moved back and who is not.

use proptest::prelude::*;

use super::*;
use crate::{
    fixture::{NOW, host_id, vm_id},
    id::{BootId, Seq},
};

fn sample(number: u32, steal: Option<f64>) -> VmSample {
    let steal = steal.map_or(Reading::Missing, |share| Reading::Measured(Ratio(share)));
    VmSample { vm: vm_id(number), state: VmState::Running, steal, ..VmSample::default() }
}

/// A batch of host `b`, on which vm 1 waits for `own` of its time and vm 2 for `other`.
fn batch(own: Option<f64>, other: Option<f64>, pressure: f64) -> Batch {
    let mut host = HostSample::default();
    host.pressure.cpu_some = Reading::Measured(Ratio(pressure));
    Batch {
        host: host_id("b"),
        boot: BootId::default(),
        seq: Seq(1),
        taken_at: NOW,
        sample: host,
        vms: vec![sample(1, own), sample(2, other)],
    }
}

fn moved(back: bool) -> Moved {
    let before = Faring { vm: Some(0.02), neighbours: Some(0.05), host: Some(0.1) };
    Moved { vm: vm_id(1), from: host_id("a"), to: host_id("b"), at: NOW, before, back }
}

fn at(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

/// What a fleet that hears `batch` every ten seconds for `seconds` says of vm 1.
fn after(seconds: u64, batch: &Batch) -> Option<Care> {
    let mut memory = Memory::default();
    memory.moved(&moved(false));
    (0..=seconds / 10).for_each(|beat| memory.batch(batch, at(beat * 10)));
    memory.at(at(seconds), |_| Some(host_id("b"))).remove(&vm_id(1))
}

fn verdict(seconds: u64, batch: &Batch) -> Option<Worse> {
    match after(seconds, batch) {
        Some(Care::Watched { worse, .. }) => worse,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_vm_that_waits_much_longer_than_before_is_worse_off_after_two_minutes_and_not_sooner() {
    let slow = batch(Some(0.4), Some(0.05), 0.5);
    assert_eq!(verdict(140, &slow), None);
    let worse = verdict(180, &slow).unwrap();
    assert_eq!((worse.who, worse.expected), (Who::Vm, 0.02));
    assert!((worse.found - 0.4).abs() < 1e-9);
}

#[test]
fn those_it_came_to_count_as_much_as_itself() {
    assert_eq!(verdict(180, &batch(Some(0.02), Some(0.3), 0.5)).map(|worse| worse.who), Some(Who::Neighbours));
}

#[test]
fn what_lies_within_the_bound_is_as_expected() {
    assert_eq!(verdict(600, &batch(Some(0.11), Some(0.14), 0.9)), None);
}

#[test]
fn pressure_of_the_host_counts_where_no_vm_tells() {
    assert_eq!(verdict(180, &batch(None, None, 0.6)).map(|worse| worse.who), Some(Who::Host));
    assert_eq!(verdict(180, &batch(None, Some(0.05), 0.6)), None, "a vm tells");
}

#[test]
fn a_slow_moment_is_no_reason() {
    let mut memory = Memory::default();
    memory.moved(&moved(false));
    for beat in 0..=30 {
        let own = if beat == 20 { 0.9 } else { 0.02 };
        memory.batch(&batch(Some(own), Some(0.05), 0.1), at(beat * 10));
        let care = memory.at(at(beat * 10), |_| Some(host_id("b"))).remove(&vm_id(1));
        assert!(matches!(care, Some(Care::Watched { worse: None, .. })), "{beat}: {care:?}");
    }
}

#[test]
fn a_watch_ends_and_so_does_one_of_a_vm_that_is_elsewhere() {
    let slow = batch(Some(0.4), Some(0.05), 0.5);
    assert_eq!(after(WATCHED_FOR.as_secs(), &slow), None);
    let mut memory = Memory::default();
    memory.moved(&moved(false));
    assert!(memory.at(NOW, |_| Some(host_id("c"))).is_empty());
}

#[test]
fn a_vm_that_was_moved_back_is_not_watched_again_until_it_has_rested() {
    let mut memory = Memory::default();
    memory.moved(&moved(false));
    memory.moved(&moved(true));
    memory.moved(&moved(false));
    let slow = batch(Some(0.9), Some(0.9), 0.9);
    (0..30).for_each(|beat| memory.batch(&slow, at(beat * 10)));
    let until = NOW.after(LEFT_ALONE_FOR);
    assert_eq!(memory.at(at(300), |_| Some(host_id("b"))), [(vm_id(1), Care::LeftAlone { until })].into());
    assert!(memory.at(until, |_| Some(host_id("b"))).is_empty());
}

fn faring() -> impl Strategy<Value = Faring> {
    let share = || proptest::option::of(0.0..=1.0f64);
    (share(), share(), share()).prop_map(|(vm, neighbours, host)| Faring { vm, neighbours, host })
}

proptest! {
    #[test]
    fn nobody_is_worse_off_who_fares_as_before(before in faring()) {
        prop_assert_eq!(worse(&before, &before), None);
    }

    #[test]
    fn whoever_is_called_worse_off_is_so_by_more_than_the_bound(before in faring(), found in faring()) {
        if let Some(one) = worse(&before, &found) {
            prop_assert!(one.found > one.expected + BOUND);
            let told = [found.vm, found.neighbours, found.host].contains(&Some(one.found));
            prop_assert!(told, "{:?} is nobody's figure", one);
        }
    }

    #[test]
    fn faring_still_worse_never_makes_it_look_better(before in faring(), found in faring(), more in 0.0..1.0f64) {
        if worse(&before, &found).is_some() {
            let raise = |share: Option<f64>| share.map(|share| (share + more).min(1.0));
            let still = Faring { vm: raise(found.vm), neighbours: raise(found.neighbours), host: raise(found.host) };
            prop_assert!(worse(&before, &still).is_some());
        }
    }
}
