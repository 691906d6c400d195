//! How long deciding takes: a policy that counts the CPU time spent in it.
//!
//! Runners wrap the policy they play in it. Samples and forecasts are not counted: they are many and short, and a stopwatch
//! takes longer than they do. The clock is handed in, for none is read here.

use std::{fmt, time::Duration};

use ballast_core::policy::{Advice, Policy, View};

/// CPU time of the calling thread so far.
pub type Stopwatch<'a> = &'a (dyn Fn() -> Duration + Sync);

/// A policy that counts the time spent in it.
pub struct Timed<'a> {
    inner: &'a mut dyn Policy,
    stopwatch: Stopwatch<'a>,
    spent: Duration,
}

impl<'a> Timed<'a> {
    /// One that has spent nothing yet.
    pub fn new(inner: &'a mut dyn Policy, stopwatch: Stopwatch<'a>) -> Self {
        Self { inner, stopwatch, spent: Duration::ZERO }
    }

    /// Time spent in it so far.
    pub fn spent(&self) -> Duration {
        self.spent
    }
}

impl fmt::Debug for Timed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timed").field("spent", &self.spent).finish_non_exhaustive()
    }
}

impl Policy for Timed<'_> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn propose(&mut self, view: View<'_>) -> Advice {
        let since = (self.stopwatch)();
        let advice = self.inner.propose(view);
        self.spent += (self.stopwatch)().saturating_sub(since);
        advice
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use ballast_core::{forecast::Forecasts, policy::LeaveAlone, snapshot::Snapshot, tuning::Tuning};

    use super::*;

    #[test]
    fn what_a_policy_takes_is_counted_and_nothing_else() {
        let ticks = AtomicU64::new(0);
        let clock = || Duration::from_secs(ticks.fetch_add(1, Ordering::Relaxed));
        let mut alone = LeaveAlone;
        let mut timed = Timed::new(&mut alone, &clock);
        let (snapshot, forecasts, tuning) = (Snapshot::default(), Forecasts::default(), Tuning::default());
        for _ in 0..3 {
            timed.propose(View { snapshot: &snapshot, forecasts: &forecasts, tuning: &tuning, seed: 1 });
        }
        assert_eq!((timed.spent(), timed.name()), (Duration::from_secs(3), LeaveAlone::NAME));
    }
}
