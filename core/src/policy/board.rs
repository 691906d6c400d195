//! The policies' working copy of the fleet: what has been proposed this round is already played on it.
//!
//! Vms that are leaving a host do not count among those that could be moved from it; their load still does. Who may go
//! where is a yes or no here, to search quickly; the reasons are the guard's business.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    aftercare::Care,
    id::{HostId, VmId},
    objective::Objective,
    policy::{
        View,
        bundle::{Bundles, Unit},
        shelf::{End, Shelves},
    },
    proposal::Move,
    risk::{Asking, FleetLoad, HostLoad, Risk, VmLoad},
    sample::VmState,
    snapshot::{HostPower, InFlight, VmView},
    tuning::{LEAST_REST, Tuning},
    units::{Bytes, Cores},
};

pub(super) use super::slot::Slot;

/// The fleet as the round has it so far.
#[derive(Debug, Clone)]
pub(super) struct Board<'a> {
    pub(super) view: View<'a>,
    pub(super) risk: Risk,
    pub(super) fleet: &'a FleetLoad<'a>,
    pub(super) slots: Vec<Slot<'a>>,
    pub(super) moved: BTreeSet<VmId>,
    pub(super) bundles: Bundles<'a>,
    /// Members of spread groups by fault domain and group.
    spread: BTreeMap<(&'a str, &'a str), usize>,
    weights: [f64; 2],
    shelves: Shelves,
    /// See [`Self::best_marginal`].
    marginal: f64,
    /// What a mean host's room costs on the most efficient host.
    pub(super) watts_per_room: f64,
    /// All demand and all capacity, asleep or not.
    everything: HostLoad,
}

impl<'a> Board<'a> {
    pub(super) fn new(view: View<'a>) -> Self {
        let fleet = view.load;
        let slots: Vec<Slot<'a>> = view.snapshot.hosts.values().map(|host| Slot::empty(host, fleet)).collect();
        let (risk, moved) = (Risk::of(view.tuning), BTreeSet::new());
        let everything = fleet.pool(|_| true);
        let (bundles, spread) = (Bundles::of(view.snapshot), BTreeMap::new());
        let shelves = Shelves::new(slots.iter().map(|slot| slot.host));
        let (weights, marginal, watts_per_room) = ([0.5; 2], marginal(&slots), 1.0);
        let mut board = Self {
            view,
            risk,
            fleet,
            slots,
            moved,
            bundles,
            spread,
            weights,
            shelves,
            marginal,
            watts_per_room,
            everything,
        };
        let scarcity = board.scarcity();
        board.weights = weights_of(scarcity);
        board.price(scarcity);
        board.fill();
        (0..board.slots.len()).for_each(|slot| board.shelve(slot));
        board
    }

    /// What each host costs for the room it offers: its power at the load it will have when the scarcer resource is used up,
    /// over its share of both resources.
    fn price(&mut self, scarcity: [f64; 2]) {
        let load = (scarcity[0] / scarcity[0].max(scarcity[1])).min(1.0);
        let cost = |board: &Self, slot: &Slot<'_>| {
            let inventory = &slot.host.inventory;
            let room = board.share(inventory.cpu_capacity, inventory.memory_capacity);
            inventory.power.at(load).get() / room.max(f64::MIN_POSITIVE)
        };
        let costs: Vec<f64> = self.slots.iter().map(|slot| cost(self, slot)).collect();
        let best = costs.iter().copied().fold(f64::INFINITY, f64::min).max(f64::MIN_POSITIVE);
        self.slots.iter_mut().zip(costs).for_each(|(slot, cost)| slot.cost = cost / best);
        self.watts_per_room = best;
    }

    /// Puts a host where the room it has left belongs.
    fn shelve(&mut self, slot: usize) {
        if self.slots[slot].host.is_eligible_target() {
            let room = self.room_left(&self.slots[slot].load);
            self.shelves.put(slot, room);
        }
    }

    pub(super) fn room_left(&self, load: &HostLoad) -> f64 {
        let memory = load.memory_capacity.scale(self.tuning().memory_ratio).saturating_sub(load.memory);
        self.share(load.capacity.saturating_sub(load.ahead(&self.risk)), memory)
    }

    /// Share of a mean host that so much CPU and memory make up, the scarcer resource weighing more.
    pub(super) fn share(&self, cpu: Cores, memory: Bytes) -> f64 {
        let (pool, hosts) = (&self.everything, crate::units::count(self.slots.len().max(1)));
        let cpu = cpu.ratio_of(pool.capacity / hosts);
        let memory = memory.as_f64() * hosts / pool.memory_capacity.as_f64().max(1.0);
        self.weights[0] * cpu + self.weights[1] * memory
    }

    /// What `look` finds where `times` the risk is taken.
    pub(super) fn at_risk<T>(&mut self, times: f64, look: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.risk.times, times);
        let found = look(self);
        self.risk.times = before;
        found
    }

    pub(super) fn tuning(&self) -> &'a Tuning {
        self.view.tuning
    }

    pub(super) fn objective(&self) -> Objective<'a> {
        Objective::new(self.view.snapshot, self.view.tuning)
    }

    pub(super) fn slot_of(&self, host: &HostId) -> Option<usize> {
        self.fleet.position(host)
    }

    /// The load of a host as the round has it so far.
    pub(super) fn load_of(&self, host: &HostId) -> Option<HostLoad> {
        self.slot_of(host).map(|slot| self.slots[slot].load)
    }

    /// Watts that one more busy core draws on the most efficient host that is up.
    pub(super) fn best_marginal(&self) -> f64 {
        self.marginal
    }

    /// Share of a mean host that `load` takes up, the scarcer resource weighing more.
    pub(super) fn room_of(&self, load: &HostLoad) -> f64 {
        self.share(load.ahead(&self.risk), load.memory)
    }

    /// Puts every vm where it counts.
    fn fill(&mut self) {
        let snapshot = self.view.snapshot;
        let flights: BTreeMap<VmId, &InFlight> = snapshot.in_flight.iter().map(|flight| (flight.vm, flight)).collect();
        for slot in 0..self.slots.len() {
            let (host, fleet) = (self.slots[slot].host.id(), self.fleet);
            for Asking { id, vm, load, is_grouped } in fleet.residents_at(slot) {
                if is_grouped {
                    self.note_spread(vm, slot, true);
                    let (groups, apart) = (&mut self.slots[slot].groups, &vm.record.labels.anti_affinity);
                    apart.iter().for_each(|group| *groups.entry(group).or_default() += 1);
                }
                let slot = &mut self.slots[slot];
                match flights.get(&id) {
                    Some(flight) if flight.destination == *host => slot.arriving += 1,
                    Some(_) => slot.leaving.push(*load),
                    None => slot.settled.push(vm),
                }
            }
        }
    }

    /// How scarce CPU and memory are on the awake hosts, as shares that are in use.
    fn scarcity(&self) -> [f64; 2] {
        let awake = |id: &HostId| self.view.snapshot.hosts.get(id).is_some_and(|host| host.power == HostPower::Awake);
        let pool = self.fleet.pool(awake);
        let cpu = pool.ahead(&self.risk).ratio_of(pool.capacity).max(0.01);
        let memory = pool.memory.ratio_of(pool.memory_capacity).max(0.01);
        [cpu, memory]
    }

    /// True where the vm may be moved at all; its rest after a move is asked separately.
    pub(super) fn is_movable(&self, vm: &VmView) -> bool {
        let record = &vm.record;
        let since_move = |moved| self.view.snapshot.taken_at.since(moved);
        let least_rest = self.tuning().vm_cool_down.min(LEAST_REST);
        let just_moved = vm.last_moved_at.is_some_and(|moved| since_move(moved) < least_rest);
        let held =
            just_moved || vm.locked_by.is_some() || vm.frozen.is_some() || record.busy || self.moved.contains(&vm.id());
        !held && record.state == VmState::Running && record.obstacles.is_empty() && !record.labels.immovable
    }

    /// True where the vm moved so lately that only need may move it again.
    pub(super) fn is_resting(&self, vm: &VmView) -> bool {
        let rest = self.tuning().vm_cool_down;
        let left_alone = matches!(self.view.snapshot.aftercare.get(&vm.id()), Some(Care::LeftAlone { .. }));
        left_alone || vm.last_moved_at.is_some_and(|moved| self.view.snapshot.taken_at.since(moved) < rest)
    }

    /// Counts a vm in the fault domain of a host, or takes it off there.
    fn note_spread(&mut self, vm: &'a VmView, slot: usize, there: bool) {
        let domain = self.slots[slot].host.inventory.fails_with();
        for group in &vm.record.labels.spread {
            let members = self.spread.entry((domain, group)).or_default();
            *members = if there { *members + 1 } else { members.saturating_sub(1) };
        }
    }

    /// The host's load with the vms of `unit`, where they may and can go there within `limit` (a share of its CPU).
    pub(super) fn with(&self, slot: usize, unit: &Unit<'_>, limit: f64) -> Option<HostLoad> {
        self.with_loads(slot, unit, &self.loads_of(unit)?, limit)
    }

    /// What each vm of a unit asks for; `None` where one takes nothing.
    fn loads_of(&self, unit: &Unit<'_>) -> Option<Vec<&VmLoad>> {
        unit.vms.iter().map(|vm| self.fleet.vm(vm.id())).collect()
    }

    /// [`Self::with`] for who asks about many hosts, with what the unit's vms ask for looked up once.
    fn with_loads(&self, slot: usize, unit: &Unit<'_>, loads: &[&VmLoad], limit: f64) -> Option<HostLoad> {
        let mut would_be = self.slots[slot].load;
        loads.iter().for_each(|load| would_be.add(load));
        let suits = |vm: &&VmView| self.suits(slot, vm, None);
        let may = unit.may_join(&self.slots[slot]) && self.is_within(&would_be, limit) && unit.vms.iter().all(suits);
        (may && !unit.contradicts_itself()).then_some(would_be)
    }

    /// The host's load with `vm` instead of `leaving`, where that may and can be.
    pub(super) fn in_place_of(&self, slot: usize, vm: &VmView, leaving: &VmView, limit: f64) -> Option<HostLoad> {
        let (load, gone) = self.fleet.vm(vm.id()).zip(self.fleet.vm(leaving.id()))?;
        let would_be = self.slots[slot].load.without(gone).with(load);
        (self.is_within(&would_be, limit) && self.suits(slot, vm, Some(leaving))).then_some(would_be)
    }

    /// True where the host could take `vm` besides all it has.
    pub(super) fn has_room(&self, slot: usize, vm: &VmView, limit: f64) -> bool {
        let load = self.fleet.vm(vm.id()).map(|vm| self.slots[slot].load.with(vm));
        load.is_some_and(|load| self.is_within(&load, limit)) && self.suits(slot, vm, None)
    }

    /// True where the host has what `vm` needs, nobody forbids it, and its memory is not promised beyond the limit: what no
    /// policy may set aside, however much CPU it would fill.
    pub(super) fn holds(&self, slot: usize, vm: &VmView) -> bool {
        let load = &self.slots[slot].load;
        let memory = load.memory + self.fleet.vm(vm.id()).map_or(Bytes::ZERO, |load| load.memory);
        memory <= load.memory_capacity.scale(self.tuning().memory_ratio) && self.suits(slot, vm, None)
    }

    /// True where the host may be looked at as a target for `vm` at all.
    pub(super) fn is_open(&self, slot: usize, vm: &VmView) -> bool {
        let slot = &self.slots[slot];
        slot.host.is_eligible_target() && !slot.emptied && *slot.host.id() != vm.host
    }

    fn is_within(&self, load: &HostLoad, limit: f64) -> bool {
        let cpu = load.capacity * limit;
        let memory = load.memory_capacity.scale(self.tuning().memory_ratio);
        load.now() <= cpu && load.memory <= memory && load.ahead(&self.risk) <= cpu
    }

    /// Whether the host has what the vm needs and nobody but `leaving` forbids it.
    fn suits(&self, slot: usize, vm: &VmView, leaving: Option<&VmView>) -> bool {
        let host = self.slots[slot].host;
        self.slots[slot].suits(vm, leaving)
            && self.view.snapshot.refused_move(vm.id(), host.id()).is_none()
            && vm.record.labels.spread.iter().all(|group| {
                let domain = host.inventory.fails_with();
                let members = self.spread.get(&(domain, group.as_str())).copied().unwrap_or_default();
                let is_there = |other: &VmView| {
                    let at = self.view.snapshot.hosts.get(&other.host).map(|host| host.inventory.fails_with());
                    at == Some(domain) && other.record.labels.spread.contains(group)
                };
                members <= usize::from(is_there(vm)) + usize::from(leaving.is_some_and(is_there))
            })
    }

    /// The best host for `unit` among those for which `allowed` holds: least room left over, the scarcer resource weighing
    /// more (the L2 norm of Panigrahy et al. 2011, Heuristics for Vector Bin Packing), and most efficient.
    pub(super) fn best_target(
        &self,
        unit: &Unit<'_>,
        limit: f64,
        allowed: impl Fn(&Slot<'a>) -> bool,
    ) -> Option<usize> {
        self.least(unit, limit, End::Fullest, allowed, |slot, load| {
            self.score(slot, load, limit) + self.remoteness(slot, unit)
        })
    }

    /// The host for `unit` among those for which `allowed` holds that keeps most room: load is spread, not packed.
    pub(super) fn roomiest(&self, unit: &Unit<'_>, limit: f64, allowed: impl Fn(&Slot<'a>) -> bool) -> Option<usize> {
        self.least(unit, limit, End::Emptiest, allowed, |_, load| {
            let cpu = load.ahead(&self.risk).ratio_of(load.capacity);
            cpu.max(load.memory.ratio_of(load.memory_capacity))
        })
    }

    fn least(
        &self,
        unit: &Unit<'_>,
        limit: f64,
        end: End,
        allowed: impl Fn(&Slot<'a>) -> bool,
        score: impl Fn(&Slot<'a>, &HostLoad) -> f64,
    ) -> Option<usize> {
        let mut best: Option<(f64, usize)> = None;
        let own = self.slot_of(&unit.first().host);
        let loads = self.loads_of(unit)?;
        self.shelves.search(self.need_of(&loads), end, |index| {
            let slot = &self.slots[index];
            // Only hosts that may be targets stand on the shelves.
            let open = Some(index) != own && !slot.emptied && allowed(slot);
            let Some(load) = open.then(|| self.with_loads(index, unit, &loads, limit)).flatten() else { return false };
            let found = (score(slot, &load), index);
            if best.is_none_or(|best| found < best) {
                best = Some(found);
            }
            true
        });
        best.map(|(_, index)| index)
    }

    /// The least room that a host must have left for a unit: what its vms want on average, without their risk.
    fn need_of(&self, loads: &[&VmLoad]) -> f64 {
        let (cpu, memory) = (loads.iter().map(|load| load.least()).sum(), loads.iter().map(|load| load.memory).sum());
        // Rounding must not hide a host that fits exactly.
        self.share(cpu, memory) * (1.0 - 1e-9)
    }

    fn score(&self, slot: &Slot<'_>, load: &HostLoad, limit: f64) -> f64 {
        let cpu = limit - load.ahead(&self.risk).ratio_of(load.capacity);
        let memory = 1.0 - load.memory.ratio_of(load.memory_capacity);
        self.weights[0] * cpu * cpu + self.weights[1] * memory * memory + slot.cost - 1.0
    }

    /// Plays a move: the vm counts on its target from now on, and may not be moved again; its source keeps its load
    /// until it has really left.
    pub(super) fn play(&mut self, one: &Move) {
        let Some(vm) = self.view.snapshot.vms.get(&one.vm) else { return };
        let Some(load) = self.fleet.vm(one.vm).copied() else { return };
        self.moved.insert(one.vm);
        if let Some(slot) = self.slot_of(&one.to) {
            self.note_spread(vm, slot, true);
        }
        if let Some(slot) = self.slot_of(&one.to).map(|slot| &mut self.slots[slot]) {
            slot.load.add(&load);
            slot.arriving += 1;
            vm.record.labels.anti_affinity.iter().for_each(|group| *slot.groups.entry(group).or_default() += 1);
        }
        if let Some(slot) = self.slot_of(&one.to) {
            self.shelve(slot);
        }
        if let Some(slot) = self.slot_of(&one.from).map(|slot| &mut self.slots[slot]) {
            slot.settled.retain(|other| other.id() != one.vm);
            slot.leaving.push(load);
            slot.gives = true;
        }
    }

    /// Sets room aside for a unit on a host that is not awake yet.
    pub(super) fn reserve(&mut self, slot: usize, unit: &Unit<'_>) {
        for load in unit.vms.iter().filter_map(|vm| self.fleet.vm(vm.id())) {
            self.slots[slot].load.add(load);
        }
        self.shelve(slot);
    }

    /// Sleeping hosts, the best to wake first: those that have not failed to wake, then the most efficient.
    pub(super) fn wakeable(&self) -> Vec<usize> {
        let mut asleep: Vec<usize> = (0..self.slots.len()).filter(|slot| self.slots[*slot].could_wake()).collect();
        asleep.sort_by(|a, b| {
            let (a, b) = (&self.slots[*a], &self.slots[*b]);
            let doubts = a.host.doubts.len().cmp(&b.host.doubts.len());
            doubts.then(a.cost.total_cmp(&b.cost)).then_with(|| a.host.id().cmp(b.host.id()))
        });
        asleep
    }

    /// Takes back the moves to which no proposal came.
    pub(super) fn restore(&mut self, before: Vec<(usize, Slot<'a>)>, moves: &[Move]) {
        for (index, slot) in before {
            self.slots[index] = slot;
            self.shelve(index);
        }
        for one in moves {
            self.moved.remove(&one.vm);
            let vm = self.view.snapshot.vms.get(&one.vm);
            if let Some((vm, slot)) = vm.zip(self.slot_of(&one.to)) {
                self.note_spread(vm, slot, false);
            }
        }
    }

    /// The fleet's demand over the capacity of the hosts in use that are awake (or on their way), are not to be emptied,
    /// and for which `counts` holds; and how many they are.
    pub(super) fn pool(&self, counts: impl Fn(usize, &Slot<'a>) -> bool) -> (HostLoad, usize) {
        let slots = || {
            let used = self.slots.iter().enumerate().filter(|(_, slot)| slot.is_up() && !slot.emptied);
            used.filter(|(index, slot)| counts(*index, slot)).map(|(_, slot)| &slot.load)
        };
        (self.fleet.pool_over(slots()), slots().count())
    }

    /// Cores missing on the hosts counted by [`Self::pool`] to carry the fleet at the risk quantile with the spare hosts;
    /// negative where there is room. `fill` is the share of a host's CPU that counts.
    pub(super) fn cores_short(&self, pool: &HostLoad, hosts: usize, fill: f64) -> Cores {
        let usable = pool.capacity * fill;
        let spare = usable / crate::units::count(hosts.max(1)) * crate::units::count(self.tuning().spare_hosts);
        pool.ahead(&self.risk) + spare - usable
    }
}

/// How much each resource weighs: the square of how scarce it is, so that the one which runs out first decides.
fn weights_of([cpu, memory]: [f64; 2]) -> [f64; 2] {
    let whole = cpu * cpu + memory * memory;
    [cpu * cpu / whole, memory * memory / whole]
}

/// Watts that one more busy core draws on the most efficient host that is up; zero where none is.
fn marginal(slots: &[Slot<'_>]) -> f64 {
    let of = |slot: &Slot<'_>| {
        let inventory = &slot.host.inventory;
        (inventory.power.peak() - inventory.power.idle()).get() / inventory.cpu_capacity.get().max(f64::MIN_POSITIVE)
    };
    let least = slots.iter().filter(|slot| slot.is_up()).map(of).fold(f64::INFINITY, f64::min);
    if least.is_finite() { least } else { 0.0 }
}
