//! The dice of a run: everything random follows from its seed, and each part has dice of its own.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Dice; clones roll on where the others stopped.
#[derive(Debug, Clone)]
pub(super) struct Dice(Arc<Mutex<Pcg64>>);

impl Dice {
    /// The dice of `part` in the run of `seed`.
    pub(super) fn new(seed: u64, part: &str) -> Self {
        let part = part.bytes().fold(seed ^ 0x9e37_79b9_7f4a_7c15, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
        });
        Self(Arc::new(Mutex::new(Pcg64::seed_from_u64(part))))
    }

    fn with<T>(&self, roll: impl FnOnce(&mut Pcg64) -> T) -> T {
        roll(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// True with this probability.
    pub(super) fn chance(&self, probability: f64) -> bool {
        self.with(|dice| dice.random_range(0.0..1.0) < probability)
    }

    /// A number from `0` to below `bound`; zero where the bound is.
    pub(super) fn below(&self, bound: usize) -> usize {
        if bound == 0 { 0 } else { self.with(|dice| dice.random_range(0..bound)) }
    }

    /// A number from `low` to below `high`.
    pub(super) fn between(&self, low: f64, high: f64) -> f64 {
        self.with(|dice| dice.random_range(low..high))
    }

    /// A span from `low` to below `high` milliseconds.
    pub(super) fn millis(&self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.with(|dice| dice.random_range(low..high)))
    }

    /// One of them.
    pub(super) fn pick<'a, T>(&self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }

    /// That many bytes.
    pub(super) fn bytes(&self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.with(|dice| dice.random_range(0..=u8::MAX))).collect()
    }
}
