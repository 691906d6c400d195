//! The rules for exchanging two vms: what holds once both have moved, and what each step needs before that.
//!
//! Memory is counted at every step: a vm takes room on both its hosts until it has moved. CPU is judged by the outcome
//! alone, for while the first of the two has arrived and the second not yet left, work is late and nothing is lost.

use crate::{
    finding::Finding,
    guard::{
        Guard,
        checks::{Wish, concurrency, movement},
    },
    id::HostId,
    proposal::{Motive, Move},
    snapshot::HostView,
    units::Bytes,
};

/// What an exchange has to go by.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Footing {
    /// Memory of each vm.
    pub memory: [Bytes; 2],
    /// Memory free where each vm is to go, before anything has moved.
    pub free: [Bytes; 2],
    /// Hosts that could take each vm for a time, by every rule, the one with most memory free first; and that memory.
    pub parking: [Vec<(HostId, Bytes)>; 2],
}

impl Footing {
    pub(super) fn of(guard: &Guard<'_>, both: &[Move; 2], motive: &Motive) -> Self {
        let memory = |one: &Move| guard.load.vm(one.vm).map_or(Bytes::ZERO, |vm| vm.memory);
        let free = |one: &Move| guard.memory_free(&one.to);
        Self {
            memory: both.each_ref().map(memory),
            free: both.each_ref().map(free),
            parking: both.each_ref().map(|one| parking(guard, one, motive)),
        }
    }
}

/// Hosts to which the vm of `one` could go instead of its own destination, most memory free first.
fn parking(guard: &Guard<'_>, one: &Move, motive: &Motive) -> Vec<(HostId, Bytes)> {
    let third = guard.snapshot.hosts.values().filter(|host| host.id() != &one.from && host.id() != &one.to);
    let takes = |host: &&HostView| {
        let aside = [Move { to: host.id().clone(), ..one.clone() }];
        movement(guard, motive, &Wish { whole: &aside, index: 0, leaving: None }).is_empty()
    };
    let mut hosts: Vec<_> = third.filter(takes).map(|host| (host.id().clone(), guard.memory_free(host.id()))).collect();
    hosts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    hosts
}

/// All findings about what the exchange comes to once both have moved.
pub(super) fn outcome(guard: &Guard<'_>, both: &[Move; 2], motive: &Motive) -> Vec<Finding> {
    let [a, b] = both;
    let mut findings = Vec::new();
    if a.vm == b.vm || a.from != b.to || a.to != b.from {
        findings.push(Finding::NoExchange { vm: a.vm, other: b.vm });
    }
    findings.extend(movement(guard, motive, &Wish { whole: both, index: 0, leaving: Some(b.vm) }));
    // Each takes the other's place, so neither counts as coming before the other.
    let mirrored = [b.clone(), a.clone()];
    findings.extend(movement(guard, motive, &Wish { whole: &mirrored, index: 0, leaving: Some(a.vm) }));
    findings
}

/// All findings about beginning `one`, a step of the exchange `both`: its own outcome, and the memory there is now. A
/// step that is neither of the two takes a vm aside and is judged by itself.
pub(super) fn step(guard: &Guard<'_>, one: &Move, both: &[Move; 2], motive: &Motive) -> Vec<Finding> {
    let partner = both.iter().find(|other| other.vm != one.vm).filter(|_| both.contains(one));
    let whole = [one.clone()];
    let wish = Wish { whole: &whole, index: 0, leaving: partner.map(|other| other.vm) };
    let mut findings = movement(guard, motive, &wish);
    let load = guard.booked(&one.to, &whole);
    let limit = load.memory_capacity.scale(guard.tuning.memory_ratio);
    if partner.is_some() && load.memory > limit {
        findings.push(Finding::Memory { host: one.to.clone(), would_be: load.memory, limit });
    }
    findings.extend(concurrency(guard, &whole));
    findings
}
