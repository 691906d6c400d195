//! What moves as one: a vm alone, or all of a bundle that is on its host. And bundles that were torn apart, put together.
//!
//! The other policies' files place units, never single vms, so that no plan of theirs tears a bundle apart.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    id::{HostId, VmId},
    policy::{
        Advice,
        board::{Board, Slot},
        offer::propose,
    },
    proposal::Motive,
    risk::{FleetLoad, HostLoad},
    snapshot::{InFlight, Snapshot, VmView},
    units::Bytes,
};

/// Vms of one host that go together.
#[derive(Debug, Clone)]
pub(super) struct Unit<'a> {
    /// At least one; the first has the lowest id.
    pub(super) vms: Vec<&'a VmView>,
    /// Where the rest of the bundle is, if not here: the only place to go.
    pub(super) anchor: Option<&'a HostId>,
}

impl<'a> Unit<'a> {
    /// A vm by itself, whatever bundle it belongs to: for rules that know no bundles.
    pub(super) fn alone(vm: &'a VmView) -> Self {
        Self { vms: vec![vm], anchor: None }
    }

    /// The vm it is called by.
    pub(super) fn first(&self) -> &'a VmView {
        self.vms[0]
    }

    /// Whether it may go to `slot` for all that its bundle has to say.
    pub(super) fn may_join(&self, slot: &Slot<'_>) -> bool {
        self.anchor.is_none_or(|host| host == slot.host.id())
    }

    /// True where two of its vms must not be together, which no host can mend.
    pub(super) fn contradicts_itself(&self) -> bool {
        let rivals = |a: &VmView, b: &VmView| {
            let (a, b) = (&a.record.labels, &b.record.labels);
            !a.anti_affinity.is_disjoint(&b.anti_affinity) || !a.spread.is_disjoint(&b.spread)
        };
        self.vms.iter().enumerate().any(|(index, a)| self.vms[..index].iter().any(|b| rivals(a, b)))
    }

    /// What is left of `load` without it.
    pub(super) fn off(&self, load: HostLoad, fleet: &FleetLoad<'_>) -> HostLoad {
        self.vms.iter().filter_map(|vm| fleet.vm(vm.id())).fold(load, |load, vm| load.without(vm))
    }
}

/// Who belongs to whom.
#[derive(Debug, Clone, Default)]
pub(super) struct Bundles<'a> {
    /// The members of each bundle, those of linked bundles together, in order of id.
    all: Vec<Vec<&'a VmView>>,
    of: BTreeMap<VmId, usize>,
}

impl<'a> Bundles<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let labelled = |vm: &&VmView| !vm.record.labels.affinity.is_empty() && vm.record.state.holds_memory();
        let mut all: Vec<(BTreeSet<&str>, Vec<&'a VmView>)> = Vec::new();
        for vm in snapshot.vms.values().filter(labelled) {
            let mut groups: BTreeSet<&str> = vm.record.labels.affinity.iter().map(String::as_str).collect();
            let mut members = vec![vm];
            all.retain_mut(|(others, vms)| {
                let linked = !groups.is_disjoint(others);
                if linked {
                    groups.append(others);
                    members.append(vms);
                }
                !linked
            });
            members.sort_by_key(|vm| vm.id());
            all.push((groups, members));
        }
        let all: Vec<Vec<&VmView>> = all.into_iter().map(|(_, vms)| vms).collect();
        let index = |(index, vms): (usize, &Vec<&VmView>)| vms.iter().map(|vm| (vm.id(), index)).collect::<Vec<_>>();
        let of = all.iter().enumerate().flat_map(index).collect();
        Self { all, of }
    }

    /// The whole bundle of a vm; empty where it belongs to none.
    fn mates(&self, vm: VmId) -> &[&'a VmView] {
        self.of.get(&vm).map_or(&[], |index| self.all[*index].as_slice())
    }
}

/// Where a vm will be once what is under way has ended.
fn place<'a>(snapshot: &'a Snapshot, vm: &'a VmView) -> &'a HostId {
    let flight = |flight: &&InFlight| flight.vm == vm.id();
    snapshot.in_flight.iter().find(flight).map_or(&vm.host, |flight| &flight.destination)
}

/// The units of a host's vms in order of id: those that may be moved, and how many of its vms may not.
pub(super) fn units_on<'a>(board: &Board<'a>, slot: usize) -> (Vec<Unit<'a>>, usize) {
    let (mut units, mut stuck) = (Vec::new(), 0);
    for vm in &board.slots[slot].settled {
        match unit_of(board, vm) {
            Some(unit) if unit.first().id() == vm.id() => units.push(unit),
            Some(_) => {}
            None => stuck += 1,
        }
    }
    (units, stuck)
}

/// The unit a vm moves in; `None` where it may not be moved, or nowhere that keeps its bundle together.
pub(super) fn unit_of<'a>(board: &Board<'a>, vm: &'a VmView) -> Option<Unit<'a>> {
    let mates = board.bundles.mates(vm.id());
    if mates.is_empty() {
        return board.is_movable(vm).then(|| Unit::alone(vm));
    }
    let snapshot = board.view.snapshot;
    let (vms, others): (Vec<&VmView>, Vec<&VmView>) =
        mates.iter().copied().partition(|mate| *place(snapshot, mate) == vm.host);
    let anchors: BTreeSet<&HostId> = others.into_iter().map(|mate| place(snapshot, mate)).collect();
    let free = anchors.len() < 2 && !vms.is_empty() && vms.iter().all(|mate| board.is_movable(mate));
    free.then(|| Unit { vms, anchor: anchors.into_iter().next() })
}

/// Proposes to put torn bundles together again, on the host that holds most of each.
pub(super) fn mend(board: &mut Board<'_>, advice: &mut Advice) {
    for index in 0..board.bundles.all.len() {
        let members = board.bundles.all[index].clone();
        let mut at: BTreeMap<&HostId, Bytes> = BTreeMap::new();
        for vm in &members {
            let held = at.entry(place(board.view.snapshot, vm)).or_default();
            *held = held.saturating_add(vm.memory_reserved());
        }
        if at.len() > 1 && !mend_one(board, &members, &at, advice) {
            let names: Vec<&str> = members.iter().map(|vm| vm.record.name.as_str()).collect();
            advice
                .notes
                .push(format!("the bundle of {} is torn apart, and none of its hosts can take all", names.join(", ")));
        }
    }
}

fn mend_one(board: &mut Board<'_>, members: &[&VmView], at: &BTreeMap<&HostId, Bytes>, advice: &mut Advice) -> bool {
    let mut hosts: Vec<(&HostId, Bytes)> = at.iter().map(|(host, held)| (*host, *held)).collect();
    hosts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    for (host, _) in hosts {
        let strays: Vec<&VmView> =
            members.iter().copied().filter(|vm| place(board.view.snapshot, vm) != host).collect();
        let free = strays.iter().all(|vm| board.is_movable(vm) && !board.is_resting(vm));
        let Some(slot) = board.slot_of(host).filter(|_| free) else { continue };
        let unit = Unit { vms: strays, anchor: None };
        let open = board.slots[slot].host.is_eligible_target() && !board.slots[slot].emptied;
        if open && board.with(slot, &unit, board.tuning().cpu_limit).is_some() {
            let group = unit.first().record.labels.affinity.iter().next().cloned().unwrap_or_default();
            advice.proposals.push(propose(board, &unit, slot, &Motive::Bundle { group }));
            return true;
        }
    }
    false
}
