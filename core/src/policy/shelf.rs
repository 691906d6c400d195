//! Hosts in order of the room they have left, class by class: the search for a place looks at a few, not at the fleet.
//!
//! Best fit in two dimensions has no exact order. Room is therefore one number, in which the scarcer resource weighs more;
//! the search takes the first hosts that fit from either end and lets its caller's score choose among them. Where many are
//! full in one resource and have room in the other, none of the first may fit; the search then leaps, again and again, an
//! eighth of the way to the other end, where hosts stand that nobody may be put on (empty, about to sleep). Cost: a logarithm
//! of the hosts per look and per change.

use std::collections::{BTreeMap, BTreeSet};

use crate::snapshot::HostView;

/// Hosts of one class that fit and are compared; more change the choice in the third digit of its score.
const ENOUGH: usize = 8;

/// Hosts of one class that are looked at in a row, at first.
const LOOKED_AT: usize = 256;

/// How far a leap goes, as a share of the room between where the search is and the emptiest.
const LEAP: f64 = 0.125;

/// Hosts that are looked at after each leap.
const LOOKED_AT_AFTER_LEAP: usize = 64;

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

    /// Calls `fits` for hosts that could have `need`, until enough of every class did or all hope is gone.
    pub(super) fn search(&self, need: f64, end: End, mut fits: impl FnMut(usize) -> bool) {
        for shelf in &self.shelves {
            match end {
                End::Fullest => search_upwards(shelf, key(need), &mut fits),
                End::Emptiest => {
                    look_at(shelf.range((key(need), 0)..).rev().take(LOOKED_AT), &mut fits);
                }
            }
        }
    }
}

/// Looks from the fullest that could have `need` on; where none of those in a row fits, it leaps ahead.
fn search_upwards(shelf: &BTreeSet<(u64, usize)>, need: u64, fits: &mut impl FnMut(usize) -> bool) {
    let Some(&(emptiest, _)) = shelf.last() else { return };
    let (mut from, mut in_a_row) = ((need, 0), LOOKED_AT);
    while let Some(&(reached, slot)) = shelf.range(from..).nth(in_a_row) {
        if look_at(shelf.range(from..).take(in_a_row), fits) > 0 {
            return;
        }
        let [reached_room, most] = [reached, emptiest].map(f64::from_bits);
        let ahead = key(reached_room + (most - reached_room) * LEAP);
        (from, in_a_row) = ((reached, slot).max((ahead, 0)), LOOKED_AT_AFTER_LEAP);
    }
    look_at(shelf.range(from..), fits);
}

/// How many of these fit, of which no more than enough are looked for.
fn look_at<'a>(slots: impl Iterator<Item = &'a (u64, usize)>, fits: &mut impl FnMut(usize) -> bool) -> usize {
    slots.filter(|slot| fits(slot.1)).take(ENOUGH).count()
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

    #[test]
    fn where_the_fullest_do_not_fit_the_emptier_are_found_all_the_same() {
        let rooms: Vec<f64> = (0..20_000).map(|slot| f64::from(slot) / 20_000.0).collect();
        let (mut looks, mut found) = (0, Vec::new());
        shelves(&rooms).search(0.1, End::Fullest, |slot| {
            looks += 1;
            let fits = rooms[slot] > 0.99;
            found.extend(fits.then_some(slot));
            fits
        });
        assert_eq!(found.len(), ENOUGH);
        assert!(looks < 4000, "{looks} hosts were looked at");
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
