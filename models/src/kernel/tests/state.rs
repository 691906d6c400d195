//! States between two calls.

use super::reference::{random, weights};
use crate::kernel::{
    cell::{Cell, CellKind},
    threads::Threads,
};

#[test]
fn rows_read_back_as_they_were_set() {
    for kind in [CellKind::Lstm, CellKind::Gru] {
        let mut state = Cell::new(&weights(kind, 2, 5, 1)).state(40);
        let values: Vec<Vec<f32>> = (0..40).map(|row| random(row, state.row_len(), 1.0)).collect();
        (0..40).for_each(|row| state.set_row(row, &values[row]).unwrap());
        (0..40).for_each(|row| assert_eq!(state.row(row).as_ref(), Some(&values[row])));
        state.copy_row(39, 3);
        assert_eq!(state.row(3).as_ref(), Some(&values[39]));
        assert_eq!((state.row(40), state.set_row(40, &values[0]).is_err()), (None, true));
    }
}

#[test]
fn rows_that_are_added_are_zero() {
    for kind in [CellKind::Lstm, CellKind::Gru] {
        let cell = Cell::new(&weights(kind, 2, 5, 1));
        let mut state = cell.state(3);
        cell.step(&random(1, 6, 1.0), &mut state, Threads::One).unwrap();
        for rows in [40, 2, 100] {
            let kept: Vec<_> = (0..state.rows().min(rows)).map(|row| state.row(row)).collect();
            let before = state.rows();
            state.resize(rows);
            (0..kept.len()).for_each(|row| assert_eq!(state.row(row), kept[row]));
            (before..rows).for_each(|row| assert_eq!(state.row(row), Some(vec![0.0; state.row_len()])));
        }
    }
}
