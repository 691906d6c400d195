//! The cells against burn's own, weights and inputs the same: outputs, and gradients against burn's automatic ones.

use burn::{
    module::Param,
    nn::{GateController, GruConfig, Linear, LstmConfig, LstmState},
    tensor::{Device, Gradients, Tensor, TensorData},
};

use super::reference::{assert_close, random, state, weights, wide};
use crate::kernel::{
    cell::{Cell, CellGradients, CellKind, CellWeights, HiddenGradient, State, Tape},
    threads::Threads,
};

const STEPS: usize = 7;
const ROWS: usize = 45;
const INPUTS: usize = 6;
const HIDDEN: usize = 20;

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Rows `rows` of column block `gate` of the weights.
fn block(weights: &CellWeights, rows: std::ops::Range<usize>, gate: usize) -> Vec<f32> {
    let columns = weights.kind().gates() * HIDDEN;
    rows.flat_map(|row| weights.weights()[row * columns + gate * HIDDEN..][..HIDDEN].to_vec()).collect()
}

fn fill(linear: &mut Linear, weight: Vec<f32>, bias: Vec<f32>, device: &Device) {
    let rows = weight.len() / HIDDEN;
    linear.weight = Param::from_data(TensorData::new(weight, [rows, HIDDEN]), device);
    linear.bias = Some(Param::from_data(TensorData::new(bias, [HIDDEN]), device));
}

/// Gives a gate of burn's our weights; `recurrent` is the block of our biases its second bias comes from, if any.
fn set(gate: &mut GateController, ours: &CellWeights, index: usize, recurrent: Option<usize>, device: &Device) {
    let bias = |index: usize| ours.bias()[index * HIDDEN..][..HIDDEN].to_vec();
    let (x, h) = (block(ours, HIDDEN..HIDDEN + INPUTS, index), block(ours, 0..HIDDEN, index));
    fill(&mut gate.input_transform, x, bias(index), device);
    fill(&mut gate.hidden_transform, h, recurrent.map_or_else(|| vec![0.0; HIDDEN], bias), device);
}

/// What burn makes of a case: h of all steps, and the gradients in our layout.
struct Theirs {
    hidden: Vec<f32>,
    gradients: CellGradients,
}

/// Gradients of burn's gates, in our order, in our layout.
fn collect(weights: &CellWeights, gates: &[&GateController], recurrent: bool, gradients: &Gradients) -> CellGradients {
    let values = |tensor: Option<Tensor<2>>| tensor.unwrap().into_data().try_to_vec::<f32>().unwrap();
    let biases = |linear: &Linear| {
        linear.bias.as_ref().unwrap().val().grad(gradients).unwrap().into_data().try_to_vec::<f32>().unwrap()
    };
    let mut ours = CellGradients::zeros(weights);
    for (index, gate) in gates.iter().enumerate() {
        let h = values(gate.hidden_transform.weight.val().grad(gradients));
        let x = values(gate.input_transform.weight.val().grad(gradients));
        for (row, from) in h.chunks(HIDDEN).chain(x.chunks(HIDDEN)).enumerate() {
            ours.weights[(row * gates.len() + index) * HIDDEN..][..HIDDEN].copy_from_slice(from);
        }
        ours.bias[index * HIDDEN..][..HIDDEN].copy_from_slice(&biases(&gate.input_transform));
    }
    if recurrent {
        ours.bias[gates.len() * HIDDEN..].copy_from_slice(&biases(&gates[gates.len() - 1].hidden_transform));
    }
    ours
}

fn lstm(weights: &CellWeights, x: &[f32], start: &State, d_hidden: &[f32]) -> Theirs {
    let device = Device::flex().autodiff();
    let mut lstm = LstmConfig::new(INPUTS, HIDDEN, true).with_batch_first(false).init(&device);
    let forget = lstm.forget_gate.as_mut().unwrap();
    set(forget, weights, 0, None, &device);
    set(&mut lstm.input_gate, weights, 1, None, &device);
    set(&mut lstm.output_gate, weights, 2, None, &device);
    set(&mut lstm.cell_gate, weights, 3, None, &device);
    let rows: Vec<f32> = (0..ROWS).flat_map(|row| start.row(row).unwrap()).collect();
    let part = |from: usize| rows.chunks(2 * HIDDEN).flat_map(|row| row[from..][..HIDDEN].to_vec()).collect();
    let state = LstmState::new(tensor(part(HIDDEN), [ROWS, HIDDEN], &device), tensor(part(0), [ROWS, HIDDEN], &device));
    let (hidden, _) = lstm.forward(tensor(x.to_vec(), [STEPS, ROWS, INPUTS], &device), Some(state));
    let loss = (hidden.clone() * tensor(d_hidden.to_vec(), [STEPS, ROWS, HIDDEN], &device)).sum();
    let forget = lstm.forget_gate.as_ref().unwrap();
    let gates = [forget, &lstm.input_gate, &lstm.output_gate, &lstm.cell_gate];
    let gradients = collect(weights, &gates, false, &loss.backward());
    Theirs { hidden: hidden.into_data().try_to_vec().unwrap(), gradients }
}

fn gru(weights: &CellWeights, x: &[f32], start: &State, d_hidden: &[f32]) -> Theirs {
    let device = Device::flex().autodiff();
    let mut gru = GruConfig::new(INPUTS, HIDDEN, true).init(&device);
    set(&mut gru.reset_gate, weights, 0, None, &device);
    set(&mut gru.update_gate, weights, 1, None, &device);
    set(&mut gru.new_gate, weights, 2, Some(3), &device);
    let rows = (0..ROWS).flat_map(|row| start.row(row).unwrap()).collect();
    let state = tensor(rows, [ROWS, HIDDEN], &device);
    let x = tensor(x.to_vec(), [STEPS, ROWS, INPUTS], &device).swap_dims(0, 1);
    let hidden = gru.forward(x, Some(state)).swap_dims(0, 1);
    let loss = (hidden.clone() * tensor(d_hidden.to_vec(), [STEPS, ROWS, HIDDEN], &device)).sum();
    let gates = [&gru.reset_gate, &gru.update_gate, &gru.new_gate];
    let gradients = collect(weights, &gates, true, &loss.backward());
    Theirs { hidden: hidden.into_data().try_to_vec().unwrap(), gradients }
}

/// Asserts that the largest difference is no more than `tolerance` times the largest value.
#[track_caller]
fn assert_relatively_close(actual: &[f32], expected: &[f32], tolerance: f64) {
    let largest = expected.iter().map(|value| f64::from(value.abs())).fold(0.0, f64::max);
    assert_close(actual, &wide(expected), tolerance * largest);
}

#[test]
fn cells_and_their_gradients_equal_those_of_burn() {
    for kind in [CellKind::Lstm, CellKind::Gru] {
        let weights = weights(kind, INPUTS, HIDDEN, 1);
        let cell = Cell::new(&weights);
        let start = state(&cell, ROWS, 50);
        let (x, d_hidden) = (random(2, STEPS * ROWS * INPUTS, 1.0), random(3, STEPS * ROWS * HIDDEN, 1.0));
        let theirs = match kind {
            CellKind::Lstm => lstm(&weights, &x, &start, &d_hidden),
            CellKind::Gru => gru(&weights, &x, &start, &d_hidden),
        };
        let (mut tape, mut gradients) = (Tape::new(), CellGradients::zeros(&weights));
        cell.forward_train(&x, &start, &mut tape, Threads::Pool).unwrap();
        let mut hidden = vec![0.0; ROWS * HIDDEN];
        for (step, expected) in theirs.hidden.chunks(ROWS * HIDDEN).enumerate() {
            tape.write_hidden(step, &mut hidden).unwrap();
            assert_close(&hidden, &wide(expected), 1e-5);
        }
        let d_hidden = HiddenGradient::Every(&d_hidden);
        cell.backward(&mut tape, d_hidden, &mut gradients, None, Threads::Pool).unwrap();
        assert_relatively_close(&gradients.weights, &theirs.gradients.weights, 1e-4);
        assert_relatively_close(&gradients.bias, &theirs.gradients.bias, 1e-4);
    }
}
