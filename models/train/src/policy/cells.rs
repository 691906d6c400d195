//! Small fleets to learn on: hosts and vms drawn from recorded days, on terms that vary.
//!
//! A cell is small so that one decision shows in its cost. What a network sees of a fleet does not depend on the fleet's size, so
//! that what it learns there it knows elsewhere. Domain randomisation (Tobin et al. 2017): load, mix of hosts, memory, bandwidth
//! and the risk that the operator accepts differ from cell to cell.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use ballast_core::{
    id::HostId,
    units::{Bytes, BytesPerSec, Cores},
};
use ballast_sim::{
    scenario::{
        HostSpec, Scenario, VmSpec,
        file::{Data, DataFile, builtin, day_of},
    },
    score::Pace,
    trace::Series,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;

/// The scenario whose hosts, vms and terms cells are drawn from.
const SOURCE: &str = "planetlab-corrected";

/// Risk settings that its cells are drawn with.
const RISKS: [f64; 4] = [0.75, 1.0, 1.25, 1.5];

/// Hosts of a cell.
const HOSTS: std::ops::RangeInclusive<usize> = 6..=14;

/// Share of the memory of a cell's hosts that its vms may take: the rest leaves a choice.
const MEMORY_FILL: f64 = 0.6;

/// A fleet to play, and how.
#[derive(Debug, Clone)]
pub struct Cell {
    /// The fleet.
    pub scenario: Scenario,
    /// The pace and the numbers it is decided by.
    pub pace: Pace,
    /// Seed of what the scenario leaves open.
    pub seed: u64,
}

/// What one fleet's hosts have in common: they are like two hosts of the recording's, which may be of one kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hosts {
    /// Memory, in multiples of the kind's.
    pub memory: f64,
    /// Bandwidth of the link, in multiples of the kind's.
    pub link: f64,
    /// The two, by their place among the recording's hosts.
    pub kinds: [usize; 2],
    /// Share of hosts that are of the first kind.
    pub of_first: f64,
}

/// What makes a fleet that fleet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mix {
    /// Its hosts.
    pub hosts: Hosts,
    /// CPU that vms want, in multiples of what was recorded.
    pub load: f64,
}

/// Days of recordings, made ready.
#[derive(Debug, Clone)]
pub struct Days {
    days: Vec<(String, Arc<Scenario>)>,
    pace: Pace,
    /// Risk settings that cells are drawn with.
    risks: [f64; 4],
    /// What all cells have in common; drawn for each where nothing is said.
    mix: Option<Mix>,
    /// Hash of the files.
    pub hash: String,
}

impl Days {
    /// These days, played at that pace with one of those risk settings.
    pub fn of(days: Vec<(String, Arc<Scenario>)>, pace: Pace, risks: [f64; 4], hash: String) -> Self {
        Self { days, pace, risks, mix: None, hash }
    }

    /// One fleet's worth of them, drawn: a day, a load, a mix of hosts.
    pub fn task(&self, seed: u64) -> Self {
        let mut rng = Pcg64::seed_from_u64(seed);
        let day = self.days[rng.random_range(0..self.days.len())].clone();
        let hosts = Hosts::drawn(day.1.hosts().len(), &mut rng);
        let mix = Mix { hosts, load: load(&mut rng) };
        Self { days: vec![day], mix: Some(mix), ..self.clone() }
    }

    /// Reads those days of the PlanetLab recordings in `folder`.
    ///
    /// # Errors
    /// Where a file cannot be read or is damaged, or a day is not there.
    pub fn read(folder: &Path, wanted: &[String]) -> anyhow::Result<Self> {
        let file = builtin(SOURCE).with_context(|| format!("{SOURCE} does not come with this program"))??;
        let found = found(folder)?;
        let (mut days, mut hasher) = (Vec::new(), blake3::Hasher::new());
        for day in wanted {
            let path = found.get(day).with_context(|| format!("{}: no day {day}", folder.display()))?;
            let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
            hasher.update(&bytes);
            let data = Data { files: vec![DataFile { name: name_of(path), bytes }], ..Data::default() };
            days.push((day.clone(), Arc::new(file.build(&data, Some(day), 0)?)));
        }
        anyhow::ensure!(!days.is_empty(), "{}: no recorded day is there", folder.display());
        let pace = file.pace().cloned().unwrap_or_default();
        Ok(Self::of(days, pace, RISKS, hasher.finalize().to_hex().to_string()))
    }

    /// The same days on a fleet of that mix.
    ///
    /// # Errors
    /// Where a day has no host of such a kind.
    pub fn like(mut self, mix: Mix) -> anyhow::Result<Self> {
        let known = self.days.iter().map(|(_, day)| day.hosts().len()).min().unwrap_or(0);
        anyhow::ensure!(mix.hosts.kinds.iter().all(|kind| *kind < known), "{known} hosts are known, {mix:?}");
        self.mix = Some(mix);
        Ok(self)
    }

    /// The first so many hours of them. Of a day of which there are some hours only, those repeat until it is over: else what an
    /// answer is worth would end with the recording.
    ///
    /// # Errors
    /// Where there are fewer hours.
    pub fn first(&self, hours: u32) -> anyhow::Result<Self> {
        let (whole, rest) = ((hours / 24) as usize, hours % 24);
        let mut days: Vec<(String, Arc<Scenario>)> = self.days.iter().take(whole).cloned().collect();
        if rest > 0
            && let Some((name, day)) = self.days.get(whole)
        {
            days.push((name.clone(), Arc::new(repeated(day, rest)?)));
        }
        anyhow::ensure!(
            days.len() == whole + usize::from(rest > 0),
            "{hours} hours: {} days are there",
            self.days.len()
        );
        Ok(Self { days, ..self.clone() })
    }

    /// Names of the days.
    pub fn names(&self) -> Vec<String> {
        self.days.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The cell of that seed.
    ///
    /// # Errors
    /// Where the cell makes no sense, which no seed should lead to.
    pub fn cell(&self, seed: u64) -> anyhow::Result<Cell> {
        let mut rng = Pcg64::seed_from_u64(seed);
        let (_, day) = &self.days[rng.random_range(0..self.days.len())];
        let number = rng.random_range(HOSTS);
        let drawn = Hosts::drawn(day.hosts().len(), &mut rng);
        let hosts = hosts(day, number, self.mix.map_or(drawn, |mix| mix.hosts), &mut rng)?;
        let drawn = load(&mut rng);
        let vms = vms(day, &hosts, self.mix.map_or(drawn, |mix| mix.load), &mut rng);
        let mut series = Vec::with_capacity(vms.len());
        let vms = vms.into_iter().enumerate().map(|(index, vm)| {
            series.push(Arc::clone(day.series(vm.series)));
            VmSpec { series: index, ..vm }
        });
        let vms: Vec<VmSpec> = vms.collect();
        let scenario =
            Scenario::new(day.start(), day.duration(), hosts, vms, series)?.with_terms(day.terms().clone())?;
        let mut pace = self.pace.clone();
        // What is learnt is learnt at a caution that stays.
        pace.tuning.risk_priced = false;
        pace.tuning.risk_z = self.risks[rng.random_range(0..self.risks.len())];
        Ok(Cell { scenario, pace, seed })
    }
}

/// The days that are recorded in a folder, with their files.
///
/// # Errors
/// Where the folder cannot be read.
pub fn found(folder: &Path) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read the folder {}", folder.display()))? {
        let path = entry.with_context(|| format!("read the folder {}", folder.display()))?.path();
        let name = name_of(&path);
        if let Some(day) = day_of(&name).filter(|_| name.ends_with(".csv.gz")) {
            found.insert(day.to_owned(), path);
        }
    }
    Ok(found)
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

impl Hosts {
    fn drawn(known: usize, rng: &mut Pcg64) -> Self {
        Self {
            memory: [0.5, 1.0, 1.0, 2.0][rng.random_range(0..4)],
            link: [0.5, 1.0, 1.0, 4.0][rng.random_range(0..4)],
            kinds: std::array::from_fn(|_| rng.random_range(0..known)),
            of_first: rng.random::<f64>(),
        }
    }
}

fn load(rng: &mut Pcg64) -> f64 {
    0.6 + rng.random::<f64>()
}

fn hosts(day: &Scenario, number: usize, like: Hosts, rng: &mut Pcg64) -> anyhow::Result<Vec<HostSpec>> {
    let kinds = like.kinds.map(|kind| &day.hosts()[kind]);
    (0..number)
        .map(|index| {
            let spec = kinds[usize::from(rng.random::<f64>() > like.of_first)].clone();
            let memory_capacity = spec.memory_capacity.scale(like.memory);
            let migration_bandwidth = BytesPerSec(spec.migration_bandwidth.get() * like.link);
            Ok(HostSpec {
                host: HostId::new(&format!("host-{index:02}"))?,
                memory_capacity,
                migration_bandwidth,
                ..spec
            })
        })
        .collect()
}

/// A day that is its first hours over and over.
fn repeated(day: &Scenario, hours: u32) -> anyhow::Result<Scenario> {
    let series = |index: usize| {
        let whole = day.series(index);
        let slots = (u128::from(hours) * 3_600_000 / whole.slot.as_millis().max(1)) as usize;
        let first = whole.slots.iter().take(slots.max(1));
        Arc::new(Series { slots: first.cycle().take(whole.slots.len()).copied().collect(), ..Series::clone(whole) })
    };
    let number = day.vms().iter().map(|vm| vm.series + 1).max().unwrap_or(0);
    let series = (0..number).map(series).collect();
    let again = Scenario::new(day.start(), day.duration(), day.hosts().to_vec(), day.vms().to_vec(), series)?;
    Ok(again.with_terms(day.terms().clone())?)
}

/// Vms that the hosts' memory holds with room to spare, spread over them.
fn vms(day: &Scenario, hosts: &[HostSpec], load: f64, rng: &mut Pcg64) -> Vec<VmSpec> {
    let number = hosts.len() * rng.random_range(2..=6);
    let mut free: Vec<Bytes> = hosts.iter().map(|host| host.memory_capacity.scale(MEMORY_FILL)).collect();
    let mut taken = std::collections::BTreeSet::new();
    let mut vms = Vec::new();
    for _ in 0..number {
        let pick = rng.random_range(0..day.vms().len());
        let home = vms.len() % hosts.len();
        let spec = &day.vms()[pick];
        if spec.memory_max > free[home] || !taken.insert(pick) {
            continue;
        }
        free[home] = free[home].saturating_sub(spec.memory_max);
        let cpu_full = Cores((spec.cpu_full.get() * load).min(f64::from(spec.vcpus)));
        vms.push(VmSpec { cpu_full, home: Some(home), ..spec.clone() });
    }
    vms
}
