//! The board with a runner whose figures are arithmetic, so that every number can be checked by hand.

use super::*;
use crate::score::plot;

/// Two days; policies `a` and `b`; `b` has a risk knob and needs 10 kWh less for each unit of it.
struct Sums;

impl Runner for Sums {
    fn scenario(&self) -> &str {
        "sums"
    }

    fn days(&self) -> Vec<Option<String>> {
        vec![Some("1".into()), Some("2".into())]
    }

    fn policies_known(&self) -> Vec<String> {
        vec!["a".into(), "b".into(), "broken".into()]
    }

    fn knows(&self, policy: &str) -> bool {
        self.policies_known().iter().any(|known| known == policy)
    }

    fn has_risk_knob(&self, policy: &str) -> bool {
        policy == "b"
    }

    fn bounds(&self, day: Option<&str>, seed: u64) -> Result<Option<Bounds>, ScoreError> {
        let fluid_kwh = 50.0 * day.unwrap().parse::<f64>().unwrap() + f64::from(u32::try_from(seed).unwrap());
        Ok(Some(Bounds { fluid_kwh, clairvoyant_kwh: fluid_kwh + 5.0, ..Bounds::default() }))
    }

    fn run(&self, job: &Job, stopwatch: Stopwatch<'_>) -> Result<Run, ScoreError> {
        if job.policy == "broken" {
            return Err(ScoreError::Failed { job: job.label(), reason: "it is broken".into() });
        }
        let bound = self.bounds(job.day.as_deref(), job.seed)?.unwrap().fluid_kwh;
        let turned = match job.knob {
            None => 0.0,
            Some(Knob::Deviations(z)) => z,
            Some(Knob::Share(alpha)) => 100.0 * alpha,
        };
        let energy_kwh = 2.0 * bound - 10.0 * turned;
        let score =
            Score { energy_kwh, cost_joules: energy_kwh * 3.6e6, overload_time_share: 0.01, ..Score::default() };
        Ok(Run { score, deciding: Cycles::one(stopwatch()) })
    }
}

fn plan(policies: &[&str]) -> Plan {
    Plan {
        policies: policies.iter().map(|policy| (*policy).to_owned()).collect(),
        days: Vec::new(),
        seeds: vec![1, 2],
        risks: Vec::new(),
        alphas: Vec::new(),
        against: None,
        threads: 1,
    }
}

fn watch() -> Watch<'static> {
    Watch { cpu: &|| Duration::from_secs(1), wall: &|| Duration::ZERO, progress: &|_, _| () }
}

#[test]
fn there_is_one_result_per_policy_day_and_seed_with_its_gap() {
    let board = score(&Sums, &plan(&["a", "b"]), watch()).unwrap();
    let order: Vec<_> =
        board.results.iter().map(|score| (score.policy.as_str(), score.day.as_deref().unwrap(), score.seed)).collect();
    assert_eq!(order[..5], [("a", "1", 1), ("a", "1", 2), ("a", "2", 1), ("a", "2", 2), ("b", "1", 1)]);
    assert_eq!(board.results[0].bound_kwh, Some(51.0));
    assert!(board.results.iter().all(|score| (score.gap.unwrap() - 1.0).abs() < 1e-12));
    assert_eq!((board.bounds.len(), board.timing.len()), (4, 8));
    assert_eq!(board.timing[0].deciding_cpu_s, 1.0);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let with = |threads| score(&Sums, &Plan { threads, risks: vec![1.0, 2.0], ..plan(&["a", "b"]) }, watch()).unwrap();
    assert_eq!(with(1), with(2));
    assert_eq!(with(1), with(16));
}

#[test]
fn a_risk_knob_is_turned_only_where_there_is_one_and_makes_a_curve() {
    let board = score(&Sums, &Plan { risks: vec![1.0, 1.5], ..plan(&["a", "b"]) }, watch()).unwrap();
    let curves = board.curves();
    assert_eq!(
        curves.iter().map(|curve| (curve.policy.as_str(), curve.marks.len())).collect::<Vec<_>>(),
        [("a", 1), ("b", 2)]
    );
    assert_eq!(curves[1].marks[1].knob, Some(1.5));
    let labels: Vec<_> = board.summaries().into_iter().map(|summary| summary.policy).collect();
    assert_eq!(labels, ["b@1.5", "b@1", "a"]);
    let svg = plot::frontier("sums", &curves, &board.limits());
    assert!(svg.contains("fluid bound: 76.5 kWh"), "{svg}");
}

#[test]
fn a_knob_in_shares_makes_a_curve_of_its_own() {
    let plan = Plan { risks: vec![1.0], alphas: vec![0.01, 0.02], ..plan(&["a", "b"]) };
    let curves = score(&Sums, &plan, watch()).unwrap().curves();
    let named = curves.iter().map(|curve| (curve.policy.as_str(), curve.marks.len()));
    assert_eq!(named.collect::<Vec<_>>(), [("a", 1), ("b", 1), ("b@alpha", 2)]);
    assert_eq!(curves[2].marks[1].knob, Some(0.02));
}

#[test]
fn comparisons_are_paired_and_against_whom_was_asked() {
    let board = score(&Sums, &Plan { risks: vec![1.0], ..plan(&["a", "b"]) }, watch()).unwrap();
    let energy = board.comparisons.iter().find(|one| one.figure == "energy_kwh").unwrap();
    assert_eq!((energy.policy.as_str(), energy.against.as_str(), energy.contrast.pairs), ("b@1", "a", 4));
    let [low, high] = energy.contrast.difference.interval.unwrap();
    assert!((low + 10.0).abs() < 1e-9 && (high + 10.0).abs() < 1e-9, "{energy:?}");
    assert!(board.comparisons.iter().all(|one| one.figure != "mean_user_rtt_ms"));
    let other = score(&Sums, &Plan { against: Some("b".into()), ..plan(&["a", "b"]) }, watch()).unwrap();
    assert!(other.comparisons.iter().all(|one| one.policy == "a" && one.against == "b"));
}

#[test]
fn what_makes_no_sense_is_refused_by_name_before_anything_is_played() {
    let refused = |plan: Plan| score(&Sums, &plan, watch()).unwrap_err().to_string();
    let base = || plan(&["a"]);
    assert_eq!(refused(plan(&["c"])), "policy \"c\" is not known: one of a, b, broken is needed");
    assert_eq!(refused(plan(&[])), "policies = : at least one policy is needed");
    assert_eq!(refused(plan(&["a", "a"])), "policies = a: each policy is needed once");
    assert_eq!(
        refused(Plan { days: vec!["3".into()], ..base() }),
        "day \"3\" is not in scenario sums: one of 1, 2 is needed"
    );
    assert_eq!(refused(Plan { seeds: Vec::new(), ..base() }), "seeds = 0: 1 to 1000 are needed");
    assert_eq!(refused(Plan { threads: 0, ..base() }), "threads = 0: 1 to 256 are needed");
    let expected = "standard deviations from 0 to 10 are needed";
    assert_eq!(refused(Plan { risks: vec![f64::NAN], ..base() }), format!("risk = NaN: {expected}"));
    let expected = "shares from 0.0005 to 0.5 are needed";
    assert_eq!(refused(Plan { alphas: vec![0.0], ..base() }), format!("alpha = 0: {expected}"));
    assert_eq!(refused(Plan { against: Some("b".into()), ..base() }), "policy \"b\" is not known: one of a is needed");
    assert_eq!(refused(plan(&["a", "broken"])), "broken: it is broken");
}
