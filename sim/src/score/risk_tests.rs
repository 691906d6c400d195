//! Measured risk on recorded demand, forecast as the scheduler forecasts without a model: the week of Bitbrains that is
//! shipped, each of its 24 vms sixteen times, every time a day and a quarter of an hour later.
//!
//! Statistics. 32 hosts are 9,216 promises a day, 92 of which may be broken at 1 %: the standard error would be 0.10
//! percentage points if promises were independent, and they are not, for the copies of a vm work in bursts of hours.

use ballast_core::{
    ewma::EwmaForecaster,
    policy::{LeaveAlone, Policy, RiskGreedy},
    risk::Kept,
    tuning::Tuning,
};

use super::*;
use crate::scenario::file::{Data, ScenarioFile};

const WEEK: &str = r#"
    name = "week"
    description = "A week of Bitbrains"
    policies = ["risk-greedy"]
    seeds = [1]
    duration_h = 120
    demand = { source = "bitbrains", day = "20130805", cut_day = "20130805", copies = 16, cut_copies = 16, copy_shift_h = 24.25 }
    hosts = [{ class = "epyc-7742", count = 16, memory_gib = 768 }, { class = "xeon-platinum-8180", count = 16, memory_gib = 768 }]
    vms = { sized = "recorded", memory_floor = 0.3 }
    placement = { at_start = "spread" }
    terms = { step_s = 300, jitter = 0.0 }
"#;

/// What was counted at each step, from the first hour on.
fn played(allowed: f64, policy: &mut dyn Policy) -> Vec<Kept> {
    let scenario = ScenarioFile::parse("week.toml", WEEK).unwrap().build(&Data::default(), None, 1).unwrap();
    let tuning = Tuning { overload_share_max: Some(allowed), moves_in_fleet: 8, ..Tuning::default() };
    let step = Duration::from_secs(300);
    let pace = Pace { period: step, round: step, acts_between: false, tuning };
    let mut forecaster = EwmaForecaster::default();
    let world = World::new(&scenario, 1);
    let mut play = play::Play::new(world, 1, &pace, (&mut forecaster, policy), &|| Duration::ZERO);
    let (mut now, mut before, mut steps) = (scenario.start(), Kept::default(), Vec::new());
    play.look(now);
    while now < scenario.end() {
        now = now.after(step);
        play.step(now);
        let kept = play.kept();
        steps.push(Kept { promises: kept.promises - before.promises, broken: kept.broken - before.broken });
        before = kept;
    }
    steps.split_off(12)
}

/// The largest distance of the share of any `span` steps in a row from what was allowed, in percentage points.
fn worst(steps: &[Kept], span: usize, allowed: f64) -> f64 {
    let share = |steps: &[Kept]| {
        let mut sum = Kept::default();
        steps.iter().for_each(|kept| sum.add(*kept));
        (sum.share() - allowed).abs() * 100.0
    };
    steps.windows(span).map(share).fold(0.0, f64::max)
}

fn off(allowed: f64, policy: &mut dyn Policy) -> (f64, u64) {
    let steps = played(allowed, policy);
    (worst(&steps, 288, allowed), steps.iter().map(|kept| kept.promises).sum())
}

#[test]
fn on_a_recorded_week_promises_are_kept_as_asked_over_any_day() {
    for allowed in [0.01, 0.05] {
        let (off, promises) = off(allowed, &mut LeaveAlone);
        assert!(off <= 0.2 && promises > 40_000, "{allowed}: {off} points off over {promises} promises");
    }
}

/// Vms are moved onto seven hosts, to which 2,000 promises a day are made: each that is broken is 0.05 points, and while the
/// first day's packing is new some more are.
#[test]
fn while_vms_are_moved_promises_are_kept_nearly_as_well() {
    let (off, promises) = off(0.01, &mut RiskGreedy);
    assert!(off <= 0.55 && promises > 10_000, "{off} points off over {promises} promises");
}
