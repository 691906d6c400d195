//! Inference of a dense layer.

use pulp::{Simd, WithSimd};

use crate::kernel::{
    cell::State,
    dense::Dense,
    error::{ShapeError, expect_size},
    matmul::multiply,
    panel::{self, Row, rows, rows_mut},
    threads::Threads,
};

/// Where a tile's inputs come from.
enum Source<'a> {
    /// Row-major samples.
    Samples(&'a [f32]),
    /// A panel as it stands.
    Panel(&'a [f32]),
}

/// Panels of inputs and outputs.
struct Scratch {
    x: Vec<f32>,
    y: Vec<f32>,
}

impl Dense {
    /// `y = activation(x·W + b)`: `x` is `[rows][inputs]`, `y` is `[rows][outputs]`.
    pub fn forward(&self, x: &[f32], y: &mut [f32], threads: Threads) -> Result<(), ShapeError> {
        let rows = x.len() / self.inputs;
        expect_size("x", x.len(), rows * self.inputs)?;
        let tiles = x.chunks(self.machine.width * self.inputs).map(Source::Samples);
        self.run(tiles, rows, y, threads)
    }

    /// As [`Self::forward`], of h of a cell's states.
    pub fn forward_state(&self, state: &State, y: &mut [f32], threads: Threads) -> Result<(), ShapeError> {
        expect_size("state.hidden", state.hidden(), self.inputs)?;
        expect_size("state's lanes", state.width(), self.machine.width)?;
        let tiles = state.h.chunks(self.machine.width * self.inputs).map(Source::Panel);
        self.run(tiles, state.rows(), y, threads)
    }

    fn run<'a>(
        &self,
        tiles: impl Iterator<Item = Source<'a>>,
        rows: usize,
        y: &mut [f32],
        threads: Threads,
    ) -> Result<(), ShapeError> {
        expect_size("y", y.len(), rows * self.outputs)?;
        let jobs = tiles.zip(y.chunks_mut(self.machine.width * self.outputs)).collect();
        threads.run(
            jobs,
            || self.scratch(),
            |scratch, (source, y)| self.machine.run(Forward { dense: self, scratch, source, y }),
        );
        Ok(())
    }

    fn scratch(&self) -> Scratch {
        let width = self.machine.width;
        Scratch { x: vec![0.0; self.inputs * width], y: vec![0.0; self.output_rows() * width] }
    }

    /// A panel of outputs from a panel of inputs.
    #[inline(always)]
    pub(super) fn forward_panel<S: Simd>(&self, simd: S, x: &[Row<S>], y: &mut [Row<S>]) {
        multiply(simd, &self.forward, &self.bias, x, y);
        for value in y.iter_mut().flatten() {
            *value = self.activation.apply(simd, *value);
        }
    }
}

/// The work of one panel.
struct Forward<'a, 'b> {
    dense: &'a Dense,
    scratch: &'a mut Scratch,
    source: Source<'b>,
    y: &'a mut [f32],
}

impl WithSimd for Forward<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { dense, scratch, source, y } = self;
        let width = dense.machine.width;
        let x = match source {
            Source::Samples(samples) => {
                panel::load(samples, dense.inputs, &mut scratch.x, width);
                &scratch.x
            }
            Source::Panel(panel) => panel,
        };
        dense.forward_panel(simd, rows::<S>(x), rows_mut::<S>(&mut scratch.y));
        panel::store(&scratch.y, width, y, dense.outputs);
    }
}
