//! The network as a method of forecasting.

use ballast_core::forecast::LEVELS;

use crate::{
    features::{Anchors, CONTEXT, Encoded, INPUTS},
    kernel::{
        cell::{Cell, CellKind},
        dense::Dense,
        error::ShapeError,
        threads::Threads,
    },
    network::{OUTPUTS, PER_TARGET, TARGETS, Weights, quantiles},
    predictor::{Answer, Known, Predictor, consistent},
    scale::{RESOURCES, Resource},
};

/// The network, ready to run.
#[derive(Debug, Clone)]
pub struct Network {
    cell: Cell,
    heads: [Head; RESOURCES],
    threads: Threads,
}

/// The head of one resource.
#[derive(Debug, Clone)]
struct Head {
    hidden: Dense,
    output: Dense,
}

impl Network {
    /// Prepares weights for this processor.
    pub fn new(weights: &Weights, threads: Threads) -> Self {
        Self {
            cell: Cell::new(&weights.cell),
            heads: weights
                .heads
                .each_ref()
                .map(|head| Head { hidden: Dense::new(&head.hidden), output: Dense::new(&head.output) }),
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

    /// Bare outputs of one resource for vms whose cell's h is the beginning of each of `states`, `[rows][OUTPUTS]`.
    fn head(&self, resource: Resource, known: &[Known<'_>], states: &[f32]) -> Result<Vec<f32>, ShapeError> {
        let head = &self.heads[resource as usize];
        let (units, width) = (self.cell.hidden(), head.hidden.outputs());
        let mut joined = Vec::with_capacity(known.len() * (units + CONTEXT));
        for (known, state) in known.iter().zip(states.chunks_exact(self.state_len())) {
            join(&mut joined, &state[..units], resource, known.encoded);
        }
        let mut hidden = vec![0.0; known.len() * width];
        head.hidden.forward(&joined, &mut hidden, self.threads)?;
        joined.clear();
        for (known, hidden) in known.iter().zip(hidden.chunks_exact(width)) {
            join(&mut joined, hidden, resource, known.encoded);
        }
        let mut outputs = vec![0.0; known.len() * OUTPUTS];
        head.output.forward(&joined, &mut outputs, self.threads)?;
        Ok(outputs)
    }
}

/// Adds a layer's input: what comes from the layer below, and the context.
fn join(joined: &mut Vec<f32>, below: &[f32], resource: Resource, encoded: &Encoded) {
    joined.extend_from_slice(below);
    joined.extend_from_slice(&encoded.context(resource));
}

/// What the bare outputs of one resource say.
pub fn answer(outputs: &[f32], anchors: &Anchors) -> [[f32; LEVELS.len()]; TARGETS] {
    let (bare, _) = outputs.as_chunks::<PER_TARGET>();
    std::array::from_fn(|target| {
        bare.get(target).map_or([f32::NAN; LEVELS.len()], |bare| quantiles(bare, anchors, target))
    })
}

impl Predictor for Network {
    fn name(&self) -> &'static str {
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
        for resource in Resource::ALL {
            // The sizes are this network's own: no answer rather than a wrong one, as above.
            let outputs = self.head(resource, known, states).unwrap_or_else(|_| vec![f32::NAN; known.len() * OUTPUTS]);
            for ((known, outputs), place) in known.iter().zip(outputs.chunks_exact(OUTPUTS)).zip(&mut *answers) {
                place[resource as usize] = answer(outputs, &known.encoded.anchors[resource as usize]);
            }
        }
        answers.iter_mut().for_each(consistent);
    }
}
