//! What the scheduler believes, held against what is true: a vm that it once knew and that has stayed where it was is never
//! taken for gone.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ballast_core::id::{Epoch, HostId, VmId};

use super::{run::Run, watch::Watch};

/// A vm that has been where it is for so long has nothing to do with a move.
const SETTLED: Duration = Duration::from_secs(5);

/// So long after it stood still a scheduler may still read what waited meanwhile, and believe what was true then.
const CATCHING_UP: Duration = Duration::from_secs(10);

/// The newest snapshot, and who was no longer in it.
#[derive(Debug, Default)]
pub(super) struct Belief(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    epoch: Epoch,
    known: BTreeMap<VmId, HostId>,
    gone: Vec<(VmId, HostId)>,
}

impl Belief {
    /// Asks the scheduler for a snapshot; its answer is compared at the next look.
    pub(super) fn ask(&self, run: &Run) {
        let (Some(engine), Some(life)) = (run.engine(), run.scheduler.as_ref()) else { return };
        let state = Arc::clone(&self.0);
        life.spawn(async move {
            let Ok(snapshot) = engine.snapshot().await else { return };
            let known = snapshot.vms.values().map(|vm| (vm.id(), vm.host.clone())).collect();
            state.lock().unwrap_or_else(PoisonError::into_inner).take(engine.epoch(), known);
        });
    }

    /// Whoever is believed gone must be.
    pub(super) fn compare(&self, run: &Run, watch: &Watch) {
        let gone = std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).gone);
        let stood_until = run.paused.get(&run.agents.len());
        if stood_until.is_some_and(|until| run.now < *until + CATCHING_UP) {
            return;
        }
        for (vm, host) in gone {
            if watch.places(vm, run.now.saturating_sub(SETTLED), run.now) == [Some(host.clone())] {
                run.witness.broken(format!("I4: {vm} runs on {host} and the scheduler takes it for gone"));
            }
        }
    }
}

impl State {
    fn take(&mut self, epoch: Epoch, known: BTreeMap<VmId, HostId>) {
        if epoch == self.epoch {
            let gone = self.known.iter().filter(|(vm, _)| !known.contains_key(*vm));
            self.gone.extend(gone.map(|(vm, host)| (*vm, host.clone())));
        }
        (self.epoch, self.known) = (epoch, known);
    }
}
