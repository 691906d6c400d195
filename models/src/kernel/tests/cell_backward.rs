//! Gradients of the cells beside finite differences, on any tiles and threads.

use super::reference::{Exact, assert_close, machines, random, state, weights, wide};
use crate::kernel::{
    cell::{Cell, CellGradients, CellKind, CellWeights, HiddenGradient, State, Tape},
    threads::Threads,
};

const KINDS: [CellKind; 2] = [CellKind::Lstm, CellKind::Gru];
/// Step of the central differences.
const DELTA: f64 = 1e-5;

/// A training step whose loss is the sum of h of all steps, weighted by `d_hidden`.
struct Case {
    weights: CellWeights,
    cell: Cell,
    start: State,
    x: Vec<f32>,
    d_hidden: Vec<f32>,
}

impl Case {
    fn new(cell: Cell, weights: CellWeights, rows: usize, steps: usize) -> Self {
        let start = state(&cell, rows, 3);
        let x = random(4, steps * rows * weights.inputs(), 1.0);
        let d_hidden = random(5, steps * rows * weights.hidden(), 1.0);
        Self { weights, cell, start, x, d_hidden }
    }

    fn loss(&self, weights: &Exact, x: &[f64]) -> f64 {
        let hidden = weights.sequence(x, &self.start);
        hidden.iter().zip(&self.d_hidden).map(|(hidden, weight)| hidden * f64::from(*weight)).sum()
    }

    /// Central difference of the loss when `change` moves the weights or inputs.
    fn difference(&self, change: impl Fn(&mut Exact, &mut [f64], f64)) -> f64 {
        let moved = |delta| {
            let (mut weights, mut x) = (Exact::of(&self.weights), wide(&self.x));
            change(&mut weights, &mut x, delta);
            self.loss(&weights, &x)
        };
        (moved(DELTA) - moved(-DELTA)) / (2.0 * DELTA)
    }

    fn gradients(&self, threads: Threads) -> (CellGradients, Vec<f32>) {
        let (mut tape, mut gradients) = (Tape::new(), CellGradients::zeros(&self.weights));
        let mut d_inputs = vec![0.0; self.x.len()];
        let d_hidden = HiddenGradient::Every(&self.d_hidden);
        self.cell.forward_train(&self.x, &self.start, &mut tape, threads).unwrap();
        self.cell.backward(&mut tape, d_hidden, &mut gradients, Some(&mut d_inputs), threads).unwrap();
        (gradients, d_inputs)
    }
}

#[test]
fn gradients_equal_central_differences() {
    for (machine, kind) in machines().into_iter().flat_map(|machine| KINDS.map(|kind| (machine, kind))) {
        let weights = weights(kind, 2, 3, 1);
        let case = Case::new(Cell::on(machine, &weights), weights, 3, 4);
        let (gradients, d_inputs) = case.gradients(Threads::One);
        let by_weight: Vec<f64> = (0..gradients.weights.len())
            .map(|at| case.difference(|weights, _, delta| weights.weights[at] += delta))
            .collect();
        let by_bias: Vec<f64> = (0..gradients.bias.len())
            .map(|at| case.difference(|weights, _, delta| weights.bias[at] += delta))
            .collect();
        let by_input: Vec<f64> = (0..d_inputs.len()).map(|at| case.difference(|_, x, delta| x[at] += delta)).collect();
        assert_close(&gradients.weights, &by_weight, 1e-5);
        assert_close(&gradients.bias, &by_bias, 1e-5);
        assert_close(&d_inputs, &by_input, 1e-5);
    }
}

/// Larger than a tile: differences of a few weights, among them the first and the last.
#[test]
fn gradients_are_summed_over_tiles() {
    for kind in KINDS {
        let weights = weights(kind, 6, 16, 1);
        let case = Case::new(Cell::new(&weights), weights, 70, 6);
        let (gradients, _) = case.gradients(Threads::Pool);
        let last = gradients.weights.len() - 1;
        for at in [0, 1, 17, 333, last - 40, last] {
            let expected = case.difference(|weights, _, delta| weights.weights[at] += delta);
            assert_close(&gradients.weights[at..=at], &[expected], 1e-4 * expected.abs().max(1.0));
        }
        for at in [0, 20, 63] {
            let expected = case.difference(|weights, _, delta| weights.bias[at] += delta);
            assert_close(&gradients.bias[at..=at], &[expected], 1e-4 * expected.abs().max(1.0));
        }
    }
}

#[test]
fn the_forward_pass_of_training_gives_the_hidden_states_of_inference() {
    for kind in KINDS {
        let weights = weights(kind, 6, 9, 1);
        let case = Case::new(Cell::new(&weights), weights, 65, 5);
        let (mut tape, mut state) = (Tape::new(), case.start.clone());
        case.cell.forward_train(&case.x, &case.start, &mut tape, Threads::Pool).unwrap();
        let mut inferred = vec![0.0; case.d_hidden.len()];
        case.cell.sequence(&case.x, &mut state, Some(&mut inferred), Threads::One).unwrap();
        let mut out = vec![0.0; 65 * 9];
        for (step, inferred) in inferred.chunks_exact(65 * 9).enumerate() {
            tape.write_hidden(step, &mut out).unwrap();
            assert_eq!(out, inferred);
        }
        tape.write_last_hidden(&mut out).unwrap();
        assert_eq!(out, inferred[4 * 65 * 9..]);
    }
}

#[test]
fn a_gradient_of_the_last_step_equals_one_that_is_zero_before() {
    for kind in KINDS {
        let weights = weights(kind, 6, 9, 1);
        let mut case = Case::new(Cell::new(&weights), weights, 40, 5);
        case.d_hidden[..4 * 40 * 9].fill(0.0);
        let (every, _) = case.gradients(Threads::One);
        let (mut tape, mut last) = (Tape::new(), CellGradients::zeros(&case.weights));
        let d_hidden = HiddenGradient::Last(&case.d_hidden[4 * 40 * 9..]);
        case.cell.forward_train(&case.x, &case.start, &mut tape, Threads::One).unwrap();
        case.cell.backward(&mut tape, d_hidden, &mut last, None, Threads::One).unwrap();
        assert_eq!(every, last);
    }
}

#[test]
fn gradients_do_not_depend_on_the_number_of_threads() {
    for kind in KINDS {
        let weights = weights(kind, 6, 20, 1);
        let case = Case::new(Cell::new(&weights), weights, 200, 10);
        let alone = case.gradients(Threads::One);
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| case.gradients(Threads::Pool)), alone);
        }
    }
}

/// A tape that has held other batches, larger and smaller, longer and shorter, gives what a new one gives.
#[test]
fn a_used_tape_gives_what_a_new_one_gives() {
    for kind in KINDS {
        let weights = weights(kind, 6, 9, 1);
        let mut tape = Tape::new();
        for (rows, steps) in [(70, 5), (3, 5), (40, 7), (100, 2), (33, 2)] {
            let case = Case::new(Cell::new(&weights), weights.clone(), rows, steps);
            let mut gradients = CellGradients::zeros(&weights);
            let d_hidden = HiddenGradient::Every(&case.d_hidden);
            case.cell.forward_train(&case.x, &case.start, &mut tape, Threads::Pool).unwrap();
            case.cell.backward(&mut tape, d_hidden, &mut gradients, None, Threads::Pool).unwrap();
            assert_eq!(gradients, case.gradients(Threads::One).0);
        }
    }
}

#[test]
fn a_sample_that_went_leaves_nothing_in_the_gradients() {
    for kind in KINDS {
        let weights = weights(kind, 6, 9, 1);
        let mut case = Case::new(Cell::new(&weights), weights, 3, 4);
        let clean = case.gradients(Threads::One);
        case.start.resize(4);
        case.start.set_row(3, &vec![f32::NAN; case.start.row_len()]).unwrap();
        case.start.resize(3);
        assert_eq!(case.gradients(Threads::One), clean);
    }
}
