//! The peers' working table: every host with what it will hold once all that is under way and proposed has happened.
//!
//! It stands on the policies' common board, which knows who may go where and what the guard counts (a vm that leaves frees
//! nothing before it has left); on top of that it keeps the figures that peers decide by: use after the moves, without
//! forecasts. Building it costs `O(vms log vms)`, a move `O(vms of the two hosts)`.

use crate::{
    id::HostId,
    inventory::SleepSupport,
    policy::{
        Advice, View,
        board::{Board, Slot},
        bundle::Unit,
        offer,
    },
    proposal::{Action, Expectation, Motive, Move, Proposal},
    risk::HostLoad,
    snapshot::VmView,
};

pub(super) use super::row::{Ask, Key, Mover, Row, Stand};

/// Finds hosts for vms; keeps its own index over the rows.
pub(super) trait Places {
    /// Where the vm should go, among the rows that can take it.
    fn find(&mut self, table: &Table<'_>, mover: &Mover<'_>) -> Option<usize>;

    /// A row has changed.
    fn refresh(&mut self, table: &Table<'_>, row: usize);
}

/// The fleet as the round has it so far, and what has been proposed.
#[derive(Debug)]
pub(super) struct Table<'a> {
    pub(super) board: Board<'a>,
    pub(super) rows: Vec<Row<'a>>,
    pub(super) advice: Advice,
    gamma: usize,
    /// All demand over the hosts that stay awake; worked out when first needed.
    pool: Option<HostLoad>,
    /// Rows that are waking, and sleeping ones that could be woken, the best last; worked out when first needed.
    coming: Option<(Vec<usize>, Vec<usize>)>,
}

impl<'a> Table<'a> {
    /// Lays out the fleet; `ask` says what each vm is taken to want.
    pub(super) fn new(view: View<'a>, ask: impl FnMut(&'a VmView) -> Ask) -> Self {
        Self::robust(view, 0, ask)
    }

    /// The same, where `gamma` vms of a host may want their radius more at a time.
    pub(super) fn robust(view: View<'a>, gamma: usize, mut ask: impl FnMut(&'a VmView) -> Ask) -> Self {
        let board = Board::new(view);
        let mut rows: Vec<Row<'a>> = (0..board.slots.len()).map(|slot| Row::of(&board, slot, &mut ask)).collect();
        for flight in &view.snapshot.in_flight {
            let arriving = view.snapshot.vms.get(&flight.vm).zip(board.slot_of(&flight.destination));
            if let Some((vm, slot)) = arriving {
                rows[slot].stand.add(vm, ask(vm));
                rows[slot].fixed += 1;
            }
        }
        Self { board, rows, advice: Advice::default(), gamma, pool: None, coming: None }
    }

    /// Which host a row is.
    pub(super) fn host(&self, row: usize) -> &'a HostId {
        self.board.slots[row].host.id()
    }

    /// The rows of the cluster's members, in order of name.
    pub(super) fn members(&self) -> Vec<usize> {
        (0..self.rows.len()).filter(|row| self.is_member(*row)).collect()
    }

    /// True for a member that this round does not empty.
    pub(super) fn is_member(&self, row: usize) -> bool {
        self.rows[row].is_member && !self.board.slots[row].emptied
    }

    /// Cores asked of a row, radii included.
    pub(super) fn demand(&self, row: usize) -> f64 {
        self.rows[row].stand.demand(self.gamma, 0.0)
    }

    /// True where the row can take the vm and then has at most `limit` of its CPU asked for.
    pub(super) fn fits(&self, row: usize, mover: &Mover<'_>, limit: f64) -> bool {
        self.board.is_open(row, mover.vm) && self.has_room(row, mover, limit)
    }

    fn has_room(&self, row: usize, mover: &Mover<'_>, limit: f64) -> bool {
        let at = &self.rows[row];
        let demand = at.stand.demand(self.gamma, mover.ask.radius) + mover.ask.cores;
        demand <= at.cores * limit && self.board.holds(row, mover.vm)
    }

    /// Free cores and bytes of a row, as the guard will count the bytes.
    pub(super) fn free(&self, row: usize, limit: f64) -> [f64; 2] {
        let load = &self.board.slots[row].load;
        let bytes = load.memory_capacity.scale(self.board.tuning().memory_ratio).as_f64() - load.memory.as_f64();
        [self.rows[row].cores * limit - self.demand(row), bytes]
    }

    /// Proposes one move, as if it had happened.
    pub(super) fn relocate(&mut self, from: usize, mover: Mover<'a>, to: usize, motive: &Motive) {
        let proposal = offer::propose(&mut self.board, &Unit::alone(mover.vm), to, motive);
        self.advice.proposals.push(proposal);
        self.shift(from, &mover, to);
        self.rows[from].movers.retain(|other| other.vm.id() != mover.vm.id());
        self.rows[from].gives = true;
        self.rows[to].fixed += 1;
    }

    fn shift(&mut self, from: usize, mover: &Mover<'_>, to: usize) {
        self.rows[from].stand.remove(mover.vm, mover.ask);
        self.rows[to].stand.add(mover.vm, mover.ask);
    }

    /// Proposes to empty a row, all of it or none: each of `movers`, in that order, goes where `places` finds room, and
    /// `pays` has the last word. True where it is proposed.
    pub(super) fn evacuate(
        &mut self,
        from: usize,
        movers: &[Mover<'a>],
        places: &mut dyn Places,
        pays: impl FnOnce(&Expectation) -> bool,
    ) -> bool {
        let mut before = Before::default();
        before.keep(self, from);
        self.board.slots[from].emptied = true;
        let host = self.host(from).clone();
        for mover in movers {
            let Some(to) = places.find(self, mover) else { return before.restore(self, places) };
            before.keep(self, to);
            let one = Move { vm: mover.vm.id(), from: host.clone(), to: self.host(to).clone() };
            self.board.play(&one);
            self.shift(from, mover, to);
            before.moves.push(one);
            places.refresh(self, to);
        }
        let expected = self.board.objective().evacuate(&host, &before.moves, self.board.fleet, |id| before.load(id));
        if !pays(&expected) {
            return before.restore(self, places);
        }
        for (row, _, _) in before.kept.iter().filter(|(row, ..)| *row != from) {
            self.rows[*row].fixed += before.moves.iter().filter(|one| one.to == *self.host(*row)).count();
        }
        self.rows[from].movers.clear();
        places.refresh(self, from);
        let motive = Motive::Consolidation { host: host.clone() };
        let action = Action::Evacuate { host, moves: before.moves };
        self.advice.proposals.push(Proposal { action, motive, expected });
        true
    }

    /// Proposes to put empty members to sleep, the last in order of name first, as long as `keep` empty ones are left.
    /// Says how many.
    pub(super) fn sleep_empty(&mut self, keep: usize, at_most: usize, may: impl Fn(&Self, usize) -> bool) -> usize {
        let empty: Vec<usize> = self.members().into_iter().filter(|row| self.board.slots[*row].is_empty()).collect();
        let able = empty.iter().rev().filter(|row| self.can_sleep(**row) && may(self, **row));
        let chosen: Vec<usize> = able.take(empty.len().saturating_sub(keep).min(at_most)).copied().collect();
        chosen.iter().for_each(|row| self.sleep(*row));
        chosen.len()
    }

    /// True where the host knows how to sleep.
    pub(super) fn can_sleep(&self, row: usize) -> bool {
        self.board.slots[row].host.inventory.sleep != SleepSupport::None && !self.board.slots[row].woken
    }

    fn sleep(&mut self, row: usize) {
        let host = self.board.slots[row].host;
        let pool = self.pool.unwrap_or_else(|| self.board.pool(|_, _| true).0);
        let own = &self.board.slots[row].load;
        let mut rest = pool;
        rest.capacity = rest.capacity.saturating_sub(own.capacity);
        rest.memory_capacity = rest.memory_capacity.saturating_sub(own.memory_capacity);
        rest.base = rest.base.saturating_sub(own.base);
        self.pool = Some(rest);
        let expected = self.board.objective().sleep(host, &rest);
        let motive = Motive::Idle { empty_for: host.empty_for, break_even: host.inventory.power.break_even() };
        self.advice.proposals.push(Proposal { action: Action::Sleep { host: host.id().clone() }, motive, expected });
        self.board.slots[row].emptied = true;
    }

    /// Proposes to wake a host that can take the vm of `from`, or leaves it to one that is waking already.
    /// True where help will come.
    pub(super) fn wake_for(&mut self, from: usize, mover: &Mover<'_>, limit: f64, motive: &Motive) -> bool {
        let (mut coming, mut asleep) = self.coming.take().unwrap_or_else(|| self.comers());
        let mut found = coming.iter().copied().find(|row| self.has_room(*row, mover, limit));
        if found.is_none() {
            let place = asleep.iter().rposition(|row| self.has_room(*row, mover, limit));
            found = place.map(|place| asleep.remove(place));
            if let Some(row) = found {
                let short = self.board.slots[from].load;
                self.wake(row, &short, motive);
                coming.push(row);
            }
        }
        if let Some(row) = found {
            self.board.reserve(row, &Unit::alone(mover.vm));
            self.rows[row].stand.add(mover.vm, mover.ask);
        }
        self.coming = Some((coming, asleep));
        found.is_some()
    }

    /// Proposes to wake the best sleeper, whoever needs it. True where there was one.
    pub(super) fn wake_any(&mut self, motive: &Motive) -> bool {
        let (mut coming, mut asleep) = self.coming.take().unwrap_or_else(|| self.comers());
        let found = asleep.pop();
        if let Some(row) = found {
            let pool = self.board.pool(|_, _| true).0;
            self.wake(row, &pool, motive);
            coming.push(row);
        }
        self.coming = Some((coming, asleep));
        found.is_some()
    }

    fn comers(&self) -> (Vec<usize>, Vec<usize>) {
        let coming = |row: &usize| {
            let slot = &self.board.slots[*row];
            slot.is_up() && !slot.host.is_eligible_target()
        };
        let mut asleep = self.board.wakeable();
        asleep.reverse();
        ((0..self.rows.len()).filter(coming).collect(), asleep)
    }

    /// Proposes to wake this one.
    pub(super) fn wake(&mut self, row: usize, short: &HostLoad, motive: &Motive) {
        let host = self.board.slots[row].host;
        let expected = self.board.objective().wake(host, short);
        let (action, motive) = (Action::Wake { host: host.id().clone() }, motive.clone());
        self.advice.proposals.push(Proposal { action, motive, expected });
        self.board.slots[row].woken = true;
    }
}

/// The rows that a half-planned evacuation has touched, as they were.
#[derive(Default)]
struct Before<'a> {
    kept: Vec<(usize, Slot<'a>, Stand)>,
    moves: Vec<Move>,
}

impl<'a> Before<'a> {
    fn keep(&mut self, table: &Table<'a>, row: usize) {
        if self.kept.iter().all(|(other, ..)| *other != row) {
            self.kept.push((row, table.board.slots[row].clone(), table.rows[row].stand.clone()));
        }
    }

    fn load(&self, host: &HostId) -> Option<HostLoad> {
        self.kept.iter().find(|(_, slot, _)| slot.host.id() == host).map(|(_, slot, _)| slot.load)
    }

    /// Puts everything back; never true, for the caller to return.
    fn restore(self, table: &mut Table<'a>, places: &mut dyn Places) -> bool {
        let (mut slots, mut rows) = (Vec::new(), Vec::new());
        for (row, slot, stand) in self.kept {
            table.rows[row].stand = stand;
            slots.push((row, slot));
            rows.push(row);
        }
        table.board.restore(slots, &self.moves);
        rows.into_iter().for_each(|row| places.refresh(table, row));
        false
    }
}
