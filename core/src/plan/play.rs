//! The model that a plan is played on: demand holds still, orders succeed, and everything they change is counted on.
//!
//! Called by [`super::Model::plan`] round by round, and by the tests of the decision core. It judges nothing.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    decision::{Planned, Step},
    id::{Generation, HostId, VmId},
    proposal::Move,
    sample::Reading,
    snapshot::{Doubt, HostPower, InFlight, Snapshot},
    units::{Cores, Timestamp},
};

/// Carries out `steps` on `snapshot`, and lets `span` pass, by the end of which every move has arrived. A host that was
/// ordered to wake is awake once its time is up. A host whose limit was exceeded for less than `relief_after` when the
/// model began (a peak) is taken to go on so, for nothing on the model says whether a peak passes.
pub fn play(snapshot: &mut Snapshot, steps: &[Planned], span: Duration, cpu_limit: f64, relief_after: Duration) {
    let before = residents(snapshot);
    let landed: Vec<InFlight> = std::mem::take(&mut snapshot.in_flight);
    for flight in landed {
        arrive(snapshot, &Move { vm: flight.vm, from: flight.source, to: flight.destination });
    }
    for planned in steps {
        match &planned.step {
            Step::Migrate(one) => arrive(snapshot, one),
            Step::Sleep { host } => turn(snapshot, host, HostPower::Asleep),
            Step::Wake { host, .. } => turn(snapshot, host, HostPower::Waking),
        }
    }
    snapshot.taken_at = snapshot.taken_at.after(span);
    wake_up(snapshot);
    measure(snapshot);
    let after = residents(snapshot);
    let changed = |host: &HostId| before.get(host) != after.get(host);
    pass(snapshot, span, cpu_limit, relief_after, changed);
}

fn arrive(snapshot: &mut Snapshot, one: &Move) {
    let now = snapshot.taken_at;
    if let Some(vm) = snapshot.vms.get_mut(&one.vm) {
        vm.host = one.to.clone();
        vm.last_moved_at = Some(now);
        vm.locked_by = None;
        vm.generation = Generation(vm.generation.0.saturating_add(1));
    }
}

fn turn(snapshot: &mut Snapshot, host: &HostId, power: HostPower) {
    let now = snapshot.taken_at;
    if let Some(host) = snapshot.hosts.get_mut(host) {
        (host.power, host.power_since) = (power, now);
        host.doubts.retain(|doubt| !matches!(doubt, Doubt::WakeFailed { .. }));
    }
}

fn wake_up(snapshot: &mut Snapshot) {
    let now: Timestamp = snapshot.taken_at;
    for host in snapshot.hosts.values_mut().filter(|host| host.power == HostPower::Waking) {
        let wake = host.inventory.power.wake_time();
        if now.since(host.power_since) >= wake {
            (host.power, host.power_since) = (HostPower::Awake, host.power_since.after(wake));
            host.empty_for = Duration::ZERO;
        }
    }
}

/// The vms that count on each host.
fn residents(snapshot: &Snapshot) -> BTreeMap<HostId, Vec<VmId>> {
    let mut residents: BTreeMap<HostId, Vec<VmId>> = BTreeMap::new();
    for vm in snapshot.vms.values().filter(|vm| vm.record.state.holds_memory()) {
        residents.entry(vm.host.clone()).or_default().push(vm.id());
    }
    residents
}

/// CPU that the vms of each host use.
fn used(snapshot: &Snapshot) -> BTreeMap<HostId, f64> {
    let mut used: BTreeMap<HostId, f64> = BTreeMap::new();
    for vm in snapshot.vms.values() {
        *used.entry(vm.host.clone()).or_default() += vm.cpu_used().map_or(0.0, Cores::get);
    }
    used
}

/// Works out what each host uses for itself: what it measured beyond its vms'. Where nothing was measured, none.
pub(super) fn take_bases(snapshot: &mut Snapshot) {
    let used = used(snapshot);
    for (id, host) in &mut snapshot.hosts {
        let measured = host.sample.and_then(|sample| sample.cpu_used.value()).unwrap_or_default();
        host.base = measured.saturating_sub(Cores(used.get(id).copied().unwrap_or_default()));
    }
}

/// Sets every host's sample to what its vms use on top of its base, at most all it has.
pub(super) fn measure(snapshot: &mut Snapshot) {
    let used = used(snapshot);
    for (id, host) in &mut snapshot.hosts {
        let wanted = Cores(used.get(id).copied().unwrap_or_default()) + host.base;
        let capacity = host.inventory.cpu_capacity;
        host.sample.get_or_insert_default().cpu_used = Reading::Measured(wanted.min(capacity));
    }
}

/// Lets time pass for every host that is over its limit, or empty.
fn pass(
    snapshot: &mut Snapshot,
    span: Duration,
    cpu_limit: f64,
    relief_after: Duration,
    changed: impl Fn(&HostId) -> bool,
) {
    let residents = residents(snapshot);
    for (id, host) in &mut snapshot.hosts {
        let used = host.sample.and_then(|sample| sample.cpu_used.value()).unwrap_or_default();
        let over = used > host.inventory.cpu_capacity * cpu_limit;
        let peak = host.overloaded_for < relief_after && !changed(id);
        host.overloaded_for = match (over, peak) {
            (false, _) => Duration::ZERO,
            (true, true) => host.overloaded_for,
            (true, false) => host.overloaded_for.saturating_add(span),
        };
        // A host that has just been emptied begins to be empty.
        let stays_empty = !residents.contains_key(id) && !changed(id);
        host.empty_for = if stays_empty { host.empty_for.saturating_add(span) } else { Duration::ZERO };
    }
}
