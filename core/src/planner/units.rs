//! What begins together: the moves of an evacuation, those of one bundle as one.

use crate::{proposal::Move, snapshot::Snapshot};

/// `moves` in their order, those whose vms share a bundle (or are linked by one) in one unit, at the place of the first.
pub(super) fn units(snapshot: &Snapshot, moves: &[Move]) -> Vec<Vec<Move>> {
    let bundles = |one: &Move| snapshot.vms.get(&one.vm).map(|vm| &vm.record.labels.affinity);
    let shares = |a: &Move, b: &Move| bundles(a).zip(bundles(b)).is_some_and(|(a, b)| !a.is_disjoint(b));
    let mut units: Vec<Vec<Move>> = Vec::new();
    for one in moves {
        let linked = |unit: &Vec<Move>| unit.iter().any(|other| shares(one, other));
        let Some(first) = units.iter().position(linked) else {
            units.push(vec![one.clone()]);
            continue;
        };
        units[first].push(one.clone());
        // A vm of two bundles makes one unit of both.
        while let Some(next) = (first + 1..units.len()).find(|next| linked(&units[*next])) {
            let more = units.remove(next);
            units[first].extend(more);
        }
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fleet, host_id, vm_id};

    #[test]
    fn a_vm_of_two_bundles_makes_one_unit_of_both() {
        let mut fleet = Fleet::new(&[("a", &[1.0; 5]), ("b", &[])]);
        for (vm, groups) in [(1, &["x"][..]), (3, &["y"]), (5, &["x", "y"])] {
            fleet.record(vm).labels.affinity = groups.iter().map(|group| (*group).to_owned()).collect();
        }
        let moves: Vec<Move> = (1..=5).map(|vm| Move { vm: vm_id(vm), from: host_id("a"), to: host_id("b") }).collect();
        let units: Vec<Vec<_>> =
            units(&fleet.snapshot, &moves).iter().map(|unit| unit.iter().map(|one| one.vm).collect()).collect();
        assert_eq!(units, [vec![vm_id(1), vm_id(5), vm_id(3)], vec![vm_id(2)], vec![vm_id(4)]]);
    }
}
