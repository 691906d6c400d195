//! Vms that come and go as in a public cloud: requests at random, in batches of heavy-tailed size, with lifetimes of two
//! kinds.
//!
//! The defaults are fitted to Azure's trace of 2017 (259,159 vms over three and a half days; `sim/traces/README.md`): batch
//! sizes follow a power law of exponent 1.13 up to 600 (mean 4.9; 58 % of the batches are a single vm), and lifetimes a mixture
//! of two log-normals, fitted by maximum likelihood to the published bins with the censored ones: 52 % of median 1137 s and
//! spread 0.52 (jobs of minutes), 48 % of median 9362 s and spread 2.04 (the long tail). At 10 minutes, 1, 6 and 12 hours
//! the fit has 10, 67, 84 and 89 % ended, the trace 12, 68, 84 and 90 %.

use std::{f64::consts::TAU, time::Duration};

use ballast_core::units::{Bytes, seconds};

use super::Draws;
use crate::trace::azure::Arrival;

/// Exponent of the batch sizes, and the largest batch.
const BATCH_ALPHA: f64 = 1.13;
const BATCH_MAX: f64 = 600.0;

/// Share, median in seconds and spread of the logarithm of short lives; and of long ones.
const SHORT: (f64, f64, f64) = (0.519, 1137.0, 0.520);
const LONG: (f64, f64) = (9362.0, 2.044);

/// Sizes of the vms and the share of each in the trace; the rest (0.1 %) is left out.
const SIZES: [(f64, u32, f64); 6] =
    [(0.6043, 1, 1.75), (0.1854, 2, 3.5), (0.0993, 4, 7.0), (0.0901, 8, 14.0), (0.0159, 1, 0.75), (0.0055, 8, 56.0)];

/// How vms come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArrivalSpec {
    /// Batches per hour, on average over a day; the trace has 638.
    pub batches_per_h: f64,
    /// Largest batch, at most 600: small fleets do not get the largest requests of a cloud.
    pub batch_max: u32,
    /// Swing of the rate over the day: 0.5 has half more at the busiest hour (14:00) and half less at the quietest.
    pub swing: f64,
    /// Seconds after midnight at which they begin to come.
    pub midnight_s: u32,
}

/// The vms that arrive within `span`, in order of arrival, with exact lifetimes.
pub fn arrivals(spec: &ArrivalSpec, span: Duration, seed: u64) -> Vec<Arrival> {
    let draws = Draws::new(seed, 0);
    let busiest = spec.batches_per_h * (1.0 + spec.swing) / 3600.0;
    let mut all = Vec::new();
    let mut at = 0.0;
    // Batches come as at the busiest hour, and only the share that the hour has stays (Lewis and Shedler 1979).
    for number in 0.. {
        at += if busiest > 0.0 { draws.exponential(number, 1.0 / busiest) } else { f64::INFINITY };
        if at >= span.as_secs_f64() {
            break;
        }
        let hour = (f64::from(spec.midnight_s) + at) / 3600.0;
        let share = (1.0 + spec.swing * (TAU * (hour - 14.0) / 24.0).cos()) / (1.0 + spec.swing);
        if draws.part(1).unit(number) < share {
            batch(spec, Draws::new(seed, number + 1), number, seconds(at), &mut all);
        }
    }
    all
}

/// A batch: vms of one size, each with a life of its own.
fn batch(spec: &ArrivalSpec, draws: Draws, number: u64, at: Duration, all: &mut Vec<Arrival>) {
    let most = f64::from(spec.batch_max).clamp(1.0, BATCH_MAX);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // At least 1, at most 600.
    let members = draws.pareto(0, 1.0, BATCH_ALPHA, most) as u64;
    let (vcpus, memory_gib) = size(draws.unit(1));
    for member in 0..members {
        let life = lifetime(&draws.part(2), member);
        all.push(Arrival {
            at,
            batch: usize::try_from(number).unwrap_or(usize::MAX),
            vcpus,
            memory: Bytes::from_f64(memory_gib * 1024.0 * 1024.0 * 1024.0),
            lifetime: (life, Some(life)),
        });
    }
}

/// The size at a position from 0 to 1.
fn size(mut position: f64) -> (u32, f64) {
    for (share, vcpus, memory_gib) in SIZES {
        if position < share {
            return (vcpus, memory_gib);
        }
        position -= share;
    }
    (SIZES[0].1, SIZES[0].2)
}

/// A lifetime of at least ten seconds.
pub(crate) fn lifetime(draws: &Draws, member: u64) -> Duration {
    let (share, median, spread) = SHORT;
    let (median, spread) = if draws.unit(member) < share { (median, spread) } else { LONG };
    seconds(draws.part(1).log_normal(member, median, spread).max(10.0))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::trace;

    const DAY: Duration = Duration::from_secs(86_400);

    fn spec(batches_per_h: f64) -> ArrivalSpec {
        ArrivalSpec { batches_per_h, batch_max: 600, swing: 0.4, midnight_s: 0 }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn vms_come_in_order_at_the_rate_asked(batches_per_h in 20.0..200.0f64, seed in any::<u64>()) {
            let all = arrivals(&spec(batches_per_h), DAY, seed);
            prop_assert!(all.windows(2).all(|pair| pair[0].at <= pair[1].at));
            prop_assert!(all.iter().all(|one| one.at < DAY && one.lifetime.1 == Some(one.lifetime.0)));
            let mut batches: Vec<usize> = all.iter().map(|one| one.batch).collect();
            batches.dedup();
            let rate = ballast_core::units::count(batches.len()) / 24.0;
            prop_assert!((rate / batches_per_h - 1.0).abs() < 0.25, "{rate} {batches_per_h}");
        }
    }

    /// Share of the lives that end within `limit` seconds.
    fn ended(lives: &[f64], limit: f64) -> f64 {
        ballast_core::units::count(lives.iter().filter(|life| **life < limit).count())
            / ballast_core::units::count(lives.len())
    }

    #[test]
    fn lifetimes_end_as_the_trace_says() {
        let draws = Draws::new(11, 5);
        let lives: Vec<f64> = (0..40_000).map(|n| lifetime(&draws, n).as_secs_f64()).collect();
        // Shares of the whole trace, counted: `sim/traces/README.md`.
        for (limit, share) in [(600.0, 0.115), (3600.0, 0.683), (21_600.0, 0.840), (43_200.0, 0.903)] {
            assert!((ended(&lives, limit) - share).abs() < 0.03, "{limit} {}", ended(&lives, limit));
        }
    }

    #[test]
    fn batches_are_as_large_as_those_of_the_shipped_cut() {
        let sizes = |all: &[Arrival]| {
            let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
            all.iter().for_each(|one| *sizes.entry(one.batch).or_default() += 1);
            let single = sizes.values().filter(|size| **size == 1).count();
            (ballast_core::units::count(single) / ballast_core::units::count(sizes.len()), sizes.len())
        };
        let (made, _) = sizes(&arrivals(&spec(638.0), DAY, 1));
        let (recorded, batches) = sizes(&trace::azure().unwrap());
        assert!(batches > 500 && (made - recorded).abs() < 0.08, "{made} {recorded} {batches}");
    }

    #[test]
    fn the_same_seed_brings_the_same_vms() {
        assert_eq!(arrivals(&spec(50.0), DAY, 3), arrivals(&spec(50.0), DAY, 3));
        assert_ne!(arrivals(&spec(50.0), DAY, 3), arrivals(&spec(50.0), DAY, 4));
    }
}
