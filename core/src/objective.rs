//! The price of having vms where they are, in joules over the horizon: energy, slowdown and distance to users at their prices,
//! and what it costs to get there. Serving, simulation and scoring judge by this and nothing else.
//!
//! It takes the demand as [`crate::risk`] adds it up and a copy's cost as [`crate::migration_cost`] has it. It decides
//! nothing: policies compare its figures, and people read them in a decision.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    id::{HostId, VmId},
    migration_cost::{self, CopyEstimate, CopyJob, CopyPrices, Writes},
    power::PowerCurve,
    proposal::{Expectation, Move},
    risk::{FleetLoad, HostLoad, MOMENTS, Risk},
    snapshot::{HostView, Snapshot, VmView},
    tuning::Tuning,
    units::{Bytes, Cores, Joules, Watts},
};

/// What holding one host for the horizon comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct HostCost {
    /// Energy.
    pub energy: Joules,
    /// Core-seconds of demand expected to go unserved.
    pub unserved: f64,
}

/// The judge: a snapshot, what its vms will ask for, and the prices.
#[derive(Debug, Clone, Copy)]
pub struct Objective<'a> {
    snapshot: &'a Snapshot,
    tuning: &'a Tuning,
    risk: Risk,
}

impl<'a> Objective<'a> {
    /// Judges changes to `snapshot` at the prices of `tuning`.
    pub fn new(snapshot: &'a Snapshot, tuning: &'a Tuning) -> Self {
        Self { snapshot, tuning, risk: Risk::of(tuning) }
    }

    /// Energy and unserved demand as one price.
    pub fn price(&self, cost: HostCost) -> Joules {
        cost.energy + Joules(cost.unserved * self.tuning.overload_joules_per_core_second)
    }

    /// What `load` on an awake host costs over the horizon.
    pub fn awake(&self, load: &HostLoad, power: &PowerCurve) -> HostCost {
        let watts = |moment: usize| power.at(load.utilisation(moment)) * self.risk.weights[moment];
        let mean: Watts = (0..MOMENTS).map(watts).sum();
        HostCost { energy: mean.over(self.tuning.horizon), unserved: self.unserved(load) }
    }

    /// What the whole fleet costs over the horizon if it is left as it is: the sum that a decision makes smaller.
    pub fn fleet(&self, fleet: &FleetLoad<'_>) -> HostCost {
        let cost = |(id, load)| {
            let host = self.snapshot.hosts.get(id)?;
            let asleep = host.power == crate::snapshot::HostPower::Asleep;
            let sleeping = || host.inventory.power.asleep().over(self.tuning.horizon);
            let still = || HostCost { energy: sleeping(), unserved: self.unserved(load) };
            Some(if asleep { still() } else { self.awake(load, &host.inventory.power) })
        };
        fleet.hosts().filter_map(cost).fold(HostCost::default(), |sum, one| HostCost {
            energy: sum.energy + one.energy,
            unserved: sum.unserved + one.unserved,
        })
    }

    /// The copy of `vm` from `from` to `to`, alone on the link.
    pub fn copy(&self, vm: &VmView, from: &HostView, to: &HostView) -> CopyEstimate {
        self.estimate(vm, &copy_job(vm, from, to))
    }

    /// What `job`, a copy of `vm`, takes. One that would take longer than the vm's limit does not converge.
    pub fn estimate(&self, vm: &VmView, job: &CopyJob) -> CopyEstimate {
        let copy = self.snapshot.copying.estimate(job);
        let in_time = copy.duration <= vm.record.limits().completion_timeout;
        CopyEstimate { converges: copy.converges && in_time, ..copy }
    }

    /// The fleet that is judged.
    pub fn snapshot(&self) -> &'a Snapshot {
        self.snapshot
    }

    /// What that copy costs while it goes on: the CPU both ends spend on it, and what its vm loses.
    pub fn copy_prices(&self, vm: &VmView, from: &HostView, to: &HostView) -> CopyPrices {
        CopyPrices {
            watts_per_core: per_core(from) + per_core(to),
            copying: migration_cost::copy_cores(bandwidth(vm, from, to)),
            used: vm.cpu_used().unwrap_or_default(),
            slowdown: self.tuning.migration_slowdown,
            joules_per_core_second: self.tuning.overload_joules_per_core_second,
        }
    }

    /// What `moves` change while their hosts stay awake. `load` gives each host's demand before them; moves and vms that
    /// are not known count as nothing.
    pub fn relocate(
        &self,
        moves: &[Move],
        vms: &FleetLoad<'_>,
        load: impl Fn(&HostId) -> Option<HostLoad>,
    ) -> Expectation {
        self.judge(moves, None, vms, load)
    }

    /// What `moves` change if `host`, which they empty, then goes to sleep.
    pub fn evacuate(
        &self,
        host: &HostId,
        moves: &[Move],
        vms: &FleetLoad<'_>,
        load: impl Fn(&HostId) -> Option<HostLoad>,
    ) -> Expectation {
        self.judge(moves, Some(host), vms, load)
    }

    /// What the copies of `moves` alone cost, as a gain that is less than nothing.
    pub fn copies(&self, moves: &[Move]) -> Expectation {
        let mut expected = Expectation::default();
        self.add_copies(moves, &mut expected);
        self.settled(expected)
    }

    /// What waking `host` changes for the demand and capacity of `short`, which it joins.
    pub fn wake(&self, host: &HostView, short: &HostLoad) -> Expectation {
        let (power, horizon) = (&host.inventory.power, self.tuning.horizon);
        let helped = short.with_cores(host.inventory.cpu_capacity);
        self.settled(Expectation {
            energy_if_left: power.asleep().over(horizon),
            energy_if_done: power.peak().over(power.wake_time()) + power.idle().over(less(horizon, power.wake_time())),
            overload_if_left: self.unserved(short),
            overload_if_done: self.unserved(&helped),
            ..Expectation::default()
        })
    }

    /// What putting the empty `host` to sleep changes; `rest` is the fleet's demand on the hosts that stay awake.
    pub fn sleep(&self, host: &HostView, rest: &HostLoad) -> Expectation {
        let with = rest.with_cores(host.inventory.cpu_capacity);
        self.settled(Expectation {
            energy_if_left: host.inventory.power.idle().over(self.tuning.horizon),
            energy_if_done: self.asleep_energy(&host.inventory.power, self.tuning.horizon),
            overload_if_left: self.unserved(&with),
            overload_if_done: self.unserved(rest),
            ..Expectation::default()
        })
    }

    fn unserved(&self, load: &HostLoad) -> f64 {
        load.unserved(&self.risk).get() * self.tuning.horizon.as_secs_f64()
    }

    /// One sleep and one wake, and the sleep between them.
    fn asleep_energy(&self, power: &PowerCurve, span: Duration) -> Joules {
        power.cycle_energy() + power.asleep().over(less(span, power.fall_asleep_time() + power.wake_time()))
    }

    fn judge(
        &self,
        moves: &[Move],
        emptied: Option<&HostId>,
        vms: &FleetLoad<'_>,
        load: impl Fn(&HostId) -> Option<HostLoad>,
    ) -> Expectation {
        let (before, after) = loads(moves, vms, load);
        let mut expected = Expectation::default();
        self.add_copies(moves, &mut expected);
        self.add_distances(moves, vms, &mut expected);
        for (host, load) in &before {
            self.add_host(host, load, |cost| {
                expected.energy_if_left += cost.energy;
                expected.overload_if_left += cost.unserved;
            });
        }
        for (host, load) in after.iter().filter(|(host, _)| Some(**host) != emptied) {
            self.add_host(host, load, |cost| {
                expected.energy_if_done += cost.energy;
                expected.overload_if_done += cost.unserved;
            });
        }
        if let Some((host, load)) = emptied.and_then(|host| self.snapshot.hosts.get(host).zip(before.get(host))) {
            expected.energy_if_done += self.emptying_energy(host, load, expected.copy_time);
        }
        self.settled(expected)
    }

    fn add_host(&self, host: &HostId, load: &HostLoad, mut add: impl FnMut(HostCost)) {
        if let Some(host) = self.snapshot.hosts.get(host) {
            add(self.awake(load, &host.inventory.power));
        }
    }

    /// Energy of a host that works as before while its vms are copied away, waits, and sleeps for what is left.
    fn emptying_energy(&self, host: &HostView, before: &HostLoad, copying: Duration) -> Joules {
        let power = &host.inventory.power;
        let lanes = u32::try_from(self.tuning.moves_out_per_host.max(1)).unwrap_or(u32::MAX);
        let busy = (copying / lanes).min(self.tuning.horizon);
        let waiting = self.tuning.sleep_after.min(less(self.tuning.horizon, busy));
        power.at(before.utilisation(0)).over(busy)
            + power.idle().over(waiting)
            + self.asleep_energy(power, less(self.tuning.horizon, busy + waiting))
    }

    /// Adds what the copies cost: the CPU both ends spend on them, and what their vms lose.
    fn add_copies(&self, moves: &[Move], expected: &mut Expectation) {
        for one in moves {
            let hosts = self.snapshot.hosts.get(&one.from).zip(self.snapshot.hosts.get(&one.to));
            let Some((vm, (from, to))) = self.snapshot.vms.get(&one.vm).zip(hosts) else { continue };
            let (copy, prices) = (self.copy(vm, from, to), self.copy_prices(vm, from, to));
            expected.energy_if_done += prices.energy(copy.duration.min(self.tuning.horizon));
            expected.overload_if_done += prices.lost(copy.duration, copy.downtime);
            expected.copy_time = expected.copy_time.saturating_add(copy.duration);
            expected.downtime = expected.downtime.max(copy.downtime);
            expected.copied = expected.copied + copy.copied;
        }
    }

    /// Adds what it costs that the users of the vms that move are as far away as they are, before and after.
    fn add_distances(&self, moves: &[Move], vms: &FleetLoad<'_>, expected: &mut Expectation) {
        let (proximity, horizon) = (&self.tuning.proximity, self.tuning.horizon.as_secs_f64());
        if !proximity.matters() {
            return;
        }
        for one in moves {
            let hosts = self.snapshot.hosts.get(&one.from).zip(self.snapshot.hosts.get(&one.to));
            let vm = self.snapshot.vms.get(&one.vm).zip(vms.vm(one.vm));
            let Some((vm, (from, to))) = vm.zip(hosts) else { continue };
            let at = |host: &HostView| proximity.of(&host.inventory, &vm.0.record, vm.1.mean(&self.risk), horizon);
            expected.distance_if_left += at(from);
            expected.distance_if_done += at(to);
        }
    }

    /// Works out the gain.
    fn settled(&self, expected: Expectation) -> Expectation {
        let left = self.price(HostCost { energy: expected.energy_if_left, unserved: expected.overload_if_left });
        let done = self.price(HostCost { energy: expected.energy_if_done, unserved: expected.overload_if_done });
        let gain = left + expected.distance_if_left - done - expected.distance_if_done;
        Expectation { gain, ..expected }
    }
}

/// The copy that moving `vm` takes: what its process holds, over the slower of the two links.
pub fn copy_job(vm: &VmView, from: &HostView, to: &HostView) -> CopyJob {
    copy_job_of(vm, from, to, measured_writes(vm))
}

/// How the vm was last found to write.
pub fn measured_writes(vm: &VmView) -> Writes {
    vm.sample.as_ref().map(Writes::of).unwrap_or_default()
}

/// The same copy if the vm wrote in that way.
pub fn copy_job_of(vm: &VmView, from: &HostView, to: &HostView, writes: Writes) -> CopyJob {
    let sample = vm.sample.as_ref();
    let held = sample.and_then(|sample| sample.memory_resident.value().or(sample.memory_used.value()));
    // The process holds more than the guest's memory; what is beyond that is not copied.
    let memory = held.unwrap_or(Bytes(u64::MAX)).min(vm.memory_reserved()).max(Bytes::from_mib(1));
    let (cpu, limits) = (vm.cpu_used().unwrap_or_default(), vm.record.limits());
    CopyJob::of_vm(memory, cpu, writes, bandwidth(vm, from, to), &limits)
}

/// Of the slower of the two links, what the vm's operator allows.
fn bandwidth(vm: &VmView, from: &HostView, to: &HostView) -> crate::units::BytesPerSec {
    let link = from.inventory.migration_bandwidth.min(to.inventory.migration_bandwidth);
    vm.record.limits().bandwidth.map_or(link, |allowed| link.min(allowed))
}

/// Power that one more busy core draws on average.
fn per_core(host: &HostView) -> Watts {
    let power = &host.inventory.power;
    (power.peak() - power.idle()) / host.inventory.cpu_capacity.max(Cores(1.0)).get()
}

fn less(span: Duration, taken: Duration) -> Duration {
    span.saturating_sub(taken)
}

type Loads<'m> = BTreeMap<&'m HostId, HostLoad>;

/// The load of every host concerned, before and after the moves.
fn loads<'m>(
    moves: &'m [Move],
    vms: &FleetLoad<'_>,
    load: impl Fn(&HostId) -> Option<HostLoad>,
) -> (Loads<'m>, Loads<'m>) {
    let hosts = moves.iter().flat_map(|one| [&one.from, &one.to]);
    let before: Loads<'m> = hosts.filter_map(|host| Some((host, load(host)?))).collect();
    let mut after = before.clone();
    let mut change = |host: &HostId, vm: VmId, apply: fn(&mut HostLoad, &crate::risk::VmLoad)| {
        if let Some((at, vm)) = after.get_mut(host).zip(vms.vm(vm)) {
            apply(at, vm);
        }
    };
    for one in moves {
        change(&one.from, one.vm, HostLoad::remove);
        change(&one.to, one.vm, HostLoad::add);
    }
    (before, after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixture::{Fleet, forecast_of, host_id, vm_id},
        proposal::Move,
        units::BytesPerSec,
    };

    fn judge(fleet: &Fleet, moves: &[Move], emptied: Option<&str>) -> Expectation {
        let load = FleetLoad::of(&fleet.snapshot, &fleet.forecasts);
        let objective = Objective::new(&fleet.snapshot, &fleet.tuning);
        let at = |host: &HostId| load.host(host).copied();
        match emptied {
            Some(host) => objective.evacuate(&host_id(host), moves, &load, at),
            None => objective.relocate(moves, &load, at),
        }
    }

    fn a_to_b(vm: u32) -> Move {
        Move { vm: vm_id(vm), from: host_id("a"), to: host_id("b") }
    }

    #[test]
    fn a_host_draws_what_its_curve_says_over_the_horizon() {
        let fleet = Fleet::new(&[("a", &[4.0, 4.0])]);
        let load = FleetLoad::of(&fleet.snapshot, &fleet.forecasts);
        let cost = Objective::new(&fleet.snapshot, &fleet.tuning).fleet(&load);
        let expected = PowerCurve::epyc_7742().at(0.5).over(fleet.tuning.horizon);
        assert!((cost.energy.get() - expected.get()).abs() < 1e-6, "{cost:?}");
        assert_eq!(cost.unserved, 0.0);
    }

    #[test]
    fn demand_beyond_the_host_is_counted_and_priced() {
        let fleet = Fleet::new(&[("a", &[4.0; 5])]);
        let load = FleetLoad::of(&fleet.snapshot, &fleet.forecasts);
        let objective = Objective::new(&fleet.snapshot, &fleet.tuning);
        let cost = objective.fleet(&load);
        assert!((cost.unserved - 4.0 * 3600.0).abs() < 1e-6, "{cost:?}");
        assert!(objective.price(cost).get() > cost.energy.get() + 4.0 * 3600.0 * 499.0);
    }

    #[test]
    fn emptying_a_host_that_then_sleeps_gains_and_without_sleep_it_does_not() {
        let fleet = Fleet::new(&[("a", &[1.0]), ("b", &[2.0])]);
        let slept = judge(&fleet, &[a_to_b(1)], Some("a"));
        assert!(slept.gain.get() > 100_000.0, "{slept:?}");
        let stayed = judge(&fleet, &[a_to_b(1)], None);
        assert!(stayed.gain < slept.gain && stayed.copied > Bytes::from_gib(2), "{stayed:?}");
    }

    #[test]
    fn a_slower_link_makes_the_same_move_dearer() {
        let mut fleet = Fleet::new(&[("a", &[1.0]), ("b", &[2.0])]);
        let fast = judge(&fleet, &[a_to_b(1)], None);
        fleet.inventory("b").migration_bandwidth = BytesPerSec(1e8);
        let slow = judge(&fleet, &[a_to_b(1)], None);
        assert!(slow.copy_time > fast.copy_time && slow.gain < fast.gain, "{fast:?} {slow:?}");
    }

    #[test]
    fn what_a_vms_operator_wishes_for_its_copies_is_reckoned_with() {
        let mut fleet = Fleet::new(&[("a", &[1.0]), ("b", &[2.0])]);
        let copy = |fleet: &Fleet| {
            let (vm, host) = (&fleet.snapshot.vms[&vm_id(1)], |name| &fleet.snapshot.hosts[&host_id(name)]);
            Objective::new(&fleet.snapshot, &fleet.tuning).copy(vm, host("a"), host("b"))
        };
        let plain = copy(&fleet);
        fleet.record(1).labels.convergence.bandwidth_mbit = Some(800);
        let slow = copy(&fleet);
        assert!(slow.converges && slow.duration > plain.duration * 5, "{slow:?} {plain:?}");
        fleet.record(1).labels.convergence.timeout_seconds = Some(10);
        assert!(!copy(&fleet).converges, "it takes longer than it may");
    }

    #[test]
    fn relief_is_worth_the_overload_it_ends() {
        let fleet = Fleet::new(&[("a", &[4.0; 5]), ("b", &[])]);
        let relief = judge(&fleet, &[a_to_b(1)], None);
        assert!(relief.overload_if_left > 14_000.0 && relief.overload_if_done < 10.0, "{relief:?}");
        assert!(relief.gain.get() > 0.0);
    }

    #[test]
    fn spread_makes_overload_likely_before_the_mean_reaches_capacity() {
        let mut fleet = Fleet::new(&[("a", &[3.0; 5])]);
        let unserved = |fleet: &Fleet| {
            let load = FleetLoad::of(&fleet.snapshot, &fleet.forecasts);
            Objective::new(&fleet.snapshot, &fleet.tuning).fleet(&load).unserved
        };
        assert_eq!(unserved(&fleet), 0.0);
        for vm in 1..=5 {
            fleet.forecasts.vms.insert(vm_id(vm), forecast_of(3.0, 1.3));
        }
        assert!(unserved(&fleet) > 100.0, "{}", unserved(&fleet));
    }

    #[test]
    fn a_sleep_shorter_than_its_cycle_pays_for_costs_energy() {
        let mut fleet = Fleet::new(&[("a", &[]), ("b", &[1.0])]);
        let gain = |fleet: &Fleet| {
            let load = FleetLoad::of(&fleet.snapshot, &fleet.forecasts);
            let rest = load.pool(|host| *host == host_id("b"));
            Objective::new(&fleet.snapshot, &fleet.tuning).sleep(&fleet.snapshot.hosts[&host_id("a")], &rest).gain
        };
        assert!(gain(&fleet).get() > 0.0);
        fleet.tuning.horizon = Duration::from_secs(120);
        assert!(gain(&fleet).get() < 0.0, "{}", gain(&fleet));
    }
}
