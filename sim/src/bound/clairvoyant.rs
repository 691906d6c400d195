//! What somebody who knows the demand and moves vms for free can do: first-fit decreasing, anew in every period.
//!
//! No bound but a reference that exists: every vm gets all the CPU it wants at every look and all its memory, no host carries
//! more than it has. The distance between it and the fluid bound is what packing costs; the distance between a policy and it is
//! what not knowing and moving cost.

use super::{
    class::{self, Classes},
    looks::{Period, Wish},
};
use crate::scenario::Scenario;

/// Packs a scenario's vms, period after period.
#[derive(Debug, Clone)]
pub(super) struct Packer<'a> {
    scenario: &'a Scenario,
    /// Orders in which hosts are filled; the better one of a period counts.
    orders: Vec<Vec<usize>>,
    /// What a size is measured against: the largest host, in cores and bytes.
    largest: (f64, f64),
}

/// What a packing comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Packing {
    /// Power of the whole fleet, watts.
    pub(super) watts: f64,
    /// Hosts awake.
    pub(super) awake: f64,
    /// Vms that found no room.
    pub(super) unplaced: f64,
}

/// A host being filled.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bin {
    /// CPU and memory left.
    room: (f64, f64),
    /// Mean CPU of the vms put there, and how many these are.
    cores: f64,
    vms: usize,
}

impl<'a> Packer<'a> {
    /// The two orders are: least watts per core at full load first, and least idle watts per byte first.
    pub(super) fn new(scenario: &'a Scenario, classes: &Classes) -> Self {
        let hosts = scenario.hosts();
        let order = |rank: &dyn Fn(usize) -> f64| {
            let mut order: Vec<usize> = (0..hosts.len()).collect();
            order.sort_by(|a, b| rank(*a).total_cmp(&rank(*b)));
            order
        };
        let of = |host: usize| &classes.all[classes.of_host[host]];
        let by_cores = order(&|host| hosts[host].power.peak().get() / of(host).cores);
        let by_memory = order(&|host| of(host).idle / of(host).memory);
        let largest = classes
            .all
            .iter()
            .fold((0.0f64, 0.0f64), |(cores, memory), class| (cores.max(class.cores), memory.max(class.memory)));
        let orders = if by_cores == by_memory { vec![by_cores] } else { vec![by_cores, by_memory] };
        Self { scenario, orders, largest }
    }

    /// The better packing of a period.
    pub(super) fn pack(&self, period: &Period) -> Packing {
        let mut wishes: Vec<&Wish> = period.wishes.iter().collect();
        let size = |wish: &Wish| (wish.peak / self.largest.0).max(wish.memory / self.largest.1);
        wishes.sort_by(|a, b| size(b).total_cmp(&size(a)).then(a.vm.cmp(&b.vm)));
        let lost = class::lost(self.scenario, period.at);
        let packings = self.orders.iter().map(|order| self.fill(order, &lost, &wishes));
        let better = |a: &Packing, b: &Packing| a.unplaced.total_cmp(&b.unplaced).then(a.watts.total_cmp(&b.watts));
        packings.min_by(better).unwrap_or_default()
    }

    fn fill(&self, order: &[usize], lost: &[usize], wishes: &[&Wish]) -> Packing {
        let order: Vec<usize> = order.iter().copied().filter(|host| lost.binary_search(host).is_err()).collect();
        let mut bins: Vec<Bin> = order.iter().map(|host| self.bin(*host)).collect();
        let mut rooms = Rooms::new(bins.iter().map(|bin| bin.room));
        let mut unplaced = 0.0;
        for wish in wishes {
            let Some(index) = rooms.first_with(wish.peak, wish.memory) else {
                unplaced += 1.0;
                continue;
            };
            let bin = &mut bins[index];
            *bin = Bin {
                room: (bin.room.0 - wish.peak, bin.room.1 - wish.memory),
                cores: bin.cores + wish.cores,
                vms: bin.vms + 1,
            };
            rooms.set(index, bin.room);
        }
        let watts = order.iter().zip(&bins).map(|(host, bin)| self.watts(*host, bin)).sum();
        let awake = ballast_core::units::count(bins.iter().filter(|bin| bin.vms > 0).count());
        Packing { watts, awake, unplaced }
    }

    fn bin(&self, host: usize) -> Bin {
        let spec = &self.scenario.hosts()[host];
        let cores = spec.cpu_capacity - self.scenario.terms().own_cores;
        Bin { room: (cores.get().max(0.0), spec.memory_capacity.as_f64()), cores: 0.0, vms: 0 }
    }

    fn watts(&self, host: usize, bin: &Bin) -> f64 {
        let spec = &self.scenario.hosts()[host];
        if bin.vms == 0 {
            return spec.power.asleep().get();
        }
        let own = self.scenario.terms().own_cores.get();
        class::watts(&spec.power, spec.cpu_capacity.get(), own, bin.cores)
    }
}

/// The room of hosts in a row, as a tree that finds the first with enough of both without looking at all of them.
#[derive(Debug, Clone)]
struct Rooms {
    /// A power of two.
    leaves: usize,
    /// Children of `n` are `2n` and `2n + 1`; each holds the most CPU and the most memory below it.
    tree: Vec<(f64, f64)>,
}

/// What a leaf without host has.
const NONE: (f64, f64) = (f64::NEG_INFINITY, f64::NEG_INFINITY);

/// Rounding that a full host may be off by, as a share of what is asked for.
const ROUNDING: f64 = 1e-12;

impl Rooms {
    fn new(rooms: impl ExactSizeIterator<Item = (f64, f64)>) -> Self {
        let leaves = rooms.len().next_power_of_two();
        let mut tree = vec![NONE; 2 * leaves];
        for (index, room) in rooms.enumerate() {
            tree[leaves + index] = room;
        }
        let mut rooms = Self { leaves, tree };
        (1..leaves).rev().for_each(|node| rooms.lift(node));
        rooms
    }

    fn lift(&mut self, node: usize) {
        let (left, right) = (self.tree[2 * node], self.tree[2 * node + 1]);
        self.tree[node] = (left.0.max(right.0), left.1.max(right.1));
    }

    fn set(&mut self, index: usize, room: (f64, f64)) {
        let mut node = self.leaves + index;
        self.tree[node] = room;
        while node > 1 {
            node /= 2;
            self.lift(node);
        }
    }

    fn has(&self, node: usize, cores: f64, memory: f64) -> bool {
        let (most_cores, most_memory) = self.tree[node];
        most_cores >= cores * (1.0 - ROUNDING) && most_memory >= memory * (1.0 - ROUNDING)
    }

    /// The first with at least so much of both.
    fn first_with(&self, cores: f64, memory: f64) -> Option<usize> {
        let mut open = vec![1];
        while let Some(node) = open.pop() {
            if !self.has(node, cores, memory) {
                continue;
            }
            if node >= self.leaves {
                return Some(node - self.leaves);
            }
            open.extend([2 * node + 1, 2 * node]);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_tree_finds_what_a_walk_finds(
            rooms in prop::collection::vec((0.0..10.0f64, 0.0..10.0f64), 1..40),
            asked in prop::collection::vec((0.0..6.0f64, 0.0..6.0f64), 1..40),
        ) {
            let (mut plain, mut tree) = (rooms.clone(), Rooms::new(rooms.into_iter()));
            for (cores, memory) in asked {
                let walked = plain.iter().position(|room| room.0 >= cores && room.1 >= memory);
                prop_assert_eq!(tree.first_with(cores, memory), walked);
                if let Some(index) = walked {
                    plain[index] = (plain[index].0 - cores, plain[index].1 - memory);
                    tree.set(index, plain[index]);
                }
            }
        }
    }
}
