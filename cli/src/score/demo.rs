//! The scenario `demo`: the made-up fleet of `ballast demo`, played without daemons.

use ballast_core::{
    ewma::EwmaForecaster,
    forecast::Forecaster,
    policy::{self, Policy, RiskGreedy},
    tuning::Tuning,
};
use ballast_sim::{
    FleetSize, Ledger, Scenario,
    bound::{self, Bounds, Oracle},
    score::{
        Pace, Score,
        board::{Job, Run, Runner, ScoreError},
        run_policy,
        timed::{Stopwatch, Timed},
    },
};

/// The risk-aware greedy with a forecaster that knows.
const ORACLE_GREEDY: &str = "oracle-greedy";

/// Plays the demo's fleet.
#[derive(Debug, Clone, Default)]
pub(super) struct Demo {
    pub(super) size: FleetSize,
    pub(super) pace: Pace,
}

impl Demo {
    pub(super) const NAME: &'static str = "demo";

    fn scenario(&self, seed: u64) -> Result<Scenario, ScoreError> {
        let failed = |reason: String| ScoreError::Failed { job: format!("{}, seed {seed}", Self::NAME), reason };
        Scenario::fleet(self.size, seed).map_err(|error| failed(error.to_string()))
    }
}

impl Runner for Demo {
    fn scenario(&self) -> &str {
        Self::NAME
    }

    fn days(&self) -> Vec<Option<String>> {
        vec![None]
    }

    fn policies_known(&self) -> Vec<String> {
        policy::NAMES.iter().copied().chain([ORACLE_GREEDY]).map(str::to_owned).collect()
    }

    fn has_risk_knob(&self, policy: &str) -> bool {
        policy == RiskGreedy::NAME
    }

    fn bounds(&self, _day: Option<&str>, seed: u64) -> Result<Option<Bounds>, ScoreError> {
        Ok(Some(bound::bounds(&self.scenario(seed)?, seed)))
    }

    fn run(&self, job: &Job, stopwatch: Stopwatch<'_>) -> Result<Run, ScoreError> {
        let scenario = self.scenario(job.seed)?;
        let (mut policy, mut forecaster) = players(job, &scenario, &self.policies_known())?;
        let mut pace = self.pace.clone();
        pace.tuning.risk_z = job.risk.unwrap_or(pace.tuning.risk_z);
        let mut policy = Timed::new(policy.as_mut(), stopwatch);
        let ledger = run_policy(&scenario, job.seed, &pace, forecaster.as_mut(), &mut policy);
        Ok(Run { score: score(&ledger, &pace.tuning), deciding: policy.spent() })
    }
}

type Players = (Box<dyn Policy>, Box<dyn Forecaster>);

fn players(job: &Job, scenario: &Scenario, known: &[String]) -> Result<Players, ScoreError> {
    if job.policy == ORACLE_GREEDY {
        return Ok((Box::new(RiskGreedy), Box::new(Oracle::new(scenario, job.seed))));
    }
    let unknown = || ScoreError::UnknownPolicy { policy: job.policy.clone(), known: known.join(", ") };
    Ok((policy::by_name(&job.policy).ok_or_else(unknown)?, Box::new(EwmaForecaster::default())))
}

/// The figures of a ledger. It keeps no lengths of overloads, so that their percentile is no number.
fn score(ledger: &Ledger, tuning: &Tuning) -> Score {
    let lost = ledger.overload_core_seconds + ledger.migration_core_seconds;
    let of_demand = |core_seconds: f64| ratio(core_seconds, ledger.demand_core_seconds);
    let energy_kwh = ledger.energy.kwh();
    let (slatah, pdm) =
        (ratio(ledger.overload_seconds, ledger.awake_host_seconds), of_demand(ledger.migration_core_seconds));
    Score {
        energy_kwh,
        cost_joules: ledger.energy.get() + lost * tuning.overload_joules_per_core_second,
        unserved_cpu_share: of_demand(lost),
        overload_time_share: slatah,
        overload_p95_s: f64::NAN,
        slatah,
        pdm,
        slav: slatah * pdm,
        esv: energy_kwh * slatah * pdm,
        migrations: ledger.migrations,
        migrations_failed: ledger.aborted,
        moved_bytes: ledger.copied.0,
        downtime_s: ledger.downtime.as_secs_f64(),
        wakes: ledger.wakes,
        shutdowns: ledger.sleeps,
        mean_awake_hosts: ratio(ledger.awake_host_seconds, ledger.elapsed.as_secs_f64()),
        ..Score::default()
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
