//! A chooser has the last word on evacuations and on nothing else.

use std::sync::{Arc, Mutex};

use super::*;
use crate::{
    fixture::Fleet,
    policy::RiskGreedy,
    proposal::{Action, Proposal},
};

/// Answers as told, and remembers what it was asked.
struct Told(Option<usize>, Arc<Mutex<Vec<Question>>>);

impl Chooser for Told {
    fn name(&self) -> &'static str {
        "told"
    }

    fn choose(&mut self, question: &Question) -> Option<usize> {
        self.1.lock().unwrap().push(question.clone());
        self.0
    }
}

/// Does what the greedy policy would.
struct ByGain;

impl Chooser for ByGain {
    fn name(&self) -> &'static str {
        "by-gain"
    }

    fn choose(&mut self, question: &Question) -> Option<usize> {
        question.greedy
    }
}

fn idle_fleet() -> Fleet {
    let mut fleet = Fleet::new(&[("a", &[1.0, 1.0]), ("b", &[2.0]), ("c", &[0.5]), ("d", &[])]);
    fleet.forecast(1.5);
    fleet
}

fn proposals(fleet: &Fleet, chooser: impl Chooser + 'static) -> Vec<Proposal> {
    Ranked::new(Box::new(chooser)).propose(fleet.view()).proposals
}

fn evacuations(proposals: &[Proposal]) -> usize {
    proposals.iter().filter(|proposal| matches!(proposal.action, Action::Evacuate { .. })).count()
}

#[test]
fn judged_by_the_models_gain_it_is_the_greedy_policy() {
    let fleet = idle_fleet();
    let greedy = RiskGreedy.propose(fleet.view()).proposals;
    assert!(evacuations(&greedy) > 0);
    assert_eq!(proposals(&fleet, ByGain), greedy);
}

#[test]
fn a_chooser_that_leaves_hosts_alone_empties_none() {
    let fleet = idle_fleet();
    let asked = Arc::default();
    assert_eq!(evacuations(&proposals(&fleet, Told(None, Arc::clone(&asked)))), 0);
    assert!(!asked.lock().unwrap().is_empty());
}

#[test]
fn an_answer_that_names_no_plan_leaves_the_host_alone() {
    let fleet = idle_fleet();
    assert_eq!(evacuations(&proposals(&fleet, Told(Some(99), Arc::default()))), 0);
}

#[test]
fn questions_are_numbers_within_their_bounds() {
    let mut fleet = idle_fleet();
    fleet.tuning.horizon = std::time::Duration::ZERO;
    let asked: Arc<Mutex<Vec<Question>>> = Arc::default();
    proposals(&fleet, Told(None, Arc::clone(&asked)));
    for question in asked.lock().unwrap().iter() {
        let mut all = question.shared.iter().chain(question.plans.iter().flatten());
        assert!(all.all(|value| (-8.0..=8.0).contains(value)), "{question:?}");
    }
}
