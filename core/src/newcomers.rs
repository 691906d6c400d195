//! Vms that came to the fleet lately, and how long such as these would wait for a host where little room is awake.
//!
//! ballast starts no vm: somebody does, and has to wake a host first where none that is awake has room. How often that would be
//! is asked of what came: each vm of the last day is taken to come again, with those that came shortly before it, and waits where
//! together they do not fit. An empirical newsvendor (Arrow, Harris and Marschak 1951): no distribution is assumed, and bursts
//! count as bursts. Room is memory, for that is what a vm needs to start.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use crate::units::{Bytes, Timestamp, count};

/// What came longer ago says nothing of what will come.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Vms that are remembered at most, the newest.
const MOST: usize = 4096;

/// Time watched that counts at least: what a single vm says of the hour to come is not made more of.
const WATCHED_LEAST: Duration = Duration::from_secs(3600);

/// One vm that came.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Newcomer {
    at: Timestamp,
    memory: Bytes,
}

/// The vms that came lately.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Newcomers {
    /// Since when it is known who came.
    since: Option<Timestamp>,
    /// In order of time.
    came: VecDeque<Newcomer>,
}

impl Newcomers {
    /// From now on it is seen who comes.
    pub fn watch(&mut self, now: Timestamp) {
        self.since.get_or_insert(now);
    }

    /// True once it is seen who comes.
    pub fn is_watched(&self) -> bool {
        self.since.is_some()
    }

    /// A vm that needs so much memory has come.
    pub fn came(&mut self, memory: Bytes, now: Timestamp) {
        self.came.push_back(Newcomer { at: now, memory });
        while self.came.pop_front_if(|one| now.since(one.at) >= KEPT).is_some() {}
        if self.came.len() > MOST {
            // Of the time before the oldest that is kept nothing is known any more.
            self.came.pop_front();
            self.since = self.came.front().map(|one| one.at);
        }
    }

    /// True where none came.
    pub fn is_empty(&self) -> bool {
        self.came.is_empty()
    }

    /// Seconds that vms that come within `horizon` are expected to wait, all together, where a host takes `wake` to be there and
    /// `room` is awake.
    pub fn waiting(&self, room: &Room, wake: Duration, horizon: Duration, now: Timestamp) -> f64 {
        let Some(since) = self.since else { return 0.0 };
        let watched = now.since(since).clamp(WATCHED_LEAST, KEPT);
        let (mut late, mut together, mut first) = (0, Bytes::ZERO, 0);
        for one in &self.came {
            while one.at.since(self.came[first].at) >= wake && first + 1 < self.came.len() {
                together = together.saturating_sub(self.came[first].memory);
                first += 1;
            }
            together = together + one.memory;
            late += usize::from(together > room.for_vms_of(one.memory) && now.since(one.at) < KEPT);
        }
        count(late) * wake.as_secs_f64() * horizon.as_secs_f64() / watched.as_secs_f64()
    }
}

/// Memory that is free on hosts that are awake.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Room {
    /// Free memory of each host, the most first, with the sum of all up to it.
    gaps: Vec<(Bytes, Bytes)>,
    taken: Bytes,
}

impl Room {
    /// Of hosts with so much free memory each, of which `taken` in all is spoken for.
    pub fn of(free: impl IntoIterator<Item = Bytes>, taken: Bytes) -> Self {
        let mut free: Vec<Bytes> = free.into_iter().collect();
        free.sort_unstable_by(|a, b| b.cmp(a));
        let mut sum = Bytes::ZERO;
        let with_sum = |gap| {
            sum = sum + gap;
            (gap, sum)
        };
        Self { gaps: free.into_iter().map(with_sum).collect(), taken }
    }

    /// What vms of that size find: gaps that are too small for one do not count.
    fn for_vms_of(&self, memory: Bytes) -> Bytes {
        let large_enough = self.gaps.partition_point(|(gap, _)| *gap >= memory);
        let sum = large_enough.checked_sub(1).map_or(Bytes::ZERO, |last| self.gaps[last].1);
        sum.saturating_sub(self.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const WAKE: Duration = Duration::from_secs(120);

    fn gib(free: &[u64]) -> Room {
        Room::of(free.iter().map(|gib| Bytes::from_gib(*gib)), Bytes::ZERO)
    }

    /// Vms of 4 GiB that came at these seconds of an hour, now over.
    fn came(at: &[u64]) -> (Newcomers, Timestamp) {
        let begin = Timestamp::from_secs(10_000);
        let mut newcomers = Newcomers::default();
        newcomers.watch(begin);
        for at in at {
            newcomers.came(Bytes::from_gib(4), begin.after(Duration::from_secs(*at)));
        }
        (newcomers, begin.after(HOUR))
    }

    #[test]
    fn vms_that_come_one_by_one_need_room_for_one() {
        let (newcomers, now) = came(&[0, 600, 1200, 1800]);
        assert_eq!(newcomers.waiting(&gib(&[4]), WAKE, HOUR, now), 0.0);
        assert_eq!(newcomers.waiting(&gib(&[3]), WAKE, HOUR, now), 4.0 * 120.0);
    }

    #[test]
    fn of_vms_that_come_together_those_wait_for_whom_there_is_no_room_left() {
        let (newcomers, now) = came(&[0, 10, 20, 30]);
        assert_eq!(newcomers.waiting(&gib(&[8]), WAKE, HOUR, now), 2.0 * 120.0);
        assert_eq!(newcomers.waiting(&gib(&[8]), Duration::from_secs(10), HOUR, now), 0.0, "a host is there in time");
    }

    #[test]
    fn room_in_pieces_that_are_too_small_is_none() {
        let (newcomers, now) = came(&[0]);
        assert_eq!(newcomers.waiting(&gib(&[3, 3, 3]), WAKE, HOUR, now), 120.0);
        assert_eq!(newcomers.waiting(&gib(&[3, 5]), WAKE, HOUR, now), 0.0);
        let taken = Room::of([Bytes::from_gib(8)], Bytes::from_gib(5));
        assert_eq!(newcomers.waiting(&taken, WAKE, HOUR, now), 120.0);
    }

    #[test]
    fn what_came_in_a_day_is_expected_for_its_part_of_the_hour_and_then_forgotten() {
        let (newcomers, now) = came(&[0, 1]);
        let later = now.after(HOUR * 11);
        assert_eq!(newcomers.waiting(&gib(&[]), WAKE, HOUR, later), 2.0 * 120.0 / 12.0);
        assert_eq!(newcomers.waiting(&gib(&[]), WAKE, HOUR, now.after(HOUR * 24)), 0.0);
    }

    #[test]
    fn nothing_is_expected_where_nobody_came_or_nobody_watched() {
        let now = Timestamp::from_secs(10);
        assert_eq!(Newcomers::default().waiting(&gib(&[]), WAKE, HOUR, now), 0.0);
        let mut many = Newcomers::default();
        many.watch(Timestamp::EPOCH);
        (0..5000).for_each(|second| many.came(Bytes::from_gib(1), Timestamp::from_secs(second)));
        assert_eq!((many.came.len(), many.since), (MOST, Some(Timestamp::from_secs(5000 - 4096))));
    }
}
