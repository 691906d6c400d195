//! What hosts are pooled by when their risk is measured: hosts of like hardware stray alike, for they are filled alike.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::inventory::Inventory;

/// A class of hosts: CPU model and size, as `EPYC x 64`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostClass(String);

impl HostClass {
    /// The class of a host.
    pub fn of(inventory: &Inventory) -> Self {
        Self(format!("{} x {:.0}", inventory.cpu_model, inventory.cpu_capacity.get()))
    }
}

impl fmt::Display for HostClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixture::Fleet, units::Cores};

    #[test]
    fn hosts_of_one_model_and_size_are_one_class() {
        let mut fleet = Fleet::new(&[("a", &[]), ("b", &[]), ("c", &[])]);
        fleet.inventory("c").cpu_capacity = Cores(32.0);
        let mut class = |name| HostClass::of(fleet.inventory(name)).to_string();
        assert_eq!([class("a"), class("b"), class("c")], ["EPYC x 16", "EPYC x 16", "EPYC x 32"]);
    }
}
