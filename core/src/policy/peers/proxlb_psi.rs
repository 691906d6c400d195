//! `proxlb-psi`: ProxLB's balancing by pressure.
//!
//! Source: credativ/ProxLB 2.2, `nodes.py`, `guests.py`, `calculations.py` and its documentation. A host or vm is hot
//! where the means of an hour of both *full* and *some* are at least 0.20 %, or a spike of *full* in the last six minutes
//! is at least 1.00 %. While anything is hot, the vm with the highest spike goes to the host with the lowest, one vm in
//! sixty minutes; the target is not asked what pressure it will have.
//!
//! Our reading: of CPU and memory and I/O, each on its own; Linux knows no *full* CPU pressure of a whole host, so hosts are
//! hot by memory or I/O only, and CPU is seen by the vms, whose steal stands for *full* and *some* of their own CPU;
//! targets are compared by their largest spike of any resource. Its three known bugs are not copied: what could not be
//! read is not taken for no pressure, and a hot host need not be the fullest one to be relieved. Growth:
//! `O(vms log vms)`.

use std::time::Duration;

use crate::{
    id::{HostId, VmId},
    policy::{
        Advice, Policy, View,
        peers::{
            means::Means,
            table::{Ask, Mover, Table},
        },
    },
    proposal::Motive,
    sample::{Pressure, Reading},
    units::{Ratio, Timestamp},
};

/// Share of *full*, and of *some*, over the hour that makes hot.
const SUSTAINED: f64 = 0.002;
/// Share of *full* in one reading that makes hot.
const SPIKE: f64 = 0.01;
/// Time over which means are taken.
const HOUR: Duration = Duration::from_secs(3600);
/// Time in which spikes are looked for: six of the hour's seventy one-minute points.
const LATELY: Duration = Duration::from_secs(6 * 60);
/// Rest between two moves.
const REST: Duration = Duration::from_secs(3600);

/// What is kept of one kind of pressure.
#[derive(Debug, Clone)]
struct Gauge<K> {
    full: Means<K>,
    some: Means<K>,
    spike: Means<K>,
}

impl<K: Ord + Clone> Gauge<K> {
    fn new() -> Self {
        Self { full: Means::over(HOUR), some: Means::over(HOUR), spike: Means::over(LATELY) }
    }

    fn observe(&mut self, key: &K, now: Timestamp, full: Reading<Ratio>, some: Reading<Ratio>) {
        let value = |reading: Reading<Ratio>| reading.value().filter(|ratio| ratio.is_sane()).map(Ratio::get);
        if let Some((full, some)) = value(full).zip(value(some)) {
            self.full.observe(key, now, full);
            self.some.observe(key, now, some);
            self.spike.observe(key, now, full);
        }
    }

    fn is_hot(&self, key: &K) -> bool {
        let sustained = |means: &Means<K>| means.mean(key).is_some_and(|mean| mean >= SUSTAINED);
        (sustained(&self.full) && sustained(&self.some)) || self.spike.largest(key).is_some_and(|spike| spike >= SPIKE)
    }

    fn keep(&mut self, alive: impl Fn(&K) -> bool + Copy) {
        self.full.keep(alive);
        self.some.keep(alive);
        self.spike.keep(alive);
    }
}

/// Balancing by pressure.
#[derive(Debug, Clone)]
pub struct ProxlbPsi {
    memory: Gauge<HostId>,
    io: Gauge<HostId>,
    /// Only compared, never hot: hosts have no full CPU pressure.
    cpu: Means<HostId>,
    steal: Gauge<VmId>,
    last: Option<Timestamp>,
}

impl ProxlbPsi {
    /// Its name.
    pub const NAME: &'static str = "proxlb-psi";

    fn watch(&mut self, view: View<'_>) {
        let (snapshot, now) = (view.snapshot, view.snapshot.taken_at);
        let is_host = |host: &HostId| snapshot.hosts.contains_key(host);
        self.memory.keep(is_host);
        self.io.keep(is_host);
        self.cpu.keep(is_host);
        self.steal.keep(|vm: &VmId| snapshot.vms.contains_key(vm));
        for (id, host) in snapshot.hosts.iter().filter(|(_, host)| host.is_eligible_target()) {
            let pressure: Pressure = host.sample.map(|sample| sample.pressure).unwrap_or_default();
            self.memory.observe(id, now, pressure.memory_full, pressure.memory_some);
            self.io.observe(id, now, pressure.io_full, pressure.io_some);
            if let Some(some) = pressure.cpu_some.value().filter(|some| some.is_sane()) {
                self.cpu.observe(id, now, some.get());
            }
        }
        for (id, vm) in &snapshot.vms {
            let steal = vm.sample.as_ref().map(|sample| sample.steal).unwrap_or_default();
            self.steal.observe(id, now, steal, steal);
        }
    }

    /// The largest spike of any resource; a host that was never heard of is under all pressure there is.
    fn pressure(&self, host: &HostId) -> f64 {
        let spikes = [self.memory.spike.largest(host), self.io.spike.largest(host), self.cpu.largest(host)];
        spikes.into_iter().flatten().max_by(f64::total_cmp).unwrap_or(1.0)
    }

    /// The vm to be moved: the one with the highest spike, of those on a hot host or hot themselves.
    fn victim<'a>(&self, table: &Table<'a>) -> Option<(f64, usize, Mover<'a>)> {
        let mut worst: Option<(f64, usize, Mover<'a>)> = None;
        for row in table.members() {
            let host = table.host(row);
            let is_hot = self.memory.is_hot(host) || self.io.is_hot(host);
            for mover in &table.rows[row].movers {
                let spike = self.steal.spike.largest(&mover.vm.id()).unwrap_or_default();
                let concerned = is_hot || self.steal.is_hot(&mover.vm.id());
                if concerned && worst.as_ref().is_none_or(|(most, ..)| spike > *most) {
                    worst = Some((spike, row, *mover));
                }
            }
        }
        worst
    }
}

impl Default for ProxlbPsi {
    fn default() -> Self {
        let (memory, io) = (Gauge::new(), Gauge::new());
        Self { memory, io, cpu: Means::over(LATELY), steal: Gauge::new(), last: None }
    }
}

impl Policy for ProxlbPsi {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn propose(&mut self, view: View<'_>) -> Advice {
        self.watch(view);
        let mut table = Table::new(view, Ask::used);
        let now = view.snapshot.taken_at;
        if self.last.is_some_and(|last| now.since(last) < REST) {
            return table.advice;
        }
        let Some((_, row, mover)) = self.victim(&table) else { return table.advice };
        let pressure = |row: &usize| self.pressure(table.host(*row));
        let mut targets: Vec<(f64, usize)> = table.members().iter().map(|row| (pressure(row), *row)).collect();
        targets.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let open = targets.into_iter().find(|(_, to)| table.fits(*to, &mover, f64::INFINITY));
        if let Some((lowest, to)) = open {
            let motive = Motive::Balance { from_spread: pressure(&row), to_spread: lowest };
            table.relocate(row, mover, to, &motive);
            self.last = Some(now);
        }
        table.advice
    }
}
