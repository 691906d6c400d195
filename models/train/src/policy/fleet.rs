//! A fleet's own days to learn on: the table of its vms and the file of its hosts that `ballast history` writes.
//!
//! Demand is exogenous: what a vm asked for does not depend on where it ran, so that any other course of the same days can be
//! played exactly. What it did not get where a host was overloaded is unknown, as in any recording.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use anyhow::Context as _;
use ballast_core::{
    history::{History, Observed, SLOTS_PER_DAY, start_of},
    id::VmId,
    tuning::Tuning,
    units::{Bytes, Timestamp},
};
use ballast_sim::{
    scenario::{Between, HostSpec, Scenario, Terms, VmSpec},
    score::Pace,
    trace::{SLOT, Series, Slot, hosts},
};

use super::cells::Days;
use crate::data::folder;

/// Name of the file with the hosts.
const HOSTS: &str = "hosts.json";

/// Share of a day that must be recorded of a vm for it to count there.
const RECORDED: f64 = 0.9;

/// Vms that a day must have: of fewer no cell can be drawn.
const VMS_MIN: usize = 4;

/// Days that are needed: one to learn on, one to choose by, one to judge by.
const DAYS_MIN: usize = 3;

/// Risk settings that cells are drawn with, as multiples of the usual one.
const RISKS: [f64; 4] = [0.5, 0.75, 1.0, 1.25];

/// Days of a fleet, told apart by what they are for.
#[derive(Debug)]
pub struct Fleet {
    /// To learn on: all but the last two.
    pub train: Days,
    /// To choose by: the last but one.
    pub tune: Days,
    /// To judge by: the last.
    pub judge: Days,
}

/// Reads what `folder` holds of a fleet.
///
/// # Errors
/// Where a file is missing or malformed, or too few whole days were recorded.
pub fn read(folder: &Path) -> anyhow::Result<Fleet> {
    let path = folder.join(HOSTS);
    let text = fs::read_to_string(&path)
        .with_context(|| format!("read {} (ballast history --hosts writes it)", path.display()))?;
    let hosts = hosts::parse(&path.display().to_string(), &text)?;
    let recorded = folder::read(folder)?;
    let histories: Vec<&History> = recorded.iter().flat_map(|one| &one.histories).collect();
    let hash = recorded.iter().map(|one| one.hash.as_str()).chain([text.as_str()]).collect::<String>();
    let hash = blake3::hash(hash.as_bytes()).to_hex().to_string();
    let mut days = days(&histories, &hosts)?;
    anyhow::ensure!(
        days.len() >= DAYS_MIN,
        "{}: {} whole days were recorded of at least {VMS_MIN} vms, and {DAYS_MIN} are needed: to learn on, to choose by, to judge by",
        folder.display(),
        days.len(),
    );
    let made = |days| Days::of(days, pace(), RISKS.map(|times| times * Tuning::default().risk_z), hash.clone());
    let judge = made(days.split_off(days.len() - 1));
    let tune = made(days.split_off(days.len() - 1));
    Ok(Fleet { train: made(days), tune, judge })
}

/// As often as there are values, and with the usual numbers: what was set at the fleet itself is not recorded.
fn pace() -> Pace {
    Pace { period: SLOT, round: SLOT, ..Pace::default() }
}

/// Each day of which enough vms were recorded, with its fleet.
fn days(histories: &[&History], hosts: &[HostSpec]) -> anyhow::Result<Vec<(String, Arc<Scenario>)>> {
    let mut by_day: BTreeMap<u32, Vec<(VmSpec, Series)>> = BTreeMap::new();
    for history in histories {
        let length = u32::try_from(history.slots.len()).unwrap_or(u32::MAX);
        let days = history.first / SLOTS_PER_DAY..=(history.first.saturating_add(length)) / SLOTS_PER_DAY;
        for day in days {
            by_day.entry(day).or_default().extend(vm(history, day));
        }
    }
    by_day.retain(|_, vms| vms.len() >= VMS_MIN);
    by_day.into_iter().map(|(day, vms)| scenario(day, vms, hosts)).collect()
}

fn scenario(day: u32, vms: Vec<(VmSpec, Series)>, hosts: &[HostSpec]) -> anyhow::Result<(String, Arc<Scenario>)> {
    let start: Timestamp = start_of(day * SLOTS_PER_DAY);
    let (specs, series): (Vec<VmSpec>, Vec<Series>) = vms.into_iter().unzip();
    let vms =
        specs.into_iter().enumerate().map(|(series, vm)| VmSpec { series, home: Some(series % hosts.len()), ..vm });
    let series = series.into_iter().map(Arc::new).collect();
    let terms = Terms { step: SLOT, between: Between::Hold, jitter: 0.0, ..Terms::default() };
    let scenario =
        Scenario::new(start, SLOT * SLOTS_PER_DAY, hosts.to_vec(), vms.collect(), series)?.with_terms(terms)?;
    // The date alone.
    Ok((start.to_string().chars().take(10).collect(), Arc::new(scenario)))
}

/// A vm on one day; `None` where too little of it was recorded, or nobody knows its size.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // vCPUs and MiB, above zero.
fn vm(history: &History, day: u32) -> Option<(VmSpec, Series)> {
    let size = history.shape.vcpus.zip(history.shape.memory_mib);
    let (vcpus, memory) = size.filter(|(vcpus, memory)| *vcpus >= 1.0 && *memory >= 1.0)?;
    let seen: Vec<Observed> = (0..SLOTS_PER_DAY).map(|slot| history.at(day * SLOTS_PER_DAY + slot)).collect();
    let known = ballast_core::units::count(seen.iter().filter(|slot| !slot.cpu.is_nan()).count());
    if known < RECORDED * f64::from(SLOTS_PER_DAY) {
        return None;
    }
    let series = Series { name: history.name.clone(), slot: SLOT, slots: held(&seen) };
    let id = VmId(uuid_of(&history.name));
    let memory = Bytes::from_mib(memory as u64);
    Some((VmSpec::new(id, history.name.clone(), vcpus as u32, memory, 0, None), series))
}

/// A uuid that follows from the name, which need not be one.
fn uuid_of(name: &str) -> uuid::Uuid {
    let bytes: [u8; 32] = blake3::hash(name.as_bytes()).into();
    let mut half = [0; 16];
    half.copy_from_slice(&bytes[..16]);
    uuid::Uuid::from_bytes(half)
}

/// What is missing is as it was before; before the first value, as it was then.
fn held(seen: &[Observed]) -> Vec<Slot> {
    let first = seen.iter().find(|slot| !slot.cpu.is_nan()).copied().unwrap_or(Observed::MISSING);
    let mut last = first.channels().map(|value| if value.is_nan() { 0.0 } else { value });
    let slot = |seen: &Observed| {
        for (last, value) in last.iter_mut().zip(seen.channels()) {
            if !value.is_nan() {
                *last = value;
            }
        }
        let [cpu, memory, disk_read, disk_write, net_rx, net_tx] = last;
        Slot { cpu: cpu.min(1.0), memory: memory.min(1.0), disk_read, disk_write, net_rx, net_tx }
    };
    seen.iter().map(slot).collect()
}
