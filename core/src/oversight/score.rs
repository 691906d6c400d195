//! Running scores of three forecasters against what then came: pinball loss, and how often the 95 % quantile held.
//!
//! Losses are means in the resource's unit, so that a large vm counts as much as it matters; an old one counts half after an
//! hour. Persistence says that the last step comes again, and is sure of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    forecast::{LEVELS, Quantiles},
    oversight::resource::{Resource, Target},
    units::{Timestamp, count},
};

/// Time after which an old loss counts half: long enough for a few dozen losses of a single vm, short enough that the merits
/// of a good day do not cover for a bad hour.
const HALF_LIFE: Duration = Duration::from_secs(3600);

/// Share of a vm's capacity that is no error: where demand is flat every loss is next to nothing, and nothing is not to be
/// compared with nothing.
pub(super) const SLACK: f64 = 0.005;

/// The mean pinball loss over all levels.
pub fn pinball(Quantiles(said): &Quantiles, came: f64) -> f64 {
    let loss = |(level, said): (f64, &f64)| (level * (came - said)).max((level - 1.0) * (came - said));
    LEVELS.into_iter().zip(said).map(loss).sum::<f64>() / count(LEVELS.len())
}

/// What was said of one value, and what it came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub(super) model: Option<Quantiles>,
    pub(super) fallback: Quantiles,
    pub(super) last: f64,
    pub(super) came: f64,
    /// The vm's capacity; zero where the resource has none.
    pub(super) ceiling: f64,
}

/// The scores of one resource and target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Forecasts that have come due.
    pub count: u64,
    weight: f64,
    model: f64,
    fallback: f64,
    persistence: f64,
    covered: f64,
    covered_fallback: f64,
    ceiling: f64,
    newest: Timestamp,
}

impl Score {
    pub(super) fn add(&mut self, due: &Due, at: Timestamp) {
        self.fade(at);
        let slack = SLACK * due.ceiling;
        let holds = |quantiles: &Quantiles| f64::from(u8::from(due.came <= quantiles.q95() + slack));
        self.count += 1;
        self.weight += 1.0;
        self.model += due.model.map_or(0.0, |said| pinball(&said, due.came));
        self.covered += due.model.map_or(0.0, |said| holds(&said));
        self.fallback += pinball(&due.fallback, due.came);
        self.covered_fallback += holds(&due.fallback);
        self.persistence += pinball(&Quantiles::certain(due.last), due.came);
        self.ceiling += due.ceiling;
    }

    fn fade(&mut self, at: Timestamp) {
        let kept = (-at.since(self.newest).as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2();
        self.newest = self.newest.max(at);
        let sums = [&mut self.weight, &mut self.model, &mut self.fallback, &mut self.persistence];
        for sum in sums.into_iter().chain([&mut self.covered, &mut self.covered_fallback, &mut self.ceiling]) {
            *sum *= kept;
        }
    }

    fn mean(&self, sum: f64) -> f64 {
        if self.weight > 0.0 { sum / self.weight } else { 0.0 }
    }

    /// Mean pinball loss of the model.
    pub fn model(&self) -> f64 {
        self.mean(self.model)
    }

    /// Mean pinball loss of the fallback.
    pub fn fallback(&self) -> f64 {
        self.mean(self.fallback)
    }

    /// Mean pinball loss of persistence.
    pub fn persistence(&self) -> f64 {
        self.mean(self.persistence)
    }

    /// Share of values below the model's 95 % quantile.
    pub fn coverage(&self) -> f64 {
        self.mean(self.covered)
    }

    /// Share of values below the fallback's 95 % quantile.
    pub fn coverage_fallback(&self) -> f64 {
        self.mean(self.covered_fallback)
    }

    /// The loss that is taken for none.
    pub(super) fn slack(&self) -> f64 {
        SLACK * self.mean(self.ceiling)
    }
}

/// The scores of every resource and target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores([[Score; Target::ALL.len()]; Resource::ALL.len()]);

impl Scores {
    /// One of them.
    pub fn of(&self, resource: Resource, target: Target) -> &Score {
        &self.0[resource as usize][target as usize]
    }

    pub(super) fn add(&mut self, resource: Resource, target: Target, due: &Due, at: Timestamp) {
        self.0[resource as usize][target as usize].add(due, at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(model: f64, fallback: f64, came: f64) -> Due {
        let sure = Quantiles::certain;
        Due { model: Some(sure(model)), fallback: sure(fallback), last: fallback, came, ceiling: 4.0 }
    }

    #[test]
    fn pinball_weighs_too_low_by_the_level_and_too_high_by_the_rest() {
        let sure = Quantiles::certain(1.0);
        let above: f64 = LEVELS.iter().sum::<f64>() / 5.0;
        assert!((pinball(&sure, 2.0) - above).abs() < 1e-12);
        assert!((pinball(&sure, 0.0) - (1.0 - above)).abs() < 1e-12);
        assert_eq!(pinball(&sure, 1.0), 0.0);
    }

    #[test]
    fn an_old_loss_counts_half_after_an_hour() {
        let mut score = Score::default();
        score.add(&due(1.0, 1.0, 2.0), Timestamp::from_secs(0));
        let before = score.model();
        score.add(&due(2.0, 1.0, 2.0), Timestamp::from_secs(3600));
        assert!((score.model() - before / 3.0).abs() < 1e-12, "a half and a whole");
        assert_eq!(score.count, 2);
    }

    #[test]
    fn coverage_is_the_share_of_values_below_the_upper_quantile() {
        let mut score = Score::default();
        for came in [0.5, 0.9, 1.0, 3.0] {
            score.add(&due(1.0, 4.0, came), Timestamp::EPOCH);
        }
        assert_eq!((score.coverage(), score.coverage_fallback()), (0.75, 1.0));
    }
}
