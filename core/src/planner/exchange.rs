//! The order of an exchange: two vms change places without any host ever promising more memory than it may.
//!
//! A vm takes memory on both its hosts until it has moved. Where both destinations have room besides what they hold, the
//! vms go at once; else the one that has room goes first; else one is taken aside to a third host (parking), and comes
//! from there once the other has moved. Pure: the guard says what room there is, the planner begins the first wave.

use crate::{guard::Footing, proposal::Move, units::Bytes};

/// Moves that may begin at once; each wave once the one before has arrived.
pub type Waves = Vec<Vec<Move>>;

/// The waves of the exchange `both`, or the memory that is short at least for any way to begin.
///
/// # Errors
/// The memory short, where neither vm can go first and none can be taken aside.
pub fn waves(both: &[Move; 2], footing: &Footing) -> Result<Waves, Bytes> {
    let fits = |index: usize| footing.memory[index] <= footing.free[index];
    let in_turn = |first: usize| vec![vec![both[first].clone()], vec![both[1 - first].clone()]];
    match (fits(0), fits(1)) {
        (true, true) => Ok(vec![both.to_vec()]),
        (true, false) => Ok(in_turn(0)),
        (false, true) => Ok(in_turn(1)),
        (false, false) => parked(both, footing).ok_or_else(|| short(footing)),
    }
}

/// The smaller copy goes aside: it is made twice.
fn parked(both: &[Move; 2], footing: &Footing) -> Option<Waves> {
    let smaller = usize::from(footing.memory[1] < footing.memory[0]);
    [smaller, 1 - smaller].into_iter().find_map(|aside| {
        let (one, other) = (&both[aside], &both[1 - aside]);
        let follows = footing.memory[1 - aside] <= footing.free[1 - aside].saturating_add(footing.memory[aside]);
        let returns = footing.memory[aside] <= footing.free[aside].saturating_add(footing.memory[1 - aside]);
        let (host, _) = footing.parking[aside].iter().find(|(_, free)| footing.memory[aside] <= *free)?;
        let away = Move { to: host.clone(), ..one.clone() };
        let back = Move { from: host.clone(), ..one.clone() };
        (follows && returns).then(|| vec![vec![away], vec![other.clone()], vec![back]])
    })
}

/// What is missing for the vm that comes nearest to fitting.
fn short(footing: &Footing) -> Bytes {
    let missing = |index: usize| footing.memory[index].saturating_sub(footing.free[index]);
    missing(0).min(missing(1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        fixture::{host_id, vm_id},
        id::HostId,
    };

    fn both() -> [Move; 2] {
        let one = |vm, from, to| Move { vm: vm_id(vm), from: host_id(from), to: host_id(to) };
        [one(1, "x", "y"), one(2, "y", "x")]
    }

    fn footing(memory: [u64; 2], free: [u64; 2], aside: &[(&str, u64)]) -> Footing {
        let parking = aside.iter().map(|(name, gib)| (host_id(name), Bytes::from_gib(*gib))).collect::<Vec<_>>();
        Footing {
            memory: memory.map(Bytes::from_gib),
            free: free.map(Bytes::from_gib),
            parking: [parking.clone(), parking],
        }
    }

    fn told(waves: &Waves) -> Vec<Vec<String>> {
        let one = |one: &Move| format!("{}>{}", one.from, one.to);
        waves.iter().map(|wave| wave.iter().map(one).collect()).collect()
    }

    #[test]
    fn with_room_for_both_they_go_at_once() {
        assert_eq!(told(&waves(&both(), &footing([8, 4], [8, 4], &[])).unwrap()), [["x>y", "y>x"]]);
    }

    #[test]
    fn the_one_that_has_room_goes_first() {
        assert_eq!(told(&waves(&both(), &footing([8, 4], [4, 4], &[])).unwrap()), [["y>x"], ["x>y"]]);
    }

    #[test]
    fn without_room_the_smaller_is_taken_aside() {
        let waves = waves(&both(), &footing([8, 4], [4, 0], &[("z", 5)])).unwrap();
        assert_eq!(told(&waves), [["y>z"], ["x>y"], ["z>x"]]);
    }

    #[test]
    fn without_any_room_there_is_no_order() {
        assert_eq!(waves(&both(), &footing([8, 4], [4, 1], &[("z", 3)])), Err(Bytes::from_gib(3)));
    }

    proptest! {
        #[test]
        fn no_wave_promises_memory_twice(
            memory in prop::array::uniform2(0..20u64), free in prop::array::uniform2(0..20u64), aside in 0..20u64,
        ) {
            // That both fit once both have moved is the guard's to say before it comes to an order.
            prop_assume!(memory[0] <= free[0] + memory[1] && memory[1] <= free[1] + memory[0]);
            let footing = footing(memory, free, &[("z", aside)]);
            let Ok(waves) = waves(&both(), &footing) else {
                prop_assert!((0..2).all(|index| memory[index] > free[index]));
                return Ok(());
            };
            let mut room: BTreeMap<HostId, u64> =
                [(host_id("y"), free[0]), (host_id("x"), free[1]), (host_id("z"), aside)].into();
            let mut at = BTreeMap::from([(vm_id(1), host_id("x")), (vm_id(2), host_id("y"))]);
            let size = |one: &Move| memory[usize::from(one.vm == vm_id(2))];
            for wave in &waves {
                for one in wave {
                    prop_assert_eq!(&at[&one.vm], &one.from);
                    let left = room[&one.to].checked_sub(size(one));
                    prop_assert!(left.is_some(), "{} has no room for {:?}", one.to, one);
                    room.insert(one.to.clone(), left.unwrap());
                }
                for one in wave {
                    at.insert(one.vm, one.to.clone());
                    *room.get_mut(&one.from).unwrap() += size(one);
                }
            }
            prop_assert_eq!((&at[&vm_id(1)], &at[&vm_id(2)]), (&host_id("y"), &host_id("x")));
        }
    }
}
