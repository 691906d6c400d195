//! The numbers of a run: how long, how fast, how far ahead. All of them go into the bundle's card, and a checkpoint is held against them.

use ballast_models::policy::bundle::Bundle;
use clap::Args;
use serde::Serialize;

use super::replay::Returns;

/// The numbers of a run.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Numbers {
    /// Turns of playing and learning.
    #[arg(long, default_value_t = 120)]
    pub turns: usize,
    /// Cells played in a turn.
    #[arg(long, default_value_t = 8)]
    pub cells: usize,
    /// Steps of learning in a turn, for each member.
    #[arg(long, default_value_t = 150)]
    pub steps: usize,
    /// Turns in which the greedy policy answers.
    #[arg(long, default_value_t = 15)]
    pub warm_up: usize,
    /// Learning rate at the beginning; it falls to a tenth.
    #[arg(long, default_value_t = 1e-3)]
    pub rate: f64,
    /// Share of answers by chance at the beginning; it falls to a fifth.
    #[arg(long, default_value_t = 0.1)]
    pub chance: f64,
    /// Weight of a round over that of the one before.
    #[arg(long, default_value_t = 0.97)]
    pub discount: f64,
    /// Rounds whose costs are taken as they came.
    #[arg(long, default_value_t = 6)]
    pub rounds: usize,
    /// Rounds' energy of an idle host by which pay is shaped towards as few hosts as a fluid would need; 0 shapes nothing.
    #[arg(long, default_value_t = 0.0)]
    pub shaping: f32,
    /// Learn where to begin on a fleet rather than what to answer (Reptile): each turn after the warm-up learns one task, a day with a
    /// load and a mix of hosts, from where the networks stand, and goes this share of the way there; the share falls to nothing. What
    /// the last turn leaves is written, for --from.
    #[arg(long, value_name = "SHARE")]
    pub meta: Option<f64>,
    /// Seed of all that is drawn.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl Numbers {
    /// Whether they make sense.
    ///
    /// # Errors
    /// Where one is out of its range.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let share = self.meta.unwrap_or(1.0);
        anyhow::ensure!(share > 0.0 && share <= 1.0, "meta is {share}, more than 0 and at most 1 is needed");
        Ok(())
    }

    /// How returns are reckoned.
    pub(super) fn returns(&self) -> Returns {
        let Self { discount, rounds, shaping, .. } = *self;
        Returns { discount, rounds, rounds_max: 4 * rounds, shaping }
    }

    /// Turns in which the greedy policy answers, of a run that begins with those networks.
    pub(super) fn warm_up_after(&self, before: Option<&Bundle>) -> usize {
        if before.is_some() { 0 } else { self.warm_up }
    }
}
