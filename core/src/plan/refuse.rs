//! Why what was asked cannot be done: vms of a host to be emptied that find no place, and hosts that stay over their limit.

use std::collections::BTreeSet;

use crate::{
    finding::Finding,
    guard::Guard,
    id::{HostId, VmId},
    plan::{Model, Round},
    proposal::{Action, Motive, Move},
    snapshot::{HostMode, HostPower, Snapshot},
    units::Cores,
};

/// One thing that was asked and cannot be done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Refusal {
    /// A vm of a host to be emptied has no place.
    Homeless {
        host: HostId,
        vm: VmId,
        /// What speaks against every host alike, the vm's own reasons.
        everywhere: Vec<Finding>,
        /// What else speaks against each host.
        against: Vec<(HostId, Vec<Finding>)>,
    },
    /// A host stays over its limit.
    Overloaded { host: HostId, used: Cores, limit: Cores, notes: Vec<String> },
}

/// Everything that was asked of `model` (as it is after `rounds`; `before` as it was) and is not done.
pub(super) fn refusals(model: &Model, before: &Snapshot, rounds: &[Round]) -> Vec<Refusal> {
    let awake = awake_again(model, before);
    let mut refusals: Vec<Refusal> = model.drain.iter().flat_map(|host| homeless(&awake, host)).collect();
    let notes: Vec<String> = rounds.last().map(|round| round.decision.notes.clone()).unwrap_or_default();
    refusals.extend(model.snapshot.hosts.keys().filter_map(|host| overloaded(model, before, host, &notes)));
    refusals
}

/// The model with every host awake that was so before: that it was put to sleep meanwhile stands in nobody's way.
fn awake_again(model: &Model, before: &Snapshot) -> Model {
    let mut awake = model.clone();
    for (id, host) in &mut awake.snapshot.hosts {
        if let Some(was) = before.hosts.get(id).filter(|was| was.power == HostPower::Awake) {
            host.power = was.power;
        }
    }
    awake
}

fn homeless(model: &Model, host: &HostId) -> Vec<Refusal> {
    let staying = model.snapshot.vms.values();
    let staying = staying.filter(|vm| vm.host == *host && vm.record.state.holds_memory());
    staying.map(|vm| against(model, host, vm.id())).collect()
}

/// What speaks against each host for one vm, with the bundle it moves in.
fn against(model: &Model, host: &HostId, vm: VmId) -> Refusal {
    let guard = Guard::new(&model.snapshot, &model.forecasts, &model.tuning);
    let motive = Motive::Drain { host: host.clone() };
    let mut against: Vec<(HostId, Vec<Finding>)> = Vec::new();
    for to in model.snapshot.hosts.keys().filter(|to| *to != host) {
        let moves = bundle(&model.snapshot, vm);
        let one = |vm: &VmId| Move { vm: *vm, from: host.clone(), to: to.clone() };
        let mut findings = guard.check(&Action::Together { moves: moves.iter().map(one).collect() }, &motive);
        findings.retain(|finding| !matches!(finding, Finding::Concurrency { .. }));
        let mut once: Vec<Finding> = Vec::new();
        findings.into_iter().for_each(|finding| {
            if !once.contains(&finding) {
                once.push(finding);
            }
        });
        against.push((to.clone(), once));
    }
    let everywhere: Vec<Finding> = against.first().map_or_else(Vec::new, |(_, first)| {
        let all = |finding: &&Finding| against.iter().all(|(_, others)| others.contains(finding));
        first.iter().filter(all).cloned().collect()
    });
    against.iter_mut().for_each(|(_, findings)| findings.retain(|finding| !everywhere.contains(finding)));
    Refusal::Homeless { host: host.clone(), vm, everywhere, against }
}

/// The vm with all that share a bundle with it and its host.
fn bundle(snapshot: &Snapshot, vm: VmId) -> BTreeSet<VmId> {
    let mut vms = BTreeSet::from([vm]);
    let Some(host) = snapshot.vms.get(&vm).map(|vm| &vm.host) else { return vms };
    loop {
        let groups = |vm: &VmId| snapshot.vms.get(vm).map(|vm| &vm.record.labels.affinity);
        let bundles: BTreeSet<&String> = vms.iter().filter_map(groups).flatten().collect();
        let linked = snapshot.vms.values().filter(|vm| vm.host == *host);
        let linked = linked.filter(|vm| vm.record.labels.affinity.iter().any(|group| bundles.contains(group)));
        let more: BTreeSet<VmId> = linked.map(crate::snapshot::VmView::id).chain([vm]).collect();
        if more == vms {
            return vms;
        }
        vms = more;
    }
}

/// A host that was or is in need and stays so. A peak that is left to pass is none, and a host whose figures are in doubt
/// is not judged by them.
fn overloaded(model: &Model, before: &Snapshot, host: &HostId, notes: &[String]) -> Option<Refusal> {
    let view = model.snapshot.hosts.get(host)?;
    let used = view.sample.as_ref()?.cpu_used.value()?;
    let limit = view.inventory.cpu_capacity * model.tuning.cpu_limit;
    let lasts = view.overloaded_for >= model.tuning.relief_after;
    let stays = view.power == HostPower::Awake && view.is_trusted() && used > limit && lasts;
    let about = |note: &&String| note.contains(host.as_str()) || note.contains("room");
    // What is drained by its operator is not relieved as well.
    let drained = before.hosts.get(host).is_some_and(|host| host.mode == HostMode::Draining);
    (stays && !drained).then(|| Refusal::Overloaded {
        host: host.clone(),
        used,
        limit,
        notes: notes.iter().filter(about).cloned().collect(),
    })
}
