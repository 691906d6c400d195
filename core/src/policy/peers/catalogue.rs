//! Whose rules they are, how often they are asked, with which defaults, and the terms on which to judge them.

use std::time::Duration;

use crate::tuning::Tuning;

use super::{
    CloudStack, GanetiHbal, GanetiHsqueeze, Ovirt, Packing, ProxlbPsi, ProxlbUsage, ProxmoxDlb, RlDc, VmwareDpm,
    VmwareDrs, WatcherConsolidation, WatcherStabilization,
};

/// One peer, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its name among [`super::NAMES`].
    pub name: &'static str,
    /// Whose rule, by which version or document.
    pub source: &'static str,
    /// How often it decides by default.
    pub period: Duration,
    /// Its defaults, in words.
    pub defaults: &'static str,
    /// Migrations at a time: out of a host, into a host, in the fleet.
    moves: [usize; 3],
}

/// More migrations than any fleet runs at a time.
const UNLIMITED: usize = 10_000;

/// A minute, in seconds.
const MINUTE: u64 = 60;

const fn peer_of(
    name: &'static str,
    source: &'static str,
    period_secs: u64,
    defaults: &'static str,
    moves: [usize; 3],
) -> Peer {
    Peer { name, source, period: Duration::from_secs(period_secs), defaults, moves }
}

/// Every peer, in the order of [`super::NAMES`].
pub const PEERS: [Peer; super::NAMES.len()] = [
    peer_of(
        VmwareDpm::NAME,
        "VMware DPM (Broadcom KB 310527; vSphere Resource Management), balancing off",
        5 * MINUTE,
        "target 63 % +-18: on above 81 % over 5 min, off below 45 % over 40 min; 8 migrations a host",
        [8, 8, UNLIMITED],
    ),
    peer_of(
        VmwareDrs::NAME,
        "VMware DRS up to vSphere 6.7 (Gulati et al. 2012; knowledge base on priorities)",
        5 * MINUTE,
        "level 3: deviation of host load at most 0.2 / sqrt(hosts); 8 migrations a host",
        [8, 8, UNLIMITED],
    ),
    peer_of(
        Ovirt::POWER_SAVING,
        "oVirt 4.5, ovirt-engine power_saving",
        MINUTE,
        "high 75 %, low 20 %, over 2 min; 1 vm a minute; no hosts in reserve, automatic power management on; 2 in, 2 out",
        [2, 2, UNLIMITED],
    ),
    peer_of(
        Ovirt::EVENLY_DISTRIBUTED,
        "oVirt 4.5, ovirt-engine evenly_distributed",
        MINUTE,
        "high 75 % over 2 min, targets below 60 %; 1 vm a minute; 2 in, 2 out",
        [2, 2, UNLIMITED],
    ),
    peer_of(
        WatcherStabilization::NAME,
        "OpenStack Watcher, workload_stabilization",
        10 * MINUTE,
        "thresholds 0.1, weights 1, means of 720 s, retry 1; 2 migrations at a time, 1 out of a host (nova)",
        [1, UNLIMITED, 2],
    ),
    peer_of(
        WatcherConsolidation::NAME,
        "OpenStack Watcher, vm_workload_consolidation",
        60 * MINUTE,
        "coefficients 1.0, means of 3600 s; 2 migrations at a time, 1 out of a host (nova)",
        [1, UNLIMITED, 2],
    ),
    peer_of(
        GanetiHbal::NAME,
        "Ganeti htools, hbal",
        5 * MINUTE,
        "min-gain 0.01 below score 0.1, min-score 1e-9, vcpu ratio 4; no limit on moves",
        [UNLIMITED; 3],
    ),
    peer_of(
        GanetiHsqueeze::NAME,
        "Ganeti htools, hsqueeze",
        5 * MINUTE,
        "2 x the standard vm (1 vcpu, 128 MiB) kept free on every host, vcpu ratio 4; no limit on moves",
        [UNLIMITED; 3],
    ),
    peer_of(
        ProxmoxDlb::NAME,
        "Proxmox VE 9.2, pve-ha-manager 5.2 dynamic load balancing",
        10,
        "imbalance 0.3 for 3 rounds, margin 0.1; 1 migration at a time",
        [1, 1, 1],
    ),
    peer_of(
        CloudStack::BALANCED,
        "Apache CloudStack DRS, algorithm balanced",
        60 * MINUTE,
        "imbalance 0.4 of allocated memory, at most 50 migrations a run",
        [UNLIMITED, UNLIMITED, 50],
    ),
    peer_of(
        CloudStack::CONDENSED,
        "Apache CloudStack DRS, algorithm condensed",
        60 * MINUTE,
        "imbalance 0.4 of allocated memory, at most 50 migrations a run",
        [UNLIMITED, UNLIMITED, 50],
    ),
    peer_of(
        ProxlbUsage::NAME,
        "ProxLB 2.2 (credativ), mode used",
        12 * 60 * MINUTE,
        "method memory, balanciness 10; 1 migration at a time",
        [1, 1, 1],
    ),
    peer_of(
        ProxlbPsi::NAME,
        "ProxLB 2.2 (credativ), mode psi",
        MINUTE,
        "full and some 0.20 % over an hour, or full 1.00 % in 6 min; 1 vm an hour",
        [1, 1, 1],
    ),
    peer_of(
        Packing::GAMMA_ROBUST,
        "Gamma-robust first fit (Han 2025; Bertsimas and Sim 2004)",
        5 * MINUTE,
        "gamma 4, centre the median, radius to the 95 % quantile; no limit on moves",
        [UNLIMITED; 3],
    ),
    peer_of(
        Packing::BEST_FIT,
        "best fit of bin packing",
        5 * MINUTE,
        "by CPU in use and memory promised; no limit on moves",
        [UNLIMITED; 3],
    ),
    peer_of(
        Packing::FIRST_FIT,
        "first fit of bin packing",
        5 * MINUTE,
        "by CPU in use and memory promised; no limit on moves",
        [UNLIMITED; 3],
    ),
    peer_of(
        RlDc::NAME,
        "RL-DC (Farahnakian, Liljeberg, Plosila, PDP 2014), our reading of its abstract",
        5 * MINUTE,
        "Q-learning, rate 0.1, discount 0.9, exploration 0.2 falling; no limit on moves",
        [UNLIMITED; 3],
    ),
];

/// The peer of that name; `gamma-robust` for one of its variants.
pub fn peer(name: &str) -> Option<&'static Peer> {
    let name = if Packing::robust(name).is_some() { Packing::GAMMA_ROBUST } else { name };
    PEERS.iter().find(|peer| peer.name == name)
}

/// The terms on which a peer is judged: none of ballast's own rules of comfort, and as many migrations at a time as the
/// peer allows itself; no limit on them for a name that is not known. Memory is still never promised twice, and one host
/// stays awake.
pub fn terms(name: &str) -> Tuning {
    let [out, into, fleet] = peer(name).map_or([UNLIMITED; 3], |peer| peer.moves);
    Tuning {
        cpu_limit: 1.0,
        cpu_fill_limit: 1.0,
        risk_z: 0.0,
        risk_priced: false,
        memory_ratio: 1.0,
        vm_cool_down: Duration::ZERO,
        power_dwell: Duration::ZERO,
        sleep_after: Duration::ZERO,
        min_awake: 1,
        spare_hosts: 0,
        moves_out_per_host: out,
        moves_in_per_host: into,
        moves_in_fleet: fleet,
        min_gain_joules: 0.0,
        ..Tuning::default()
    }
}
