//! Recent values of one thing on a fixed grid of time, with its gaps: what history and forecasts look back on.
//!
//! A gap is a slot without a value, never a value repeated or zero. The window does not know what time it is: it ends
//! at the newest value it was given, so its times must be the scheduler's own: one time far ahead would empty it.

use std::{collections::VecDeque, time::Duration};

use crate::units::{Timestamp, nanos_of};

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It has its slot.
    Stored,
    /// Its slot had a value, which it replaces.
    Replaced,
    /// It is older than the window reaches back; it was dropped and counted.
    TooOld,
}

/// The newest slots of a series, at most `capacity`.
#[derive(Debug, Clone, PartialEq)]
pub struct Window<T> {
    period_nanos: u64,
    capacity: usize,
    /// Number, since 1970, of the first slot.
    first: u64,
    slots: VecDeque<Option<T>>,
    dropped: u64,
}

impl<T> Window<T> {
    /// A window of at most `capacity` slots of `period` each; both are at least one (slot, nanosecond).
    pub fn new(period: Duration, capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { period_nanos: nanos_of(period).max(1), capacity, first: 0, slots: VecDeque::new(), dropped: 0 }
    }

    /// Puts a value into the slot that `at` falls into. What lies between the newest slot and a later one becomes gaps;
    /// what then no longer fits falls out at the old end.
    pub fn push(&mut self, at: Timestamp, value: T) -> Pushed {
        let number = at.nanos() / self.period_nanos;
        if self.slots.is_empty() {
            self.first = number;
        }
        let Some(ahead) = number.checked_sub(self.first) else {
            return self.push_before(number, value);
        };
        self.make_room(ahead);
        let place = usize::try_from(number - self.first).unwrap_or(usize::MAX);
        match self.slots.get_mut(place).and_then(|slot| slot.replace(value)) {
            Some(_) => Pushed::Replaced,
            None => Pushed::Stored,
        }
    }

    /// A value before the first slot: still welcome while the window is not full.
    fn push_before(&mut self, number: u64, value: T) -> Pushed {
        let behind = usize::try_from(self.first - number).unwrap_or(usize::MAX);
        if behind > self.capacity - self.slots.len() {
            self.dropped += 1;
            return Pushed::TooOld;
        }
        for _ in 1..behind {
            self.slots.push_front(None);
        }
        self.slots.push_front(Some(value));
        self.first = number;
        Pushed::Stored
    }

    /// Adds gaps until the slot `ahead` of the first one is there.
    fn make_room(&mut self, ahead: u64) {
        let Ok(wanted) = usize::try_from(ahead.saturating_add(1)) else { return self.restart(ahead) };
        let missing = wanted.saturating_sub(self.slots.len());
        if missing > self.capacity {
            return self.restart(ahead);
        }
        for _ in 0..missing {
            if self.slots.len() == self.capacity {
                self.slots.pop_front();
                self.first += 1;
            }
            self.slots.push_back(None);
        }
    }

    /// Nothing of the window is recent any more: it begins anew with the slot `ahead` of the first one.
    fn restart(&mut self, ahead: u64) {
        self.first += ahead;
        self.slots.clear();
        self.slots.push_back(None);
    }

    /// Every slot from the oldest to the newest: when it begins, and its value where there is one.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Timestamp, Option<&T>)> + ExactSizeIterator {
        let begins = |place: usize| {
            let place = u64::try_from(place).unwrap_or(u64::MAX);
            Timestamp(self.first.saturating_add(place).saturating_mul(self.period_nanos))
        };
        self.slots.iter().enumerate().map(move |(place, slot)| (begins(place), slot.as_ref()))
    }

    /// The newest value.
    pub fn newest(&self) -> Option<&T> {
        self.slots.back().and_then(Option::as_ref)
    }

    /// Number of slots, gaps included.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// True where nothing was ever put in.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Number of slots without a value.
    pub fn gaps(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_none()).count()
    }

    /// Number of values that came too late to be kept.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Length of a slot.
    pub fn period(&self) -> Duration {
        Duration::from_nanos(self.period_nanos)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn window() -> Window<u64> {
        Window::new(Duration::from_secs(5), 4)
    }

    fn values(window: &Window<u64>) -> Vec<(u64, Option<u64>)> {
        window.iter().map(|(at, value)| (at.nanos() / 1_000_000_000, value.copied())).collect()
    }

    #[test]
    fn silence_becomes_gaps() {
        let mut window = window();
        window.push(Timestamp::from_secs(11), 1);
        window.push(Timestamp::from_secs(21), 2);
        assert_eq!(values(&window), [(10, Some(1)), (15, None), (20, Some(2))]);
        assert_eq!(window.gaps(), 1);
    }

    #[test]
    fn a_late_value_fills_its_gap() {
        let mut window = window();
        window.push(Timestamp::from_secs(10), 1);
        window.push(Timestamp::from_secs(20), 2);
        assert_eq!(window.push(Timestamp::from_secs(16), 3), Pushed::Stored);
        assert_eq!(window.push(Timestamp::from_secs(5), 4), Pushed::Stored);
        assert_eq!(values(&window), [(5, Some(4)), (10, Some(1)), (15, Some(3)), (20, Some(2))]);
    }

    #[test]
    fn what_no_longer_fits_is_dropped_and_counted() {
        let mut window = window();
        window.push(Timestamp::from_secs(100), 1);
        assert_eq!(window.push(Timestamp::from_secs(80), 2), Pushed::TooOld);
        assert_eq!((window.len(), window.dropped()), (1, 1));
    }

    #[test]
    fn after_a_long_silence_the_window_begins_anew() {
        let mut window = window();
        window.push(Timestamp::from_secs(10), 1);
        window.push(Timestamp(u64::MAX), 2);
        assert_eq!((window.len(), window.newest()), (1, Some(&2)));
    }

    proptest! {
        #[test]
        fn it_holds_the_newest_slots_and_never_more(pushes in prop::collection::vec((0..200u64, any::<u64>()), 1..60)) {
            let mut window = window();
            let mut all = BTreeMap::new();
            for (seconds, value) in pushes {
                if window.push(Timestamp::from_secs(seconds), value) != Pushed::TooOld {
                    all.insert(seconds / 5, value);
                }
                prop_assert!(window.len() <= 4);
                let newest = *all.keys().last().unwrap();
                for (at, held) in window.iter() {
                    prop_assert_eq!(held, all.get(&(at.nanos() / 5_000_000_000)));
                }
                prop_assert_eq!(window.iter().last().unwrap().0, Timestamp::from_secs(newest * 5));
            }
        }
    }
}
