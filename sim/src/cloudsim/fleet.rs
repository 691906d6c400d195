//! The benchmark's hosts and vms, and what a host gives its vms.

use super::{
    demand::Demand,
    facts::{HOSTS, INCOMING_SHARE, MIGRATING_SHARE, kind_of},
    quirks::Quirks,
    record::{HostRecord, VmRecord},
};

/// One host.
#[derive(Debug)]
pub(super) struct Host {
    /// The vms on it and those on their way to it, in the order in which they came.
    pub(super) vms: Vec<usize>,
    /// MIPS it gives.
    pub(super) given: f64,
    /// MIPS it is asked for.
    pub(super) asked: f64,
    /// MIPS that nobody has taken.
    pub(super) free: f64,
    /// Utilisation, and power at it.
    pub(super) utilisation: f64,
    pub(super) power: f64,
    /// The same before it was last worked out.
    before: (f64, f64),
    pub(super) record: HostRecord,
}

/// One vm.
#[derive(Debug)]
pub(super) struct Vm {
    /// Its host; while it migrates, its source.
    pub(super) home: usize,
    pub(super) is_migrating: bool,
    /// Deleted, or never placed.
    pub(super) is_gone: bool,
    pub(super) record: VmRecord,
}

/// One vm to one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) vm: usize,
    pub(super) to: usize,
}

/// All of them at one moment.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) quirks: Quirks,
    pub(super) demand: Demand,
    pub(super) hosts: Vec<Host>,
    pub(super) vms: Vec<Vm>,
    /// Joules.
    pub(super) energy: f64,
    /// Largest sum of the memory of a host's vms, megabytes.
    pub(super) ram_max: u32,
    time: f64,
    /// What the vms of the host at hand are given.
    shares: Vec<f64>,
}

impl Fleet {
    /// Hosts without vms; nobody is placed yet.
    pub(super) fn new(demand: Demand, quirks: Quirks) -> Self {
        let host = |host: usize| Host {
            vms: Vec::new(),
            given: 0.0,
            asked: 0.0,
            free: kind_of(host).total,
            utilisation: 0.0,
            power: kind_of(host).power(0.0),
            before: (0.0, 0.0),
            record: HostRecord::NEW,
        };
        let vm = |_| Vm { home: usize::MAX, is_migrating: false, is_gone: true, record: VmRecord::NEW };
        let vms = (0..demand.kinds.len()).map(vm).collect();
        let hosts = (0..HOSTS).map(host).collect();
        Self { quirks, demand, hosts, vms, energy: 0.0, ram_max: 0, time: 0.0, shares: Vec::new() }
    }

    /// Puts a vm on a host.
    pub(super) fn settle(&mut self, vm: usize, host: usize) {
        let state = &mut self.vms[vm];
        (state.home, state.is_migrating, state.is_gone) = (host, false, false);
        self.hosts[host].vms.push(vm);
    }

    /// Lets time pass until `time`: works out what every host gives, counts the energy since the moment before, and
    /// deletes the vms that ask for nothing.
    pub(super) fn advance(&mut self, time: f64) {
        self.demand.advance(time);
        let seconds = time - self.time;
        self.time = time;
        let mut joules = 0.0;
        for at in 0..HOSTS {
            let host = &self.hosts[at];
            if host.vms.is_empty() && host.record.is_begun() {
                continue; // It gives nothing and gave nothing: nothing changes.
            }
            self.update(at);
            let host = &self.hosts[at];
            if host.before.0 != 0.0 {
                joules += (host.before.1 + (host.power - host.before.1) / 2.0) * seconds;
            }
        }
        self.energy += joules;
        self.delete_idle();
    }

    /// Remembers this moment as one of decision.
    pub(super) fn remember(&mut self) {
        self.demand.remember();
        let ram = |host: &Host| host.vms.iter().map(|vm| self.demand.kinds[*vm].ram).sum();
        self.ram_max = self.hosts.iter().map(ram).fold(self.ram_max, u32::max);
    }

    /// Begins migrations: each vm counts on its target from now on, and gives up a tenth at its source.
    pub(super) fn begin(&mut self, moves: &[Move]) {
        let mut touched = Vec::new();
        for one in moves {
            self.vms[one.vm].is_migrating = true;
            let target = &mut self.hosts[one.to].vms;
            if !target.contains(&one.vm) {
                target.push(one.vm);
            }
            touched.extend([one.to, self.vms[one.vm].home]);
        }
        self.update_all(touched);
    }

    /// Ends migrations that end together: each vm leaves its source and stands last on its target.
    pub(super) fn end(&mut self, moves: &[Move]) {
        let mut touched = Vec::new();
        for one in moves {
            let source = self.vms[one.vm].home;
            for host in [source, one.to] {
                let vms = &mut self.hosts[host].vms;
                if let Some(place) = vms.iter().position(|vm| *vm == one.vm) {
                    vms.remove(place);
                }
            }
            self.settle(one.vm, one.to);
            touched.extend([source, one.to]);
        }
        self.update_all(touched);
        self.delete_idle();
    }

    /// The present moment as a number that differs from every other.
    pub(super) fn moment(&self) -> u64 {
        self.time.to_bits()
    }

    fn update_all(&mut self, mut hosts: Vec<usize>) {
        hosts.sort_unstable();
        hosts.dedup();
        hosts.into_iter().for_each(|host| self.update(host));
    }

    /// Works out what a host gives its vms now, and writes it down.
    fn update(&mut self, at: usize) {
        let free = self.divide(at);
        let (mut given, mut asked) = (0.0, 0.0);
        for (vm, share) in self.hosts[at].vms.iter().zip(&self.shares) {
            let (state, wanted) = (&mut self.vms[*vm], self.demand.mips[*vm]);
            if state.home == at {
                state.record.write(self.time, *share, wanted, state.is_migrating);
                given += if state.is_migrating { share / MIGRATING_SHARE } else { *share };
                asked += wanted;
            } else {
                given += share;
                asked += if self.quirks.slafix { wanted * INCOMING_SHARE } else { wanted };
            }
        }
        let (kind, host) = (kind_of(at), &mut self.hosts[at]);
        host.before = (host.utilisation, host.power);
        (host.given, host.asked, host.free) = (given, asked, free);
        let utilisation = given / kind.total;
        host.utilisation = if utilisation > 1.0 && utilisation < 1.01 { 1.0 } else { utilisation };
        host.power = kind.power(host.utilisation);
        host.record.write(self.time, given, asked);
    }

    /// Divides a host's MIPS among its vms, in the order in which they came; what is left over.
    fn divide(&mut self, at: usize) -> f64 {
        let (kind, vms) = (kind_of(at), &self.hosts[at].vms);
        let (mut free, mut wanted, mut is_short) = (kind.total, 0.0, false);
        self.shares.clear();
        for vm in vms {
            let (state, most) = (&self.vms[*vm], self.demand.mips[*vm].min(kind.core));
            let charge = if state.home == at { most } else { most * INCOMING_SHARE };
            wanted += charge;
            is_short |= free < charge;
            free = if is_short { 0.0 } else { free - charge };
            let leaves = state.is_migrating && state.home == at;
            self.shares.push(if leaves { most * MIGRATING_SHARE } else { charge });
        }
        if is_short {
            self.scale_down(at, kind.total / wanted);
        }
        free
    }

    /// Gives every vm the same share of what it wants, in whole MIPS.
    fn scale_down(&mut self, at: usize, factor: f64) {
        let core = kind_of(at).core;
        for (vm, share) in self.hosts[at].vms.iter().zip(&mut self.shares) {
            let (state, most) = (&self.vms[*vm], self.demand.mips[*vm].min(core));
            let scaled = match (state.home == at, state.is_migrating) {
                (true, true) => most * factor * MIGRATING_SHARE,
                (true, false) => most * factor,
                (false, _) => most * INCOMING_SHARE * factor,
            };
            *share = scaled.floor();
        }
    }

    /// Deletes the vms that ask for nothing and are not on the move.
    fn delete_idle(&mut self) {
        if self.quirks.keep {
            return;
        }
        for (vm, state) in self.vms.iter_mut().enumerate() {
            if !state.is_gone && !state.is_migrating && self.demand.mips[vm] == 0.0 {
                state.is_gone = true;
                self.hosts[state.home].vms.retain(|other| *other != vm);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{
        SLOTS_PER_DAY,
        planetlab::{Day, VmDay},
    };

    /// Four vms, one of each kind, that use so many percent all day.
    fn fleet(percent: [u8; 4], quirks: Quirks) -> Fleet {
        let vm = |percent: u8| VmDay { name: percent.to_string(), percent: [percent; SLOTS_PER_DAY] };
        Fleet::new(Demand::new(&Day { vms: percent.map(vm).to_vec() }), quirks)
    }

    #[test]
    fn a_vm_cannot_use_more_than_one_core() {
        let mut fleet = fleet([100, 1, 1, 1], Quirks::default());
        fleet.settle(0, 0);
        fleet.advance(300.1);
        let host = &fleet.hosts[0];
        assert_eq!((host.given, host.asked, host.free), (1860.0, 2500.0, 1860.0));
    }

    #[test]
    fn a_full_host_gives_everyone_the_same_share_in_whole_mips() {
        let mut fleet = fleet([60, 90, 100, 1], Quirks::default());
        (0..3).for_each(|vm| fleet.settle(vm, 0));
        fleet.advance(300.1);
        // Wanted are 1500, 1800 and 1000 MIPS of 3720.
        assert_eq!((fleet.hosts[0].given, fleet.hosts[0].free), (1297.0 + 1557.0 + 865.0, 0.0));
    }

    #[test]
    fn a_migrating_vm_keeps_nine_tenths_and_takes_one_at_its_target() {
        for (slafix, asked) in [(false, 1000.0), (true, 100.0)] {
            let mut fleet = fleet([1, 1, 100, 1], Quirks { slafix, ..Quirks::default() });
            fleet.settle(2, 1);
            fleet.advance(300.1);
            fleet.begin(&[Move { vm: 2, to: 3 }]);
            let (source, target) = (&fleet.hosts[1], &fleet.hosts[3]);
            assert_eq!((source.given, source.asked, source.free), (1000.0, 1000.0, 4320.0));
            assert_eq!((target.given, target.asked), (100.0, asked));
            fleet.advance(327.94);
            fleet.end(&[Move { vm: 2, to: 3 }]);
            assert_eq!((fleet.hosts[1].given, fleet.hosts[3].given), (0.0, 1000.0));
            assert_eq!((&fleet.hosts[1].vms, &fleet.hosts[3].vms), (&vec![], &vec![2]));
            assert!((fleet.vms[2].record.missed_migrating - 100.0 * 27.84).abs() < 1e-6);
        }
    }

    #[test]
    fn a_host_draws_nothing_in_the_first_frame_and_after_it_what_its_load_needs() {
        let mut fleet = fleet([1, 1, 93, 1], Quirks::default());
        fleet.settle(2, 0);
        fleet.advance(300.1);
        assert_eq!(fleet.energy, 0.0);
        fleet.advance(400.1);
        assert!((fleet.energy - 100.0 * 94.3).abs() < 1e-6, "a quarter of 3720 MIPS: {}", fleet.energy);
    }

    #[test]
    fn a_vm_that_asks_for_nothing_is_deleted_unless_it_is_kept() {
        for keep in [false, true] {
            let mut fleet = fleet([0, 1, 1, 1], Quirks { keep, ..Quirks::default() });
            fleet.settle(0, 0);
            fleet.advance(300.1);
            assert_eq!((fleet.vms[0].is_gone, fleet.hosts[0].vms.is_empty()), (!keep, !keep));
        }
    }
}
