//! The scale on which the forecaster works: differences count in proportion to the level, and nothing is negative.
//!
//! CPU and memory go through asinh of their percents (linear below one percent, logarithmic above), storage and network
//! through ln(1 + KB/s). Quantiles survive any rising map, so a quantile on this scale is one on the raw scale.

/// What is forecast of a vm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// CPU, as a share of the vCPUs.
    Cpu,
    /// Memory in use, as a share of what the vm may grow to.
    Memory,
    /// Storage read and written, bytes per second.
    Storage,
    /// Network received and sent, bytes per second.
    Network,
}

impl Resource {
    /// All of them, in the order of every array by resource.
    pub const ALL: [Self; RESOURCES] = [Self::Cpu, Self::Memory, Self::Storage, Self::Network];

    /// Whether it is a share of the vm's own capacity.
    pub fn is_share(self) -> bool {
        matches!(self, Self::Cpu | Self::Memory)
    }

    /// A raw value on the forecaster's scale.
    pub fn scaled(self, raw: f32) -> f32 {
        if self.is_share() { (raw * 100.0).asinh() } else { (raw / 1000.0).ln_1p() }
    }

    /// A value of the forecaster's scale as it was.
    pub fn raw(self, scaled: f32) -> f32 {
        if self.is_share() { scaled.sinh() / 100.0 } else { scaled.exp_m1() * 1000.0 }
    }
}

/// How many resources there are.
pub const RESOURCES: usize = 4;

/// The largest value of the scale: `sinh(8)` is 1490 %, `exp(18)` 66 GB/s.
pub const SCALED_MAX: f32 = 18.0;

/// Steps of a [`Packed`] value per unit of scale.
const PACKED_STEPS: f32 = 3600.0;

/// A value of the scale in two bytes, exact to a sixth of a thousandth of its level; or missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Packed(u16);

impl Packed {
    /// No value; greater than every value.
    pub const MISSING: Self = Self(u16::MAX);

    /// Packs a value; NaN is missing, what is out of range the nearest that is in it.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped into the range just before")]
    pub fn new(scaled: f32) -> Self {
        if scaled.is_nan() {
            return Self::MISSING;
        }
        Self((scaled.clamp(0.0, SCALED_MAX) * PACKED_STEPS).round() as u16)
    }

    /// The value; NaN where there is none.
    pub fn get(self) -> f32 {
        if self == Self::MISSING { f32::NAN } else { f32::from(self.0) / PACKED_STEPS }
    }

    /// Its two bytes, to be kept.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// From what [`Packed::bits`] gave.
    pub fn from_bits(bits: u16) -> Self {
        Self(bits)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_missing_value_stays_missing() {
        assert!(Packed::new(f32::NAN).get().is_nan());
        assert!(Packed::MISSING > Packed::new(SCALED_MAX));
    }

    proptest! {
        #[test]
        fn scaling_there_and_back_changes_nothing(percent in 0.0..200.0f32, rate in 0.0..1e9f32) {
            for (resource, raw) in [(Resource::Cpu, percent / 100.0), (Resource::Network, rate)] {
                let back = resource.raw(resource.scaled(raw));
                prop_assert!((back - raw).abs() <= 1e-5 * raw + 1e-6, "{raw} became {back}");
            }
        }

        #[test]
        fn packing_keeps_a_value_and_its_order(a in 0.0..SCALED_MAX, b in 0.0..SCALED_MAX) {
            prop_assert!((Packed::new(a).get() - a).abs() <= 0.5 / PACKED_STEPS + 1e-6);
            prop_assert!(a > b || Packed::new(a) <= Packed::new(b));
        }
    }
}
