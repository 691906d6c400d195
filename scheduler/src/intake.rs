//! From what agents send to the fleet as it is known: order, doubt, state, forecaster. Pure; time is an argument.
//!
//! The state task owns one and feeds it live; replay owns one and feeds it a recorded log. Neither goes around it, so
//! that a replayed day is the day that was.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ballast_core::{
    fleet::{FleetSettings, FleetState},
    forecast::Forecasts,
    id::{BootId, Epoch, HostId, Seq},
    inventory::Inventory,
    oversight::Supervised,
    plausibility,
    risk::HostRisk,
    sample::{Batch, VmSample, VmState},
    snapshot::{Event, Snapshot},
    tuning::Tuning,
    units::Timestamp,
};

use crate::ingest::{Admission, Ingest};

/// What came of a batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Taken {
    /// How it fitted into its stream.
    pub(crate) admission: Admission,
    /// Readings that were made missing.
    pub(crate) absurd: usize,
    /// Whether the host is over its limit now: a reason to look at relief.
    pub(crate) is_overloaded: bool,
    /// The batch as it was believed, in the scheduler's time, where it was taken.
    pub(crate) batch: Option<Arc<Batch>>,
    /// For the log, in words.
    pub(crate) notes: Vec<String>,
}

/// The fleet as it is known.
pub(crate) struct Intake {
    ingest: Ingest,
    fleet: FleetState,
    settings: FleetSettings,
    /// Who forecasts; where the model runs beside, its owner hands it what is learned here too.
    pub(crate) forecaster: Supervised,
    /// What hosts were promised and what came of it, where the operator wants it measured.
    pub(crate) risk: HostRisk,
    tuning: Tuning,
    inventories: BTreeMap<HostId, Inventory>,
}

impl Intake {
    /// A fleet nothing is known of yet; `period` is the time between two samples.
    pub(crate) fn new(epoch: Epoch, period: Duration, tuning: &Tuning, forecaster: Supervised) -> Self {
        let settings = FleetSettings { period, silent_periods: tuning.silent_periods, cpu_limit: tuning.cpu_limit };
        let fleet = FleetState::new(epoch, settings);
        let (risk, tuning) = (HostRisk::default(), tuning.clone());
        Self { ingest: Ingest::default(), fleet, settings, forecaster, risk, tuning, inventories: BTreeMap::new() }
    }

    /// A link opened; returns where its agent shall resume.
    pub(crate) fn opened(&mut self, inventory: &Inventory, resume_from: Seq, now: Timestamp) -> (Seq, Vec<String>) {
        let resume = self.ingest.open(inventory, resume_from, now);
        self.inventories.insert(inventory.host.clone(), inventory.clone());
        (resume, self.event(&Event::Connected { inventory: Box::new(inventory.clone()) }, now))
    }

    /// Whether the link of this host and boot is known to be open.
    pub(crate) fn knows_link_of(&self, inventory: &Inventory) -> bool {
        self.ingest.knows(&inventory.host, inventory.boot)
    }

    /// An inventory changed.
    pub(crate) fn inventory(&mut self, inventory: &Inventory, now: Timestamp) -> Vec<String> {
        self.inventories.insert(inventory.host.clone(), inventory.clone());
        self.event(&Event::Inventory { inventory: Box::new(inventory.clone()) }, now)
    }

    /// A link ended.
    pub(crate) fn closed(&mut self, host: &HostId, boot: BootId, now: Timestamp) -> Vec<String> {
        self.event(&Event::Disconnected { host: host.clone(), boot }, now)
    }

    /// Something happened that no agent's telemetry tells.
    pub(crate) fn event(&mut self, event: &Event, now: Timestamp) -> Vec<String> {
        self.fleet.apply(event, now)
    }

    /// Takes a batch received at `now`: ordered, doubted, and put into the scheduler's time.
    pub(crate) fn batch(&mut self, batch: &Batch, now: Timestamp) -> Taken {
        let admission = self.ingest.admit(batch, now);
        let Admission::Taken { at, .. } = admission else {
            return Taken { admission, absurd: 0, is_overloaded: false, batch: None, notes: Vec::new() };
        };
        let (batch, absurd) = self.screen(in_our_time(batch, at));
        let notes = self.learn_and_apply(&batch, &absurd, at);
        let limit = batch.sample.cpu_capacity * self.settings.cpu_limit;
        let is_overloaded = batch.sample.cpu_used.value().is_some_and(|used| used > limit);
        Taken { admission, absurd: absurd.len(), is_overloaded, batch: Some(Arc::new(batch)), notes }
    }

    /// What cannot be true becomes missing and is named.
    fn screen(&self, batch: Batch) -> (Batch, Vec<String>) {
        match self.inventories.get(&batch.host) {
            Some(inventory) => plausibility::screen_against(batch, inventory),
            None => plausibility::screen(batch, None),
        }
    }

    /// Takes back what the store kept of an earlier life: the forecaster learns, the fleet does not, for its figures are
    /// over.
    pub(crate) fn warm_up(&mut self, batch: &Batch) {
        self.learn(batch);
    }

    fn learn_and_apply(&mut self, batch: &Batch, absurd: &[String], at: Timestamp) -> Vec<String> {
        self.learn(batch);
        self.risk.observe(batch);
        self.event(&Event::Batch { batch: Box::new(batch.clone()), absurd: absurd.to_vec() }, at)
    }

    fn learn(&mut self, batch: &Batch) {
        running(batch).for_each(|sample| self.forecaster.observe(sample));
    }

    /// The fleet at `now`.
    pub(crate) fn snapshot(&self, now: Timestamp) -> Snapshot {
        self.fleet.snapshot(now)
    }

    /// A cycle of forecasting: what was foretold of vms and promised to hosts is judged. Vms that no host knows any more are
    /// forgotten here.
    pub(crate) fn cycle(&mut self, snapshot: &Snapshot) {
        self.forecaster.cycle(snapshot);
        if self.tuning.measures_risk() && self.risk.is_due(snapshot.taken_at) {
            let before = self.fleet_z();
            self.risk.inform(snapshot, &mut self.forecaster.forecasts(snapshot), &self.tuning);
            self.say_if_priced(before);
        }
    }

    /// Standard deviations that hosts are reckoned with by what was measured.
    fn fleet_z(&self) -> Option<f64> {
        self.risk.measured().map(|measured| measured.fleet_z)
    }

    /// Says where the cheapest caution has become another; that which keeps promises moves with each of them.
    fn say_if_priced(&self, before: Option<f64>) {
        if let (Some(from), Some(to), None) = (before, self.fleet_z(), self.tuning.overload_share_max)
            && from != to
        {
            tracing::info!(
                from,
                to,
                "hosts are filled up to another number of deviations: by what came it would have cost least"
            );
        }
    }

    /// What the vms of `snapshot` are expected to want, and how far they stray together.
    pub(crate) fn forecasts(&self, snapshot: &Snapshot) -> Forecasts {
        let mut forecasts = self.forecaster.forecasts(snapshot);
        self.risk.tell(&mut forecasts);
        forecasts
    }
}

/// The samples that teach: only a running vm's demand says anything, and in a migration only one side runs it.
pub(crate) fn running(batch: &Batch) -> impl Iterator<Item = &VmSample> {
    batch.vms.iter().filter(|sample| sample.state == VmState::Running)
}

/// The batch with every moment in the scheduler's time: `at` for the batch, and for a vm's sample as long before it as the
/// agent's clock says.
fn in_our_time(batch: &Batch, at: Timestamp) -> Batch {
    let mut ours = batch.clone();
    for sample in &mut ours.vms {
        sample.taken_at = at.before(batch.taken_at.since(sample.taken_at));
    }
    ours.taken_at = at;
    ours
}
