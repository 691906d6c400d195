//! Meta-learning by Reptile (Nichol, Achiam and Schulman 2018, *On First-Order Meta-Learning Algorithms*): networks that are good to
//! begin with, rather than good as they are. A task is a fleet: one day, one load, one mix of hosts. Each turn learns one from where
//! the networks stand, then goes a share of the way to where that led. What is near to every task's own best is learnt on from in few
//! steps.

use ballast_models::policy::network::{Ensemble, MEMBERS, Member};
use rand::RngExt as _;

use super::{
    cells::Days,
    learner::Learner,
    numbers::Numbers,
    replay::Replay,
    training::{KEPT, Training},
};

impl Training {
    /// Learns one task and goes `share` of the way; the mean error of its newest step.
    pub(super) fn adapt(&mut self, numbers: &Numbers, days: &Days, share: f64, chance: f64) -> anyhow::Result<f32> {
        let before = self.ensemble();
        // Neither what was played elsewhere nor how the optimiser went there is of this task.
        self.forget(&before);
        let task = days.task(self.rng.random());
        // The cells of one task are too few to find out by trial what the greedy rule knows: where networks alone answered, and all of
        // them emptied whatever they could, nothing played said that leaving a host alone is cheaper.
        self.play(numbers, &task, true, chance)?;
        self.play(numbers, &task, false, chance)?;
        let mut error = 0.0;
        for _ in 0..numbers.steps {
            error = self.step(false, numbers.rate, 1.0)?;
        }
        let moved = towards(&before, &self.ensemble(), share);
        self.take(moved);
        Ok(error)
    }

    /// Learners that begin with those networks, and nothing to draw from.
    fn forget(&mut self, networks: &Ensemble) {
        self.take(networks.clone());
        self.replay = (0..MEMBERS).map(|_| Replay::new(KEPT)).collect();
        self.steps = 0;
    }

    fn take(&mut self, networks: Ensemble) {
        let device = self.device.clone();
        self.learners = networks.members.into_iter().map(|member| Learner::new(member, &device)).collect();
    }
}

/// Networks that lie `share` of the way from one to the other.
#[allow(clippy::cast_possible_truncation)] // A share.
fn towards(one: &Ensemble, other: &Ensemble, share: f64) -> Ensemble {
    let share = share as f32;
    let between = |(one, other): (&Member, &Member)| Member {
        tensors: std::array::from_fn(|index| {
            let pairs = one.tensors[index].iter().zip(&other.tensors[index]);
            pairs.map(|(one, other)| one + share * (other - one)).collect()
        }),
    };
    Ensemble { members: one.members.iter().zip(&other.members).map(between).collect() }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::{
        super::tests::{days, numbers},
        *,
    };

    #[test]
    fn a_task_is_learnt_and_a_share_of_the_way_is_gone() {
        let folder = days();
        let days = Days::read(folder.path(), &["20110303".into(), "20110403".into()]).unwrap();
        let adapted = |share: f64| {
            let mut training = Training::new(&numbers(), None, &Device::flex());
            let first = training.ensemble();
            training.adapt(&numbers(), &days, share, 0.1).unwrap();
            (first, training.ensemble())
        };
        let (first, whole) = adapted(1.0);
        assert_eq!(adapted(0.0).1, first, "no step outwards");
        assert_ne!(whole, first);
        assert_eq!(adapted(0.25).1, towards(&first, &whole, 0.25));
    }

    #[test]
    fn halfway_lies_between() {
        let of = |weight: f32| Ensemble { members: vec![Member { tensors: std::array::from_fn(|_| vec![weight]) }] };
        assert_eq!(towards(&of(1.0), &of(3.0), 0.5), of(2.0));
    }
}
