//! Moves the demo's time, never faster than scheduler and agents follow: what comes out must not depend on how fast the
//! machine is.
//!
//! Samples are taken shortly before decisions are made ([`LEAD`]), and time moves from one such moment to the next. After each
//! step the pacer waits until the samples that were due have been taken in, the round that was due has been held, and every
//! command is where the fleet says it is. Each wait has a bound in real time, so that a part that does not answer slows
//! the demo down and does not stop it.

use std::time::Duration;

use super::stage::Stage;
use ballast_core::units::{Timestamp, nanos_of};
use ballast_daemon::clock::Clock;

/// Longest real time that one step is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long before decisions the agents sample: decisions rest on fresh samples, and never on half of them.
pub(crate) const LEAD: Duration = Duration::from_secs(1);

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
        let (passed, samples) = (stage.elapsed(), self.period.saturating_sub(LEAD.min(self.period / 2)));
        let to_samples = until(passed, samples, self.period);
        let to_decision = until(passed, Duration::ZERO, self.period);
        let step = longest.min(to_samples).min(to_decision);
        let every = stage.engine().settings().round_interval;
        let is_round = step == until(passed, Duration::ZERO, every);
        self.hold(step, speed).await;
        let before = stage.engine().stats().await?;
        stage.advance(step);
        let due = Due {
            batches: if step == to_samples { before.batches + before.sessions } else { 0 },
            // A scheduler that only observes, at its start or because it was told to, holds no rounds to wait for.
            decision: (is_round && newest(stage) > Some(stage.now().before(every * 3))).then(|| stage.now()),
        };
        self.follow(stage, &due).await
    }

    async fn follow(&self, stage: &mut Stage, due: &Due) -> anyhow::Result<()> {
        let began = self.real.elapsed();
        loop {
            if let Some(error) = stage.casualty() {
                return Err(error);
            }
            let done = due.is_done(stage).await?;
            if done || self.real.elapsed().saturating_sub(began) > PATIENCE {
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

/// What must have happened before time goes on.
struct Due {
    /// Batches that the scheduler must have taken in.
    batches: u64,
    /// Moment of the fleet that the newest decision must rest on.
    decision: Option<Timestamp>,
}

impl Due {
    async fn is_done(&self, stage: &Stage) -> anyhow::Result<bool> {
        let engine = stage.engine();
        let stats = engine.stats().await?;
        if stats.batches < self.batches || self.decision.is_some_and(|due| newest(stage) < Some(due)) {
            return Ok(false);
        }
        Ok(stats.commands_open == stage.world(|world| world.flights().len()) as u64)
    }
}

/// The moment of the fleet that the newest decision rests on.
fn newest(stage: &Stage) -> Option<Timestamp> {
    stage.engine().decisions(1, true).first().map(|record| record.decision.at)
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
