//! The network as a method of forecasting.

use crate::{
    features::{Anchors, CONTEXT, Encoded, INPUTS},
    kernel::{
        cell::{Cell, CellKind},
        dense::Dense,
        error::ShapeError,
        threads::Threads,
    },
    network::{OUTPUTS, PER_TARGET, Weights, quantiles},
    predictor::{Answer, Known, Predictor, consistent},
    scale::{RESOURCES, Resource},
};

/// The network, ready to run.
#[derive(Debug, Clone)]
pub struct Network {
    cell: Cell,
    hidden: Dense,
    output: Dense,
    threads: Threads,
}

impl Network {
    /// Prepares weights for this processor.
    pub fn new(weights: &Weights, threads: Threads) -> Self {
        Self {
            cell: Cell::new(&weights.cell),
            hidden: Dense::new(&weights.hidden),
            output: Dense::new(&weights.output),
            threads,
        }
    }

    /// One step for all rows of `states`.
    fn step(&self, encoded: &[Encoded], states: &mut [f32]) -> Result<(), ShapeError> {
        let each = self.state_len();
        let mut state = self.cell.state(encoded.len());
        for (row, values) in states.chunks_exact(each).enumerate() {
            state.set_row(row, values)?;
        }
        let mut inputs = Vec::with_capacity(encoded.len() * INPUTS);
        encoded.iter().for_each(|encoded| inputs.extend_from_slice(&encoded.inputs));
        self.cell.step(&inputs, &mut state, self.threads)?;
        for (row, values) in states.chunks_exact_mut(each).enumerate() {
            if let Some(advanced) = state.row(row) {
                values.copy_from_slice(&advanced);
            }
        }
        Ok(())
    }

    /// Bare outputs for vms whose cell's h is the beginning of each of `states`, `[rows][OUTPUTS]`.
    fn head(&self, known: &[Known<'_>], states: &[f32]) -> Result<Vec<f32>, ShapeError> {
        let (units, width) = (self.cell.hidden(), self.hidden.outputs());
        let mut joined = Vec::with_capacity(known.len() * (units + CONTEXT));
        for (known, state) in known.iter().zip(states.chunks_exact(self.state_len())) {
            joined.extend_from_slice(&state[..units]);
            joined.extend_from_slice(&known.encoded.context);
        }
        let mut hidden = vec![0.0; known.len() * width];
        self.hidden.forward(&joined, &mut hidden, self.threads)?;
        joined.clear();
        for (known, hidden) in known.iter().zip(hidden.chunks_exact(width)) {
            joined.extend_from_slice(hidden);
            joined.extend_from_slice(&known.encoded.context);
        }
        let mut outputs = vec![0.0; known.len() * OUTPUTS];
        self.output.forward(&joined, &mut outputs, self.threads)?;
        Ok(outputs)
    }
}

/// What bare outputs say.
pub fn answer(outputs: &[f32], anchors: &[Anchors; RESOURCES]) -> Answer {
    let mut answer = Answer::default();
    let mut targets = outputs.chunks_exact(PER_TARGET);
    for resource in Resource::ALL {
        for (target, place) in answer[resource as usize].iter_mut().enumerate() {
            if let Some(bare) = targets.next().and_then(|bare| bare.first_chunk::<PER_TARGET>()) {
                *place = quantiles(bare, &anchors[resource as usize], target);
            }
        }
    }
    answer
}

impl Predictor for Network {
    fn name(&self) -> &str {
        match self.cell.kind() {
            CellKind::Lstm => "lstm",
            CellKind::Gru => "gru",
        }
    }

    fn state_len(&self) -> usize {
        match self.cell.kind() {
            CellKind::Lstm => 2 * self.cell.hidden(),
            CellKind::Gru => self.cell.hidden(),
        }
    }

    fn advance(&self, encoded: &[Encoded], states: &mut [f32]) {
        // The sizes are this network's own; a caller who hands in others gets no forecast rather than a wrong one.
        if self.step(encoded, states).is_err() {
            states.fill(f32::NAN);
        }
    }

    fn predict(&self, known: &[Known<'_>], states: &[f32], answers: &mut [Answer]) {
        let outputs = self.head(known, states).unwrap_or_else(|_| vec![f32::NAN; known.len() * OUTPUTS]);
        for ((known, outputs), place) in known.iter().zip(outputs.chunks_exact(OUTPUTS)).zip(answers) {
            *place = answer(outputs, &known.encoded.anchors);
            consistent(place);
        }
    }
}
