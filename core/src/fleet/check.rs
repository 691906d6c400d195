//! Recompute and compare: what the state keeps up to date event by event, worked out again from its claims.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{HostId, VmId};

use super::FleetState;

impl FleetState {
    /// Every contradiction within the state, in words; empty unless there is a bug. For tests after each step, and on
    /// demand in production.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.claim_problems();
        problems.extend(self.moves.problems());
        problems.extend(self.vms.keys().flat_map(|id| self.vm_problems(*id)));
        problems
    }

    /// Both sides of the claims must say the same.
    fn claim_problems(&self) -> Vec<String> {
        let mut by_host: BTreeMap<&HostId, BTreeSet<VmId>> = BTreeMap::new();
        for (vm, state) in &self.vms {
            for host in state.claims.keys() {
                by_host.entry(host).or_default().insert(*vm);
            }
        }
        let differs = |(host, state): &(&HostId, &super::HostState)| {
            state.claims != by_host.get(host).cloned().unwrap_or_default()
        };
        let strangers = by_host.keys().filter(|host| !self.hosts.contains_key(**host));
        let differing = self.hosts.iter().filter(differs).map(|(host, _)| host);
        strangers.copied().chain(differing).map(|host| format!("claims of {host} differ from its vms'")).collect()
    }

    fn vm_problems(&self, id: VmId) -> Vec<String> {
        let mut problems = Vec::new();
        let Some(vm) = self.vms.get(&id) else { return problems };
        let lock = self.move_of(id);
        match lock {
            None if !vm.claims.contains_key(&vm.host) => {
                problems.push(format!("vm {id} is placed on {}, which does not claim it", vm.host));
            }
            Some(one) if vm.host != one.source => {
                problems.push(format!("vm {id} is in flight and not on its source {}", one.source));
            }
            _ => {}
        }
        let mut fresh = vm.clone();
        fresh.resolve(lock, crate::units::Timestamp::EPOCH, &mut Vec::new());
        if fresh != *vm {
            problems.push(format!("vm {id} resolves to {fresh:?}, but is kept as {vm:?}"));
        }
        problems
    }
}
