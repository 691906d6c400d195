//! How a vm writes its memory, from two measurements of how much of it differs after a short and after a long time.
//!
//! What differs after `T` is `W (1 - e^(-D T / W))` of a working set `W` written at rate `D`: the model's own law, so that
//! two measurements give both. One alone gives neither: a vm that writes one buffer over and over looks, measured for eight
//! seconds, eight times calmer than it is.

use std::time::Duration;

use crate::{
    sample::VmSample,
    units::{Bytes, BytesPerSec},
};

/// Halvings of the interval in which the share that a short time leaves unwritten lies: well below a part in a million.
const HALVINGS: u32 = 40;

/// Least share of a working set that a short measurement is taken to leave unwritten: how often everything was written by
/// then cannot be told.
const UNWRITTEN_MIN: f64 = 0.01;

/// Memory that was found changed after a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Changed {
    /// After how long.
    pub after: Duration,
    /// How much differed.
    pub amount: Bytes,
}

/// How a vm writes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Writes {
    /// How fast; `None` where nobody knows.
    pub rate: Option<BytesPerSec>,
    /// What it writes again and again; `None` where nobody knows.
    pub set: Option<Bytes>,
}

impl Writes {
    /// As a sample says that the vm was last found to write.
    pub fn of(sample: &VmSample) -> Self {
        Self { rate: sample.dirty_rate.value(), set: sample.working_set.value() }
    }

    /// What two measurements say, the `short` one over less time than the `long` one. Where the long one shows no bound the
    /// set is not known, for it is larger than what was seen.
    pub fn measured(short: Changed, long: Changed) -> Self {
        let (first, second) = (short.amount.as_f64(), long.amount.as_f64());
        let (brief, times) = (short.after.as_secs_f64(), long.after.as_secs_f64() / short.after.as_secs_f64());
        if brief <= 0.0 || times <= 1.0 || !times.is_finite() {
            return Self::default();
        }
        let growth = if first > 0.0 { second / first } else { f64::INFINITY };
        if growth >= times {
            let (amount, over) = (first.max(second / times), brief);
            return Self { rate: Some(BytesPerSec(amount / over)), set: None };
        }
        let unwritten = unwritten(growth, times);
        let set = first.max(second).max(first / (1.0 - unwritten));
        Self { rate: Some(BytesPerSec(-set * unwritten.ln() / brief)), set: Some(Bytes::from_f64(set)) }
    }
}

/// The share x of a set that is not written after the short time, where after `times` of it `growth` times as much is
/// written: `(1 - x^times) / (1 - x) = growth`, which rises with x.
fn unwritten(growth: f64, times: f64) -> f64 {
    let (mut low, mut high) = (UNWRITTEN_MIN, 1.0 - 1e-9);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        let reached = (1.0 - middle.powf(times)) / (1.0 - middle);
        if reached < growth { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn changed(seconds: u64, amount: f64) -> Changed {
        Changed { after: Duration::from_secs(seconds), amount: Bytes::from_f64(amount) }
    }

    /// What is measured of a vm that writes a set of `set` bytes at `rate`.
    fn of(rate: f64, set: f64) -> Writes {
        let after = |seconds: f64| set * (1.0 - (-rate * seconds / set).exp());
        Writes::measured(changed(1, after(1.0)), changed(8, after(8.0)))
    }

    #[test]
    fn a_vm_that_writes_nothing_has_a_rate_of_nothing() {
        let still = Writes::measured(changed(1, 0.0), changed(8, 0.0));
        assert_eq!((still.rate, still.set), (Some(BytesPerSec(0.0)), None));
    }

    #[test]
    fn a_buffer_that_is_written_over_and_over_is_a_small_set() {
        let set = Bytes::from_mib(64).as_f64();
        let writes = Writes::measured(changed(1, set), changed(8, set));
        assert!((writes.set.unwrap().as_f64() / set - 1.0).abs() < 0.02, "{writes:?}");
        assert!(writes.rate.unwrap().get() > 4.0 * set, "{writes:?}");
    }

    #[test]
    fn where_no_bound_shows_the_set_is_not_known() {
        let writes = Writes::measured(changed(1, 1e7), changed(8, 8e7));
        assert_eq!((writes.rate, writes.set), (Some(BytesPerSec(1e7)), None));
    }

    #[test]
    fn two_measurements_over_the_same_time_say_nothing() {
        assert_eq!(Writes::measured(changed(1, 1e7), changed(1, 1e7)), Writes::default());
        assert_eq!(Writes::measured(changed(0, 1e7), changed(8, 1e7)), Writes::default());
    }

    proptest! {
        #[test]
        fn rate_and_set_are_found_again(mib in 1.0..4000.0f64, seconds in 0.3..60.0f64) {
            let set = mib * 1024.0 * 1024.0;
            let rate = set / seconds;
            let writes = of(rate, set);
            let near = |found: f64, real: f64| (found / real - 1.0).abs() < 0.02;
            prop_assert!(near(writes.rate.unwrap().get(), rate), "{writes:?} of {rate}");
            prop_assert!(near(writes.set.unwrap().as_f64(), set), "{writes:?} of {set}");
        }
    }
}
