//! A cell played to its end: what was asked, what was answered, what each round cost.

use std::sync::{Arc, Mutex, PoisonError};

use ballast_core::{
    ewma::EwmaForecaster,
    policy::{
        Policy, Ranked, RiskGreedy,
        ranked::{Chooser, Question},
    },
};
use ballast_models::policy::network::Ensemble;
use ballast_sim::score;
use rand::RngExt as _;
use rand_pcg::Pcg64;

use super::cells::Cell;

/// A question with its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The round it was asked in.
    pub round: usize,
    /// What was asked.
    pub asked: Arc<Question>,
    /// What was answered.
    pub choice: Option<usize>,
}

/// An episode.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Episode {
    /// Questions in order.
    pub steps: Vec<Step>,
    /// What the fleet had cost at the beginning of each round, and at the end; in joules.
    pub costs: Vec<f64>,
}

impl Episode {
    /// What it cost in all.
    pub fn cost(&self) -> f64 {
        self.costs.last().copied().unwrap_or(0.0)
    }
}

/// Who answers.
#[derive(Debug, Clone)]
pub enum Answers {
    /// The greedy policy.
    Greedy,
    /// One member of an ensemble.
    Member(Arc<Ensemble>, usize),
}

/// Answers, now and then by chance, and writes down what it was asked.
struct Explorer {
    answers: Answers,
    /// Share of answers that chance gives.
    chance: f64,
    rng: Pcg64,
    log: Arc<Mutex<Log>>,
}

#[derive(Debug, Default)]
struct Log {
    round: usize,
    steps: Vec<Step>,
}

impl Explorer {
    fn answer(&mut self, question: &Question) -> Option<usize> {
        if self.rng.random::<f64>() < self.chance {
            return self.rng.random_range(0..=question.plans.len()).checked_sub(1);
        }
        match &self.answers {
            Answers::Greedy => question.greedy,
            Answers::Member(ensemble, member) => ensemble.members[*member].best(question),
        }
    }
}

impl Chooser for Explorer {
    fn name(&self) -> &'static str {
        "explorer"
    }

    fn choose(&mut self, question: &Question) -> Option<usize> {
        let choice = self.answer(question);
        // A lock that a panic has poisoned holds what was written before.
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let step = Step { round: log.round, asked: Arc::new(question.clone()), choice };
        log.steps.push(step);
        choice
    }
}

/// Plays a cell with those answers.
pub fn explore(cell: &Cell, answers: Answers, chance: f64, rng: Pcg64) -> Episode {
    let log = Arc::new(Mutex::new(Log::default()));
    let explorer = Explorer { answers, chance, rng, log: Arc::clone(&log) };
    let costs = costs(cell, &mut Ranked::new(Box::new(explorer)), &mut || {
        log.lock().unwrap_or_else(PoisonError::into_inner).round += 1;
    });
    let steps = std::mem::take(&mut log.lock().unwrap_or_else(PoisonError::into_inner).steps);
    // Questions are asked after the round was counted.
    let steps = steps.into_iter().map(|step| Step { round: step.round - 1, ..step }).collect();
    Episode { steps, costs }
}

/// What a cell costs under the greedy policy, round by round.
pub fn greedy(cell: &Cell) -> Vec<f64> {
    costs(cell, &mut RiskGreedy, &mut || ())
}

/// What a cell costs under a policy, round by round; `begun` is told of each round.
pub fn costs(cell: &Cell, policy: &mut dyn Policy, begun: &mut dyn FnMut()) -> Vec<f64> {
    let price = cell.pace.tuning.overload_joules_per_core_second;
    let mut costs = Vec::new();
    let mut forecaster = EwmaForecaster::default();
    score::watch(&cell.scenario, cell.seed, &cell.pace, (&mut forecaster, policy), &mut |ledger| {
        costs.push(ledger.cost(price));
        begun();
    });
    costs
}
