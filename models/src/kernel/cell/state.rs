//! The states of many samples, between two calls.

use crate::kernel::{
    cell::CellKind,
    error::{ShapeError, expect_size},
    panel,
};

/// The states of many samples: h for each, and C too for the LSTM. Kept as panels, which is how steps read and write
/// them; single samples are read and written row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    hidden: usize,
    width: usize,
    rows: usize,
    /// `[panels][hidden][width]`.
    pub(in crate::kernel) h: Vec<f32>,
    /// As `h`; empty for the GRU.
    pub(in crate::kernel) c: Vec<f32>,
    has_cells: bool,
}

impl State {
    pub(super) fn zeros(kind: CellKind, hidden: usize, width: usize, rows: usize) -> Self {
        let has_cells = kind == CellKind::Lstm;
        let mut state = Self { hidden, width, rows: 0, h: Vec::new(), c: Vec::new(), has_cells };
        state.resize(rows);
        state
    }

    /// Samples.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Units of the cell.
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// Samples in a panel.
    pub(in crate::kernel) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn has_cells(&self) -> bool {
        self.has_cells
    }

    /// Sets all states to zero.
    pub fn clear(&mut self) {
        self.h.fill(0.0);
        self.c.fill(0.0);
    }

    /// Changes the number of samples: the last ones go, or zero states are added.
    pub fn resize(&mut self, rows: usize) {
        // The lanes without a sample take part in the steps and in sums over lanes: nothing may be left in them.
        let kept = rows.min(self.rows);
        (kept..kept.next_multiple_of(self.width)).for_each(|row| self.clear_row(row));
        let len = rows.div_ceil(self.width) * self.hidden * self.width;
        self.h.resize(len, 0.0);
        self.c.resize(if self.has_cells { len } else { 0 }, 0.0);
        self.rows = rows;
    }

    /// Sets the state of one sample to zero; a row that does not exist is left alone.
    pub fn clear_row(&mut self, row: usize) {
        let (width, hidden) = (self.width, self.hidden);
        for values in [&mut self.h, &mut self.c] {
            lane_mut(values, width, hidden, row).for_each(|value| *value = 0.0);
        }
    }

    /// Copies the state of row `from` over that of row `to`, within this state: how a list with holes is closed.
    pub fn copy_row(&mut self, from: usize, to: usize) {
        for values in [&mut self.h, &mut self.c] {
            for unit in 0..self.hidden {
                let (from, to) = (at(self.width, self.hidden, from, unit), at(self.width, self.hidden, to, unit));
                if let Some(value) = values.get(from).copied()
                    && let Some(slot) = values.get_mut(to)
                {
                    *slot = value;
                }
            }
        }
    }

    /// The state of one sample: h, and C after it for the LSTM; as many values as [`Self::row_len`]. `None` if there is
    /// no such row.
    pub fn row(&self, row: usize) -> Option<Vec<f32>> {
        let column = |values| lane(values, self.width, self.hidden, row);
        (row < self.rows).then(|| column(&self.h).chain(column(&self.c)).copied().collect())
    }

    /// Values in the state of one sample.
    pub fn row_len(&self) -> usize {
        if self.has_cells { 2 * self.hidden } else { self.hidden }
    }

    /// Sets the state of one sample, as [`Self::row`] gives it.
    pub fn set_row(&mut self, row: usize, values: &[f32]) -> Result<(), ShapeError> {
        expect_size("values", values.len(), self.row_len())?;
        if row >= self.rows {
            return Err(ShapeError { field: "row", value: row, expected: format!("less than {}", self.rows) });
        }
        let (h, c) = values.split_at(self.hidden);
        for (to, from) in [(&mut self.h, h), (&mut self.c, c)] {
            lane_mut(to, self.width, self.hidden, row).zip(from).for_each(|(to, from)| *to = *from);
        }
        Ok(())
    }

    /// Writes h of all samples, `[rows][hidden]`.
    pub fn write_hidden(&self, out: &mut [f32]) -> Result<(), ShapeError> {
        expect_size("out", out.len(), self.rows * self.hidden)?;
        let panels = self.h.chunks_exact(self.hidden * self.width);
        for (out, panel) in out.chunks_mut(self.hidden * self.width).zip(panels) {
            panel::store(panel, self.width, out, self.hidden);
        }
        Ok(())
    }
}

/// Where a sample's value of one unit lies.
fn at(width: usize, hidden: usize, row: usize, unit: usize) -> usize {
    ((row / width) * hidden + unit) * width + row % width
}

fn lane(values: &[f32], width: usize, hidden: usize, row: usize) -> impl Iterator<Item = &f32> {
    values.iter().skip(at(width, hidden, row, 0)).step_by(width).take(hidden)
}

fn lane_mut(values: &mut [f32], width: usize, hidden: usize, row: usize) -> impl Iterator<Item = &mut f32> {
    values.iter_mut().skip(at(width, hidden, row, 0)).step_by(width).take(hidden)
}
