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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cloudsim::{Quirks, demand::Demand},
        trace::{
            SLOTS_PER_DAY,
            planetlab::{Day, VmDay},
        },
    };

    /// Where the 1052 vms of a day begin.
    fn homes(detector: Option<Detector>) -> Vec<usize> {
        let vm = |index: usize| VmDay { name: index.to_string(), percent: [1; SLOTS_PER_DAY] };
        let mut fleet = Fleet::new(Demand::new(&Day { vms: (0..1052).map(vm).collect() }), Quirks::default());
        place(&mut fleet, detector);
        fleet.vms.iter().map(|vm| vm.home).collect()
    }

    #[test]
    fn least_power_spreads_the_vms_over_all_hosts() {
        let homes = homes(Some(Detector::Regression(1.2)));
        assert_eq!((homes[0], homes[1], homes[262]), (1, 3, 525), "the fastest on the faster hosts");
        assert_eq!(
            (homes[263], homes[399], homes[400]),
            (527, 799, 527),
            "the next on the rest of these, then in pairs"
        );
        assert_eq!((homes[526], homes[788]), (0, 524), "the slow ones on the slower hosts");
        assert_eq!(homes[789], 526);
    }

    #[test]
    fn first_fit_fills_one_host_after_the_other() {
        let homes = homes(None);
        assert_eq!(homes[..4], [1, 1, 3, 3], "two of 2500 MIPS fit on 5320");
        assert_eq!(homes[526], 0);
    }
}
