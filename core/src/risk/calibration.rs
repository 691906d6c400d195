//! How many deviations a class of hosts needs so that no more of its promises are broken than the operator allows: measured,
//! not assumed.
//!
//! Online conformal calibration (Gibbs and Candès 2021, *Adaptive Conformal Inference Under Distribution Shift*), in the
//! form of a quantile tracker (Angelopoulos, Candès and Tibshirani 2023, *Conformal PID Control for Time Series
//! Prediction*): after every step `z += GAIN (broken share - allowed share)`. Whatever demand does, the shares of any
//! `T` steps in a row then add up to what was allowed within `|change of z| / (GAIN T)`: for a day of 288 steps 0.035
//! percentage points for each unit that z has moved. The gain is ten times what the literature uses because a class pools
//! the promises to many hosts, so that a share of one step is a measurement and no coin toss; a small class has a smaller one,
//! and so has one of which much is allowed.
//!
//! One exception is meant: what one step raises z by comes back within [`STEPS_BACK`] good ones. A jump of the load, in which
//! every host strays at once, is no reason to reserve for a day what would have been needed in the minutes of the jump.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{risk::HostClass, units::count};

/// Standard deviations that z moves for a broken share of one. Ten: at a share of 1 % a z that is off comes back within
/// half an hour (time constant `1 / (GAIN f)` steps, `f` the density at the quantile, 0.027 for a normal tail), and
/// moves by 0.1 with the luck of 300 hosts.
const GAIN: f64 = 10.0;

/// Most that one broken promise raises z: what bounds the gain of a class of few hosts. One step may raise it as much
/// where next to nothing is allowed.
const RAISE_PER_HOST: f64 = 0.5;

/// Most that a step without a broken promise lowers z by: what bounds the gain where much is allowed.
const FALL_MAX: f64 = 0.2;

/// Most that one step raises z by, however many promises it breaks.
const RAISE_MAX: f64 = 2.0;

/// Steps without a broken promise after which z is back where one step, however bad, has raised it from: 50 minutes.
/// At a share of 1 % that is a raise by one deviation; twelve would not leave two hours for a jump that
/// lasts two steps.
const STEPS_BACK: f64 = 10.0;

/// Largest z: beyond it no promise is worth its name.
pub const Z_MAX: f64 = 10.0;

/// Hosts at which a class counts for as much as the fleet: what few hosts measured leans on all others.
const HOSTS_FEW: f64 = 8.0;

/// Weight of the newest step in the mean number of hosts.
const NEWEST: f64 = 0.1;

/// Promises that were made, and those of them that were broken: more was asked for than was promised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// All that were judged.
    pub promises: u64,
    /// Those that were broken.
    pub broken: u64,
}

impl Kept {
    /// Counts a promise.
    pub fn count(&mut self, broken: bool) {
        self.promises += 1;
        self.broken += u64::from(broken);
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: Self) {
        self.promises = self.promises.saturating_add(other.promises);
        self.broken = self.broken.saturating_add(other.broken);
    }

    /// The share that was broken; zero of nothing.
    pub fn share(&self) -> f64 {
        #[allow(clippy::cast_precision_loss)] // Promises of a fleet's life stay far below 2^53.
        let share = self.broken as f64 / self.promises.max(1) as f64;
        share
    }
}

/// What is kept of one class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Track {
    z: f64,
    /// Hosts that counted, on average.
    hosts: f64,
}

impl Track {
    fn new(z: f64) -> Self {
        Self { z, hosts: 0.0 }
    }

    fn learn(&mut self, kept: Kept, allowed: f64) {
        let hosts = count(usize::try_from(kept.promises).unwrap_or(usize::MAX));
        self.hosts += if self.hosts > 0.0 { NEWEST * (hosts - self.hosts) } else { hosts };
        let gain = GAIN.min(RAISE_PER_HOST * hosts).min(FALL_MAX / allowed);
        let most = (STEPS_BACK * gain * allowed).clamp(RAISE_PER_HOST, RAISE_MAX);
        self.z = (self.z + (gain * (kept.share() - allowed)).min(most)).clamp(0.0, Z_MAX);
    }
}

/// The z of every class; kept across restarts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    fleet: Option<Track>,
    classes: BTreeMap<HostClass, Track>,
}

impl Calibration {
    /// Takes one step of every class that had promises: `allowed` is the share of them that may be broken, `start`
    /// the z of a class that is seen for the first time where nothing else is known.
    pub fn observe(&mut self, kept: &BTreeMap<HostClass, Kept>, allowed: f64, start: f64) {
        let whole = kept.values().fold(Kept::default(), |mut sum, kept| {
            sum.add(*kept);
            sum
        });
        if whole.promises == 0 {
            return;
        }
        let before = self.fleet.unwrap_or(Track::new(start));
        for (class, kept) in kept.iter().filter(|(_, kept)| kept.promises > 0) {
            self.classes.entry(class.clone()).or_insert(Track::new(before.z)).learn(*kept, allowed);
        }
        self.fleet.insert(before).learn(whole, allowed);
    }

    /// Standard deviations above the mean that a host of `class` is promised; `start` where nothing was measured.
    pub fn z(&self, class: &HostClass, start: f64) -> f64 {
        let fleet = self.fleet_z(start);
        let own = self.classes.get(class).map_or(fleet, |track| {
            let trust = track.hosts / (track.hosts + HOSTS_FEW);
            fleet + trust * (track.z - fleet)
        });
        sane(own, start)
    }

    /// The same over all classes: what a class that was never seen is promised.
    pub fn fleet_z(&self, start: f64) -> f64 {
        self.fleet.map_or(start, |track| sane(track.z, start))
    }

    /// The classes that were seen.
    pub fn classes(&self) -> impl Iterator<Item = &HostClass> {
        self.classes.keys()
    }
}

/// A state that was read back may be anything.
fn sane(z: f64, start: f64) -> f64 {
    if z.is_finite() { z.clamp(0.0, Z_MAX) } else { start }
}
