//! What each host's vms were reckoned with for the next step, and the most that came.
//!
//! Like is compared with like: a promise is made for the vms that are on a host when the step begins, and these vms
//! are followed wherever they go. What comes to the host later is not counted against it, and what leaves it still is; a vm
//! that was shut off asks for nothing. No promise is made for a host that is in doubt, has a vm without a forecast, or sends
//! or receives a vm just then: that vm counts on both hosts, which no measurement will show.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    forecast::{Forecasts, STEP},
    id::{HostId, VmId},
    risk::{
        FleetLoad, HostClass, HostLoad, Kept, Risk,
        trial::{Costs, LEVELS, Trial},
        vm::wanted,
    },
    sample::{Batch, VmSample, VmState},
    snapshot::{HostPower, HostView, Snapshot},
    tuning::Tuning,
    units::{Cores, Timestamp},
};

/// For how long a promise is made: a forecast step.
pub const PROMISED_FOR: Duration = STEP;

/// Share of a promise by which rounding may exceed it.
const ROUNDING: f64 = 1e-9;

/// Promises that are open.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Promises {
    begins: Timestamp,
    hosts: Vec<Promise>,
    names: BTreeMap<HostId, usize>,
    vms: BTreeMap<VmId, Watched>,
}

/// What one host was promised, in cores.
#[derive(Debug, Clone, PartialEq)]
struct Promise {
    class: HostClass,
    promised: f64,
    base: f64,
    demand: f64,
    /// The most so far; `None` while nothing came in.
    peak: Option<f64>,
    trial: Option<Trial>,
}

/// A vm that is followed, in cores.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Watched {
    host: usize,
    mean: f64,
    deviation: f64,
    ceiling: f64,
    newest: f64,
    is_heard: bool,
}

/// What came of promises.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Ended {
    /// By class of host.
    pub(super) kept: BTreeMap<HostClass, Kept>,
    /// The error of each vm's forecast at the end, in deviations.
    pub(super) errors: Vec<(VmId, f64)>,
    /// What a second at each level of caution would have cost; `None` where no host told.
    pub(super) costs: Option<Costs>,
}

impl Promises {
    /// Makes promises for the hosts of `snapshot`.
    pub(super) fn begin(snapshot: &Snapshot, forecasts: &Forecasts, tuning: &Tuning) -> Self {
        let risk = &Risk::of(tuning);
        let load = FleetLoad::of(snapshot, forecasts);
        let mut promises = Self { begins: snapshot.taken_at, ..Self::default() };
        for (id, host) in snapshot.hosts.iter().filter(|(id, host)| may_be_judged(snapshot, id, host)) {
            let Some(of_host) = load.host(id) else { continue };
            let is_known = load.residents(id).all(|vm| forecasts.vms.contains_key(&vm));
            if is_known && of_host.deviates(1) {
                promises.promise(host, of_host, risk, tuning);
                load.residents(id).for_each(|vm| promises.follow(vm, &load));
            }
        }
        promises
    }

    fn promise(&mut self, host: &HostView, load: &HostLoad, risk: &Risk, tuning: &Tuning) {
        self.names.insert(host.id().clone(), self.hosts.len());
        let (base, now) = (load.base.get(), load.now().get());
        let (class, promised) = (HostClass::of(&host.inventory), load.next_step(risk).get());
        let trial = Trial::of(host, load, risk, tuning);
        self.hosts.push(Promise { class, promised, base, demand: now - base, peak: None, trial });
    }

    fn follow(&mut self, vm: VmId, load: &FleetLoad<'_>) {
        let Some((of_vm, host)) = load.vm(vm).zip(self.hosts.len().checked_sub(1)) else { return };
        let (mean, deviation) = of_vm.step(1);
        let (newest, ceiling) = (of_vm.now().get(), of_vm.ceiling);
        self.vms.insert(vm, Watched { host, mean, deviation, ceiling, newest, is_heard: false });
    }

    /// True where they are over at `now`.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        now.since(self.begins) >= PROMISED_FOR || now < self.begins
    }

    /// Takes what one host reports; what comes before or after the step does not count.
    pub(super) fn observe(&mut self, batch: &Batch) {
        let is_inside = batch.taken_at > self.begins && batch.taken_at.since(self.begins) <= PROMISED_FOR;
        if !is_inside {
            return;
        }
        let mut touched = Vec::new();
        let own = self.names.get(&batch.host).copied();
        if let Some(host) = own {
            self.hosts[host].base = batch.beside_vms().map_or(self.hosts[host].base, Cores::get);
            touched.push(host);
        }
        for sample in &batch.vms {
            touched.extend(self.heard(sample));
        }
        if let Some(host) = own {
            let promise = &mut self.hosts[host];
            let (base, demand) = (promise.base, promise.demand);
            promise.trial.iter_mut().for_each(|trial| trial.look(base, demand));
        }
        for host in touched {
            let promise = &mut self.hosts[host];
            let now = promise.base + promise.demand;
            promise.peak = Some(promise.peak.map_or(now, |peak| peak.max(now)));
        }
    }

    /// Takes a vm's sample; the host it was promised to, where that is another than the one before.
    fn heard(&mut self, sample: &VmSample) -> Option<usize> {
        let vm = self.vms.get_mut(&sample.vm)?;
        let asks = match sample.state {
            VmState::Running => wanted(sample)?.get().clamp(0.0, vm.ceiling),
            VmState::ShutOff | VmState::Crashed => 0.0,
            VmState::Paused | VmState::Incoming | VmState::Unknown => return None,
        };
        self.hosts[vm.host].demand += asks - vm.newest;
        (vm.newest, vm.is_heard) = (asks, sample.state == VmState::Running);
        Some(vm.host)
    }

    /// What came of it.
    pub(super) fn end(self, price: f64) -> Ended {
        let mut ended = Ended::default();
        for host in self.hosts {
            if let Some(cost) = host.trial.and_then(|trial| trial.cost(price)) {
                let all = ended.costs.get_or_insert([0.0; LEVELS.len()]);
                all.iter_mut().zip(cost).for_each(|(all, one)| *all += one);
            }
            let Some(peak) = host.peak else { continue };
            let broken = peak > host.promised * (1.0 + ROUNDING) + ROUNDING;
            ended.kept.entry(host.class).or_default().count(broken);
        }
        let heard = self.vms.into_iter().filter(|(_, vm)| vm.is_heard && vm.deviation > 0.0);
        ended.errors = heard.map(|(id, vm)| (id, (vm.newest - vm.mean) / vm.deviation)).collect();
        ended
    }
}

/// Whether what is promised of a host can be compared with what comes.
fn may_be_judged(snapshot: &Snapshot, id: &HostId, host: &HostView) -> bool {
    let flies = snapshot.in_flight.iter().any(|flight| flight.source == *id || flight.destination == *id);
    host.power == HostPower::Awake && host.is_trusted() && !flies
}
