//! Random numbers by position instead of by order: a value depends on the seed and on what it is for, never on how many
//! were drawn before. Adding a vm therefore leaves every other vm's day as it was.

/// A hash of `seed` and two coordinates (the finaliser of `SplitMix64`, Steele et al. 2014).
pub(crate) fn hash(seed: u64, a: u64, b: u64) -> u64 {
    let step = |mut z: u64| {
        z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    step(step(step(seed) ^ a) ^ b)
}

/// A number from 0 up to, not including, 1.
#[allow(clippy::cast_precision_loss)] // 53 bits are all an f64 holds.
pub(crate) fn unit(seed: u64, a: u64, b: u64) -> f64 {
    (hash(seed, a, b) >> 11) as f64 / (1u64 << 53) as f64
}

/// A number from -1 to 1, most often near 0: the mean of three even draws, scaled.
pub(crate) fn bump(seed: u64, a: u64, b: u64) -> f64 {
    let sum: f64 = (0..3).map(|draw| unit(seed ^ draw, a, b)).sum();
    sum / 1.5 - 1.0
}

/// An index below `len`, which is not zero.
#[allow(clippy::cast_possible_truncation)] // The remainder is below `len`, a usize.
pub(crate) fn index(seed: u64, a: u64, b: u64, len: usize) -> usize {
    (hash(seed, a, b) % len.max(1) as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_lie_in_their_range_and_are_centred() {
        let draws: Vec<f64> = (0..2000).map(|n| bump(7, 3, n)).collect();
        assert!(draws.iter().all(|draw| (-1.0..=1.0).contains(draw)));
        assert!((draws.iter().sum::<f64>() / 2000.0).abs() < 0.03);
        assert!((0..2000).map(|n| unit(7, 3, n)).all(|draw| (0.0..1.0).contains(&draw)));
    }
}
