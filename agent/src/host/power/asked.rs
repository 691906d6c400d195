//! A meter behind a BMC, which takes up to seconds to answer: a task of its own asks it now and then, and readers take the
//! latest answer while it is fresh. The task ends when its reader is dropped.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use ballast_core::units::Watts;
use ballast_daemon::clock::Clock;
use tracing::{info, warn};

/// An answer counts for so many periods.
const PERIODS_FRESH: u32 = 3;
/// Longest wait for one answer.
pub(super) const DEADLINE: Duration = Duration::from_secs(8);

/// Questions after which a meter that has never answered is taken not to be there, and time until it is asked again all the same: most
/// hosts have no BMC that measures, and starting a program is most of what asking costs.
const TRIES: u32 = 4;
const SELDOM: Duration = Duration::from_secs(600);

/// What can be asked.
pub(super) trait Meter: Send + 'static {
    /// What it is called in the log.
    const NAME: &'static str;

    /// Asks once. Dropped where it takes longer than [`DEADLINE`].
    fn ask(&mut self, clock: &Clock) -> impl Future<Output = Result<Watts, String>> + Send;
}

/// The latest answer of a meter.
#[derive(Debug)]
pub(super) struct Asked {
    latest: Arc<Slot>,
    fresh: Duration,
}

type Slot = Mutex<Option<(Duration, Watts)>>;

impl Asked {
    /// Asks from now on, every `period`.
    pub(super) fn start(meter: impl Meter, period: Duration, clock: Clock) -> Self {
        let latest = Arc::default();
        // Without a runtime (a test of other meters) nobody asks, and there is never an answer.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(ask_on(Arc::downgrade(&latest), meter, period, clock));
        }
        Self { latest, fresh: period * PERIODS_FRESH }
    }

    /// The latest answer, where it is fresh at `elapsed`.
    pub(super) fn latest(&self, elapsed: Duration) -> Option<Watts> {
        let latest = *self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.filter(|(at, _)| elapsed.saturating_sub(*at) <= self.fresh).map(|(_, watts)| watts)
    }
}

async fn ask_on<M: Meter>(slot: Weak<Slot>, mut meter: M, period: Duration, clock: Clock) {
    let (mut worked, mut tries, mut has_answered) = (None, 0, false);
    loop {
        let answer = clock.timeout(DEADLINE, meter.ask(&clock)).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {DEADLINE:?}")));
        let Some(slot) = slot.upgrade() else { return };
        log(M::NAME, worked, &answer);
        worked = Some(answer.is_ok());
        has_answered |= answer.is_ok();
        tries = (tries + 1).min(TRIES);
        if let Ok(watts) = answer {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some((clock.elapsed(), watts));
        }
        drop(slot);
        clock.sleep(if has_answered { period } else { patience(period, tries) }).await;
    }
}

/// Time until a meter is asked again that has not answered in so many tries.
fn patience(period: Duration, tries: u32) -> Duration {
    if tries < TRIES { period } else { period.max(SELDOM) }
}

/// Says when a meter begins to answer, and when it ceases to.
fn log(meter: &'static str, worked: Option<bool>, answer: &Result<Watts, String>) {
    match answer {
        Ok(watts) if worked != Some(true) => info!(meter, %watts, "The BMC gives the host's power"),
        // Most hosts have no BMC or no ipmitool, and the next meter or the power curve serves: nothing unexpected.
        Err(why) if worked.is_none() => info!(meter, why, "The BMC gives no power reading; trying on"),
        Err(why) if worked == Some(true) => warn!(meter, why, "The BMC gives no power reading any more; trying on"),
        Ok(_) | Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use ballast_core::units::Timestamp;

    use super::*;

    /// Answers once, and never again.
    struct Once(Option<Watts>);

    impl Meter for Once {
        const NAME: &'static str = "once";

        async fn ask(&mut self, _: &Clock) -> Result<Watts, String> {
            self.0.take().ok_or_else(|| "it has answered".to_owned())
        }
    }

    #[test]
    fn a_meter_that_never_answers_is_soon_asked_seldom() {
        let period = Duration::from_secs(15);
        assert_eq!([1, 3, 4, 5].map(|tries| patience(period, tries)), [period, period, SELDOM, SELDOM]);
        assert_eq!(patience(SELDOM * 2, 9), SELDOM * 2, "never more often than it is to be asked");
    }

    #[tokio::test]
    async fn an_answer_counts_until_it_is_stale() {
        let (clock, _driver) = Clock::driven(Timestamp::from_secs(100));
        let asked = Asked::start(Once(Some(Watts(150.0))), Duration::from_secs(10), clock);
        let answered = async {
            while asked.latest(Duration::ZERO).is_none() {
                tokio::task::yield_now().await;
            }
        };
        assert!(Clock::system().timeout(Duration::from_secs(10), answered).await.is_ok());
        assert_eq!(asked.latest(Duration::from_secs(30)), Some(Watts(150.0)));
        assert_eq!(asked.latest(Duration::from_secs(31)), None);
    }
}
