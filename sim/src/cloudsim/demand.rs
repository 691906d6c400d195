//! What the vms ask for: the recording between its values, and what hosts remember of it.

use super::facts::{BEGIN, EPOCHS, HOST_KINDS, PERIOD, VmKind, vm_kind_of};
use crate::trace::{SLOTS_PER_DAY, planetlab::Day};

/// The vms' demand at one moment, and its history at the moments of decision.
#[derive(Debug)]
pub(super) struct Demand {
    /// By vm.
    pub(super) kinds: Vec<VmKind>,
    /// The recording, slot by slot, in percent; the last slot is there twice, to end the last line at.
    percent: Vec<Vec<u8>>,
    /// Share of what it may use, by vm, now.
    pub(super) share: Vec<f64>,
    /// MIPS, by vm, now.
    pub(super) mips: Vec<f64>,
    /// Moments of decision that have been.
    epochs: usize,
    /// By vm: the shares at these moments.
    shares: Vec<[f64; EPOCHS]>,
    /// By kind of host and vm: the same as shares of what such a host can do.
    loads: [Vec<[f64; EPOCHS]>; HOST_KINDS.len()],
}

impl Demand {
    pub(super) fn new(day: &Day) -> Self {
        let vms = day.vms.len();
        let slot = |slot: usize| day.vms.iter().map(|vm| vm.percent[slot.min(SLOTS_PER_DAY - 1)]).collect();
        Self {
            kinds: (0..vms).map(|vm| vm_kind_of(vm, vms)).collect(),
            percent: (0..=SLOTS_PER_DAY).map(slot).collect(),
            share: vec![0.0; vms],
            mips: vec![0.0; vms],
            epochs: 0,
            shares: vec![[0.0; EPOCHS]; vms],
            loads: [vec![[0.0; EPOCHS]; vms], vec![[0.0; EPOCHS]; vms]],
        }
    }

    /// Moves to `time`, in seconds: straight lines between the recorded values.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A time of the day over the period: 0 to 288.
    pub(super) fn advance(&mut self, time: f64) {
        let slots = time / PERIOD;
        let first = slots.floor();
        let into = time - first * PERIOD;
        let (low, high) = (&self.percent[first as usize], &self.percent[slots.ceil() as usize]);
        let values = self.share.iter_mut().zip(&mut self.mips).zip(&self.kinds);
        for (((share, mips), kind), (low, high)) in values.zip(low.iter().zip(high)) {
            let (low, high) = (f64::from(*low) / 100.0, f64::from(*high) / 100.0);
            *share = low + (high - low) / PERIOD * into;
            *mips = *share * kind.mips;
        }
    }

    /// Remembers the present demand as that of a moment of decision.
    pub(super) fn remember(&mut self) {
        let at = self.epochs;
        for (history, share) in self.shares.iter_mut().zip(&self.share) {
            history[at] = *share;
        }
        for (histories, kind) in self.loads.iter_mut().zip(&HOST_KINDS) {
            for (history, mips) in histories.iter_mut().zip(&self.mips) {
                history[at] = *mips / kind.total;
            }
        }
        self.epochs += 1;
    }

    /// Moments of decision that are remembered, at most `window`.
    pub(super) fn remembered(&self, window: usize) -> usize {
        self.epochs.min(window)
    }

    /// The newest `window` shares of one vm, oldest first.
    pub(super) fn shares(&self, vm: usize, window: usize) -> &[f64] {
        &self.shares[vm][self.epochs.saturating_sub(window)..self.epochs]
    }

    /// The same, as shares of what a host of the kind of `host` can do.
    pub(super) fn loads(&self, vm: usize, host: usize, window: usize) -> &[f64] {
        &self.loads[host % HOST_KINDS.len()][vm][self.epochs.saturating_sub(window)..self.epochs]
    }
}

/// The moments of decision, in seconds.
pub(super) fn moments() -> impl Iterator<Item = f64> {
    std::iter::successors(Some(BEGIN + PERIOD), |time| Some(time + PERIOD)).take(EPOCHS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::planetlab::VmDay;

    fn day(first: [u8; 3]) -> Day {
        let mut percent = [50; SLOTS_PER_DAY];
        percent[..3].copy_from_slice(&first);
        Day { vms: vec![VmDay { name: "a".into(), percent }] }
    }

    #[test]
    fn demand_lies_on_lines_between_the_recorded_values() {
        let mut demand = Demand::new(&day([10, 20, 60]));
        demand.advance(450.0);
        assert!((demand.share[0] - 0.4).abs() < 1e-12);
        assert!((demand.mips[0] - 1000.0).abs() < 1e-9, "of 2500 MIPS");
        demand.advance(86_390.0);
        assert!((demand.share[0] - 0.5).abs() < 1e-12, "the last value lasts");
    }

    #[test]
    fn history_ends_at_the_newest_moment_of_decision() {
        let mut demand = Demand::new(&day([10, 20, 60]));
        for moment in moments().take(3) {
            demand.advance(moment);
            demand.remember();
        }
        let near = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3);
        assert!(near(demand.shares(0, 2), &[0.6, 0.5]), "{:?}", demand.shares(0, 2));
        assert!(near(demand.loads(0, 1, 30), &[0.2 * 2500.0 / 5320.0, 0.6 * 2500.0 / 5320.0, 0.5 * 2500.0 / 5320.0]));
        assert_eq!((demand.remembered(30), demand.remembered(2)), (3, 2));
    }

    #[test]
    fn decisions_are_made_every_five_minutes_of_the_day() {
        let all: Vec<f64> = moments().collect();
        assert_eq!((all.len(), all[0]), (287, 300.1));
        assert!((all[286] - 86_100.1).abs() < 1e-6);
    }
}
