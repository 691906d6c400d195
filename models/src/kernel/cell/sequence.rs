//! Inference: whole sequences, and single steps on kept states.

use pulp::{Simd, WithSimd};

use crate::kernel::{
    cell::{Cell, State, forward::Step},
    error::{ShapeError, expect_size},
    panel::{self, rows, rows_mut},
    threads::Threads,
};

/// One panel on its way through a sequence.
struct Job<'a> {
    /// Index of its first sample, and how many it has.
    first: usize,
    live: usize,
    h: &'a mut [f32],
    c: &'a mut [f32],
    /// Per step, room for its samples' h; empty if only the last state is wanted.
    out: Vec<&'a mut [f32]>,
}

/// Two panels of `[h₋₁ | x]`: a step reads one and writes its h to the other.
struct Scratch {
    now: Vec<f32>,
    next: Vec<f32>,
}

impl Cell {
    /// Runs `x`, `[steps][rows][inputs]`, from `state` on and leaves the last state there; `rows` is the state's. `out`
    /// takes h of all steps, `[steps][rows][hidden]`.
    pub fn sequence(
        &self,
        x: &[f32],
        state: &mut State,
        out: Option<&mut [f32]>,
        threads: Threads,
    ) -> Result<(), ShapeError> {
        self.expect_state(state)?;
        let rows = state.rows();
        if rows == 0 {
            return expect_size("x", x.len(), 0);
        }
        let steps = x.len() / (rows * self.inputs);
        expect_size("x", x.len(), steps * rows * self.inputs)?;
        if let Some(out) = &out {
            expect_size("out", out.len(), steps * rows * self.hidden)?;
        }
        threads.run(
            self.jobs(state, out),
            || self.scratch(),
            |scratch, job| {
                self.machine.run(Run { cell: self, x, samples: rows, scratch, job });
            },
        );
        Ok(())
    }

    /// Does one step for all of `state`: `x` is `[rows][inputs]`.
    pub fn step(&self, x: &[f32], state: &mut State, threads: Threads) -> Result<(), ShapeError> {
        expect_size("x", x.len(), state.rows() * self.inputs)?;
        self.sequence(x, state, None, threads)
    }

    fn scratch(&self) -> Scratch {
        Scratch { now: vec![0.0; self.joined()], next: vec![0.0; self.joined()] }
    }

    fn jobs<'a>(&self, state: &'a mut State, out: Option<&'a mut [f32]>) -> Vec<Job<'a>> {
        let (rows, width) = (state.rows(), self.machine.width);
        let mut outputs = split(out, rows, self.hidden, width);
        let mut cells = state.c.chunks_exact_mut(self.panel());
        let panels = state.h.chunks_exact_mut(self.panel()).enumerate();
        panels
            .map(|(index, h)| Job {
                first: index * width,
                live: width.min(rows - index * width),
                h,
                c: cells.next().unwrap_or_default(),
                out: outputs.get_mut(index).map(std::mem::take).unwrap_or_default(),
            })
            .collect()
    }
}

/// Cuts `values`, `[steps][rows][features]`, into pieces per panel, and each panel's piece into steps.
pub(super) fn split(values: Option<&mut [f32]>, rows: usize, features: usize, width: usize) -> Vec<Vec<&mut [f32]>> {
    let mut panels: Vec<Vec<&mut [f32]>> = Vec::new();
    let Some(values) = values else { return panels };
    panels.resize_with(rows.div_ceil(width), Vec::new);
    for step in values.chunks_exact_mut(rows * features) {
        let pieces = step.chunks_mut(width * features);
        panels.iter_mut().zip(pieces).for_each(|(panel, piece)| panel.push(piece));
    }
    panels
}

/// The work of one panel.
struct Run<'a, 'b> {
    cell: &'a Cell,
    x: &'a [f32],
    samples: usize,
    scratch: &'a mut Scratch,
    job: Job<'b>,
}

impl WithSimd for Run<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { cell, x, samples, scratch: Scratch { now, next }, mut job } = self;
        let (width, h_len) = (cell.machine.width, cell.panel());
        now[..h_len].copy_from_slice(job.h);
        for (step, x) in x.chunks_exact(samples * cell.inputs).enumerate() {
            let x = &x[job.first * cell.inputs..][..job.live * cell.inputs];
            panel::load(x, cell.inputs, &mut now[h_len..], width);
            let (joined, h) = (rows::<S>(now), rows_mut::<S>(&mut next[..h_len]));
            cell.step_panel(simd, Step { joined, c: rows_mut::<S>(job.c), h, gates: &mut [] });
            std::mem::swap(now, next);
            if let Some(out) = job.out.get_mut(step) {
                panel::store(&now[..h_len], width, out, cell.hidden);
            }
        }
        job.h.copy_from_slice(&now[..h_len]);
    }
}
