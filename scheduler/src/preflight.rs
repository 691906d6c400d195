//! Asks both agents of a migration before it becomes a command: the source what the vm needs, the destination whether it has
//! that.
//!
//! The control loop asks and waits; the handle brings the answers. An agent that does not answer in time says no. One too old
//! to be asked is not: libvirt itself checks again when it begins. What an agent wrote for another is passed on unread.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ballast_core::{
    id::{HostId, VmId},
    preflight::{Answer, Check, Refusal, Said},
    proposal::Move,
};
use tokio::sync::oneshot;

use crate::{engine::ToAgent, shared::Shared};

/// Longest wait for one agent: a little longer than it takes itself, so that it can say why.
const PATIENCE: Duration = Duration::from_secs(6);

/// Questions that wait for their answers.
#[derive(Debug, Default)]
pub(crate) struct Preflights(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    number: u64,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    host: HostId,
    answer: oneshot::Sender<Answer>,
}

impl Preflights {
    fn lock(&self) -> MutexGuard<'_, Open> {
        // Every change is complete before anything could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, host: &HostId) -> (u64, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let mut open = self.lock();
        open.number += 1;
        let number = open.number;
        open.waiting.insert(number, Waiting { host: host.clone(), answer });
        (number, answered)
    }

    fn end(&self, number: u64) {
        self.lock().waiting.remove(&number);
    }

    /// Takes an answer of `host`; one that nobody waits for any more, or that is not its to give, changes nothing.
    pub(crate) fn answer(&self, host: &HostId, answer: Answer) {
        let mut open = self.lock();
        if open.waiting.get(&answer.number).is_some_and(|waiting| waiting.host == *host)
            && let Some(waiting) = open.waiting.remove(&answer.number)
        {
            // Who asked may have given up this very moment.
            drop(waiting.answer.send(answer));
        }
    }
}

/// What the agents of one move said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing stands against it.
    Clear,
    /// Something does.
    Refused(Vec<Said>),
    /// An agent is too old to be asked.
    Unasked,
}

impl Verdict {
    /// In a word, as metrics name it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Refused(_) => "refused",
            Self::Unasked => "unasked",
        }
    }
}

/// Asks both agents about `one`; `tls` where its copy will be encrypted.
pub(crate) async fn ask(shared: &Shared, one: &Move, tls: bool) -> Verdict {
    let verdict = both(shared, one, tls).await;
    let Move { vm, from, to } = one;
    let counters = &shared.counters;
    counters.preflight(verdict.name());
    if let Verdict::Refused(said) = &verdict {
        for Said { by, refusal } in said {
            counters.preflight_refused(refusal.check.name());
            tracing::info!(%vm, %from, %to, %by, %refusal, "preflight refused");
        }
    }
    verdict
}

async fn both(shared: &Shared, one: &Move, tls: bool) -> Verdict {
    let Move { vm, from, to } = one;
    if !shared.links.answers_preflight(from) {
        return unasked(shared, from);
    }
    let passport = match put(shared, from, *vm, tls, None).await {
        Ok(Answer { refusals, passport: Some(passport), .. }) if refusals.is_empty() => passport,
        Ok(Answer { refusals, .. }) if refusals.is_empty() => {
            return refused(from, vec![Refusal::new(Check::Answer, "it said nothing", "what the vm needs")]);
        }
        Ok(Answer { refusals, .. }) => return refused(from, refusals),
        Err(refusal) => return refused(from, vec![refusal]),
    };
    if !shared.links.answers_preflight(to) {
        return unasked(shared, to);
    }
    match put(shared, to, *vm, tls, Some(passport)).await {
        Ok(Answer { refusals, .. }) if refusals.is_empty() => Verdict::Clear,
        Ok(Answer { refusals, .. }) => refused(to, refusals),
        Err(refusal) => refused(to, vec![refusal]),
    }
}

/// A host without a link cannot be asked either, but for another reason.
fn unasked(shared: &Shared, host: &HostId) -> Verdict {
    if shared.links.has(host) {
        return Verdict::Unasked;
    }
    refused(host, vec![Refusal::new(Check::Answer, "it is not connected", "an agent that answers")])
}

fn refused(by: &HostId, refusals: Vec<Refusal>) -> Verdict {
    Verdict::Refused(refusals.into_iter().map(|refusal| Said { by: by.clone(), refusal }).collect())
}

/// Asks one agent and waits; a passport is handed on the moment it came.
async fn put(shared: &Shared, host: &HostId, vm: VmId, tls: bool, passport: Option<String>) -> Result<Answer, Refusal> {
    let (number, answered) = shared.preflights.begin(host);
    let question = ToAgent::Preflight { number, vm, tls, passport, age: Duration::ZERO };
    if !shared.links.send(host, question) {
        shared.preflights.end(number);
        return Err(Refusal::new(Check::Answer, "its link takes no messages", "an agent that reads"));
    }
    let answer = shared.clock.timeout(PATIENCE, answered).await;
    shared.preflights.end(number);
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) | Err(_) => {
            let needed = format!("an answer within {} s", PATIENCE.as_secs());
            Err(Refusal::new(Check::Answer, "there was none", needed))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> HostId {
        HostId::new(name).unwrap()
    }

    fn answer(number: u64) -> Answer {
        Answer { number, ..Answer::default() }
    }

    #[test]
    fn an_answer_counts_once_and_only_from_whom_was_asked() {
        let preflights = Preflights::default();
        let (number, mut answered) = preflights.begin(&host("a"));
        preflights.answer(&host("b"), answer(number));
        assert!(answered.try_recv().is_err(), "another host's");
        preflights.answer(&host("a"), answer(number));
        preflights.answer(&host("a"), answer(number));
        assert_eq!(answered.try_recv(), Ok(answer(number)));
    }

    #[test]
    fn what_is_no_longer_waited_for_is_forgotten() {
        let preflights = Preflights::default();
        let (number, _answered) = preflights.begin(&host("a"));
        preflights.end(number);
        assert!(preflights.lock().waiting.is_empty());
        preflights.answer(&host("a"), answer(number));
    }
}
