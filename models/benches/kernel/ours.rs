//! The kernel's side of a case.

use ballast_models::kernel::{
    cell::{Cell, CellGradients, CellKind, CellWeights, HiddenGradient, State, Tape},
    dense::{Activation, Dense, DenseGradients, DenseTape, DenseWeights},
    error::ShapeError,
    threads::Threads,
};
use rayon::ThreadPool;

use crate::{
    case::{Case, Kind, OUTPUTS},
    clock::{Taken, time},
};

const QUANTILES: [f32; 3] = [0.1, 0.5, 0.9];

/// A model, its data and its buffers.
pub(crate) struct Ours {
    case: Case,
    pool: ThreadPool,
    threads: Threads,
    cell: Cell,
    head: Dense,
    x: Vec<f32>,
    target: Vec<f32>,
    state: State,
    y: Vec<f32>,
    training: Training,
}

/// What only training needs.
struct Training {
    tape: Tape,
    head_tape: DenseTape,
    gradients: CellGradients,
    head_gradients: DenseGradients,
    hidden: Vec<f32>,
    d_hidden: Vec<f32>,
    dy: Vec<f32>,
}

impl Ours {
    pub(crate) fn new(case: Case) -> Result<Self, Box<dyn std::error::Error>> {
        let Case { steps, inputs, hidden, rows, threads, .. } = case;
        let weights = numbers(1, (hidden + inputs) * 4 * hidden, 0.2);
        let weights = CellWeights::new(CellKind::Lstm, inputs, hidden, weights, numbers(2, 4 * hidden, 0.2))?;
        let head = numbers(3, hidden * OUTPUTS, 0.2);
        let head = DenseWeights::new(Activation::Identity, hidden, OUTPUTS, head, numbers(4, OUTPUTS, 0.2))?;
        let cell = Cell::new(&weights);
        let batch = if case.kind == Kind::Training { rows } else { 0 };
        Ok(Self {
            case,
            pool: rayon::ThreadPoolBuilder::new().num_threads(threads).build()?,
            threads: if threads == 1 { Threads::One } else { Threads::Pool },
            x: numbers(5, steps * rows * inputs, 1.0),
            target: numbers(6, batch * OUTPUTS, 1.0),
            state: cell.state(rows),
            y: vec![0.0; rows * OUTPUTS],
            training: Training {
                tape: Tape::new(),
                head_tape: DenseTape::new(),
                gradients: CellGradients::zeros(&weights),
                head_gradients: DenseGradients::zeros(&head),
                hidden: vec![0.0; batch * hidden],
                d_hidden: vec![0.0; batch * hidden],
                dy: vec![0.0; batch * OUTPUTS],
            },
            cell,
            head: Dense::new(&head),
        })
    }

    /// Does the case once and says how long it took.
    pub(crate) fn measure(&mut self) -> Result<Taken, ShapeError> {
        let mut result = Ok(());
        let taken = time(|| result = (0..self.case.repeats).try_for_each(|_| self.run()));
        result.map(|()| taken)
    }

    /// Outputs of the first sample, to compare with the peers'.
    pub(crate) fn outputs(&self) -> &[f32] {
        self.y.get(..OUTPUTS).unwrap_or_default()
    }

    fn run(&mut self) -> Result<(), ShapeError> {
        let Self { case, pool, threads, cell, head, x, target, state, y, training } = self;
        pool.install(|| match case.kind {
            Kind::Windows => {
                state.clear();
                cell.sequence(x, state, None, *threads)?;
                head.forward_state(state, y, *threads)
            }
            Kind::Step | Kind::Rerun => cell.sequence(x, state, None, *threads),
            Kind::Training => training.run(cell, head, (x, target, state, y), *threads),
        })
    }
}

impl Training {
    fn run(
        &mut self,
        cell: &Cell,
        head: &Dense,
        (x, target, state, y): (&[f32], &[f32], &State, &mut [f32]),
        threads: Threads,
    ) -> Result<(), ShapeError> {
        self.gradients.clear();
        self.head_gradients.clear();
        cell.forward_train(x, state, &mut self.tape, threads)?;
        self.tape.write_last_hidden(&mut self.hidden)?;
        head.forward_train(&self.hidden, y, &mut self.head_tape, threads)?;
        pinball(y, target, &mut self.dy);
        let d_hidden = Some(self.d_hidden.as_mut_slice());
        head.backward(&mut self.head_tape, &self.dy, &mut self.head_gradients, d_hidden, threads)?;
        cell.backward(&mut self.tape, HiddenGradient::Last(&self.d_hidden), &mut self.gradients, None, threads)
    }
}

/// Gradient of the mean pinball loss.
fn pinball(y: &[f32], target: &[f32], dy: &mut [f32]) {
    let share = 1.0 / y.len() as f32;
    for ((y, target), (dy, quantile)) in y.iter().zip(target).zip(dy.iter_mut().zip(QUANTILES.iter().cycle())) {
        *dy = if y > target { (1.0 - quantile) * share } else { -quantile * share };
    }
}

/// Numbers between `-scale` and `scale` that `peers.py` makes too: a multiplicative hash of their index.
fn numbers(seed: u32, len: usize, scale: f32) -> Vec<f32> {
    let start = seed.wrapping_mul(0x9E37_79B9);
    (0_u32..)
        .take(len)
        .map(|index| {
            let hash = index.wrapping_add(start).wrapping_mul(2_654_435_761);
            let hash = (hash ^ (hash >> 15)).wrapping_mul(0x85EB_CA6B);
            let bits = u16::try_from((hash ^ (hash >> 13)) >> 16).unwrap_or_default();
            (f32::from(bits) / 32_768.0 - 1.0) * scale
        })
        .collect()
}
