//! What was experienced, drawn again by how much it still teaches: proportional prioritised replay (Schaul et al. 2016,
//! *Prioritized Experience Replay*) on a sum tree.

use std::sync::Arc;

use ballast_core::policy::ranked::{OWN, Question};
use rand::RngExt as _;
use rand_pcg::Pcg64;

use super::{episode::Episode, shaping};

/// How strongly errors decide what is drawn: 0 not at all, 1 in proportion.
const SHARPNESS: f64 = 0.6;

/// Error below which an experience is still drawn now and then.
const LEAST: f64 = 1e-2;

/// How returns are reckoned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Returns {
    /// Weight of a round over that of the one before.
    pub discount: f64,
    /// Rounds whose costs are taken as they came before the network is asked about the rest.
    pub rounds: usize,
    /// Rounds after which nobody asks about the rest: an answer's effect has faded into the greedy policy's course.
    pub rounds_max: usize,
    /// Rounds' energy of an idle host that a host less counts for in the potential that pay is shaped by; none at zero.
    pub shaping: f32,
}

/// One answer and what came of it.
#[derive(Debug, Clone)]
pub struct Experience {
    /// What was asked.
    pub asked: Arc<Question>,
    /// What was answered.
    pub choice: Option<usize>,
    /// Costs saved over the greedy policy's course, in the energy that an idle host draws in a round.
    pub reward: f32,
    /// Weight of what follows; zero where nothing does.
    pub discount: f32,
    /// The question that follows.
    pub next: Option<Arc<Question>>,
}

impl Experience {
    /// The plan that was followed.
    pub fn plan(&self) -> Option<&[f32; OWN]> {
        self.asked.plans.get(self.choice?)
    }
}

/// What an episode teaches. `greedy` is what each round of the same cell costs under the greedy policy: demand is exogenous, so
/// that what both saw alike cancels out, and the best policy stays the best. `unit` is the energy that an idle host draws in a round.
#[allow(clippy::cast_possible_truncation)] // Returns of a few hosts' energy.
pub fn experiences(episode: &Episode, greedy: &[f64], unit: f64, returns: Returns) -> Vec<Experience> {
    let rounds = |costs: &[f64]| costs.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<f64>>();
    let (ours, theirs) = (rounds(&episode.costs), rounds(greedy));
    let rewards: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| (theirs - ours) / unit).collect();
    let steps = &episode.steps;
    let mut all = Vec::with_capacity(steps.len());
    for (index, step) in steps.iter().enumerate() {
        let due = step.round + returns.rounds;
        let next = steps[index..].iter().find(|later| later.round >= due);
        let next = next.filter(|next| next.round - step.round <= returns.rounds_max);
        let until = next.map_or(step.round + returns.rounds_max, |next| next.round).min(rewards.len());
        let (mut sum, mut weight) = (0.0, 1.0);
        for reward in &rewards[step.round.min(until)..until] {
            sum += weight * reward;
            weight *= returns.discount;
        }
        let discount = next.map_or(0.0, |_| weight as f32);
        let shaped = shaping::bonus(&step.asked, next.map(|next| &*next.asked), discount, returns.shaping);
        all.push(Experience {
            asked: Arc::clone(&step.asked),
            choice: step.choice,
            reward: sum as f32 + shaped,
            discount,
            next: next.map(|next| Arc::clone(&next.asked)),
        });
    }
    all
}

/// Experiences, the oldest making room.
#[derive(Debug)]
pub struct Replay {
    kept: Vec<Experience>,
    capacity: usize,
    next: usize,
    /// Weights in its second half, sums of two above: `tree[1]` is the whole.
    tree: Vec<f64>,
    heaviest: f64,
}

/// What was drawn: where it lies, and by how much its error counts less for being drawn more often.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drawn {
    /// Its place.
    pub place: usize,
    /// Its weight, at most one.
    pub weight: f32,
}

impl Replay {
    /// Room for that many, rounded up to a power of two.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.next_power_of_two();
        Self { kept: Vec::new(), capacity, next: 0, tree: vec![0.0; 2 * capacity], heaviest: 1.0 }
    }

    /// Goes on from what [`Self::kept`], [`Self::weights`], [`Self::next`] and [`Self::heaviest`] said: the sums follow from the weights.
    pub fn go_on(capacity: usize, kept: Vec<Experience>, weights: &[f64], next: usize, heaviest: f64) -> Self {
        let mut replay = Self { kept, next, heaviest, ..Self::new(capacity) };
        replay.tree[replay.capacity..][..weights.len()].copy_from_slice(weights);
        for node in (1..replay.capacity).rev() {
            replay.tree[node] = replay.tree[2 * node] + replay.tree[2 * node + 1];
        }
        replay
    }

    /// What is kept, by place.
    pub fn kept(&self) -> &[Experience] {
        &self.kept
    }

    /// What each weighs, by place.
    pub fn weights(&self) -> &[f64] {
        &self.tree[self.capacity..][..self.kept.len()]
    }

    /// The place that the next one goes to.
    pub fn next(&self) -> usize {
        self.next
    }

    /// What one weighs whose error is not known yet.
    pub fn heaviest(&self) -> f64 {
        self.heaviest
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Takes one; it weighs as much as the heaviest until its error is known.
    pub fn push(&mut self, experience: Experience) {
        let place = self.next;
        self.next = (self.next + 1) % self.capacity;
        if place == self.kept.len() {
            self.kept.push(experience);
        } else {
            self.kept[place] = experience;
        }
        self.weigh(place, self.heaviest);
    }

    /// The one at that place.
    pub fn at(&self, place: usize) -> &Experience {
        &self.kept[place]
    }

    /// Says how wrong the network was about the one at that place.
    pub fn learnt(&mut self, place: usize, error: f32) {
        let weight = (f64::from(error.abs()) + LEAST).powf(SHARPNESS);
        if weight.is_finite() {
            self.heaviest = self.heaviest.max(weight);
            self.weigh(place, weight);
        }
    }

    fn weigh(&mut self, place: usize, weight: f64) {
        let mut node = self.capacity + place;
        self.tree[node] = weight;
        while node > 1 {
            node /= 2;
            self.tree[node] = self.tree[2 * node] + self.tree[2 * node + 1];
        }
    }

    /// Draws `count`; `correction`, 0 to 1, says how far their being drawn more often is made up for. Nothing where nothing is kept.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // Counts far below 2^53; weights below one.
    pub fn draw(&self, count: usize, correction: f64, rng: &mut Pcg64) -> Vec<Drawn> {
        if self.kept.is_empty() {
            return Vec::new();
        }
        let places: Vec<usize> = (0..count).map(|_| self.find(rng.random::<f64>() * self.tree[1])).collect();
        let often =
            |place: usize| (self.tree[self.capacity + place] / self.tree[1] * self.kept.len() as f64).max(1e-12);
        let raw: Vec<f64> = places.iter().map(|place| often(*place).powf(-correction)).collect();
        let most = raw.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        places.into_iter().zip(raw).map(|(place, raw)| Drawn { place, weight: (raw / most) as f32 }).collect()
    }

    fn find(&self, mut at: f64) -> usize {
        let mut node = 1;
        while node < self.capacity {
            let left = self.tree[2 * node];
            if at < left {
                node *= 2;
            } else {
                at -= left;
                node = 2 * node + 1;
            }
        }
        // Rounding may lead past the last one.
        (node - self.capacity).min(self.kept.len() - 1)
    }
}
