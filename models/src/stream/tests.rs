//! Following vms: slots, gaps, restarts, clocks, and the same answers as over a recording.

use ballast_core::{
    history::{History, Observed, SLOTS_PER_DAY},
    sample::Reading,
    units::Cores,
};
use proptest::prelude::*;
use rand::SeedableRng as _;

use super::*;
use crate::{
    kernel::{cell::CellKind, threads::Threads},
    network::{Network, Sizes, Weights},
    offline,
    simple::Simple,
};

/// Monday 26 January 2026, 00:00 UTC.
const MONDAY: u64 = 1_769_385_600;

fn vm(number: u128) -> VmId {
    VmId(uuid::Uuid::from_u128(number))
}

fn network() -> Arc<dyn Predictor> {
    let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(3);
    let mut weights = Weights::zeros(Sizes { kind: CellKind::Lstm, hidden: 8, width: 8 }).unwrap();
    weights.change(|_, tensor| tensor.iter_mut().for_each(|weight| *weight = random.random_range(-0.2..0.2)));
    Arc::new(Network::new(&weights, Threads::One))
}

fn following(predictor: Arc<dyn Predictor>) -> Streaming {
    let mut streaming = Streaming::new(predictor, "test".into());
    streaming.resized(vm(1), 4, Bytes::from_mib(4096));
    streaming
}

fn at(slot: u64) -> Timestamp {
    Timestamp::from_secs(MONDAY + slot * 300)
}

/// A sample of so many cores at `seconds` into a slot.
fn sample(vm: VmId, slot: u64, seconds: u64, cores: f64) -> VmSample {
    VmSample {
        vm,
        taken_at: Timestamp::from_secs(MONDAY + slot * 300 + seconds),
        cpu_used: Reading::Measured(Cores(cores)),
        ..VmSample::default()
    }
}

/// Feeds one value per slot and works each off.
fn feed(streaming: &mut Streaming, slots: impl IntoIterator<Item = (u64, f64)>) {
    for (slot, cores) in slots {
        streaming.observe(&sample(vm(1), slot, 100, cores));
        streaming.advance(at(slot + 1));
    }
}

fn median(streaming: &Streaming) -> f64 {
    streaming.forecast(vm(1), at(0)).unwrap().cpu.steps[0].median()
}

#[test]
fn samples_of_a_slot_are_averaged_when_it_is_over() {
    let mut streaming = following(Arc::new(Simple::LAST_VALUE));
    streaming.observe(&sample(vm(1), 0, 10, 1.0));
    streaming.observe(&sample(vm(1), 0, 200, 3.0));
    streaming.advance(at(0));
    assert_eq!(streaming.forecast(vm(1), at(0)), None, "the slot goes on");
    streaming.advance(at(1));
    assert!((median(&streaming) - 2.0).abs() < 1e-3);
}

#[test]
fn a_vm_of_unknown_size_has_no_forecast() {
    let mut streaming = Streaming::new(Arc::new(Simple::LAST_VALUE), "test".into());
    feed(&mut streaming, [(0, 1.0), (1, 1.0)]);
    assert_eq!(streaming.forecast(vm(1), at(2)), None);
    streaming.resized(vm(1), 4, Bytes::from_mib(4096));
    streaming.advance(at(2));
    assert!(streaming.forecast(vm(1), at(2)).is_some(), "what it did was not lost");
}

#[test]
fn a_forgotten_vm_leaves_nothing() {
    let mut streaming = following(Arc::new(Simple::LAST_VALUE));
    feed(&mut streaming, [(0, 1.0)]);
    streaming.forget(vm(1));
    assert_eq!(streaming.state(vm(1)), None);
    assert!(streaming.vms.is_empty() && streaming.sizes.is_empty());
}

#[test]
fn what_is_said_live_is_what_is_said_of_the_recording() {
    let cores = |slot: u16| f32::from(slot % 7) / 2.0;
    let known: Vec<u16> = (0..400).filter(|slot| slot % 50 > 4).collect();
    let mut slots = vec![Observed::MISSING; 400];
    for slot in &known {
        slots[usize::from(*slot)] = Observed { cpu: cores(*slot) / 4.0, ..Observed::MISSING };
    }
    let first = slot_of(at(0));
    let shape = Size { vcpus: 4.0, memory: 4096.0 * f64::from(1 << 20) }.shape();
    // A vm begins with its first value.
    let history = History { name: "vm".into(), shape, first: first + 5, slots: slots.split_off(5) };
    let network = network();
    let said = offline::answers(&*network, &[history], &[vec![first + 399]]);
    let mut streaming = following(network);
    feed(&mut streaming, known.into_iter().map(|slot| (u64::from(slot), f64::from(cores(slot)))));
    assert_eq!(streaming.vms[&vm(1)].answer, Some(said[0].answer));
}

#[test]
fn a_restart_changes_no_forecast() {
    let value = |slot: u64| (slot, (slot % 5) as f64 / 2.0);
    let (mut whole, mut before) = (following(network()), following(network()));
    feed(&mut whole, (0..60).map(value));
    feed(&mut before, (0..30).map(value));
    let mut after = following(network());
    after.restore(vm(1), &before.state(vm(1)).unwrap()).unwrap();
    feed(&mut after, (30..60).map(value));
    assert_eq!(after.forecast(vm(1), at(60)), whole.forecast(vm(1), at(60)));
}

#[test]
fn a_state_that_does_not_fit_is_refused_with_the_reason() {
    let mut streaming = following(network());
    feed(&mut streaming, [(0, 1.0)]);
    let state = streaming.state(vm(1)).unwrap();
    let reason = |refused: Result<(), StateRefused>| refused.unwrap_err().reason;
    let mut other = Streaming::new(network(), "newer".into());
    assert_eq!(reason(other.restore(vm(1), &state)), "of test, newer is in use");
    assert!(reason(streaming.restore(vm(1), &state[..state.len() / 2])).contains("that are no state"));
    let mut memoryless = following(Arc::new(Simple::LAST_VALUE));
    assert_eq!(
        reason(memoryless.restore(vm(1), &state)),
        "16 numbers of state that make no sense together, 0 are needed"
    );
}

#[test]
fn after_a_week_of_silence_a_vm_begins_anew() {
    let mut streaming = following(network());
    feed(&mut streaming, (0..100).map(|slot| (slot, 3.0)));
    let week = u64::from(7 * SLOTS_PER_DAY);
    feed(&mut streaming, [(101 + week, 1.0)]);
    let mut anew = following(network());
    feed(&mut anew, [(101 + week, 1.0)]);
    assert_eq!(streaming.forecast(vm(1), at(0)), anew.forecast(vm(1), at(0)));
}

#[test]
fn a_clock_set_back_does_not_blind_it() {
    let mut streaming = following(Arc::new(Simple::LAST_VALUE));
    feed(&mut streaming, (500..510).map(|slot| (slot, 3.0)));
    feed(&mut streaming, (100..110).map(|slot| (slot, 1.0)));
    assert!((median(&streaming) - 1.0).abs() < 1e-3);
}

#[test]
fn what_a_vm_is_kept_in_is_bounded() {
    let mut streaming = following(network());
    feed(&mut streaming, (0..600).map(|slot| (slot, (slot % 13) as f64 / 4.0)));
    let early = streaming.state(vm(1)).unwrap().len();
    feed(&mut streaming, (600..2000).map(|slot| (slot, (slot % 13) as f64 / 4.0)));
    assert!(streaming.state(vm(1)).unwrap().len() <= early + 64);
}

proptest! {
    #[test]
    fn no_sample_makes_it_panic_or_answer_with_nonsense(
        samples in prop::collection::vec((0..3000u64, 0..300u64, prop_oneof![0.0..8.0f64, Just(f64::NAN), Just(1e300)]), 1..40),
    ) {
        let mut streaming = following(network());
        for (slot, seconds, cores) in samples {
            streaming.observe(&sample(vm(1), slot, seconds, cores));
            streaming.advance(at(slot));
        }
        streaming.advance(at(4000));
        if let Some(forecast) = streaming.forecast(vm(1), at(4000)) {
            for quantiles in forecast.cpu.steps.iter().chain([&forecast.cpu.max_60_min]) {
                prop_assert!(quantiles.0.is_sorted() && quantiles.0[0] >= 0.0 && quantiles.0[4].is_finite());
            }
        }
    }
}
