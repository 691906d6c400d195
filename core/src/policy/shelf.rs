//! Hosts in order of the room they have left, class by class: the search for a place looks at a few, not at the fleet.
//!
//! Best fit in two dimensions has no exact order. Room is therefore one number, in which the scarcer resource weighs more;
//! the search takes the first hosts that fit from either end and lets its caller's score choose among them. Cost: a logarithm
//! of the hosts per look and per change.

use std::collections::{BTreeMap, BTreeSet};

use crate::snapshot::HostView;

/// Hosts of one class that fit and are compared; more change the choice in the third digit of its score.
const ENOUGH: usize = 8;

/// Hosts of one class that are looked at before it is given up: what is fuller in one resource than its room says is rare.
const LOOKED_AT: usize = 1024;

/// Classes kept apart. A fleet of more kinds has its hosts in one order, whatever they are.
const CLASSES: usize = 24;

/// From which end hosts are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The fullest that could fit first.
    Fullest,
    /// The emptiest first.
    Emptiest,
}

/// Hosts in order of room.
#[derive(Debug, Clone, Default)]
pub(super) struct Shelves {
    shelves: Vec<BTreeSet<(u64, usize)>>,
    /// By slot: its class, and where it stands there.
    of: Vec<(usize, Option<u64>)>,
}

impl Shelves {
    /// Empty shelves for these hosts.
    pub(super) fn new<'a>(hosts: impl Iterator<Item = &'a HostView>) -> Self {
        let mut classes: BTreeMap<[u64; 4], usize> = BTreeMap::new();
        let kind = |host: &HostView| {
            let (inventory, power) = (&host.inventory, &host.inventory.power);
            let [idle, peak] = [power.idle(), power.peak()].map(|watts| watts.get().to_bits());
            [inventory.cpu_capacity.get().to_bits(), inventory.memory_capacity.get(), idle, peak]
        };
        let mut of: Vec<(usize, Option<u64>)> = Vec::new();
        for host in hosts {
            let next = classes.len();
            of.push((*classes.entry(kind(host)).or_insert(next), None));
        }
        if classes.len() > CLASSES {
            of.iter_mut().for_each(|slot| slot.0 = 0);
        }
        Self { shelves: vec![BTreeSet::new(); classes.len().clamp(1, CLASSES)], of }
    }

    /// Puts a slot where its room belongs.
    pub(super) fn put(&mut self, slot: usize, room: f64) {
        let key = key(room);
        let (class, before) = &mut self.of[slot];
        if let Some(before) = before.replace(key) {
            self.shelves[*class].remove(&(before, slot));
        }
        self.shelves[*class].insert((key, slot));
    }

    /// Calls `fits` for hosts that could have `need`, until enough of every class did.
    pub(super) fn search(&self, need: f64, end: End, mut fits: impl FnMut(usize) -> bool) {
        for shelf in &self.shelves {
            let could = shelf.range((key(need), 0)..);
            let mut found = 0;
            let mut look = |slot: &(u64, usize)| {
                found += usize::from(fits(slot.1));
                found < ENOUGH
            };
            let _ended = match end {
                End::Fullest => could.take(LOOKED_AT).all(&mut look),
                End::Emptiest => could.rev().take(LOOKED_AT).all(&mut look),
            };
        }
    }
}

/// Numbers of at least zero sort as their bits do.
fn key(room: f64) -> u64 {
    room.max(0.0).to_bits()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::Fleet;

    fn shelves(rooms: &[f64]) -> Shelves {
        let fleet = Fleet::new(&[("a", &[])]);
        let host = fleet.snapshot.hosts.values().next().unwrap();
        let mut shelves = Shelves::new(rooms.iter().map(|_| host));
        rooms.iter().enumerate().for_each(|(slot, room)| shelves.put(slot, *room));
        shelves
    }

    #[test]
    fn hosts_with_too_little_room_are_not_looked_at() {
        let mut seen = Vec::new();
        shelves(&[0.1, 0.9, 0.5]).search(0.4, End::Fullest, |slot| {
            seen.push(slot);
            true
        });
        assert_eq!(seen, [2, 1]);
    }

    proptest! {
        #[test]
        fn a_host_stands_once_and_where_its_newest_room_says(
            rooms in prop::collection::vec(0.0..1.0f64, 1..7), again in prop::collection::vec((0..7usize, 0.0..1.0f64), 0..20),
        ) {
            let (mut shelves, mut rooms) = (shelves(&rooms), rooms);
            for (slot, room) in again {
                let slot = slot % rooms.len();
                rooms[slot] = room;
                shelves.put(slot, room);
            }
            let mut seen = Vec::new();
            shelves.search(0.0, End::Emptiest, |slot| {
                seen.push(rooms[slot]);
                false
            });
            prop_assert_eq!(seen.len(), rooms.len());
            prop_assert!(seen.is_sorted_by(|a, b| a >= b));
        }
    }
}
