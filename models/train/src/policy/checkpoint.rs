//! A run of `ballast-train policy` on disk, after each turn: whatever ends the process, the run goes on from there and ends in the same
//! bytes.
//!
//! Questions make up nearly all of it, 250 bytes each. An experience shares them with its neighbours and with the other members'
//! replays, so that they are written once and named by their place.

#[cfg(test)]
mod tests;

use std::{collections::HashMap, path::Path, sync::Arc};

use anyhow::Context as _;
use ballast_core::policy::ranked::{OWN, Question, SHARED};
use ballast_models::policy::{
    Seen,
    network::{Ensemble, Member, SHAPES, TENSORS},
};
use burn::tensor::Device;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use super::{
    learner::{Learner, State},
    replay::{Experience, Replay},
    training::{Best, KEPT, Run, Training},
    trial::Outcome,
};
use crate::checkpoint;

/// What a run is asked for, name by name: going on with another one's checkpoint would not give it.
pub(super) type Asked = Vec<(String, String)>;

/// The tensors of a member.
type Tensors = [Vec<f32>; TENSORS];

/// What a checkpoint holds.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    turns: usize,
    steps: usize,
    warm_up: usize,
    meta: Option<f64>,
    rng: Pcg64,
    seen: Seen,
    learners: Vec<KeptLearner>,
    questions: Vec<KeptQuestion>,
    replay: Vec<KeptReplay>,
    best: Option<(Outcome, Vec<Tensors>, usize)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptLearner {
    online: Tensors,
    target: Tensors,
    adam: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptQuestion {
    shared: [f32; SHARED],
    plans: Vec<[f32; OWN]>,
    greedy: Option<usize>,
}

/// An [`Experience`] with its questions by their places.
#[derive(Debug, Serialize, Deserialize)]
struct KeptExperience {
    asked: usize,
    choice: Option<usize>,
    reward: f32,
    discount: f32,
    next: Option<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptReplay {
    kept: Vec<KeptExperience>,
    weights: Vec<f64>,
    next: usize,
    heaviest: f64,
}

/// Writes a checkpoint in place of the one before.
///
/// # Errors
/// Where it cannot be written.
pub(super) fn save(path: &Path, run: &Run, asked: &Asked) -> anyhow::Result<()> {
    let training = &run.training;
    let mut questions = Questions::default();
    let kept = Kept {
        turns: run.turns,
        steps: training.steps,
        warm_up: training.warm_up,
        meta: training.meta,
        rng: training.rng.clone(),
        seen: training.seen.clone(),
        learners: training.learners.iter().map(KeptLearner::of).collect::<anyhow::Result<_>>()?,
        replay: training.replay.iter().map(|replay| KeptReplay::of(replay, &mut questions)).collect(),
        questions: questions.kept,
        best: run.best.as_ref().map(|best| (best.outcome, tensors(&best.ensemble), best.turns)),
    };
    checkpoint::write(path, &postcard::to_allocvec(&(asked, kept)).context("the checkpoint")?)
}

/// Takes a run up again; `None` where there is no checkpoint.
///
/// # Errors
/// Where it is damaged, or of a run that was asked for otherwise.
pub(super) fn load(path: &Path, asked: &Asked, device: &Device) -> anyhow::Result<Option<Run>> {
    let name = path.display();
    let Some(body) = checkpoint::read(path)? else { return Ok(None) };
    let another = || format!("{name}: a checkpoint of another version");
    // What was asked for comes first: it can be read whatever the rest has become.
    let (found, rest) = postcard::take_from_bytes::<Asked>(&body).with_context(another)?;
    let other = differences(&found, asked);
    anyhow::ensure!(
        other.is_empty(),
        "{name}: a checkpoint of another run; remove it to begin anew\n {}",
        other.join("\n ")
    );
    let kept: Kept = postcard::from_bytes(rest).with_context(another)?;
    kept.run(device).with_context(another).map(Some)
}

/// Where two runs are asked for otherwise.
fn differences(found: &Asked, asked: &Asked) -> Vec<String> {
    let of = |all: &Asked, name: &str| {
        all.iter().find(|(one, _)| one == name).map_or_else(|| "unknown".to_owned(), |(_, value)| value.clone())
    };
    let added = found.iter().filter(|(name, _)| asked.iter().all(|(other, _)| other != name));
    asked
        .iter()
        .chain(added)
        .map(|(name, _)| (name, of(found, name), of(asked, name)))
        .filter(|(_, found, asked)| found != asked)
        .map(|(name, found, asked)| format!("{name} is {found} there, and {asked} is asked for"))
        .collect()
}

impl Kept {
    fn run(self, device: &Device) -> anyhow::Result<Run> {
        let questions: Vec<Arc<Question>> = self.questions.into_iter().map(KeptQuestion::again).collect();
        let learners = self.learners.into_iter().map(|kept| kept.again(device)).collect::<anyhow::Result<_>>()?;
        let replay = self.replay.into_iter().map(|kept| kept.again(&questions)).collect::<anyhow::Result<_>>()?;
        let best = |(outcome, members, turns): (Outcome, Vec<Tensors>, usize)| -> anyhow::Result<Best> {
            let members = members.into_iter().map(member).collect::<anyhow::Result<_>>()?;
            Ok(Best { outcome, ensemble: Ensemble { members }, turns })
        };
        let best = self.best.map(best).transpose()?;
        let Self { turns, steps, warm_up, meta, rng, seen, .. } = self;
        let device = device.clone();
        Ok(Run { turns, training: Training { learners, replay, seen, rng, steps, warm_up, meta, device }, best })
    }
}

impl KeptLearner {
    fn of(learner: &Learner) -> anyhow::Result<Self> {
        let State { online, target, adam } = learner.state()?;
        Ok(Self { online: online.tensors, target: target.tensors, adam })
    }

    fn again(self, device: &Device) -> anyhow::Result<Learner> {
        let state = State { online: member(self.online)?, target: member(self.target)?, adam: self.adam };
        Learner::go_on(state, device)
    }
}

impl KeptQuestion {
    fn of(question: &Question) -> Self {
        Self { shared: question.shared, plans: question.plans.clone(), greedy: question.greedy }
    }

    fn again(self) -> Arc<Question> {
        Arc::new(Question { shared: self.shared, plans: self.plans, greedy: self.greedy })
    }
}

impl KeptReplay {
    fn of(replay: &Replay, questions: &mut Questions) -> Self {
        let kept = |one: &Experience| KeptExperience {
            asked: questions.place(&one.asked),
            choice: one.choice,
            reward: one.reward,
            discount: one.discount,
            next: one.next.as_ref().map(|next| questions.place(next)),
        };
        let kept = replay.kept().iter().map(kept).collect();
        Self { kept, weights: replay.weights().to_vec(), next: replay.next(), heaviest: replay.heaviest() }
    }

    fn again(self, questions: &[Arc<Question>]) -> anyhow::Result<Replay> {
        let question = |place: usize| questions.get(place).map(Arc::clone).context("a question that is not there");
        let again = |one: KeptExperience| -> anyhow::Result<Experience> {
            Ok(Experience {
                asked: question(one.asked)?,
                choice: one.choice,
                reward: one.reward,
                discount: one.discount,
                next: one.next.map(question).transpose()?,
            })
        };
        let kept: Vec<Experience> = self.kept.into_iter().map(again).collect::<anyhow::Result<_>>()?;
        let fits = kept.len() == self.weights.len() && kept.len() <= KEPT && self.next < KEPT;
        anyhow::ensure!(fits, "{} experiences with {} weights", kept.len(), self.weights.len());
        Ok(Replay::go_on(KEPT, kept, &self.weights, self.next, self.heaviest))
    }
}

/// Each question once, by where it lies in memory.
#[derive(Debug, Default)]
struct Questions {
    places: HashMap<*const Question, usize>,
    kept: Vec<KeptQuestion>,
}

impl Questions {
    fn place(&mut self, question: &Arc<Question>) -> usize {
        *self.places.entry(Arc::as_ptr(question)).or_insert_with(|| {
            self.kept.push(KeptQuestion::of(question));
            self.kept.len() - 1
        })
    }
}

fn tensors(ensemble: &Ensemble) -> Vec<Tensors> {
    ensemble.members.iter().map(|member| member.tensors.clone()).collect()
}

fn member(tensors: Tensors) -> anyhow::Result<Member> {
    let fits = tensors.iter().zip(SHAPES).all(|(tensor, shape)| tensor.len() == shape.iter().product::<usize>());
    anyhow::ensure!(fits, "networks of another shape");
    Ok(Member { tensors })
}
