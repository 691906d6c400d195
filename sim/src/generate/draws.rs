//! Random numbers of the shapes demand takes, each by its position: the n-th draw of a stream is always the same number.

use crate::noise;

/// One stream of draws.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draws {
    seed: u64,
    stream: u64,
}

impl Draws {
    /// The stream of that number.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self { seed: noise::hash(seed, 31, stream), stream }
    }

    /// Another stream that belongs to this one.
    pub(crate) fn part(&self, number: u64) -> Self {
        Self { seed: noise::hash(self.seed, 37, number), stream: self.stream }
    }

    /// Even, from 0 up to, not including, 1.
    pub(crate) fn unit(&self, n: u64) -> f64 {
        noise::unit(self.seed, 1, n)
    }

    /// Even, above 0 and at most 1: what a logarithm may be taken of.
    fn open(&self, n: u64) -> f64 {
        1.0 - noise::unit(self.seed, 2, n)
    }

    /// Normal with mean 0 and deviation 1 (Box and Muller 1958).
    pub(crate) fn normal(&self, n: u64) -> f64 {
        (-2.0 * self.open(n).ln()).sqrt() * (std::f64::consts::TAU * noise::unit(self.seed, 3, n)).cos()
    }

    /// Log-normal with that median and spread of the logarithm.
    pub(crate) fn log_normal(&self, n: u64, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal(n)).exp()
    }

    /// Exponential with that mean.
    pub(crate) fn exponential(&self, n: u64, mean: f64) -> f64 {
        -self.open(n).ln() * mean
    }

    /// Pareto with that least value and exponent, cut off at `most`.
    pub(crate) fn pareto(&self, n: u64, least: f64, alpha: f64, most: f64) -> f64 {
        (least * self.open(n).powf(-1.0 / alpha)).min(most)
    }
}

/// Mean of [`Draws::pareto`]: what lies above the cut counts as the cut.
pub(crate) fn pareto_mean(least: f64, alpha: f64, most: f64) -> f64 {
    if (alpha - 1.0).abs() < 1e-9 {
        return least * (1.0 + (most / least).ln());
    }
    (alpha * least - least * (least / most).powf(alpha - 1.0)) / (alpha - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(draw: impl Fn(u64) -> f64) -> f64 {
        (0..20_000).map(draw).sum::<f64>() / 20_000.0
    }

    #[test]
    fn draws_have_the_means_they_should() {
        let draws = Draws::new(3, 9);
        assert!(mean(|n| draws.normal(n)).abs() < 0.03);
        assert!((mean(|n| draws.normal(n).powi(2)) - 1.0).abs() < 0.04);
        assert!((mean(|n| draws.exponential(n, 5.0)) - 5.0).abs() < 0.15);
        assert!((mean(|n| draws.log_normal(n, 2.0, 0.5)) - 2.0 * 0.125f64.exp()).abs() < 0.05);
        let expected = pareto_mean(10.0, 1.5, 1000.0);
        assert!((mean(|n| draws.pareto(n, 10.0, 1.5, 1000.0)) / expected - 1.0).abs() < 0.05);
    }
}
