//! What was measured of a fleet's risk, as forecasts carry it: the z of every class of hosts, and which vms stray together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{id::VmId, inventory::Inventory, risk::HostClass};

/// What was measured of a fleet's risk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MeasuredRisk {
    /// Standard deviations that a host of a class not listed is promised.
    pub fleet_z: f64,
    /// The same by class of host.
    pub z: BTreeMap<HostClass, f64>,
    /// Loading on the common factor of a vm not listed, 0 to 1.
    pub loading: f64,
    /// The same by vm.
    pub loadings: BTreeMap<VmId, f64>,
    /// Correlation of two members of a bundle beyond that of any two vms, 0 to 1.
    pub bundles: BTreeMap<String, f64>,
}

impl MeasuredRisk {
    /// Standard deviations that a host is promised.
    pub fn z_of(&self, host: &Inventory) -> f64 {
        self.z.get(&HostClass::of(host)).copied().unwrap_or(self.fleet_z)
    }

    /// The loading of a vm.
    pub fn loading_of(&self, vm: VmId) -> f64 {
        self.loadings.get(&vm).copied().unwrap_or(self.loading)
    }
}
