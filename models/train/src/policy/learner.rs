//! One member of the ensemble in burn: its module, its optimiser and one step of double Q-learning (van Hasselt et al. 2016,
//! *Deep Reinforcement Learning with Double Q-learning*) on what was drawn.

use ballast_core::policy::ranked::{FEATURES, OWN, Question, SHARED};
use ballast_models::policy::network::{Member, SHAPES, TENSORS};
use burn::{
    grad_clipping::GradientClippingConfig,
    module::{Module, Param, ParamId},
    optim::{AdamWConfig, GradientsParams, ModuleOptimizer},
    tensor::{Device, Tensor, TensorData, activation::relu},
};

use super::replay::Experience;
use crate::optimizer;

/// Largest norm of a gradient.
const NORM_MAX: f32 = 10.0;

/// A matrix and a bias.
#[derive(Module, Debug)]
struct Layer {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Layer {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.val()) + self.bias.val().unsqueeze()
    }
}

/// A member as a module of burn's: the value's two layers, then the advantage's three.
#[derive(Module, Debug)]
struct Net {
    layers: Vec<Layer>,
}

impl Net {
    fn new(member: &Member, device: &Device) -> Self {
        let data = |index: usize| TensorData::new(member.tensors[index].clone(), SHAPES[index].to_vec());
        let id = |index: usize| ParamId::from(1 + index as u64);
        let layer = |index: usize| Layer {
            weight: Param::initialized(id(index), Tensor::<2>::from_data(data(index), device).require_grad()),
            bias: Param::initialized(id(index + 1), Tensor::<1>::from_data(data(index + 1), device).require_grad()),
        };
        Self { layers: (0..TENSORS).step_by(2).map(layer).collect() }
    }

    /// `[rows, 1]`: what each answer is worth; `planned` is one where a plan was followed and zero where none was.
    fn worth(&self, shared: Tensor<2>, all: Tensor<2>, planned: Tensor<2>) -> Tensor<2> {
        let [value, value_out, first, second, out] = [0, 1, 2, 3, 4].map(|index| &self.layers[index]);
        let value = value_out.forward(relu(value.forward(shared)));
        let advantage = out.forward(relu(second.forward(relu(first.forward(all)))));
        value + advantage * planned
    }

    fn member(&self) -> anyhow::Result<Member> {
        let mut tensors: [Vec<f32>; TENSORS] = Default::default();
        for (layer, pair) in self.layers.iter().zip(tensors.chunks_exact_mut(2)) {
            pair[0] = numbers(layer.weight.val().into_data())?;
            pair[1] = numbers(layer.bias.val().into_data())?;
        }
        Ok(Member { tensors })
    }
}

fn numbers(data: TensorData) -> anyhow::Result<Vec<f32>> {
    data.try_into_vec::<f32>().map_err(|error| anyhow::anyhow!("a tensor of burn's: {error:?}"))
}

/// What an answer is worth by a member's own arithmetic, the same as the module's.
pub fn worth(member: &Member, asked: &Question, choice: Option<usize>) -> f32 {
    let advantage = choice.and_then(|plan| asked.plans.get(plan)).map(|own| member.advantage(&asked.shared, own));
    member.value(&asked.shared) + advantage.unwrap_or(0.0)
}

/// Trains one member.
pub struct Learner {
    net: Net,
    adam: ModuleOptimizer,
    device: Device,
    /// As it was after the newest step.
    pub online: Member,
    /// As it was some steps ago: what targets are reckoned by.
    target: Member,
}

/// Where a learner stands.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// The network after the newest step.
    pub online: Member,
    /// The one that targets are reckoned by.
    pub target: Member,
    /// The optimiser's moments, as burn writes them.
    pub adam: Vec<u8>,
}

impl std::fmt::Debug for Learner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Learner").field("device", &self.device).finish_non_exhaustive()
    }
}

impl Learner {
    /// Begins with `member` on one of burn's devices.
    pub fn new(member: Member, device: &Device) -> Self {
        let device = device.clone().autodiff();
        let clip = GradientClippingConfig::Norm(NORM_MAX);
        let adam = AdamWConfig::new().with_weight_decay(1e-4).with_grad_clipping(Some(clip)).init();
        let net = Net::new(&member, &device);
        Self { net, adam, device, target: member.clone(), online: member }
    }

    /// Where it stands, to be taken up again.
    ///
    /// # Errors
    /// Where burn cannot write its optimiser's state.
    pub fn state(&self) -> anyhow::Result<State> {
        let adam = optimizer::state(&self.adam)?;
        Ok(State { online: self.online.clone(), target: self.target.clone(), adam })
    }

    /// Goes on from where a learner stood.
    ///
    /// # Errors
    /// Where the optimiser's state is none of burn's.
    pub fn go_on(state: State, device: &Device) -> anyhow::Result<Self> {
        let begun = Self::new(state.online, device);
        Ok(Self { adam: optimizer::restored(begun.adam, state.adam)?, target: state.target, ..begun })
    }

    /// Targets are reckoned by the network of now from here on.
    pub fn retarget(&mut self) {
        self.target = self.online.clone();
    }

    /// What an experience says that its answer is worth: the answer that follows is chosen by the network of now and judged by
    /// the older one.
    pub fn target(&self, one: &Experience) -> f32 {
        let rest = one.next.as_ref().map_or(0.0, |next| worth(&self.target, next, self.online.best(next)));
        one.reward + one.discount * rest
    }

    /// One step towards `wanted`, each experience by its `weight`; returns by how much each was wrong before.
    ///
    /// # Errors
    /// Where burn hands back something that is no f32 tensor.
    pub fn step(
        &mut self,
        batch: &[&Experience],
        wanted: &[f32],
        weight: &[f32],
        rate: f64,
    ) -> anyhow::Result<Vec<f32>> {
        let rows = batch.len();
        let tensor = |values: Vec<f32>, columns: usize| {
            Tensor::<2>::from_data(TensorData::new(values, [rows, columns]), &self.device)
        };
        let (mut shared, mut all, mut planned) = (Vec::new(), Vec::new(), Vec::new());
        for one in batch {
            let plan = one.plan();
            shared.extend_from_slice(&one.asked.shared);
            all.extend_from_slice(&one.asked.shared);
            all.extend_from_slice(plan.unwrap_or(&[0.0; OWN]));
            planned.push(if plan.is_some() { 1.0 } else { 0.0 });
        }
        let worth = self.net.worth(tensor(shared, SHARED), tensor(all, FEATURES), tensor(planned, 1));
        let error = worth - tensor(wanted.to_vec(), 1);
        let found = numbers(error.clone().into_data())?;
        // Huber's loss: squares near nothing, no more than proportional beyond one.
        let size = error.abs();
        let square = size.clone().clamp_max(1.0);
        let loss = square.clone() * (size - square * 0.5) * tensor(weight.to_vec(), 1);
        let gradients = GradientsParams::from_grads(loss.mean().backward(), &self.net);
        self.net = self.adam.step(rate, self.net.clone(), gradients);
        self.online = self.net.member()?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rand::{RngExt as _, SeedableRng as _};
    use rand_pcg::Pcg64;

    use super::*;

    fn member(rng: &mut Pcg64) -> Member {
        let mut member = Member::new(&mut || rng.random());
        for tensor in &mut member.tensors {
            tensor.iter_mut().for_each(|weight| *weight += 0.05);
        }
        member
    }

    fn experience(rng: &mut Pcg64, choice: Option<usize>) -> Experience {
        let shared = std::array::from_fn(|_| rng.random());
        let plans = vec![std::array::from_fn(|_| rng.random()), std::array::from_fn(|_| rng.random())];
        let asked = Arc::new(Question { shared, plans, greedy: None });
        Experience { asked, choice, reward: 1.0, discount: 0.0, next: None }
    }

    #[test]
    fn burns_network_answers_as_the_one_that_serves() {
        let rng = &mut Pcg64::seed_from_u64(1);
        let member = member(rng);
        let mut learner = Learner::new(member.clone(), &Device::flex());
        let batch = [experience(rng, None), experience(rng, Some(0)), experience(rng, Some(1))];
        let rows: Vec<&Experience> = batch.iter().collect();
        let found = learner.step(&rows, &[0.0; 3], &[1.0; 3], 0.0).unwrap();
        for (found, one) in found.iter().zip(&batch) {
            let ours = worth(&member, &one.asked, one.choice);
            assert!((found - ours).abs() < 1e-5, "{found} {ours}");
        }
    }

    #[test]
    fn what_is_experienced_again_and_again_is_learnt() {
        let rng = &mut Pcg64::seed_from_u64(2);
        let mut learner = Learner::new(member(rng), &Device::flex());
        let batch = [experience(rng, None), experience(rng, Some(1))];
        let rows: Vec<&Experience> = batch.iter().collect();
        for _ in 0..300 {
            learner.step(&rows, &[0.3, 1.7], &[1.0; 2], 1e-2).unwrap();
        }
        let learnt = |index: usize| worth(&learner.online, &rows[index].asked, rows[index].choice);
        assert!((learnt(0) - 0.3).abs() < 0.05 && (learnt(1) - 1.7).abs() < 0.05, "{} {}", learnt(0), learnt(1));
    }

    #[test]
    fn the_answer_that_follows_is_chosen_by_the_new_network_and_judged_by_the_old() {
        let rng = &mut Pcg64::seed_from_u64(3);
        let mut learner = Learner::new(member(rng), &Device::flex());
        let next = experience(rng, None).asked;
        let one = Experience { discount: 0.5, next: Some(Arc::clone(&next)), ..experience(rng, Some(0)) };
        learner.online.tensors[TENSORS - 1] = vec![-100.0];
        let leave = learner.target.value(&next.shared);
        assert!((learner.target(&one) - (1.0 + 0.5 * leave)).abs() < 1e-6, "the new network leaves the host alone");
    }
}
