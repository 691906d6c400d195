//! Quantities as newtypes, so that a watt is never added to a byte.
//!
//! Durations are `std::time::Duration`; moments are [`Timestamp`], always handed in, never read from a clock.
//! Every lossy cast of the workspace lives here.

use std::{
    fmt,
    iter::Sum,
    ops::{Add, AddAssign, Div, Mul, Neg, Sub, SubAssign},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// Declares an `f64` quantity with the arithmetic that keeps its unit.
macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub f64);

        impl $name {
            /// Nothing of it.
            pub const ZERO: Self = Self(0.0);

            /// The bare number, in the unit of the type.
            pub const fn get(self) -> f64 {
                self.0
            }

            /// The smaller of two.
            pub fn min(self, other: Self) -> Self {
                Self(self.0.min(other.0))
            }

            /// The larger of two.
            pub fn max(self, other: Self) -> Self {
                Self(self.0.max(other.0))
            }

            /// `self - other`, or zero where that would be negative.
            pub fn saturating_sub(self, other: Self) -> Self {
                Self((self.0 - other.0).max(0.0))
            }

            /// True for a finite number that is not negative: what a reading must be.
            pub fn is_sane(self) -> bool {
                self.0.is_finite() && self.0 >= 0.0
            }

            /// `self / whole` as a bare ratio; zero where `whole` is zero.
            pub fn ratio_of(self, whole: Self) -> f64 {
                if whole.0 == 0.0 { 0.0 } else { self.0 / whole.0 }
            }

            /// An order over all values, NaN last: for sorting and tie-breaks.
            pub fn total_cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.0.total_cmp(&other.0)
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }
        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                self.0 += other.0;
            }
        }
        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }
        impl SubAssign for $name {
            fn sub_assign(&mut self, other: Self) {
                self.0 -= other.0;
            }
        }
        impl Neg for $name {
            type Output = Self;
            fn neg(self) -> Self {
                Self(-self.0)
            }
        }
        impl Mul<f64> for $name {
            type Output = Self;
            fn mul(self, factor: f64) -> Self {
                Self(self.0 * factor)
            }
        }
        impl Div<f64> for $name {
            type Output = Self;
            fn div(self, divisor: f64) -> Self {
                Self(self.0 / divisor)
            }
        }
        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
                Self(iter.map(|item| item.0).sum())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let digits = f.precision().unwrap_or(2);
                write!(f, concat!("{:.*}", $unit), digits, self.0)
            }
        }
    };
}

quantity!(
    /// CPU in cores: 1.5 is one and a half busy cores.
    Cores,
    " cores"
);
quantity!(
    /// Power in watts.
    Watts,
    " W"
);
quantity!(
    /// Energy in joules; shown to people as kWh.
    Joules,
    " J"
);
quantity!(
    /// A transfer rate in bytes per second.
    BytesPerSec,
    " B/s"
);
quantity!(
    /// A rate of operations per second.
    OpsPerSec,
    " op/s"
);
quantity!(
    /// A rate of network packets per second.
    PacketsPerSec,
    " packets/s"
);
quantity!(
    /// A time that was measured, in seconds; one that is given is a [`Duration`].
    Seconds,
    " s"
);
quantity!(
    /// A share, 0 to 1 unless said otherwise.
    Ratio,
    ""
);

impl Watts {
    /// Energy drawn at this power over `span`.
    pub fn over(self, span: Duration) -> Joules {
        Joules(self.0 * span.as_secs_f64())
    }
}

impl Joules {
    /// The unit people read on their bill.
    pub fn kwh(self) -> f64 {
        self.0 / 3.6e6
    }
}

/// An amount of memory or data in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// Nothing of it.
    pub const ZERO: Self = Self(0);

    /// `count` KiB, as libvirt reports memory; saturates.
    pub const fn from_kib(count: u64) -> Self {
        Self(count.saturating_mul(1 << 10))
    }

    /// `count` MiB; saturates.
    pub const fn from_mib(count: u64) -> Self {
        Self(count.saturating_mul(1 << 20))
    }

    /// `count` GiB; saturates.
    pub const fn from_gib(count: u64) -> Self {
        Self(count.saturating_mul(1 << 30))
    }

    /// The bare number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// As a float, for models; exact below 2^53.
    #[allow(clippy::cast_precision_loss)]
    pub const fn as_f64(self) -> f64 {
        self.0 as f64
    }

    /// From a float: negative and NaN become zero, too large saturates.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub const fn from_f64(bytes: f64) -> Self {
        Self(bytes as u64)
    }

    /// `self - other`, or zero where that would be negative.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `self + other`, or the largest amount there is.
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// `self * factor` for a finite factor of at least zero.
    pub fn scale(self, factor: f64) -> Self {
        Self::from_f64(self.as_f64() * factor)
    }

    /// `self / whole` as a bare ratio; zero where `whole` is zero.
    pub fn ratio_of(self, whole: Self) -> f64 {
        if whole.0 == 0 { 0.0 } else { self.as_f64() / whole.as_f64() }
    }
}

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.saturating_add(other)
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Self::saturating_add)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const STEPS: [(&str, f64); 4] =
            [("TiB", 1_099_511_627_776.0), ("GiB", 1_073_741_824.0), ("MiB", 1_048_576.0), ("KiB", 1024.0)];
        let bytes = self.as_f64();
        match STEPS.iter().find(|(_, size)| bytes >= *size) {
            Some((unit, size)) => write!(f, "{:.1} {unit}", bytes / size),
            None => write!(f, "{} B", self.0),
        }
    }
}

/// A moment: nanoseconds since 1970-01-01 UTC, as every time on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z, also "never".
    pub const EPOCH: Self = Self(0);

    /// `seconds` after 1970.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since 1970.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Seconds since 1970, with fraction.
    #[allow(clippy::cast_precision_loss)]
    pub const fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Time from `earlier` to `self`; zero where `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// `self + span`; saturates.
    pub const fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos_of(span)))
    }

    /// `self - span`; saturates at [`Timestamp::EPOCH`].
    pub const fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos_of(span)))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds (Howard Hinnant's civil-from-days algorithm).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0 / 1_000_000;
        let (days, of_day) = (millis / 86_400_000, millis % 86_400_000);
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
        let (second, milli) = (of_day / 1000 % 60, of_day % 1000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

/// Nanoseconds of a duration; saturates after 584 years.
#[allow(clippy::cast_possible_truncation)]
pub const fn nanos_of(span: Duration) -> u64 {
    let nanos = span.as_nanos();
    if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 }
}

/// A duration from seconds; zero for what is negative or not a number, at most a hundred years.
pub fn seconds(secs: f64) -> Duration {
    const MAX: f64 = 100.0 * 365.25 * 86_400.0;
    if secs > 0.0 { Duration::from_secs_f64(secs.min(MAX)) } else { Duration::ZERO }
}

/// A count as a float, for means and shares; exact below 2^53.
#[allow(clippy::cast_precision_loss)]
pub const fn count(items: usize) -> f64 {
    items as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_print_as_rfc_3339() {
        assert_eq!(Timestamp::EPOCH.to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_secs(951_782_400).to_string(), "2000-02-29T00:00:00.000Z");
        assert_eq!(Timestamp(1_795_448_679_123_000_000).to_string(), "2026-11-23T15:44:39.123Z");
    }

    #[test]
    fn bytes_saturate_instead_of_wrapping() {
        assert_eq!(Bytes(5).saturating_sub(Bytes(7)), Bytes::ZERO);
        assert_eq!(Bytes::from_f64(f64::NAN), Bytes::ZERO);
        assert_eq!(Bytes::from_f64(-1.0), Bytes::ZERO);
        assert_eq!(Bytes(u64::MAX) + Bytes(1), Bytes(u64::MAX));
        assert_eq!(Bytes::from_mib(1536).to_string(), "1.5 GiB");
    }

    #[test]
    fn time_differences_never_go_negative() {
        let (early, late) = (Timestamp::from_secs(10), Timestamp::from_secs(12));
        assert_eq!(late.since(early), Duration::from_secs(2));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(seconds(f64::NAN), Duration::ZERO);
    }
}
