//! Any method over recorded histories: what it would have said at given moments, from what was known then.

use ballast_core::history::History;
use rayon::prelude::*;

use crate::{
    features::{Encoded, encode},
    past::Past,
    predictor::{Answer, Known, Predictor, UNKNOWN, is_known},
};

/// Histories that one thread walks through abreast.
const ABREAST: usize = 32;

/// What was said of one history.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Index of the history.
    pub history: usize,
    /// The slot up to which all was known.
    pub slot: u32,
    /// The answer, on the scale.
    pub answer: Answer,
}

/// Answers for `origins`, per history the slots asked for in rising order; everything up to and including the slot is known.
/// In order of history and slot, the same whatever the number of threads. Before a vm's first value there is no answer; that
/// origin is left out.
pub fn answers(predictor: &dyn Predictor, histories: &[History], origins: &[Vec<u32>]) -> Vec<Said> {
    let groups: Vec<usize> = (0..histories.len()).step_by(ABREAST).collect();
    let walk = |first: &usize| {
        let end = (first + ABREAST).min(histories.len());
        group(predictor, &histories[*first..end], &origins[*first..end], *first)
    };
    let mut said: Vec<Said> = groups.par_iter().flat_map_iter(walk).collect();
    said.sort_by_key(|one| (one.history, one.slot));
    said
}

/// One history on its way.
struct Walker<'a> {
    index: usize,
    history: &'a History,
    asked: std::iter::Peekable<std::slice::Iter<'a, u32>>,
    past: Past,
    state: Vec<f32>,
}

impl Walker<'_> {
    /// Whether anything is still asked of it.
    fn goes_on(&mut self) -> bool {
        self.asked.peek().is_some()
    }

    /// Takes the next slot; `true` where an answer is asked for after it.
    fn step(&mut self) -> bool {
        let slot = self.past.slot().wrapping_add(1);
        self.past.step(&self.history.at(slot));
        // What is asked for before the history begins has no answer.
        while self.asked.next_if(|asked| **asked < slot).is_some() {}
        self.asked.next_if(|asked| **asked == slot).is_some()
    }
}

fn group(predictor: &dyn Predictor, histories: &[History], origins: &[Vec<u32>], first: usize) -> Vec<Said> {
    let length = predictor.state_len();
    let mut walkers: Vec<Walker<'_>> = histories
        .iter()
        .zip(origins)
        .enumerate()
        .map(|(index, (history, asked))| Walker {
            index: first + index,
            history,
            asked: asked.iter().peekable(),
            past: Past::new(history.first),
            state: vec![0.0; length],
        })
        .collect();
    let mut said = Vec::new();
    loop {
        walkers.retain_mut(Walker::goes_on);
        if walkers.is_empty() {
            return said;
        }
        step(predictor, &mut walkers, length, &mut said);
    }
}

/// One slot of all walkers.
fn step(predictor: &dyn Predictor, walkers: &mut [Walker<'_>], length: usize, said: &mut Vec<Said>) {
    let asked: Vec<bool> = walkers.iter_mut().map(Walker::step).collect();
    let needed = length > 0 || asked.contains(&true);
    if !needed {
        return;
    }
    let encoded: Vec<Encoded> = walkers.iter().map(|walker| encode(&walker.past, &walker.history.shape)).collect();
    let mut states: Vec<f32> = walkers.iter().flat_map(|walker| walker.state.iter().copied()).collect();
    if length > 0 {
        predictor.advance(&encoded, &mut states);
        for (walker, state) in walkers.iter_mut().zip(states.chunks_exact(length)) {
            // Before its first value a vm has no state either.
            if walker.past.age() > 0 {
                walker.state.copy_from_slice(state);
            }
        }
    }
    let wanted: Vec<usize> = (0..walkers.len()).filter(|row| asked[*row] && walkers[*row].past.age() > 0).collect();
    let known: Vec<Known<'_>> =
        wanted.iter().map(|row| Known { past: &walkers[*row].past, encoded: &encoded[*row] }).collect();
    let states: Vec<f32> = wanted.iter().flat_map(|row| walkers[*row].state.iter().copied()).collect();
    let mut answers = vec![UNKNOWN; wanted.len()];
    predictor.predict(&known, &states, &mut answers);
    for (row, answer) in wanted.into_iter().zip(answers).filter(|(_, answer)| is_known(answer)) {
        said.push(Said { history: walkers[row].index, slot: walkers[row].past.slot(), answer });
    }
}
