//! Moves the demo's time, never faster than scheduler and agents follow: what comes out must not depend on how fast the
//! machine is.
//!
//! After each step the pacer waits until every connected agent's batch has been taken in, the regular round that was due has
//! been held, and every command is where the fleet says it is. Each wait has a bound in real time, so that a part that
//! does not answer slows the demo down and does not stop it.

use std::time::Duration;

use ballast_daemon::clock::Clock;
use ballast_scheduler::engine::EngineStats;

use super::stage::Stage;

/// Longest real time that one step is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// Longest real time that agents are waited for at the beginning.
const ARRIVAL: Duration = Duration::from_secs(20);

/// Between two looks at whether everybody has followed.
const POLL: Duration = Duration::from_micros(500);

/// Moves time.
pub(crate) struct Pacer {
    real: Clock,
    /// Fleet seconds per second; 0 for as fast as possible.
    speed: f64,
    step: Duration,
    /// Real time at which the next step may begin.
    due: Duration,
    /// Steps that were not waited for to their end.
    impatient: u64,
}

impl Pacer {
    /// Moves time in steps of `step`.
    pub(crate) fn new(real: Clock, speed: f64, step: Duration) -> Self {
        let due = real.elapsed();
        Self { real, speed, step, due, impatient: 0 }
    }

    /// Waits until every agent is connected. Time moves on a little meanwhile, for those that try again.
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
            self.real.sleep(Duration::from_millis(20)).await;
            stage.advance(Duration::from_millis(50));
        }
    }

    /// Lets one step pass and waits until everybody has followed.
    pub(crate) async fn step(&mut self, stage: &mut Stage) -> anyhow::Result<()> {
        self.hold().await;
        let before = stage.engine().stats().await?;
        stage.advance(self.step);
        let began = self.real.elapsed();
        loop {
            let now = stage.engine().stats().await?;
            if has_followed(stage, &before, &now) {
                return Ok(());
            }
            if let Some(error) = stage.casualty() {
                return Err(error);
            }
            if self.real.elapsed().saturating_sub(began) > PATIENCE {
                self.impatient += 1;
                return Ok(());
            }
            self.real.sleep(POLL).await;
        }
    }

    /// Waits until the next step is due in real time.
    async fn hold(&mut self) {
        if self.speed > 0.0 {
            self.real.sleep_until(self.due).await;
            self.due = self.due.max(self.real.elapsed()) + self.step.div_f64(self.speed);
        }
    }
}

/// True once batches, rounds and commands have caught up with the fleet.
fn has_followed(stage: &Stage, before: &EngineStats, now: &EngineStats) -> bool {
    let sampled = now.batches >= before.batches + before.sessions.min(now.sessions);
    let flying = stage.world(|world| world.flights().len()) as u64;
    sampled && now.commands_open == flying
}
