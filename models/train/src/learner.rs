//! One chunk forward and back on the CPU kernel: loss and gradients.

use ballast_models::{
    features::{CHANNEL_RESOURCES, INPUTS, LEVEL_UNIT},
    kernel::{
        cell::{Cell, CellGradients, HiddenGradient, State, Tape},
        error::ShapeError,
        threads::Threads,
    },
    network::Weights,
    scale::Resource,
};
use rayon::prelude::*;

use crate::{
    batch::{Chunk, Walk},
    data::Set,
    head::{Forgetting, HeadLearner, Sample},
    loss,
};

/// Works out gradients, chunk after chunk. Its buffers are kept from one to the next.
#[derive(Debug)]
pub struct Learner {
    cell: Cell,
    state: State,
    tape: Tape,
    by_cell: CellGradients,
    heads: Vec<HeadLearner>,
    walk: Walk,
    weights: loss::Weights,
    units: usize,
}

/// What came of a chunk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Learnt {
    /// Sum of the weighted losses.
    pub loss: f64,
    /// How many slots it is the sum of.
    pub samples: usize,
}

impl Learner {
    /// Begins with `weights`.
    pub fn new(weights: &Weights, walk: Walk, by: loss::Weights) -> Self {
        let cell = Cell::new(&weights.cell);
        let heads = Resource::ALL.iter().zip(&weights.heads).map(|(resource, head)| HeadLearner::new(*resource, head));
        Self {
            state: cell.state(walk.lanes),
            cell,
            tape: Tape::new(),
            by_cell: CellGradients::zeros(&weights.cell),
            heads: heads.collect(),
            walk,
            weights: by,
            units: weights.cell.hidden(),
        }
    }

    /// Takes new weights.
    ///
    /// # Errors
    /// Where they are of another size.
    pub fn load(&mut self, weights: &Weights) -> Result<(), ShapeError> {
        self.heads.iter_mut().zip(&weights.heads).try_for_each(|(head, weights)| head.load(weights))?;
        self.cell.load(&weights.cell)
    }

    /// The gradients of the last chunk, as [`Weights::tensors`].
    pub fn gradients(&mut self) -> Vec<&mut [f32]> {
        let cell: [&mut [f32]; 2] = [&mut self.by_cell.weights, &mut self.by_cell.bias];
        cell.into_iter().chain(self.heads.iter_mut().flat_map(HeadLearner::gradients)).collect()
    }

    /// The cell's states of all lanes.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Sets the cell's states to those of another time.
    pub fn set_state(&mut self, state: State) {
        self.state = state;
    }

    /// Forward and back through `chunk`; the gradients are those of the mean loss.
    ///
    /// # Errors
    /// Where sizes do not fit: an error of this program.
    pub fn chunk(&mut self, set: &Set, chunk: &Chunk, seed: u64) -> Result<Learnt, ShapeError> {
        self.by_cell.clear();
        for (lane, place) in chunk.places.iter().enumerate() {
            if place.is_none_or(|place| place.begins) {
                self.state.clear_row(lane);
            }
        }
        let inputs = inputs(set, chunk, &self.walk);
        self.cell.forward_train(&inputs, &self.state, &mut self.tape, Threads::Pool)?;
        let samples = samples(set, chunk, &self.walk);
        let h = gathered(&self.hidden_of_steps()?, &samples, self.walk.lanes, self.units);
        let mut by_h = vec![0.0; h.len()];
        let mut sum = 0.0;
        let forgetting = Forgetting { seed, share: self.walk.forgets };
        for head in &mut self.heads {
            sum += head.learn(set, &samples, &h, (&self.weights, forgetting), &mut by_h)?;
        }
        self.tape.last_state(&mut self.state)?;
        let every = self.spread(&samples, &by_h);
        let gradient = HiddenGradient::Every(&every);
        self.cell.backward(&mut self.tape, gradient, &mut self.by_cell, None, Threads::Pool)?;
        Ok(Learnt { loss: sum, samples: samples.len() })
    }

    fn hidden_of_steps(&self) -> Result<Vec<f32>, ShapeError> {
        let each = self.walk.lanes * self.units;
        let mut all = vec![0.0; self.tape.steps() * each];
        for (step, out) in all.chunks_exact_mut(each).enumerate() {
            self.tape.write_hidden(step, out)?;
        }
        Ok(all)
    }

    /// Puts the gradients by h of the samples where they belong among all steps and lanes.
    fn spread(&self, samples: &[Sample], by_h: &[f32]) -> Vec<f32> {
        let mut every = vec![0.0; self.walk.steps * self.walk.lanes * self.units];
        for (sample, by) in samples.iter().zip(by_h.chunks_exact(self.units)) {
            let from = (sample.step * self.walk.lanes + sample.lane) * self.units;
            every[from..from + self.units].copy_from_slice(by);
        }
        every
    }
}

/// h of the samples, `[samples][units]`, from that of all steps and lanes.
fn gathered(h: &[f32], samples: &[Sample], lanes: usize, units: usize) -> Vec<f32> {
    let rows = samples.iter().flat_map(|sample| {
        let from = (sample.step * lanes + sample.lane) * units;
        &h[from..from + units]
    });
    rows.copied().collect()
}

/// `[steps][lanes][INPUTS]`; zeros for a lane that has run out.
pub fn inputs(set: &Set, chunk: &Chunk, walk: &Walk) -> Vec<f32> {
    let row = walk.lanes * INPUTS;
    let mut inputs = vec![0.0; walk.steps * row];
    inputs.par_chunks_mut(row).enumerate().for_each(|(step, row)| {
        for (out, place) in row.chunks_exact_mut(INPUTS).zip(&chunk.places) {
            if let Some(place) = place {
                out.copy_from_slice(&set.series[place.series].inputs[place.first + step]);
                for (value, resource) in out.iter_mut().zip(CHANNEL_RESOURCES) {
                    *value += place.shift[resource as usize] * LEVEL_UNIT;
                }
            }
        }
    });
    inputs
}

/// The slots of a chunk that are learnt from, lane by lane.
pub fn samples(set: &Set, chunk: &Chunk, walk: &Walk) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (lane, place) in chunk.places.iter().enumerate() {
        let Some(place) = place else { continue };
        for step in (chunk.phase..walk.steps).step_by(walk.stride) {
            let index = place.first + step;
            if set.series[place.series].is_learnt_from(index) {
                samples.push(Sample { lane, step, series: place.series, index, shift: place.shift });
            }
        }
    }
    samples
}
