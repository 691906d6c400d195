//! Notices that the process stood still: suspended, or starved by its machine.
//!
//! What is read right after may have waited in a buffer for as long, and its receipt says nothing of its age. The state
//! task lets it beat; links ask it when a batch was received. Knows no fleet and decides nothing.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ballast_core::units::Timestamp;
use ballast_daemon::clock::Clock;

/// Beats come at least once a second; a gap of this means that nothing ran meanwhile.
const STANDSTILL: Duration = Duration::from_secs(3);

/// The pulse of one engine.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// Time in which all that had waited is read, and fresh samples come: one period.
    settling: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: Duration,
    stood_still: Option<Standstill>,
}

#[derive(Debug, Clone, Copy)]
struct Standstill {
    since: Timestamp,
    settled: Duration,
}

impl Pulse {
    /// A pulse that begins at `elapsed` in an engine whose agents send every `period`.
    pub(crate) fn new(elapsed: Duration, period: Duration) -> Self {
        Self { settling: period, state: Mutex::new(State { last: elapsed, stood_still: None }) }
    }

    /// When what is read now was received at the earliest. By a clock that somebody drives, that is now.
    pub(crate) fn received(&self, clock: &Clock) -> Timestamp {
        let now = clock.now();
        if clock.tells_standstills() { self.beat(now, clock.elapsed()).unwrap_or(now) } else { now }
    }

    /// The engine runs at `elapsed`, which is `now`. When that comes after a standstill, the time it began at is given
    /// until everything has settled.
    fn beat(&self, now: Timestamp, elapsed: Duration) -> Option<Timestamp> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let gap = elapsed.saturating_sub(std::mem::replace(&mut state.last, elapsed));
        if gap >= STANDSTILL {
            tracing::warn!(?gap, "the process stood still; what waited meanwhile counts as that old");
            state.stood_still = Some(Standstill { since: now.before(gap), settled: elapsed + self.settling });
        }
        state.stood_still = state.stood_still.filter(|standstill| elapsed < standstill.settled);
        state.stood_still.map(|standstill| standstill.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_after_a_standstill_is_as_old_as_that_until_a_period_has_passed() {
        let at = |seconds| (Timestamp::from_secs(1000 + seconds), Duration::from_secs(seconds));
        let pulse = Pulse::new(Duration::ZERO, Duration::from_secs(5));
        let received = |seconds| {
            let (now, elapsed) = at(seconds);
            pulse.beat(now, elapsed).unwrap_or(now)
        };
        assert_eq!(received(1), at(1).0);
        assert_eq!(received(2), at(2).0);
        assert_eq!(received(22), at(2).0, "it may have waited since the last beat");
        assert_eq!(received(24), at(2).0);
        assert_eq!(received(25), at(2).0);
        assert_eq!(received(26), at(2).0);
        assert_eq!(received(27), at(27).0, "a fresh one has come in by then");
    }
}
