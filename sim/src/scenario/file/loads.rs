//! From `[demand]` and what was read to one load per vm: what it replays, from when, and what is known of its size.
//!
//! Sizes, names on hosts and homes come later, in `vms` and `place`.

use std::{sync::Arc, time::Duration};

use ballast_core::units::{Bytes, Timestamp};

use super::{
    BuildError,
    data::{Data, DataFile, day_of, days_since_1970},
    demand::{ArrivalsFrom, DemandSpec, Generated, ServiceSpec, Window},
};
use crate::{
    generate::{self, Draws, Grid, QaSpec},
    noise,
    placement::Recordings,
    scenario::Service,
    trace::{self, Recording, SLOT, SLOTS_PER_DAY, Series, azure::Arrival, text_of},
};

/// The day made-up demand begins on where the file names none: a Monday.
const MADE_UP_DAY: &str = "20250106";

/// Days from 1970 to the first of the Bitbrains recording, and how much before midnight UTC its day begins.
const BITBRAINS_DAY: &str = "20130701";
const BITBRAINS_EARLIER: Duration = Duration::from_secs(2 * 3600);

/// The first day of the Google recording.
const GOOGLE_DAY: &str = "20110501";

/// When a scenario plays and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct When<'a> {
    /// The day asked for, where one is.
    pub(super) day: Option<&'a str>,
    /// Hour of that day at which it begins.
    pub(super) begins: Duration,
    pub(super) duration: Duration,
    pub(super) seed: u64,
}

/// What one vm wants.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) name: String,
    /// Index into the series.
    pub(super) series: usize,
    /// Slot of the series it begins at.
    pub(super) offset: usize,
    /// Virtual CPUs and memory, where they are known.
    pub(super) size: Option<(u32, Bytes)>,
    pub(super) arrives: Duration,
    pub(super) departs: Option<Duration>,
    /// Index into the services.
    pub(super) service: Option<usize>,
    pub(super) users: Option<String>,
}

impl Load {
    fn new(name: String, series: usize) -> Self {
        Self { name, series, offset: 0, size: None, arrives: Duration::ZERO, departs: None, service: None, users: None }
    }
}

/// What all vms want.
#[derive(Debug)]
pub(super) struct Loads {
    pub(super) start: Timestamp,
    pub(super) loads: Vec<Load>,
    pub(super) series: Vec<Arc<Series>>,
    pub(super) services: Vec<Arc<Service>>,
}

impl Loads {
    fn new(start: Timestamp) -> Self {
        Self { start, loads: Vec::new(), series: Vec::new(), services: Vec::new() }
    }

    fn add(&mut self, series: Series) {
        self.loads.push(Load::new(series.name.clone(), self.series.len()));
        self.series.push(Arc::new(series));
    }
}

/// The loads of a source; the demo's and telemetry's fleets are made elsewhere and have none here.
pub(super) fn loads(spec: &DemandSpec, data: &Data, when: When<'_>) -> Result<Loads, BuildError> {
    match spec {
        DemandSpec::PlanetLab => planetlab(spec, data, when),
        DemandSpec::Bitbrains(window) => bitbrains(spec, window, data, when),
        DemandSpec::Google(window) => google(spec, window, data, when),
        DemandSpec::Arrivals(from) => arrivals(spec, from, data, when),
        DemandSpec::Generated { kind, vms, distinct, slot } => generated(kind, (*vms, *distinct), *slot, when),
        DemandSpec::Service(service) => qa(service, when),
        DemandSpec::Telemetry(_) | DemandSpec::Demo { .. } => made_up_start(when).map(Loads::new),
    }
}

fn planetlab(spec: &DemandSpec, data: &Data, when: When<'_>) -> Result<Loads, BuildError> {
    let file = day_file(spec, data, when.day)?;
    let day = day_of(&file.name).unwrap_or_default();
    let mut loads = Loads::new(midnight(day)?.after(when.begins));
    for mut series in trace::planetlab::parse(&file.name, &text_of(&file.name, &file.bytes)?)?.series() {
        // The day has no next midnight: its last value lasts until then, as the field's benchmark has it.
        series.slots.extend(series.slots.last().copied());
        loads.add(series);
    }
    let offset = slots_in(when.begins);
    loads.loads.iter_mut().for_each(|load| load.offset = offset);
    Ok(loads)
}

/// The file of the day asked for, or the only one there is.
fn day_file<'a>(spec: &DemandSpec, data: &'a Data, day: Option<&str>) -> Result<&'a DataFile, BuildError> {
    let mut files = data.files.iter().filter(|file| day_of(&file.name).is_some());
    let days = || data.files.iter().filter_map(|file| day_of(&file.name)).map(str::to_owned).collect();
    match day {
        Some(day) => files.find(|file| day_of(&file.name) == Some(day)).ok_or_else(|| {
            if data.files.is_empty() {
                return missing(spec, 0);
            }
            BuildError::NoDay { day: day.into(), days: days() }
        }),
        None => match (files.next(), files.next()) {
            (Some(file), None) => Ok(file),
            (None, _) => Err(missing(spec, 0)),
            (Some(_), Some(_)) => Err(BuildError::WhichDay { days: days() }),
        },
    }
}

fn missing(spec: &DemandSpec, index: usize) -> BuildError {
    let need = spec.needs()[index];
    BuildError::Missing { name: need.name(), folder: need.folder, what: need.what }
}

fn bitbrains(spec: &DemandSpec, window: &Window, data: &Data, when: When<'_>) -> Result<Loads, BuildError> {
    let needs = spec.needs();
    let (recordings, is_cut) = match (data.find(&needs[0]), data.find(&needs[1])) {
        (None, None) => (trace::bitbrains_recordings()?, true),
        (Some(file), Some(vms)) => (parquet(file, &text_of(&vms.name, &vms.bytes)?)?, false),
        (None, Some(_)) => return Err(missing(spec, 0)),
        (Some(_), None) => return Err(missing(spec, 1)),
    };
    let small = |one: &Recording| one.memory.is_none_or(|memory| gib(memory) <= window.memory_max_gib);
    let recordings: Vec<Recording> = recordings.into_iter().filter(small).collect();
    let mut loads = windowed(&recordings, window, is_cut, BITBRAINS_DAY, when)?;
    loads.start = loads.start.before(BITBRAINS_EARLIER);
    Ok(loads)
}

#[cfg(feature = "parquet")]
fn parquet(file: &DataFile, vms: &str) -> Result<Vec<Recording>, BuildError> {
    Ok(trace::parquet_bitbrains(&file.name, file.bytes.clone(), vms)?)
}

#[cfg(not(feature = "parquet"))]
fn parquet(file: &DataFile, _vms: &str) -> Result<Vec<Recording>, BuildError> {
    Err(BuildError::NoParquet { name: file.name.clone() })
}

fn google(spec: &DemandSpec, window: &Window, data: &Data, when: When<'_>) -> Result<Loads, BuildError> {
    if let Some(file) = data.find(&spec.needs()[0]) {
        let series = trace::parse_google(&file.name, &text_of(&file.name, &file.bytes)?)?;
        return windowed(&trace::google::join(series), window, false, GOOGLE_DAY, when);
    }
    let alone = |series| Recording { series, first: 0, vcpus: None, memory: None };
    let days: Vec<Recording> = trace::google()?.into_iter().map(alone).collect();
    windowed(&days, window, true, GOOGLE_DAY, when)
}

/// The part of recordings that a window shows. A vm whose recording does not cover it is left out; the recording of the
/// repository is played again from its beginning where it ends.
fn windowed(
    recordings: &[Recording],
    window: &Window,
    is_cut: bool,
    first_day: &str,
    when: When<'_>,
) -> Result<Loads, BuildError> {
    let day = when.day.unwrap_or(if is_cut { &window.cut_day } else { &window.day });
    let since = |day| days_since_1970(day).ok_or_else(|| BuildError::NoDay { day: day.into(), days: Vec::new() });
    let days = since(day)?.checked_sub(since(first_day)?);
    let days =
        days.ok_or_else(|| BuildError::NoDay { day: day.into(), days: vec![format!("{first_day} and later")] })?;
    let begin = usize::try_from(days).unwrap_or(usize::MAX / 1000) * SLOTS_PER_DAY + slots_in(when.begins);
    let slots = slots_in(when.duration) + 2;
    let mut loads = Loads::new(midnight(day)?.after(when.begins));
    let copies = if is_cut { window.cut_copies } else { window.copies };
    let shown = |one: &&Recording| is_cut || (one.first <= begin && begin + slots <= one.end());
    for copy in 0..copies {
        for one in recordings.iter().filter(shown) {
            let series = loads.series.len();
            let name = if copy == 0 { one.series.name.clone() } else { format!("{}-{}", one.series.name, copy + 1) };
            let size = one.vcpus.zip(one.memory);
            let offset = offset(one, begin, slots, slots_in(window.copy_shift) * copy);
            loads.loads.push(Load { offset, size, ..Load::new(name, series) });
            loads.series.push(Arc::clone(&one.series));
        }
    }
    if loads.loads.is_empty() {
        return Err(BuildError::NoVms { day: day.into(), hours: when.duration.as_secs_f64() / 3600.0 });
    }
    Ok(loads)
}

/// The slot of a recording at which a copy begins; a later copy turns back to the beginning where it would reach the end.
fn offset(one: &Recording, begin: usize, slots: usize, shift: usize) -> usize {
    let length = one.series.slots.len();
    let first = one.first % length;
    let from = if begin >= one.first { begin - one.first } else { begin % length + length - first };
    let from = from + shift;
    if length >= slots && from + slots > length { from % (length - slots + 1) } else { from % length }
}

fn arrivals(spec: &DemandSpec, from: &ArrivalsFrom, data: &Data, when: When<'_>) -> Result<Loads, BuildError> {
    let start = made_up_start(when)?;
    let span = from.warm_up + when.duration;
    let day = Duration::from_secs(86_400);
    let before = from.warm_up.as_secs() % day.as_secs();
    let midnight_s = (when.begins.as_secs() + day.as_secs() - before) % day.as_secs();
    let (all, one_in) = match (&from.made, spec.needs().first().and_then(|need| data.find(need))) {
        (Some(made), _) => {
            let midnight_s = u32::try_from(midnight_s).unwrap_or(0);
            (generate::arrivals(&generate::ArrivalSpec { midnight_s, ..*made }, span, when.seed), 1)
        }
        (None, Some(file)) => (trace::parse_azure(&file.name, &text_of(&file.name, &file.bytes)?)?, from.one_in),
        (None, None) => (trace::azure()?, from.cut_one_in),
    };
    let recordings = Recordings::shipped()?;
    let mut loads = Loads::new(start);
    loads.series = recordings.series;
    let first = all.first().map_or(Duration::ZERO, |one| one.at);
    let first = if from.made.is_some() { Duration::ZERO } else { first };
    let mut of_batch = (usize::MAX, 0);
    for (number, one) in all.iter().enumerate() {
        of_batch = if of_batch.0 == one.batch { (one.batch, of_batch.1 + 1) } else { (one.batch, 1) };
        let is_played = noise::index(7, 41, one.batch as u64, usize::try_from(one_in).unwrap_or(1)) == 0;
        if is_played && of_batch.1 <= from.batch_max {
            let load = arriving(one, number, first, from.warm_up, when, &loads.series);
            loads.loads.extend(load);
        }
    }
    if loads.loads.is_empty() {
        return Err(BuildError::NoVms { day: when.day.unwrap_or("-").into(), hours: span.as_secs_f64() / 3600.0 });
    }
    Ok(loads)
}

/// The load of one that arrives; `None` where it is gone before the scenario begins, or comes after its end.
fn arriving(
    one: &Arrival,
    number: usize,
    first: Duration,
    warm_up: Duration,
    when: When<'_>,
    series: &[Arc<Series>],
) -> Option<Load> {
    let draws = Draws::new(when.seed, number as u64);
    // The trace rounds down to slots of five minutes: vms of a batch come together, batches do not.
    let late = SLOT.mul_f64(Draws::new(when.seed, one.batch as u64).part(9).unit(0));
    let at = one.at.saturating_sub(first) + if one.lifetime.1 == Some(one.lifetime.0) { Duration::ZERO } else { late };
    let (least, most) = one.lifetime;
    let life = most.map(|most| least + (most.saturating_sub(least)).mul_f64(draws.unit(1)));
    let ends = life.map(|life| at + life.max(Duration::from_secs(10)));
    if at >= warm_up + when.duration || ends.is_some_and(|ends| ends <= warm_up) {
        return None;
    }
    let replayed = noise::index(when.seed, 43, number as u64, series.len());
    let days = series[replayed].slots.len() / SLOTS_PER_DAY;
    let day = noise::index(when.seed, 47, number as u64, days.max(1));
    Some(Load {
        size: Some((one.vcpus, one.memory)),
        offset: day * SLOTS_PER_DAY + slots_in(when.begins),
        arrives: at.saturating_sub(warm_up),
        departs: ends.map(|ends| ends - warm_up).filter(|ends| *ends < when.duration),
        ..Load::new(format!("vm-{:05}-{number:06}", one.batch), replayed)
    })
}

fn generated(
    kind: &Generated,
    (vms, distinct): (usize, usize),
    slot: Duration,
    when: When<'_>,
) -> Result<Loads, BuildError> {
    let mut loads = Loads::new(made_up_start(when)?);
    let grid = grid(slot, when);
    for vm in 0..distinct as u64 {
        loads.add(match kind {
            Generated::Diurnal(spec) => generate::diurnal(spec, vm, grid, when.seed),
            Generated::Bursty(spec) => generate::bursty(spec, vm, grid, when.seed),
            Generated::Tenants(spec) => generate::tenants(spec, vm, grid, when.seed),
            Generated::Storm(spec) => generate::storm(spec, vm, grid, when.seed),
        });
    }
    for vm in distinct..vms {
        let like = &loads.loads[vm % distinct];
        let name = format!("{}-{}", like.name, vm / distinct + 1);
        loads.loads.push(Load { offset: vm / distinct, ..Load::new(name, vm % distinct) });
    }
    Ok(loads)
}

fn qa(spec: &ServiceSpec, when: When<'_>) -> Result<Loads, BuildError> {
    let mut loads = Loads::new(made_up_start(when)?);
    let memory = Bytes::from_f64(spec.memory_gib * f64::from(1 << 30));
    let size = (f64::from(spec.vcpus), memory.as_f64());
    for (number, group) in spec.groups.iter().enumerate() {
        let qa = QaSpec { peak_h: group.peak_h, ..spec.qa };
        for _ in 0..group.vms {
            let vm = loads.loads.len();
            let (service, series) = generate::qa(&qa, vm as u64, number as u64, size, grid(spec.slot, when), when.seed);
            loads.add(series);
            loads.loads[vm].size = Some((spec.vcpus, memory));
            loads.loads[vm].users = Some(group.users.clone());
            loads.loads[vm].service = Some(vm);
            loads.services.push(Arc::new(service));
        }
    }
    Ok(loads)
}

fn grid(slot: Duration, when: When<'_>) -> Grid {
    Grid::covering(when.duration, slot, u32::try_from(when.begins.as_secs()).unwrap_or(0))
}

/// Midnight of a day, UTC.
fn midnight(day: &str) -> Result<Timestamp, BuildError> {
    let days = days_since_1970(day).ok_or_else(|| BuildError::NoDay { day: day.into(), days: Vec::new() })?;
    Ok(Timestamp::from_secs(days * 86_400))
}

fn made_up_start(when: When<'_>) -> Result<Timestamp, BuildError> {
    Ok(midnight(when.day.unwrap_or(MADE_UP_DAY))?.after(when.begins))
}

fn slots_in(span: Duration) -> usize {
    usize::try_from(span.as_secs() / SLOT.as_secs()).unwrap_or(usize::MAX / 4)
}

fn gib(memory: Bytes) -> f64 {
    memory.as_f64() / f64::from(1 << 30)
}
