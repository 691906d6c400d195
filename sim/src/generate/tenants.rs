//! Vms of one tenant that rise and fall together: a factor shared by the tenant and a part of each vm's own.
//!
//! With a share `rho` of the variance in the shared factor, two vms of a tenant correlate by `rho` and vms of different
//! tenants not at all: what adding up risk as if vms were independent gets wrong.

use std::time::Duration;

use super::{Draws, Grid, Wander, series};
use crate::trace::Series;

/// Vms whose demand is correlated within tenants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tenants {
    /// Vms of one tenant; vm `n` belongs to tenant `n / members`.
    pub members: u64,
    /// Mean CPU share.
    pub mean: f64,
    /// Deviation of the CPU share; what would fall below 0 or rise above 1 is cut off.
    pub deviation: f64,
    /// Correlation between two vms of a tenant, 0 to 1.
    pub correlation: f64,
    /// How long a rise or fall lasts.
    pub memory: Duration,
}

/// The demand of the vm with number `vm`.
pub fn tenants(spec: &Tenants, vm: u64, grid: Grid, seed: u64) -> Series {
    let tenant = vm / spec.members.max(1);
    let mut shared = Wander::new(Draws::new(seed, tenant).part(1), grid, spec.memory);
    let mut own = Wander::new(Draws::new(seed, vm).part(2), grid, spec.memory);
    let (of_shared, of_own) = (spec.correlation.sqrt(), (1.0 - spec.correlation).sqrt());
    let share = |slot| spec.mean + spec.deviation * (of_shared * shared.at(slot) + of_own * own.at(slot));
    series(format!("tenant-{tenant:03}-{vm:04}"), grid, (0.4, 0.7), (0..grid.slots).map(share))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::generate::testing::{correlation, cpu, mean};

    const LONG: Grid = Grid { slot: Duration::from_secs(60), slots: 4000, midnight_s: 0 };

    fn spec(correlation: f64) -> Tenants {
        Tenants { members: 4, mean: 0.4, deviation: 0.1, correlation, memory: Duration::from_secs(300) }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn vms_of_a_tenant_correlate_as_asked_and_strangers_do_not(rho in 0.0..1.0f64, seed in any::<u64>()) {
            let day = |vm| cpu(&tenants(&spec(rho), vm, LONG, seed));
            let (a, b, stranger) = (day(0), day(3), day(4));
            prop_assert!(a.iter().all(|share| (0.0..=1.0).contains(share)));
            prop_assert!((mean(&a) - 0.4).abs() < 0.03, "{}", mean(&a));
            prop_assert!((correlation(&a, &b) - rho).abs() < 0.15, "{} {rho}", correlation(&a, &b));
            prop_assert!(correlation(&a, &stranger).abs() < 0.2, "{}", correlation(&a, &stranger));
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_tenants() {
        assert_eq!(tenants(&spec(0.6), 5, LONG, 9), tenants(&spec(0.6), 5, LONG, 9));
    }
}
