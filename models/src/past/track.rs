//! The past of one resource of one vm: a ring of its newest values, running means, spreads, peaks and quantiles.

use ballast_core::history::SLOTS_PER_DAY;
use serde::{Deserialize, Serialize};

use super::Histogram;
use crate::scale::Packed;

/// Slots of the own window: three hours.
pub const WINDOW: usize = 36;

/// Slots of a ring that reaches back a day, with the slot of the same time yesterday still in it.
const DAY: usize = SLOTS_PER_DAY as usize;

/// Slots of an hour.
const HOUR: usize = 12;

/// Shares by which a new value counts in the running means: half of it is forgotten in 2, 6, 24 and 288 slots.
const MEANS: [f32; 4] = [0.292_893, 0.109_101, 0.028_468, 0.002_404];

/// The same for the running spreads: 6, 36 and 288 slots.
const SPREADS: [f32; 3] = [0.109_101, 0.019_07, 0.002_404];

/// Levels of the running quantiles.
const LEVELS: [f32; 3] = [0.5, 0.9, 0.99];

/// Step of the running quantiles, as a share of the day's spread.
const QUANTILE_STEP: f32 = 0.05;

/// Share of a peak that is left after a slot: half of it is forgotten in three hours, and in a day.
const PEAKS: [f32; 2] = [0.980_93, 0.997_596];

/// What is kept of one resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// Newest values, a ring; `newest` is the index of the newest.
    #[serde(with = "packed")]
    ring: Vec<Packed>,
    newest: u16,
    last: f32,
    before: f32,
    means: [f32; MEANS.len()],
    spreads: [f32; SPREADS.len()],
    /// Mean size of a change from slot to slot.
    change: f32,
    quantiles: [f32; LEVELS.len()],
    peaks: [f32; PEAKS.len()],
    values: u32,
    /// Slots since the value left the neighbourhood of its level.
    since_jump: u16,
    /// Of a ring of a day: its values, and the maxima of the hours that ended in each of its slots.
    day: Option<Day>,
}

/// How a day's values and maxima are distributed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Day {
    values: Histogram,
    maxima: Histogram,
    /// The maxima themselves, a ring beside that of the values.
    #[serde(with = "packed")]
    ring: Vec<Packed>,
}

impl Track {
    pub(super) fn new(keeps_a_day: bool) -> Self {
        let length = if keeps_a_day { DAY } else { WINDOW };
        Self {
            ring: vec![Packed::MISSING; length],
            newest: 0,
            last: 0.0,
            before: 0.0,
            means: [0.0; MEANS.len()],
            spreads: [0.0; SPREADS.len()],
            change: 0.0,
            quantiles: [0.0; LEVELS.len()],
            peaks: [0.0; PEAKS.len()],
            values: 0,
            since_jump: 0,
            day: keeps_a_day.then(|| Day {
                values: Histogram::default(),
                maxima: Histogram::default(),
                ring: vec![Packed::MISSING; DAY],
            }),
        }
    }

    pub(super) fn step(&mut self, value: f32) {
        let next = usize::from(self.newest) + 1;
        self.newest = if next < self.ring.len() { self.newest + 1 } else { 0 };
        let place = usize::from(self.newest);
        let gone = std::mem::replace(&mut self.ring[place], Packed::new(value));
        let highest = self.span(HOUR - 1, 0).map_or(f32::NAN, |(_, highest)| highest);
        if let Some(day) = &mut self.day {
            day.values.remove(gone.get());
            day.values.add(self.ring[place].get());
            let highest = Packed::new(highest);
            let gone = std::mem::replace(&mut day.ring[place], highest);
            day.maxima.remove(gone.get());
            day.maxima.add(highest.get());
        }
        self.since_jump = self.since_jump.saturating_add(1);
        if !value.is_nan() {
            self.learn(value);
        }
    }

    fn learn(&mut self, value: f32) {
        self.values = self.values.saturating_add(1);
        if self.values == 1 {
            (self.last, self.before) = (value, value);
            (self.means, self.quantiles, self.peaks) =
                ([value; MEANS.len()], [value; LEVELS.len()], [value; PEAKS.len()]);
            return;
        }
        // While little is known, each value counts as much as any before it.
        let even = 1.0 / count(self.values);
        let off = (value - self.means[2]).abs();
        if off > 0.1 + self.spreads[1] {
            self.since_jump = 0;
        }
        for (spread, weight) in self.spreads.iter_mut().zip(SPREADS) {
            *spread += weight.max(even) * (off - *spread);
        }
        self.change += SPREADS[1].max(even) * ((value - self.last).abs() - self.change);
        let step = QUANTILE_STEP * (self.spreads[2] + 0.02) * (1.0 + 8.0 * even.sqrt());
        for (quantile, level) in self.quantiles.iter_mut().zip(LEVELS) {
            *quantile += step * if value > *quantile { level } else { level - 1.0 };
        }
        for (mean, weight) in self.means.iter_mut().zip(MEANS) {
            *mean += weight.max(even) * (value - *mean);
        }
        for (peak, kept) in self.peaks.iter_mut().zip(PEAKS) {
            *peak = value.max(self.means[2] + (*peak - self.means[2]) * kept);
        }
        (self.before, self.last) = (self.last, value);
    }

    pub(super) fn is_sound(&self, keeps_a_day: bool) -> bool {
        let length = if keeps_a_day { DAY } else { WINDOW };
        let numbers =
            [&[self.last, self.before, self.change][..], &self.means, &self.spreads, &self.quantiles, &self.peaks];
        let day = self.day.as_ref();
        self.ring.len() == length
            && day.is_some() == keeps_a_day
            && day.is_none_or(|day| day.values.is_sound() && day.maxima.is_sound() && day.ring.len() == DAY)
            && usize::from(self.newest) < length
            && numbers.into_iter().flatten().all(|value| value.is_finite())
    }

    /// The value `ago` slots before the newest; `None` where it is missing or out of the ring.
    pub fn lag(&self, ago: usize) -> Option<f32> {
        let length = self.ring.len();
        if ago >= length {
            return None;
        }
        let newest = usize::from(self.newest);
        let index = if newest >= ago { newest - ago } else { newest + length - ago };
        Some(self.ring[index]).filter(|packed| *packed != Packed::MISSING).map(Packed::get)
    }

    /// Mean and largest of the values from `oldest` to `newest` slots ago; `None` where all are missing.
    pub fn span(&self, oldest: usize, newest: usize) -> Option<(f32, f32)> {
        let (mut sum, mut largest, mut values) = (0.0, f32::MIN, 0_u32);
        for value in (newest..=oldest).filter_map(|ago| self.lag(ago)) {
            sum += value;
            largest = largest.max(value);
            values += 1;
        }
        (values > 0).then(|| (sum / count(values), largest))
    }

    /// The newest value known, and the one known before.
    pub fn last_two(&self) -> (f32, f32) {
        (self.last, self.before)
    }

    /// The level of the last hours.
    pub fn level(&self) -> f32 {
        self.means[2]
    }

    /// Running means, from the fastest.
    pub fn means(&self) -> [f32; MEANS.len()] {
        self.means
    }

    /// Running spreads, from the fastest.
    pub fn spreads(&self) -> [f32; SPREADS.len()] {
        self.spreads
    }

    /// Mean size of a change from slot to slot.
    pub fn change(&self) -> f32 {
        self.change
    }

    /// Running quantiles .5, .9, .99 of the last days.
    pub fn quantiles(&self) -> [f32; LEVELS.len()] {
        self.quantiles
    }

    /// Fading peaks, from the fastest.
    pub fn peaks(&self) -> [f32; PEAKS.len()] {
        self.peaks
    }

    /// Quantiles of the last day's values and of its hours' maxima; of the own window's where no day is kept.
    pub fn day_quantiles<const N: usize>(&self, levels: [f32; N], window: &Window) -> [[f32; N]; 2] {
        match &self.day {
            Some(day) => [day.values.quantiles(levels, self.last), day.maxima.quantiles(levels, self.last)],
            None => [levels.map(|level| window.quantile(level)); 2],
        }
    }

    /// Values seen.
    pub fn values(&self) -> u32 {
        self.values
    }

    /// Slots since the value left the neighbourhood of its level.
    pub fn since_jump(&self) -> u16 {
        self.since_jump
    }

    /// The own window: the newest [`WINDOW`] values in order of size.
    pub fn window(&self) -> Window {
        let mut sorted = [Packed::MISSING; WINDOW];
        let newest = usize::from(self.newest) + 1;
        if newest >= WINDOW {
            sorted.copy_from_slice(&self.ring[newest - WINDOW..newest]);
        } else {
            sorted[..newest].copy_from_slice(&self.ring[..newest]);
            sorted[newest..].copy_from_slice(&self.ring[self.ring.len() - (WINDOW - newest)..]);
        }
        sorted.sort_unstable();
        let values = sorted.partition_point(|packed| *packed != Packed::MISSING);
        Window { sorted, values, held: self.last }
    }
}

/// The newest values of a resource in order of size.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    sorted: [Packed; WINDOW],
    values: usize,
    held: f32,
}

impl Window {
    /// The quantile at a level from 0 to 1, the nearest value below; the last known value where the window is empty.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 36")]
    pub fn quantile(&self, level: f32) -> f32 {
        match self.values.checked_sub(1) {
            Some(top) => self.sorted[((level * top as f32) as usize).min(top)].get(),
            None => self.held,
        }
    }

    /// Mean and standard deviation; the last known value and 0 where the window is empty.
    pub fn moments(&self) -> (f32, f32) {
        if self.values == 0 {
            return (self.held, 0.0);
        }
        let values = self.sorted[..self.values].iter().map(|packed| packed.get());
        let number = self.values as f32;
        let mean = values.clone().sum::<f32>() / number;
        let variance = values.map(|value| (value - mean).powi(2)).sum::<f32>() / number;
        (mean, variance.sqrt())
    }
}

fn count(values: u32) -> f32 {
    values as f32
}

/// Rings are kept as their bits.
mod packed {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Packed;

    pub(super) fn serialize<S: Serializer>(ring: &[Packed], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(ring.iter().map(|packed| packed.bits()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Packed>, D::Error> {
        Ok(Vec::<u16>::deserialize(deserializer)?.into_iter().map(Packed::from_bits).collect())
    }
}
