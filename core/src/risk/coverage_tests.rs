//! Whether promises are kept as often as was asked: on simulated fleets, for days.
//!
//! Statistics. 300 hosts and 288 steps a day are 86,400 promises: at an allowed share of 1 % the standard error of a
//! day's share would be 0.034 percentage points if promises were independent. They are not (vms of all hosts have a factor
//! in common that lasts for half an hour, by which two hosts correlate by up to 0.44, tails are those of Student's t with four degrees of freedom, and how far
//! forecasts stray changes by two thirds in the course of a day), so that the best fixed z misses ±0.2 points by far; each
//! test says so. The seeds are fixed.

use std::collections::BTreeMap;

use super::*;
use crate::{
    ewma::EwmaForecaster,
    fixture::Fleet,
    forecast::{Forecaster, Moments},
    id::VmId,
    sample::{Reading, VmSample},
    units::{Cores, Timestamp, count},
};

/// Steps of a day.
const DAY: usize = 288;

/// Steps of two hours.
const TWO_HOURS: usize = 24;

/// `SplitMix64` (Steele et al. 2014) and what follows from it.
struct Luck(u64);

impl Luck {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap()) / 4_294_967_296.0 + 1e-10
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Student's t with four degrees of freedom, scaled to a variance of one.
    fn heavy(&mut self) -> f64 {
        let chi_square = -2.0 * (self.unit() * self.unit()).ln();
        self.normal() / (chi_square / 2.0).sqrt()
    }
}

/// The errors of hosts of twelve vms in deviations of the promise: vms have a factor in common and own, heavy tails.
struct Errors {
    luck: Luck,
    factor: f64,
    loading: f64,
}

impl Errors {
    fn step(&mut self, step: usize, hosts: usize) -> Vec<f64> {
        const VMS: usize = 12;
        self.factor = 0.8 * self.factor + 0.6 * self.luck.normal();
        let hour = std::f64::consts::TAU * count(step % DAY) / count(DAY);
        let stray = 1.0 + 0.25 * hour.sin();
        let own = (1.0 - self.loading * self.loading).sqrt();
        let host = |luck: &mut Luck| {
            let sum: f64 = (0..VMS).map(|_| self.loading * self.factor + own * luck.heavy()).sum();
            stray * sum / count(VMS).sqrt()
        };
        (0..hosts).map(|_| host(&mut self.luck)).collect()
    }
}

fn class(name: &str) -> HostClass {
    let mut fleet = Fleet::new(&[("a", &[])]);
    fleet.inventory("a").cpu_model = name.into();
    HostClass::of(fleet.inventory("a"))
}

/// The largest distance of the share of any `span` steps in a row from what was allowed, in percentage points.
fn worst(kept: &[Kept], span: usize, allowed: f64) -> f64 {
    let share = |steps: &[Kept]| {
        let mut sum = Kept::default();
        steps.iter().for_each(|kept| sum.add(*kept));
        (sum.share() - allowed).abs() * 100.0
    };
    kept.windows(span).map(share).fold(0.0, f64::max)
}

fn judge(errors: &[f64], z: f64) -> Kept {
    let mut kept = Kept::default();
    errors.iter().for_each(|error| kept.count(*error > z));
    kept
}

#[test]
fn over_any_day_promises_are_kept_to_a_fifth_of_a_percentage_point() {
    for (allowed, loading, seed) in [(0.01, 0.0, 1), (0.01, 0.15, 2), (0.01, 0.25, 3), (0.02, 0.15, 4), (0.05, 0.15, 5)]
    {
        let mut errors = Errors { luck: Luck(seed), factor: 0.0, loading };
        let (mut calibration, only) = (Calibration::default(), class("only"));
        let (mut kept, mut all) = (Vec::new(), Vec::new());
        for step in 0..4 * DAY {
            let errors = errors.step(step, 300);
            let now = judge(&errors, calibration.z(&only, 2.0));
            calibration.observe(&BTreeMap::from([(only.clone(), now)]), allowed, 2.0);
            kept.push(now);
            all.push(errors);
        }
        let calibrated = worst(&kept[TWO_HOURS..], DAY, allowed);
        assert!(calibrated <= 0.2, "{allowed} {loading}: {calibrated} points off");
        println!("allowed {allowed}, loading {loading}: {calibrated:.3} points off at worst");
        // The z that keeps its promise over all four days, known only afterwards.
        let mut sorted: Vec<f64> = all[TWO_HOURS..].iter().flatten().copied().collect();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let rank = (allowed * count(sorted.len())).round();
        let best = sorted.iter().zip(0..).find(|(_, index)| f64::from(*index) >= rank).map(|(z, _)| *z).unwrap();
        let fixed: Vec<Kept> = all[TWO_HOURS..].iter().map(|errors| judge(errors, best)).collect();
        println!("  the best fixed z: {:.3}", worst(&fixed, DAY, allowed));
        assert!(calibrated < worst(&fixed, DAY, allowed) || loading == 0.0);
    }
}

#[test]
fn each_class_is_calibrated_by_itself() {
    let (mut calibration, classes) = (Calibration::default(), [class("calm"), class("wild")]);
    let mut errors = Errors { luck: Luck(7), factor: 0.0, loading: 0.1 };
    let mut kept = [Vec::new(), Vec::new()];
    for step in 0..3 * DAY {
        let errors = errors.step(step, 400);
        let of = |index: usize| {
            // The forecasts of the second class are twice too sure.
            let scale = if index == 0 { 1.0 } else { 2.0 };
            let errors: Vec<f64> = errors[index * 200..][..200].iter().map(|error| error * scale).collect();
            judge(&errors, calibration.z(&classes[index], 2.0))
        };
        let now = [of(0), of(1)];
        (0..2).for_each(|index| kept[index].push(now[index]));
        calibration.observe(&classes.iter().cloned().zip(now).collect(), 0.01, 2.0);
    }
    for kept in &kept {
        let off = worst(&kept[TWO_HOURS..], DAY, 0.01);
        assert!(off <= 0.2, "{off} points off");
    }
    let [calm, wild] = classes.map(|class| calibration.z(&class, 2.0));
    assert!((1.5..2.5).contains(&(wild / calm)), "{calm} {wild}");
}

/// A thousand hosts, forecast as the scheduler forecasts without a model, whose load jumps by half within one step. A
/// thousand hosts for two hours are 24,000 promises: the standard error of their share is 0.064 points.
#[test]
fn two_hours_after_the_load_jumps_by_half_promises_are_kept_again() {
    const HOSTS: usize = 1000;
    const JUMP: usize = DAY;
    let (mut luck, mut forecaster) = (Luck(11), EwmaForecaster::default());
    let (mut calibration, only) = (Calibration::default(), class("only"));
    let (mut kept, mut common, mut z) = (Vec::new(), 0.0, Vec::new());
    for step in 0..2 * DAY {
        common = 0.9 * common + 0.4 * luck.normal();
        let level = if step < JUMP { 10.0 } else { 15.0 };
        let (at, mut now) = (Timestamp::from_secs(300 * (step as u64 + 1)), Kept::default());
        z.push(calibration.z(&only, 2.0));
        for host in 0..HOSTS {
            let vm = VmId(uuid::Uuid::from_u128(host as u128));
            let used = (level * (1.0 + 0.02 * common + 0.1 * luck.heavy())).max(0.0);
            if let Some(forecast) = forecaster.ahead(vm, at) {
                let Moments { mean, deviation } = forecast.moments(0);
                now.count(used > mean + z[step] * deviation);
            }
            forecaster.observe(&VmSample {
                vm,
                taken_at: at,
                cpu_used: Reading::Measured(Cores(used)),
                ..VmSample::default()
            });
        }
        calibration.observe(&BTreeMap::from([(only.clone(), now)]), 0.01, 2.0);
        kept.push(now);
    }
    let before = worst(&kept[TWO_HOURS..JUMP], DAY - TWO_HOURS, 0.01);
    let after: Vec<f64> =
        kept[JUMP..].chunks(TWO_HOURS).map(|two_hours| worst(two_hours, two_hours.len(), 0.01)).collect();
    println!("before {before:.3}, two hours by two hours from the jump on {after:.3?}");
    println!("z {:.2?}", z[JUMP - 3..].iter().step_by(6).collect::<Vec<_>>());
    assert!(kept[JUMP].share() > 0.8, "the jump is one: {:?}", kept[JUMP]);
    assert!(before <= 0.2 && after[1..].iter().all(|off| *off <= 0.2), "{before} {after:?}");
}

#[test]
fn one_bad_step_of_half_the_fleet_is_forgotten_within_two_hours() {
    let (mut calibration, only) = (Calibration::default(), class("only"));
    let mut errors = Errors { luck: Luck(3), factor: 0.0, loading: 0.1 };
    let mut kept = Vec::new();
    for step in 0..DAY + 3 * TWO_HOURS {
        let mut errors = errors.step(step, 1000);
        if step == DAY {
            errors.iter_mut().step_by(2).for_each(|error| *error += 100.0);
        }
        let now = judge(&errors, calibration.z(&only, 2.0));
        calibration.observe(&BTreeMap::from([(only.clone(), now)]), 0.01, 2.0);
        kept.push(now);
    }
    let later = worst(&kept[DAY + TWO_HOURS..], 2 * TWO_HOURS, 0.01);
    assert!(later <= 0.2, "{later}");
}
