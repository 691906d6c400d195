//! What was asked for, checked, as a list of runs.

use super::{Job, Knob, Plan, Runner, ScoreError};

/// Most seeds of a plan: beyond it intervals hardly narrow any more.
const SEEDS_MAX: usize = 1000;

/// Most threads of a plan.
const THREADS_MAX: usize = 256;

/// Highest setting of the risk knob, standard deviations.
const RISK_MAX: f64 = 10.0;

/// Least and greatest share of promises that may be broken: those of [`ballast_core::tuning::Tuning`].
const ALPHA_MIN: f64 = 0.0005;
const ALPHA_MAX: f64 = 0.5;

/// The runs of a plan: policies as given, each with its knob settings as given, then days, then seeds.
pub(super) fn jobs(runner: &dyn Runner, plan: &Plan) -> Result<Vec<Job>, ScoreError> {
    check(runner, plan)?;
    let days = days(runner, plan)?;
    let mut jobs = Vec::new();
    for policy in &plan.policies {
        for knob in knobs(runner, plan, policy) {
            let of_day = |day: &Option<String>| {
                let (policy, day) = (policy.clone(), day.clone());
                plan.seeds.clone().into_iter().map(move |seed| Job {
                    policy: policy.clone(),
                    knob,
                    day: day.clone(),
                    seed,
                })
            };
            jobs.extend(days.iter().flat_map(of_day));
        }
    }
    Ok(jobs)
}

fn check(runner: &dyn Runner, plan: &Plan) -> Result<(), ScoreError> {
    if let Some(policy) = plan.policies.iter().find(|policy| !runner.knows(policy)) {
        let known = runner.policies_known().join(", ");
        return Err(ScoreError::UnknownPolicy { policy: policy.clone(), known });
    }
    if plan.policies.is_empty() {
        return Err(value("policies", "", "at least one policy is needed"));
    }
    if let Some(twice) = repeated(&plan.policies) {
        return Err(value("policies", twice, "each policy is needed once"));
    }
    if let Some(twice) = repeated(&plan.days) {
        return Err(value("day", twice, "each day is needed once"));
    }
    if !(1..=SEEDS_MAX).contains(&plan.seeds.len()) {
        return Err(value("seeds", plan.seeds.len(), "1 to 1000 are needed"));
    }
    if !(1..=THREADS_MAX).contains(&plan.threads) {
        return Err(value("threads", plan.threads, "1 to 256 are needed"));
    }
    check_risks(&plan.risks)?;
    check_alphas(&plan.alphas)
}

fn check_risks(risks: &[f64]) -> Result<(), ScoreError> {
    if let Some(risk) = risks.iter().find(|risk| !(0.0..=RISK_MAX).contains(*risk)) {
        return Err(value("risk", risk, "standard deviations from 0 to 10 are needed"));
    }
    match repeated(risks) {
        Some(twice) => Err(value("risk", twice, "each setting is needed once")),
        None => Ok(()),
    }
}

fn check_alphas(alphas: &[f64]) -> Result<(), ScoreError> {
    if let Some(alpha) = alphas.iter().find(|alpha| !(ALPHA_MIN..=ALPHA_MAX).contains(*alpha)) {
        return Err(value("alpha", alpha, "shares from 0.0005 to 0.5 are needed"));
    }
    match repeated(alphas) {
        Some(twice) => Err(value("alpha", twice, "each setting is needed once")),
        None => Ok(()),
    }
}

fn value(field: &'static str, value: impl ToString, expected: &'static str) -> ScoreError {
    ScoreError::Value { field, value: value.to_string(), expected }
}

fn repeated<T: PartialEq>(all: &[T]) -> Option<&T> {
    all.iter().enumerate().find(|(index, one)| all[..*index].contains(one)).map(|(_, one)| one)
}

fn days(runner: &dyn Runner, plan: &Plan) -> Result<Vec<Option<String>>, ScoreError> {
    let known = runner.days();
    if plan.days.is_empty() {
        return Ok(known);
    }
    let wanted = plan.days.iter().map(|day| Some(day.clone()));
    wanted.map(|day| if known.contains(&day) { Ok(day) } else { Err(unknown_day(runner, day, &known)) }).collect()
}

fn unknown_day(runner: &dyn Runner, day: Option<String>, known: &[Option<String>]) -> ScoreError {
    let names: Vec<&str> = known.iter().flatten().map(String::as_str).collect();
    let known =
        if names.is_empty() { "it has no days".into() } else { format!("one of {} is needed", names.join(", ")) };
    ScoreError::UnknownDay { day: day.unwrap_or_default(), scenario: runner.scenario().to_owned(), known }
}

fn knobs(runner: &dyn Runner, plan: &Plan, policy: &str) -> Vec<Option<Knob>> {
    let (risks, alphas) = (plan.risks.iter().copied(), plan.alphas.iter().copied());
    let settings: Vec<_> = risks.map(Knob::Deviations).chain(alphas.map(Knob::Share)).map(Some).collect();
    if settings.is_empty() || !runner.has_risk_knob(policy) { vec![None] } else { settings }
}

/// The policy that the others are compared with, as results name it.
pub(super) fn against(plan: &Plan, jobs: &[Job]) -> Result<String, ScoreError> {
    let labels = labels(jobs);
    match &plan.against {
        None => Ok(labels.first().cloned().unwrap_or_default()),
        Some(wanted) if labels.contains(wanted) => Ok(wanted.clone()),
        Some(wanted) => Err(ScoreError::UnknownPolicy { policy: wanted.clone(), known: labels.join(", ") }),
    }
}

/// The policies as results name them, each once.
fn labels(jobs: &[Job]) -> Vec<String> {
    let mut labels: Vec<String> = jobs.iter().map(Job::label).collect();
    labels.dedup();
    labels
}

/// Every day with every seed, each once.
pub(super) fn moments(jobs: &[Job]) -> Vec<(Option<String>, u64)> {
    let first = jobs.first().map(Job::label);
    let of_first = jobs.iter().take_while(|job| Some(job.label()) == first);
    of_first.map(|job| (job.day.clone(), job.seed)).collect()
}
