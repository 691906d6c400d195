//! What each vm used lately, one value per view that a policy was shown.

use std::collections::BTreeMap;

use super::HISTORY;
use crate::{
    id::VmId,
    risk::FleetLoad,
    snapshot::Snapshot,
    units::{Cores, Timestamp},
};

/// The newest [`HISTORY`] values of every vm, in cores, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Histories {
    newest: Option<Timestamp>,
    vms: BTreeMap<VmId, Vec<f64>>,
}

impl Histories {
    /// Adds what the vms of `snapshot` ask for, and forgets those that are gone. A view of the same or an earlier moment
    /// than the last adds nothing, and a vm whose use is not known adds no value.
    pub(super) fn observe(&mut self, snapshot: &Snapshot, load: &FleetLoad<'_>) {
        if self.newest.is_some_and(|newest| snapshot.taken_at <= newest) {
            return;
        }
        self.newest = Some(snapshot.taken_at);
        self.vms.retain(|vm, _| snapshot.vms.contains_key(vm));
        for (id, vm) in &snapshot.vms {
            let is_known = vm.cpu_used().is_some_and(Cores::is_sane);
            let Some(asked) = load.vm(*id).filter(|_| is_known) else { continue };
            let values = self.vms.entry(*id).or_default();
            if values.len() == HISTORY {
                values.remove(0);
            }
            values.push(asked.now().get());
        }
    }

    /// A vm's values, oldest first.
    pub(super) fn of(&self, vm: VmId) -> &[f64] {
        self.vms.get(&vm).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fixture::{Fleet, vm_id};

    fn observe(histories: &mut Histories, fleet: &Fleet) {
        histories.observe(&fleet.snapshot, &FleetLoad::of(&fleet.snapshot, &fleet.forecasts));
    }

    #[test]
    fn a_view_counts_once_and_an_earlier_one_not_at_all() {
        let mut fleet = Fleet::new(&[("a", &[1.5])]);
        let mut histories = Histories::default();
        observe(&mut histories, &fleet);
        observe(&mut histories, &fleet);
        fleet.snapshot.taken_at = fleet.snapshot.taken_at.before(Duration::from_secs(5));
        observe(&mut histories, &fleet);
        assert_eq!(histories.of(vm_id(1)), [1.5]);
        assert!(histories.of(vm_id(2)).is_empty());
    }

    #[test]
    fn the_newest_values_are_kept_of_vms_that_are_there() {
        let mut fleet = Fleet::new(&[("a", &[1.0, 2.0])]);
        let mut histories = Histories::default();
        for view in 0..40 {
            fleet.snapshot.taken_at = fleet.snapshot.taken_at.after(Duration::from_secs(60));
            fleet.vm(1).sample.as_mut().unwrap().cpu_used =
                crate::sample::Reading::Measured(Cores(f64::from(view) / 10.0));
            observe(&mut histories, &fleet);
        }
        let values = histories.of(vm_id(1));
        assert_eq!((values.len(), values[0], values[29]), (HISTORY, 1.0, 3.9));
        fleet.snapshot.vms.remove(&vm_id(2));
        fleet.vm(1).sample = None;
        fleet.snapshot.taken_at = fleet.snapshot.taken_at.after(Duration::from_secs(60));
        observe(&mut histories, &fleet);
        assert_eq!((histories.of(vm_id(1)).len(), histories.of(vm_id(2)).len()), (HISTORY, 0));
    }
}
