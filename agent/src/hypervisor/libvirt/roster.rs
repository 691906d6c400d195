//! Which vms run here and which of them are on the move, kept from events, so that telemetry never has to ask.
//!
//! A call that touches a vm on the move can block for seconds (libvirtd holds the vm's lock while QEMU starts or is
//! killed), and a bulk call then blocks for all vms of the host. So vms on the move are read apart from the others.
//! Pure; fed by the hub and by occasional full listings.

use std::collections::BTreeMap;

use ballast_core::id::VmId;
use virt_sys as sys;

use super::ffi::Event;

/// The vms that run here.
#[derive(Debug, Default)]
pub(super) struct Roster {
    vms: BTreeMap<VmId, Presence>,
    listed: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Presence {
    /// libvirt's events say that it moves.
    moving: bool,
    /// This driver moves it.
    held: bool,
}

impl Roster {
    /// Takes a full listing. Marks that only events set are cleared: a migration that somebody else began and
    /// cancelled ends without an event.
    pub(super) fn list(&mut self, running: impl IntoIterator<Item = VmId>) {
        let held = |vm: &VmId| self.vms.get(vm).is_some_and(|presence| presence.held);
        self.vms = running.into_iter().map(|vm| (vm, Presence { moving: false, held: held(&vm) })).collect();
        self.listed = true;
    }

    /// Whether there was a full listing since the connection was opened.
    pub(super) fn is_listed(&self) -> bool {
        self.listed
    }

    /// The connection is a new one: events were missed.
    pub(super) fn forget_listing(&mut self) {
        self.listed = false;
    }

    /// Takes an event.
    pub(super) fn observe(&mut self, vm: VmId, event: &Event) {
        match event {
            Event::Lifecycle { kind: sys::VIR_DOMAIN_EVENT_STARTED, detail } => {
                self.set(vm, *detail == sys::VIR_DOMAIN_EVENT_STARTED_MIGRATED);
            }
            Event::Lifecycle { kind: sys::VIR_DOMAIN_EVENT_RESUMED, .. } => self.set(vm, false),
            Event::Lifecycle {
                kind: sys::VIR_DOMAIN_EVENT_SUSPENDED,
                detail: sys::VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED,
            }
            | Event::Iteration(_) => self.set(vm, true),
            Event::Lifecycle { kind: sys::VIR_DOMAIN_EVENT_STOPPED, .. } => {
                self.vms.remove(&vm);
            }
            Event::Lifecycle { .. } | Event::JobCompleted(_) | Event::Redefined => {}
        }
    }

    fn set(&mut self, vm: VmId, moving: bool) {
        self.vms.entry(vm).or_default().moving = moving;
    }

    /// This driver begins to move a vm.
    pub(super) fn hold(&mut self, vm: VmId) {
        self.vms.entry(vm).or_default().held = true;
    }

    /// This driver has ended moving a vm; whether it still runs here is for events to say.
    pub(super) fn release(&mut self, vm: VmId) {
        if let Some(presence) = self.vms.get_mut(&vm) {
            *presence = Presence::default();
        }
    }

    /// Whether this driver moves it.
    pub(super) fn is_held(&self, vm: VmId) -> bool {
        self.vms.get(&vm).is_some_and(|presence| presence.held)
    }

    /// Whether this driver moves any vm.
    pub(super) fn any_held(&self) -> bool {
        self.vms.values().any(|presence| presence.held)
    }

    /// All vms, those at rest first and those on the move second.
    pub(super) fn split(&self) -> (Vec<VmId>, Vec<VmId>) {
        let all = self.vms.iter().map(|(vm, presence)| (*vm, *presence == Presence::default()));
        let (resting, moving): (Vec<_>, Vec<_>) = all.partition(|(_, rests)| *rests);
        let ids = |vms: Vec<(VmId, bool)>| vms.into_iter().map(|(vm, _)| vm).collect();
        (ids(resting), ids(moving))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "00000000-0000-4000-8000-00000000000a";
    const B: &str = "00000000-0000-4000-8000-00000000000b";

    fn vm(text: &str) -> VmId {
        text.parse().unwrap()
    }

    fn lifecycle(kind: u32, detail: u32) -> Event {
        Event::Lifecycle { kind, detail }
    }

    #[test]
    fn a_vm_that_arrives_is_read_apart_until_it_runs() {
        let mut roster = Roster::default();
        roster.list([vm(A)]);
        roster.observe(vm(B), &lifecycle(sys::VIR_DOMAIN_EVENT_STARTED, sys::VIR_DOMAIN_EVENT_STARTED_MIGRATED));
        assert_eq!(roster.split(), (vec![vm(A)], vec![vm(B)]));
        roster.observe(vm(B), &lifecycle(sys::VIR_DOMAIN_EVENT_RESUMED, sys::VIR_DOMAIN_EVENT_RESUMED_MIGRATED));
        assert_eq!(roster.split(), (vec![vm(A), vm(B)], vec![]));
    }

    #[test]
    fn a_vm_that_leaves_is_read_apart_until_it_is_gone() {
        let mut roster = Roster::default();
        roster.list([vm(A), vm(B)]);
        roster.hold(vm(A));
        assert_eq!(roster.split(), (vec![vm(B)], vec![vm(A)]));
        roster.observe(vm(A), &lifecycle(sys::VIR_DOMAIN_EVENT_STOPPED, sys::VIR_DOMAIN_EVENT_STOPPED_MIGRATED));
        roster.release(vm(A));
        assert_eq!(roster.split(), (vec![vm(B)], vec![]));
    }

    #[test]
    fn a_listing_clears_what_a_strangers_cancelled_migration_left_but_not_our_own() {
        let mut roster = Roster::default();
        roster.list([vm(A), vm(B)]);
        roster.observe(vm(A), &Event::Iteration(1));
        roster.hold(vm(B));
        roster.list([vm(A), vm(B)]);
        assert_eq!(roster.split(), (vec![vm(A)], vec![vm(B)]));
    }

    #[test]
    fn a_cancelled_vm_rests_again_where_it_was() {
        let mut roster = Roster::default();
        roster.list([vm(A)]);
        roster.hold(vm(A));
        roster.observe(vm(A), &Event::Iteration(3));
        roster.release(vm(A));
        assert!(!roster.any_held());
        assert_eq!(roster.split(), (vec![vm(A)], vec![]));
    }
}
