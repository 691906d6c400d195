//! N+1: the hosts that stay awake carry the fleet even if any one of them fails.

use crate::{
    finding::Finding,
    guard::Guard,
    id::HostId,
    risk::HostLoad,
    units::{Bytes, Cores},
};

/// What stands against the sleep of a host that leaves the fleet, `rest`, to those `staying`, where the loss of one of them is to be
/// borne. Only the largest hosts are asked: what the rest bears without them it bears without any other. Sums are compared, not
/// placements.
pub(super) fn loss(guard: &Guard<'_>, rest: &HostLoad, staying: &[(&HostId, &HostLoad)]) -> Option<Finding> {
    if !guard.tuning.n_plus_one {
        return None;
    }
    let most_cpu = staying.iter().max_by(|(_, a), (_, b)| a.capacity.total_cmp(&b.capacity));
    let most_memory = staying.iter().max_by_key(|(_, load)| load.memory_capacity);
    most_cpu.into_iter().chain(most_memory).find_map(|(lost, load)| unborne(guard, rest, lost, load))
}

fn unborne(guard: &Guard<'_>, rest: &HostLoad, lost: &HostId, load: &HostLoad) -> Option<Finding> {
    let cores_wanted: Cores = rest.ahead(&guard.risk);
    let cores_left = rest.capacity.saturating_sub(load.capacity) * guard.tuning.cpu_limit;
    let memory_wanted: Bytes = rest.memory;
    let memory_left = rest.memory_capacity.saturating_sub(load.memory_capacity).scale(guard.tuning.memory_ratio);
    let unborne = cores_wanted > cores_left || memory_wanted > memory_left;
    unborne.then(|| Finding::Loss { host: lost.clone(), cores_wanted, cores_left, memory_wanted, memory_left })
}
