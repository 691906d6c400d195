//! One round of a textbook rule: the fleet as it is judged, and where a vm adds least power.
//!
//! Who may go where is asked of the policies' common board (memory, labels, networks, vms in flight, and the CPU limits
//! that the guard holds everybody to); the rule itself decides among those hosts. Relief and emptying use this.

use super::{Consolidation, HISTORY, detect::Verdict, history::Histories};
use crate::{
    id::VmId,
    policy::{board::Board, bundle::Unit},
    snapshot::{HostPower, VmView},
};

/// What the rule looks at of one host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gauge {
    /// Cores its vms used at the last views, oldest first, those before they were known as zero.
    history: [f64; HISTORY],
    /// Cores asked for now, what was assigned in this round included.
    asked: f64,
    /// Cores asked for when the round began.
    recorded: f64,
}

/// The fleet in one round.
#[derive(Debug)]
pub(super) struct Round<'a, 'h> {
    pub(super) rule: Consolidation,
    pub(super) board: Board<'a>,
    pub(super) histories: &'h Histories,
    pub(super) gauges: Vec<Gauge>,
    /// Hosts that are overloaded: they take no vms and are not emptied.
    pub(super) over: Vec<bool>,
}

impl<'a, 'h> Round<'a, 'h> {
    pub(super) fn new(rule: Consolidation, board: Board<'a>, histories: &'h Histories) -> Self {
        let over = vec![false; board.slots.len()];
        let mut round = Self { rule, board, histories, gauges: Vec::new(), over };
        round.gauges = (0..round.over.len()).map(|slot| round.gauge_of(slot, &round.counted(slot))).collect();
        round
    }

    /// The vms that count on a host and are not leaving it.
    pub(super) fn counted(&self, slot: usize) -> Vec<VmId> {
        let host = self.board.slots[slot].host.id();
        let flights = &self.board.view.snapshot.in_flight;
        let leaves = |vm: &VmId| flights.iter().any(|one| one.vm == *vm && one.source == *host);
        self.board.fleet.residents(host).filter(|vm| !leaves(vm)).collect()
    }

    /// The gauge of a host with just these vms.
    pub(super) fn gauge_of(&self, slot: usize, vms: &[VmId]) -> Gauge {
        let base = self.board.slots[slot].load.base.get();
        let empty = Gauge { history: [0.0; HISTORY], asked: base, recorded: base };
        let gauge = vms.iter().fold(empty, |gauge, vm| self.with(&gauge, *vm));
        Gauge { recorded: gauge.asked, ..gauge }
    }

    /// The gauge with a vm more.
    fn with(&self, gauge: &Gauge, vm: VmId) -> Gauge {
        let mut with = *gauge;
        with.asked += self.now(vm);
        let newest_first = with.history.iter_mut().rev().zip(self.histories.of(vm).iter().rev());
        newest_first.for_each(|(sum, value)| *sum += value);
        with
    }

    /// Cores that a vm asks for.
    pub(super) fn now(&self, vm: VmId) -> f64 {
        self.board.fleet.vm(vm).map_or(0.0, |load| load.now().get())
    }

    /// What the rule makes of a host with that gauge.
    pub(super) fn judge(&self, slot: usize, gauge: &Gauge) -> Verdict {
        let capacity = self.capacity(slot);
        let history = gauge.history.map(|cores| cores / capacity);
        self.rule.detector.judge(&history, gauge.asked / capacity, self.rule.variant.weighted)
    }

    /// Share of its CPU that a host was asked for when the round began.
    pub(super) fn utilisation(&self, slot: usize) -> f64 {
        self.gauges[slot].recorded / self.capacity(slot)
    }

    fn capacity(&self, slot: usize) -> f64 {
        self.board.slots[slot].host.inventory.cpu_capacity.get().max(f64::MIN_POSITIVE)
    }

    /// The host, of those that are `open`, on which a vm adds least power, which it does not overload and which could
    /// take it within `limit` (a share of its CPU).
    pub(super) fn best(&self, vm: &VmView, limit: f64, open: impl Fn(usize) -> bool) -> Option<usize> {
        let (mut best, unit): (Option<(f64, usize)>, _) = (None, Unit::alone(vm));
        for slot in (0..self.gauges.len()).filter(|slot| open(*slot) && !self.over[*slot]) {
            let host = &self.board.slots[slot];
            if host.emptied || *host.host.id() == vm.host {
                continue;
            }
            let added = self.added(slot, vm.id());
            let is_less = best.is_none_or(|(least, _)| added < least);
            if is_less && self.board.with(slot, &unit, limit).is_some() && !self.would_overload(slot, vm.id()) {
                best = Some((added, slot));
            }
        }
        best.map(|(_, slot)| slot)
    }

    fn would_overload(&self, slot: usize, vm: VmId) -> bool {
        let gauge = &self.gauges[slot];
        gauge.asked > 0.0 && self.judge(slot, &self.with(gauge, vm)).is_over
    }

    /// Watts that a vm adds to a host, counted from what the host is recorded to draw. A host that sleeps, or will for want
    /// of vms, is recorded as idle, so that waking it looks free; the fixed rule counts its sleep instead.
    fn added(&self, slot: usize, vm: VmId) -> f64 {
        let (gauge, variant) = (&self.gauges[slot], self.rule.variant);
        let used = if variant.recorded_load { gauge.recorded } else { gauge.asked };
        let power = &self.board.slots[slot].host.inventory.power;
        let after = power.at((used + self.now(vm)) / self.capacity(slot));
        let is_off = self.board.slots[slot].host.power != HostPower::Awake || self.board.slots[slot].is_empty();
        let base = if variant.idle && is_off && !self.has_assigned(slot) {
            power.asleep()
        } else {
            power.at(gauge.recorded / self.capacity(slot))
        };
        (after - base).get()
    }

    fn has_assigned(&self, slot: usize) -> bool {
        self.gauges[slot].asked > self.gauges[slot].recorded
    }

    /// Counts a vm on a host from now on.
    pub(super) fn assign(&mut self, slot: usize, vm: VmId) {
        self.gauges[slot] = self.with(&self.gauges[slot], vm);
    }
}
