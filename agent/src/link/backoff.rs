//! How long to wait before the scheduler is dialled again: longer each time, and never in step with the other agents.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// First wait: a scheduler that restarts is back within a second or two.
const FIRST: Duration = Duration::from_millis(500);
/// Longest wait: what an operator will stand looking at.
const LONGEST: Duration = Duration::from_secs(30);

/// Jittered exponential back-off.
#[derive(Debug)]
pub(super) struct Backoff {
    random: Pcg64,
    tries: u32,
}

impl Backoff {
    /// The waits that follow from `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Pcg64::seed_from_u64(seed), tries: 0 }
    }

    /// The next wait: between half and all of twice the one before.
    pub(super) fn next(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.tries.min(10)).min(LONGEST);
        self.tries = self.tries.saturating_add(1);
        whole.mul_f64(self.random.random_range(0.5..=1.0))
    }

    /// It worked: begin anew.
    pub(super) fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_stay_bounded_and_differ_from_agent_to_agent() {
        let waits = |seed| {
            let mut backoff = Backoff::new(seed);
            (0..12).map(|_| backoff.next()).collect::<Vec<_>>()
        };
        let one = waits(1);
        assert!(one[0] >= FIRST / 2 && one[0] <= FIRST);
        assert!(one.iter().all(|wait| *wait <= LONGEST) && one[11] >= LONGEST / 2);
        assert_eq!(one, waits(1));
        assert_ne!(one, waits(2));
    }
}
