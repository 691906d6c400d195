//! What a bundle holds comes back, what does not fit is refused by name, and a network that has no answer decides nothing.

use ballast_core::policy::ranked::{FEATURES, LEVELS};

use rand::{RngExt as _, SeedableRng as _};

use super::{bundle::*, network::*, *};
use crate::bundle::BundleError;

fn networks() -> Ensemble {
    let mut rng = rand_pcg::Pcg64::seed_from_u64(7);
    Ensemble::new(&mut || rng.random())
}

fn bundle() -> Bundle {
    let ensemble = networks();
    let card = Card {
        schema: SCHEMA.into(),
        features: FEATURES,
        levels: LEVELS.to_vec(),
        members: MEMBERS,
        version: "test".into(),
        seed: 7,
        recipe: serde_json::Value::Null,
        data: Vec::new(),
        tuned: None,
        seen: Seen { low: vec![0.0; FEATURES], high: vec![1.0; FEATURES] },
    };
    Bundle { card, ensemble }
}

fn question(greedy: Option<usize>) -> Question {
    Question { shared: [0.5; SHARED], plans: vec![[0.4; OWN], [0.6; OWN]], greedy }
}

/// A policy whose every member finds each plan worth `by`.
fn sure(by: f32) -> Dqn {
    let mut bundle = bundle();
    bundle.ensemble.members.iter_mut().for_each(|member| member.tensors[TENSORS - 1] = vec![by]);
    Dqn::of(&bundle)
}

#[test]
fn what_was_written_is_read_back() {
    let bundle = bundle();
    assert_eq!(Bundle::from_bytes(&bundle.to_bytes().unwrap()).unwrap(), bundle);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let refused = |change: fn(&mut Bundle)| {
        let mut bundle = bundle();
        change(&mut bundle);
        match Bundle::from_bytes(&bundle.to_bytes().unwrap()) {
            Err(BundleError::Mismatch { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(|bundle| bundle.card.schema = "another".into()), "schema");
    assert_eq!(refused(|bundle| bundle.card.features = 3), "features");
    assert_eq!(refused(|bundle| bundle.card.levels = vec![1.0]), "levels");
    assert_eq!(refused(|bundle| bundle.card.members = 0), "members");
    assert_eq!(refused(|bundle| bundle.card.members = 5), "3.value.0.weight");
    assert_eq!(refused(|bundle| bundle.card.seen.low.clear()), "ranges");
    assert_eq!(refused(|bundle| bundle.ensemble.members[1].tensors[3][0] = f32::NAN), "weights");
}

#[test]
fn the_policy_that_ships_is_one_that_this_program_asks() {
    assert_eq!(shipped().unwrap().card.schema, SCHEMA);
    for name in NAMES {
        assert_eq!(any_by_name(name, None).map(|policy| policy.name()), Some(name));
    }
    assert!(any_by_name("vmware-drs", None).is_some() && any_by_name("nobody", None).is_none());
}

#[test]
fn a_damaged_file_is_refused() {
    let mut bytes = bundle().to_bytes().unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert!(matches!(Bundle::from_bytes(&bytes), Err(BundleError::Mismatch { field, .. }) if field == "checksum"));
    assert!(Bundle::from_bytes(&bytes[..bytes.len() / 2]).is_err());
}

#[test]
fn the_plan_that_is_worth_most_is_followed_and_none_that_is_worth_nothing() {
    assert_eq!(sure(0.1).choose(&question(None)), Some(0), "of equal plans the less cautious one");
    assert_eq!(sure(-0.1).choose(&question(Some(1))), None);
}

#[test]
fn members_that_differ_must_gain_more_than_they_differ_by() {
    let mut bundle = bundle();
    for (member, worth) in bundle.ensemble.members.iter_mut().zip([2.0, 0.2, -1.6]) {
        member.tensors[TENSORS - 1] = vec![worth];
    }
    assert_eq!(Dqn::of(&bundle).choose(&question(Some(0))), None, "a mean of 0.2 and a deviation of 1.5");
}

#[test]
fn a_network_that_answers_no_number_leaves_it_to_the_greedy_policy() {
    assert_eq!(sure(f32::NAN).choose(&question(Some(1))), Some(1));
    assert_eq!(sure(f32::INFINITY).choose(&question(None)), None);
}

#[test]
fn a_question_unlike_any_in_training_is_left_to_the_greedy_policy() {
    let mut strange = question(Some(1));
    strange.shared[..4].copy_from_slice(&[7.0; 4]);
    assert_eq!(sure(-0.1).choose(&strange), Some(1));
}

#[test]
fn a_new_network_finds_nothing_better_than_leaving_a_host_alone() {
    let judged = networks().judge(&[0.5; SHARED], &[0.5; OWN]);
    assert_eq!(judged, Judgement { mean: 0.0, deviation: 0.0 });
}
