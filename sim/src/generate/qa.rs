//! A question-answering inference service: requests by the hour and in bursts, each with a prompt, retrieved context and an
//! answer, whose lengths drive the cores and the memory of the vm that answers.
//!
//! The model is run on the vm's CPU. Reading the prompt and context is bound by arithmetic, writing the answer by memory
//! bandwidth, so both have a rate of their own; every token of a request under way holds its keys and values in memory. The
//! defaults (in the scenario file, with their reasons) are orders of magnitude for a model of half a billion parameters.

use std::{f64::consts::TAU, time::Duration};

use super::{Draws, Grid, bursty::Bursty};
use crate::{
    generate::bursty::bursty,
    scenario::Service,
    trace::{Series, Slot},
};

/// Requests of a slot whose lengths are drawn one by one; the mean of more is the mean of these.
const DRAWN_MAX: u64 = 48;

/// Bytes of a token on the network, request and answer alike: text with its markup.
const BYTES_PER_TOKEN: f64 = 6.0;

/// Lengths of requests, log-normal, in tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Question {
    /// Median of the prompt.
    pub prompt: f64,
    /// Median of the retrieved context.
    pub context: f64,
    /// Median of the answer.
    pub answer: f64,
    /// Spread of the logarithm of all three.
    pub spread: f64,
    /// Longest request the model takes, prompt and context together; longer ones are cut.
    pub window: f64,
}

/// A service.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QaSpec {
    /// Requests per second and vm at the quietest hour.
    pub low: f64,
    /// At the busiest.
    pub high: f64,
    /// The busiest hour, 0 to 24, by the clock of the scenario.
    pub peak_h: f64,
    /// By how much a burst multiplies the rate.
    pub burst_factor: f64,
    /// When bursts come; its levels are not used.
    pub bursts: Bursty,
    /// What is asked.
    pub question: Question,
    /// Tokens read per core-second.
    pub read_rate: f64,
    /// Tokens written per core-second.
    pub write_rate: f64,
    /// Bytes that a token of a request under way holds.
    pub bytes_per_token: f64,
    /// Bytes the model takes, whatever is asked.
    pub model_bytes: f64,
    /// Age at which a request is given up.
    pub patience: Duration,
}

/// The requests of the vm with number `vm` and the memory, storage and network that go with them, for a vm of `vcpus` and
/// `memory` bytes. Vms with the same `group` have their bursts together.
pub fn qa(spec: &QaSpec, vm: u64, group: u64, (vcpus, memory): (f64, f64), grid: Grid, seed: u64) -> (Service, Series) {
    let draws = Draws::new(seed, vm);
    let bursts = bursty(&Bursty { idle: 0.0, busy: 1.0, ..spec.bursts }, group, grid, seed ^ 0x0b57);
    let (mut requests, mut work, mut slots) = (Vec::new(), Vec::new(), Vec::new());
    for slot in 0..grid.slots {
        let rate = rate(spec, grid.hour(slot)) * (1.0 + (spec.burst_factor - 1.0) * f64::from(bursts.slots[slot].cpu));
        let (came, length) = drawn(spec, &draws.part(slot as u64), rate * grid.slot.as_secs_f64());
        let rate = came / grid.slot.as_secs_f64();
        requests.push(single(rate));
        work.push(single(length.cores(spec)));
        slots.push(usage(spec, rate, length, vcpus, memory));
    }
    let series = Series { name: format!("qa-{group:02}-{vm:04}"), slot: grid.slot, slots };
    (Service { requests, work, patience: spec.patience }, series)
}

/// Expected requests per second at an hour, bursts left out.
fn rate(spec: &QaSpec, hour: f64) -> f64 {
    spec.low + (spec.high - spec.low) * (0.5 + 0.5 * (TAU * (hour - spec.peak_h) / 24.0).cos())
}

/// Tokens of an average request of a slot.
#[derive(Debug, Clone, Copy, Default)]
struct Length {
    read: f64,
    written: f64,
}

impl Length {
    /// Core-seconds it takes.
    fn cores(self, spec: &QaSpec) -> f64 {
        self.read / spec.read_rate + self.written / spec.write_rate
    }
}

/// How many requests come where `expected` are expected (normal for Poisson's law above a few, by its inverse below), and how
/// long they are on average.
fn drawn(spec: &QaSpec, draws: &Draws, expected: f64) -> (f64, Length) {
    let came = if expected > 30.0 {
        (expected + expected.sqrt() * draws.normal(0)).round().max(0.0)
    } else {
        poisson(expected, draws.unit(0))
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Rounded and not negative; the cut is at 48.
    let number = (came as u64).clamp(1, DRAWN_MAX);
    let mut sum = Length::default();
    for request in 0..number {
        let ask = &spec.question;
        let tokens = |stream, median| draws.part(stream).log_normal(request, median, ask.spread).max(1.0);
        sum.read += (tokens(1, ask.prompt) + tokens(2, ask.context)).min(ask.window);
        sum.written += tokens(3, ask.answer).min(ask.window);
    }
    #[allow(clippy::cast_precision_loss)] // At most 48.
    let number = number as f64;
    (came, Length { read: sum.read / number, written: sum.written / number })
}

/// The count at a position from 0 to 1 of Poisson's law.
fn poisson(expected: f64, position: f64) -> f64 {
    let (mut count, mut share) = (0.0, (-expected).exp());
    let mut sum = share;
    while position >= sum && count < 200.0 {
        count += 1.0;
        share *= expected / count;
        sum += share;
    }
    count
}

/// Memory, network and storage of a slot. The requests under way are those that came while one was answered (Little 1961);
/// one is answered by all vcpus together.
fn usage(spec: &QaSpec, rate: f64, length: Length, vcpus: f64, memory: f64) -> Slot {
    let busy = (rate * length.cores(spec) / vcpus).min(0.95);
    let alone = length.cores(spec) / vcpus;
    let under_way = rate * alone / (1.0 - busy);
    let held = spec.model_bytes + under_way * (length.read + length.written) * spec.bytes_per_token;
    Slot {
        cpu: single((rate * length.cores(spec) / vcpus).min(1.0)),
        memory: single((held / memory).min(1.0)),
        disk_read: 0.0,
        // A log of what was asked and answered, a byte a token.
        disk_write: single(rate * (length.read + length.written)),
        net_rx: single(rate * length.read * BYTES_PER_TOKEN),
        net_tx: single(rate * length.written * BYTES_PER_TOKEN),
    }
}

/// Rates and shares need no more than single precision.
#[allow(clippy::cast_possible_truncation)]
fn single(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::generate::testing::{DAY, correlation, mean};

    const SIZE: (f64, f64) = (8.0, 16e9);

    fn spec() -> QaSpec {
        QaSpec {
            low: 0.2,
            high: 1.2,
            peak_h: 15.0,
            burst_factor: 2.5,
            bursts: Bursty {
                idle: 0.0,
                busy: 1.0,
                busy_least: Duration::from_secs(120),
                idle_least: Duration::from_secs(1800),
                alpha: 1.5,
            },
            question: Question { prompt: 40.0, context: 500.0, answer: 60.0, spread: 0.6, window: 4096.0 },
            read_rate: 300.0,
            write_rate: 25.0,
            bytes_per_token: 98_304.0,
            model_bytes: 1.5e9,
            patience: Duration::from_secs(30),
        }
    }

    fn cores(service: &Service) -> Vec<f64> {
        let pairs = service.requests.iter().zip(&service.work);
        pairs.map(|(requests, work)| f64::from(requests * work)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn longer_contexts_want_more_cores_and_more_memory(seed in any::<u64>()) {
            let long = QaSpec { question: Question { context: 1500.0, ..spec().question }, ..spec() };
            let (short, short_use) = qa(&spec(), 0, 0, SIZE, DAY, seed);
            let (long, long_use) = qa(&long, 0, 0, SIZE, DAY, seed);
            prop_assert!(mean(&cores(&long)) > mean(&cores(&short)));
            let memory = |series: &Series| series.slots.iter().map(|slot| f64::from(slot.memory)).sum::<f64>();
            prop_assert!(memory(&long_use) > memory(&short_use));
            prop_assert!(long_use.slots.iter().all(|slot| (0.0..=1.0).contains(&slot.memory)));
        }

        #[test]
        fn requests_follow_the_hour_and_their_expected_number(seed in any::<u64>()) {
            let calm = QaSpec { burst_factor: 1.0, ..spec() };
            let (service, _) = qa(&calm, 3, 0, SIZE, DAY, seed);
            let rates: Vec<f64> = service.requests.iter().map(|rate| f64::from(*rate)).collect();
            let expected: Vec<f64> = (0..288).map(|slot| rate(&calm, DAY.hour(slot))).collect();
            prop_assert!((mean(&rates) / 0.7 - 1.0).abs() < 0.05, "{}", mean(&rates));
            prop_assert!(correlation(&rates, &expected) > 0.95);
        }
    }

    #[test]
    fn vms_of_a_group_have_their_bursts_together() {
        let rates = |vm, group| -> Vec<f64> {
            qa(&spec(), vm, group, SIZE, DAY, 5).0.requests.iter().map(|rate| f64::from(*rate)).collect()
        };
        let flat = QaSpec { low: 1.0, high: 1.0, ..spec() };
        let burst = |vm, group| -> Vec<f64> {
            qa(&flat, vm, group, SIZE, DAY, 5).0.requests.iter().map(|rate| f64::from(*rate)).collect()
        };
        assert!(correlation(&burst(0, 1), &burst(1, 1)) > 0.8);
        assert!(correlation(&burst(0, 1), &burst(1, 2)) < 0.5);
        assert_eq!(rates(0, 1), rates(0, 1));
    }

    #[test]
    fn few_requests_follow_poissons_law() {
        let counts: Vec<f64> = (0..5000).map(|n| poisson(3.0, Draws::new(1, 1).unit(n))).collect();
        let mean = mean(&counts);
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 5000.0;
        assert!((mean - 3.0).abs() < 0.1 && (variance - 3.0).abs() < 0.25, "{mean} {variance}");
    }
}
