//! Round trips collapsed: what two wishes would move one after the other moves once, or not at all.
//!
//! A vm that one wish takes from a to b and the next from b to c goes from a to c; one that would come back where it was
//! stays. Called by [`crate::decide`] before the guard sees the wishes. Evacuations, bundles and exchanges are left as
//! they are: they stand or fall as a whole.

use std::collections::BTreeMap;

use crate::{
    id::VmId,
    proposal::{Action, Expectation, Move, Proposal},
};

/// The wishes without detours, in their order, and what was made of which, in words. A joined move takes the place and the
/// motive of its first leg, and what `judge` expects of it.
pub fn collapse(proposals: Vec<Proposal>, judge: impl Fn(&Move) -> Expectation) -> (Vec<Proposal>, Vec<String>) {
    let mut kept: Vec<Option<Proposal>> = Vec::with_capacity(proposals.len());
    let mut legs: BTreeMap<VmId, usize> = BTreeMap::new();
    let mut notes = Vec::new();
    for proposal in proposals {
        let Action::Relocate(leg) = &proposal.action else {
            kept.push(Some(proposal));
            continue;
        };
        let first = legs.get(&leg.vm).copied().filter(|first| ends_at(kept.get(*first), leg));
        if let Some(first) = first {
            let joined = kept[first].take().and_then(|first| join(first, leg, &judge, &mut notes));
            if joined.is_none() {
                legs.remove(&leg.vm);
            }
            kept[first] = joined;
        } else {
            legs.insert(leg.vm, kept.len());
            kept.push(Some(proposal));
        }
    }
    (kept.into_iter().flatten().collect(), notes)
}

/// Whether the wish ends where `leg` begins.
fn ends_at(first: Option<&Option<Proposal>>, leg: &Move) -> bool {
    let action = first.and_then(Option::as_ref).map(|first| &first.action);
    matches!(action, Some(Action::Relocate(first)) if first.to == leg.from)
}

fn join(
    first: Proposal,
    leg: &Move,
    judge: &impl Fn(&Move) -> Expectation,
    notes: &mut Vec<String>,
) -> Option<Proposal> {
    let Action::Relocate(begin) = &first.action else { return Some(first) };
    let (vm, from, over, to) = (leg.vm, begin.from.clone(), &leg.from, leg.to.clone());
    if from == to {
        notes.push(format!("vm {vm} would go from {from} to {over} and back: it stays"));
        return None;
    }
    notes.push(format!("vm {vm} goes from {from} to {to} at once, not over {over}"));
    let one = Move { vm, from, to };
    let expected = judge(&one);
    Some(Proposal { action: Action::Relocate(one), motive: first.motive, expected })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        fixture::{host_id, vm_id},
        id::HostId,
        proposal::Motive,
    };

    fn leg(vm: u32, from: &str, to: &str) -> Proposal {
        let one = Move { vm: vm_id(vm), from: host_id(from), to: host_id(to) };
        let motive = Motive::Operator { who: format!("{from}{to}") };
        Proposal { action: Action::Relocate(one), motive, expected: Expectation::default() }
    }

    fn collapsed(proposals: Vec<Proposal>) -> (Vec<Move>, Vec<String>) {
        let (proposals, notes) = collapse(proposals, |_| Expectation::default());
        (proposals.iter().flat_map(|one| one.action.moves().to_vec()).collect(), notes)
    }

    #[test]
    fn two_legs_become_one_move() {
        let (moves, notes) = collapsed(vec![leg(1, "a", "b"), leg(2, "b", "c"), leg(1, "b", "c")]);
        let one = |vm, from, to| Move { vm: vm_id(vm), from: host_id(from), to: host_id(to) };
        assert_eq!(moves, [one(1, "a", "c"), one(2, "b", "c")]);
        assert!(notes[0].ends_with("goes from a to c at once, not over b"), "{notes:?}");
    }

    #[test]
    fn there_and_back_is_no_move() {
        let (moves, notes) = collapsed(vec![leg(1, "a", "b"), leg(1, "b", "a")]);
        assert_eq!(moves, []);
        assert!(notes[0].ends_with("would go from a to b and back: it stays"), "{notes:?}");
    }

    #[test]
    fn what_does_not_follow_is_left_for_the_guard_to_refuse() {
        let (moves, notes) = collapsed(vec![leg(1, "a", "b"), leg(1, "c", "a")]);
        assert_eq!((moves.len(), notes.len()), (2, 0));
    }

    #[test]
    fn the_joined_move_is_judged_anew_and_keeps_its_first_motive() {
        let judge = |one: &Move| Expectation {
            copied: crate::units::Bytes(one.to.as_str().len() as u64),
            ..Expectation::default()
        };
        let (proposals, _) = collapse(vec![leg(1, "a", "b"), leg(1, "b", "cc")], judge);
        assert_eq!(proposals[0].expected.copied.get(), 2);
        assert_eq!(proposals[0].motive, Motive::Operator { who: "ab".into() });
    }

    /// Walks of a few vms over a few hosts, their legs shuffled into one list.
    fn walks() -> impl Strategy<Value = Vec<Proposal>> {
        let step = (0..3u32, prop::sample::select(vec!["a", "b", "c", "d"]));
        prop::collection::vec(step, 0..20).prop_map(|steps| {
            let mut at: BTreeMap<u32, &str> = BTreeMap::new();
            let mut legs = Vec::new();
            for (vm, to) in steps {
                let from = at.insert(vm, to).unwrap_or("a");
                if from != to {
                    legs.push(leg(vm, from, to));
                }
            }
            legs
        })
    }

    fn ends(moves: &[Move]) -> BTreeMap<VmId, HostId> {
        let mut ends: BTreeMap<VmId, HostId> = BTreeMap::new();
        for one in moves {
            ends.insert(one.vm, one.to.clone());
        }
        ends.retain(|_, at| *at != host_id("a"));
        ends
    }

    proptest! {
        #[test]
        fn every_vm_ends_where_its_legs_led_and_moves_at_most_once(legs in walks()) {
            let before: Vec<Move> = legs.iter().flat_map(|one| one.action.moves().to_vec()).collect();
            let (after, _) = collapsed(legs);
            prop_assert_eq!(ends(&before), ends(&after));
            prop_assert!(after.iter().all(|one| one.from != one.to));
            for vm in 0..3 {
                prop_assert!(after.iter().filter(|one| one.vm == vm_id(vm)).count() <= 1, "{:?}", after);
            }
        }
    }
}
