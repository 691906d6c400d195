//! What is refused for its size.

use crate::kernel::{
    cell::{Cell, CellGradients, CellKind, CellWeights, HiddenGradient, Tape},
    dense::{Activation, Dense, DenseWeights},
    error::ShapeError,
    threads::Threads,
};

#[track_caller]
fn check<T: std::fmt::Debug>(result: Result<T, ShapeError>, message: &str) {
    assert_eq!(result.unwrap_err().to_string(), message);
}

#[test]
fn weights_of_the_wrong_size_are_refused() {
    let new = |inputs, hidden, weights, bias| {
        CellWeights::new(CellKind::Lstm, inputs, hidden, vec![0.0; weights], vec![0.0; bias])
    };
    check(new(0, 2, 0, 8), "inputs is 0, expected at least 1");
    check(new(3, 0, 0, 0), "hidden is 0, expected at least 1");
    check(new(3, 2, 41, 8), "weights is 41, expected 40");
    check(new(3, 2, 40, 6), "bias is 6, expected 8");
    check(CellWeights::new(CellKind::Gru, 3, 2, vec![0.0; 40], vec![0.0; 8]), "weights is 40, expected 30");
    let new = |inputs, outputs, weights, bias| {
        DenseWeights::new(Activation::Tanh, inputs, outputs, vec![0.0; weights], vec![0.0; bias])
    };
    check(new(0, 2, 0, 2), "inputs is 0, expected at least 1");
    check(new(3, 0, 0, 0), "outputs is 0, expected at least 1");
    check(new(3, 2, 5, 2), "weights is 5, expected 6");
    check(new(3, 2, 6, 3), "bias is 3, expected 2");
}

#[test]
fn calls_with_sizes_that_do_not_fit_are_refused() {
    let weights = CellWeights::zeros(CellKind::Lstm, 3, 2).unwrap();
    let cell = Cell::new(&weights);
    let mut state = cell.state(5);
    check(cell.step(&[0.0; 14], &mut state, Threads::One), "x is 14, expected 15");
    check(cell.sequence(&[0.0; 31], &mut state, None, Threads::One), "x is 31, expected 30");
    check(cell.sequence(&[0.0; 30], &mut state, Some(&mut [0.0; 19]), Threads::One), "out is 19, expected 20");
    let other = Cell::new(&CellWeights::zeros(CellKind::Lstm, 3, 4).unwrap());
    check(other.step(&[0.0; 15], &mut state, Threads::One), "state.hidden is 2, expected 4");
    let gru = Cell::new(&CellWeights::zeros(CellKind::Gru, 3, 2).unwrap());
    check(gru.step(&[0.0; 15], &mut state, Threads::One), "state's cell values is 1, expected 0");
    check(
        Dense::new(&DenseWeights::zeros(Activation::Tanh, 3, 2).unwrap()).forward(&[0.0; 4], &mut [], Threads::One),
        "x is 4, expected 3",
    );
}

#[test]
fn training_with_sizes_that_do_not_fit_is_refused() {
    let weights = CellWeights::zeros(CellKind::Lstm, 3, 2).unwrap();
    let (cell, mut tape) = (Cell::new(&weights), Tape::new());
    let mut gradients = CellGradients::zeros(&weights);
    check(cell.forward_train(&[], &cell.state(0), &mut tape, Threads::One), "state.rows is 0, expected at least 1");
    check(cell.forward_train(&[], &cell.state(1), &mut tape, Threads::One), "steps is 0, expected at least 1");
    let unused = cell.backward(&mut tape, HiddenGradient::Last(&[]), &mut gradients, None, Threads::One);
    check(unused, "tape.inputs is 0, expected 3");
    cell.forward_train(&[0.0; 12], &cell.state(2), &mut tape, Threads::One).unwrap();
    let short = HiddenGradient::Every(&[0.0; 6]);
    check(cell.backward(&mut tape, short, &mut gradients, None, Threads::One), "d_hidden is 6, expected 8");
    check(tape.write_hidden(2, &mut [0.0; 4]), "step is 2, expected less than 2");
}
