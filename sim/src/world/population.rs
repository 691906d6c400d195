//! Vms that come and go. ballast starts no vm; what stands here is whoever does: it puts a new vm on the fullest host with
//! room, and wakes a host where there is none.

use ballast_core::{snapshot::HostPower, units::Timestamp};

use super::World;
use crate::{host::Host, vm::Place};

/// CPU load, as a share of capacity, up to which a new vm is put on a host if another has room.
const FILL: f64 = 0.9;

impl World {
    pub(super) fn arrive(&mut self, index: usize) {
        if self.vms[index].place == Place::Nowhere && !self.is_past(index) {
            self.vms[index].place = Place::Waiting(self.now);
            self.waiting.push_back(index);
            self.start_waiting();
        }
    }

    /// True where the vm was to be shut down by now.
    fn is_past(&self, index: usize) -> bool {
        self.vms[index].spec.departs.is_some_and(|departs| self.start.after(departs) <= self.now)
    }

    pub(super) fn depart(&mut self, index: usize) {
        match self.vms[index].place {
            Place::Nowhere => {}
            Place::Waiting(_) => {
                self.waiting.retain(|vm| *vm != index);
                self.vms[index].place = Place::Nowhere;
            }
            Place::On(host) => {
                self.end_flight_of(index, "domain is not running");
                self.settle(host);
                self.take_out(index, host);
                self.vms[index].stop(Place::Nowhere);
                self.refresh(host);
                self.start_waiting();
            }
        }
    }

    /// Starts every vm that waits and for which there is room; wakes a host where there is none.
    pub(super) fn start_waiting(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        for index in waiting {
            let Place::Waiting(since) = self.vms[index].place else { continue };
            match self.home_for(index) {
                Some(host) => self.start_on(index, host, since),
                None => {
                    self.waiting.push_back(index);
                    self.wake_for(index);
                }
            }
        }
    }

    fn start_on(&mut self, index: usize, host: usize, since: Timestamp) {
        self.tally.start_waits.add(self.now.since(since));
        self.settle(host);
        self.settle_in(index, host);
        self.refresh(host);
    }

    /// Puts a vm on a host; counting and sharing out are the caller's.
    pub(super) fn settle_in(&mut self, index: usize, host: usize) {
        let at = self.now.since(self.start).as_secs_f64();
        self.vms[index].want(at, &self.terms);
        self.vms[index].arrive(host);
        self.residents[host].insert(index);
        self.changed(host);
        self.hosts[host].reserved = self.hosts[host].reserved + self.vms[index].spec.memory_max;
        self.place_in_domain(index, host, true);
    }

    /// Takes a vm off a host for good.
    pub(super) fn take_out(&mut self, index: usize, host: usize) {
        self.residents[host].remove(&index);
        self.changed(host);
        self.hosts[host].reserved = self.hosts[host].reserved.saturating_sub(self.vms[index].spec.memory_max);
        self.place_in_domain(index, host, false);
    }

    /// The fullest host (by memory) that may have the vm and has room; of those with CPU to spare where there is one.
    fn home_for(&self, index: usize) -> Option<usize> {
        let wanted = self.vms[index].demand.cpu;
        let left = |host: &usize| self.room(*host);
        let fits = |host: &usize| self.hosts[*host].can_migrate() && self.may_hold(*host, index);
        let calm = |host: &usize| {
            let host = &self.hosts[*host];
            host.load.wanted + wanted <= FILL * host.spec.cpu_capacity.get()
        };
        let all = || (0..self.hosts.len()).filter(fits);
        all().filter(calm).min_by_key(left).or_else(|| all().min_by_key(left))
    }

    fn room(&self, host: usize) -> u64 {
        let host = &self.hosts[host];
        host.spec.memory_capacity.saturating_sub(host.reserved).get()
    }

    /// Whether the host has memory for the vm and its pins and anti-affinity allow it.
    fn may_hold(&self, host: usize, index: usize) -> bool {
        let spec = &self.vms[index].spec;
        let labels = &spec.labels;
        let pinned = labels.pinned_to.is_empty() || labels.pinned_to.contains(&self.hosts[host].spec.host);
        let shares =
            || self.vms_on(host).any(|other| !other.spec.labels.anti_affinity.is_disjoint(&labels.anti_affinity));
        pinned && self.room(host) >= spec.memory_max.get() && (labels.anti_affinity.is_empty() || !shares())
    }

    /// Wakes the sleeper with the best watts per core that could hold the vm, unless one that could is waking already.
    fn wake_for(&mut self, index: usize) {
        let could = |host: &usize| self.may_hold(*host, index) && !self.hosts[*host].lost;
        let waking = |host: &usize| self.hosts[*host].power == HostPower::Waking && could(host);
        if (0..self.hosts.len()).any(|host| waking(&host)) {
            return;
        }
        let asleep = |host: &usize| self.hosts[*host].power == HostPower::Asleep && could(host);
        let best = (0..self.hosts.len())
            .filter(asleep)
            .min_by(|a, b| watts_per_core(&self.hosts[*a]).total_cmp(&watts_per_core(&self.hosts[*b])).then(a.cmp(b)));
        if let Some(best) = best {
            // It is asleep: it was just asked.
            drop(self.wake_host(best));
        }
    }

    /// Keeps the account of vms that share a fault domain they must not share.
    pub(super) fn place_in_domain(&mut self, index: usize, host: usize, comes: bool) {
        let Some(domain) = self.hosts[host].spec.fault_domain.clone() else { return };
        let (breaching, since) = self.breaching;
        self.ledger.breach_seconds += ballast_core::units::count(breaching) * self.now.since(since).as_secs_f64();
        let mut breaching = breaching;
        for group in &self.vms[index].spec.labels.spread {
            let there = self.domains.entry((group.clone(), domain.clone())).or_default();
            if comes {
                *there += 1;
                breaching += usize::from(*there > 1);
            } else {
                breaching -= usize::from(*there > 1);
                *there -= 1;
            }
        }
        self.breaching = (breaching, self.now);
    }
}

fn watts_per_core(host: &Host) -> f64 {
    host.spec.power.peak().get() / host.spec.cpu_capacity.get().max(f64::MIN_POSITIVE)
}
