//! What each vm of a fleet asks for, in order of id and found by it: in columns, for a hundred thousand of them are walked and
//! looked up in every round.

use crate::{id::VmId, risk::VmLoad, snapshot::VmView};

/// Vms and what they ask for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Loads<'a> {
    ids: Vec<VmId>,
    views: Vec<&'a VmView>,
    loads: Vec<VmLoad>,
}

impl<'a> Loads<'a> {
    /// Of vms in order of id.
    pub(super) fn of(vms: impl Iterator<Item = (VmId, &'a VmView, VmLoad)>) -> Self {
        let most = vms.size_hint().1.unwrap_or_default();
        let mut all =
            Self { ids: Vec::with_capacity(most), views: Vec::with_capacity(most), loads: Vec::with_capacity(most) };
        for (id, view, load) in vms {
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
    pub(super) fn at(&self, position: usize) -> (&'a VmView, &VmLoad) {
        (self.views[position], &self.loads[position])
    }

    /// All, in order of id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a VmView, &VmLoad)> {
        self.views.iter().copied().zip(&self.loads)
    }

    /// All, to be changed, in order of id.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (VmId, &mut VmLoad)> {
        self.ids.iter().copied().zip(&mut self.loads)
    }
}
