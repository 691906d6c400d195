//! What operators order: the same guard, the same journal, the same dispatcher as the scheduler's own decisions.

use std::sync::Arc;

use ballast_core::{
    decide::{self, DecideInput, decide_manual},
    decision::{Decision, Mode, Planned, Trigger},
    finding::Finding,
    guard::Guard,
    id::{CommandId, DecisionId, HostId, VmId},
    policy::View,
    risk::FleetLoad,
    snapshot::{Event, HostMode, Snapshot},
};

use super::{ControlLoop, intents};
use crate::{
    dispatch::{Given, Plan},
    engine::{Approval, ManualMove, ManualResult, ModeChange, OperatorError},
    journal::{NotDurable, OpenIntent, Record},
};

impl From<NotDurable> for OperatorError {
    fn from(error: NotDurable) -> Self {
        Self::NotDurable { why: error.why }
    }
}

impl ControlLoop {
    pub(super) async fn migrate(&mut self, wish: ManualMove) -> Result<ManualResult, OperatorError> {
        self.shared.may_order()?;
        let (snapshot, forecasts) = self.state.view().await.ok_or(OperatorError::Stopping)?;
        let vm = find_vm(&snapshot, &wish.vm)?;
        if !snapshot.hosts.contains_key(&wish.host) {
            return Err(OperatorError::UnknownHost { host: wish.host });
        }
        let settings = &self.shared.settings;
        let (id, tuning) = (self.shared.decision_id(), &settings.tuning);
        let trigger = Trigger::Operator { who: wish.who.clone(), overridden: false };
        let order = decide::ManualMove { vm, to: wish.host, who: wish.who, set_aside_comfort: wish.set_aside };
        let decide::Manual { mut decision, set_aside } = {
            let load = FleetLoad::of(&snapshot, &forecasts);
            let view = View { snapshot: &snapshot, forecasts: &forecasts, load: &load, tuning, seed: settings.seed };
            decide_manual(&DecideInput { view, id, trigger, mode: self.shared.mode() }, &order)
        };
        if !wish.reason.is_empty() {
            decision.notes.push(format!("reason given: {}", wish.reason));
        }
        let asked = self.preflight(std::mem::take(&mut decision.chosen.steps), snapshot).await;
        decision.chosen.steps = asked.steps;
        decision.denied.extend(asked.denied);
        let snapshot = asked.snapshot;
        let standing: Vec<Finding> = decision.denied.iter().flat_map(|denial| denial.findings.clone()).collect();
        if wish.dry_run {
            let findings = set_aside.into_iter().chain(standing).collect();
            return Ok(ManualResult { migration: None, decision: None, findings });
        }
        if decision.chosen.steps.is_empty() {
            self.shared.history.decided(decision, false);
            return Err(OperatorError::Denied { findings: standing });
        }
        let migration = self.order_manual(decision, &snapshot).await?;
        Ok(ManualResult { migration: Some(migration), decision: Some(id), findings: set_aside })
    }

    async fn order_manual(&mut self, decision: Decision, snapshot: &Snapshot) -> Result<CommandId, OperatorError> {
        let (id, steps) = (decision.id, decision.chosen.steps.clone());
        let intents = self.intents(id, &steps, snapshot);
        self.reachable(&intents)?;
        let plan =
            Plan { records: Vec::new(), decision: Some(Box::new(decision.clone())), id, approved_by: None, intents };
        let given = self.dispatch.issue(plan).await?;
        let migration = only(given)?;
        self.shared.history.decided(decision, true);
        Ok(migration)
    }

    fn intents(&self, id: DecisionId, steps: &[Planned], snapshot: &Snapshot) -> Vec<OpenIntent> {
        intents::of_steps(id, steps, snapshot, &self.shared.settings, || self.shared.command_id())
    }

    /// An order that would not reach its host is not given: nobody could say when it takes effect.
    fn reachable(&self, intents: &[OpenIntent]) -> Result<(), OperatorError> {
        let away = intents.iter().map(|intent| &intent.command.host).find(|host| !self.shared.links.has(host));
        away.map_or(Ok(()), |host| Err(OperatorError::HostAway { host: host.clone() }))
    }

    pub(super) async fn cancel(&mut self, migration: CommandId, who: String) -> Result<CommandId, OperatorError> {
        self.shared.may_order()?;
        let known = self.shared.history.migration(migration);
        let known = known.ok_or(OperatorError::UnknownMigration { id: migration })?;
        if let Some(outcome) = &known.outcome {
            return Err(OperatorError::AlreadyOver { id: migration, how: outcome.ending.to_string() });
        }
        let (id, ttl) = (self.shared.command_id(), self.shared.settings.commands.ttl);
        let (decision, why) = (known.decision, format!("cancelled by {who}"));
        let intent = OpenIntent::stopping(known, (id, ttl), why, self.shared.clock.now());
        self.reachable(std::slice::from_ref(&intent))?;
        let records = vec![Record::CancelRequested { migration, by: id, who }];
        let plan = Plan { records, decision: None, id: decision, approved_by: None, intents: vec![intent] };
        only(self.dispatch.issue(plan).await?)
    }

    pub(super) async fn approve(&mut self, id: DecisionId, who: String) -> Result<Approval, OperatorError> {
        self.shared.may_order()?;
        let known = self.shared.history.decision(id).ok_or(OperatorError::UnknownDecision { id })?;
        if known.executed {
            return Err(OperatorError::AlreadyExecuted { id });
        }
        let (snapshot, forecasts) = self.state.view().await.ok_or(OperatorError::Stopping)?;
        let mut guard = Guard::new(&snapshot, &forecasts, &self.shared.settings.tuning);
        let (mut allowed, mut findings) = (Vec::new(), Vec::new());
        for planned in known.decision.chosen.steps {
            let against = guard.check_planned(&planned);
            if against.is_empty() {
                guard.accept(planned.step.clone());
                allowed.push(planned);
            }
            findings.extend(against);
        }
        let asked = self.preflight(allowed, Arc::clone(&snapshot)).await;
        findings.extend(asked.denied.into_iter().flat_map(|denial| denial.findings));
        if asked.steps.is_empty() {
            return Ok(Approval { commands: Vec::new(), findings });
        }
        let intents = self.intents(id, &asked.steps, &asked.snapshot);
        let plan = Plan { records: Vec::new(), decision: None, id, approved_by: Some(who), intents };
        let given = self.dispatch.issue(plan).await?;
        let commands: Vec<CommandId> = given.into_iter().filter_map(Result::ok).collect();
        if !commands.is_empty() {
            self.shared.history.executed(id);
            self.repeats.forget();
        }
        Ok(Approval { commands, findings })
    }

    pub(super) async fn set_mode(&mut self, mode: Mode, who: String) -> Result<ModeChange, OperatorError> {
        let previous = self.shared.mode();
        if mode != previous {
            tracing::info!(%mode, %previous, who, "mode set");
            self.journal.write(vec![Record::Mode { mode, who }]).await?;
            self.shared.set_mode(mode);
        }
        Ok(ModeChange { previous })
    }

    pub(super) async fn set_host_mode(
        &mut self,
        host: HostId,
        mode: HostMode,
        who: String,
    ) -> Result<usize, OperatorError> {
        let snapshot = self.state.snapshot().await.ok_or(OperatorError::Stopping)?;
        if !snapshot.hosts.contains_key(&host) {
            return Err(OperatorError::UnknownHost { host });
        }
        tracing::info!(%host, ?mode, who, "host mode set");
        self.journal.write(vec![Record::HostMode { host: host.clone(), mode, who }]).await?;
        self.state.event(Event::HostMode { host: host.clone(), mode }).await;
        Ok(snapshot.vms.values().filter(|vm| vm.host == host && vm.record.state.holds_memory()).count())
    }
}

/// The one order of a plan with one step.
fn only(given: Vec<Given>) -> Result<CommandId, OperatorError> {
    match given.into_iter().next() {
        Some(Ok(id)) => Ok(id),
        Some(Err(why)) => Err(OperatorError::Refused { why }),
        None => Err(OperatorError::Refused { why: "the fleet has changed; try again".to_owned() }),
    }
}

/// A vm by its uuid or its exact name; also what the `Operator` service asks for a forecast by.
pub(crate) fn find_vm(snapshot: &Snapshot, wanted: &str) -> Result<VmId, OperatorError> {
    let unknown = || OperatorError::UnknownVm { vm: wanted.to_owned() };
    if let Ok(id) = wanted.parse::<VmId>() {
        return snapshot.vms.contains_key(&id).then_some(id).ok_or_else(unknown);
    }
    let named: Vec<VmId> = snapshot.vms.values().filter(|vm| vm.record.name == wanted).map(|vm| vm.id()).collect();
    match named.as_slice() {
        [] => Err(unknown()),
        [one] => Ok(*one),
        _ => Err(OperatorError::AmbiguousVm { name: wanted.to_owned(), vms: named }),
    }
}
