//! The buckets, and what they are for: one agent that floods does not age the samples of the others.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use super::*;
use crate::config::Limits;

const RATE: Rate = Rate { per_second: 10.0, burst: 5.0 };

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_burst_is_let_through_and_then_the_rate() {
    let mut bucket = Bucket::new(RATE, at(0));
    for _ in 0..5 {
        assert_eq!(bucket.take(RATE, at(0)), Ok(()));
    }
    assert_eq!(bucket.take(RATE, at(0)), Err(at(100)));
    assert_eq!(bucket.take(RATE, at(60)), Err(at(40)));
    assert_eq!(bucket.take(RATE, at(100)), Ok(()));
    assert!(bucket.take(RATE, at(100)).is_err());
}

#[test]
fn silence_saves_up_no_more_than_a_burst() {
    let mut bucket = Bucket::new(RATE, at(0));
    let taken = (0..100).filter(|_| bucket.take(RATE, at(3_600_000)).is_ok()).count();
    assert_eq!(taken, 5);
}

#[test]
fn who_waits_for_a_token_waits_behind_those_who_wait_already() {
    let mut bucket = Bucket::new(RATE, at(0));
    let waits: Vec<Duration> = (0..8).map(|_| bucket.reserve(RATE, at(0))).collect();
    assert_eq!(waits, [0, 0, 0, 0, 0, 100, 200, 300].map(at));
}

#[test]
fn one_identity_at_its_limit_takes_nothing_from_another() {
    let buckets = Buckets::new(RATE);
    while buckets.take("agent kvm1", at(0)).is_ok() {}
    assert_eq!(buckets.take("agent kvm2", at(0)), Ok(()));
}

#[test]
fn identities_that_rest_are_forgotten_and_their_number_is_bounded() {
    let buckets = Buckets::new(RATE);
    for number in 0..BUCKETS_MAX {
        assert_eq!(buckets.take(&number.to_string(), at(0)), Ok(()));
    }
    assert!(buckets.take("one more", at(0)).is_err(), "all others are at work");
    assert_eq!(buckets.take("one more", at(1000)), Ok(()), "all others have rested");
    assert_eq!(buckets.of.lock().unwrap().len(), 1);
}

/// Hosts of the model.
const HOSTS: usize = 200;
/// What a batch of thirty vms costs the scheduler: eight times the 88 µs that were measured, so that the honest hosts
/// alone take a seventh of a core and what a flood takes would show.
const COST: Duration = Duration::from_micros(700);
/// How long the model runs, the first minute of which does not count: a burst may be used up in it.
const SPAN: Duration = Duration::from_secs(180);
/// Batches that an agent may have under way.
const WINDOW: usize = 64;

/// What happens next to a host's batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Sent,
    MayBeTaken,
    Taken,
}

/// The scheduler as the agents meet it: each link has one reader, which waits for its bucket, then for its turn at the one
/// that takes batches in, and reads the next only after that.
struct Model {
    events: BinaryHeap<Reverse<(Duration, Next, usize)>>,
    waiting: Vec<VecDeque<Duration>>,
    reading: Vec<bool>,
    buckets: Vec<Option<Bucket>>,
    rate: Option<Rate>,
    free_at: Duration,
    ages: Vec<Duration>,
    random: u64,
}

impl Model {
    fn new(rate: Option<Rate>) -> Self {
        let bucket = rate.map(|rate| Bucket::new(rate, Duration::ZERO));
        Self {
            events: (0..HOSTS).map(|host| Reverse((Duration::ZERO, Next::Sent, host))).collect(),
            waiting: vec![VecDeque::new(); HOSTS],
            reading: vec![false; HOSTS],
            buckets: vec![bucket; HOSTS],
            rate,
            free_at: Duration::ZERO,
            ages: Vec::new(),
            random: 7,
        }
    }

    /// Half to one and a half of `mean`, from the seed (xorshift).
    fn about(&mut self, mean: Duration) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        mean / 2 + mean.mul_f64(f64::from(u32::try_from(self.random >> 32).unwrap()) / f64::from(u32::MAX))
    }

    fn step(&mut self, now: Duration, next: Next, host: usize, every: Duration) {
        match next {
            Next::Sent => {
                let again = now + self.about(every);
                self.events.push(Reverse((again, Next::Sent, host)));
                // What does not fit into the window is not sent.
                if self.waiting[host].len() < WINDOW {
                    self.waiting[host].push_back(now);
                }
            }
            Next::MayBeTaken => {
                self.free_at = self.free_at.max(now) + COST;
                return self.events.push(Reverse((self.free_at, Next::Taken, host)));
            }
            Next::Taken => {
                self.reading[host] = false;
                let sent = self.waiting[host].pop_front();
                self.ages.extend(sent.filter(|_| host > 0 && now > at(60_000)).map(|sent| now - sent));
            }
        }
        if !self.reading[host] && !self.waiting[host].is_empty() {
            self.reading[host] = true;
            let bucket = self.buckets[host].as_mut().zip(self.rate);
            let wait = bucket.map_or(Duration::ZERO, |(bucket, rate)| bucket.reserve(rate, now));
            self.events.push(Reverse((now + wait, Next::MayBeTaken, host)));
        }
    }
}

/// The 99th percentile of the age that a batch has when it has been taken in, where every host sends about one per second
/// and host 0, which is not counted, `flood` times as many.
fn age_p99(flood: u32, rate: Option<Rate>) -> Duration {
    let mut model = Model::new(rate);
    while let Some(Reverse((now, next, host))) = model.events.pop().filter(|event| event.0.0 < SPAN) {
        let every = if host == 0 { Duration::from_secs(1) / flood } else { Duration::from_secs(1) };
        model.step(now, next, host, every);
    }
    model.ages.sort_unstable();
    model.ages[model.ages.len() * 99 / 100]
}

#[test]
fn an_agent_that_floods_does_not_age_the_samples_of_the_others() {
    let rate = Some(Limits::default().messages);
    let alone = age_p99(1, rate);
    for flood in [50, 2000] {
        let beside = age_p99(flood, rate);
        assert!(beside <= alone.mul_f64(1.1), "{beside:?} beside a flood of {flood}, {alone:?} without");
    }
    let unlimited = age_p99(2000, None);
    assert!(unlimited > alone.mul_f64(1.1), "without a limit the flood is not felt: {unlimited:?} and {alone:?}");
}
