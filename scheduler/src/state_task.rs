//! The one task that owns the fleet's state: events in, snapshots out on request.
//!
//! Everybody else sees the fleet through a snapshot; what an earlier request changed is in every later snapshot. It also
//! leads forecasting, cycle by cycle: it tells the model, asks it and looks at the clock, and waits for it never.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ballast_core::{
    forecast::{Forecasts, VmForecast},
    id::{BootId, HostId, Seq, VmId},
    inventory::Inventory,
    oversight::DemandStep,
    sample::Batch,
    snapshot::{Event, Snapshot},
    units::{Timestamp, nanos_of},
};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::{
    counters::Counters,
    engine::SessionId,
    ingest::Admission,
    intake::{Intake, Taken},
    model::{Loaded, Worker},
    recorder::Recorder,
    shared::Shared,
};

mod forecasting;

pub(crate) use forecasting::restored;

/// Requests that may wait; links wait beyond, and their flow control holds the agents back.
const QUEUE: usize = 8192;

/// Age at which a snapshot is made anew although nothing but samples came in.
const SNAPSHOT_AGE: Duration = Duration::from_millis(200);

/// How often the task shows that it lives when nothing comes in.
const BEAT: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Request {
    Opened { session: SessionId, inventory: Arc<Inventory>, resume_from: Seq, reply: oneshot::Sender<Seq> },
    Inventory { session: SessionId, inventory: Arc<Inventory> },
    Batch { session: SessionId, batch: Arc<Batch>, at: Timestamp },
    Closed { session: SessionId, host: HostId },
    Event(Box<Event>),
    Snapshot(oneshot::Sender<Arc<Snapshot>>),
    View(oneshot::Sender<(Arc<Snapshot>, Arc<Forecasts>)>),
    Outlook { vm: VmId, now: Timestamp, reply: oneshot::Sender<(Option<VmForecast>, Vec<DemandStep>)> },
    Model { loaded: Loaded, reply: oneshot::Sender<Result<bool, String>> },
    Save(oneshot::Sender<()>),
}

/// The way to the state task.
#[derive(Debug, Clone)]
pub(crate) struct State {
    requests: mpsc::Sender<Request>,
    recorder: Recorder,
    shared: Arc<Shared>,
}

impl State {
    /// A link opened; where its agent shall resume, or `None` where the task has ended.
    pub(crate) async fn opened(&self, session: SessionId, inventory: Arc<Inventory>, resume_from: Seq) -> Option<Seq> {
        self.recorder.opened(self.shared.clock.now(), Arc::clone(&inventory)).await;
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Opened { session, inventory, resume_from, reply }).await.ok()?;
        answer.await.ok()
    }

    /// An inventory changed.
    pub(crate) async fn inventory(&self, session: SessionId, inventory: Arc<Inventory>) -> bool {
        self.recorder.inventory(self.shared.clock.now(), Arc::clone(&inventory)).await;
        self.requests.send(Request::Inventory { session, inventory }).await.is_ok()
    }

    /// A batch came in.
    pub(crate) async fn batch(&self, session: SessionId, batch: Arc<Batch>) -> bool {
        let clock = &self.shared.clock;
        let at = self.shared.pulse.received(clock);
        self.recorder.batch(session, at, Arc::clone(&batch)).await;
        self.requests.send(Request::Batch { session, batch, at }).await.is_ok()
    }

    /// A link ended.
    pub(crate) async fn closed(&self, session: SessionId, host: HostId) {
        // A task that has ended knows of no links.
        drop(self.requests.send(Request::Closed { session, host }).await);
    }

    /// Something happened that no agent's telemetry tells.
    pub(crate) async fn event(&self, event: Event) {
        self.recorder.event(self.shared.clock.now(), event.clone()).await;
        drop(self.requests.send(Request::Event(Box::new(event))).await);
    }

    /// The fleet after everything handed over before.
    pub(crate) async fn snapshot(&self) -> Option<Arc<Snapshot>> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Snapshot(reply)).await.ok()?;
        answer.await.ok()
    }

    /// The fleet and its forecasts.
    pub(crate) async fn view(&self) -> Option<(Arc<Snapshot>, Arc<Forecasts>)> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::View(reply)).await.ok()?;
        answer.await.ok()
    }
}

impl State {
    /// What a vm is expected to want at `now`, where that is known, and what it used in the last two hours.
    pub(crate) async fn outlook(&self, vm: VmId, now: Timestamp) -> Option<(Option<VmForecast>, Vec<DemandStep>)> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Outlook { vm, now, reply }).await.ok()?;
        answer.await.ok()
    }

    /// A model to run in the place of the one there is; false where it is that one.
    pub(crate) async fn model(&self, loaded: Loaded) -> Option<Result<bool, String>> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Model { loaded, reply }).await.ok()?;
        answer.await.ok()
    }

    /// Has what the model knows and what was measured of risk kept; returns once the recorder has it, or there is nothing to wait for.
    pub(crate) async fn save(&self) {
        let (done, answer) = oneshot::channel();
        if self.requests.send(Request::Save(done)).await.is_ok() {
            // The other end is let go of, not told.
            drop(answer.await);
        }
    }
}

/// The task, before it runs.
pub(crate) struct StateTask {
    shared: Arc<Shared>,
    intake: Intake,
    recorder: Recorder,
    sessions: BTreeMap<HostId, (SessionId, BootId)>,
    cached: Option<(Duration, Arc<Snapshot>)>,
    /// The model, where it runs beside this task.
    model: Option<Worker>,
    pressure: Arc<Notify>,
    requests: mpsc::Receiver<Request>,
    beat: Arc<AtomicU64>,
}

impl StateTask {
    /// A task over `intake` with its `model`, where that runs beside; `pressure` is told of every batch that shows a host over its limit.
    pub(crate) fn new(
        shared: Arc<Shared>,
        (intake, model): (Intake, Option<Worker>),
        recorder: Recorder,
        pressure: Arc<Notify>,
        beat: Arc<AtomicU64>,
    ) -> (Self, State) {
        let (sender, requests) = mpsc::channel(QUEUE);
        shared.counters.set_forecasting(intake.forecaster.oversight.report());
        let state = State { requests: sender, recorder: recorder.clone(), shared: Arc::clone(&shared) };
        let (sessions, cached) = (BTreeMap::new(), None);
        (Self { shared, intake, recorder, sessions, cached, model, pressure, requests, beat }, state)
    }

    /// Runs until every [`State`] is gone.
    pub(crate) async fn run(mut self) {
        let clock = self.shared.clock.clone();
        let mut beats = clock.interval(BEAT);
        let mut cycles = clock.interval(self.shared.settings.forecast.cycle);
        let mut saves = clock.interval(forecasting::SAVE_EVERY);
        loop {
            self.beat.store(nanos_of(clock.elapsed()), Relaxed);
            // It beats, whatever it says.
            let _now = self.shared.pulse.received(&clock);
            tokio::select! {
                biased;
                news = forecasting::news(self.model.as_mut()) => self.model_says(news),
                () = cycles.tick() => self.cycle(),
                () = saves.tick() => self.save(None),
                () = beats.tick() => {}
                request = self.requests.recv() => match request {
                    Some(request) => self.handle(request).await,
                    None => return,
                },
            }
        }
    }

    async fn handle(&mut self, request: Request) {
        let now = self.shared.clock.now();
        match request {
            Request::Opened { session, inventory, resume_from, reply } => {
                self.sessions.insert(inventory.host.clone(), (session, inventory.boot));
                let (resume, notes) = self.intake.opened(&inventory, resume_from, now);
                self.changed(notes);
                // The link may have ended while it was being opened.
                let _gone = reply.send(resume);
            }
            Request::Inventory { session, inventory } if self.is_current(session, &inventory.host) => {
                self.sessions.insert(inventory.host.clone(), (session, inventory.boot));
                let notes = self.intake.inventory(&inventory, now);
                self.changed(notes);
            }
            Request::Batch { session, batch, at } => {
                if self.is_current(session, &batch.host) {
                    self.take(&batch, at).await;
                } else {
                    Counters::add(&self.shared.counters.batches_late, 1);
                }
            }
            Request::Closed { session, host } if self.is_current(session, &host) => {
                let Some((_, boot)) = self.sessions.remove(&host) else { return };
                self.recorder.closed(now, host.clone(), boot).await;
                let notes = self.intake.closed(&host, boot, now);
                self.changed(notes);
            }
            Request::Inventory { .. } | Request::Closed { .. } => {}
            Request::Event(event) => {
                let notes = self.intake.event(&event, now);
                self.changed(notes);
            }
            // Who asked may have gone.
            Request::Snapshot(reply) => drop(reply.send(self.snapshot())),
            Request::View(reply) => {
                let snapshot = self.snapshot();
                let forecasts = Arc::new(self.intake.forecasts(&snapshot));
                drop(reply.send((snapshot, forecasts)));
            }
            Request::Outlook { vm, now, reply } => {
                let oversight = &self.intake.forecaster.oversight;
                drop(reply.send((oversight.forecast(vm, now), oversight.history(vm))));
            }
            Request::Model { loaded, reply } => self.take_model(loaded, reply),
            Request::Save(done) => self.save(Some(done)),
        }
    }

    fn is_current(&self, session: SessionId, host: &HostId) -> bool {
        self.sessions.get(host).is_some_and(|(current, _)| *current == session)
    }

    async fn take(&mut self, batch: &Batch, at: Timestamp) {
        let Taken { admission, absurd, is_overloaded, batch: believed, notes } = self.intake.batch(batch, at);
        let counters = &self.shared.counters;
        match admission {
            Admission::Taken { missing, .. } => {
                Counters::add(&counters.batches, 1);
                Counters::add(&counters.vm_samples, batch.vms.len() as u64);
                Counters::add(&counters.batches_missing, missing);
                Counters::add(&counters.readings_absurd, absurd as u64);
            }
            Admission::Duplicate => Counters::add(&counters.batches_duplicate, 1),
            Admission::Late | Admission::OtherBoot => Counters::add(&counters.batches_late, 1),
        }
        if is_overloaded {
            self.pressure.notify_one();
        }
        if let Some(believed) = believed {
            self.teach(&believed);
            self.recorder.window(believed).await;
        }
        self.log(notes);
    }

    /// The fleet changed in more than its figures.
    fn changed(&mut self, notes: Vec<String>) {
        self.cached = None;
        self.log(notes);
    }

    fn log(&self, notes: Vec<String>) {
        for note in notes {
            tracing::info!("{note}");
        }
    }

    fn snapshot(&mut self) -> Arc<Snapshot> {
        let elapsed = self.shared.clock.elapsed();
        if let Some((made, snapshot)) = &self.cached
            && elapsed < *made + SNAPSHOT_AGE
        {
            return Arc::clone(snapshot);
        }
        let snapshot = Arc::new(self.intake.snapshot(self.shared.clock.now()));
        self.cached = Some((elapsed, Arc::clone(&snapshot)));
        snapshot
    }
}
