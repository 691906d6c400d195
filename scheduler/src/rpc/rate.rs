//! How much one identity may ask for: a token bucket per certificate and kind of asking.
//!
//! A call beyond the rate is refused with a hint when to try again; a message of a link beyond it is read later, which
//! HTTP/2 passes on to its sender as a full window, so that whoever floods waits for themselves alone. Who comes over
//! loopback without TLS is not counted: all of this machine would share one bucket.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ballast_core::units::seconds;

/// Buckets at a time, for more hosts than one scheduler keeps: beyond, those that are full again go, which are as good as
/// none.
const BUCKETS_MAX: usize = 32_768;

/// A rate and how far it may be exceeded for a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// In the long run.
    pub per_second: f64,
    /// At once, after a time of silence.
    pub burst: f64,
}

/// One bucket: what may still be taken at a moment of the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    tokens: f64,
    at: Duration,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(rate: Rate, now: Duration) -> Self {
        Self { tokens: rate.burst, at: now }
    }

    /// Takes one token; where there is none, says after what time there will be, and takes nothing.
    pub(super) fn take(&mut self, rate: Rate, now: Duration) -> Result<(), Duration> {
        self.fill(rate, now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(seconds((1.0 - self.tokens) / rate.per_second))
    }

    /// Takes one token that may not be there yet; says how long to wait for it. Waiting takers queue up behind each other.
    pub(super) fn reserve(&mut self, rate: Rate, now: Duration) -> Duration {
        self.fill(rate, now);
        self.tokens -= 1.0;
        if self.tokens >= 0.0 { Duration::ZERO } else { seconds(-self.tokens / rate.per_second) }
    }

    fn fill(&mut self, rate: Rate, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * rate.per_second).min(rate.burst);
        self.at = now;
    }

    fn is_full(mut self, rate: Rate, now: Duration) -> bool {
        self.fill(rate, now);
        self.tokens >= rate.burst
    }
}

/// A bucket per identity.
#[derive(Debug)]
pub(super) struct Buckets {
    rate: Rate,
    of: Mutex<BTreeMap<String, Bucket>>,
}

impl Buckets {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, of: Mutex::new(BTreeMap::new()) }
    }

    /// Takes one token of `who`.
    ///
    /// # Errors
    /// How long to wait, where there is none.
    pub(super) fn take(&self, who: &str, now: Duration) -> Result<(), Duration> {
        self.with(who, now, |bucket, rate| bucket.take(rate, now)).unwrap_or_else(|| Err(self.turn()))
    }

    /// Takes one token of `who` that may not be there yet; says how long to wait for it.
    pub(super) fn reserve(&self, who: &str, now: Duration) -> Duration {
        self.with(who, now, |bucket, rate| bucket.reserve(rate, now)).unwrap_or_else(|| self.turn())
    }

    /// So many identities at their limit at once that a newcomer waits as each of them does.
    fn turn(&self) -> Duration {
        seconds(1.0 / self.rate.per_second)
    }

    /// Asks the bucket of `who`; `None` where there are too many others that do not rest.
    fn with<T>(&self, who: &str, now: Duration, ask: impl FnOnce(&mut Bucket, Rate) -> T) -> Option<T> {
        let rate = self.rate;
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = of.get_mut(who) {
            return Some(ask(bucket, rate));
        }
        if of.len() >= BUCKETS_MAX {
            of.retain(|_, bucket| !bucket.is_full(rate, now));
        }
        let has_room = of.len() < BUCKETS_MAX;
        has_room.then(|| ask(of.entry(who.to_owned()).or_insert_with(|| Bucket::new(rate, now)), rate))
    }
}

#[cfg(test)]
mod tests;
