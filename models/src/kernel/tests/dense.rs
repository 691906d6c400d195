//! Dense layers beside an evaluation in double precision.

use super::reference::{assert_close, machines, random, weights};
use crate::kernel::{
    cell::{Cell, CellKind},
    dense::{
        Activation::{self, Identity, Relu, Tanh},
        Dense, DenseGradients, DenseTape, DenseWeights,
    },
    threads::Threads,
};

const ACTIVATIONS: [Activation; 3] = [Identity, Relu, Tanh];
/// Step of the central differences.
const DELTA: f64 = 1e-5;

fn layer(activation: Activation, inputs: usize, outputs: usize) -> DenseWeights {
    let weights = random(1, inputs * outputs, 0.5);
    DenseWeights::new(activation, inputs, outputs, weights, random(2, outputs, 0.5)).unwrap()
}

/// The layer in `f64`, with `delta` added to number `moved` of weights, biases and inputs in a row.
fn exact(layer: &DenseWeights, x: &[f32], moved: usize, delta: f64) -> Vec<f64> {
    let all = [layer.weights(), layer.bias(), x].concat();
    let mut all: Vec<f64> = all.into_iter().map(f64::from).collect();
    all[moved] += delta;
    let (weights, rest) = all.split_at(layer.weights().len());
    let (bias, x) = rest.split_at(layer.outputs());
    let sum = |x: &[f64], output: usize| {
        bias[output] + x.iter().enumerate().map(|(i, x)| x * weights[i * layer.outputs() + output]).sum::<f64>()
    };
    let activate = |sum: f64| match layer.activation() {
        Identity => sum,
        Relu => sum.max(0.0),
        Tanh => sum.tanh(),
    };
    x.chunks_exact(layer.inputs()).flat_map(|x| (0..layer.outputs()).map(|o| activate(sum(x, o)))).collect()
}

#[test]
fn layers_equal_an_evaluation_in_double_precision_at_every_tile_size() {
    for (machine, activation) in machines().into_iter().flat_map(|machine| ACTIVATIONS.map(|a| (machine, a))) {
        for (inputs, outputs) in [(1, 1), (5, 3), (64, 36)] {
            let layer = layer(activation, inputs, outputs);
            for rows in [1, 31, 32, 33, 65] {
                let (x, mut y) = (random(3, rows * inputs, 1.0), vec![0.0; rows * outputs]);
                Dense::on(machine, &layer).forward(&x, &mut y, Threads::One).unwrap();
                assert_close(&y, &exact(&layer, &x, 0, 0.0), 4e-6);
            }
        }
    }
}

#[test]
fn gradients_equal_central_differences() {
    for (machine, activation) in machines().into_iter().flat_map(|machine| ACTIVATIONS.map(|a| (machine, a))) {
        let (layer, rows) = (layer(activation, 5, 3), 35);
        let dense = Dense::on(machine, &layer);
        let (x, dy) = (random(3, rows * 5, 1.0), random(4, rows * 3, 1.0));
        let (mut tape, mut gradients) = (DenseTape::new(), DenseGradients::zeros(&layer));
        let (mut y, mut dx) = (vec![0.0; rows * 3], vec![0.0; rows * 5]);
        dense.forward_train(&x, &mut y, &mut tape, Threads::Pool).unwrap();
        dense.backward(&mut tape, &dy, &mut gradients, Some(&mut dx), Threads::Pool).unwrap();
        let loss =
            |at, delta| -> f64 { exact(&layer, &x, at, delta).iter().zip(&dy).map(|(y, dy)| y * f64::from(*dy)).sum() };
        let count = 5 * 3 + 3 + rows * 5;
        let expected: Vec<f64> = (0..count).map(|at| (loss(at, DELTA) - loss(at, -DELTA)) / (2.0 * DELTA)).collect();
        assert_close(&[gradients.weights, gradients.bias, dx].concat(), &expected, 2e-5);
    }
}

#[test]
fn training_gives_the_outputs_of_inference_on_any_number_of_threads() {
    let (layer, rows) = (layer(Tanh, 20, 9), 200);
    let dense = Dense::new(&layer);
    let (x, dy) = (random(3, rows * 20, 1.0), random(4, rows * 9, 1.0));
    let run = |threads| {
        let (mut tape, mut gradients) = (DenseTape::new(), DenseGradients::zeros(&layer));
        let (mut y, mut dx) = (vec![0.0; rows * 9], vec![0.0; rows * 20]);
        dense.forward_train(&x, &mut y, &mut tape, threads).unwrap();
        dense.backward(&mut tape, &dy, &mut gradients, Some(&mut dx), threads).unwrap();
        (y, gradients, dx)
    };
    let mut y = vec![0.0; rows * 9];
    dense.forward(&x, &mut y, Threads::Pool).unwrap();
    let alone = run(Threads::One);
    assert_eq!(alone.0, y);
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| run(Threads::Pool)), alone);
    }
}

#[test]
fn a_head_on_states_equals_one_on_their_rows() {
    let cell = Cell::new(&weights(CellKind::Lstm, 3, 20, 1));
    let dense = Dense::new(&layer(Identity, 20, 9));
    let mut state = cell.state(70);
    cell.step(&random(1, 70 * 3, 1.0), &mut state, Threads::One).unwrap();
    let (mut rows, mut direct, mut copied) = (vec![0.0; 70 * 20], vec![0.0; 70 * 9], vec![0.0; 70 * 9]);
    state.write_hidden(&mut rows).unwrap();
    dense.forward(&rows, &mut copied, Threads::One).unwrap();
    dense.forward_state(&state, &mut direct, Threads::Pool).unwrap();
    assert_eq!(direct, copied);
}

#[test]
fn what_is_not_a_number_stays_so() {
    for (machine, activation) in machines().into_iter().flat_map(|machine| ACTIVATIONS.map(|a| (machine, a))) {
        let dense = Dense::on(machine, &layer(activation, 4, 5));
        let mut y = [0.0; 10];
        dense.forward(&[0.0, 0.0, f32::NAN, 0.0, 0.0, 0.0, 0.0, 0.0], &mut y, Threads::One).unwrap();
        assert!(y[..5].iter().all(|y| y.is_nan()) && y[5..].iter().all(|y| y.is_finite()));
    }
}
