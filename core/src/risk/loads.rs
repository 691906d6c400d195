//! What each vm of a fleet asks for, in order of id and found by it: in columns, for a hundred thousand of them are walked and
//! looked up in every round.

use crate::{id::VmId, risk::VmLoad, snapshot::VmView};

/// Vms and what they ask for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Loads<'a> {
    ids: Vec<VmId>,
    views: Vec<&'a VmView>,
    loads: Vec<VmLoad>,
    grouped: Vec<bool>,
}

/// One of them. What is here is not fetched from the vm's record: that is elsewhere in memory for each, and waiting for it is
/// most of what adding up a large fleet takes.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'f, 'a> {
    /// Which vm.
    pub id: VmId,
    /// All that is known of it.
    pub vm: &'a VmView,
    /// What it asks for.
    pub load: &'f VmLoad,
    /// Its labels name groups that keep apart.
    pub is_grouped: bool,
}

impl<'a> Loads<'a> {
    /// Of vms in order of id.
    pub(super) fn of(vms: impl Iterator<Item = (VmId, &'a VmView, VmLoad)>) -> Self {
        let most = vms.size_hint().1.unwrap_or_default();
        let mut all = Self {
            ids: Vec::with_capacity(most),
            views: Vec::with_capacity(most),
            loads: Vec::with_capacity(most),
            grouped: Vec::with_capacity(most),
        };
        for (id, view, load) in vms {
            let labels = &view.record.labels;
            all.grouped.push(!labels.anti_affinity.is_empty() || !labels.spread.is_empty());
            all.ids.push(id);
            all.views.push(view);
            all.loads.push(load);
        }
        all
    }

    /// What one asks for.
    pub(super) fn get(&self, vm: VmId) -> Option<&VmLoad> {
        self.ids.binary_search(&vm).ok().map(|position| &self.loads[position])
    }

    /// The one at `position`, in order of id.
    pub(super) fn at(&self, position: usize) -> Asking<'_, 'a> {
        Asking {
            id: self.ids[position],
            vm: self.views[position],
            load: &self.loads[position],
            is_grouped: self.grouped[position],
        }
    }

    /// The same, to be changed.
    pub(super) fn at_mut(&mut self, position: usize) -> (&'a VmView, &mut VmLoad) {
        (self.views[position], &mut self.loads[position])
    }

    /// All, in order of id.
    pub(super) fn iter(&self) -> impl Iterator<Item = Asking<'_, 'a>> {
        (0..self.ids.len()).map(|position| self.at(position))
    }

    /// All, to be changed, in order of id.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (VmId, &mut VmLoad)> {
        self.ids.iter().copied().zip(&mut self.loads)
    }
}
