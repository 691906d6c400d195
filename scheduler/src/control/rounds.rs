//! The scheduler's own decisions: regular rounds, and looks at hosts that are over their limit.

use std::sync::{Arc, PoisonError, atomic::Ordering::Relaxed};

use ballast_core::{
    decide::DecideInput,
    decision::{Decision, Mode, Trigger},
    early::Waits,
    forecast::Forecasts,
    hindsight::Settled,
    policy::View,
    risk::FleetLoad,
    snapshot::Snapshot,
    standby::{Decided, Failure},
    units::nanos_of,
};

use super::{ControlLoop, intents, needs_relief};
use crate::{counters::Counters, dispatch::Plan, journal::Record};

impl ControlLoop {
    /// Decides if anything is to be decided at all.
    pub(super) async fn round(&mut self, trigger: Trigger) {
        if self.shared.mode() == Mode::Off || self.shared.may_order().is_err() || !self.is_warm() {
            return;
        }
        let Some((snapshot, forecasts)) = self.state.view().await else { return };
        let counters = &self.shared.counters;
        Counters::add(if trigger == Trigger::Early { &counters.early_rounds } else { &counters.rounds }, 1);
        self.decide_and_act(trigger, snapshot, forecasts).await;
    }

    /// Holds a round before its time where what the one before waited for has happened; people are not waited for.
    pub(super) async fn early_round(&mut self) {
        let Some(waits) = self.waits.filter(|_| self.shared.mode() == Mode::Auto) else { return };
        let Some(snapshot) = self.state.snapshot().await else { return };
        if waits.are_over(&snapshot, &self.shared.settings.tuning) {
            self.round(Trigger::Early).await;
        }
    }

    /// Looks at overloaded hosts; where none has been so for long enough, there is nothing to decide.
    pub(super) async fn relief(&mut self) {
        if self.shared.mode() == Mode::Off || self.shared.may_order().is_err() || !self.is_warm() {
            return;
        }
        let Some(snapshot) = self.state.snapshot().await else { return };
        Counters::add(&self.shared.counters.relief_rounds, 1);
        if !needs_relief(&snapshot, self.shared.settings.tuning.relief_after) {
            return;
        }
        let Some((snapshot, forecasts)) = self.state.view().await else { return };
        self.decide_and_act(Trigger::Relief, snapshot, forecasts).await;
    }

    async fn decide_and_act(&mut self, trigger: Trigger, snapshot: Arc<Snapshot>, forecasts: Arc<Forecasts>) {
        let begun = self.shared.clock.elapsed();
        let Some(decision) = self.decide(trigger, Arc::clone(&snapshot), forecasts).await else { return };
        let took = self.shared.clock.elapsed().saturating_sub(begun);
        self.shared.counters.decision_nanos_last.store(nanos_of(took), Relaxed);
        Counters::add(&self.shared.counters.denied, decision.denied.len() as u64);
        if decision.trigger != Trigger::Relief {
            self.waits = Some(Waits::of(&decision, &snapshot));
        }
        self.dispose(decision, snapshot).await;
    }

    /// Runs the policy on a thread of its own, for a large fleet takes it a while. Where even what stands by for it panics,
    /// nothing is decided.
    async fn decide(
        &mut self,
        trigger: Trigger,
        snapshot: Arc<Snapshot>,
        forecasts: Arc<Forecasts>,
    ) -> Option<Decision> {
        let (id, mode, settings) = (self.shared.decision_id(), self.shared.mode(), &self.shared.settings);
        let (tuning, seed) = (settings.tuning.clone(), settings.seed.wrapping_add(id.number));
        let (policy, shadow) = (Arc::clone(&self.policy), self.shadow.clone());
        let thinking = self.shared.clock.aside(move || {
            let load = FleetLoad::of(&snapshot, &forecasts);
            let view = View { snapshot: &snapshot, forecasts: &forecasts, load: &load, tuning: &tuning, seed };
            let input = DecideInput { view, id, trigger, mode };
            // One decision is made at a time, so nobody else holds the policies.
            let mut decided = policy.lock().unwrap_or_else(PoisonError::into_inner).decide(&input);
            let tally = shadow.map(|shadow| {
                let mut shadow = shadow.lock().unwrap_or_else(PoisonError::into_inner);
                shadow.compare(&input, &mut decided.decision);
                shadow.tally().clone()
            });
            (decided, tally)
        });
        match thinking.await {
            Ok((Decided { decision, failure, settled }, tally)) => {
                if let Some(Failure { what, until }) = failure {
                    tracing::error!(what, %until, policy = settings.policy, "the policy failed; the greedy rule decides; please report it");
                }
                self.shared.counters.set_shadow(tally);
                self.settle(settled).await;
                Some(decision)
            }
            Err(error) => {
                tracing::error!(%error, policy = settings.policy, "deciding failed, and nothing was decided; please report it");
                None
            }
        }
    }

    /// Keeps what earlier decisions have gained. Where it cannot be journalled, which is counted and logged there, it is known
    /// until the next start.
    async fn settle(&self, settled: Vec<Settled>) {
        if settled.is_empty() {
            return;
        }
        for one in &settled {
            tracing::info!(decision = %one.decision, policy = one.policy, "a decision has {one}");
            self.shared.counters.settled(one);
            self.shared.history.settled(one);
        }
        let records = settled.into_iter().map(|one| Record::Settled { came: Box::new(one) }).collect();
        drop(self.journal.write(records).await);
    }

    /// Keeps a decision, and in mode auto has it carried out.
    async fn dispose(&mut self, mut decision: Decision, mut snapshot: Arc<Snapshot>) {
        if decision.mode == Mode::Auto {
            let asked = self.preflight(std::mem::take(&mut decision.chosen.steps), snapshot).await;
            decision.chosen.steps = asked.steps;
            decision.denied.extend(asked.denied);
            snapshot = asked.snapshot;
        }
        let (counters, history) = (&self.shared.counters, &self.shared.history);
        if decision.chosen.steps.is_empty() {
            Counters::add(&counters.decisions_empty, 1);
            history.decided(decision, false);
            return;
        }
        if self.repeats.note(&decision) && decision.mode == Mode::Recommend {
            Counters::add(&counters.decisions_repeated, 1);
            return;
        }
        Counters::add(&counters.decisions, 1);
        log(&decision);
        let plan = self.plan_of(&decision, &snapshot);
        let executed = match self.dispatch.issue(plan).await {
            Ok(given) => {
                given.iter().filter_map(|given| given.as_ref().err()).for_each(|why| {
                    tracing::warn!(decision = %decision.id, why, "a step of the plan was not ordered");
                });
                given.iter().any(Result::is_ok)
            }
            // Counted and logged where it happened; the next round tries again.
            Err(_) => {
                self.repeats.forget();
                false
            }
        };
        self.shared.history.decided(decision, executed);
    }

    fn plan_of(&self, decision: &Decision, snapshot: &Snapshot) -> Plan {
        let shared = &self.shared;
        let steps = if decision.mode == Mode::Auto { decision.chosen.steps.as_slice() } else { &[] };
        let intents = intents::of_steps(decision.id, steps, snapshot, &shared.settings, || shared.command_id());
        Plan {
            records: Vec::new(),
            decision: Some(Box::new(decision.clone())),
            id: decision.id,
            approved_by: None,
            intents,
        }
    }
}

fn log(decision: &Decision) {
    for planned in &decision.chosen.steps {
        tracing::info!(
            decision = %decision.id, mode = %decision.mode, step = %planned.step, why = %planned.motive, "decided"
        );
    }
}
