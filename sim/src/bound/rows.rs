//! What vms that cannot be cut ask of whole hosts: rows for the cover, by the dual-feasible functions of Martello and Toth.
//!
//! A dual-feasible function gives every size a weight so that no set of vms that fits into a host weighs more than one; the
//! weights of all vms together then say how many hosts they need at least. For a threshold `a` of at most a half
//! (Martello and Toth, "Lower bounds and reduction procedures for the bin packing problem", 1990, bound `L2`; as a function in
//! Fekete and Schepers 2001):
//!
//! ```text
//! u_a(s) = 1 where s > 1 - a      whatever is not small leaves no room beside it
//!          0 where s < a
//!          s otherwise
//! ```
//!
//! Hosts differ here: sizes are shares of the largest, and a host that is the share `b` of the largest can hold a weight of
//! one where `b > 1 - a`, of none where `b < a`, and of `b` otherwise. Any threshold gives a valid row, so a coarse grid of
//! them loses some tightness and nothing else.

use super::cover::Row;

/// Thresholds, in sixteenths.
const THRESHOLDS: u32 = 8;

/// Sizes this near to a threshold count as between the thresholds, where weight is size: rounding must not make two halves
/// count as two wholes.
const NEAR: f64 = 1e-9;

/// Rows for vms of these sizes on hosts of these capacities, sizes and capacities in one unit; none where no vm is larger
/// than half the largest host, for then the thresholds say no more than the sum.
pub(super) fn rows(sizes: impl Iterator<Item = f64> + Clone, capacities: &[f64]) -> Vec<Row> {
    let largest = capacities.iter().copied().fold(0.0, f64::max);
    if largest <= 0.0 || !sizes.clone().any(|size| size > largest / 2.0) {
        return Vec::new();
    }
    let row = |sixteenths: u32| {
        let threshold = f64::from(sixteenths) / 16.0;
        Row {
            supply: capacities.iter().map(|capacity| weight_held(capacity / largest, threshold)).collect(),
            needed: sizes.clone().map(|size| weight(size / largest, threshold)).sum(),
        }
    };
    (1..=THRESHOLDS).map(row).collect()
}

/// The weight of a vm.
fn weight(size: f64, threshold: f64) -> f64 {
    if size > 1.0 - threshold + NEAR {
        1.0
    } else if size < threshold - NEAR {
        0.0
    } else {
        size
    }
}

/// The most weight that a host can hold.
fn weight_held(capacity: f64, threshold: f64) -> f64 {
    if capacity > 1.0 - threshold - NEAR {
        1.0
    } else if capacity < threshold - NEAR {
        0.0
    } else {
        capacity
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The property all rests on: what fits into a host weighs no more than the host holds.
        #[test]
        fn what_fits_into_a_host_weighs_no_more_than_it_holds(
            parts in prop::collection::vec(0.01..1.0f64, 1..6), capacity in 0.05..1.0f64, fill in 0.1..1.0f64,
            sixteenths in 1..=THRESHOLDS,
        ) {
            let sum: f64 = parts.iter().sum();
            let threshold = f64::from(sixteenths) / 16.0;
            let weights: f64 = parts.iter().map(|part| weight(part / sum * capacity * fill, threshold)).sum();
            prop_assert!(weights <= weight_held(capacity, threshold) + 1e-9);
        }
    }

    #[test]
    fn three_vms_of_more_than_half_a_host_need_three_hosts() {
        let rows = rows([0.6, 0.6, 0.6].into_iter(), &[1.0]);
        assert!(rows.iter().any(|row| row.needed == 3.0 && row.supply == [1.0]), "{rows:?}");
        assert!(super::rows([0.5, 0.5, 0.5].into_iter(), &[1.0]).is_empty());
    }
}
