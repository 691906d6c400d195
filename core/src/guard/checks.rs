//! The rules for moving a vm: one small function each, all of them asked, so that a denial names every reason.

use std::collections::BTreeSet;

use crate::{
    aftercare::Care,
    finding::Finding,
    guard::{Guard, groups},
    id::{HostId, VmId},
    inventory::CpuNeed,
    objective::Objective,
    proposal::{Motive, Move},
    quiet,
    sample::VmState,
    snapshot::{HostMode, HostPower, HostView, VmView},
    tuning::LEAST_REST,
    units::Cores,
};

/// One move with everything it names looked up.
pub(super) struct Case<'c> {
    pub(super) guard: &'c Guard<'c>,
    pub(super) vm: &'c VmView,
    from: &'c HostView,
    pub(super) to: &'c HostView,
    motive: &'c Motive,
    pub(super) wish: &'c Wish<'c>,
}

/// A move among those that are wished for together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish<'c> {
    /// All of them, in their order.
    pub(super) whole: &'c [Move],
    /// Which one is meant.
    pub(super) index: usize,
    /// The vm that an exchange takes off the destination in turn: it is counted there no more.
    pub(super) leaving: Option<VmId>,
}

impl Wish<'_> {
    /// Moves of the same wish that come before it.
    pub(super) fn before(&self) -> &[Move] {
        self.whole.get(..self.index).unwrap_or_default()
    }
}

type Rule = fn(&Case<'_>, &mut Vec<Finding>);

/// Every rule about a move whose vm and hosts are known.
const RULES: [Rule; 24] = [
    place,
    running,
    doubt,
    awake,
    draining,
    cpu_now,
    cpu_ahead,
    memory,
    pins,
    immovable,
    groups::anti_affinity,
    groups::affinity,
    groups::spread,
    cpu_model,
    networks,
    storages,
    obstacles,
    preflight,
    held,
    once,
    frozen,
    cool_down,
    left_alone,
    calm,
];

/// All findings about the move that `wish` means, bounds on concurrent moves left out.
pub(super) fn movement(guard: &Guard<'_>, motive: &Motive, wish: &Wish<'_>) -> Vec<Finding> {
    let Some(one) = wish.whole.get(wish.index) else { return Vec::new() };
    let mut findings = unknown(guard, one);
    if one.from == one.to {
        findings.push(Finding::SameHost { host: one.to.clone() });
    }
    let hosts = &guard.snapshot.hosts;
    let known = guard.snapshot.vms.get(&one.vm).zip(hosts.get(&one.from)).zip(hosts.get(&one.to));
    if let Some(((vm, from), to)) = known {
        let case = Case { guard, vm, from, to, motive, wish };
        RULES.iter().for_each(|rule| rule(&case, &mut findings));
    }
    findings
}

fn unknown(guard: &Guard<'_>, one: &Move) -> Vec<Finding> {
    let hosts = [&one.from, &one.to].into_iter().filter(|host| !guard.snapshot.hosts.contains_key(*host));
    let mut findings: Vec<_> = hosts.map(|host| Finding::UnknownHost { host: host.clone() }).collect();
    if !guard.snapshot.vms.contains_key(&one.vm) {
        findings.push(Finding::UnknownVm { vm: one.vm });
    }
    findings
}

/// Findings about how many moves run at a time; the bounds count what is in flight and what was accepted. `moves` begin
/// together, and those among them that were accepted already are not counted twice. Where they are more than a bound
/// allows, they may begin where nothing else runs, for a bundle that waited for a larger bound would wait for ever.
pub(super) fn concurrency(guard: &Guard<'_>, moves: &[Move]) -> Vec<Finding> {
    let (flying, accepted) = (&guard.flying, &guard.accepted.moves);
    let other = |one: &&Move| !moves.contains(one);
    let own: BTreeSet<&Move> = moves.iter().filter(|one| guard.accepted.has(one)).collect();
    let running = flying.len() + accepted.len() - own.len();
    let full = |host: Option<&HostId>, running: usize, own: usize, limit: usize| {
        let is_full = own > 0 && running + own > limit && running > 0;
        is_full.then(|| Finding::Concurrency { host: host.cloned(), limit })
    };
    let (out, into): (BTreeSet<_>, BTreeSet<_>) = moves.iter().map(|one| (&one.from, &one.to)).unzip();
    let tuning = guard.tuning;
    let leaving = out.into_iter().map(|host| {
        let own = moves.iter().filter(|one| one.from == *host).count();
        full(
            Some(host),
            flying.from(host).count() + accepted.from(host).filter(other).count(),
            own,
            tuning.moves_out_per_host,
        )
    });
    let arriving = into.into_iter().map(|host| {
        let own = moves.iter().filter(|one| one.to == *host).count();
        full(
            Some(host),
            flying.to(host).count() + accepted.to(host).filter(other).count(),
            own,
            tuning.moves_in_per_host,
        )
    });
    let fleet = full(None, running, moves.len(), tuning.moves_in_fleet);
    leaving.chain(arriving).chain([fleet]).flatten().collect()
}

impl Case<'_> {
    /// CPU that the move may bring its destination to: what could wait leaves more room than need does.
    fn cpu_limit(&self) -> Cores {
        let tuning = self.guard.tuning;
        let comfort = matches!(self.motive, Motive::Consolidation { .. } | Motive::Balance { .. });
        self.to.inventory.cpu_capacity * if comfort { tuning.cpu_fill_limit } else { tuning.cpu_limit }
    }

    /// The destination's load with the vm on it.
    fn would_be(&self) -> crate::risk::HostLoad {
        let load = self.guard.booked(self.to.id(), self.wish.before());
        let leaving = self.wish.leaving.and_then(|vm| self.guard.load.vm(vm));
        let load = leaving.map_or(load, |vm| load.without(vm));
        self.guard.load.vm(self.vm.id()).map_or(load, |vm| load.with(vm))
    }

    /// Whether the wish is what it claims: its source is over the limit, now or at the next step.
    fn relieves_overload(&self) -> bool {
        let Motive::Overload { host, .. } = self.motive else { return false };
        let limit = self.from.inventory.cpu_capacity * self.guard.tuning.cpu_limit;
        let over = |load: &crate::risk::HostLoad| load.now() > limit || load.next_step(&self.guard.risk) > limit;
        host == self.from.id() && self.guard.load.host(host).is_some_and(over)
    }

    /// Whether the wish is what it claims: the vm fares worse than expected since it moved, and goes back where it was.
    fn is_way_back(&self) -> bool {
        let care = self.guard.snapshot.aftercare.get(&self.vm.id());
        let back = matches!(care, Some(Care::Watched { from, worse: Some(_) }) if from == self.to.id());
        back && matches!(self.motive, Motive::Regret { .. })
    }

    /// Whether the operator wants the source empty, and the move is for that.
    fn drains(&self) -> bool {
        self.from.mode == HostMode::Draining && matches!(self.motive, Motive::Drain { .. })
    }
}

/// A vm that was moved back had its chance; only need, or an operator, moves it before its rest is over.
fn left_alone(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let snapshot = case.guard.snapshot;
    let Some(Care::LeftAlone { until }) = snapshot.aftercare.get(&case.vm.id()) else { return };
    if !case.relieves_overload() && !case.drains() {
        findings.push(Finding::LeftAlone { vm: case.vm.id(), left: until.since(snapshot.taken_at) });
    }
}

/// A copy that would not end is not begun because somebody wants the vm elsewhere: it takes minutes of a slowed-down vm and moves
/// nothing. What policies propose for gain has been reckoned with by them, and relief takes such a vm as its last resort.
fn calm(case: &Case<'_>, findings: &mut Vec<Finding>) {
    if !matches!(case.motive, Motive::Operator { .. } | Motive::Drain { .. }) {
        return;
    }
    let objective = Objective::new(case.guard.snapshot, case.guard.tuning);
    if let Some(busy) = quiet::too_busy(&objective, case.vm, case.from, case.to) {
        findings.push(busy.finding(case.vm.id()));
    }
}

fn place(case: &Case<'_>, findings: &mut Vec<Finding>) {
    if case.vm.host != *case.from.id() {
        let (claimed, actual) = (case.from.id().clone(), case.vm.host.clone());
        findings.push(Finding::NotThere { vm: case.vm.id(), claimed, actual });
    }
}

fn running(case: &Case<'_>, findings: &mut Vec<Finding>) {
    if case.vm.record.state != VmState::Running {
        findings.push(Finding::NotRunning { vm: case.vm.id() });
    }
}

fn doubt(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for host in [case.from, case.to].into_iter().filter(|host| !host.is_trusted()) {
        findings.push(Finding::Doubtful { host: host.id().clone(), doubts: host.doubts.clone() });
    }
}

fn awake(case: &Case<'_>, findings: &mut Vec<Finding>) {
    if case.to.power != HostPower::Awake || case.guard.falls_asleep(case.to.id()) {
        findings.push(Finding::NotAwake { host: case.to.id().clone() });
    }
}

fn draining(case: &Case<'_>, findings: &mut Vec<Finding>) {
    if case.to.mode == HostMode::Draining {
        findings.push(Finding::BeingDrained { host: case.to.id().clone() });
    }
}

fn cpu_now(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let (would_be, limit) = (case.would_be().now(), case.cpu_limit());
    if would_be > limit {
        findings.push(Finding::CpuNow { host: case.to.id().clone(), would_be, limit });
    }
}

fn cpu_ahead(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let (would_be, limit) = (case.would_be().ahead(&case.guard.risk), case.cpu_limit());
    if would_be > limit {
        findings.push(Finding::CpuAhead { host: case.to.id().clone(), would_be, limit });
    }
}

fn memory(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let would_be = case.would_be().memory;
    let limit = case.to.inventory.memory_capacity.scale(case.guard.tuning.memory_ratio);
    if would_be > limit {
        findings.push(Finding::Memory { host: case.to.id().clone(), would_be, limit });
    }
}

fn pins(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let pinned = &case.vm.record.labels.pinned_to;
    if !pinned.is_empty() && !pinned.contains(case.to.id()) {
        findings.push(Finding::Pinned { vm: case.vm.id(), host: case.to.id().clone() });
    }
}

fn immovable(case: &Case<'_>, findings: &mut Vec<Finding>) {
    if case.vm.record.labels.immovable {
        findings.push(Finding::Immovable { vm: case.vm.id() });
    }
}

fn cpu_model(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let host = &case.to.inventory;
    let needs = match &case.vm.record.cpu {
        CpuNeed::Any => return,
        CpuNeed::Model(model) if host.cpu_models.contains(model) => return,
        CpuNeed::SameAs(model) if host.cpu_model == *model => return,
        CpuNeed::Model(model) | CpuNeed::SameAs(model) => model.clone(),
    };
    findings.push(Finding::CpuModel { vm: case.vm.id(), needs, host: host.host.clone() });
}

fn networks(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let missing = case.vm.record.networks.difference(&case.to.inventory.networks);
    findings.extend(missing.map(|network| Finding::Network {
        vm: case.vm.id(),
        network: network.clone(),
        host: case.to.id().clone(),
    }));
}

fn storages(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let missing = case.vm.record.storages.difference(&case.to.inventory.storages);
    findings.extend(missing.map(|storage| Finding::Storage {
        vm: case.vm.id(),
        storage: storage.clone(),
        host: case.to.id().clone(),
    }));
}

fn obstacles(case: &Case<'_>, findings: &mut Vec<Finding>) {
    if !case.vm.record.obstacles.is_empty() {
        findings.push(Finding::Obstructed { vm: case.vm.id(), obstacles: case.vm.record.obstacles.clone() });
    }
}

/// What agents refused lately. An operator's order is asked for anew: he may have put right what no inventory shows.
fn preflight(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let (vm, host) = (case.vm.id(), case.to.id());
    let asked_anew = matches!(case.motive, Motive::Operator { .. });
    let Some(refused) = case.guard.snapshot.refused_move(vm, host).filter(|_| !asked_anew) else { return };
    findings.extend(refused.said.iter().map(|said| said.finding(vm, host)));
}

fn held(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let vm = case.vm.id();
    let flies = case.guard.snapshot.in_flight.iter().find(|flight| flight.vm == vm).map(|flight| flight.command);
    if let Some(by) = case.vm.locked_by.or(flies) {
        findings.push(Finding::Locked { vm, by });
    }
    if case.vm.record.busy {
        findings.push(Finding::HypervisorBusy { vm });
    }
}

fn once(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let vm = case.vm.id();
    if case.guard.accepted.moves.of(vm).chain(case.wish.before()).any(|one| one.vm == vm) {
        findings.push(Finding::MovedTwice { vm });
    }
}

fn frozen(case: &Case<'_>, findings: &mut Vec<Finding>) {
    if let Some(why) = &case.vm.frozen {
        findings.push(Finding::Frozen { vm: case.vm.id(), why: why.clone() });
    }
}

fn cool_down(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let now = case.guard.snapshot.taken_at;
    let Some(moved) = case.vm.last_moved_at else { return };
    let whole = case.guard.tuning.vm_cool_down;
    let rest =
        if case.relieves_overload() || case.drains() || case.is_way_back() { whole.min(LEAST_REST) } else { whole };
    let left = rest.saturating_sub(now.since(moved));
    if !left.is_zero() {
        findings.push(Finding::CoolDown { vm: case.vm.id(), left });
    }
}
