//! Methods that need no training: rows of every comparison, and what remains when no bundle is at hand.

use ballast_core::{forecast::LEVELS, history::SLOTS_PER_DAY};

use crate::{
    network::TARGETS,
    past::{Past, Track, WINDOW},
    predictor::{Answer, Known, Predictor, REACH, consistent},
    scale::Resource,
};

/// Index of the first target that is a maximum.
const FIRST_MAXIMUM: usize = 3;

/// A rule for one resource and one target: the quantiles on the scale.
type Rule = fn(&Track, usize) -> [f32; LEVELS.len()];

/// A method that applies one rule to every resource and target.
#[derive(Debug, Clone, Copy)]
pub struct Simple {
    name: &'static str,
    rule: Rule,
}

impl Simple {
    /// Says that every vm goes on as it was last seen; its maximum is that of the last hour.
    pub const LAST_VALUE: Self = Self { name: "last-value", rule: last_value };
    /// The mean of the last twelve slots.
    pub const MEAN_12: Self = Self { name: "mean-12", rule: mean_12 };
    /// What the vm did at the same time yesterday.
    pub const SEASONAL: Self = Self { name: "seasonal", rule: seasonal };
    /// The quantiles of the vm's own last three hours, of its rolling maxima where a maximum is asked for.
    pub const OWN_WINDOW: Self = Self { name: "own-window", rule: own_window };
    /// All of them.
    pub const ALL: [Self; 4] = [Self::LAST_VALUE, Self::MEAN_12, Self::SEASONAL, Self::OWN_WINDOW];
}

impl Predictor for Simple {
    fn name(&self) -> &'static str {
        self.name
    }

    fn predict(&self, known: &[Known<'_>], _states: &[f32], answers: &mut [Answer]) {
        for (known, answer) in known.iter().zip(answers) {
            *answer = self.answer(known.past);
            consistent(answer);
        }
    }
}

impl Simple {
    fn answer(&self, past: &Past) -> Answer {
        Resource::ALL.map(|resource| std::array::from_fn(|target| (self.rule)(past.track(resource), target)))
    }
}

fn last_value(track: &Track, target: usize) -> [f32; LEVELS.len()] {
    let last = track.last_two().0;
    let value = if target < FIRST_MAXIMUM { last } else { highest(track, REACH[target]).unwrap_or(last) };
    [value; LEVELS.len()]
}

fn mean_12(track: &Track, target: usize) -> [f32; LEVELS.len()] {
    let (mean, highest) = track.span(11, 0).unwrap_or((track.last_two().0, track.last_two().0));
    [if target < FIRST_MAXIMUM { mean } else { highest }; LEVELS.len()]
}

fn seasonal(track: &Track, target: usize) -> [f32; LEVELS.len()] {
    let (day, reach) = (SLOTS_PER_DAY as usize, REACH[target]);
    let yesterday = if target < FIRST_MAXIMUM {
        track.lag(day - reach)
    } else {
        track.span(day - 1, day - reach).map(|(_, highest)| highest)
    };
    yesterday.map_or_else(|| last_value(track, target), |value| [value; LEVELS.len()])
}

fn own_window(track: &Track, target: usize) -> [f32; LEVELS.len()] {
    let mut values: Vec<f32> = if target < FIRST_MAXIMUM {
        (0..WINDOW).filter_map(|ago| track.lag(ago)).collect()
    } else {
        let reach = REACH[target];
        (0..=WINDOW - reach).filter_map(|ago| track.span(ago + reach - 1, ago).map(|(_, highest)| highest)).collect()
    };
    values.sort_by(f32::total_cmp);
    let last = track.last_two().0;
    LEVELS.map(|level| quantile(&values, level).unwrap_or(last))
}

fn highest(track: &Track, slots: usize) -> Option<f32> {
    track.span(slots - 1, 0).map(|(_, highest)| highest)
}

/// The quantile of sorted values, the nearest from below.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the window's length")]
fn quantile(sorted: &[f32], level: f64) -> Option<f32> {
    let top = sorted.len().checked_sub(1)?;
    sorted.get((level * top as f64).round() as usize).copied()
}

const _: () = assert!(FIRST_MAXIMUM + 2 == TARGETS, "two maxima follow the steps");

#[cfg(test)]
mod tests {
    use ballast_core::history::{Observed, Shape};

    use super::*;
    use crate::features::encode;

    /// CPU in percent, and what a method says of it.
    fn cpu(method: Simple, percents: &[f32]) -> [[f32; LEVELS.len()]; TARGETS] {
        let mut past = Past::new(0);
        for percent in percents {
            past.step(&Observed { cpu: percent / 100.0, ..Observed::MISSING });
        }
        let encoded = encode(&past, &Shape::default());
        let mut answers = [Answer::default()];
        method.predict(&[Known { past: &past, encoded: &encoded }], &[], &mut answers);
        answers[0][0].map(|targets| targets.map(|value| (Resource::Cpu.raw(value) * 100.0).round()))
    }

    #[test]
    fn the_last_value_stays_and_its_maximum_is_the_last_hours() {
        let said = cpu(Simple::LAST_VALUE, &[90.0, 30.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 10.0]);
        assert_eq!([said[0][1], said[2][4], said[3][1], said[4][1]], [10.0, 10.0, 10.0, 90.0]);
    }

    #[test]
    fn the_same_time_yesterday_comes_again() {
        let mut day = vec![5.0; 288];
        day[6] = 50.0;
        let said = cpu(Simple::SEASONAL, &[&day[..], &[5.0]].concat());
        assert_eq!([said[0][1], said[1][1], said[3][1]], [5.0, 50.0, 50.0]);
    }

    #[test]
    fn the_own_window_has_the_quantiles_of_its_values_and_of_its_rolling_maxima() {
        let mut window = vec![10.0; 36];
        window[30] = 80.0;
        let said = cpu(Simple::OWN_WINDOW, &window);
        assert_eq!((said[0][1], said[0][4], said[4][2]), (10.0, 80.0, 80.0));
    }
}
