//! What peers remember between rounds, means over a moving window and since when something has held; and their dice.
//!
//! Memory goes by the time of the view, never by how often it is asked; dice follow from a seed.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::units::{Timestamp, count, nanos_of};

/// Parts that a window is kept in: the mean of a part counts once, however many values fell into it.
const PARTS: u64 = 12;

/// Means by host or by vm, in constant memory for each.
#[derive(Debug, Clone)]
pub(super) struct Means<K> {
    window: Duration,
    of: BTreeMap<K, Mean>,
}

#[derive(Debug, Clone)]
struct Mean {
    since: Timestamp,
    last: Timestamp,
    /// Number of the part since 1970, sum, how many, and the largest.
    parts: VecDeque<(u64, f64, usize, f64)>,
}

impl<K: Ord + Clone> Means<K> {
    pub(super) fn over(window: Duration) -> Self {
        Self { window, of: BTreeMap::new() }
    }

    fn part(&self, at: Timestamp) -> u64 {
        at.nanos() / (nanos_of(self.window) / PARTS).max(1)
    }

    /// Takes one value. After a silence of a whole window it begins anew.
    pub(super) fn observe(&mut self, key: &K, now: Timestamp, value: f64) {
        let (number, window) = (self.part(now), self.window);
        let fresh = || Mean { since: now, last: now, parts: VecDeque::new() };
        let mean = self.of.entry(key.clone()).or_insert_with(fresh);
        if now.since(mean.last) > window {
            *mean = fresh();
        }
        mean.last = now;
        match mean.parts.back_mut() {
            Some((last, sum, values, largest)) if *last == number => {
                (*sum, *values, *largest) = (*sum + value, *values + 1, largest.max(value));
            }
            _ => mean.parts.push_back((number, value, 1, value)),
        }
        while mean.parts.front().is_some_and(|(first, ..)| first + PARTS <= number) {
            mean.parts.pop_front();
        }
    }

    /// The mean over the window, or over as much of it as was seen.
    pub(super) fn mean(&self, key: &K) -> Option<f64> {
        let parts = &self.of.get(key)?.parts;
        let sum: f64 = parts.iter().map(|(_, sum, values, _)| sum / count(*values)).sum();
        (!parts.is_empty()).then(|| sum / count(parts.len()))
    }

    /// The mean, where the whole window was seen.
    pub(super) fn whole(&self, key: &K, now: Timestamp) -> Option<f64> {
        let seen = self.of.get(key).is_some_and(|mean| now.since(mean.since) >= self.window);
        seen.then(|| self.mean(key)).flatten()
    }

    /// The largest value in the window.
    pub(super) fn largest(&self, key: &K) -> Option<f64> {
        self.of.get(key)?.parts.iter().map(|(.., largest)| *largest).max_by(f64::total_cmp)
    }

    /// Forgets what is gone.
    pub(super) fn keep(&mut self, alive: impl Fn(&K) -> bool) {
        self.of.retain(|key, _| alive(key));
    }
}

/// Since when something has held of each.
#[derive(Debug, Clone)]
pub(super) struct Holding<K> {
    since: BTreeMap<K, Timestamp>,
}

impl<K: Ord + Clone> Holding<K> {
    pub(super) fn new() -> Self {
        Self { since: BTreeMap::new() }
    }

    /// How long it has held of `key` without a break, as far as was seen; nothing where it does not.
    pub(super) fn note(&mut self, key: &K, now: Timestamp, holds: bool) -> Option<Duration> {
        if !holds {
            self.since.remove(key);
            return None;
        }
        Some(now.since(*self.since.entry(key.clone()).or_insert(now)))
    }
}

/// Numbers that look random and follow from a seed: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone, Copy)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..sides`; zero where there are none.
    pub(super) fn below(&mut self, sides: usize) -> usize {
        let sides = u64::try_from(sides).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.roll() % sides).unwrap_or_default()
    }

    /// A number from 0 to 1.
    pub(super) fn share(&mut self) -> f64 {
        /// So many values tell shares apart finely enough.
        const FINE: usize = 1 << 30;
        count(self.below(FINE)) / count(FINE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(1_000_000 + secs)
    }

    #[test]
    fn a_mean_does_not_depend_on_how_often_it_is_told() {
        let (mut often, mut seldom) = (Means::over(Duration::from_secs(3600)), Means::over(Duration::from_secs(3600)));
        for minute in 0..60 {
            let value = if minute < 30 { 1.0 } else { 3.0 };
            often.observe(&1, at(minute * MINUTE), value);
            if minute % 5 == 0 {
                seldom.observe(&1, at(minute * MINUTE), value);
            }
        }
        let (often, seldom) = (often.mean(&1).unwrap(), seldom.mean(&1).unwrap());
        assert!((often - 2.0).abs() < 0.2 && (often - seldom).abs() < 0.2, "{often} {seldom}");
    }

    #[test]
    fn a_window_is_whole_only_after_its_length_and_begins_anew_after_a_silence() {
        let mut means = Means::over(Duration::from_secs(300));
        means.observe(&1, at(0), 1.0);
        assert_eq!(means.whole(&1, at(0)), None);
        means.observe(&1, at(300), 5.0);
        assert_eq!(means.whole(&1, at(300)), Some(5.0));
        means.observe(&1, at(3000), 1.0);
        assert_eq!(means.whole(&1, at(3000)), None);
    }

    #[test]
    fn what_breaks_off_holds_from_anew() {
        let mut held = Holding::new();
        assert_eq!(held.note(&1, at(0), true), Some(Duration::ZERO));
        assert_eq!(held.note(&1, at(60), true), Some(Duration::from_secs(60)));
        assert_eq!(held.note(&1, at(70), false), None);
        assert_eq!(held.note(&1, at(80), true), Some(Duration::ZERO));
    }

    #[test]
    fn dice_are_fair_enough_and_repeat() {
        let mut dice = Dice(7);
        let rolls: Vec<usize> = (0..6000).map(|_| dice.below(6)).collect();
        assert!((0..6).all(|side| rolls.iter().filter(|roll| **roll == side).count() > 850));
        let mut again = Dice(7);
        assert!(rolls.iter().all(|roll| *roll == again.below(6)));
    }
}
