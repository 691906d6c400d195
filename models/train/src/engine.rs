//! Who works out the gradients of a chunk: the CPU's kernel, or burn on one or several devices.

use ballast_models::network::Weights;
use burn::tensor::Device as BurnDevice;

use crate::{
    batch::{Chunk, Walk},
    burn_learner::BurnLearner,
    data::Set,
    device::Device,
    learner::{Learner, Learnt},
    loss,
};

/// Works out gradients.
#[derive(Debug)]
pub enum Engine {
    /// On the CPU's kernel.
    Kernel(Box<Learner>),
    /// By burn, each device with its share of the lanes.
    Burn(Vec<BurnLearner>),
}

impl Engine {
    /// Begins with `weights` on `devices`: one of them the CPU, or any number of burn's.
    ///
    /// # Errors
    /// Where a device is not there, or the CPU's kernel is to share its work.
    pub fn new(weights: &Weights, devices: &[Device], walk: Walk, by: loss::Weights) -> anyhow::Result<Self> {
        let burns: Vec<Option<BurnDevice>> =
            devices.iter().map(|device| device.burn()).collect::<anyhow::Result<_>>()?;
        if let [None] | [] = burns[..] {
            return Ok(Self::Kernel(Box::new(Learner::new(weights, walk, by))));
        }
        let burns: Option<Vec<BurnDevice>> = burns.into_iter().collect();
        let burns = burns.ok_or_else(|| anyhow::anyhow!("cpu shares its work with no other device: leave it out"))?;
        let number = burns.len();
        anyhow::ensure!(
            walk.lanes.is_multiple_of(number),
            "lanes is {}, a multiple of the {number} devices is needed",
            walk.lanes
        );
        let share = Walk { lanes: walk.lanes / number, ..walk };
        Ok(Self::Burn(burns.iter().map(|device| BurnLearner::new(weights, device, share, by)).collect()))
    }

    /// Takes new weights.
    ///
    /// # Errors
    /// Where they are of another size.
    pub fn load(&mut self, weights: &Weights) -> anyhow::Result<()> {
        match self {
            Self::Kernel(learner) => learner.load(weights)?,
            Self::Burn(learners) => learners.iter_mut().for_each(|learner| learner.load(weights)),
        }
        Ok(())
    }

    /// Forward and back through `chunk`: the loss, and the gradients of the mean loss as [`Weights::tensors`] come.
    ///
    /// # Errors
    /// Where burn or the kernel refuse: errors of this program.
    pub fn chunk(&mut self, set: &Set, chunk: &Chunk, seed: u64) -> anyhow::Result<(Learnt, Vec<Vec<f32>>)> {
        match self {
            Self::Kernel(learner) => {
                let learnt = learner.chunk(set, chunk, seed)?;
                Ok((learnt, learner.gradients().into_iter().map(|tensor| tensor.to_vec()).collect()))
            }
            Self::Burn(learners) => shared(learners, set, chunk, seed),
        }
    }
}

/// Each device works out its lanes, all at the same time; the mean is over all samples.
fn shared(
    learners: &mut [BurnLearner],
    set: &Set,
    chunk: &Chunk,
    seed: u64,
) -> anyhow::Result<(Learnt, Vec<Vec<f32>>)> {
    let lanes = chunk.places.len() / learners.len();
    let parts: Vec<Chunk> =
        chunk.places.chunks(lanes).map(|places| Chunk { places: places.to_vec(), phase: chunk.phase }).collect();
    let outcomes: Vec<anyhow::Result<(Learnt, Vec<Vec<f32>>)>> = std::thread::scope(|scope| {
        let run = |(learner, part): (&'_ mut BurnLearner, &'_ Chunk)| learner.chunk(set, part, seed);
        let threads: Vec<_> = learners.iter_mut().zip(&parts).map(|pair| scope.spawn(move || run(pair))).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|outcome| outcome.unwrap_or_else(|_| anyhow::bail!("a device's thread ended in a panic"))).collect()
    });
    let mut sum = Learnt { loss: 0.0, samples: 0 };
    let mut gradients: Vec<Vec<f32>> = Vec::new();
    // In order of the devices: the same sum at every run.
    for outcome in outcomes {
        let (learnt, part) = outcome?;
        let weight = learnt.samples as f32;
        if gradients.is_empty() {
            gradients = part.iter().map(|tensor| vec![0.0; tensor.len()]).collect();
        }
        for (sum, one) in gradients.iter_mut().flatten().zip(part.iter().flatten()) {
            *sum += weight * one;
        }
        sum = Learnt { loss: sum.loss + learnt.loss, samples: sum.samples + learnt.samples };
    }
    let all = sum.samples.max(1) as f32;
    gradients.iter_mut().flatten().for_each(|gradient| *gradient /= all);
    Ok((sum, gradients))
}
