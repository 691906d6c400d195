//! The rules of other systems, as policies of ours: what each would have done with the same fleet.
//!
//! For replay, simulation and the scoreboard; any of them may also serve. Each file says whose rule it is, by which
//! version or document, with which defaults, where it is our reading, and how its cost grows. A peer decides by what it
//! would see: use, promised memory and pressure, never ballast's forecasts (the robust rule excepted, which needs an
//! interval). What nobody may do, it does not propose either: memory is never promised twice, and pins, anti-affinity,
//! obstacles, locks and doubts are honoured by the same check as ballast's own policies use. Peers do not empty hosts that
//! their operator drains: with all of them that is another mechanism.
//!
//! State, where a peer has some, goes by the time of the view. A peer that decides every `period` is to be asked that
//! often; [`Paced`] does so, and goes on with a plan that its bounds on concurrent moves did not let begin at once.

mod catalogue;
mod cloudstack;
mod ganeti_hbal;
mod ganeti_hsqueeze;
mod means;
mod ovirt;
mod paced;
mod packing;
mod proxlb_psi;
mod proxlb_usage;
mod proxmox_dlb;
mod rl_dc;
mod room;
mod row;
mod spread;
mod table;
#[cfg(test)]
mod tests;
mod vmware_dpm;
mod vmware_drs;
mod watcher_consolidation;
mod watcher_stabilization;

pub use catalogue::{PEERS, Peer, peer, terms};
pub use cloudstack::CloudStack;
pub use ganeti_hbal::GanetiHbal;
pub use ganeti_hsqueeze::GanetiHsqueeze;
pub use ovirt::Ovirt;
pub use paced::Paced;
pub use packing::Packing;
pub use proxlb_psi::ProxlbPsi;
pub use proxlb_usage::ProxlbUsage;
pub use proxmox_dlb::ProxmoxDlb;
pub use rl_dc::RlDc;
pub use vmware_dpm::VmwareDpm;
pub use vmware_drs::VmwareDrs;
pub use watcher_consolidation::WatcherConsolidation;
pub use watcher_stabilization::WatcherStabilization;

use crate::policy::Policy;

/// The names that [`by_name`] knows; `gamma-robust-1` to `gamma-robust-8` besides.
pub const NAMES: [&str; 17] = [
    VmwareDpm::NAME,
    VmwareDrs::NAME,
    Ovirt::POWER_SAVING,
    Ovirt::EVENLY_DISTRIBUTED,
    WatcherStabilization::NAME,
    WatcherConsolidation::NAME,
    GanetiHbal::NAME,
    GanetiHsqueeze::NAME,
    ProxmoxDlb::NAME,
    CloudStack::BALANCED,
    CloudStack::CONDENSED,
    ProxlbUsage::NAME,
    ProxlbPsi::NAME,
    Packing::GAMMA_ROBUST,
    Packing::BEST_FIT,
    Packing::FIRST_FIT,
    RlDc::NAME,
];

/// The peer's rule of that name, to be asked as often as the caller sees fit; `None` for a name that is not known.
pub fn by_name(name: &str) -> Option<Box<dyn Policy>> {
    Some(match name {
        VmwareDpm::NAME => Box::new(VmwareDpm::default()),
        VmwareDrs::NAME => Box::new(VmwareDrs),
        Ovirt::POWER_SAVING => Box::new(Ovirt::power_saving()),
        Ovirt::EVENLY_DISTRIBUTED => Box::new(Ovirt::evenly_distributed()),
        WatcherStabilization::NAME => Box::new(WatcherStabilization::default()),
        WatcherConsolidation::NAME => Box::new(WatcherConsolidation::default()),
        GanetiHbal::NAME => Box::new(GanetiHbal),
        GanetiHsqueeze::NAME => Box::new(GanetiHsqueeze),
        ProxmoxDlb::NAME => Box::new(ProxmoxDlb::default()),
        CloudStack::BALANCED => Box::new(CloudStack::Balanced),
        CloudStack::CONDENSED => Box::new(CloudStack::Condensed),
        ProxlbUsage::NAME => Box::new(ProxlbUsage),
        ProxlbPsi::NAME => Box::new(ProxlbPsi::default()),
        Packing::BEST_FIT => Box::new(Packing::BestFit),
        Packing::FIRST_FIT => Box::new(Packing::FirstFit),
        RlDc::NAME => Box::new(RlDc::default()),
        _ => Box::new(Packing::robust(name)?),
    })
}
