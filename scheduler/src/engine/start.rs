//! Putting the engine together: what is read from the disk, what is taken up from it, and which tasks run.
//!
//! Nothing is decided here. The order matters and is told step by step.

use std::{
    collections::BTreeSet,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::AtomicU64},
};

use ballast_core::{
    id::{Epoch, HostId},
    inventory::Inventory,
    oversight::{Memory, ModelMode},
    units::Timestamp,
};
use ballast_daemon::clock::Clock;
use futures::FutureExt;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use super::{Engine, EngineError, EngineSettings, Inner};
use crate::{
    control::ControlLoop,
    counters::Counters,
    dispatch::Dispatcher,
    history::History,
    intake::Intake,
    journal::{self, Journal, JournalError, Ledger, Record, error_chain},
    model::{Models, Reloader, Worker},
    proposer::{Proposer, Proposers},
    recorder::RecorderTask,
    shared::Shared,
    state_task::{StateTask, restored},
    store::{KeptModel, SledStore, Store},
    telemetry_log::TelemetryLog,
};

/// Names of the directories below the data directory.
const JOURNAL_DIR: &str = "journal";
const TELEMETRY_DIR: &str = "telemetry";
const STORE_DIR: &str = "store";

impl EngineSettings {
    /// Where the telemetry log lies: what `replay` is given.
    pub fn telemetry_dir(&self) -> std::path::PathBuf {
        self.data_dir.join(TELEMETRY_DIR)
    }

    /// Where the journal lies.
    pub fn journal_dir(&self) -> std::path::PathBuf {
        self.data_dir.join(JOURNAL_DIR)
    }

    /// Where the store lies.
    pub fn store_dir(&self) -> std::path::PathBuf {
        self.data_dir.join(STORE_DIR)
    }
}

/// Opens everything, takes up where the last start ended, and starts the tasks.
pub(super) async fn start(settings: EngineSettings, models: Models, clock: Clock) -> Result<Engine, EngineError> {
    let policies = proposers(&settings)?;
    let counters = Arc::new(Counters::default());
    let (journal, ledger) = open_journal(&settings, &clock, &counters)?;
    let epoch = begin_epoch(&journal, &ledger, settings.epoch_min).await?;
    let mode = ledger.mode.unwrap_or(settings.initial_mode);
    let history = History::new(&ledger, &settings.keep);
    let shared = Arc::new(Shared::new(settings, clock, epoch, mode, counters, history));
    tracing::info!(%epoch, %mode, open = ledger.open.len(), "the journal is read");

    let now = shared.clock.now();
    let store = open_store(&shared, now);
    let EngineSettings { period, tuning, forecast, .. } = &shared.settings;
    let mut intake = Intake::new(epoch, *period, tuning, forecast.supervised());
    let identity = load_model(&mut intake, &models, store.as_deref(), &shared, now).await;
    take_up_risk(&mut intake, store.as_deref());
    let known = warm_up(&mut intake, &ledger, store.as_deref(), &shared, now);
    let log = open_log(&shared);
    let model = beside(&mut intake, &shared)?;
    Ok(assemble(shared, journal, &ledger, (intake, model), (log, store), policies, known, (models, identity)))
}

/// The policies that the settings name, with their networks.
fn proposers(settings: &EngineSettings) -> Result<Proposers, EngineError> {
    let known = ballast_models::policy::NAMES;
    let proposer = |name: &String| {
        if !known.contains(&name.as_str()) {
            let known = known.iter().map(ToString::to_string).collect();
            return Err(EngineError::UnknownPolicy { name: name.clone(), known });
        }
        let proposer = Proposer::new(name, settings.policy_bundle.as_deref());
        let remedy = "put a whole one back from a backup, or leave policy_bundle out for the one that ships";
        proposer.map_err(|why| EngineError::Unusable { what: "the policy's bundle", why: format!("{why}; {remedy}") })
    };
    let shadow = settings.policy_shadow.as_ref().map(proposer).transpose()?;
    Ok(Proposers { active: proposer(&settings.policy)?, shadow })
}

/// The forecaster's model with what it knew before, where there is one. Without it everything works, and the forecasts say
/// that it is missing. Returns which one it is.
async fn load_model(
    intake: &mut Intake,
    models: &Models,
    store: Option<&dyn Store>,
    shared: &Shared,
    now: Timestamp,
) -> Option<String> {
    let settings = &shared.settings.forecast;
    if settings.oversight.mode == ModelMode::Off {
        return None;
    }
    let loaded = match models.load_in_time(settings.model.clone(), &shared.clock).await {
        Ok(loaded) => loaded?,
        Err(why) => {
            Counters::add(&shared.counters.models_refused, 1);
            tracing::warn!(why, "the forecaster's model is refused; forecasts are made without");
            intake.forecaster.oversight.model_refused(&why);
            return None;
        }
    };
    let identity = loaded.identity.clone();
    tracing::info!(model = ?loaded, mode = %settings.oversight.mode, "the forecaster's model is loaded");
    intake.forecaster.load(loaded.model, &identity, now);
    let kept = store.and_then(|store| store.model().map_err(|error| error.to_string()).ok()).unwrap_or_default();
    take_up(intake, kept, shared, now);
    Some(identity)
}

/// Takes up what was kept of the model. Damage costs a warm-up.
fn take_up(intake: &mut Intake, kept: KeptModel, shared: &Shared, now: Timestamp) {
    let KeptModel { states, memory, unreadable } = kept;
    if unreadable > 0 {
        Counters::add(&shared.counters.states_refused, unreadable);
        tracing::warn!(unreadable, "some of what the model knew is damaged and left out: these vms begin anew");
    }
    if let Some(model) = intake.forecaster.model.as_mut() {
        restored(shared, &model.restore(states, now));
    }
    // Of an older version it may not be understood; the model then has to prove itself anew.
    let memory = memory.and_then(|bytes| serde_json::from_slice::<Memory>(&bytes).ok());
    memory.into_iter().for_each(|memory| intake.forecaster.oversight.recall(memory));
}

/// Takes up what was measured of the fleet's risk. What cannot be read, or is of a version that is not understood, is measured
/// anew.
fn take_up_risk(intake: &mut Intake, store: Option<&dyn Store>) {
    let kept = store.and_then(|store| store.risk().ok().flatten());
    if let Some(risk) = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
        intake.risk = risk;
    }
}

/// The model on a thread of its own, warm, where it is to run there.
fn beside(intake: &mut Intake, shared: &Shared) -> Result<Option<Worker>, EngineError> {
    let Some(deadline) = shared.settings.forecast.deadline else { return Ok(None) };
    let Some(model) = intake.forecaster.model.take() else { return Ok(None) };
    let started = Worker::start(model, deadline, shared.clock.clone());
    started.map(Some).map_err(|error| EngineError::Unusable { what: "the model's thread", why: error.to_string() })
}

fn open_journal(
    settings: &EngineSettings,
    clock: &Clock,
    counters: &Arc<Counters>,
) -> Result<(Journal, Ledger), EngineError> {
    let keep = &settings.keep;
    let (bytes, kept) = ((keep.journal_segment, keep.journal_total), keep.decisions.max(keep.migrations));
    let (dir, clock, counters) = (settings.journal_dir(), clock.clone(), Arc::clone(counters));
    let opened = journal::open(&dir, bytes.0, bytes.1, kept, clock, counters);
    opened.map_err(|error| match error {
        JournalError::Segments(error) if error.is_io() => {
            EngineError::Unusable { what: "the journal", why: error_chain(&error) }
        }
        error => EngineError::Journal { dir: settings.journal_dir(), why: error_chain(&error) },
    })
}

/// The new epoch is on the disk before anything else happens, so that no two starts ever share one.
async fn begin_epoch(journal: &Journal, ledger: &Ledger, least: u64) -> Result<Epoch, EngineError> {
    let epoch = Epoch(ledger.epoch.0.saturating_add(1).max(least));
    let mut begun = ledger.without_history();
    begun.epoch = epoch;
    let records = vec![Record::EpochStart { epoch }, Record::Checkpoint { ledger: Box::new(begun) }];
    journal.write(records).await.map_err(|error| EngineError::Unusable { what: "the journal", why: error.why })?;
    Ok(epoch)
}

/// The store, where it can be used; what is wrong with it is said and costs warm-up only.
fn open_store(shared: &Shared, now: Timestamp) -> Option<Box<dyn Store>> {
    match SledStore::open(&shared.settings.store_dir(), now) {
        Ok(opened) => {
            if let Some((aside, why)) = opened.quarantined {
                Counters::add(&shared.counters.store_quarantined, 1);
                tracing::warn!(aside = %aside.display(), why, "the store was damaged; it was set aside and begun anew");
            }
            if let Some(missing) = opened.missing {
                let dir = shared.settings.store_dir();
                tracing::warn!(dir = %dir.display(), missing, "the store has lost some of what it held; it warms up anew");
            }
            Some(Box::new(opened.store))
        }
        Err(error) => {
            shared.counters.store_unusable(&error.to_string());
            None
        }
    }
}

fn open_log(shared: &Shared) -> Option<TelemetryLog> {
    match TelemetryLog::open(shared.clock.disk(), &shared.settings.telemetry_dir(), &shared.settings.keep) {
        Ok(log) => Some(log),
        Err(error) => {
            shared.counters.log_written(Err(error_chain(&error)), 0);
            None
        }
    }
}

/// Takes up what is known from before: hosts that sleep, wishes for hosts, commands without an outcome (their vms are
/// locked at once), and what the store remembers. Returns the hosts that are expected back.
fn warm_up(
    intake: &mut Intake,
    ledger: &Ledger,
    store: Option<&dyn Store>,
    shared: &Shared,
    now: Timestamp,
) -> BTreeSet<HostId> {
    let cached = store.map_or_else(Vec::new, |store| from_store(intake, store, shared, now));
    let known = cached.iter().map(|inventory| inventory.host.clone());
    let expected = known.filter(|host| !ledger.asleep.contains_key(host)).collect();
    for inventory in cached.into_iter().chain(ledger.asleep.values().cloned()) {
        intake.inventory(&inventory, now);
    }
    for event in ledger.events() {
        intake.event(&event, now);
    }
    expected
}

fn from_store(intake: &mut Intake, store: &dyn Store, shared: &Shared, now: Timestamp) -> Vec<Inventory> {
    let since = now.before(shared.settings.keep.windows);
    let mut batches = 0_u64;
    let windows = store.windows(since, &mut |batch| {
        batches += 1;
        intake.warm_up(&batch);
    });
    match (windows, store.inventories()) {
        (Ok(unreadable), Ok(inventories)) => {
            if unreadable > 0 {
                tracing::warn!(unreadable, "some of the store's windows could not be read and are left out");
            }
            tracing::info!(hosts = inventories.len(), batches, "taken up from the store");
            inventories
        }
        (Err(error), _) | (_, Err(error)) => {
            shared.counters.store_unusable(&error.to_string());
            Vec::new()
        }
    }
}

/// What the tasks write to.
type Files = (Option<TelemetryLog>, Option<Box<dyn Store>>);

#[allow(clippy::too_many_arguments)] // Each is a part that was opened; a struct of them would only rename the list.
fn assemble(
    shared: Arc<Shared>,
    journal: Journal,
    ledger: &Ledger,
    forecasting: (Intake, Option<Worker>),
    (log, store): Files,
    policies: Proposers,
    known: BTreeSet<HostId>,
    (models, identity): (Models, Option<String>),
) -> Engine {
    let beats: [Arc<AtomicU64>; 4] = Default::default();
    let [recorder_beat, state_beat, dispatch_beat, control_beat] = beats.clone();
    let pressure = Arc::new(Notify::new());
    let (recording, recorder) = RecorderTask::new(Arc::clone(&shared), log, store, recorder_beat);
    let (keeping, state) =
        StateTask::new(Arc::clone(&shared), forecasting, recorder.clone(), Arc::clone(&pressure), state_beat);
    let (dispatching, dispatch) =
        Dispatcher::new(Arc::clone(&shared), journal.clone(), state.clone(), ledger, dispatch_beat);
    let (deciding, control) = ControlLoop::new(
        Arc::clone(&shared),
        journal,
        state.clone(),
        dispatch.clone(),
        policies,
        pressure,
        known,
        control_beat,
    );
    let reloader = Reloader::new(Arc::clone(&shared), state.clone(), models, identity);
    let failed = watch::Sender::new(None);
    let tasks = vec![
        supervise("recorder", recording.run(), &shared, &failed),
        supervise("state", keeping.run(), &shared, &failed),
        supervise("dispatcher", dispatching.run(), &shared, &failed),
        supervise("control loop", deciding.run(), &shared, &failed),
        supervise("look at the model's bundle", reloader.clone().watch(), &shared, &failed),
    ];
    let inner = Inner { shared, state, dispatch, control, recorder, reloader, failed, beats, tasks };
    Engine { inner: Arc::new(inner) }
}

/// Runs a task; its end while nobody stops the engine is a failure of the whole.
fn supervise(
    name: &'static str,
    task: impl Future<Output = ()> + Send + 'static,
    shared: &Arc<Shared>,
    failed: &watch::Sender<Option<String>>,
) -> JoinHandle<()> {
    let (shared, failed) = (Arc::clone(shared), failed.clone());
    tokio::spawn(async move {
        let ended = AssertUnwindSafe(task).catch_unwind().await;
        if !shared.is_stopping() {
            let how = if ended.is_err() { "panicked" } else { "ended" };
            failed.send_replace(Some(format!("the {name} task {how}")));
        }
    })
}
