//! Training of a dense layer: forward with a tape, and backward.

use pulp::{Simd, WithSimd};

use crate::kernel::{
    dense::{Dense, DenseGradients},
    error::{ShapeError, expect_size, expect_some},
    matmul::{OUTER_LEFT, Panels, multiply, outer, outer_scratch},
    panel::{self, VECTORS, rows, rows_mut},
    threads::Threads,
};

/// What a forward pass keeps. Reusable: its buffers grow to the largest batch and stay.
#[derive(Debug, Clone, Default)]
pub struct DenseTape {
    rows: usize,
    inputs: usize,
    outputs: usize,
    width: usize,
    tiles: Vec<Tile>,
}

/// One panel's part of a tape.
#[derive(Debug, Clone, Default)]
struct Tile {
    /// `[left rows][width]`: `[x | 1 | 0…]`. The ones make the biases' gradient a row of the weights'.
    x: Vec<f32>,
    /// `[output rows][width]`: the outputs, and going backward the gradients of the sums in their place.
    y: Vec<f32>,
    /// Going backward: gradients with respect to the outputs, and to the inputs.
    dy: Vec<f32>,
    dx: Vec<f32>,
    /// `[left rows][output rows]`: the tile's gradient of the weights.
    weights: Vec<f32>,
    /// Rows of outputs that are multiplied at once.
    gathered: Vec<f32>,
}

impl DenseTape {
    /// An empty tape.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Dense {
    /// As [`Self::forward`], and keeps on `tape` what [`Self::backward`] needs.
    pub fn forward_train(
        &self,
        x: &[f32],
        y: &mut [f32],
        tape: &mut DenseTape,
        threads: Threads,
    ) -> Result<(), ShapeError> {
        let rows = x.len() / self.inputs;
        expect_some("rows", rows)?;
        expect_size("x", x.len(), rows * self.inputs)?;
        expect_size("y", y.len(), rows * self.outputs)?;
        self.prepare(tape, rows);
        let width = self.machine.width;
        let samples = x.chunks(width * self.inputs).zip(y.chunks_mut(width * self.outputs));
        let jobs = tape.tiles.iter_mut().zip(samples).collect();
        threads.run(
            jobs,
            || (),
            |(), (tile, (x, y))| {
                self.machine.run(Record { dense: self, tile, x, y });
            },
        );
        Ok(())
    }

    /// Adds to `gradients` those of the last forward pass on `tape`, given the loss's gradient with respect to y,
    /// `[rows][outputs]`. The outputs on the tape are used up. `dx` takes the gradient with respect to x,
    /// `[rows][inputs]`, if wanted.
    pub fn backward(
        &self,
        tape: &mut DenseTape,
        dy: &[f32],
        gradients: &mut DenseGradients,
        dx: Option<&mut [f32]>,
        threads: Threads,
    ) -> Result<(), ShapeError> {
        self.check(tape, gradients)?;
        expect_size("dy", dy.len(), tape.rows * self.outputs)?;
        if let Some(dx) = &dx {
            expect_size("dx", dx.len(), tape.rows * self.inputs)?;
        }
        let width = self.machine.width;
        let mut inputs = dx.map(|dx| dx.chunks_mut(width * self.inputs));
        let jobs = tape.tiles.iter_mut().zip(dy.chunks(width * self.outputs));
        let jobs = jobs.map(|(tile, dy)| (tile, dy, inputs.as_mut().and_then(Iterator::next))).collect();
        threads.run(
            jobs,
            || (),
            |(), (tile, dy, dx)| {
                self.machine.run(Return { dense: self, tile, dy, dx });
            },
        );
        tape.tiles.iter().for_each(|tile| self.fold(&tile.weights, gradients));
        Ok(())
    }

    fn check(&self, tape: &DenseTape, gradients: &DenseGradients) -> Result<(), ShapeError> {
        expect_size("tape.inputs", tape.inputs, self.inputs)?;
        expect_size("tape.outputs", tape.outputs, self.outputs)?;
        expect_size("tape's lanes", tape.width, self.machine.width)?;
        expect_size("gradients.weights", gradients.weights.len(), self.inputs * self.outputs)?;
        expect_size("gradients.bias", gradients.bias.len(), self.outputs)
    }

    /// Rows of a panel of `[x | 1 | 0…]`.
    fn left_rows(&self) -> usize {
        (self.inputs + 1).next_multiple_of(OUTER_LEFT)
    }

    /// Sizes the tape's buffers and writes the rows of ones.
    fn prepare(&self, tape: &mut DenseTape, rows: usize) {
        let width = self.machine.width;
        if (tape.inputs, tape.outputs, tape.width) != (self.inputs, self.outputs, width) {
            *tape = DenseTape { rows: 0, inputs: self.inputs, outputs: self.outputs, width, tiles: Vec::new() };
        }
        tape.rows = rows;
        tape.tiles.resize_with(self.machine.panels(rows), || self.tile());
    }

    fn tile(&self) -> Tile {
        let (width, left, right) = (self.machine.width, self.left_rows(), self.output_rows());
        let mut x = vec![0.0; left * width];
        x[self.inputs * width..][..width].fill(1.0);
        Tile {
            x,
            y: vec![0.0; right * width],
            dy: vec![0.0; right * width],
            dx: vec![0.0; self.inputs.next_multiple_of(self.machine.block) * width],
            weights: vec![0.0; left * right],
            gathered: vec![0.0; outer_scratch(1, width)],
        }
    }

    /// Adds a tile's gradients, `[left rows][output rows]`, to `sum`. Row `inputs` is the biases'.
    fn fold(&self, tile: &[f32], sum: &mut DenseGradients) {
        let mut rows = tile.chunks_exact(self.output_rows());
        for (to, from) in sum.weights.chunks_exact_mut(self.outputs).zip(rows.by_ref().take(self.inputs)) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
        let from = rows.next().unwrap_or_default();
        sum.bias.iter_mut().zip(from).for_each(|(to, from)| *to += from);
    }
}

/// Going forward with one panel.
struct Record<'a> {
    dense: &'a Dense,
    tile: &'a mut Tile,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Record<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { dense, tile, x, y } = self;
        let width = dense.machine.width;
        panel::load(x, dense.inputs, &mut tile.x, width);
        dense.forward_panel(simd, rows::<S>(&tile.x), rows_mut::<S>(&mut tile.y));
        panel::store(&tile.y, width, y, dense.outputs);
    }
}

/// Going backward with one panel.
struct Return<'a> {
    dense: &'a Dense,
    tile: &'a mut Tile,
    dy: &'a [f32],
    dx: Option<&'a mut [f32]>,
}

impl WithSimd for Return<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { dense, tile, dy, dx } = self;
        let width = dense.machine.width;
        panel::load(dy, dense.outputs, &mut tile.dy, width);
        for (y, dy) in rows_mut::<S>(&mut tile.y).iter_mut().zip(rows::<S>(&tile.dy)) {
            for v in 0..VECTORS {
                y[v] = dense.activation.back(simd, dy[v], y[v]);
            }
        }
        let sums = rows::<S>(&tile.y);
        let left = Panels { data: rows::<S>(&tile.x), rows: dense.left_rows() };
        let right = Panels { data: sums, rows: dense.output_rows() };
        outer(simd, left, right, rows_mut::<S>(&mut tile.gathered), &mut tile.weights);
        if let Some(dx) = dx {
            multiply(simd, &dense.backward, &[], sums, rows_mut::<S>(&mut tile.dx));
            panel::store(&tile.dx, width, dx, dense.inputs);
        }
    }
}
