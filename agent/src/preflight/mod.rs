//! Answers what the scheduler asks before it orders a vm to move: may it leave here, may it arrive here?
//!
//! One task runs [`Desk::run`]; the link hands it questions and sends its answers. The hypervisor tells what is needed and
//! what there is, `nonce` proves the storage, and `core::preflight` judges. Nothing is begun, and nothing is journalled:
//! a question that is lost is a question that was not answered.

mod nonce;

use std::{sync::Arc, time::Duration};

use ballast_core::preflight::{Answer, Check, Passport, Question, Refusal, judge, leave};
use ballast_daemon::clock::Clock;
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    commands::check_vm,
    config::Config,
    hypervisor::{Hypervisor, HypervisorError},
};
use nonce::Files;

/// Questions that may wait; the scheduler asks about the steps of one plan at a time.
const WAITING: usize = 32;
/// Questions looked into at once: the hypervisor serves a few calls at a time.
const AT_ONCE: usize = 4;
/// Longest time for an answer. The scheduler waits a little longer, so that it hears why there is none.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A question, and where the answer goes.
pub(crate) type Asked = (Question, mpsc::Sender<Answer>);

/// The way to the desk.
pub(crate) fn channel() -> (mpsc::Sender<Asked>, mpsc::Receiver<Asked>) {
    mpsc::channel(WAITING)
}

/// Who answers.
#[derive(Debug)]
pub(crate) struct Desk<H> {
    config: Arc<Config>,
    hypervisor: Arc<H>,
    clock: Clock,
    files: Files,
}

impl<H: Hypervisor> Desk<H> {
    /// A desk of the host of `config`.
    pub(crate) fn new(config: Arc<Config>, hypervisor: Arc<H>, clock: Clock) -> Self {
        let files = Files::new(clock.clone());
        Self { config, hypervisor, clock, files }
    }

    /// Answers until the agent ends.
    pub(crate) async fn run(self, mut asked: mpsc::Receiver<Asked>) {
        let desk = Arc::new(self);
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                Some(ended) = open.join_next(), if !open.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "A preflight question was not answered; please report it");
                    }
                }
                question = asked.recv(), if open.len() < AT_ONCE => match question {
                    Some((question, answers)) => {
                        let desk = Arc::clone(&desk);
                        open.spawn(async move { desk.serve(question, &answers).await });
                    }
                    None => return,
                },
            }
        }
    }

    async fn serve(&self, question: Question, answers: &mpsc::Sender<Answer>) {
        let (number, vm) = (question.number, question.vm);
        let answered = self.clock.timeout(ANSWER_WITHIN, self.answer(&question)).await;
        let answer = answered.unwrap_or_else(|_| {
            let refusal = Refusal::new(Check::Answer, "the hypervisor has not answered yet", within());
            Answer { number, refusals: vec![refusal], passport: None }
        });
        tracing::debug!(%vm, arrives = question.passport.is_some(), refusals = ?answer.refusals, "Preflight");
        // A link that is gone asks no more.
        let _told_or_gone = answers.send(answer).await.is_ok();
    }

    async fn answer(&self, question: &Question) -> Answer {
        let number = question.number;
        match &question.passport {
            None => match self.leave(question).await {
                Ok(passport) => match serde_json::to_string(&passport) {
                    Ok(json) => Answer { number, refusals: Vec::new(), passport: Some(json) },
                    Err(error) => refused(number, vec![unanswered(error.to_string())]),
                },
                Err(refusals) => refused(number, refusals),
            },
            Some(passport) => refused(number, self.arrive(passport, question.age).await),
        }
    }

    /// What the vm needs, or everything that stands against its leaving.
    async fn leave(&self, question: &Question) -> Result<Passport, Vec<Refusal>> {
        let vm = question.vm;
        if let Err(reason) = check_vm(&*self.hypervisor, vm).await {
            return Err(vec![Refusal::new(Check::State, reason.to_string(), "a vm that runs here undisturbed")]);
        }
        let passport = self.hypervisor.passport(vm).await.map_err(|error| vec![of(&error)])?;
        let mut passport = Passport { vm, tls: question.tls, ..passport };
        let refusals = leave(&passport);
        if !refusals.is_empty() {
            return Err(refusals);
        }
        passport.nonces = self.files.write(&self.config.host_id, &passport).await;
        passport.taken_at = self.clock.now();
        Ok(passport)
    }

    /// Everything that stands against the vm's arrival.
    async fn arrive(&self, passport: &Passport, age: Duration) -> Vec<Refusal> {
        let asked = self.clock.elapsed();
        let mut premises = match self.hypervisor.premises(passport).await {
            Ok(premises) => premises,
            Err(error) => return vec![of(&error)],
        };
        let seen = self.files.read(passport).await;
        premises.now = self.clock.now();
        premises.clock_difference_max = Some(self.config.clock_difference_max);
        judge(passport, &premises, &seen, age.saturating_add(self.clock.elapsed().saturating_sub(asked)))
    }
}

fn refused(number: u64, refusals: Vec<Refusal>) -> Answer {
    Answer { number, refusals, passport: None }
}

fn of(error: &HypervisorError) -> Refusal {
    match error {
        HypervisorError::NoSuchVm(_) => Refusal::new(Check::State, error.to_string(), "a vm that runs here"),
        _ => unanswered(error.to_string()),
    }
}

fn unanswered(why: String) -> Refusal {
    Refusal::new(Check::Answer, why, within())
}

fn within() -> String {
    format!("an answer within {} s", ANSWER_WITHIN.as_secs())
}
