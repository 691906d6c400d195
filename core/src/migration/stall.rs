//! Tells a copy that converges from one that does not.
//!
//! Called by the life cycle with every reading of a copy. What is left falls within each pass over memory and jumps up
//! when the next pass begins, so only the beginnings of passes can be compared: a copy converges when they get lower.
//! Within a long pass the falling rest counts as progress too. The idea of a low mark that must not grow old is
//! KubeVirt's stall detector (VEP 248).

use std::time::Duration;

use crate::{
    command::Progress,
    units::{Bytes, Timestamp},
};

/// A new low must lie this much below the one before, else noise would pass for progress (KubeVirt's figure).
const MARGIN: f64 = 0.04;

/// Watches the amount left to copy.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StallDetector {
    window: Duration,
    gained_at: Timestamp,
    lowest_start: Option<Bytes>,
    pass: u64,
    pass_began_at: Timestamp,
    lowest_in_pass: Option<Bytes>,
}

impl StallDetector {
    /// A detector for a copy that begins at `now` and may go without progress for `window`.
    pub(super) fn new(window: Duration, now: Timestamp) -> Self {
        Self { window, gained_at: now, lowest_start: None, pass: 0, pass_began_at: now, lowest_in_pass: None }
    }

    /// Takes a reading.
    pub(super) fn observe(&mut self, progress: &Progress, now: Timestamp) {
        if progress.iteration > self.pass {
            self.begin_pass(progress, now);
        } else if is_gain(progress.remaining, self.lowest_in_pass) {
            self.lowest_in_pass = Some(progress.remaining);
            let long_pass = now.since(self.pass_began_at) >= self.window;
            if self.pass <= 1 || long_pass {
                self.gained_at = now;
            }
        }
    }

    fn begin_pass(&mut self, progress: &Progress, now: Timestamp) {
        self.pass = progress.iteration;
        self.pass_began_at = now;
        self.lowest_in_pass = Some(progress.remaining);
        if is_gain(progress.remaining, self.lowest_start) {
            self.lowest_start = Some(progress.remaining);
            self.gained_at = now;
        }
    }

    /// Time since the copy last came closer to its end.
    pub(super) fn idle_for(&self, now: Timestamp) -> Duration {
        now.since(self.gained_at)
    }

    /// True where that is longer than the window.
    pub(super) fn is_stalled(&self, now: Timestamp) -> bool {
        self.idle_for(now) >= self.window
    }
}

fn is_gain(remaining: Bytes, lowest: Option<Bytes>) -> bool {
    lowest.is_none_or(|lowest| remaining < lowest.scale(1.0 - MARGIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(1000 + secs)
    }

    fn reading(iteration: u64, remaining_mib: u64) -> Progress {
        Progress { iteration, remaining: Bytes::from_mib(remaining_mib), ..Progress::default() }
    }

    fn detector() -> StallDetector {
        StallDetector::new(Duration::from_secs(40), at(0))
    }

    #[test]
    fn a_long_first_pass_is_progress() {
        let mut detector = detector();
        for second in 0..200 {
            detector.observe(&reading(1, 10_000 - second * 50), at(second));
        }
        assert!(!detector.is_stalled(at(200)));
    }

    #[test]
    fn passes_that_begin_no_lower_are_a_stall_however_low_they_end() {
        let mut detector = detector();
        for pass in 1..=10 {
            detector.observe(&reading(pass, 500), at(pass * 6));
            detector.observe(&reading(pass, 1), at(pass * 6 + 5));
        }
        assert!(detector.is_stalled(at(66)));
    }

    #[test]
    fn passes_that_begin_lower_are_progress() {
        let mut detector = detector();
        for pass in 1..=10 {
            detector.observe(&reading(pass, 1000 >> pass), at(pass * 30));
        }
        assert!(!detector.is_stalled(at(310)));
    }

    #[test]
    fn a_copy_that_stands_still_is_a_stall() {
        let mut detector = detector();
        detector.observe(&reading(1, 500), at(1));
        detector.observe(&reading(1, 499), at(50));
        assert!(detector.is_stalled(at(50)));
    }
}
