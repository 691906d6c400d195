//! What a plan comes to, as it is printed: verdict, steps with their reasons, findings, and the fleet after them.
//!
//! Vms go by their names in every sentence; the data beside the sentences carries their uuids.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    decision::{Decision, Denial, Plan, Planned, Step},
    explain::{expectations, with_names},
    finding::Finding,
    id::{HostId, VmId},
    objective::Objective,
    plan::{Model, Round, refuse::Refusal},
    proposal::{Action, Expectation, Motive, Move, Proposal},
    risk::{FleetLoad, Risk},
    snapshot::{HostMode, HostPower, Snapshot},
    units::Joules,
};

/// Whether what was asked can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is to be done.
    NothingToDo,
    /// The plan does it.
    Feasible,
    /// It cannot be done; `why` says why. Where a host was to be emptied, nothing is planned at all.
    Infeasible,
}

/// One step of the plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanStep {
    /// The round it begins in, from 1: what has a later number waits for what has an earlier one.
    pub round: usize,
    /// When that is, at the earliest.
    pub at_seconds: f64,
    /// What to do, in words.
    pub step: String,
    /// Why, in words.
    pub because: String,
    /// What is expected of the whole proposal it belongs to, in words and figures.
    pub expect: Vec<String>,
    /// The bundle or the exchange without whose other moves it must not begin, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_of: Option<String>,
    /// The same as data.
    #[serde(flatten)]
    pub action: StepData,
}

/// A step as data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepData {
    /// What to do.
    pub action: Step,
    /// Why.
    pub motive: Motive,
    /// What is expected.
    pub expected: Expectation,
}

/// What speaks against something.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// The round in which it was found.
    pub round: usize,
    /// What was wished.
    pub about: String,
    /// What speaks against it, in words.
    pub against: Vec<String>,
    /// The same as data.
    pub findings: Vec<Finding>,
}

/// One host after the plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HostAfter {
    /// Which.
    pub host: HostId,
    /// Whether it is awake.
    pub power: HostPower,
    /// What is wanted of it.
    pub mode: HostMode,
    /// CPU in use, in cores.
    pub cpu_now: f64,
    /// CPU wanted at the risk quantile within the horizon, in cores.
    pub cpu_ahead: f64,
    /// CPU it has, in cores.
    pub cpu_cores: f64,
    /// Memory promised to vms.
    pub memory_promised_gib: f64,
    /// Memory it has.
    pub memory_gib: f64,
    /// What it draws, by its power curve.
    pub watts: f64,
    /// Names of the vms on it.
    pub vms: Vec<String>,
}

/// The fleet after the plan, and what has become of its sums.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct After {
    /// Hosts awake before and after.
    pub hosts_awake: [usize; 2],
    /// What the hosts draw before and after, in watts, by their power curves.
    pub watts: [f64; 2],
    /// Price of the fleet over the horizon before and after, in joules, by the objective.
    pub price_joules: [f64; 2],
    /// Every host.
    pub hosts: Vec<HostAfter>,
}

/// Everything that came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whether it can be done.
    pub verdict: Verdict,
    /// Why not.
    pub why: Vec<String>,
    /// Which policy proposed.
    pub policy: String,
    /// Which forecaster was used.
    pub forecast: String,
    /// The whole plan, in order.
    pub plan: Vec<PlanStep>,
    /// What the guard spoke against, each thing once.
    pub findings: Vec<Found>,
    /// Why no more was proposed, each thing once.
    pub notes: Vec<String>,
    /// The fleet after the plan.
    pub after: After,
    /// The vms' names.
    pub vms: BTreeMap<VmId, String>,
    /// The first round's decision, as the scheduler would journal it.
    pub decision: Option<Decision>,
}

/// Names in place of uuids.
struct Names(BTreeMap<VmId, String>);

impl Names {
    fn of(snapshot: &Snapshot) -> Self {
        let named = snapshot.vms.values().filter(|vm| !vm.record.name.is_empty());
        Self(named.map(|vm| (vm.id(), vm.record.name.clone())).collect())
    }

    fn put(&self, text: &str) -> String {
        with_names(text, &|vm| self.0.get(&vm).cloned())
    }
}

/// The report on `rounds`, which led from `before` to the model as it is now. Where a host that was to be emptied cannot
/// be, the whole plan is refused: nothing of it is left but the reasons.
pub(super) fn report(model: Model, before: Snapshot, mut rounds: Vec<Round>, refusals: Vec<Refusal>) -> Report {
    let names = Names::of(&before);
    let refused = refusals.iter().any(|refusal| matches!(refusal, Refusal::Homeless { .. }));
    if refused {
        let denials = denials(&model, &rounds, &refusals);
        rounds.truncate(1);
        if let Some(first) = rounds.first_mut() {
            first.decision.chosen = Plan::default();
            first.decision.denied.extend(denials);
        }
    }
    let plan: Vec<PlanStep> = rounds.iter().flat_map(|round| steps(round, &names)).collect();
    let verdict = match (refusals.is_empty(), plan.is_empty()) {
        (false, _) => Verdict::Infeasible,
        (true, true) => Verdict::NothingToDo,
        (true, false) => Verdict::Feasible,
    };
    let after = if refused { Model { snapshot: before.clone(), ..model.clone() } } else { model.clone() };
    Report {
        verdict,
        why: refusals.iter().flat_map(in_words).map(|line| names.put(&line)).collect(),
        policy: model.policy.clone(),
        forecast: model.forecasts.method.clone(),
        plan,
        findings: findings(&rounds, &names),
        notes: doubtful(&before).chain(notes(&rounds, &names)).collect(),
        after: state(&after, &before, &names),
        decision: rounds.into_iter().next().map(|round| round.decision),
        vms: names.0,
    }
}

/// The evacuations that cannot be done, with the moves that could have been.
fn denials(model: &Model, rounds: &[Round], refusals: &[Refusal]) -> Vec<Denial> {
    let moves_off = |host: &HostId| -> Vec<Move> {
        let steps = rounds.iter().flat_map(|round| &round.decision.chosen.steps);
        let moves = steps.filter_map(|planned| if let Step::Migrate(one) = &planned.step { Some(one) } else { None });
        moves.filter(|one| one.from == *host).cloned().collect()
    };
    let denial = |host: &HostId| {
        let mut findings: Vec<Finding> = Vec::new();
        for refusal in refusals {
            let Refusal::Homeless { host: of, everywhere, against, .. } = refusal else { continue };
            let all = everywhere.iter().chain(against.iter().flat_map(|(_, findings)| findings));
            for finding in all.filter(|_| of == host) {
                if !findings.contains(finding) {
                    findings.push(finding.clone());
                }
            }
        }
        let action = Action::Evacuate { host: host.clone(), moves: moves_off(host) };
        let motive = Motive::Drain { host: host.clone() };
        Denial { proposal: Proposal { action, motive, expected: Expectation::default() }, findings }
    };
    let infeasible = |host: &&HostId| {
        refusals.iter().any(|refusal| matches!(refusal, Refusal::Homeless { host: of, .. } if of == *host))
    };
    model.drain.iter().filter(infeasible).map(denial).collect()
}

fn steps(round: &Round, names: &Names) -> Vec<PlanStep> {
    let step = |planned: &Planned| PlanStep {
        round: round.number,
        at_seconds: round.begins.as_secs_f64(),
        step: names.put(&planned.step.to_string()),
        because: names.put(&planned.motive.to_string()),
        expect: expectations(&planned.expected),
        part_of: planned.part_of.as_ref().map(|action| names.put(&action.to_string())),
        action: StepData { action: planned.step.clone(), motive: planned.motive.clone(), expected: planned.expected },
    };
    round.decision.chosen.steps.iter().map(step).collect()
}

fn findings(rounds: &[Round], names: &Names) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for round in rounds {
        for Denial { proposal, findings } in &round.decision.denied {
            let about = names.put(&proposal.action.to_string());
            let against = findings.iter().map(|finding| names.put(&finding.to_string())).collect();
            let one = Found { round: round.number, about, against, findings: findings.clone() };
            if !found.iter().any(|other| other.about == one.about && other.against == one.against) {
                found.push(one);
            }
        }
    }
    found
}

/// Hosts that are neither source nor target because their figures are in doubt.
fn doubtful(snapshot: &Snapshot) -> impl Iterator<Item = String> {
    snapshot.hosts.iter().filter(|(_, host)| !host.is_trusted()).map(|(id, host)| {
        let doubts: Vec<String> = host.doubts.iter().map(ToString::to_string).collect();
        format!("{id} is in doubt: {}", doubts.join(", "))
    })
}

fn notes(rounds: &[Round], names: &Names) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut notes = Vec::new();
    for note in rounds.iter().flat_map(|round| &round.decision.notes) {
        let note = names.put(note);
        if seen.insert(note.clone()) {
            notes.push(note);
        }
    }
    notes
}

/// A refusal in words, what concerns every host first.
fn in_words(refusal: &Refusal) -> Vec<String> {
    match refusal {
        Refusal::Overloaded { host, used, limit, notes } => {
            let head = format!("{host} stays over its limit: {used} in use, {limit} are allowed");
            std::iter::once(head).chain(notes.iter().cloned()).collect()
        }
        Refusal::Homeless { host, vm, everywhere, against } => {
            let mut lines = vec![format!("{host} cannot be emptied: vm {vm} finds no host")];
            lines.extend(everywhere.iter().map(|finding| format!("{vm}: {finding}")));
            for (to, findings) in against.iter().filter(|(_, findings)| !findings.is_empty()) {
                let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
                lines.push(format!("{vm} to {to}: {}", findings.join("; ")));
            }
            lines
        }
    }
}

fn state(model: &Model, before: &Snapshot, names: &Names) -> After {
    let hosts = hosts(model, &model.snapshot, names);
    let awake = |snapshot: &Snapshot| snapshot.hosts.values().filter(|host| host.power == HostPower::Awake).count();
    let price = |snapshot: &Snapshot| -> Joules {
        let objective = Objective::new(snapshot, &model.tuning);
        objective.price(objective.fleet(&FleetLoad::of(snapshot, &model.forecasts)))
    };
    let watts = |hosts: &[HostAfter]| hosts.iter().map(|host| host.watts).sum();
    After {
        hosts_awake: [awake(before), awake(&model.snapshot)],
        watts: [watts(&self::hosts(model, before, names)), watts(&hosts)],
        price_joules: [price(before).get(), price(&model.snapshot).get()],
        hosts,
    }
}

fn hosts(model: &Model, snapshot: &Snapshot, names: &Names) -> Vec<HostAfter> {
    const GIB: f64 = 1_073_741_824.0;
    let load = FleetLoad::of(snapshot, &model.forecasts);
    let risk = Risk::of(&model.tuning);
    let one = |(id, host): (&HostId, &crate::snapshot::HostView)| {
        let at = load.host(id).copied().unwrap_or_default();
        let power = &host.inventory.power;
        let asleep = host.power == HostPower::Asleep;
        let name = |vm: VmId| names.0.get(&vm).cloned().unwrap_or_else(|| vm.to_string());
        HostAfter {
            host: id.clone(),
            power: host.power,
            mode: host.mode,
            cpu_now: at.now().get(),
            cpu_ahead: at.ahead(&risk).get(),
            cpu_cores: at.capacity.get(),
            memory_promised_gib: at.memory.as_f64() / GIB,
            memory_gib: at.memory_capacity.as_f64() / GIB,
            watts: if asleep { power.asleep() } else { power.at(at.utilisation(0)) }.get(),
            vms: load.residents(id).map(name).collect(),
        }
    };
    snapshot.hosts.iter().map(one).collect()
}
