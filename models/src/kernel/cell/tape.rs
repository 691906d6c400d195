//! Going forward for training: what going backward will need is kept.

use pulp::{Simd, WithSimd};

use crate::kernel::{
    cell::{Cell, GATES, State, forward::Step},
    error::{ShapeError, expect_size, expect_some},
    matmul::OUTER_LEFT,
    panel::{self, rows, rows_mut},
    threads::Threads,
};

/// What a forward pass keeps. Reusable: its buffers grow to the largest batch and stay.
#[derive(Debug, Clone, Default)]
pub struct Tape {
    pub(super) steps: usize,
    pub(super) rows: usize,
    pub(super) inputs: usize,
    pub(super) hidden: usize,
    pub(super) width: usize,
    pub(super) tiles: Vec<Tile>,
}

/// One panel's part of a tape.
#[derive(Debug, Clone, Default)]
pub(super) struct Tile {
    /// Index of the panel's first sample, and how many it has.
    pub(super) first: usize,
    pub(super) live: usize,
    /// `[steps + 1][joined rows][width]`: `[h₋₁ | x | 1 | 0…]`. The ones make the biases' gradient a row of the weights'.
    pub(super) joined: Vec<f32>,
    /// `[steps + 1][hidden][width]`: C before each step; empty for the GRU.
    pub(super) c: Vec<f32>,
    /// `[steps][4 · hidden][width]`.
    pub(super) gates: Vec<f32>,
    /// What going backward works in, kept here so that it is not allocated anew.
    pub(super) back: super::backward::Scratch,
}

impl Tape {
    /// An empty tape.
    pub fn new() -> Self {
        Self::default()
    }

    /// Steps of the last forward pass.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Samples of the last forward pass.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Writes h after step `step`, `[rows][hidden]`.
    pub fn write_hidden(&self, step: usize, out: &mut [f32]) -> Result<(), ShapeError> {
        expect_size("out", out.len(), self.rows * self.hidden)?;
        if step >= self.steps {
            return Err(ShapeError { field: "step", value: step, expected: format!("less than {}", self.steps) });
        }
        for (tile, out) in self.tiles.iter().zip(out.chunks_mut(self.width * self.hidden)) {
            let joined = tile.joined.chunks_exact(self.joined_rows() * self.width).nth(step + 1);
            panel::store(joined.unwrap_or_default(), self.width, out, self.hidden);
        }
        Ok(())
    }

    /// Writes h after the last step, `[rows][hidden]`.
    pub fn write_last_hidden(&self, out: &mut [f32]) -> Result<(), ShapeError> {
        self.write_hidden(self.steps.saturating_sub(1), out)
    }

    /// Writes the state after the last step, for the next forward pass to go on from.
    pub fn last_state(&self, state: &mut State) -> Result<(), ShapeError> {
        expect_size("state.rows", state.rows(), self.rows)?;
        expect_size("state.hidden", state.hidden(), self.hidden)?;
        let panel = self.hidden * self.width;
        let joined = self.joined_rows() * self.width;
        for (index, tile) in self.tiles.iter().enumerate() {
            let (h, c) = (&tile.joined[self.steps * joined..], &tile.c[..]);
            state.h[index * panel..][..panel].copy_from_slice(&h[..panel]);
            if !c.is_empty() {
                state.c[index * panel..][..panel].copy_from_slice(&c[self.steps * panel..][..panel]);
            }
        }
        Ok(())
    }

    /// Rows of `[h₋₁ | x | 1 | 0…]`.
    pub(super) fn joined_rows(&self) -> usize {
        joined_rows(self.hidden, self.inputs)
    }
}

fn joined_rows(hidden: usize, inputs: usize) -> usize {
    (hidden + inputs + 1).next_multiple_of(OUTER_LEFT)
}

impl Cell {
    /// Runs `x`, `[steps][rows][inputs]`, from `state` on, as [`Self::sequence`] does, and keeps on `tape` what
    /// [`Self::backward`] needs. `state` itself is not changed.
    pub fn forward_train(&self, x: &[f32], state: &State, tape: &mut Tape, threads: Threads) -> Result<(), ShapeError> {
        self.expect_state(state)?;
        expect_some("state.rows", state.rows())?;
        let steps = x.len() / (state.rows() * self.inputs);
        expect_some("steps", steps)?;
        expect_size("x", x.len(), steps * state.rows() * self.inputs)?;
        self.prepare(tape, steps, state);
        let samples = state.rows();
        threads.run(
            tape.tiles.iter_mut().collect(),
            || (),
            |(), tile| self.machine.run(Record { cell: self, x, samples, state, tile }),
        );
        Ok(())
    }

    /// Sizes the tape's buffers and writes the rows of ones.
    fn prepare(&self, tape: &mut Tape, steps: usize, state: &State) {
        let width = self.machine.width;
        let same = (tape.steps, tape.inputs, tape.hidden, tape.width) == (steps, self.inputs, self.hidden, width);
        (tape.steps, tape.inputs, tape.hidden, tape.width) = (steps, self.inputs, self.hidden, width);
        tape.rows = state.rows();
        let panels = self.machine.panels(state.rows());
        let kept = tape.tiles.len();
        tape.tiles.resize_with(panels, Tile::default);
        let cells = if state.c.is_empty() { 0 } else { (steps + 1) * self.panel() };
        for (index, tile) in tape.tiles.iter_mut().enumerate() {
            tile.first = index * width;
            tile.live = width.min(state.rows() - tile.first);
            tile.c.resize(cells, 0.0);
            tile.gates.resize(steps * GATES * self.panel(), 0.0);
            if !same || index >= kept {
                self.lay_out(&mut tile.joined, steps);
            }
        }
    }

    fn lay_out(&self, joined: &mut Vec<f32>, steps: usize) {
        let (width, rows) = (self.machine.width, joined_rows(self.hidden, self.inputs));
        joined.clear();
        joined.resize((steps + 1) * rows * width, 0.0);
        for panel in joined.chunks_exact_mut(rows * width) {
            panel[(self.hidden + self.inputs) * width..][..width].fill(1.0);
        }
    }
}

/// The work of one panel.
struct Record<'a> {
    cell: &'a Cell,
    x: &'a [f32],
    samples: usize,
    state: &'a State,
    tile: &'a mut Tile,
}

impl WithSimd for Record<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { cell, x, samples, state, tile } = self;
        let (width, h_len) = (cell.machine.width, cell.panel());
        let joined_len = joined_rows(cell.hidden, cell.inputs) * width;
        let offset = tile.first / width * h_len;
        tile.joined[..h_len].copy_from_slice(&state.h[offset..][..h_len]);
        if !tile.c.is_empty() {
            tile.c[..h_len].copy_from_slice(&state.c[offset..][..h_len]);
        }
        let gates = tile.gates.chunks_exact_mut(GATES * h_len);
        for (step, (x, gates)) in x.chunks_exact(samples * cell.inputs).zip(gates).enumerate() {
            let (now, next) = tile.joined[step * joined_len..].split_at_mut(joined_len);
            let x = &x[tile.first * cell.inputs..][..tile.live * cell.inputs];
            panel::load(x, cell.inputs, &mut now[h_len..], width);
            let c = next_cells(&mut tile.c, step, h_len);
            let (joined, h) = (rows::<S>(now), rows_mut::<S>(&mut next[..h_len]));
            cell.step_panel(simd, Step { joined, c: rows_mut::<S>(c), h, gates: rows_mut::<S>(gates) });
        }
    }
}

/// Copies the cell values before `step` to where those after it belong, and gives that place.
#[inline(always)]
fn next_cells(c: &mut [f32], step: usize, len: usize) -> &mut [f32] {
    if c.is_empty() {
        return c;
    }
    let (before, after) = c[step * len..].split_at_mut(len);
    let after = &mut after[..len];
    after.copy_from_slice(before);
    after
}
