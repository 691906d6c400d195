//! What the driver sees to by itself: that its connections stand, that the roster is right, that writes are measured.
//!
//! One task runs [`keep`]. Nobody waits for it; it does what it can when the counters have been read, so that the agent is not woken
//! once more for it.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use ballast_daemon::clock::Clock;
use tokio::sync::Notify;
use tracing::debug;

use super::{Inner, survey};

/// How often connections are looked after while the one for events stands: at a reading of the counters, when the agent is awake
/// anyhow, or where nobody reads them soon enough, after the second figure.
const KEEPER_PERIOD: (Duration, Duration) = (Duration::from_millis(4500), Duration::from_secs(6));
/// The same while it does not stand: events are missed.
const KEEPER_PERIOD_LOST: Duration = Duration::from_secs(1);
/// How often the roster is listed anew while nothing moves, in case an event was lost.
const RELIST_PERIOD: Duration = Duration::from_secs(60);

/// Reconnects, so that events flow, and lists the roster when it may be wrong. Ends with the driver.
pub(super) async fn keep(inner: Weak<Inner>, read: Arc<Notify>, clock: Clock) {
    let (mut listed_at, mut measured_at) = (Duration::ZERO, Duration::ZERO);
    let (mut connected, mut all_is_well) = (false, false);
    loop {
        if all_is_well {
            at_a_reading(&clock, &read).await;
        } else {
            clock.sleep(KEEPER_PERIOD_LOST).await;
        }
        let Some(inner) = inner.upgrade() else { return };
        inner.telemetry.check();
        if inner.options.measures_writes && clock.elapsed().saturating_sub(measured_at) >= survey::TURN {
            measured_at = clock.elapsed();
            inner.telemetry.measure_writes();
        }
        let was_connected = std::mem::replace(&mut connected, inner.control.check());
        if was_connected && !connected {
            inner.hub.change();
        }
        let is_listed = || inner.hub.with_roster(|roster| roster.is_listed());
        let relist = clock.elapsed().saturating_sub(listed_at) >= RELIST_PERIOD
            && !inner.hub.with_roster(|roster| roster.any_held());
        if relist || !connected || !is_listed() {
            listed_at = clock.elapsed();
            if let Err(error) = inner.list().await {
                debug!(%error, "The vms cannot be listed");
            }
            connected = inner.control.check();
        }
        all_is_well = connected && is_listed();
    }
}

/// Returns once it is time to look after the connections.
async fn at_a_reading(clock: &Clock, read: &Notify) {
    let (soonest, latest) = KEEPER_PERIOD;
    let soonest = clock.elapsed() + soonest;
    let at_a_reading = async {
        read.notified().await;
        while clock.elapsed() < soonest {
            read.notified().await;
        }
    };
    let _read_or_not = clock.timeout(latest, at_a_reading).await.is_ok();
}

#[cfg(test)]
mod tests {
    use ballast_core::units::Timestamp;

    use super::*;

    #[tokio::test]
    async fn it_is_time_at_a_reading_that_is_not_too_soon_or_without_one_a_little_later() {
        let (clock, driver) = Clock::driven(Timestamp::EPOCH);
        let read = Arc::new(Notify::new());
        let wait = || {
            let (clock, read) = (clock.clone(), Arc::clone(&read));
            tokio::spawn(async move { at_a_reading(&clock, &read).await })
        };
        let (soonest, latest) = KEEPER_PERIOD;

        let first = wait();
        read.notify_one();
        tokio::task::yield_now().await;
        assert!(!first.is_finished(), "it was looked a moment ago");
        driver.advance(soonest);
        read.notify_one();
        first.await.unwrap();

        let second = wait();
        tokio::task::yield_now().await;
        driver.advance(latest);
        second.await.unwrap();
    }
}
