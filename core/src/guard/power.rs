//! The rules for waking a host and for putting one to sleep.

use std::time::Duration;

use crate::{
    finding::Finding,
    guard::{Guard, loss::loss},
    id::HostId,
    inventory::SleepSupport,
    proposal::Motive,
    risk::HostLoad,
    snapshot::{HostMode, HostPower, HostView},
    units::{Cores, count},
};

/// All findings about waking `host`.
pub(super) fn wake(guard: &Guard<'_>, host: &HostId, motive: &Motive) -> Vec<Finding> {
    let Some(view) = guard.snapshot.hosts.get(host) else {
        return vec![Finding::UnknownHost { host: host.clone() }];
    };
    let rules = [not_asleep(view), wake_dwell(guard, view, motive), nobody(guard, host)];
    rules.into_iter().flatten().collect()
}

/// All findings about putting `host` to sleep.
pub(super) fn sleep(guard: &Guard<'_>, host: &HostId) -> Vec<Finding> {
    let Some(view) = guard.snapshot.hosts.get(host) else {
        return vec![Finding::UnknownHost { host: host.clone() }];
    };
    let staying: Vec<_> = guard.staying(host).collect();
    let rest = guard.load.pool_over(staying.iter().map(|(_, load)| *load));
    let rules = [
        doubtful(view),
        not_awake(guard, view),
        kept_for_its_operator(view),
        cannot_sleep(view),
        not_empty(guard, host),
        dwell(guard, view),
        reserve(guard, &rest, staying.len()),
        loss(guard, &rest, &staying),
    ];
    rules.into_iter().flatten().collect()
}

fn not_asleep(host: &HostView) -> Option<Finding> {
    (host.power != HostPower::Asleep).then(|| Finding::NotAsleep { host: host.id().clone() })
}

/// Need wakes a host at once; only what could wait has to.
fn wake_dwell(guard: &Guard<'_>, host: &HostView, motive: &Motive) -> Option<Finding> {
    let needed = matches!(
        motive,
        Motive::Overload { .. } | Motive::Shortage { .. } | Motive::Spare { .. } | Motive::Waiting { .. }
    );
    if needed { None } else { dwell(guard, host) }
}

fn nobody(guard: &Guard<'_>, host: &HostId) -> Option<Finding> {
    guard.waker_of(host).is_none().then(|| Finding::NobodyToWakeIt { host: host.clone() })
}

fn doubtful(host: &HostView) -> Option<Finding> {
    (!host.is_trusted()).then(|| Finding::Doubtful { host: host.id().clone(), doubts: host.doubts.clone() })
}

fn not_awake(guard: &Guard<'_>, host: &HostView) -> Option<Finding> {
    let awake = host.power == HostPower::Awake && !guard.falls_asleep(host.id());
    (!awake).then(|| Finding::NotAwake { host: host.id().clone() })
}

/// Who drains a host wants to work on it: it stays up until it is back in use.
fn kept_for_its_operator(host: &HostView) -> Option<Finding> {
    (host.mode == HostMode::Draining).then(|| Finding::BeingDrained { host: host.id().clone() })
}

fn cannot_sleep(host: &HostView) -> Option<Finding> {
    (host.inventory.sleep == SleepSupport::None).then(|| Finding::CannotSleep { host: host.id().clone() })
}

/// A vm on its way to or from the host counts, as does one that was accepted to come.
fn not_empty(guard: &Guard<'_>, host: &HostId) -> Option<Finding> {
    let vms = guard.booked(host, &[]).vms;
    (vms > 0).then(|| Finding::NotEmpty { host: host.clone(), vms })
}

fn dwell(guard: &Guard<'_>, host: &HostView) -> Option<Finding> {
    let since = guard.snapshot.taken_at.since(host.power_since);
    let left = guard.tuning.power_dwell.saturating_sub(since);
    (left > Duration::ZERO).then(|| Finding::PowerDwell { host: host.id().clone(), left })
}

/// Enough hosts stay awake for the fleet's demand at the risk quantile, with the configured spares. `rest` is the fleet on the
/// `awake` hosts that stay.
fn reserve(guard: &Guard<'_>, rest: &HostLoad, awake: usize) -> Option<Finding> {
    let per_host = (rest.capacity / count(awake.max(1))) * guard.tuning.cpu_limit;
    let carrying = hosts_for(rest.ahead(&guard.risk), per_host, awake);
    let needed = carrying.saturating_add(guard.tuning.spare_hosts).max(guard.tuning.min_awake);
    (awake < needed).then_some(Finding::Reserve { awake, needed })
}

/// Hosts of `per_host` cores that `demand` needs; one more than there are where they have none.
fn hosts_for(demand: Cores, per_host: Cores, awake: usize) -> usize {
    if per_host.get() <= 0.0 {
        return awake + 1;
    }
    (0..=awake).find(|hosts| per_host * count(*hosts) >= demand).unwrap_or(awake + 1)
}
