//! What the original does that no fleet does, each as a switch: off is `CloudSim` 3.0.3 to the last digit.

use ballast_core::policy::textbook::Variant;

/// Departures from `CloudSim` 3.0.3. The default is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // Independent switches, each of which is measured alone.
pub struct Quirks {
    /// Vms stay though they ask for nothing. The original deletes a vm for ever once two samples in a row are 0 %, which
    /// rids it of half of all vms, most of them within the first hours.
    pub keep: bool,
    /// Hosts have this much memory, in megabytes, and it is heeded. In the original every host has 4096, and asks for it
    /// when the vms are first placed; from then on vms are taken to need none.
    pub ram: Option<u32>,
    /// A vm on its way in books on its target the tenth that it is given. The original books all it asks for, so that a
    /// host counts as violating its agreement for as long as any vm is coming.
    pub slafix: bool,
    /// A host that gives nothing counts as drawing nothing when targets are compared, until a vm is assigned to it. The
    /// original takes its idle power as drawn already, so that waking a host looks free.
    pub idle: bool,
    /// Hosts that just took vms from overloaded ones are not emptied in the same round. The original means to, but looks
    /// into a list that is still empty.
    pub excl: bool,
    /// The regression weighs recent values more. The original works the weights out and applies them only where two fifths
    /// of them are zero, which none is.
    pub wls: bool,
    /// Targets are compared by their recorded load alone, as in releases 3.0 and 3.0.1. Since 3.0.2 vms that were assigned
    /// in the same round count, but on one side of the difference only, which spreads them.
    pub v30: bool,
}

impl Quirks {
    /// These, and those that a rule's name asks for.
    pub fn with(self, variant: Variant) -> Self {
        Self {
            idle: self.idle || variant.idle,
            excl: self.excl || variant.exclude_targets,
            wls: self.wls || variant.weighted,
            v30: self.v30 || variant.recorded_load,
            ..self
        }
    }
}
