//! Values of the wire as words and figures: one place, so that a missing reading is never shown as zero.

use ballast_core::{
    sample::VmState,
    units::{Bytes, Timestamp},
};
use ballast_proto::v1;

/// Stage of a migration that was ordered and has not begun.
pub(crate) const NOT_BEGUN: &str = "queued";

/// What stands for a value that is not known.
pub(crate) const UNKNOWN: &str = "-";

pub(crate) fn mode(mode: v1::Mode) -> &'static str {
    match mode {
        v1::Mode::Unspecified => "unknown",
        v1::Mode::Off => "off",
        v1::Mode::Recommend => "recommend",
        v1::Mode::Auto => "auto",
    }
}

pub(crate) fn host_power(power: v1::HostPower) -> &'static str {
    match power {
        v1::HostPower::Unspecified => "unknown",
        v1::HostPower::Awake => "awake",
        v1::HostPower::FallingAsleep => "falling_asleep",
        v1::HostPower::Asleep => "asleep",
        v1::HostPower::Waking => "waking",
    }
}

pub(crate) fn vm_state(state: v1::VmState) -> &'static str {
    VmState::from(state).name()
}

pub(crate) fn power_source(source: v1::PowerSource) -> &'static str {
    match source {
        v1::PowerSource::Unspecified => "unknown",
        v1::PowerSource::Curve => "curve",
        v1::PowerSource::Dcmi => "dcmi",
        v1::PowerSource::Redfish => "redfish",
        v1::PowerSource::Hwmon => "hwmon",
        v1::PowerSource::Rapl => "rapl",
    }
}

pub(crate) fn stage(stage: v1::Stage) -> &'static str {
    match stage {
        v1::Stage::Unspecified => NOT_BEGUN,
        v1::Stage::Preparation => "preparation",
        v1::Stage::Migration => "migration",
        v1::Stage::Switching => "switching",
        v1::Stage::Ended => "ended",
    }
}

pub(crate) fn ending(kind: v1::EndingKind) -> &'static str {
    match kind {
        v1::EndingKind::Unspecified => "unknown",
        v1::EndingKind::Completed => "completed",
        v1::EndingKind::Failed => "failed",
        v1::EndingKind::Cancelled => "cancelled",
        v1::EndingKind::VmGone => "vm_gone",
        v1::EndingKind::Abandoned => "abandoned",
        v1::EndingKind::Unresolved => "unresolved",
    }
}

/// A reading's value, where there is one.
pub(crate) fn value(reading: Option<&v1::Reading>) -> Option<f64> {
    let known = |reading: &&v1::Reading| matches!(reading.quality(), v1::Quality::Measured | v1::Quality::Estimated);
    reading.filter(known).map(|reading| reading.value).filter(|value| value.is_finite())
}

/// A moment, RFC 3339.
pub(crate) fn moment(unix_nanos: u64) -> String {
    Timestamp(unix_nanos).to_string()
}

/// Time of day of a moment, to the second.
pub(crate) fn time_of_day(unix_nanos: u64) -> String {
    moment(unix_nanos).get(11..19).unwrap_or_default().to_owned()
}

/// The text, or nothing where it is empty.
pub(crate) fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// `show` of a known value, or a dash.
pub(crate) fn or_dash<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), show)
}

/// An amount of memory or data.
pub(crate) fn bytes(bytes: f64) -> String {
    Bytes::from_f64(bytes).to_string()
}

/// A rate of data.
pub(crate) fn rate(bytes_per_second: f64) -> String {
    format!("{}/s", bytes(bytes_per_second))
}

/// A count of bytes as a float, for showing.
pub(crate) fn float(bytes: u64) -> f64 {
    Bytes(bytes).as_f64()
}

/// A share as per cent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// A span, short.
pub(crate) fn millis(millis: u64) -> String {
    match millis {
        0..=999 => format!("{millis} ms"),
        1000..=119_999 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        _ => format!("{} min", millis / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_reading_has_no_value_whatever_it_says() {
        let reading = |quality: v1::Quality| v1::Reading { value: 7.0, quality: quality.into() };
        assert_eq!(value(Some(&reading(v1::Quality::Measured))), Some(7.0));
        assert_eq!(value(Some(&reading(v1::Quality::Missing))), None);
        assert_eq!(value(Some(&reading(v1::Quality::Unspecified))), None);
        assert_eq!(value(None), None);
    }

    #[test]
    fn spans_are_short() {
        assert_eq!([millis(7), millis(12_340), millis(600_000)], ["7 ms", "12.3 s", "10 min"]);
    }
}
