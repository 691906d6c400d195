//! How a vm's copies are to go by its operator's wish, and the limits that come of it.
//!
//! The wish is a label of the vm (docs/labels.md): its agent reads it, the inventory tells of it, and the scheduler makes the
//! limits of every order from it. What is not wished is as [`MigrationLimits::for_memory`] has it.
//!
//! **No post-copy.** A vm that was switched over before its memory was there is in two places: when the link or either host
//! fails then, it is lost, and letting it go on at its source, as after any other failure, would ruin it. Nothing here may
//! lose a vm, so it is not wished for in vain: the label is refused.

use std::{fmt, ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    command::MigrationLimits,
    units::{Bytes, BytesPerSec},
};

/// Pauses that may be allowed, milliseconds: shorter ones no copy fits into, longer ones are a slip of the unit.
pub const DOWNTIME_MS: RangeInclusive<u32> = 10..=60_000;
/// Rates that a copy may be held to, megabits per second: libvirt takes whole MiB per second.
pub const BANDWIDTH_MBIT: RangeInclusive<u32> = 10..=1_000_000;
/// Times in which a copy may have to end, seconds.
pub const TIMEOUT_SECONDS: RangeInclusive<u32> = 10..=86_400;
/// Connections that a copy may be spread over: each is a thread at both ends.
pub const PARALLEL: RangeInclusive<u32> = 1..=16;

/// Bytes per second of a megabit per second.
const MBIT: f64 = 125_000.0;

/// How the stream of a copy is made smaller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// By zstd, which only a copy over parallel connections can.
    Zstd,
}

/// An operator's wish for the copies of one vm; what is `None` is as it is for all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Convergence {
    /// Longest pause at the switch-over that is ever allowed, milliseconds.
    pub downtime_max_ms: Option<u32>,
    /// Rate that the copy is held to, megabits per second.
    pub bandwidth_mbit: Option<u32>,
    /// Time in which the copy has to end, seconds.
    pub timeout_seconds: Option<u32>,
    /// Whether the vm may be slowed down until its copy converges.
    pub auto_converge: bool,
    /// Connections that the copy is spread over.
    pub parallel: Option<u32>,
    /// How the stream is made smaller.
    pub compression: Compression,
}

/// A wish that cannot be granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidWish {
    /// Which part of it.
    pub field: &'static str,
    /// What was wished.
    pub value: String,
    /// What would be needed.
    pub needed: String,
}

impl fmt::Display for InvalidWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, where {} is needed", self.field, self.value, self.needed)
    }
}

impl Convergence {
    /// True where nothing is wished.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the copy goes over more than one connection.
    pub fn is_parallel(&self) -> bool {
        self.parallel.is_some_and(|connections| connections > 1)
    }

    /// The limits of a copy of a vm of `memory`.
    pub fn limits(&self, memory: Bytes) -> MigrationLimits {
        let plain = MigrationLimits::for_memory(memory);
        let wished = self.downtime_max_ms.map(|millis| Duration::from_millis(millis.into()));
        let downtime_max = wished.unwrap_or(plain.downtime_max);
        let timeout = self.timeout_seconds.map(|seconds| Duration::from_secs(seconds.into()));
        MigrationLimits {
            bandwidth: self.bandwidth_mbit.map(|mbit| BytesPerSec(f64::from(mbit) * MBIT)),
            downtime_start: plain.downtime_start.min(downtime_max),
            downtime_max,
            completion_timeout: timeout.unwrap_or(plain.completion_timeout),
            auto_converge: self.auto_converge,
            parallel: self.parallel.filter(|_| self.is_parallel()),
            compression: self.compression,
            ..plain
        }
    }

    /// Everything in it that cannot be granted.
    pub fn problems(&self) -> Vec<InvalidWish> {
        let within = |field, value: Option<u32>, range: RangeInclusive<u32>| {
            let value = value.filter(|value| !range.contains(value))?;
            let needed = format!("a number from {} to {}", range.start(), range.end());
            Some(InvalidWish { field, value: value.to_string(), needed })
        };
        let alone = self.compression == Compression::Zstd && !self.is_parallel();
        let needed = "parallel of at least 2 beside it".to_owned();
        let compression = alone.then_some(InvalidWish { field: "compression", value: "zstd".into(), needed });
        let numbers = [
            within("max-downtime-ms", self.downtime_max_ms, DOWNTIME_MS),
            within("bandwidth-mbit", self.bandwidth_mbit, BANDWIDTH_MBIT),
            within("timeout-seconds", self.timeout_seconds, TIMEOUT_SECONDS),
            within("parallel", self.parallel, PARALLEL),
        ];
        numbers.into_iter().chain([compression]).flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_wish_the_limits_are_those_of_everybody() {
        let memory = Bytes::from_gib(4);
        assert_eq!(Convergence::default().limits(memory), MigrationLimits::for_memory(memory));
        assert!(Convergence::default().is_plain() && Convergence::default().problems().is_empty());
    }

    #[test]
    fn what_is_wished_becomes_a_limit_and_the_rest_stays() {
        let wish = Convergence {
            downtime_max_ms: Some(100),
            bandwidth_mbit: Some(800),
            timeout_seconds: Some(60),
            auto_converge: true,
            parallel: Some(4),
            compression: Compression::Zstd,
        };
        let limits = wish.limits(Bytes::from_gib(4));
        assert_eq!(limits.bandwidth, Some(BytesPerSec(1e8)));
        let pause = Duration::from_millis(100);
        assert_eq!((limits.downtime_start, limits.downtime_max), (pause, pause), "not begun with a longer one");
        assert_eq!(limits.completion_timeout, Duration::from_secs(60));
        assert_eq!((limits.auto_converge, limits.parallel, limits.compression), (true, Some(4), Compression::Zstd));
        let plain = MigrationLimits::for_memory(Bytes::from_gib(4));
        assert_eq!((limits.prepare_timeout, limits.stall_timeout), (plain.prepare_timeout, plain.stall_timeout));
    }

    #[test]
    fn one_connection_is_no_parallel_copy() {
        assert_eq!(
            Convergence { parallel: Some(1), ..Convergence::default() }.limits(Bytes::from_gib(1)).parallel,
            None
        );
    }

    #[test]
    fn each_wish_out_of_its_range_is_named_with_the_range() {
        let wish = Convergence {
            downtime_max_ms: Some(9),
            bandwidth_mbit: Some(1),
            timeout_seconds: Some(86_401),
            parallel: Some(17),
            ..Convergence::default()
        };
        let said: Vec<String> = wish.problems().iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "max-downtime-ms is 9, where a number from 10 to 60000 is needed",
                "bandwidth-mbit is 1, where a number from 10 to 1000000 is needed",
                "timeout-seconds is 86401, where a number from 10 to 86400 is needed",
                "parallel is 17, where a number from 1 to 16 is needed",
            ]
        );
    }

    #[test]
    fn compression_needs_parallel_connections() {
        let zstd = |parallel| Convergence { compression: Compression::Zstd, parallel, ..Convergence::default() };
        assert_eq!(zstd(None).problems().len(), 1);
        assert_eq!(zstd(Some(1)).problems().len(), 1);
        assert_eq!(zstd(Some(2)).problems(), []);
    }
}
