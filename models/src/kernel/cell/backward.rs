//! Back through time, truncated at the state the sequence began with.

use pulp::{Simd, WithSimd};

use crate::kernel::{
    cell::{
        Cell, CellGradients, CellKind, GATES, Tape,
        expanded::fold,
        sequence::split,
        tape::Tile,
        unit::{Back, Gru, Lstm, Past, Unit},
    },
    error::{ShapeError, expect_size},
    matmul::{Panels, multiply, outer, outer_scratch},
    panel::{self, Row, VECTORS, rows, rows_mut},
    threads::Threads,
};

/// The loss's gradient with respect to h, as far as it does not come by way of later steps.
#[derive(Debug, Clone, Copy)]
pub enum HiddenGradient<'a> {
    /// Of every step, `[steps][rows][hidden]`.
    Every(&'a [f32]),
    /// Of the last step only, `[rows][hidden]`; the others are zero.
    Last(&'a [f32]),
}

impl<'a> HiddenGradient<'a> {
    fn check(&self, tape: &Tape) -> Result<(), ShapeError> {
        match self {
            Self::Every(values) => expect_size("d_hidden", values.len(), tape.steps * tape.rows * tape.hidden),
            Self::Last(values) => expect_size("d_hidden", values.len(), tape.rows * tape.hidden),
        }
    }

    /// The part of one tile in one step.
    #[inline(always)]
    fn at(&self, step: usize, steps: usize, len: usize, first: usize, live: usize) -> Option<&'a [f32]> {
        match self {
            Self::Every(values) => values.get(step * len..)?.get(first..first + live),
            Self::Last(values) if step + 1 == steps => values.get(first..first + live),
            Self::Last(_) => None,
        }
    }
}

/// What one tile works in while going backward.
#[derive(Debug, Clone, Default)]
pub(super) struct Scratch {
    /// `[joined rows][4 · hidden]`: the tile's gradient of the weights.
    pub(super) weights: Vec<f32>,
    /// Gradients with respect to `[h₋₁ | x]` of a step, in whole blocks.
    joined: Vec<f32>,
    dh: Vec<f32>,
    dc: Vec<f32>,
    /// The step's own part of the gradient with respect to h.
    incoming: Vec<f32>,
    /// Rows of all steps' gates that are multiplied at once.
    gathered: Vec<f32>,
}

impl Cell {
    /// Adds to `gradients` those of the last forward pass on `tape`, given `d_hidden`. The gates on the tape are used up:
    /// a second call needs a second forward pass. `d_inputs` takes the gradient with respect to x,
    /// `[steps][rows][inputs]`, if wanted.
    pub fn backward(
        &self,
        tape: &mut Tape,
        d_hidden: HiddenGradient<'_>,
        gradients: &mut CellGradients,
        d_inputs: Option<&mut [f32]>,
        threads: Threads,
    ) -> Result<(), ShapeError> {
        self.check(tape, gradients)?;
        d_hidden.check(tape)?;
        if let Some(d_inputs) = &d_inputs {
            expect_size("d_inputs", d_inputs.len(), tape.steps * tape.rows * self.inputs)?;
        }
        let shape = Shape { steps: tape.steps, samples: tape.rows, joined: tape.joined_rows() };
        let mut outputs = split(d_inputs, tape.rows, self.inputs, self.machine.width).into_iter();
        let jobs = tape.tiles.iter_mut().map(|tile| (tile, outputs.next().unwrap_or_default())).collect();
        threads.run(
            jobs,
            || (),
            |(), (tile, d_inputs)| {
                self.machine.run(Return { cell: self, shape, d_hidden, tile, d_inputs });
            },
        );
        tape.tiles.iter().for_each(|tile| fold(self.kind, self.hidden, &tile.back.weights, gradients));
        Ok(())
    }

    fn check(&self, tape: &Tape, gradients: &CellGradients) -> Result<(), ShapeError> {
        expect_size("tape.inputs", tape.inputs, self.inputs)?;
        expect_size("tape.hidden", tape.hidden, self.hidden)?;
        expect_size("tape's lanes", tape.width, self.machine.width)?;
        let columns = self.kind.gates() * self.hidden;
        expect_size("gradients.weights", gradients.weights.len(), (self.hidden + self.inputs) * columns)?;
        expect_size("gradients.bias", gradients.bias.len(), GATES * self.hidden)
    }

    fn prepare_back(&self, scratch: &mut Scratch, Shape { steps, joined: joined_rows, .. }: Shape) {
        let panel = self.panel();
        scratch.weights.resize(joined_rows * GATES * self.hidden, 0.0);
        let rows = (self.hidden + self.inputs).next_multiple_of(self.machine.block);
        scratch.joined.resize(rows * self.machine.width, 0.0);
        scratch.incoming.resize(panel, 0.0);
        scratch.gathered.resize(outer_scratch(steps, self.machine.width), 0.0);
        for carried in [&mut scratch.dh, &mut scratch.dc] {
            carried.clear();
            carried.resize(panel, 0.0);
        }
    }
}

/// Sizes of a forward pass.
#[derive(Debug, Clone, Copy)]
struct Shape {
    steps: usize,
    samples: usize,
    /// Rows of a panel of `[h₋₁ | x | 1 | 0…]`.
    joined: usize,
}

/// The work of one panel.
struct Return<'a, 'b> {
    cell: &'a Cell,
    shape: Shape,
    d_hidden: HiddenGradient<'a>,
    tile: &'a mut Tile,
    d_inputs: Vec<&'b mut [f32]>,
}

impl WithSimd for Return<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        self.cell.prepare_back(&mut self.tile.back, self.shape);
        for step in (0..self.shape.steps).rev() {
            self.receive(simd, step);
            match self.cell.kind {
                CellKind::Lstm => self.through_units::<S, Lstm>(simd, step),
                CellKind::Gru => self.through_units::<S, Gru>(simd, step),
            }
            self.through_weights(simd, step);
        }
        let Tile { joined, gates, back, .. } = &mut *self.tile;
        let left = &joined[..self.shape.steps * self.shape.joined * self.cell.machine.width];
        let left = Panels { data: rows::<S>(left), rows: self.shape.joined };
        let right = Panels { data: rows::<S>(gates), rows: GATES * self.cell.hidden };
        outer(simd, left, right, rows_mut::<S>(&mut back.gathered), &mut back.weights);
    }
}

impl Return<'_, '_> {
    /// Adds the step's own gradient to what came back from later steps.
    #[inline(always)]
    fn receive<S: Simd>(&mut self, simd: S, step: usize) {
        let (hidden, width, Tile { first, live, back, .. }) =
            (self.cell.hidden, self.cell.machine.width, &mut *self.tile);
        let len = self.shape.samples * hidden;
        let Some(own) = self.d_hidden.at(step, self.shape.steps, len, *first * hidden, *live * hidden) else { return };
        panel::load(own, hidden, &mut back.incoming, width);
        add::<S>(simd, &mut back.dh, &back.incoming);
    }

    /// From the gradients after the step to those of its gates, which take the gates' place, and of its cell values.
    #[inline(always)]
    fn through_units<S: Simd, U: Unit>(&mut self, simd: S, step: usize) {
        let hidden = self.cell.hidden;
        let Tile { joined, c, gates, back, .. } = &mut *self.tile;
        let zero = [simd.splat_f32s(0.0); VECTORS];
        let joined = &rows::<S>(joined)[step * self.shape.joined..][..hidden];
        let cells = rows::<S>(c).get(step * hidden..).unwrap_or_default();
        let gates = &mut rows_mut::<S>(gates)[step * GATES * hidden..][..GATES * hidden];
        let (dh, dc) = (&mut rows_mut::<S>(&mut back.dh)[..hidden], &mut rows_mut::<S>(&mut back.dc)[..hidden]);
        for unit in 0..hidden {
            let cell_at = |index| cells.get(index).copied().unwrap_or(zero);
            let past = Past {
                gates: std::array::from_fn(|gate| gates[gate * hidden + unit]),
                c_before: cell_at(unit),
                h_before: joined[unit],
                c: cell_at(hidden + unit),
                dh: dh[unit],
                dc: dc[unit],
            };
            let back = through_unit::<S, U>(simd, past);
            (dc[unit], dh[unit]) = (back.dc, back.dh);
            (0..GATES).for_each(|gate| gates[gate * hidden + unit] = back.gates[gate]);
        }
    }

    /// From the gates' gradients to those of `[h₋₁ | x]`; those of x only if they are wanted.
    #[inline(always)]
    fn through_weights<S: Simd>(&mut self, simd: S, step: usize) {
        let (cell, wanted) = (self.cell, self.d_inputs.get_mut(step));
        let (hidden, width) = (cell.hidden, cell.machine.width);
        let Tile { gates, back, .. } = &mut *self.tile;
        let gates = &rows::<S>(gates)[step * GATES * hidden..][..GATES * hidden];
        let needed = if wanted.is_some() { hidden + cell.inputs } else { hidden };
        let needed = needed.next_multiple_of(cell.machine.block) * width;
        multiply(simd, &cell.backward, &[], gates, rows_mut::<S>(&mut back.joined[..needed]));
        add::<S>(simd, &mut back.dh, &back.joined);
        if let Some(d_inputs) = wanted {
            panel::store(&back.joined[hidden * width..], width, d_inputs, cell.inputs);
        }
    }
}

/// [`Unit::backward`] of a row.
#[inline(always)]
fn through_unit<S: Simd, U: Unit>(simd: S, past: Past<Row<S>>) -> Back<Row<S>> {
    let zero = [simd.splat_f32s(0.0); VECTORS];
    let mut back = Back { gates: [zero; GATES], dc: zero, dh: zero };
    for v in 0..VECTORS {
        let one = U::backward(
            simd,
            Past {
                gates: past.gates.map(|row| row[v]),
                c_before: past.c_before[v],
                h_before: past.h_before[v],
                c: past.c[v],
                dh: past.dh[v],
                dc: past.dc[v],
            },
        );
        (back.dc[v], back.dh[v]) = (one.dc, one.dh);
        (0..GATES).for_each(|gate| back.gates[gate][v] = one.gates[gate]);
    }
    back
}

/// Adds `other` to `sum`, as far as both go.
#[inline(always)]
fn add<S: Simd>(simd: S, sum: &mut [f32], other: &[f32]) {
    for (sum, other) in rows_mut::<S>(sum).iter_mut().zip(rows::<S>(other)) {
        for v in 0..VECTORS {
            sum[v] = simd.add_f32s(sum[v], other[v]);
        }
    }
}
