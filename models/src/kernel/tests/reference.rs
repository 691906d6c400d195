//! The cells' and the layer's equations written out in `f64`, sample by sample, and random numbers to feed them.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::kernel::{
    cell::{Cell, CellKind, CellWeights, State},
    panel::Machine,
};

/// Numbers between `-scale` and `scale`.
pub(super) fn random(seed: u64, len: usize, scale: f32) -> Vec<f32> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-scale..scale)).collect()
}

pub(super) fn weights(kind: CellKind, inputs: usize, hidden: usize, seed: u64) -> CellWeights {
    let weights = random(seed, (hidden + inputs) * kind.gates() * hidden, 0.4);
    CellWeights::new(kind, inputs, hidden, weights, random(seed + 1, 4 * hidden, 0.5)).unwrap()
}

/// A state with random rows.
pub(super) fn state(cell: &Cell, rows: usize, seed: u64) -> State {
    let mut state = cell.state(rows);
    for row in 0..rows {
        let values = random(seed + u64::try_from(row).unwrap(), state.row_len(), 0.8);
        state.set_row(row, &values).unwrap();
    }
    state
}

/// This processor's vector units, from the widest to none.
pub(super) fn machines() -> Vec<Machine> {
    let mut machines = vec![Machine::detect(), Machine::of(pulp::Arch::Scalar)];
    #[cfg(target_arch = "x86_64")]
    machines.extend(pulp::x86::V3::try_new().map(|v3| Machine::of(pulp::Arch::V3(v3))));
    machines
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Weights in `f64`, so that they can be moved by differences that `f32` would swallow.
#[derive(Clone)]
pub(super) struct Exact {
    kind: CellKind,
    inputs: usize,
    hidden: usize,
    pub(super) weights: Vec<f64>,
    pub(super) bias: Vec<f64>,
}

impl Exact {
    pub(super) fn of(weights: &CellWeights) -> Self {
        let wide = |values: &[f32]| values.iter().copied().map(f64::from).collect();
        Self {
            kind: weights.kind(),
            inputs: weights.inputs(),
            hidden: weights.hidden(),
            weights: wide(weights.weights()),
            bias: wide(weights.bias()),
        }
    }

    fn sum(&self, h: &[f64], x: &[f64], gate: usize, unit: usize) -> f64 {
        let columns = self.kind.gates() * self.hidden;
        let column = gate * self.hidden + unit;
        h.iter().enumerate().map(|(row, h)| h * self.weights[row * columns + column]).sum::<f64>()
            + x.iter().enumerate().map(|(row, x)| x * self.weights[(self.hidden + row) * columns + column]).sum::<f64>()
    }

    fn step(&self, h: &[f64], c: &[f64], x: &[f64]) -> (Vec<f64>, Vec<f64>) {
        (0..self.hidden)
            .map(|unit| {
                let bias = |gate: usize| self.bias[gate * self.hidden + unit];
                let gate = |gate| self.sum(h, x, gate, unit) + bias(gate);
                match self.kind {
                    CellKind::Lstm => {
                        let c = sigmoid(gate(0)) * c[unit] + sigmoid(gate(1)) * gate(3).tanh();
                        (sigmoid(gate(2)) * c.tanh(), c)
                    }
                    CellKind::Gru => {
                        let (r, z) = (sigmoid(gate(0)), sigmoid(gate(1)));
                        let recurrent = self.sum(h, &[], 2, unit) + bias(3);
                        let fresh = self.sum(&[], x, 2, unit) + bias(2);
                        let n = (fresh + r * recurrent).tanh();
                        ((1.0 - z) * n + z * h[unit], 0.0)
                    }
                }
            })
            .unzip()
    }

    /// h of all steps, `[steps][rows][hidden]`, from `x`, `[steps][rows][inputs]`, and a starting state.
    pub(super) fn sequence(&self, x: &[f64], state: &State) -> Vec<f64> {
        let rows = state.rows();
        let steps = x.len() / (rows * self.inputs);
        let mut out = vec![0.0; steps * rows * self.hidden];
        for row in 0..rows {
            let start: Vec<f64> = state.row(row).unwrap().into_iter().map(f64::from).collect();
            let (mut h, mut c) = (start[..self.hidden].to_vec(), start[self.hidden..].to_vec());
            c.resize(self.hidden, 0.0);
            for step in 0..steps {
                let x = &x[(step * rows + row) * self.inputs..][..self.inputs];
                (h, c) = self.step(&h, &c, x);
                out[(step * rows + row) * self.hidden..][..self.hidden].copy_from_slice(&h);
            }
        }
        out
    }
}

pub(super) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// Asserts that both are as long and nowhere further apart than `tolerance`.
#[track_caller]
pub(super) fn assert_close(actual: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len());
    for (index, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        let distance = (f64::from(*actual) - expected).abs();
        assert!(distance <= tolerance, "at {index}: {actual} instead of {expected}");
    }
}
