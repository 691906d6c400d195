//! A set of histories with their features, as training walks through them.

use ballast_core::history::History;
use ballast_models::{
    features::{Anchors, COMMON, Encoded, HIGHS, INPUTS, LEVEL_UNIT, MEDIANS, OWN, encode},
    network::TARGETS,
    past::Past,
    scale::{RESOURCES, Resource},
};
use half::f16;
use rayon::prelude::*;

use super::Futures;

/// One history, encoded slot by slot.
#[derive(Debug)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// The slot in which it begins.
    pub first: u32,
    /// What the recurrent cell gets, per slot.
    pub inputs: Vec<[f32; INPUTS]>,
    /// What the head of each resource gets besides, per slot; in 16 bits, for it is most of what is kept. Empty where it gets
    /// nothing.
    own: Vec<[[f16; OWN]; RESOURCES]>,
    /// What every head gets besides, per slot.
    pub common: Vec<[f32; COMMON]>,
    /// What answers are relative to, per slot.
    pub anchors: Vec<[Anchors; RESOURCES]>,
    /// What came.
    pub futures: Futures,
    /// Weight of its loss.
    pub weight: f32,
    /// Whether there was a value, per slot.
    seen: Vec<bool>,
}

/// Histories of one kind.
#[derive(Debug, Default)]
pub struct Set {
    /// Each of them.
    pub series: Vec<Series>,
}

impl Series {
    /// Encodes a history, slot after slot, as a scheduler would have seen it.
    pub fn of(history: &History, weight: f32) -> Self {
        let slots = history.slots.len();
        let mut series = Self {
            name: history.name.clone(),
            first: history.first,
            inputs: Vec::with_capacity(slots),
            own: Vec::with_capacity(slots),
            common: Vec::with_capacity(slots),
            anchors: Vec::with_capacity(slots),
            futures: Futures::of(history),
            weight,
            seen: history.slots.iter().map(|slot| !slot.is_missing()).collect(),
        };
        let mut past = Past::new(history.first);
        for observed in &history.slots {
            past.step(observed);
            series.push(&encode(&past, &history.shape));
        }
        series
    }

    /// The same with nothing but the levels of its channels: for a network that has to find out about the vm's past by itself.
    pub fn of_levels(history: &History, weight: f32) -> Self {
        let slots = history.slots.len();
        let mut past = Past::new(history.first);
        let inputs = history.slots.iter().map(|observed| {
            past.step(observed);
            levels_alone(&past)
        });
        Self {
            name: history.name.clone(),
            first: history.first,
            inputs: inputs.collect(),
            own: Vec::new(),
            common: vec![[0.0; COMMON]; slots],
            anchors: vec![NO_ANCHORS; slots],
            futures: Futures::of(history),
            weight,
            seen: history.slots.iter().map(|slot| !slot.is_missing()).collect(),
        }
    }

    fn push(&mut self, encoded: &Encoded) {
        self.inputs.push(encoded.inputs);
        self.own.push(encoded.own.map(|own| own.map(f16::from_f32)));
        self.common.push(encoded.common);
        self.anchors.push(encoded.anchors);
    }

    /// What the head of a resource gets besides, of the slot at `index`.
    pub fn own(&self, index: usize, resource: Resource) -> [f32; OWN] {
        self.own.get(index).map_or([0.0; OWN], |own| own[resource as usize].map(f16::to_f32))
    }

    /// Its length in slots.
    pub fn len(&self) -> usize {
        self.inputs.len()
    }

    /// Whether anything is to be learnt from the slot at `index`: nobody asks for a forecast in a gap.
    pub fn is_learnt_from(&self, index: usize) -> bool {
        self.seen[index]
    }

    /// Whether it has no slots.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }
}

/// Anchors of which an answer is independent.
pub const NO_ANCHORS: [Anchors; RESOURCES] =
    [Anchors { base: 0.0, spread: 1.0, medians: [[0.0; MEDIANS]; TARGETS], highs: [0.0; HIGHS] }; RESOURCES];

/// What the cell gets of a past where it gets the newest levels and nothing else; as the encoder has them.
fn levels_alone(past: &Past) -> [f32; INPUTS] {
    let mut inputs = [0.0; INPUTS];
    inputs.iter_mut().zip(past.channels()).for_each(|(input, level)| *input = level * LEVEL_UNIT);
    inputs
}

impl Set {
    /// Encodes histories, in their order; those of a day or less have the weight `short`, the others 1.
    pub fn of(histories: &[History], short: f32) -> Self {
        let weight = |history: &History| if history.is_short() { short } else { 1.0 };
        Self { series: histories.par_iter().map(|history| Series::of(history, weight(history))).collect() }
    }

    /// Slots of all series.
    pub fn slots(&self) -> usize {
        self.series.iter().map(Series::len).sum()
    }
}
