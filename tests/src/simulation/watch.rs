//! Looks at the hosts as they really are, ten times a second: where each vm runs, and which migrations are under way.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ballast_core::id::{HostId, VmId};

use super::run::Run;

/// Time between two looks.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// A migration as the hypervisors carried it out, whoever began it.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub(super) vm: VmId,
    pub(super) from: Duration,
    /// When it was last seen.
    pub(super) until: Duration,
}

/// What was seen of the hosts.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Every migration, in order of its beginning.
    pub(super) flights: Vec<Flight>,
    /// Where each vm was, from when on.
    pub(super) places: BTreeMap<VmId, Vec<(Duration, Option<HostId>)>>,
    under_way: BTreeMap<VmId, usize>,
}

impl Watch {
    /// Looks, where it is time to; a vm that runs twice, or no more although nobody ended it, is told to the witness (I4).
    pub(super) fn look(&mut self, run: &mut Run) {
        if !run.now.as_nanos().is_multiple_of(LOOK.as_nanos()) {
            return;
        }
        let vms: Vec<VmId> = run.fleet.stays.iter().map(|stay| stay.vm).collect();
        let (places, flights) = run.world.with(|world| {
            let places: Vec<BTreeSet<HostId>> = vms.iter().map(|vm| world.running_on(*vm)).collect();
            let flights: BTreeSet<VmId> = world.flights().into_iter().map(|flight| flight.vm).collect();
            (places, flights)
        });
        self.note_flights(run.now, flights);
        for (stay, hosts) in run.fleet.stays.iter().zip(places) {
            let was_there =
                self.places.get(&stay.vm).is_some_and(|seen| seen.last().is_some_and(|(_, host)| host.is_some()));
            if !hosts.is_empty() {
                run.fallen.remove(&stay.vm);
            }
            let is_over = stay.until.is_some_and(|until| until <= run.now) || run.fallen.contains(&stay.vm);
            if hosts.len() > 1 || hosts.is_empty() && was_there && !is_over {
                run.witness.broken(format!("I4: {} runs on {} hosts: {hosts:?}", stay.name, hosts.len()));
            }
            let host = hosts.into_iter().next();
            let seen = self.places.entry(stay.vm).or_default();
            if seen.last().map(|(_, last)| last) != Some(&host) {
                run.trace.note(format_args!("{} on {host:?}", stay.name));
                seen.push((run.now, host));
            }
        }
    }

    fn note_flights(&mut self, now: Duration, flights: BTreeSet<VmId>) {
        self.under_way.retain(|vm, _| flights.contains(vm));
        for vm in flights {
            let index = *self.under_way.entry(vm).or_insert_with(|| {
                self.flights.push(Flight { vm, from: now, until: now });
                self.flights.len() - 1
            });
            self.flights[index].until = now;
        }
    }

    /// Hosts that a vm was on between two moments.
    pub(super) fn places(&self, vm: VmId, from: Duration, until: Duration) -> Vec<Option<HostId>> {
        let Some(seen) = self.places.get(&vm) else { return vec![None] };
        let starts = seen.iter().map(|(at, _)| *at).skip(1).chain([Duration::MAX]);
        let spans = seen.iter().zip(starts);
        spans.filter(|((begin, _), end)| *begin <= until && *end >= from).map(|((_, host), _)| host.clone()).collect()
    }
}
