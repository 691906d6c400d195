//! What a file says to the faithful simulation of the field's benchmark: which of its quirks are mended; the keys of
//! `[faithful]`. That simulation has hosts, vms and accounting of its own and takes nothing else from the file.

use super::keys::Keys;

/// Changes to the benchmark as released; none of them is its version 3.0.3.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // Independent switches, each of which is measured alone.
pub struct Faithful {
    /// Vms whose demand is 0 stay, instead of being deleted for ever.
    pub keep: bool,
    /// Memory of a host in MiB that is enforced; `None` enforces none after the start.
    pub ram_mib: Option<u32>,
    /// A vm that migrates in asks its destination for what it is given there: its arrival is no violation.
    pub slafix: bool,
    /// A host that is off draws nothing when the rise of its power is compared.
    pub idle: bool,
    /// Targets of overloaded hosts' vms are left out of the search for hosts to empty, as the code meant.
    pub excl: bool,
    /// The local regression applies its weights.
    pub wls: bool,
    /// Targets are chosen as in version 3.0.1.
    pub v30: bool,
}

impl Faithful {
    pub(super) fn read(keys: Keys<'_>) -> Self {
        let read = Self {
            keep: keys.flag("keep", false),
            ram_mib: keys.maybe_whole("ram_mib", 1024..=1 << 26).and_then(|mib| u32::try_from(mib).ok()),
            slafix: keys.flag("slafix", false),
            idle: keys.flag("idle", false),
            excl: keys.flag("excl", false),
            wls: keys.flag("wls", false),
            v30: keys.flag("v30", false),
        };
        keys.done();
        read
    }
}
