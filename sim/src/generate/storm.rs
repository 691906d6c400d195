//! Demand that changes within seconds: tenants that wander, short spikes, and storms that hit many tenants at once.
//!
//! Recordings of five minutes hide both: a spike of twenty seconds that is best left alone, and a burst across tenants that
//! overloads hosts which looked safe because their vms had never risen together before.

use std::time::Duration;

use super::{Draws, Grid, Tenants, Wander, series};
use crate::trace::Series;

/// One storm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Storm {
    /// When it begins, from the start.
    pub at: Duration,
    /// How long it lasts.
    pub length: Duration,
    /// Share of the tenants it hits.
    pub share: f64,
    /// CPU share that the vms it hits rise to.
    pub level: f64,
    /// Time over which the vms rise, one sooner than another.
    pub spread: Duration,
}

/// Demand within seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct StormSpec {
    /// What the vms want in fair weather.
    pub calm: Tenants,
    /// Spikes of a single vm per hour.
    pub spikes_per_h: f64,
    /// Mean length of a spike.
    pub spike: Duration,
    /// CPU share in a spike.
    pub spike_level: f64,
    /// The storms.
    pub storms: Vec<Storm>,
}

/// The demand of the vm with number `vm`.
pub fn storm(spec: &StormSpec, vm: u64, grid: Grid, seed: u64) -> Series {
    let tenant = vm / spec.calm.members.max(1);
    let draws = Draws::new(seed, vm);
    let calm = &spec.calm;
    let mut shared = Wander::new(Draws::new(seed, tenant).part(1), grid, calm.memory);
    let mut own = Wander::new(draws.part(2), grid, calm.memory);
    let mut levels = spikes(spec, &draws.part(3), grid);
    for (number, storm) in spec.storms.iter().enumerate() {
        if Draws::new(seed, tenant).part(4).unit(number as u64) < storm.share {
            let late = draws.part(5).unit(number as u64);
            raise(&mut levels, grid, storm.at + storm.spread.mul_f64(late), storm.length, storm.level);
        }
    }
    let (of_shared, of_own) = (calm.correlation.sqrt(), (1.0 - calm.correlation).sqrt());
    let share = |slot: usize| {
        let fair = calm.mean + calm.deviation * (of_shared * shared.at(slot) + of_own * own.at(slot));
        fair.max(levels[slot])
    };
    series(format!("storm-{tenant:03}-{vm:04}"), grid, (0.4, 0.7), (0..grid.slots).map(share))
}

/// The least level of every slot that spikes ask for: they come at random, as many in every hour.
fn spikes(spec: &StormSpec, draws: &Draws, grid: Grid) -> Vec<f64> {
    let mut levels = vec![0.0; grid.slots];
    if spec.spikes_per_h <= 0.0 {
        return levels;
    }
    let span = grid.slot.as_secs_f64() * ballast_core::units::count(grid.slots);
    let mut at = 0.0;
    for number in 0.. {
        at += draws.exponential(2 * number, 3600.0 / spec.spikes_per_h);
        if at >= span {
            break;
        }
        let length = draws.exponential(2 * number + 1, spec.spike.as_secs_f64());
        let (at, length) = (ballast_core::units::seconds(at), ballast_core::units::seconds(length));
        raise(&mut levels, grid, at, length, spec.spike_level);
    }
    levels
}

/// Raises the slots from `at` on for `length`, at least one of them.
fn raise(levels: &mut [f64], grid: Grid, at: Duration, length: Duration, level: f64) {
    let slot =
        |moment: Duration| usize::try_from(moment.as_nanos() / grid.slot.as_nanos().max(1)).unwrap_or(usize::MAX);
    let first = slot(at).min(levels.len());
    let end = slot(at + length).saturating_add(1).min(levels.len());
    levels[first..end.max(first)].iter_mut().for_each(|least| *least = least.max(level));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::generate::testing::{cpu, mean};

    const HOUR: Grid = Grid { slot: Duration::from_secs(10), slots: 361, midnight_s: 0 };

    fn spec(share: f64) -> StormSpec {
        StormSpec {
            calm: Tenants {
                members: 4,
                mean: 0.2,
                deviation: 0.04,
                correlation: 0.3,
                memory: Duration::from_secs(120),
            },
            spikes_per_h: 2.0,
            spike: Duration::from_secs(20),
            spike_level: 0.8,
            storms: vec![Storm {
                at: Duration::from_secs(1800),
                length: Duration::from_secs(300),
                share,
                level: 0.9,
                spread: Duration::from_secs(30),
            }],
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn a_storm_lifts_its_share_of_the_tenants_together(share in 0.2..1.0f64, seed in any::<u64>()) {
            let spec = spec(share);
            let all: Vec<Vec<f64>> = (0..400).map(|vm| cpu(&storm(&spec, vm, HOUR, seed))).collect();
            prop_assert!(all.iter().flatten().all(|level| (0.0..=1.0).contains(level)));
            let hit = |vm: &Vec<f64>| vm[184..208].iter().all(|level| *level > 0.89);
            let lifted = ballast_core::units::count(all.iter().filter(|vm| hit(vm)).count()) / 400.0;
            prop_assert!((lifted - share).abs() < 0.17, "{lifted} {share}");
            prop_assert!(all.chunks(4).all(|tenant| tenant.iter().all(hit) || !tenant.iter().any(hit)));
        }
    }

    #[test]
    fn spikes_are_short_and_as_many_as_asked() {
        let fair = StormSpec { storms: Vec::new(), ..spec(0.0) };
        let all: Vec<f64> = (0..300).flat_map(|vm| cpu(&storm(&fair, vm, HOUR, 4))).collect();
        let spiking = mean(&all.iter().map(|level| f64::from(u8::from(*level > 0.7))).collect::<Vec<_>>());
        // Two spikes of twenty seconds an hour, each rounded up by a slot of ten: 60 of 3600 seconds.
        assert!((0.012..0.022).contains(&spiking), "{spiking}");
    }

    #[test]
    fn the_same_seed_gives_the_same_storm() {
        assert_eq!(storm(&spec(0.5), 7, HOUR, 2), storm(&spec(0.5), 7, HOUR, 2));
    }
}
