//! The Q-network: what leaving a host alone is worth, and how much more or less each plan for emptying it is.
//!
//! Duelling (Wang et al. 2016, *Dueling Network Architectures*), with leaving the host alone as the action whose advantage is
//! nothing: `Q(leave) = V(host, fleet)`, `Q(plan) = V(host, fleet) + A(host, fleet, plan)`. One plan at a time through shared
//! weights, so that their number does not depend on the fleet's. Several members, trained apart, tell by how they differ how
//! sure they are (Osband et al. 2016, *Deep Exploration via Bootstrapped DQN*).

use ballast_core::policy::ranked::{FEATURES, OWN, Question, SHARED};

/// Members of an ensemble.
pub const MEMBERS: usize = 3;

/// Tensors of one member.
pub const TENSORS: usize = 10;

/// Names of the tensors, in order: matrices as `[inputs, outputs]`, each with its bias.
pub const TENSOR_NAMES: [&str; TENSORS] = [
    "value.0.weight",
    "value.0.bias",
    "value.1.weight",
    "value.1.bias",
    "advantage.0.weight",
    "advantage.0.bias",
    "advantage.1.weight",
    "advantage.1.bias",
    "advantage.2.weight",
    "advantage.2.bias",
];

const VALUE_UNITS: usize = 32;
const FIRST_UNITS: usize = 64;
const SECOND_UNITS: usize = 32;

/// Shapes of the tensors; a bias has one dimension.
pub const SHAPES: [&[usize]; TENSORS] = [
    &[SHARED, VALUE_UNITS],
    &[VALUE_UNITS],
    &[VALUE_UNITS, 1],
    &[1],
    &[FEATURES, FIRST_UNITS],
    &[FIRST_UNITS],
    &[FIRST_UNITS, SECOND_UNITS],
    &[SECOND_UNITS],
    &[SECOND_UNITS, 1],
    &[1],
];

/// One network.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its tensors as [`TENSOR_NAMES`] and [`SHAPES`] have them, row by row.
    pub tensors: [Vec<f32>; TENSORS],
}

impl Member {
    /// Small random weights (He et al. 2015) and no bias; the last layers begin at nothing, so that a new network finds no plan
    /// better than leaving a host alone, nor worse. `luck` gives random numbers from 0 to 1.
    pub fn new(luck: &mut dyn FnMut() -> f32) -> Self {
        let tensors = std::array::from_fn(|index| {
            let shape = SHAPES[index];
            let is_last = shape.last() == Some(&1);
            let reach = if shape.len() == 1 || is_last { 0.0 } else { (6.0 / units(shape[0])).sqrt() };
            (0..shape.iter().product()).map(|_| (luck() * 2.0 - 1.0) * reach).collect()
        });
        Self { tensors }
    }

    /// What leaving the host alone is worth.
    pub fn value(&self, shared: &[f32; SHARED]) -> f32 {
        let mut hidden = [0.0; VALUE_UNITS];
        dense(shared, &self.tensors[0], &self.tensors[1], &mut hidden);
        rectify(&mut hidden);
        let mut out = [0.0];
        dense(&hidden, &self.tensors[2], &self.tensors[3], &mut out);
        out[0]
    }

    /// How much more a plan is worth than leaving the host alone.
    pub fn advantage(&self, shared: &[f32; SHARED], own: &[f32; OWN]) -> f32 {
        let mut all = [0.0; FEATURES];
        all[..SHARED].copy_from_slice(shared);
        all[SHARED..].copy_from_slice(own);
        let mut first = [0.0; FIRST_UNITS];
        dense(&all, &self.tensors[4], &self.tensors[5], &mut first);
        rectify(&mut first);
        let mut second = [0.0; SECOND_UNITS];
        dense(&first, &self.tensors[6], &self.tensors[7], &mut second);
        rectify(&mut second);
        let mut out = [0.0];
        dense(&second, &self.tensors[8], &self.tensors[9], &mut out);
        out[0]
    }

    /// The plan that is worth most; `None` where none is worth more than leaving the host alone.
    pub fn best(&self, question: &Question) -> Option<usize> {
        best(question.plans.iter().map(|own| self.advantage(&question.shared, own)))
    }

    /// True where every weight is a number.
    pub fn is_sound(&self) -> bool {
        self.tensors.iter().flatten().all(|weight| weight.is_finite())
    }
}

/// `out = x W + b`, row by row, so that the compiler puts the outputs into lanes.
fn dense(x: &[f32], weight: &[f32], bias: &[f32], out: &mut [f32]) {
    out.copy_from_slice(bias);
    for (x, row) in x.iter().zip(weight.chunks_exact(out.len())) {
        for (out, weight) in out.iter_mut().zip(row) {
            *out += x * weight;
        }
    }
}

fn rectify(values: &mut [f32]) {
    values.iter_mut().for_each(|value| *value = value.max(0.0));
}

#[allow(clippy::cast_precision_loss)] // Units of a layer.
fn units(number: usize) -> f32 {
    number as f32
}

/// The first of the largest advantages; `None` where none is more than nothing.
pub fn best(advantages: impl Iterator<Item = f32>) -> Option<usize> {
    let best = advantages.enumerate().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
    best.filter(|(_, advantage)| *advantage > 0.0).map(|(plan, _)| plan)
}

/// What an ensemble thinks of a plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// Mean advantage over leaving the host alone.
    pub mean: f32,
    /// Standard deviation over the members.
    pub deviation: f32,
}

/// Several networks that judge together.
#[derive(Debug, Clone, PartialEq)]
pub struct Ensemble {
    /// The networks.
    pub members: Vec<Member>,
}

impl Ensemble {
    /// New networks; `luck` gives random numbers from 0 to 1.
    pub fn new(luck: &mut dyn FnMut() -> f32) -> Self {
        Self { members: (0..MEMBERS).map(|_| Member::new(luck)).collect() }
    }

    /// What it thinks of a plan.
    pub fn judge(&self, shared: &[f32; SHARED], own: &[f32; OWN]) -> Judgement {
        let count = units(self.members.len().max(1));
        let all: Vec<f32> = self.members.iter().map(|member| member.advantage(shared, own)).collect();
        let mean = all.iter().sum::<f32>() / count;
        let variance = all.iter().map(|one| (one - mean).powi(2)).sum::<f32>() / count;
        Judgement { mean, deviation: variance.sqrt() }
    }
}
