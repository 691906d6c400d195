//! Ways to find a host with room among thousands without looking at each: in a given order, the tightest, the loosest.
//!
//! Each find and refresh costs `O(log hosts)` where one resource runs out at a time; hosts that have the room but are
//! forbidden to the vm are passed over one by one.

use std::collections::BTreeSet;

use super::table::{Key, Mover, Places, Table};

/// Hosts in a fixed order; finds the first with room: first fit.
#[derive(Debug, Clone)]
pub(super) struct InOrder {
    /// Share of a host's CPU that may be asked for.
    limit: f64,
    order: Vec<usize>,
    /// Place in the order, by row.
    place: Vec<usize>,
    /// A binary tree over the order: in each knot the most free of each resource below it.
    free: Vec<[f64; 2]>,
    leaves: usize,
}

/// Nothing is free there.
const NONE: [f64; 2] = [f64::NEG_INFINITY; 2];

impl InOrder {
    pub(super) fn new(table: &Table<'_>, order: Vec<usize>, limit: f64) -> Self {
        let leaves = order.len().next_power_of_two();
        let mut place = vec![usize::MAX; table.rows.len()];
        order.iter().enumerate().for_each(|(at, row)| place[*row] = at);
        let mut free = vec![NONE; 2 * leaves];
        order.iter().enumerate().for_each(|(at, row)| free[leaves + at] = Self::free_of(table, *row, limit));
        let mut shelf = Self { limit, order, place, free, leaves };
        (1..leaves).rev().for_each(|knot| shelf.settle(knot));
        shelf
    }

    fn free_of(table: &Table<'_>, row: usize, limit: f64) -> [f64; 2] {
        if table.is_member(row) { table.free(row, limit) } else { NONE }
    }

    fn settle(&mut self, knot: usize) {
        let (a, b) = (self.free[2 * knot], self.free[2 * knot + 1]);
        self.free[knot] = [a[0].max(b[0]), a[1].max(b[1])];
    }

    /// The first row of the first `places` of the order that takes the vm.
    pub(super) fn first(&self, table: &Table<'_>, mover: &Mover<'_>, places: usize) -> Option<usize> {
        // A little less than is asked for: rounding must not hide a host that just has room.
        let need = [mover.ask.cores - 1e-9, mover.memory() - 1.0];
        self.search(1, (0, self.leaves), places, need, &|row| table.fits(row, mover, self.limit))
    }

    fn search(
        &self,
        knot: usize,
        (begin, end): (usize, usize),
        places: usize,
        need: [f64; 2],
        takes: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        let free = self.free[knot];
        if begin >= places.min(self.order.len()) || free[0] < need[0] || free[1] < need[1] {
            return None;
        }
        if end - begin == 1 {
            return Some(self.order[begin]).filter(|row| takes(*row));
        }
        let middle = usize::midpoint(begin, end);
        let left = self.search(2 * knot, (begin, middle), places, need, takes);
        left.or_else(|| self.search(2 * knot + 1, (middle, end), places, need, takes))
    }
}

impl Places for InOrder {
    fn find(&mut self, table: &Table<'_>, mover: &Mover<'_>) -> Option<usize> {
        self.first(table, mover, usize::MAX)
    }

    fn refresh(&mut self, table: &Table<'_>, row: usize) {
        let place = self.place[row];
        if place == usize::MAX {
            return;
        }
        let mut knot = self.leaves + place;
        self.free[knot] = Self::free_of(table, row, self.limit);
        while knot > 1 {
            knot /= 2;
            self.settle(knot);
        }
    }
}

/// Which end of the free CPU is looked at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taste {
    /// The host on which least CPU is left: best fit.
    Tightest,
    /// The host of which the smallest share is in use.
    Loosest,
}

/// Hosts by what they have left.
#[derive(Debug, Clone)]
pub(super) struct BySlack {
    taste: Taste,
    limit: f64,
    sorted: BTreeSet<(Key, usize)>,
    key: Vec<Option<f64>>,
    /// Asked where many with enough CPU do not take the vm.
    any: InOrder,
}

/// Hosts with CPU enough that are tried before any is taken that has room.
const TRIED: usize = 64;

impl BySlack {
    /// Over `rows` that are members.
    pub(super) fn new(table: &Table<'_>, rows: &[usize], taste: Taste, limit: f64) -> Self {
        let any = InOrder::new(table, rows.to_vec(), limit);
        let (sorted, key) = (BTreeSet::new(), vec![None; table.rows.len()]);
        let mut slack = Self { taste, limit, sorted, key, any };
        rows.iter().for_each(|row| slack.put(table, *row));
        slack
    }

    fn put(&mut self, table: &Table<'_>, row: usize) {
        if let Some(key) = self.key[row].take() {
            self.sorted.remove(&(Key(key), row));
        }
        if table.is_member(row) {
            let key = match self.taste {
                Taste::Tightest => table.free(row, self.limit)[0],
                Taste::Loosest => table.demand(row) / table.rows[row].cores,
            };
            self.key[row] = Some(key);
            self.sorted.insert((Key(key), row));
        }
    }
}

impl Places for BySlack {
    fn find(&mut self, table: &Table<'_>, mover: &Mover<'_>) -> Option<usize> {
        let least = match self.taste {
            Taste::Tightest => mover.ask.cores - 1e-9,
            Taste::Loosest => f64::NEG_INFINITY,
        };
        let tried = self.sorted.range((Key(least), 0)..).take(TRIED).map(|(_, row)| *row);
        let found = { tried }.find(|row| table.fits(*row, mover, self.limit));
        found.or_else(|| self.any.first(table, mover, usize::MAX))
    }

    fn refresh(&mut self, table: &Table<'_>, row: usize) {
        if self.any.place[row] != usize::MAX {
            self.put(table, row);
            self.any.refresh(table, row);
        }
    }
}
