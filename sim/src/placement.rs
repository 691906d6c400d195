//! How a made-up fleet is laid out before anybody moves anything: tenants of one to six equal vms, each put on one host
//! as people do.
//!
//! Most hosts are given what they can carry. Every sixth host is *hot*: it is given work until its peaks exceed its capacity
//! for a few per cent of the time, as happens where placement follows order forms and nobody watches.

use std::sync::Arc;

use ballast_core::{
    id::VmId,
    units::{Bytes, Cores, count},
};

use crate::{
    noise,
    scenario::{FleetSize, HostSpec, InvalidScenario, VmSpec, uuid},
    trace::{self, SLOT, SLOTS_PER_DAY, Series, TraceError},
};

/// Slot of a recorded day at which a fleet begins: eight in the morning.
const START_SLOT: usize = 8 * 12;

/// Share of a host's memory that is filled at most.
const MEMORY_FILL: f64 = 0.9;

/// Highest load that an ordinary host is given at any time of the run.
const PEAK: f64 = 0.85;

/// Highest load that a hot host is given, and the share of the run in which it may be above its capacity.
const HOT_PEAK: f64 = 1.5;
const HOT_SHARE: f64 = 0.10;

/// Share of the run in which a hot host must be above its capacity, and how its vms grow until it is.
const HOT_SHARE_LEAST: f64 = 0.03;
const HEAT_VCPUS: u32 = 2;
const HEAT_TURNS: usize = 8;

/// The recordings of the repository, sorted by the kind of work.
#[derive(Debug, Clone)]
pub struct Recordings {
    /// All series.
    pub series: Vec<Arc<Series>>,
    steady: Vec<usize>,
    quiet: Vec<usize>,
    batch: Vec<usize>,
}

impl Recordings {
    /// Reads them.
    ///
    /// # Errors
    /// [`TraceError`] when a file in the repository was damaged.
    pub fn shipped() -> Result<Self, TraceError> {
        let mut series = trace::bitbrains()?;
        let google = series.len();
        series.extend(trace::google()?);
        let steady = (google..series.len()).collect();
        let (batch, quiet) = (0..google).partition(|index| series[*index].cpu_deviation() > 0.25);
        Ok(Self { series, steady, quiet, batch })
    }
}

/// What a tenant is.
#[derive(Debug, Clone, Copy)]
struct Tenant {
    number: usize,
    kind: &'static str,
    series: usize,
    offset: usize,
    members: usize,
    vcpus: u32,
    memory: Bytes,
    is_batch: bool,
}

/// What a host has been given.
#[derive(Debug, Clone)]
struct Given {
    capacity: f64,
    room: Bytes,
    is_hot: bool,
    reserved: Bytes,
    /// Cores wanted in every slot of the run.
    cores: Vec<f64>,
}

impl Given {
    fn new(index: usize, spec: &HostSpec, slots: usize) -> Self {
        Self {
            capacity: spec.cpu_capacity.get(),
            room: spec.memory_capacity.scale(MEMORY_FILL),
            is_hot: index % 6 == 1,
            reserved: Bytes::ZERO,
            cores: vec![0.0; slots],
        }
    }

    /// Its load in every slot if it were given `more` too.
    fn loads_with(&self, more: &[f64]) -> impl Iterator<Item = f64> {
        self.cores.iter().zip(more).map(|(cores, more)| (cores + more) / self.capacity)
    }

    fn has_room(&self, memory: Bytes) -> bool {
        self.reserved + memory <= self.room
    }

    /// True where it can be given `more` by the rule of its kind.
    fn can_take(&self, more: &[f64]) -> bool {
        let peak = self.loads_with(more).fold(0.0, f64::max);
        if !self.is_hot {
            return peak <= PEAK;
        }
        peak <= HOT_PEAK && self.share_above(more) <= HOT_SHARE
    }

    /// Share of the run in which it would be above its capacity if it were given `more` too.
    fn share_above(&self, more: &[f64]) -> f64 {
        count(self.loads_with(more).filter(|load| *load > 1.0).count()) / count(more.len())
    }

    fn take(&mut self, more: &[f64], memory: Bytes) {
        self.reserved = self.reserved + memory;
        self.cores.iter_mut().zip(more).for_each(|(cores, more)| *cores += more);
    }
}

/// The vms of a made-up fleet, each with its first host.
///
/// # Errors
/// [`InvalidScenario::NoRoom`] where memory does not suffice.
pub fn vms(
    hosts: &[HostSpec],
    size: FleetSize,
    recordings: &Recordings,
    seed: u64,
) -> Result<Vec<VmSpec>, InvalidScenario> {
    let slots = slots_of(size);
    let mut given: Vec<Given> = hosts.iter().enumerate().map(|(index, spec)| Given::new(index, spec, slots)).collect();
    let mut vms = Vec::new();
    for number in 0.. {
        let tenant = tenant(seed, number, recordings);
        let members = tenant.members.min(size.vms - vms.len());
        if members == 0 {
            break;
        }
        let tenant = Tenant { members, ..tenant };
        let (tenant, home, cores) = settle(&given, tenant, recordings, seed, slots).ok_or(InvalidScenario::NoRoom {
            hosts: hosts.len(),
            vms: size.vms,
            placed: vms.len() + 1,
        })?;
        given[home].take(&cores, tenant.memory.scale(count(members)));
        let made = (0..members).map(|member| vm(seed, vms.len() + member, &tenant, member, home));
        vms.extend(made.collect::<Vec<_>>());
    }
    for (index, host) in given.iter_mut().enumerate().filter(|(_, host)| host.is_hot) {
        let there: Vec<&mut VmSpec> = vms.iter_mut().filter(|vm| vm.home == Some(index)).collect();
        heat(host, there, recordings);
    }
    Ok(vms)
}

/// Gives the vms of a hot host more vCPUs, in turn, until its peaks exceed its capacity.
fn heat(host: &mut Given, mut vms: Vec<&mut VmSpec>, recordings: &Recordings) {
    for turn in 0..vms.len() * HEAT_TURNS {
        if host.share_above(&vec![0.0; host.cores.len()]) >= HOT_SHARE_LEAST {
            return;
        }
        let which = turn % vms.len();
        let slots = &recordings.series[vms[which].series].slots;
        let share = |slot: usize| f64::from(slots[(vms[which].offset + slot) % slots.len()].cpu);
        let more: Vec<f64> = (0..host.cores.len()).map(|slot| share(slot) * f64::from(HEAT_VCPUS)).collect();
        if host.can_take(&more) {
            host.take(&more, Bytes::ZERO);
            vms[which].vcpus += HEAT_VCPUS;
            vms[which].cpu_full = Cores(f64::from(vms[which].vcpus));
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // A run of that many slots would not fit into memory.
fn slots_of(size: FleetSize) -> usize {
    (size.duration.as_secs() / SLOT.as_secs()) as usize + 2
}

fn tenant(seed: u64, number: usize, recordings: &Recordings) -> Tenant {
    let draw = |what: u64, len: usize| noise::index(seed, what, number as u64, len);
    let (kind, from, vcpus) = match (noise::index(seed, 2, 0, 6) + number) % 6 {
        0 | 2 | 4 => ("web", &recordings.steady, [4, 8, 8, 16]),
        1 | 3 => ("office", &recordings.quiet, [2, 4, 4, 8]),
        _ => ("batch", &recordings.batch, [4, 4, 8, 8]),
    };
    let series = from[draw(1, from.len())];
    let days = recordings.series[series].slots.len() / SLOTS_PER_DAY;
    let vcpus = vcpus[draw(4, 4)];
    Tenant {
        number,
        kind,
        series,
        offset: START_SLOT + draw(6, days.max(1)) * SLOTS_PER_DAY,
        members: 1 + draw(3, 6),
        vcpus,
        memory: Bytes::from_gib(u64::from(vcpus) * [1, 2, 2, 3][draw(5, 4)]),
        is_batch: kind == "batch",
    }
}

/// Slot at which a member begins: members follow each other by two slots, clones of one service and not copies of one
/// instant.
fn offset(tenant: &Tenant, member: usize) -> usize {
    tenant.offset + member * 2
}

/// Cores a tenant wants in every slot of the run.
fn profile(tenant: &Tenant, series: &Series, slots: usize) -> Vec<f64> {
    let at = |slot: usize, member: usize| {
        f64::from(series.slots[(offset(tenant, member) + slot) % series.slots.len()].cpu) * f64::from(tenant.vcpus)
    };
    (0..slots).map(|slot| (0..tenant.members).map(|member| at(slot, member)).sum()).collect()
}

/// A tenant with its host and what it adds there. Where no host can carry it, its vms are made smaller; where even that
/// does not help, it goes to the host that would be least loaded.
fn settle(
    given: &[Given],
    mut tenant: Tenant,
    recordings: &Recordings,
    seed: u64,
    slots: usize,
) -> Option<(Tenant, usize, Vec<f64>)> {
    loop {
        let cores = profile(&tenant, &recordings.series[tenant.series], slots);
        if let Some(home) = home(given, &tenant, &cores, seed) {
            return Some((tenant, home, cores));
        }
        if tenant.vcpus == 1 {
            let peak = |host: &Given| host.loads_with(&cores).fold(0.0, f64::max);
            let memory = tenant.memory.scale(count(tenant.members));
            let roomy = (0..given.len()).filter(|host| given[*host].has_room(memory));
            let home = roomy.min_by(|a, b| peak(&given[*a]).total_cmp(&peak(&given[*b])))?;
            return Some((tenant, home, cores));
        }
        tenant = Tenant { vcpus: tenant.vcpus / 2, memory: tenant.memory.scale(0.5), ..tenant };
    }
}

/// The host of a tenant: the one with most memory left (as common cloud schedulers spread), give or take a fifth, among those
/// that can carry it; hot hosts first for batches and for every other one of the rest.
fn home(given: &[Given], tenant: &Tenant, cores: &[f64], seed: u64) -> Option<usize> {
    let memory = tenant.memory.scale(count(tenant.members));
    let number = tenant.number as u64;
    let rank = |host: &usize| {
        given[*host].reserved.ratio_of(given[*host].room) + 0.2 * noise::unit(seed, number, *host as u64)
    };
    let can = |host: &usize| given[*host].has_room(memory) && given[*host].can_take(cores);
    let hot_first = tenant.is_batch || tenant.number.is_multiple_of(2);
    (0..given.len()).filter(can).min_by(|a, b| {
        let preferred = |host: &usize| given[*host].is_hot == hot_first;
        preferred(b).cmp(&preferred(a)).then(rank(a).total_cmp(&rank(b)))
    })
}

fn vm(seed: u64, number: usize, tenant: &Tenant, member: usize, home: usize) -> VmSpec {
    let id = VmId(uuid(seed, 2, number as u64));
    let name = format!("{}-{:02}-{}", tenant.kind, tenant.number, member + 1);
    VmSpec {
        memory_floor: 0.15 + 0.25 * noise::unit(seed, 7, tenant.number as u64),
        offset: offset(tenant, member),
        ..VmSpec::new(id, name, tenant.vcpus, tenant.memory, tenant.series, Some(home))
    }
}
