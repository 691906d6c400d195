//! Wall power from the BMC by IPMI DCMI, through the site's `ipmitool`.
//!
//! The BMC takes up to seconds to answer, so a task of its own asks it now and then and readers take the latest answer
//! while it is fresh. The task ends when its reader is dropped.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use ballast_core::units::Watts;
use ballast_daemon::clock::Clock;
use tracing::{info, warn};

use crate::host::command;

/// An answer counts for so many periods.
const PERIODS_FRESH: u32 = 3;
/// Longest wait for one answer.
const DEADLINE: Duration = Duration::from_secs(8);

/// The latest answer.
#[derive(Debug)]
pub(super) struct Dcmi {
    latest: Arc<Mutex<Option<(Duration, Watts)>>>,
    fresh: Duration,
}

impl Dcmi {
    /// Asks from now on, every `period`.
    pub(super) fn start(program: Vec<String>, period: Duration, clock: Clock) -> Self {
        let latest = Arc::default();
        // Without a runtime (a test of other meters) nobody asks, and there is never an answer.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(ask_on(Arc::downgrade(&latest), program, period, clock));
        }
        Self { latest, fresh: period * PERIODS_FRESH }
    }

    /// The latest answer, where it is fresh at `elapsed`.
    pub(super) fn latest(&self, elapsed: Duration) -> Option<Watts> {
        let latest = *self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.filter(|(at, _)| elapsed.saturating_sub(*at) <= self.fresh).map(|(_, watts)| watts)
    }
}

type Slot = Mutex<Option<(Duration, Watts)>>;

async fn ask_on(slot: Weak<Slot>, program: Vec<String>, period: Duration, clock: Clock) {
    let mut works = None;
    loop {
        let answer = command::run(&program, DEADLINE, &clock).await;
        let Some(slot) = slot.upgrade() else { return };
        let watts = answer.and_then(|text| parse(&text).ok_or_else(|| "no power reading in its output".to_owned()));
        match &watts {
            Ok(watts) if works != Some(true) => info!(%watts, "The BMC gives the host's power"),
            // Most hosts have no BMC or no ipmitool, and the next meter or the power curve serves: nothing unexpected.
            Err(why) if works.is_none() => info!(why, "The BMC gives no power reading; trying on"),
            Err(why) if works == Some(true) => warn!(why, "The BMC gives no power reading any more; trying on"),
            Ok(_) | Err(_) => {}
        }
        works = Some(watts.is_ok());
        if let Ok(watts) = watts {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some((clock.elapsed(), watts));
        }
        drop(slot);
        clock.sleep(period).await;
    }
}

/// The instantaneous reading in what `ipmitool dcmi power reading` prints. A BMC that does not measure says 0.
fn parse(text: &str) -> Option<Watts> {
    let line = text.lines().find(|line| line.trim_start().starts_with("Instantaneous power reading"))?;
    let (_, value) = line.split_once(':')?;
    let watts: f64 = value.split_whitespace().next()?.parse().ok()?;
    (watts > 0.0).then_some(Watts(watts))
}

#[cfg(test)]
mod tests {
    use ballast_core::units::Timestamp;

    use super::*;

    const PRINTED: &str = "
    Instantaneous power reading:                   220 Watts
    Minimum during sampling period:                 40 Watts
    Maximum during sampling period:                400 Watts
    Average power reading over sample period:      180 Watts
    IPMI timestamp:                           Mon Nov 23 16:40:00 2026
    Sampling period:                          00000001 Seconds.
    Power reading state is:                   activated
";

    #[test]
    fn the_reading_of_the_instant_counts() {
        assert_eq!(parse(PRINTED), Some(Watts(220.0)));
        assert_eq!(parse(&PRINTED.replace("220", "0")), None);
        assert_eq!(parse("DCMI request failed because: Invalid command"), None);
    }

    #[tokio::test]
    async fn an_answer_counts_until_it_is_stale() {
        let (clock, _driver) = Clock::driven(Timestamp::from_secs(100));
        let program = ["printf", "Instantaneous power reading: 150 Watts"].map(str::to_owned);
        let dcmi = Dcmi::start(program.into(), Duration::from_secs(10), clock);
        let answered = async {
            while dcmi.latest(Duration::ZERO).is_none() {
                tokio::task::yield_now().await;
            }
        };
        assert!(Clock::system().timeout(Duration::from_secs(10), answered).await.is_ok());
        assert_eq!(dcmi.latest(Duration::from_secs(30)), Some(Watts(150.0)));
        assert_eq!(dcmi.latest(Duration::from_secs(31)), None);
    }
}
