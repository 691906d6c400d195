//! Ways to empty a host: where each of its units would go, tried on the round's board and taken back.

use crate::{
    id::HostId,
    policy::{
        board::{Board, Slot},
        bundle::{Unit, units_on},
    },
    proposal::{Expectation, Move},
    risk::HostLoad,
    snapshot::VmView,
    units::{Bytes, Cores},
};

/// A way to empty a host, and what comes of it.
pub(super) struct Evacuation {
    /// The level it was planned at.
    pub(super) level: f64,
    pub(super) moves: Vec<Move>,
    pub(super) expected: Expectation,
    /// The hosts that take its vms, as they will be.
    pub(super) takers: Vec<HostLoad>,
}

/// Moves that are tried on the board.
pub(super) struct Draft<'a> {
    before: Vec<(usize, Slot<'a>)>,
    moves: Vec<Move>,
}

impl<'a> Draft<'a> {
    /// Nothing moved yet; the host in `slot` takes no more vms.
    pub(super) fn emptying(board: &mut Board<'a>, slot: usize) -> Self {
        let before = vec![(slot, board.slots[slot].clone())];
        board.slots[slot].emptied = true;
        Self { before, moves: Vec::new() }
    }

    fn touch(&mut self, board: &Board<'a>, slot: usize) {
        if self.before.iter().all(|(known, _)| *known != slot) {
            self.before.push((slot, board.slots[slot].clone()));
        }
    }

    /// Moves a unit to the host in `to`.
    pub(super) fn place(&mut self, board: &mut Board<'a>, unit: &Unit<'_>, to: usize) {
        self.touch(board, to);
        if let Some(from) = board.slot_of(&unit.first().host) {
            self.touch(board, from);
        }
        for vm in &unit.vms {
            let one = Move { vm: vm.id(), from: vm.host.clone(), to: board.slots[to].host.id().clone() };
            board.play(&one);
            self.moves.push(one);
        }
    }

    /// Moves every unit where `to` says, each with those before it in their places; false once there is none for one.
    pub(super) fn place_all(
        &mut self,
        board: &mut Board<'a>,
        units: &[Unit<'_>],
        to: impl Fn(&Board<'a>, &Unit<'_>) -> Option<usize>,
    ) -> bool {
        units.iter().all(|unit| to(board, unit).map(|to| self.place(board, unit, to)).is_some())
    }

    /// A unit that was moved has really left the host in `slot`: its place is free.
    pub(super) fn is_gone(&mut self, board: &mut Board<'a>, slot: usize, unit: &Unit<'_>) {
        let slot = &mut board.slots[slot];
        slot.load = unit.off(slot.load, board.fleet);
        slot.leaving.clear();
    }

    /// What the draft comes to if the host then sleeps.
    pub(super) fn expected(&self, board: &Board<'a>, host: &HostId) -> Expectation {
        let before = |id: &HostId| self.before.iter().find(|(_, slot)| slot.host.id() == id).map(|(_, slot)| slot.load);
        board.objective().evacuate(host, &self.moves, board.fleet, before)
    }

    /// The board is as it was; what is left are the moves.
    pub(super) fn take_back(self, board: &mut Board<'a>) -> Vec<Move> {
        board.restore(self.before, &self.moves);
        self.moves
    }
}

/// Where the host's units would go at that level of caution, all of them or none; the board is left as it was.
pub(super) fn planned(board: &mut Board<'_>, slot: usize, units: &[Unit<'_>], level: f64) -> Option<Evacuation> {
    let host = board.slots[slot].host.id().clone();
    let mut draft = Draft::emptying(board, slot);
    let to =
        |board: &Board<'_>, unit: &Unit<'_>| board.best_target(unit, board.tuning().cpu_fill_limit, Slot::is_inhabited);
    let is_whole = board.at_risk(level, |board| draft.place_all(board, units, to));
    let outcome = is_whole.then(|| {
        let takers: Vec<HostLoad> = draft.before.iter().skip(1).map(|(taker, _)| board.slots[*taker].load).collect();
        (draft.expected(board, &host), takers)
    });
    let moves = draft.take_back(board);
    outcome.map(|(expected, takers)| Evacuation { level, moves, expected, takers })
}

/// The units of a host that is to be emptied, the hardest to place first; `None` where one of its vms may not be moved.
pub(super) fn units_of<'a>(board: &Board<'a>, slot: usize) -> Option<Vec<Unit<'a>>> {
    let (mut units, stuck) = units_on(board, slot);
    by_size(board, slot, &mut units);
    (stuck == 0).then_some(units)
}

/// Puts a host's units first that take the largest share of any resource: the hardest to place.
pub(super) fn by_size(board: &Board<'_>, slot: usize, units: &mut [Unit<'_>]) {
    let slot = &board.slots[slot];
    let share = |unit: &Unit<'_>| {
        let peak = |vm: &&VmView| board.fleet.vm(vm.id()).map_or(0.0, |load| load.peak().get());
        let cpu = Cores(unit.vms.iter().map(peak).sum()).ratio_of(slot.load.capacity);
        let memory: Bytes = unit.vms.iter().map(|vm| vm.memory_reserved()).sum();
        cpu.max(memory.ratio_of(slot.load.memory_capacity))
    };
    units.sort_by(|a, b| share(b).total_cmp(&share(a)).then_with(|| a.first().id().cmp(&b.first().id())));
}
