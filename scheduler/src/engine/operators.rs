//! What operators' requests and metrics call on the engine.

use std::{sync::Arc, time::Duration};

use ballast_core::{
    decision::Mode,
    explain::{came_of, explain},
    forecast::Forecasts,
    hindsight::Settled,
    id::{CommandId, DecisionId, HostId, VmId},
    outcome::{Ending, Stage},
    snapshot::{HostMode, Snapshot},
};
use tokio::sync::{broadcast, oneshot};

use super::{
    Approval, DecisionRecord, Engine, EngineStats, Explanation, ForecastStats, ManualMove, ManualResult,
    MigrationRecord, ModeChange, OperatorError, Outlook,
};
use crate::{
    control::{Request, find_vm},
    counters::Counters,
    model::Reloaded,
};

impl Engine {
    /// The fleet now.
    ///
    /// # Errors
    /// [`OperatorError::Stopping`].
    pub async fn snapshot(&self) -> Result<Arc<Snapshot>, OperatorError> {
        self.inner.state.snapshot().await.ok_or(OperatorError::Stopping)
    }

    /// What every vm is expected to want.
    ///
    /// # Errors
    /// [`OperatorError::Stopping`].
    pub async fn forecasts(&self) -> Result<Arc<Forecasts>, OperatorError> {
        self.inner.state.view().await.map(|(_, forecasts)| forecasts).ok_or(OperatorError::Stopping)
    }

    /// Whether plans are carried out.
    pub fn mode(&self) -> Mode {
        self.shared().mode()
    }

    /// Asks the control loop.
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, OperatorError>>) -> Request,
    ) -> Result<T, OperatorError> {
        let (reply, answer) = oneshot::channel();
        self.inner.control.send(request(reply)).await.map_err(|_| OperatorError::Stopping)?;
        answer.await.map_err(|_| OperatorError::Stopping)?
    }

    /// Returns once every decision that is due has been made and its orders given: for whoever drives the clock and must
    /// not run ahead of the engine.
    ///
    /// # Errors
    /// [`OperatorError::Stopping`].
    pub async fn settled(&self) -> Result<(), OperatorError> {
        self.ask(|reply| Request::Settled { reply }).await
    }

    /// Sets whether plans are carried out; journalled before this returns.
    ///
    /// # Errors
    /// [`OperatorError`] when it cannot be journalled.
    pub async fn set_mode(&self, mode: Mode, who: &str) -> Result<ModeChange, OperatorError> {
        let who = who.to_owned();
        self.ask(|reply| Request::SetMode { mode, who, reply }).await
    }

    /// Has the next rounds empty a host and keeps it empty, or puts it back in use; journalled before this returns.
    /// Returns the number of vms on it.
    ///
    /// # Errors
    /// [`OperatorError`] when the host is not known or it cannot be journalled.
    pub async fn set_host_mode(&self, host: &HostId, mode: HostMode, who: &str) -> Result<usize, OperatorError> {
        let (host, who) = (host.clone(), who.to_owned());
        self.ask(|reply| Request::SetHostMode { host, mode, who, reply }).await
    }

    /// Moves a vm past the same checks as the scheduler's own plans.
    ///
    /// # Errors
    /// [`OperatorError::Denied`] with every finding that stands against it, and the others as they say.
    pub async fn migrate(&self, wish: ManualMove) -> Result<ManualResult, OperatorError> {
        self.ask(|reply| Request::Migrate { wish, reply }).await
    }

    /// Orders a running migration to stop; returns the id of that order. What comes of it shows on the migration.
    ///
    /// # Errors
    /// [`OperatorError`] when it is not known, over, or its source not connected.
    pub async fn cancel(&self, migration: CommandId, who: &str) -> Result<CommandId, OperatorError> {
        let who = who.to_owned();
        self.ask(|reply| Request::Cancel { migration, who, reply }).await
    }

    /// Carries out a recommendation: whatever of it the guard still allows now.
    ///
    /// # Errors
    /// [`OperatorError`] when it is not known or was carried out already.
    pub async fn approve(&self, decision: DecisionId, who: &str) -> Result<Approval, OperatorError> {
        let who = who.to_owned();
        self.ask(|reply| Request::Approve { decision, who, reply }).await
    }

    /// Migrations, newest first, at most `limit`.
    pub fn migrations(&self, limit: usize, running_only: bool) -> Vec<MigrationRecord> {
        self.shared().history.migrations(limit, running_only)
    }

    /// Every change of a migration from now on. Who is too slow misses some and is told how many.
    pub fn watch(&self) -> broadcast::Receiver<MigrationRecord> {
        self.shared().history.watch()
    }

    /// Decisions, newest first, at most `limit`.
    pub fn decisions(&self, limit: usize, include_empty: bool) -> Vec<DecisionRecord> {
        self.shared().history.decisions(limit, include_empty)
    }

    /// A decision, or the decision behind a migration, with all its reasons. Decisions and commands are numbered from
    /// one counter, so that an id names one thing only.
    ///
    /// # Errors
    /// [`OperatorError`] when it is no id, or none that is kept.
    pub fn explain(&self, id: &str) -> Result<Explanation, OperatorError> {
        let history = &self.shared().history;
        let migration = history.migration(id.parse()?);
        let decision = migration.map_or(id.parse::<DecisionId>(), |migration| Ok(migration.decision))?;
        let known = history.decision(decision).ok_or_else(|| OperatorError::UnknownId { id: id.to_owned() })?;
        let migrations = history.migrations_of(decision);
        let name = |vm: VmId| migrations.iter().find(|one| one.vm == vm).map(|one| one.name.clone());
        let text = format!("{}{}{}", explain(&known.decision, &name), came_true(&migrations), gained(&known.came));
        Ok(Explanation { text, decision: known.decision, migrations, came: known.came })
    }

    /// What a vm is expected to want, who says so, and what it used in the last two hours.
    ///
    /// # Errors
    /// [`OperatorError::UnknownVm`] and [`OperatorError::AmbiguousVm`] by its uuid or name, [`OperatorError::Stopping`].
    pub async fn outlook(&self, named: &str) -> Result<Outlook, OperatorError> {
        let (snapshot, forecasts) = self.inner.state.view().await.ok_or(OperatorError::Stopping)?;
        let vm = find_vm(&snapshot, named)?;
        let at = snapshot.taken_at;
        let (forecast, history) = self.inner.state.outlook(vm, at).await.ok_or(OperatorError::Stopping)?;
        let name = snapshot.vms.get(&vm).map(|view| view.record.name.clone()).unwrap_or_default();
        let source = forecasts.source(vm).to_owned();
        let method = forecasts.method.clone();
        Ok(Outlook { vm, name, at, method, source, forecast, history })
    }

    /// Loads the forecaster's model anew. What came of it is logged.
    pub async fn reload_model(&self) -> Reloaded {
        self.inner.reloader.reload().await
    }

    fn forecast_stats(&self) -> ForecastStats {
        let (counters, get) = (&*self.shared().counters, Counters::get);
        ForecastStats {
            report: counters.forecasting(),
            answered: get(&counters.forecasts_answered),
            late: get(&counters.forecasts_late),
            time_last: Duration::from_nanos(get(&counters.forecast_nanos_last)),
            dropped: get(&counters.model_dropped),
            states_restored: get(&counters.states_restored),
            states_refused: get(&counters.states_refused),
            models_refused: get(&counters.models_refused),
        }
    }

    /// Everything metrics need.
    ///
    /// # Errors
    /// [`OperatorError::Stopping`] when the engine has stopped.
    pub async fn stats(&self) -> Result<EngineStats, OperatorError> {
        let shared = self.shared();
        if shared.is_stopping() {
            return Err(OperatorError::Stopping);
        }
        let (counters, get) = (&*shared.counters, Counters::get);
        let (journal_records, journal_failures) = counters.journal();
        Ok(EngineStats {
            epoch: shared.epoch,
            mode: shared.mode(),
            impairments: counters.impairments(),
            sessions: shared.links.len() as u64,
            sessions_opened: get(&counters.sessions_opened),
            sessions_refused: get(&counters.sessions_refused),
            batches: get(&counters.batches),
            vm_samples: get(&counters.vm_samples),
            batches_duplicate: get(&counters.batches_duplicate),
            batches_late: get(&counters.batches_late),
            batches_missing: get(&counters.batches_missing),
            malformed: get(&counters.malformed),
            readings_absurd: get(&counters.readings_absurd),
            log_dropped: get(&counters.log_dropped),
            log_bytes: get(&counters.log_bytes),
            store_dropped: get(&counters.store_dropped),
            forecast: self.forecast_stats(),
            risk: counters.risk(),
            shadow: counters.shadow(),
            store_quarantined: get(&counters.store_quarantined),
            journal_records,
            journal_failures,
            ack_delay_max: counters.take_ack_delay(),
            rounds: get(&counters.rounds),
            early_rounds: get(&counters.early_rounds),
            relief_rounds: get(&counters.relief_rounds),
            decisions: get(&counters.decisions),
            decisions_empty: get(&counters.decisions_empty),
            decisions_repeated: get(&counters.decisions_repeated),
            denied: get(&counters.denied),
            decision_time_last: Duration::from_nanos(get(&counters.decision_nanos_last)),
            commands: counters.commands(),
            commands_resent: get(&counters.commands_resent),
            commands_open: get(&counters.commands_open),
            outcomes: counters.outcomes(),
            given_up: counters.given_up(),
            gains: counters.gains(),
            preflights: counters.preflights(),
            preflight_refusals: counters.preflight_refusals(),
            reports_unknown: get(&counters.reports_unknown),
            copied_bytes: get(&counters.copied_bytes),
            downtime_total: Duration::from_nanos(get(&counters.downtime_nanos)),
        })
    }
}

/// What a decision's moves have gained, in words; nothing while that is open.
fn gained(came: &[Settled]) -> String {
    let lines: String = came.iter().map(|one| format!("  - {one}\n")).collect();
    if lines.is_empty() { lines } else { format!("\nwhat it gained by the demand that came:\n{lines}") }
}

/// What came of a decision's moves beside what they were reckoned with, in words; nothing where there were none.
fn came_true(migrations: &[MigrationRecord]) -> String {
    let came = |one: &MigrationRecord| match &one.outcome {
        Some(outcome) if outcome.ending != Ending::Completed => {
            let why = one.stop.as_ref().map(|why| format!(" ({why})"));
            came_of(one.copy.as_deref(), outcome) + &why.unwrap_or_default()
        }
        Some(outcome) => came_of(one.copy.as_deref(), outcome),
        None => {
            let rest = one.rest.filter(|_| one.progress.stage == Stage::Migration);
            let rest = rest.map(|rest| format!(", {rest}")).unwrap_or_default();
            let stop = one.stop.as_ref().map(|why| format!("; is to stop: {why}")).unwrap_or_default();
            format!("under way: {}{rest}{stop}", one.progress.stage)
        }
    };
    let line = |one: &MigrationRecord| format!("  - {} to {}: {}\n", one.name, one.destination, came(one));
    let lines: String = migrations.iter().map(line).collect();
    if lines.is_empty() { lines } else { format!("\nwhat came of it:\n{lines}") }
}
