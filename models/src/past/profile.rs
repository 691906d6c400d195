//! The habits of one resource of one vm: what it does at which minute of the hour and at which hour of the day.
//!
//! Jumps cluster just after the hour (`docs/forecaster.md`): what is started by a clock comes again by the clock.

use ballast_core::history::SLOTS_PER_DAY;
use serde::{Deserialize, Serialize};

/// Slots of an hour.
pub const MINUTES: usize = 12;

/// Hours of a day.
pub const HOURS: usize = 24;

/// Share by which a new value counts at its minute of the hour: about the last eight hours.
const MINUTE_WEIGHT: f32 = 1.0 / 8.0;

/// Share by which a new value counts at its hour: about the last two days, of twelve values each.
const HOUR_WEIGHT: f32 = 1.0 / 24.0;

/// Share by which a peak gives way to a lower value: half an hour's peak is forgotten in four days.
const PEAK_FADES: f32 = 0.015;

/// Habits, as deviations from the vm's level of the last hours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    minutes: [f32; MINUTES],
    hours: [f32; HOURS],
    peaks: [f32; HOURS],
    /// Values taken, up to the number at which all are settled.
    values: u16,
}

impl Default for Profile {
    fn default() -> Self {
        Self { minutes: [0.0; MINUTES], hours: [0.0; HOURS], peaks: [0.0; HOURS], values: 0 }
    }
}

impl Profile {
    /// Takes the value of `slot`; `level` is the vm's level of the last hours. A missing value changes nothing.
    pub(super) fn step(&mut self, slot: u32, value: f32, level: f32) {
        if value.is_nan() {
            return;
        }
        let minute = &mut self.minutes[minute_of(slot)];
        *minute += MINUTE_WEIGHT * (value - level - *minute);
        let hour = hour_of(slot);
        if self.values == 0 {
            (self.hours, self.peaks) = ([value; HOURS], [value; HOURS]);
        }
        self.values = self.values.saturating_add(1);
        self.hours[hour] += HOUR_WEIGHT * (value - self.hours[hour]);
        let peak = &mut self.peaks[hour];
        *peak += if value > *peak { 0.5 } else { PEAK_FADES } * (value - *peak);
    }

    pub(super) fn is_sound(&self) -> bool {
        self.minutes.iter().chain(&self.hours).chain(&self.peaks).all(|value| value.is_finite())
    }

    /// Deviation from the level at the minute of `slot`.
    pub fn minute(&self, slot: u32) -> f32 {
        self.minutes[minute_of(slot)]
    }

    /// The largest deviation at any minute of the hour.
    pub fn minute_max(&self) -> f32 {
        self.minutes.iter().copied().fold(f32::MIN, f32::max)
    }

    /// Mean at the hour of `slot`.
    pub fn hour(&self, slot: u32) -> f32 {
        self.hours[hour_of(slot)]
    }

    /// Peak at the hour of `slot`.
    pub fn peak(&self, slot: u32) -> f32 {
        self.peaks[hour_of(slot)]
    }
}

fn minute_of(slot: u32) -> usize {
    slot as usize % MINUTES
}

fn hour_of(slot: u32) -> usize {
    (slot % SLOTS_PER_DAY) as usize / MINUTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_at_five_past_every_hour_becomes_a_habit_of_that_minute() {
        let mut profile = Profile::default();
        for slot in 0..48 * 12 {
            profile.step(slot, if slot % 12 == 1 { 3.0 } else { 1.0 }, 1.0);
        }
        assert!(profile.minute(1) > 1.9 && profile.minute(2).abs() < 0.1);
        assert_eq!(profile.minute_max(), profile.minute(13));
    }

    #[test]
    fn the_peak_of_an_hour_is_remembered_on_the_next_day() {
        let mut profile = Profile::default();
        for slot in 0..2 * SLOTS_PER_DAY {
            profile.step(slot, if slot == 37 { 4.0 } else { 1.0 }, 1.0);
        }
        assert!(profile.peak(3 * 12) > 1.8 && profile.peak(4 * 12) < 1.1);
    }

    #[test]
    fn a_missing_value_changes_no_habit() {
        let mut profile = Profile::default();
        profile.step(0, f32::NAN, 1.0);
        assert_eq!(profile, Profile::default());
    }
}
