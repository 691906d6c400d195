//! Plays scenario files for the scoreboard: on the model of the fleet, or, where a file asks for it, in the faithful
//! simulation of the field's benchmark.
//!
//! The data of every day is handed in: no file is opened here.

use std::collections::BTreeMap;

use ballast_core::{
    forecast::Forecaster,
    policy::{
        Policy, RiskGreedy,
        textbook::{self, Rule},
    },
    units::Joules,
};

use super::{
    Pace, Score, Stopwatch,
    board::{Job, Run, Runner, ScoreError},
    contestant::{self, Contestant},
    cycles::Cycles,
};
use crate::{
    bound::{self, Bounds},
    cloudsim::{self, Quirks},
    scenario::{
        Scenario,
        file::{Data, Faithful, ScenarioFile},
    },
    trace::{planetlab, text_of},
};

/// Makes a forecaster for one run of ballast's own policies.
pub type MakeForecaster = dyn Fn() -> Box<dyn Forecaster> + Send + Sync;

/// What one of ballast's own policies plays with in place of the usual: a forecaster, and a learned policy.
type Own = (Option<Box<dyn Forecaster>>, Option<Box<dyn Policy>>);

/// Makes a policy for one run.
pub type MakePolicy = dyn Fn() -> Box<dyn Policy> + Send + Sync;

/// Plays one scenario file on its days.
pub struct FileRunner {
    file: ScenarioFile,
    days: BTreeMap<Option<String>, Data>,
    forecaster: Option<Box<MakeForecaster>>,
    /// Policies of ballast's own that this crate does not know, by name.
    learned: BTreeMap<String, Box<MakePolicy>>,
}

impl std::fmt::Debug for FileRunner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileRunner").field("file", &self.file.name()).finish_non_exhaustive()
    }
}

impl FileRunner {
    /// Plays `file` on `days`, each with its data; a single `None` where it has no days.
    pub fn new(file: ScenarioFile, days: BTreeMap<Option<String>, Data>) -> Self {
        Self { file, days, forecaster: None, learned: BTreeMap::new() }
    }

    /// Has ballast's own policies play with another forecaster than the one without a model.
    #[must_use]
    pub fn with_forecaster(self, forecaster: Box<MakeForecaster>) -> Self {
        Self { forecaster: Some(forecaster), ..self }
    }

    /// Lets a learned policy play under that name, on the terms of ballast's own.
    #[must_use]
    pub fn with_policy(mut self, name: &str, policy: Box<MakePolicy>) -> Self {
        self.learned.insert(name.to_owned(), policy);
        self
    }

    fn data(&self, day: Option<&str>) -> Result<&Data, ScoreError> {
        let data = self.days.get(&day.map(str::to_owned));
        data.ok_or_else(|| self.failed(day, 0, "no data of that day"))
    }

    fn scenario(&self, day: Option<&str>, seed: u64) -> Result<Scenario, ScoreError> {
        self.file.build(self.data(day)?, day, seed).map_err(|error| self.failed(day, seed, error))
    }

    fn failed(&self, day: Option<&str>, seed: u64, reason: impl ToString) -> ScoreError {
        let job = format!("{}, day {}, seed {seed}", self.file.name(), day.unwrap_or("-"));
        ScoreError::Failed { job, reason: reason.to_string() }
    }

    fn run_faithful(&self, job: &Job, faithful: &Faithful, stopwatch: Stopwatch<'_>) -> Result<Run, ScoreError> {
        let day = job.day.as_deref();
        let failed = |error: &dyn ToString| self.failed(day, job.seed, error.to_string());
        let rule: Rule = job.policy.parse().map_err(|error: textbook::UnknownRule| failed(&error))?;
        let file = self.data(day)?.files.iter().find(|file| crate::scenario::file::day_of(&file.name) == day);
        let file = file.ok_or_else(|| failed(&"no file of that day"))?;
        let text = text_of(&file.name, &file.bytes).map_err(|error| failed(&error))?;
        let recorded = planetlab::parse(&file.name, &text).map_err(|error| failed(&error))?;
        let begun = stopwatch();
        let report = cloudsim::run(&recorded, &rule, &quirks(faithful), job.seed);
        Ok(Run {
            score: faithful_score(&report, self.file.price()),
            deciding: Cycles::one(stopwatch().saturating_sub(begun)),
        })
    }
}

impl Runner for FileRunner {
    fn scenario(&self) -> &str {
        self.file.name()
    }

    fn days(&self) -> Vec<Option<String>> {
        self.days.keys().cloned().collect()
    }

    fn policies_known(&self) -> Vec<String> {
        if self.file.faithful().is_some() {
            return vec![textbook::rule::GRAMMAR.to_owned()];
        }
        contestant::names().into_iter().chain(self.learned.keys().cloned()).collect()
    }

    fn knows(&self, policy: &str) -> bool {
        match self.file.faithful() {
            Some(_) => policy.parse::<Rule>().is_ok(),
            None => self.learned.contains_key(policy) || known_on_a_fleet(policy),
        }
    }

    fn has_risk_knob(&self, policy: &str) -> bool {
        self.file.faithful().is_none() && (self.learned.contains_key(policy) || contestant::has_risk_knob(policy))
    }

    fn bounds(&self, day: Option<&str>, seed: u64) -> Result<Option<Bounds>, ScoreError> {
        if self.file.faithful().is_some() {
            return Ok(None);
        }
        Ok(Some(bound::bounds(&self.scenario(day, seed)?, seed)))
    }

    fn run(&self, job: &Job, stopwatch: Stopwatch<'_>) -> Result<Run, ScoreError> {
        if let Some(faithful) = self.file.faithful() {
            return self.run_faithful(job, faithful, stopwatch);
        }
        let scenario = self.scenario(job.day.as_deref(), job.seed)?;
        let pace = self.file.pace().cloned().unwrap_or_default();
        let other = self.forecaster.as_deref().filter(|_| self.has_risk_knob(&job.policy)).map(|make| make());
        let learned = self.learned.get(&job.policy).map(|make| make());
        play(job, &scenario, (other, learned), &pace, self.file.price(), stopwatch)
    }
}

/// Whether a name is that of somebody who can play on the model of the fleet.
fn known_on_a_fleet(policy: &str) -> bool {
    let is_peer = ballast_core::policy::peers::by_name(policy).is_some();
    // The benchmark's two baselines are not policies: they are its own accounting.
    let is_rule = matches!(policy.parse(), Ok(Rule::Consolidate(_)));
    is_peer || is_rule || contestant::names().iter().any(|name| name == policy)
}

fn play(
    job: &Job,
    scenario: &Scenario,
    (other, learned): Own,
    pace: &Pace,
    price: f64,
    stopwatch: Stopwatch<'_>,
) -> Result<Run, ScoreError> {
    // A learned policy plays on the terms of the greedy one.
    let name = if learned.is_some() { RiskGreedy::NAME } else { &job.policy };
    let who = contestant::contestant(name, scenario, job.seed, pace, job.knob);
    let who = who.map_err(|error| ScoreError::Failed { job: job.label(), reason: error.to_string() })?;
    let Contestant { mut policy, forecaster, pace } = who;
    let mut forecaster = other.unwrap_or(forecaster);
    policy = learned.unwrap_or(policy);
    let played = super::play(scenario, job.seed, &pace, (&mut *forecaster, &mut *policy), stopwatch);
    let score = Score::of(&job.policy, job.day.as_deref(), job.seed, &played, Joules(price));
    Ok(Run { score, deciding: played.deciding })
}

fn quirks(faithful: &Faithful) -> Quirks {
    let Faithful { keep, ram_mib, slafix, idle, excl, wls, v30 } = *faithful;
    Quirks { keep, ram: ram_mib, slafix, idle, excl, wls, v30 }
}

/// The benchmark's own figures; what it does not have is left at zero or unknown.
fn faithful_score(report: &cloudsim::Report, price: f64) -> Score {
    Score {
        energy_kwh: report.kwh,
        cost_joules: report.kwh * 3.6e6 + report.unserved_core_seconds * price,
        unserved_cpu_share: report.unserved,
        overload_time_share: report.slatah,
        slatah: report.slatah,
        pdm: report.pdm,
        slav: report.slav,
        esv: report.esv,
        migrations: report.migrations,
        shutdowns: report.shutdowns,
        mean_awake_hosts: report.active_hosts,
        ..Score::default()
    }
}
