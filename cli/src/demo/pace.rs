//! Moves the demo's time, never faster than scheduler and agents follow: what comes out must not depend on how fast the
//! machine is.
//!
//! Within each period agents sample and report first, send changed inventories [`NOTICED`] later, and decisions are made at
//! [`DECIDING`]; time moves from one such moment to the next. At each the pacer waits until what was due has happened: samples
//! taken in, decisions made, vms and hosts seen where they are. Each wait has a bound in real time, so that a part that does
//! not answer slows the demo down and does not stop it.

use std::time::Duration;

use super::stage::Stage;
use ballast_core::units::nanos_of;
use ballast_daemon::clock::Clock;

/// Longest real time that one step is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long after samples everybody has noticed what changed: agents wait a moment before they read an inventory anew.
const NOTICED: Duration = Duration::from_millis(300);

/// How long after samples decisions are made: after the scheduler's own wait for the samples of a beat, and before the fleet's
/// next tick, so that a decision never races with what it is about.
pub(crate) const DECIDING: Duration = Duration::from_millis(600);

/// Longest real time that agents are waited for at the beginning.
const ARRIVAL: Duration = Duration::from_secs(20);

/// Length of a step while a vm is being moved and watched.
const STEP_MOVING: Duration = Duration::from_secs(1);

/// Between two looks at whether everybody has followed.
const POLL: Duration = Duration::from_micros(500);

/// How fast time is to pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Speed {
    /// Fleet seconds per second; 0 for as fast as scheduler and agents can follow.
    pub(crate) usual: f64,
    /// The same while a vm is being moved, where that is to be watched: in steps of a second.
    pub(crate) moving: Option<f64>,
}

/// Moves time.
pub(crate) struct Pacer {
    real: Clock,
    speed: Speed,
    /// Time between two samples of a host, and the length of a step.
    period: Duration,
    /// Real time at which the next step may begin.
    due: Duration,
}

impl Pacer {
    /// Moves time in steps of `period`, the time between two samples of a host.
    pub(crate) fn new(real: Clock, speed: Speed, period: Duration) -> Self {
        let due = real.elapsed();
        Self { real, speed, period, due }
    }

    /// Waits until every agent is connected. Time moves only where that takes long, for agents that try again.
    pub(crate) async fn warm_up(&mut self, stage: &mut Stage) -> anyhow::Result<()> {
        let hosts = stage.world(|world| world.host_ids().len()) as u64;
        let began = self.real.elapsed();
        loop {
            let sessions = stage.engine().stats().await?.sessions;
            if sessions >= hosts {
                return Ok(());
            }
            if let Some(error) = stage.casualty() {
                return Err(error);
            }
            let waited = self.real.elapsed().saturating_sub(began);
            anyhow::ensure!(
                waited < ARRIVAL,
                "{sessions} of {hosts} agents are connected after {} s",
                waited.as_secs()
            );
            self.real.sleep(Duration::from_millis(10)).await;
            if waited > ARRIVAL / 4 {
                stage.advance(Duration::from_millis(10));
            }
        }
    }

    /// Lets one step pass and waits until everybody has followed.
    pub(crate) async fn step(&mut self, stage: &mut Stage) -> anyhow::Result<()> {
        let slow = self.speed.moving.filter(|_| stage.world(|world| world.is_anything_moving()));
        let (step, speed) = slow.map_or((self.period, self.speed.usual), |slow| (STEP_MOVING, slow));
        self.pass(stage, step, speed).await
    }

    /// Lets `longest` pass at `speed`, or less where something is due before, and waits until everybody has followed.
    pub(crate) async fn pass(&mut self, stage: &mut Stage, longest: Duration, speed: f64) -> anyhow::Result<()> {
        let passed = stage.elapsed();
        let to_samples = until(passed, Duration::ZERO, self.period);
        let next =
            [NOTICED, DECIDING].map(|phase| until(passed, phase, self.period)).into_iter().min().unwrap_or(longest);
        let step = longest.min(to_samples).min(next);
        self.hold(step, speed).await;
        let before = stage.engine().stats().await?;
        stage.advance(step);
        let sampling = step == to_samples;
        let batches = if sampling { before.batches + before.sessions } else { 0 };
        self.follow(stage, batches, !sampling).await
    }

    /// Waits until the scheduler has taken in so many `batches`, has decided what is due, knows how every command stands and,
    /// where `seen`, sees the fleet as it is.
    async fn follow(&self, stage: &mut Stage, batches: u64, seen: bool) -> anyhow::Result<()> {
        let began = self.real.elapsed();
        loop {
            if let Some(error) = stage.casualty() {
                return Err(error);
            }
            if stage.engine().stats().await?.batches >= batches {
                stage.engine().settled().await?;
                if stage.is_reported().await? && (!seen || stage.is_seen_as_it_is().await?) {
                    return Ok(());
                }
            }
            if self.real.elapsed().saturating_sub(began) > PATIENCE {
                return Ok(());
            }
            self.real.sleep(POLL).await;
        }
    }

    /// Waits until the next step is due in real time.
    async fn hold(&mut self, step: Duration, speed: f64) {
        if speed > 0.0 {
            self.real.sleep_until(self.due).await;
            self.due = self.due.max(self.real.elapsed()) + step.div_f64(speed);
        }
    }
}

/// Time from `passed` to the next moment that lies `phase` after a whole number of `every`.
fn until(passed: Duration, phase: Duration, every: Duration) -> Duration {
    let (passed, phase, every) = (nanos_of(passed), nanos_of(phase), nanos_of(every).max(1));
    let into = (passed % every + every - phase % every) % every;
    Duration::from_nanos(every - into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_moment_is_never_now() {
        let at = |passed, phase, every| {
            until(Duration::from_secs(passed), Duration::from_secs(phase), Duration::from_secs(every)).as_secs()
        };
        assert_eq!((at(0, 14, 15), at(14, 14, 15), at(20, 14, 15)), (14, 15, 9));
        assert_eq!((at(0, 0, 15), at(14, 0, 15), at(15, 0, 15)), (15, 1, 15));
    }
}
