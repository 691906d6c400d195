//! The cells beside numbers worked by hand and an evaluation in double precision.

use super::reference::{Exact, assert_close, machines, random, state, weights, wide};
use crate::kernel::{
    cell::{
        Cell,
        CellKind::{self, Gru, Lstm},
        CellWeights, State,
    },
    threads::Threads,
};

const KINDS: [CellKind; 2] = [Lstm, Gru];

/// One unit, one input, two steps, x = 1 then 0.5, from zero. Rows of the weights are h, x; columns f, i, o, C̃.
///
/// Step 1 (h = C = 0, x = 1): f = σ(0.2 + 0.1) = σ(0.3) = 0.574443, i = σ(0.3 - 0.1) = σ(0.2) = 0.549834,
/// o = σ(0.4 + 0.2) = σ(0.6) = 0.645656, C̃ = tanh(0.5 + 0.0) = 0.462117;
/// C = 0.574443·0 + 0.549834·0.462117 = 0.254088, h = 0.645656·tanh(0.254088) = 0.645656·0.248757 = 0.160612.
/// Step 2 (x = 0.5): f = σ(0.5·0.160612 + 0.1 + 0.1) = σ(0.280306) = 0.569621,
/// i = σ(0.6·0.160612 + 0.15 - 0.1) = σ(0.146367) = 0.536527, o = σ(0.7·0.160612 + 0.2 + 0.2) = σ(0.512428) = 0.625376,
/// C̃ = tanh(0.8·0.160612 + 0.25) = tanh(0.378489) = 0.361395;
/// C = 0.569621·0.254088 + 0.536527·0.361395 = 0.144734 + 0.193898 = 0.338632,
/// h = 0.625376·tanh(0.338632) = 0.625376·0.326255 = 0.204032.
#[test]
fn lstm_equals_numbers_worked_by_hand() {
    let rows = vec![0.5, 0.6, 0.7, 0.8, 0.2, 0.3, 0.4, 0.5];
    let weights = CellWeights::new(Lstm, 1, 1, rows, vec![0.1, -0.1, 0.2, 0.0]).unwrap();
    let cell = Cell::new(&weights);
    let mut state = cell.state(1);
    cell.step(&[1.0], &mut state, Threads::One).unwrap();
    assert_close(&state.row(0).unwrap(), &[0.160_612, 0.254_088], 2e-6);
    cell.step(&[0.5], &mut state, Threads::One).unwrap();
    assert_close(&state.row(0).unwrap(), &[0.204_032, 0.338_632], 2e-6);
}

/// One unit, one input, one step from h = 0.5 with x = 1. Rows h, x; columns r, z, n; biases r, z, n and n's recurrent.
///
/// r = σ(0.2·0.5 + 0.1 + 0.1) = σ(0.3) = 0.574443, z = σ(0.4·0.5 + 0.3 - 0.1) = σ(0.4) = 0.598688,
/// n = tanh(0.5 + 0.05 + 0.574443·(0.6·0.5 + 0.2)) = tanh(0.837221) = 0.684334,
/// h = (1 - 0.598688)·0.684334 + 0.598688·0.5 = 0.274632 + 0.299344 = 0.573976.
#[test]
fn gru_equals_numbers_worked_by_hand() {
    let weights = CellWeights::new(Gru, 1, 1, vec![0.2, 0.4, 0.6, 0.1, 0.3, 0.5], vec![0.1, -0.1, 0.05, 0.2]).unwrap();
    let cell = Cell::new(&weights);
    let mut state = cell.state(1);
    state.set_row(0, &[0.5]).unwrap();
    cell.step(&[1.0], &mut state, Threads::One).unwrap();
    assert_close(&state.row(0).unwrap(), &[0.573_976], 2e-6);
}

#[test]
fn cells_equal_an_evaluation_in_double_precision_at_every_tile_size() {
    for (machine, kind) in machines().into_iter().flat_map(|machine| KINDS.map(|kind| (machine, kind))) {
        for (inputs, hidden) in [(1, 1), (3, 5), (6, 8), (8, 33)] {
            let weights = weights(kind, inputs, hidden, 7);
            let cell = Cell::on(machine, &weights);
            for rows in [1, 2, 31, 32, 33, 63, 64, 65] {
                let steps = 5;
                let start = state(&cell, rows, 11);
                let x = random(3, steps * rows * inputs, 1.5);
                let (mut end, mut out) = (start.clone(), vec![0.0; steps * rows * hidden]);
                cell.sequence(&x, &mut end, Some(&mut out), Threads::One).unwrap();
                let expected = Exact::of(&weights).sequence(&wide(&x), &start);
                assert_close(&out, &expected, 2e-6);
                let mut last = vec![0.0; rows * hidden];
                end.write_hidden(&mut last).unwrap();
                assert_eq!(last, out[(steps - 1) * rows * hidden..]);
            }
        }
    }
}

#[test]
fn long_sequences_stay_close_to_double_precision() {
    for kind in KINDS {
        let weights = weights(kind, 6, 64, 5);
        let cell = Cell::new(&weights);
        let (mut state, x) = (cell.state(70), random(9, 48 * 70 * 6, 1.0));
        let expected = Exact::of(&weights).sequence(&wide(&x), &state);
        let mut out = vec![0.0; expected.len()];
        cell.sequence(&x, &mut state, Some(&mut out), Threads::Pool).unwrap();
        assert_close(&out, &expected, 1e-5);
    }
}

#[test]
fn a_sequence_equals_its_steps_one_by_one() {
    for kind in KINDS {
        let cell = Cell::new(&weights(kind, 4, 12, 1));
        let (steps, rows) = (6, 65);
        let x = random(2, steps * rows * 4, 1.0);
        let mut whole = state(&cell, rows, 4);
        let mut stepped = whole.clone();
        cell.sequence(&x, &mut whole, None, Threads::Pool).unwrap();
        for x in x.chunks_exact(rows * 4) {
            cell.step(x, &mut stepped, Threads::One).unwrap();
        }
        assert_eq!(whole, stepped);
    }
}

#[test]
fn an_empty_sequence_leaves_the_state_alone() {
    let cell = Cell::new(&weights(Lstm, 4, 12, 1));
    let mut state = state(&cell, 10, 4);
    let before = state.clone();
    cell.sequence(&[], &mut state, None, Threads::One).unwrap();
    assert_eq!(state, before);
    cell.sequence(&[], &mut cell.state(0), None, Threads::Pool).unwrap();
}

fn run(cell: &Cell, x: &[f32], threads: Threads) -> (State, Vec<f32>) {
    let mut state = cell.state(200);
    let mut out = vec![0.0; x.len() / cell.inputs() * cell.hidden()];
    cell.sequence(x, &mut state, Some(&mut out), threads).unwrap();
    (state, out)
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for kind in KINDS {
        let cell = Cell::new(&weights(kind, 6, 20, 1));
        let x = random(8, 10 * 200 * 6, 1.0);
        let alone = run(&cell, &x, Threads::One);
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| run(&cell, &x, Threads::Pool)), alone);
        }
    }
}

#[test]
fn what_is_not_a_number_spoils_its_own_sample_only() {
    for kind in KINDS {
        let cell = Cell::new(&weights(kind, 2, 8, 1));
        let (mut clean, mut spoiled) = (cell.state(40), cell.state(40));
        let mut x = random(8, 3 * 40 * 2, 1.0);
        cell.sequence(&x, &mut clean, None, Threads::One).unwrap();
        x[17 * 2] = f32::NAN;
        cell.sequence(&x, &mut spoiled, None, Threads::One).unwrap();
        for row in 0..40 {
            match row {
                17 => assert!(spoiled.row(row).unwrap().iter().all(|value| value.is_nan())),
                _ => assert_eq!(spoiled.row(row), clean.row(row)),
            }
        }
    }
}

#[test]
fn loaded_weights_replace_the_old_ones() {
    for kind in KINDS {
        let (old, new) = (weights(kind, 3, 7, 1), weights(kind, 3, 7, 9));
        let (mut loaded, fresh) = (Cell::new(&old), Cell::new(&new));
        loaded.load(&new).unwrap();
        let x = random(8, 200 * 3, 1.0);
        assert_eq!(run(&loaded, &x, Threads::One), run(&fresh, &x, Threads::One));
    }
}
