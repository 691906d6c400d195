//! Tells a copy that converges from one that does not.
//!
//! Called by the life cycle with every reading of a copy. What is left falls within each pass over memory and jumps up
//! when the next pass begins, so only the beginnings of passes can be compared: a copy converges when they get lower.
//! Within a long pass the falling rest counts as progress too. The idea of a low mark that must not grow old is
//! KubeVirt's stall detector (VEP 248).

use std::time::Duration;

use crate::{
    command::Progress,
    migration_cost::Pass,
    units::{Bytes, Timestamp},
};

/// A new low must lie this much below the one before, else noise would pass for progress (KubeVirt's figure).
const MARGIN: f64 = 0.04;

/// Watches the amount left to copy.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StallDetector {
    window: Duration,
    gained_at: Timestamp,
    /// The lowest beginning of a pass that is over.
    lowest_start: Option<Bytes>,
    pass: Pass,
    pass_began_at: Timestamp,
    lowest_in_pass: Bytes,
}

impl StallDetector {
    /// A detector for a copy that begins at `now` and may go without progress for `window`.
    pub(super) fn new(window: Duration, now: Timestamp) -> Self {
        let (pass, lowest_in_pass) = (Pass::default(), Bytes::ZERO);
        Self { window, gained_at: now, lowest_start: None, pass, pass_began_at: now, lowest_in_pass }
    }

    /// Takes a reading.
    pub(super) fn observe(&mut self, progress: &Progress, now: Timestamp) {
        let (left, before) = (progress.remaining, self.pass);
        if self.pass.take(progress) {
            self.end_pass(before);
            (self.pass_began_at, self.lowest_in_pass) = (now, left);
        } else if self.pass.reports == 2 {
            self.lowest_in_pass = left;
            if is_gain(self.pass.began_with, self.lowest_start) {
                self.gained_at = self.gained_at.max(self.pass_began_at);
            }
        } else if is_gain(left, Some(self.lowest_in_pass)) {
            self.lowest_in_pass = left;
            let is_long = now.since(self.pass_began_at) >= self.window;
            if self.pass.number <= 1 || is_long {
                self.gained_at = now;
            }
        }
    }

    /// A pass of a single reading is over before it can be told what it began with: less than what the reading said it was not.
    fn end_pass(&mut self, pass: Pass) {
        if pass.reports > 0 && is_gain(pass.began_with, self.lowest_start) {
            self.lowest_start = Some(pass.began_with);
            self.gained_at = self.gained_at.max(self.pass_began_at);
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
            detector.observe(&reading(pass, 1000 >> pass), at(pass * 30 + 1));
        }
        assert!(!detector.is_stalled(at(310)));
    }

    #[test]
    fn passes_too_short_to_be_read_twice_are_progress_where_they_shrink() {
        let mut detector = detector();
        for pass in 1..=100 {
            detector.observe(&reading(pass, 10_000 - 90 * pass), at(pass));
        }
        assert!(!detector.is_stalled(at(101)));
    }

    #[test]
    fn what_was_left_of_the_pass_before_is_not_what_a_pass_began_with() {
        let mut detector = detector();
        for pass in 1..=8 {
            // As libvirt 9.0 and QEMU 7.2 tell it.
            detector.observe(&reading(pass, 2), at(pass * 20));
            detector.observe(&reading(pass, 500 - pass * 50), at(pass * 20 + 1));
            detector.observe(&reading(pass, 5), at(pass * 20 + 19));
        }
        assert!(!detector.is_stalled(at(180)), "each began with less");
    }

    #[test]
    fn a_copy_that_stands_still_is_a_stall() {
        let mut detector = detector();
        detector.observe(&reading(1, 500), at(1));
        detector.observe(&reading(1, 499), at(50));
        assert!(detector.is_stalled(at(50)));
    }
}
