//! The vms of a scenario file: what size each has, what it wishes, whom it serves; the keys of `[vms]`.

use ballast_core::{
    id::VmId,
    units::{Bytes, BytesPerSec, Cores},
};

use super::{keys::Keys, loads::Load};
use crate::{
    generate::Draws,
    noise,
    scenario::{VmSpec, Writes},
};

/// A size of vm.
#[derive(Debug, Clone, PartialEq)]
pub struct VmType {
    /// CPU it wants where its demand is at 100 %.
    pub cpu: f64,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory.
    pub memory: Bytes,
    /// How often it is drawn, in proportion to the others.
    pub weight: f64,
}

/// How a vm comes to its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sized {
    /// As the demand's source says.
    Recorded,
    /// The first vms have the first type, and so on in equal parts.
    ByIndex,
    /// Drawn by weight.
    Drawn,
}

/// The vms.
#[derive(Debug, Clone, PartialEq)]
pub struct VmsSpec {
    /// How they come to their size.
    pub sized: Sized,
    /// Their types.
    pub types: Vec<VmType>,
    /// True where seeds above 0 change which load has which place, and so which type.
    pub shuffle: bool,
    /// Share of its memory that a vm always uses.
    pub memory_floor: f64,
    /// So many neighbours at a time keep apart (anti-affinity); 0 for none.
    pub apart: usize,
    /// Share of the vms that keep apart.
    pub apart_share: f64,
    /// Share of the vms that may not be moved.
    pub immovable_share: f64,
    /// Groups of users and the share of the vms that serves each.
    pub users: Vec<(String, f64)>,
    /// How they write memory; `None` for the general assumption.
    pub writes: Option<Writes>,
}

impl VmsSpec {
    pub(super) fn read(file: &Keys<'_>) -> Self {
        let keys = file.section("vms");
        let sizes = [("recorded", Sized::Recorded), ("by-index", Sized::ByIndex), ("drawn", Sized::Drawn)];
        let share = |key, default| keys.number(key, default, 0.0..=1.0);
        let types: Vec<VmType> = keys.sections("types").into_iter().map(vm_type).collect();
        let default = if types.is_empty() { Sized::Recorded } else { Sized::Drawn };
        let spec = Self {
            sized: keys.choice("sized", &sizes, default),
            types,
            shuffle: keys.flag("shuffle", false),
            memory_floor: share("memory_floor", 0.3),
            apart: usize::try_from(keys.whole("apart", 0, 0..=1000)).unwrap_or(0),
            apart_share: share("apart_share", 1.0),
            immovable_share: share("immovable_share", 0.0),
            users: keys.sections("users").into_iter().map(users).collect(),
            writes: keys.has("writes").then(|| writes(keys.section("writes"))),
        };
        if spec.sized != Sized::Recorded && spec.types.is_empty() {
            keys.wrong("types", "is missing: at least one [[vms.types]] is needed");
        }
        keys.done();
        spec
    }

    /// The vms of these loads, in their order, or in the order of the seed where it is to be shuffled.
    pub(super) fn specs(&self, mut loads: Vec<Load>, seed: u64) -> Vec<VmSpec> {
        if self.shuffle && seed > 0 {
            shuffle(&mut loads, seed);
        }
        let all = loads.len();
        loads.into_iter().enumerate().map(|(index, load)| self.spec(index, all, load, seed)).collect()
    }

    fn spec(&self, index: usize, all: usize, load: Load, seed: u64) -> VmSpec {
        let draws = Draws::new(seed, index as u64).part(11);
        let (cpu, vcpus, memory) = self.size(index, all, &load, &draws);
        let users = load.users.or_else(|| self.users_at(draws.unit(2)));
        let mut vm = VmSpec {
            cpu_full: Cores(cpu),
            memory_floor: self.memory_floor,
            offset: load.offset,
            arrives: load.arrives,
            departs: load.departs,
            service: load.service,
            writes: self.writes,
            ..VmSpec::new(id(index), load.name, vcpus, memory, load.series, None)
        };
        vm.labels.users = users;
        vm.labels.immovable = draws.unit(3) < self.immovable_share;
        let keeps_apart = |group: &usize| noise::unit(seed, 53, *group as u64) < self.apart_share;
        if let Some(group) = index.checked_div(self.apart).filter(keeps_apart) {
            let group = format!("apart-{:04}", group + 1);
            vm.labels.spread.insert(group.clone());
            vm.labels.anti_affinity.insert(group);
        }
        vm
    }

    /// CPU, virtual CPUs and memory. A load of unknown size takes a type; where there is none, one core and 2 GiB.
    fn size(&self, index: usize, all: usize, load: &Load, draws: &Draws) -> (f64, u32, Bytes) {
        if let Some((vcpus, memory)) = load.size.filter(|_| self.sized == Sized::Recorded) {
            return (f64::from(vcpus), vcpus, memory);
        }
        let part = all.div_ceil(self.types.len().max(1)).max(1);
        let chosen = match self.sized {
            Sized::ByIndex => self.types.get(index / part),
            Sized::Recorded | Sized::Drawn => self.type_at(draws.unit(1)),
        };
        chosen.map_or((1.0, 1, Bytes::from_gib(2)), |chosen| (chosen.cpu, chosen.vcpus, chosen.memory))
    }

    /// The type at a position from 0 to 1.
    fn type_at(&self, position: f64) -> Option<&VmType> {
        let all: f64 = self.types.iter().map(|one| one.weight).sum();
        let mut left = position * all;
        self.types.iter().find(|one| {
            left -= one.weight;
            left < 0.0
        })
    }

    fn users_at(&self, position: f64) -> Option<String> {
        let mut left = position;
        let found = self.users.iter().find(|(_, share)| {
            left -= share;
            left < 0.0
        });
        found.map(|(users, _)| users.clone())
    }
}

/// One of `[[vms.types]]`.
fn vm_type(keys: Keys<'_>) -> VmType {
    let cpu = keys.needed_number("cpu", 0.01..=1024.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // At most 1024.
    let least = cpu.ceil().max(1.0) as u64;
    let mib = keys.needed_number("memory_mib", 16.0..=16_777_216.0);
    let one = VmType {
        cpu,
        vcpus: u32::try_from(keys.whole("vcpus", least, least..=1024)).unwrap_or(1),
        memory: Bytes::from_f64(mib * f64::from(1 << 20)),
        weight: keys.number("weight", 1.0, 0.0..=1e6),
    };
    keys.done();
    one
}

fn users(keys: Keys<'_>) -> (String, f64) {
    let one = (keys.text("name"), keys.needed_number("share", 0.0..=1.0));
    keys.done();
    one
}

/// `[vms.writes]`: megabytes per second, idle and per busy core.
fn writes(keys: Keys<'_>) -> Writes {
    let writes = Writes {
        idle: BytesPerSec(keys.needed_number("idle_mb_s", 0.0..=1e5) * 1e6),
        per_core: BytesPerSec(keys.needed_number("per_core_mb_s", 0.0..=1e5) * 1e6),
        working_set: keys.needed_number("working_set", 0.0..=1.0),
    };
    keys.done();
    writes
}

/// The id of the vm with that index: ids stand in order of the vms, so that what is settled by id is settled by order.
fn id(index: usize) -> VmId {
    VmId(uuid::Builder::from_random_bytes((index as u128 + 1).to_be_bytes()).into_uuid())
}

/// A shuffle from a seed (Fisher and Yates).
fn shuffle(loads: &mut [Load], seed: u64) {
    for last in (1..loads.len()).rev() {
        loads.swap(last, noise::index(seed, 59, last as u64, last + 1));
    }
}
