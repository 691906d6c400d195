//! The state task's part in forecasting: one cycle after the other, with a model that runs beside or none.
//!
//! The model is asked at the beginning of a cycle and has the deadline's time; meanwhile and afterwards everything goes on.
//! Whether its answer is used is for the oversight to say. What changes is logged here, once.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use ballast_core::{
    oversight::{GuardedModel, Memory, Note, Restored, SavedState, asked},
    sample::Batch,
    snapshot::Snapshot,
    units::nanos_of,
};
use tokio::sync::oneshot;

use super::StateTask;
use crate::{
    counters::Counters,
    model::{Asking, Heard, Loaded, Worker},
    recorder::Recorder,
    shared::Shared,
};

/// Time between two times that the model's states are kept: two of its steps, which a killed scheduler's model lacks.
pub(super) const SAVE_EVERY: Duration = Duration::from_secs(600);

/// Who waits for something to be kept, where somebody does: told by being let go of.
type Done = Option<oneshot::Sender<()>>;

/// News of the model.
pub(super) enum News {
    Heard(Heard),
    Overdue,
}

/// The next news of the model that runs beside; never where there is none. An answer that is there comes first.
pub(super) async fn news(model: Option<&mut Worker>) -> News {
    let Some(model) = model else { return std::future::pending().await };
    model.news().await
}

impl Worker {
    async fn news(&mut self) -> News {
        if let Some(overdue) = self.until_overdue() {
            tokio::select! {
                biased;
                heard = self.heard() => News::Heard(heard),
                () = overdue => {
                    self.is_overdue();
                    News::Overdue
                }
            }
        } else {
            News::Heard(self.heard().await)
        }
    }
}

impl StateTask {
    /// The beginning of a cycle: what came is judged, and the model asked.
    pub(super) fn cycle(&mut self) {
        let snapshot = self.look();
        self.intake.cycle(&snapshot);
        let asking = self.model.as_mut().map(|model| model.ask(asked(&snapshot), snapshot.taken_at));
        if asking == Some(Asking::Busy) {
            self.is_late();
        }
        self.publish();
    }

    /// The model has answered, or has not.
    pub(super) fn model_says(&mut self, news: News) {
        match news {
            News::Overdue => self.is_late(),
            News::Heard(Heard { answer, took, in_time }) => {
                let counters = &self.shared.counters;
                counters.forecast_nanos_last.store(nanos_of(took), Relaxed);
                Counters::add(&counters.forecasts_answered, 1);
                let snapshot = self.look();
                let oversight = &mut self.intake.forecaster.oversight;
                match answer {
                    None => {}
                    Some(answer) if in_time => {
                        oversight.on_time();
                        oversight.heard(answer, &snapshot);
                    }
                    Some(answer) => oversight.heard(answer, &snapshot),
                }
            }
        }
        self.publish();
    }

    /// The fleet now, for forecasting alone: a snapshot that others would share for a while might lack the samples that are
    /// about to come in, and decisions would rest on older ones than they do without a model.
    fn look(&self) -> Snapshot {
        self.intake.snapshot(self.shared.clock.now())
    }

    fn is_late(&mut self) {
        Counters::add(&self.shared.counters.forecasts_late, 1);
        self.intake.forecaster.oversight.late(self.shared.clock.now());
    }

    /// Hands a batch to the model that runs beside.
    pub(super) fn teach(&self, batch: &Arc<Batch>) {
        if self.model.as_ref().is_some_and(|model| !model.observe(Arc::clone(batch))) {
            Counters::add(&self.shared.counters.model_dropped, 1);
        }
    }

    /// Logs what has changed, and shows how forecasting stands.
    pub(super) fn publish(&mut self) {
        let oversight = &mut self.intake.forecaster.oversight;
        for Note { is_warning, text } in oversight.take_notes() {
            if is_warning {
                tracing::warn!("{text}");
            } else {
                tracing::info!("{text}");
            }
        }
        self.shared.counters.set_forecasting(oversight.report());
        self.shared.counters.set_risk(self.intake.risk.report());
    }

    /// Puts a model in the place of the one there is. It takes up what that one knows, where it understands it and the other
    /// still answers.
    pub(super) fn take_model(&mut self, loaded: Loaded, reply: oneshot::Sender<Result<bool, String>>) {
        if self.intake.forecaster.oversight.has(&loaded.identity) {
            drop(reply.send(Ok(false)));
            return;
        }
        let done = match self.shared.settings.forecast.deadline {
            None => {
                let now = self.shared.clock.now();
                let taken_up = self.intake.forecaster.load(loaded.model, &loaded.identity, now);
                restored(&self.shared, &taken_up);
                Ok(true)
            }
            Some(deadline) => self.take_beside(loaded, deadline).map(|()| true).map_err(|error| error.to_string()),
        };
        self.publish();
        drop(reply.send(done));
    }

    fn take_beside(&mut self, loaded: Loaded, deadline: Duration) -> std::io::Result<()> {
        let Loaded { model, identity } = loaded;
        let (name, now, clock) = (model.name(), self.shared.clock.now(), self.shared.clock.clone());
        let replaced = match self.model.as_mut() {
            Some(worker) => worker.replace(model, now),
            None => Err(model),
        };
        match replaced {
            Ok(taken_up) => {
                let shared = Arc::clone(&self.shared);
                tokio::spawn(async move { taken_up.await.iter().for_each(|taken_up| restored(&shared, taken_up)) });
            }
            // A thread that hangs ends when it comes back: nobody listens to it any more.
            Err(model) => self.model = Some(Worker::start(GuardedModel::new(model), deadline, clock)?),
        }
        self.intake.forecaster.oversight.model_loaded(name, &identity);
        Ok(())
    }

    /// Has what the model knows and what was measured of risk kept, by the recorder, without waiting for anyone here. `done` is
    /// let go of when that is done, or when there is nothing to wait for.
    pub(super) fn save(&mut self, done: Done) {
        let done = Arc::new(done);
        self.save_risk(Arc::clone(&done));
        self.save_model(done);
    }

    fn save_risk(&self, done: Arc<Done>) {
        if self.intake.risk.report().is_none() {
            return;
        }
        // What is no number is no measurement: the next life then begins anew.
        let Ok(risk) = serde_json::to_vec(&self.intake.risk) else { return };
        let recorder = self.recorder.clone();
        tokio::spawn(async move {
            recorder.risk(risk).await;
            drop(done);
        });
    }

    fn save_model(&mut self, done: Arc<Done>) {
        let memory = self.intake.forecaster.oversight.memory();
        let recorder = self.recorder.clone();
        let Some(memory) = memory else { return };
        if let Some(model) = &self.model {
            let Some(states) = model.save() else { return };
            tokio::spawn(async move {
                if let Ok(states) = states.await {
                    keep(&recorder, states, &memory).await;
                }
                drop(done);
            });
        } else if let Some(model) = &mut self.intake.forecaster.model {
            let states = model.states();
            tokio::spawn(async move {
                keep(&recorder, states, &memory).await;
                drop(done);
            });
        }
    }
}

async fn keep(recorder: &Recorder, states: Vec<SavedState>, memory: &Memory) {
    // Without it the model only has to prove itself anew.
    recorder.model(states, serde_json::to_vec(memory).ok()).await;
}

/// Counts what a model took up, and says what it refused.
pub(crate) fn restored(shared: &Shared, what: &Restored) {
    let Restored { taken, refused, why } = what;
    Counters::add(&shared.counters.states_restored, *taken);
    Counters::add(&shared.counters.states_refused, *refused);
    if let Some(why) = why {
        tracing::warn!(refused, taken, why, "the model refuses states that were kept: these vms begin anew");
    }
}
