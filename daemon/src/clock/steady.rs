//! The time of day without its leaps: begun at what the wall clock showed, and from then on moved by time that passes.
//!
//! The wall clock may be stepped at any moment, by a person or by a time service. Freshness, rests and timeouts are
//! differences of two readings, so a step back would make what is old look fresh, and a step forward end a rest at once.
//! What is shown therefore never steps: an error is taken over slowly, and whole at the next start.

use std::time::Duration;

use ballast_core::units::Timestamp;

/// An error is taken over by this part of the time that passes: adjtime's rate, at which no span is wrong by more than
/// half a thousandth.
const SLEW: u32 = 2_000;
/// Room for taking over is not saved up for longer than this, so that what is shown never leaps visibly.
const SAVED_MAX: Duration = Duration::from_secs(1);

/// What was shown last, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steady {
    elapsed: Duration,
    shown: Timestamp,
    /// Time that has passed without anything being taken over.
    saved: Duration,
}

impl Steady {
    /// Shows `wall` at `elapsed`.
    pub(super) fn new(elapsed: Duration, wall: Timestamp) -> Self {
        Self { elapsed, shown: wall, saved: Duration::ZERO }
    }

    /// What is to be shown at `elapsed`, when the wall clock shows `wall`. It never goes back.
    pub(super) fn follow(&mut self, elapsed: Duration, wall: Timestamp) -> Timestamp {
        let passed = elapsed.saturating_sub(self.elapsed);
        self.elapsed += passed;
        self.saved = (self.saved + passed).min(passed.max(SAVED_MAX));
        let due = self.shown.after(passed);
        let (ahead, behind) = (due.since(wall), wall.since(due));
        let taken = ahead.max(behind).min(self.saved / SLEW).min(passed);
        self.saved = self.saved.saturating_sub(taken * SLEW);
        self.shown = if ahead.is_zero() { due.after(taken) } else { due.before(taken) };
        self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn start() -> Timestamp {
        Timestamp::from_secs(100_000)
    }

    /// What is shown, second by second, where the wall clock is `stepped` to after ten.
    fn shown(stepped: impl Fn(Timestamp) -> Timestamp) -> Vec<Timestamp> {
        let mut steady = Steady::new(Duration::ZERO, start());
        let wall = |second: u64| {
            let true_time = start().after(Duration::from_secs(second));
            if second < 10 { true_time } else { stepped(true_time) }
        };
        (0..100).map(|second| steady.follow(Duration::from_secs(second), wall(second))).collect()
    }

    #[test]
    fn a_clock_that_is_right_is_shown_as_it_is() {
        let expected: Vec<_> = (0..100).map(|second| start().after(Duration::from_secs(second))).collect();
        assert_eq!(shown(|wall| wall), expected);
    }

    #[test]
    fn a_step_changes_no_span_by_more_than_half_a_thousandth() {
        for shown in [shown(|wall| wall.before(HOUR)), shown(|wall| wall.after(HOUR))] {
            for pair in shown.windows(2) {
                let span = pair[1].since(pair[0]).as_secs_f64();
                assert!((span - 1.0).abs() <= 0.000_501, "a second takes {span} s");
            }
        }
    }

    #[test]
    fn an_error_is_taken_over_in_the_end() {
        let stepped = shown(|wall| wall.after(Duration::from_millis(20)));
        assert_eq!(stepped[99], start().after(Duration::from_millis(99_020)));
    }

    #[test]
    fn it_never_goes_back_however_often_it_is_asked() {
        let mut steady = Steady::new(Duration::ZERO, start());
        let mut before = start();
        for micros in 0..5_000_u64 {
            let elapsed = Duration::from_micros(micros);
            let wall = start().after(elapsed);
            let shown = steady.follow(elapsed, if micros % 3 == 0 { wall.before(HOUR) } else { wall });
            assert!(shown >= before);
            before = shown;
        }
    }
}
