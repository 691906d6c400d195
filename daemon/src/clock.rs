//! Time as a capability: the machine's clock, one that somebody drives, or a simulation's.
//!
//! Both daemons take a [`Clock`] and read time nowhere else. What it shows never steps, whatever is done to the machine's
//! wall clock (`steady`). The demo and the tests drive theirs, so that hours pass in
//! seconds and nothing sleeps to synchronise. Work that blocks takes time too, so the clock is also asked to have it done
//! ([`Clock::aside`]): on a thread, or in a simulation, where threads would come in any order, in place.

mod machine;
mod steady;

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ballast_core::units::{Timestamp, nanos_of};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

use crate::segments::Disk;

pub use machine::{Machine, Pace, Wall};
use steady::Steady;

/// A clock: cheap to clone, shared by every task of a daemon.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Source>);

enum Source {
    /// The machine's; `Instant` for spans, so that a step of the wall clock never stretches a timeout.
    System { started: Instant, steady: Mutex<Steady> },
    /// Somebody's: time stands still until the driver moves it.
    Driven { start: Timestamp, now: watch::Receiver<Timestamp> },
    /// A simulation's: that of the runtime's timers, which the simulation has paused and moves on.
    Simulated { began: tokio::time::Instant, machine: Machine, steady: Mutex<Steady> },
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System { .. } => "System",
            Self::Driven { .. } => "Driven",
            Self::Simulated { .. } => "Simulated",
        })
    }
}

/// Moves a driven clock.
#[derive(Debug)]
pub struct Driver(watch::Sender<Timestamp>);

/// The time allowed was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("took longer than {0:?}")]
pub struct Elapsed(pub Duration);

/// Work that was done aside came to no end: it panicked, or the runtime ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Died(String);

// The one place where the machine's time is read.
#[allow(clippy::disallowed_methods)]
impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        let steady = Mutex::new(Steady::new(since_boot(), wall()));
        Self(Arc::new(Source::System { started: Instant::now(), steady }))
    }

    /// A clock that stands at `start` until its driver moves it.
    pub fn driven(start: Timestamp) -> (Self, Driver) {
        let (sender, receiver) = watch::channel(start);
        (Self(Arc::new(Source::Driven { start, now: receiver })), Driver(sender))
    }

    /// A simulation's clock on a machine of its making, which moves with the timers of the runtime it is made in.
    pub fn simulated(machine: Machine) -> Self {
        let steady = Mutex::new(Steady::new(Duration::ZERO, (machine.wall)(Duration::ZERO)));
        Self(Arc::new(Source::Simulated { began: tokio::time::Instant::now(), machine, steady }))
    }

    /// The time of day, as the wall clock showed it when the clock was made and moved on by the time that has passed since,
    /// time in which the machine was suspended included. It never steps.
    pub fn now(&self) -> Timestamp {
        let follow = |steady: &Mutex<Steady>, elapsed, wall| {
            steady.lock().unwrap_or_else(PoisonError::into_inner).follow(elapsed, wall)
        };
        match &*self.0 {
            Source::System { steady, .. } => follow(steady, since_boot(), wall()),
            Source::Driven { now, .. } => *now.borrow(),
            Source::Simulated { began, machine, steady } => {
                let elapsed = began.elapsed();
                follow(steady, elapsed, (machine.wall)(elapsed))
            }
        }
    }

    /// Time since the clock was made; never goes back.
    pub fn elapsed(&self) -> Duration {
        match &*self.0 {
            Source::System { started, .. } => started.elapsed(),
            Source::Driven { start, now } => now.borrow().since(*start),
            Source::Simulated { began, .. } => began.elapsed(),
        }
    }

    /// Whether time that passes between two looks says that nothing ran meanwhile; a driver may jump as it likes.
    pub fn tells_standstills(&self) -> bool {
        match &*self.0 {
            Source::System { .. } | Source::Simulated { .. } => true,
            Source::Driven { .. } => false,
        }
    }

    /// Returns once `span` has passed. A driven clock whose driver is gone never gets there.
    pub async fn sleep(&self, span: Duration) {
        self.sleep_until(self.elapsed() + span).await;
    }

    /// Returns once [`Clock::elapsed`] has reached `moment`.
    pub async fn sleep_until(&self, moment: Duration) {
        match &*self.0 {
            Source::System { started, .. } => tokio::time::sleep_until((*started + moment).into()).await,
            Source::Driven { start, now } => {
                let until = start.after(moment);
                let mut now = now.clone();
                if now.wait_for(|now| *now >= until).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            Source::Simulated { began, .. } => tokio::time::sleep_until(*began + moment).await,
        }
    }

    /// Waits for `future`, but no longer than `span`.
    ///
    /// # Errors
    /// [`Elapsed`] when the time was over first; the future is dropped.
    pub async fn timeout<F: Future>(&self, span: Duration, future: F) -> Result<F::Output, Elapsed> {
        tokio::select! {
            biased;
            output = future => Ok(output),
            () = self.sleep(span) => Err(Elapsed(span)),
        }
    }

    /// Has work done that would hold up the runtime (a disk, a long thought), beside it.
    ///
    /// # Errors
    /// [`Died`] when the work panicked or the runtime ended before it.
    pub async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Died> {
        let Source::Simulated { machine, .. } = &*self.0 else {
            return tokio::task::spawn_blocking(work).await.map_err(|error| Died(error.to_string()));
        };
        let (before, after) = (machine.pace)();
        self.sleep(before).await;
        let done = catch_unwind(AssertUnwindSafe(work)).map_err(|_| Died("it panicked".to_owned()));
        self.sleep(after).await;
        done
    }

    /// The disk of the machine it is the clock of: work that is done aside writes to it.
    pub fn disk(&self) -> Disk {
        match &*self.0 {
            Source::System { .. } | Source::Driven { .. } => Disk::default(),
            Source::Simulated { machine, .. } => machine.disk.clone(),
        }
    }

    /// Ticks every `period`, the first after one period. Ticks that were missed are skipped, not made up for.
    pub fn interval(&self, period: Duration) -> Interval {
        Interval { clock: self.clone(), period, next: self.elapsed() + period }
    }
}

/// What the machine's wall clock shows.
#[allow(clippy::disallowed_methods)] // Beside `Clock`, which it serves.
fn wall() -> Timestamp {
    Timestamp(nanos_of(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
}

/// Time since the machine was booted, with the time it was suspended: `Instant` leaves that out.
fn since_boot() -> Duration {
    // The kernel counts it from zero, so neither part is negative.
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

impl Driver {
    /// Moves the clock forward by `span` and returns the new time.
    pub fn advance(&self, span: Duration) -> Timestamp {
        self.0.send_modify(|now| *now = now.after(span));
        *self.0.borrow()
    }

    /// Moves the clock forward to `moment`; an earlier one changes nothing.
    pub fn advance_to(&self, moment: Timestamp) {
        self.0.send_modify(|now| *now = (*now).max(moment));
    }

    /// The time it shows.
    pub fn now(&self) -> Timestamp {
        *self.0.borrow()
    }
}

/// A regular beat.
#[derive(Debug)]
pub struct Interval {
    clock: Clock,
    period: Duration,
    next: Duration,
}

impl Interval {
    /// Waits for the next beat.
    pub async fn tick(&mut self) {
        self.clock.sleep_until(self.next).await;
        let now = self.clock.elapsed();
        self.next += self.period;
        if self.next <= now {
            self.next = now + self.period;
        }
    }

    /// Changes the beat from the next one on.
    pub fn set_period(&mut self, period: Duration) {
        self.period = period;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_driven_clock_wakes_sleepers_when_their_time_has_come() {
        let (clock, driver) = Clock::driven(Timestamp::from_secs(100));
        let sleeper = {
            let clock = clock.clone();
            tokio::spawn(async move {
                clock.sleep(Duration::from_secs(5)).await;
                clock.now()
            })
        };
        tokio::task::yield_now().await;
        driver.advance(Duration::from_secs(4));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        driver.advance(Duration::from_secs(2));
        assert_eq!(sleeper.await.unwrap(), Timestamp::from_secs(106));
    }

    #[tokio::test]
    async fn an_interval_skips_what_it_missed() {
        let (clock, driver) = Clock::driven(Timestamp::EPOCH);
        let mut interval = clock.interval(Duration::from_secs(10));
        driver.advance(Duration::from_secs(35));
        interval.tick().await;
        driver.advance(Duration::from_secs(10));
        interval.tick().await;
        assert_eq!(clock.elapsed(), Duration::from_secs(45));
    }

    #[tokio::test]
    async fn a_timeout_is_counted_on_the_same_clock() {
        let (clock, driver) = Clock::driven(Timestamp::EPOCH);
        let waiting = {
            let clock = clock.clone();
            tokio::spawn(async move { clock.timeout(Duration::from_secs(3), std::future::pending::<()>()).await })
        };
        tokio::task::yield_now().await;
        driver.advance(Duration::from_secs(3));
        assert_eq!(waiting.await.unwrap(), Err(Elapsed(Duration::from_secs(3))));
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_simulation_work_is_done_in_place_and_takes_the_time_that_the_simulation_says() {
        let start = Timestamp::from_secs(1000);
        let pace = || (Duration::from_secs(2), Duration::from_secs(1));
        let clock = Clock::simulated(Machine::at(start).with_pace(Box::new(pace)));
        let (thread, seen) = (std::thread::current().id(), clock.clone());
        let done = clock.aside(move || (std::thread::current().id(), seen.elapsed())).await.unwrap();
        assert_eq!(done, (thread, Duration::from_secs(2)));
        assert_eq!((clock.elapsed(), clock.now()), (Duration::from_secs(3), start.after(Duration::from_secs(3))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_shown_does_not_follow_a_step_of_the_wall_clock() {
        let start = Timestamp::from_secs(10_000);
        let hour = Duration::from_secs(3600);
        let wall =
            move |elapsed| if elapsed < Duration::from_secs(5) { start.after(elapsed) } else { start.before(hour) };
        let clock = Clock::simulated(Machine::at(start).with_wall(Box::new(wall)));
        clock.sleep(Duration::from_secs(10)).await;
        let passed = clock.now().since(start);
        assert!((passed.as_secs_f64() - 10.0).abs() < 0.01, "{passed:?}");
    }

    #[test]
    fn the_machines_clock_shows_the_time_of_day() {
        let shown = Clock::system().now();
        assert!(shown.since(wall()).max(wall().since(shown)) < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn work_that_panics_is_told_and_harms_nobody() {
        let simulated = Clock::simulated(Machine::at(Timestamp::default()));
        for clock in [Clock::system(), simulated] {
            let died = clock.aside(|| panic!("as it always does")).await.unwrap_err();
            assert!(died.to_string().contains("panicked"), "{died}");
        }
    }
}
