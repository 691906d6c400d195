//! A model on a thread of its own, behind a bounded mailbox: one that is slow or hangs holds up neither telemetry nor relief.
//!
//! The state task owns the near end: it hands over every batch, asks once per cycle, and looks at the clock. A mailbox that
//! is full drops what comes and counts it. Nothing is logged here, for the thread belongs to nobody's log.

use std::{sync::Arc, time::Duration};

use ballast_core::{
    forecast::Forecaster,
    oversight::{Answer, Asked, GuardedModel, Restored, SavedState},
    sample::Batch,
    units::Timestamp,
};
use ballast_daemon::clock::Clock;
use tokio::sync::{mpsc, oneshot};

use crate::intake::running;

/// Batches that may wait for the model: those of ten thousand hosts in four seconds, sixty megabytes at thirty vms each.
const MAILBOX: usize = 8192;

enum Mail {
    Batch(Arc<Batch>),
    Ask { generation: u64, vms: Asked, now: Timestamp },
    Save(oneshot::Sender<Vec<SavedState>>),
    Replace { model: Box<dyn Forecaster>, now: Timestamp, reply: oneshot::Sender<Restored> },
}

/// What became of a wish to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    /// It is asked.
    Asked,
    /// It has not answered the one before, or its mailbox is full.
    Busy,
}

/// An answer and how it came.
#[derive(Debug, PartialEq)]
pub(crate) struct Heard {
    /// What the model said; `None` from one that has been replaced since it was asked.
    pub(crate) answer: Option<Answer>,
    /// Time since it was asked.
    pub(crate) took: Duration,
    /// Whether that was in time.
    pub(crate) in_time: bool,
}

#[derive(Debug, Clone, Copy)]
struct Outstanding {
    since: Duration,
    is_late: bool,
}

/// The near end.
#[derive(Debug)]
pub(crate) struct Worker {
    mail: mpsc::Sender<Mail>,
    answers: mpsc::Receiver<(u64, Answer)>,
    generation: u64,
    outstanding: Option<Outstanding>,
    deadline: Duration,
    clock: Clock,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the system has no thread to give.
    pub(crate) fn start(model: GuardedModel, deadline: Duration, clock: Clock) -> std::io::Result<Self> {
        let (mail, inbox) = mpsc::channel(MAILBOX);
        // One is asked at a time: an answer always has room.
        let (outbox, answers) = mpsc::channel(1);
        std::thread::Builder::new().name("model".to_owned()).spawn(move || work(model, inbox, &outbox))?;
        Ok(Self { mail, answers, generation: 0, outstanding: None, deadline, clock })
    }

    /// Hands a batch over; false where it was dropped.
    pub(crate) fn observe(&self, batch: Arc<Batch>) -> bool {
        self.mail.try_send(Mail::Batch(batch)).is_ok()
    }

    /// Asks for the forecasts of `vms`, unless it is still being asked.
    pub(crate) fn ask(&mut self, vms: Asked, now: Timestamp) -> Asking {
        let generation = self.generation;
        if self.outstanding.is_some() || self.mail.try_send(Mail::Ask { generation, vms, now }).is_err() {
            return Asking::Busy;
        }
        self.outstanding = Some(Outstanding { since: self.clock.elapsed(), is_late: false });
        Asking::Asked
    }

    /// The next answer; never where the thread has ended.
    pub(crate) async fn heard(&mut self) -> Heard {
        let Some((generation, answer)) = self.answers.recv().await else { return std::future::pending().await };
        let now = self.clock.elapsed();
        let outstanding = self.outstanding.take().unwrap_or(Outstanding { since: now, is_late: false });
        let answer = (generation == self.generation).then_some(answer);
        let took = now.saturating_sub(outstanding.since);
        // The clock may have passed the deadline before anybody looked at it.
        Heard { answer, took, in_time: !outstanding.is_late && took <= self.deadline }
    }

    /// Ends when the answer that is waited for is overdue; `None` where none is, or it is overdue already.
    pub(crate) fn until_overdue(&self) -> Option<impl Future<Output = ()> + use<>> {
        let due = self.outstanding.filter(|one| !one.is_late)?.since + self.deadline;
        let clock = self.clock.clone();
        Some(async move { clock.sleep_until(due).await })
    }

    /// The answer that is waited for is overdue.
    pub(crate) fn is_overdue(&mut self) {
        self.outstanding.iter_mut().for_each(|one| one.is_late = true);
    }

    /// Whether an answer is overdue now.
    pub(crate) fn is_late(&self) -> bool {
        self.outstanding.is_some_and(|one| one.is_late)
    }

    /// What the model would have to know again after a restart, all that was handed over before included; `None` where
    /// it would be waited for in vain.
    pub(crate) fn save(&self) -> Option<oneshot::Receiver<Vec<SavedState>>> {
        let (reply, answer) = oneshot::channel();
        (!self.is_late() && self.mail.try_send(Mail::Save(reply)).is_ok()).then_some(answer)
    }

    /// Puts a newer model in this one's place; gives it back where the one that is there does not answer.
    pub(crate) fn replace(
        &mut self,
        model: Box<dyn Forecaster>,
        now: Timestamp,
    ) -> Result<oneshot::Receiver<Restored>, Box<dyn Forecaster>> {
        if self.is_late() {
            return Err(model);
        }
        let (reply, answer) = oneshot::channel();
        match self.mail.try_send(Mail::Replace { model, now, reply }) {
            Ok(()) => {
                self.generation += 1;
                Ok(answer)
            }
            Err(mpsc::error::TrySendError::Full(mail) | mpsc::error::TrySendError::Closed(mail)) => match mail {
                Mail::Replace { model, .. } => Err(model),
                // What comes back is what was sent.
                Mail::Batch(_) | Mail::Ask { .. } | Mail::Save(_) => unreachable!(),
            },
        }
    }
}

/// The thread: ends when the near end is gone.
fn work(mut model: GuardedModel, mut inbox: mpsc::Receiver<Mail>, outbox: &mpsc::Sender<(u64, Answer)>) {
    while let Some(mail) = inbox.blocking_recv() {
        // Who waits for a reply may have gone.
        match mail {
            Mail::Batch(batch) => running(&batch).for_each(|sample| model.observe(sample)),
            Mail::Ask { generation, vms, now } => drop(outbox.blocking_send((generation, model.answer(&vms, now)))),
            Mail::Save(reply) => drop(reply.send(model.states())),
            Mail::Replace { model: newer, now, reply } => drop(reply.send(model.replace(newer, now))),
        }
    }
}

#[cfg(test)]
mod tests {
    use ballast_core::oversight::Size;

    use super::*;
    use crate::testing::{
        batch, inventory,
        models::{self, Tape},
        vm,
    };

    #[tokio::test]
    async fn what_a_hanging_model_cannot_take_is_dropped_and_it_is_waited_for_by_nobody() {
        let tape = Tape::default();
        let loaded = models::of_files(tape.clone()).load(None).unwrap().unwrap();
        let (clock, driver) = Clock::driven(Timestamp::from_secs(1000));
        let mut worker = Worker::start(GuardedModel::new(loaded.model), Duration::from_secs(1), clock.clone()).unwrap();
        tape.hold();
        let vms: Asked = [(vm(7), Size::default())].into();
        assert_eq!(worker.ask(vms.clone(), clock.now()), Asking::Asked);
        let one = Arc::new(batch(&inventory("a", &[7]), 1, clock.now(), 1.0));
        let taken = (0..2 * MAILBOX).filter(|_| worker.observe(Arc::clone(&one))).count();
        assert!((MAILBOX - 1..=MAILBOX + 1).contains(&taken), "{taken}");
        assert_eq!(worker.ask(vms, clock.now()), Asking::Busy);
        driver.advance(Duration::from_secs(1));
        worker.until_overdue().unwrap().await;
        worker.is_overdue();
        assert!(worker.is_late() && worker.save().is_none() && worker.until_overdue().is_none());
        tape.release();
        let heard = worker.heard().await;
        assert!(!heard.in_time && heard.answer.is_some() && !worker.is_late());
    }

    #[tokio::test]
    async fn an_answer_of_a_model_that_was_replaced_is_not_taken_for_its_successors() {
        let tape = Tape::default();
        let load = || models::of_files(tape.clone()).load(None).unwrap().unwrap().model;
        let (clock, _driver) = Clock::driven(Timestamp::from_secs(1000));
        let mut worker = Worker::start(GuardedModel::new(load()), Duration::from_secs(1), clock.clone()).unwrap();
        tape.panic();
        worker.ask(Asked::new(), clock.now());
        let restored = worker.replace(load(), clock.now()).ok().unwrap();
        assert_eq!(worker.heard().await.answer, None);
        restored.await.unwrap();
        worker.ask(Asked::new(), clock.now());
        assert!(worker.heard().await.answer.unwrap().said.is_ok());
    }
}
