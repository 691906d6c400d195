//! The engine's records as operators see them on the wire. Hosts and vms are converted by `ballast_proto::convert`.

use std::time::Duration;

use ballast_core::{
    decision::{Decision, Step, Trigger},
    migration_cost::Reckoned,
    oversight::DemandStep,
    snapshot::Snapshot,
};
use ballast_proto::{convert::vm_status, v1};

use crate::engine::{DecisionRecord, MigrationRecord};

/// The vms for which `wanted` holds of their host, in order of host and name.
pub(super) fn vms(snapshot: &Snapshot, wanted: impl Fn(&str) -> bool) -> Vec<v1::VmStatus> {
    let there = snapshot.vms.values().filter(|vm| wanted(vm.host.as_str()));
    let mut vms: Vec<v1::VmStatus> = there.filter_map(|vm| vm_status(snapshot, vm.id())).collect();
    vms.sort_by(|a, b| (&a.host, &a.name, &a.vm).cmp(&(&b.host, &b.name, &b.vm)));
    vms
}

/// A migration as it stands.
pub(super) fn migration(record: MigrationRecord) -> v1::Migration {
    v1::Migration {
        migration_id: record.id.to_string(),
        decision_id: record.decision.to_string(),
        vm: record.vm.to_string(),
        name: record.name,
        source: record.source.to_string(),
        destination: record.destination.to_string(),
        motive: record.motive,
        ordered_at_unix_nanos: record.ordered_at.nanos(),
        progress: Some(record.progress.into()),
        reckoned: record.copy.as_deref().map(reckoned),
        outcome: record.outcome.map(Into::into),
        stop_reason: record.stop.unwrap_or_default(),
    }
}

fn reckoned(copy: &Reckoned) -> v1::ReckonedCopy {
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let expected = &copy.expected;
    v1::ReckonedCopy {
        duration_millis: millis(expected.duration),
        downtime_millis: millis(expected.downtime),
        copied_bytes: expected.copied.get(),
        duration_millis_at_most: copy.duration_at_most.map(millis),
        downtime_millis_at_most: copy.downtime_at_most.map(millis),
        converges: expected.converges,
    }
}

/// A decision in short.
pub(super) fn decision(record: &DecisionRecord) -> v1::DecisionSummary {
    let decision = &record.decision;
    v1::DecisionSummary {
        decision_id: decision.id.to_string(),
        at_unix_nanos: decision.at.nanos(),
        trigger: trigger(&decision.trigger),
        policy: decision.policy.clone(),
        chosen: chosen(decision),
        considered_count: small(decision.considered.len()),
        denied_count: small(decision.denied.len()),
        executed: record.executed,
    }
}

fn trigger(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Relief => "relief".to_owned(),
        Trigger::Round => "round".to_owned(),
        Trigger::Early => "early round".to_owned(),
        Trigger::Operator { who, overridden: false } => format!("operator {who}"),
        Trigger::Operator { who, overridden: true } => format!("operator {who}, with override"),
    }
}

fn chosen(decision: &Decision) -> Vec<String> {
    decision.chosen.steps.iter().map(|planned| format!("{}: {}", step(&planned.step), planned.motive)).collect()
}

fn step(step: &Step) -> String {
    match step {
        Step::Migrate(one) => format!("move {} from {} to {}", one.vm, one.from, one.to),
        Step::Sleep { host } => format!("put {host} to sleep"),
        Step::Wake { host, by } => format!("wake {host} by {by}"),
    }
}

/// What a vm used in one step.
pub(super) fn demand_step(step: &DemandStep) -> v1::DemandStep {
    v1::DemandStep { from_unix_nanos: step.from.nanos(), cpu_cores: step.cpu, memory_bytes: step.memory }
}

/// A count as the wire carries it; saturates.
pub(super) fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
