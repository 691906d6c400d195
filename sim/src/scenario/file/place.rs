//! Where the vms of a scenario file run when nobody has moved anything yet; the keys of `[placement]`.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
};

use ballast_core::units::{Bytes, Cores};

use super::keys::Keys;
use crate::scenario::{HostSpec, InvalidScenario, VmSpec};

/// How vms are placed at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtStart {
    /// Each on the host whose memory is promised least, as common cloud schedulers do.
    Spread,
    /// Each on the first host that has room.
    FirstFit,
    /// As the field's benchmark does: by full CPU, on the host whose power rises least.
    Benchmark,
}

/// The placement at the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlacementSpec {
    /// How.
    pub at_start: AtStart,
    /// Share of a host's memory that is promised at most.
    pub memory_fill: f64,
    /// CPU promised at most, over the CPU a host has; the benchmark's rule has 1 and nothing else.
    pub cpu_ratio: f64,
}

impl PlacementSpec {
    pub(super) fn read(file: &Keys<'_>) -> Self {
        let keys = file.section("placement");
        let ways = [("spread", AtStart::Spread), ("first-fit", AtStart::FirstFit), ("benchmark", AtStart::Benchmark)];
        let spec = Self {
            at_start: keys.choice("at_start", &ways, AtStart::Spread),
            memory_fill: keys.number("memory_fill", 0.9, 0.05..=1.0),
            cpu_ratio: keys.number("cpu_ratio", 16.0, 0.1..=1000.0),
        };
        keys.done();
        spec
    }

    /// Gives every vm that is there from the start a home; `speeds` are the speeds of a core by host.
    pub(super) fn place(&self, hosts: &[HostSpec], speeds: &[f64], vms: &mut [VmSpec]) -> Result<(), InvalidScenario> {
        let mut rooms: Vec<Room> = hosts.iter().map(|host| Room::new(host, self)).collect();
        // The host least promised first; an entry that is out of date is put back where it belongs.
        let mut least: BinaryHeap<Reverse<(u64, usize)>> = (0..hosts.len()).map(|host| Reverse((0, host))).collect();
        let all = vms.len();
        for (index, vm) in vms.iter_mut().enumerate().filter(|(_, vm)| vm.arrives.is_zero()) {
            let home = match self.at_start {
                AtStart::Spread => spread(&rooms, &mut least, vm),
                AtStart::FirstFit => rooms.iter().position(|room| room.takes(vm)),
                AtStart::Benchmark => benchmark(hosts, speeds, &rooms, vm),
            };
            let home = home.ok_or(InvalidScenario::NoRoom { hosts: hosts.len(), vms: all, placed: index + 1 })?;
            rooms[home].take(vm);
            vm.home = Some(home);
        }
        Ok(())
    }
}

/// What is left of a host.
#[derive(Debug)]
struct Room {
    memory: Bytes,
    promised: Bytes,
    cpu: f64,
    cpu_promised: f64,
    apart: BTreeSet<String>,
}

impl Room {
    fn new(host: &HostSpec, spec: &PlacementSpec) -> Self {
        let ratio = if spec.at_start == AtStart::Benchmark { 1.0 } else { spec.cpu_ratio };
        Self {
            memory: host.memory_capacity.scale(spec.memory_fill),
            promised: Bytes::ZERO,
            cpu: host.cpu_capacity.get() * ratio,
            cpu_promised: 0.0,
            apart: BTreeSet::new(),
        }
    }

    fn takes(&self, vm: &VmSpec) -> bool {
        self.promised + vm.memory_max <= self.memory
            && self.cpu_promised + vm.cpu_full.get() <= self.cpu + 1e-9
            && self.apart.is_disjoint(&vm.labels.anti_affinity)
    }

    fn take(&mut self, vm: &VmSpec) {
        self.promised = self.promised + vm.memory_max;
        self.cpu_promised += vm.cpu_full.get();
        self.apart.extend(vm.labels.anti_affinity.iter().cloned());
    }

    /// How much of its memory is promised, in millionths.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A share, not negative.
    fn rank(&self) -> u64 {
        (self.promised.ratio_of(self.memory) * 1e6) as u64
    }
}

/// The host least promised that takes the vm, the first of equals.
fn spread(rooms: &[Room], least: &mut BinaryHeap<Reverse<(u64, usize)>>, vm: &VmSpec) -> Option<usize> {
    let mut passed = Vec::new();
    let found = loop {
        let Some(Reverse((rank, host))) = least.pop() else { break None };
        let now = rooms[host].rank();
        if now > rank {
            least.push(Reverse((now, host)));
            continue;
        }
        passed.push(Reverse((rank, host)));
        if rooms[host].takes(vm) {
            break Some(host);
        }
    };
    least.extend(passed);
    found
}

/// The host whose power would rise least above its idle power if all its vms were at full CPU, the first of equals, among
/// those with a core as fast as the vm asks for (Beloglazov and Buyya 2012, as released: a vm there has one core).
fn benchmark(hosts: &[HostSpec], speeds: &[f64], rooms: &[Room], vm: &VmSpec) -> Option<usize> {
    let rise = |host: &usize| {
        let curve = &hosts[*host].power;
        let load = Cores(rooms[*host].cpu_promised + vm.cpu_full.get()).ratio_of(hosts[*host].cpu_capacity);
        (curve.at(load) - curve.idle()).get()
    };
    let fits = |host: &usize| rooms[*host].takes(vm) && vm.cpu_full.get() <= speeds[*host] + 1e-9;
    let mut best: Option<(f64, usize)> = None;
    for host in (0..hosts.len()).filter(fits) {
        let rise = rise(&host);
        if best.is_none_or(|(least, _)| rise < least) {
            best = Some((rise, host));
        }
    }
    best.map(|(_, host)| host)
}
