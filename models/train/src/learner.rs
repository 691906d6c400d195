//! One chunk forward and back on the CPU kernel: loss and gradients.

use ballast_models::{
    features::{CONTEXT, INPUTS},
    kernel::{
        cell::{Cell, CellGradients, HiddenGradient, State, Tape},
        dense::{Dense, DenseGradients, DenseTape},
        error::ShapeError,
        threads::Threads,
    },
    network::{OUTPUTS, TENSORS, Weights},
};
use rayon::prelude::*;

use crate::{
    batch::{Chunk, Walk},
    data::{Series, Set},
    loss::{self, loss},
};

/// What is learnt from one slot of one lane.
#[derive(Debug, Clone, Copy)]
struct Sample {
    lane: usize,
    step: usize,
    series: usize,
    index: usize,
}

/// Works out gradients, chunk after chunk. Its buffers are kept from one to the next.
#[derive(Debug)]
pub struct Learner {
    cell: Cell,
    hidden: Dense,
    output: Dense,
    state: State,
    tape: Tape,
    hidden_tape: DenseTape,
    output_tape: DenseTape,
    by_cell: CellGradients,
    by_hidden: DenseGradients,
    by_output: DenseGradients,
    walk: Walk,
    weights: loss::Weights,
    units: usize,
    width: usize,
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
        Self {
            state: cell.state(walk.lanes),
            cell,
            hidden: Dense::new(&weights.hidden),
            output: Dense::new(&weights.output),
            tape: Tape::new(),
            hidden_tape: DenseTape::new(),
            output_tape: DenseTape::new(),
            by_cell: CellGradients::zeros(&weights.cell),
            by_hidden: DenseGradients::zeros(&weights.hidden),
            by_output: DenseGradients::zeros(&weights.output),
            walk,
            weights: by,
            units: weights.cell.hidden(),
            width: weights.hidden.outputs(),
        }
    }

    /// Takes new weights.
    ///
    /// # Errors
    /// Where they are of another size.
    pub fn load(&mut self, weights: &Weights) -> Result<(), ShapeError> {
        self.cell.load(&weights.cell)?;
        self.hidden.load(&weights.hidden)?;
        self.output.load(&weights.output)
    }

    /// The gradients of the last chunk, as [`Weights::tensors`].
    pub fn gradients(&mut self) -> [&mut [f32]; TENSORS.len()] {
        [
            &mut self.by_cell.weights,
            &mut self.by_cell.bias,
            &mut self.by_hidden.weights,
            &mut self.by_hidden.bias,
            &mut self.by_output.weights,
            &mut self.by_output.bias,
        ]
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
    pub fn chunk(&mut self, set: &Set, chunk: &Chunk) -> Result<Learnt, ShapeError> {
        self.by_cell.clear();
        self.by_hidden.clear();
        self.by_output.clear();
        for (lane, place) in chunk.places.iter().enumerate() {
            if place.is_none_or(|place| place.begins) {
                self.state.clear_row(lane);
            }
        }
        let inputs = inputs(set, chunk, &self.walk);
        self.cell.forward_train(&inputs, &self.state, &mut self.tape, Threads::Pool)?;
        let samples = samples(set, chunk, &self.walk);
        let by_h = self.head(set, &samples)?;
        self.tape.last_state(&mut self.state)?;
        let every = self.spread(&samples, &by_h.1);
        let gradient = HiddenGradient::Every(&every);
        self.cell.backward(&mut self.tape, gradient, &mut self.by_cell, None, Threads::Pool)?;
        Ok(Learnt { loss: by_h.0, samples: samples.len() })
    }

    /// The head forward and back: the loss, and the gradient by h of every sample.
    fn head(&mut self, set: &Set, samples: &[Sample]) -> Result<(f64, Vec<f32>), ShapeError> {
        let h = self.hidden_of_steps()?;
        let row = self.units + CONTEXT;
        let mut joined = vec![0.0; samples.len() * row];
        joined.par_chunks_mut(row).zip(samples).for_each(|(joined, sample)| {
            let from = (sample.step * self.walk.lanes + sample.lane) * self.units;
            joined[..self.units].copy_from_slice(&h[from..from + self.units]);
            joined[self.units..].copy_from_slice(&set.series[sample.series].context[sample.index]);
        });
        let mut hidden = vec![0.0; samples.len() * self.width];
        self.hidden.forward_train(&joined, &mut hidden, &mut self.hidden_tape, Threads::Pool)?;
        let wide = self.width + CONTEXT;
        let mut last = vec![0.0; samples.len() * wide];
        last.par_chunks_mut(wide).zip(samples).zip(hidden.par_chunks(self.width)).for_each(
            |((last, sample), hidden)| {
                last[..self.width].copy_from_slice(hidden);
                last[self.width..].copy_from_slice(&set.series[sample.series].context[sample.index]);
            },
        );
        let mut outputs = vec![0.0; samples.len() * OUTPUTS];
        self.output.forward_train(&last, &mut outputs, &mut self.output_tape, Threads::Pool)?;
        let (sum, by_outputs) = self.losses(set, samples, &outputs);
        self.output.backward(
            &mut self.output_tape,
            &by_outputs,
            &mut self.by_output,
            Some(&mut last),
            Threads::Pool,
        )?;
        hidden.par_chunks_mut(self.width).zip(last.par_chunks(wide)).for_each(|(hidden, last)| {
            hidden.copy_from_slice(&last[..self.width]);
        });
        self.hidden.backward(&mut self.hidden_tape, &hidden, &mut self.by_hidden, Some(&mut joined), Threads::Pool)?;
        Ok((sum, joined))
    }

    fn losses(&self, set: &Set, samples: &[Sample], outputs: &[f32]) -> (f64, Vec<f32>) {
        let mut by_outputs = vec![0.0; outputs.len()];
        let share = 1.0 / samples.len().max(1) as f32;
        let one = |(sample, (outputs, by)): (&Sample, (&[f32], &mut [f32]))| -> f32 {
            let series: &Series = &set.series[sample.series];
            let (Some(outputs), Some(by)) = (outputs.first_chunk(), by.first_chunk_mut()) else { return 0.0 };
            let truth = series.futures.after(sample.index);
            let anchors = &series.anchors[sample.index];
            series.weight * loss(outputs, anchors, &truth, &self.weights, share * series.weight, by)
        };
        let rows = outputs.par_chunks(OUTPUTS).zip(by_outputs.par_chunks_mut(OUTPUTS));
        // Collected first and then added in order: the same sum on any number of threads.
        let losses: Vec<f32> = samples.par_iter().zip(rows).map(one).collect();
        (losses.iter().map(|loss| f64::from(*loss)).sum(), by_outputs)
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
    fn spread(&self, samples: &[Sample], joined: &[f32]) -> Vec<f32> {
        let mut every = vec![0.0; self.walk.steps * self.walk.lanes * self.units];
        for (sample, by) in samples.iter().zip(joined.chunks_exact(self.units + CONTEXT)) {
            let from = (sample.step * self.walk.lanes + sample.lane) * self.units;
            every[from..from + self.units].copy_from_slice(&by[..self.units]);
        }
        every
    }
}

/// `[steps][lanes][INPUTS]`; zeros for a lane that has run out.
fn inputs(set: &Set, chunk: &Chunk, walk: &Walk) -> Vec<f32> {
    let row = walk.lanes * INPUTS;
    let mut inputs = vec![0.0; walk.steps * row];
    inputs.par_chunks_mut(row).enumerate().for_each(|(step, row)| {
        for (out, place) in row.chunks_exact_mut(INPUTS).zip(&chunk.places) {
            if let Some(place) = place {
                out.copy_from_slice(&set.series[place.series].inputs[place.first + step]);
            }
        }
    });
    inputs
}

fn samples(set: &Set, chunk: &Chunk, walk: &Walk) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (lane, place) in chunk.places.iter().enumerate() {
        let Some(place) = place else { continue };
        for step in (chunk.phase..walk.steps).step_by(walk.stride) {
            let index = place.first + step;
            if set.series[place.series].is_learnt_from(index) {
                samples.push(Sample { lane, step, series: place.series, index });
            }
        }
    }
    samples
}
