//! Where the vms begin: one after the other, at all they may use.

use ballast_core::policy::textbook::{Detector, detect::FALLBACK_LIMIT};

use super::{
    facts::{HOST_RAM, HOSTS, VMS_PER_HOST, VmKind, kind_of},
    fleet::Fleet,
};

/// What is promised to the vms of a host.
#[derive(Debug, Clone, Copy)]
struct Promised {
    mips: f64,
    free: f64,
    ram: u32,
    vms: usize,
}

/// Places every vm; one that fits nowhere is left out for good. Without a rule of detection the first host that fits is
/// taken, else the one on which the vm adds least power.
pub(super) fn place(fleet: &mut Fleet, detector: Option<Detector>) {
    let promised = |host| Promised { mips: 0.0, free: kind_of(host).total, ram: 0, vms: 0 };
    let mut hosts: Vec<Promised> = (0..HOSTS).map(promised).collect();
    for vm in 0..fleet.vms.len() {
        let kind = fleet.demand.kinds[vm];
        let ram = fleet.quirks.ram.unwrap_or(HOST_RAM);
        let found = match detector {
            None => (0..HOSTS).find(|host| fits(&hosts[*host], *host, kind, ram)),
            Some(detector) => least_power(fleet, &hosts, kind, ram, detector),
        };
        if let Some(host) = found {
            let promised = &mut hosts[host];
            promised.mips += kind.mips;
            promised.free -= kind.mips;
            promised.ram += kind.ram;
            promised.vms += 1;
            fleet.ram_max = fleet.ram_max.max(promised.ram);
            fleet.settle(vm, host);
        }
    }
}

fn fits(host: &Promised, at: usize, vm: VmKind, ram: u32) -> bool {
    let has_cpu = kind_of(at).core >= vm.mips && host.free >= vm.mips;
    has_cpu && host.ram + vm.ram <= ram && host.vms < VMS_PER_HOST
}

fn least_power(fleet: &Fleet, hosts: &[Promised], vm: VmKind, ram: u32, detector: Detector) -> Option<usize> {
    let mut best = (f64::MAX, None);
    // Nothing has run yet: what is promised counts as used, except for the releases that look at what was recorded.
    let used = |host: &Promised| if fleet.quirks.v30 { 0.0 } else { host.mips };
    for (at, host) in hosts.iter().enumerate() {
        let kind = kind_of(at);
        // Of the vms on the host none asks for anything yet, so only the new one counts.
        let limit = if let Detector::Threshold(limit) = detector { limit } else { FALLBACK_LIMIT };
        let is_overloaded = used(host) != 0.0 && vm.mips / kind.total > limit;
        if is_overloaded || !fits(host, at, vm, ram) {
            continue;
        }
        let added = kind.power((used(host) + vm.mips) / kind.total) - kind.power(0.0);
        if added < best.0 {
            best = (added, Some(at));
        }
    }
    best.1
}
