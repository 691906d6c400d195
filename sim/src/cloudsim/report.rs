//! What a day came to, by the benchmark's own measures.

use ballast_core::units::count;

use super::{
    fleet::Fleet,
    record::{HostRecord, VmRecord},
};

/// Joules of a kilowatt hour.
const JOULES_PER_KWH: f64 = 3_600_000.0;

/// Seconds of the day.
const SECONDS_PER_DAY: f64 = 86_400.0;

/// The figures of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The rule's name in full.
    pub rule: String,
    /// Energy of all hosts.
    pub kwh: f64,
    /// Migrations that began; a vm that is sent to two hosts at once counts twice.
    pub migrations: u64,
    /// SLATAH: share of the hosts' active time in which they gave less than was asked for, all hosts together.
    pub slatah: f64,
    /// The same, host by host, and then the mean over the hosts that were active: how the rules' authors define it.
    pub slatah_by_host: f64,
    /// PDM: share of what the vms asked for that they were not given while they migrated.
    pub pdm: f64,
    /// SLATAH times PDM.
    pub slav: f64,
    /// Energy in kWh times SLAV.
    pub esv: f64,
    /// Share of what the vms asked for that they were not given, what a full host held back and what migrating took.
    pub overall_slav: f64,
    /// Of that, the share that was not given outside of migrations: demand that hosts could not serve.
    pub unserved: f64,
    /// What the vms asked for and were not given, in core-seconds of 1000 MIPS.
    pub unserved_core_seconds: f64,
    /// Times a host went from active to not active; one that is never used counts once.
    pub shutdowns: u64,
    /// Hosts that were active, as a mean over the day.
    pub active_hosts: f64,
    /// Vms of the recording.
    pub vms: usize,
    /// Vms that were there at the end.
    pub vms_left: usize,
    /// Largest sum of the memory of the vms of a host when decisions are made, in megabytes: more than it has, where memory is not heeded.
    pub ram_max_mb: u32,
}

impl Report {
    pub(super) fn of(rule: String, mut fleet: Fleet, migrations: u64) -> Self {
        fleet.hosts.iter_mut().for_each(|host| host.record.close());
        let hosts =
            |figure: fn(&HostRecord) -> f64| -> f64 { fleet.hosts.iter().map(|host| figure(&host.record)).sum() };
        let vms = |figure: fn(&VmRecord) -> f64| -> f64 { fleet.vms.iter().map(|vm| figure(&vm.record)).sum() };
        let (active, asked) = (hosts(|host| host.active), vms(|vm| vm.asked));
        let slatah = share(hosts(|host| host.short), active);
        let pdm = share(vms(|vm| vm.missed_migrating), asked);
        let kwh = fleet.energy / JOULES_PER_KWH;
        Self {
            rule,
            kwh,
            migrations,
            slatah,
            slatah_by_host: mean_by_host(&fleet),
            pdm,
            slav: slatah * pdm,
            esv: kwh * slatah * pdm,
            overall_slav: share(asked - vms(|vm| vm.given), asked),
            unserved: share(vms(|vm| vm.missed - vm.missed_migrating), asked),
            unserved_core_seconds: (asked - vms(|vm| vm.given)) / 1000.0,
            shutdowns: fleet.hosts.iter().map(|host| u64::from(host.record.shutdowns)).sum(),
            active_hosts: active / SECONDS_PER_DAY,
            vms: fleet.vms.len(),
            vms_left: fleet.vms.iter().filter(|vm| !vm.is_gone).count(),
            ram_max_mb: fleet.ram_max,
        }
    }
}

fn mean_by_host(fleet: &Fleet) -> f64 {
    let active = fleet.hosts.iter().map(|host| &host.record).filter(|record| record.active > 0.0);
    let shares: Vec<f64> = active.map(|record| record.short / record.active).collect();
    share(shares.iter().sum(), count(shares.len()))
}

/// A part of a whole; of nothing, nothing.
fn share(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}
