//! Recorded demand: what real vms did, in slots of five minutes. Scenarios hand it out to simulated vms.
//!
//! Cuts of three recordings are part of the repository (`sim/traces/README.md` tells their origin); the whole ones, in the
//! same formats, are read by the same parsers. Who reads files hands in their bytes; [`text_of`] unpacks them.

pub mod azure;
pub mod bitbrains;
pub mod google;
pub mod history;
pub mod hosts;
#[cfg(feature = "parquet")]
mod parquet;
pub mod planetlab;
pub mod recorded;
pub(crate) mod table;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use thiserror::Error;

use ballast_core::units::Bytes;

pub use azure::parse as parse_azure;
pub use bitbrains::parse as parse_bitbrains;
pub use google::parse as parse_google;
#[cfg(feature = "parquet")]
pub use parquet::bitbrains as parquet_bitbrains;
pub use table::text_of;

/// Length of one slot.
pub const SLOT: Duration = Duration::from_secs(300);

/// Slots of a day.
pub const SLOTS_PER_DAY: usize = 288;

const BITBRAINS: &[u8] = include_bytes!("../../traces/bitbrains-24vm-7d.csv.gz");
const BITBRAINS_VMS: &str = include_str!("../../traces/bitbrains-vms.csv");
const GOOGLE: &[u8] = include_bytes!("../../traces/google-200vm-1d.csv.gz");
const AZURE: &[u8] = include_bytes!("../../traces/azure-1d.csv.gz");

/// Why a recording is refused, and where it went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{file}, line {line}, column {column}: {what}")]
pub struct TraceError {
    /// Which recording.
    pub file: String,
    /// Line, from 1; 0 where the recording as a whole is at fault.
    pub line: usize,
    /// Name of the column, or its number where it has none.
    pub column: String,
    /// What was found and what is needed.
    pub what: String,
}

/// What a vm did in one slot.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Slot {
    /// CPU as a share of its vCPUs, 0 to 1.
    pub cpu: f32,
    /// Memory in active use as a share of what it may grow to, 0 to 1.
    pub memory: f32,
    /// Storage read, bytes per second.
    pub disk_read: f32,
    /// Storage written, bytes per second.
    pub disk_write: f32,
    /// Network received, bytes per second.
    pub net_rx: f32,
    /// Network sent, bytes per second.
    pub net_tx: f32,
}

/// One vm's recording, without gaps.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the recording.
    pub name: String,
    /// Length of one slot.
    pub slot: Duration,
    /// One entry per slot; never empty.
    pub slots: Vec<Slot>,
}

impl Series {
    /// A recording in slots of the usual length, [`SLOT`].
    pub fn new(name: String, slots: Vec<Slot>) -> Self {
        Self { name, slot: SLOT, slots }
    }

    /// Mean CPU as a share of the vCPUs.
    pub fn mean_cpu(&self) -> f64 {
        let sum: f64 = self.slots.iter().map(|slot| f64::from(slot.cpu)).sum();
        sum / ballast_core::units::count(self.slots.len())
    }

    /// Standard deviation of the CPU share.
    pub fn cpu_deviation(&self) -> f64 {
        let mean = self.mean_cpu();
        let squares: f64 = self.slots.iter().map(|slot| (f64::from(slot.cpu) - mean).powi(2)).sum();
        (squares / ballast_core::units::count(self.slots.len())).sqrt()
    }
}

/// One vm's recording with what is known of the vm, in a recording of many that began together.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// What it did.
    pub series: Arc<Series>,
    /// Slot of the whole recording in which this vm's begins; 0 is the first slot of the first day.
    pub first: usize,
    /// Its virtual CPUs, where the recording tells.
    pub vcpus: Option<u32>,
    /// Its memory, where the recording tells.
    pub memory: Option<Bytes>,
}

impl Recording {
    /// The slot after its last.
    pub fn end(&self) -> usize {
        self.first + self.series.slots.len()
    }
}

/// The recording of 24 Bitbrains vms over seven days that is part of the repository.
///
/// # Errors
/// [`TraceError`] when the file in the repository was damaged.
pub fn bitbrains() -> Result<Vec<Arc<Series>>, TraceError> {
    static READ: OnceLock<Vec<Arc<Series>>> = OnceLock::new();
    once(&READ, || {
        let text = text_of("bitbrains-24vm-7d.csv.gz", BITBRAINS)?;
        parse_bitbrains("bitbrains-24vm-7d.csv", &text, BITBRAINS_VMS)
    })
}

/// The same, with the size of every vm.
///
/// # Errors
/// [`TraceError`] when the file in the repository was damaged.
pub fn bitbrains_recordings() -> Result<Vec<Recording>, TraceError> {
    bitbrains::recordings("bitbrains-24vm-7d.csv", &text_of("bitbrains-24vm-7d.csv.gz", BITBRAINS)?, BITBRAINS_VMS)
}

/// One day of arriving vms, cut from Azure's trace, that is part of the repository.
///
/// # Errors
/// [`TraceError`] when the file in the repository was damaged.
pub fn azure() -> Result<Vec<azure::Arrival>, TraceError> {
    parse_azure("azure-1d.csv", &text_of("azure-1d.csv.gz", AZURE)?)
}

/// The recording of 200 vms of one day each, cut from Google's cluster trace, that is part of the repository.
///
/// # Errors
/// [`TraceError`] when the file in the repository was damaged.
pub fn google() -> Result<Vec<Arc<Series>>, TraceError> {
    static READ: OnceLock<Vec<Arc<Series>>> = OnceLock::new();
    once(&READ, || parse_google("google-200vm-1d.csv", &text_of("google-200vm-1d.csv.gz", GOOGLE)?))
}

/// Reads a recording the first time it is asked for.
fn once(
    cell: &OnceLock<Vec<Arc<Series>>>,
    read: impl FnOnce() -> Result<Vec<Series>, TraceError>,
) -> Result<Vec<Arc<Series>>, TraceError> {
    if let Some(series) = cell.get() {
        return Ok(series.clone());
    }
    let series: Vec<Arc<Series>> = read()?.into_iter().map(Arc::new).collect();
    Ok(cell.get_or_init(|| series).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_recordings_are_whole() {
        let bitbrains = bitbrains().unwrap();
        assert_eq!(bitbrains.len(), 24);
        assert!(bitbrains.iter().all(|series| series.slots.len() == 7 * SLOTS_PER_DAY));
        let google = google().unwrap();
        assert_eq!(google.len(), 200);
        assert!(google.iter().all(|series| series.slots.len() == SLOTS_PER_DAY));
        for slot in bitbrains.iter().chain(&google).flat_map(|series| &series.slots) {
            assert!((0.0..=1.0).contains(&slot.cpu) && (0.0..=1.0).contains(&slot.memory), "{slot:?}");
            assert!([slot.disk_read, slot.disk_write, slot.net_rx, slot.net_tx].iter().all(|rate| *rate >= 0.0));
        }
    }

    #[test]
    fn the_recordings_hold_what_the_readme_says() {
        let busy = bitbrains().unwrap().into_iter().find(|series| series.name == "196").unwrap();
        assert!((busy.mean_cpu() - 0.64).abs() < 0.03, "{}", busy.mean_cpu());
        assert!(busy.cpu_deviation() > 0.4);
    }
}
