//! The processor's own energy counters (RAPL) through the powercap interface: packages and their memory.
//!
//! Less than the whole host draws, and labelled so. Readable by root only unless the site says otherwise.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use ballast_core::units::Watts;

/// Two readings closer than this make a poor mean: the counters move once a millisecond.
const SPAN_MIN: Duration = Duration::from_millis(50);

/// The counters of one host and their last values.
#[derive(Debug)]
pub(super) struct Rapl {
    folder: PathBuf,
    last: Option<(Duration, Vec<Zone>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Zone {
    path: PathBuf,
    energy: u64,
    range: u64,
}

impl Rapl {
    /// The counters below `root`.
    pub(super) fn new(root: &Path) -> Self {
        Self { folder: root.join("sys/class/powercap"), last: None }
    }

    /// Whether there were any at the last reading that found them.
    pub(super) fn is_there(&self) -> bool {
        self.last.is_some()
    }

    /// Mean power since the reading before; `None` at the first, and when any zone cannot be read: a sum with a zone
    /// missing would look like a saving.
    pub(super) fn read(&mut self, elapsed: Duration) -> Option<Watts> {
        let zones = zones(&self.folder)?;
        let (last_at, last) = self.last.replace((elapsed, zones.clone()))?;
        let span = elapsed.checked_sub(last_at).filter(|span| *span >= SPAN_MIN)?;
        if zones.len() != last.len() || zones.iter().zip(&last).any(|(now, then)| now.path != then.path) {
            return None;
        }
        let spent: u64 = zones.iter().zip(&last).map(|(now, then)| spent(then, now)).sum();
        // Microjoules to joules by way of the duration type, which holds them exactly.
        Some(Watts(Duration::from_micros(spent).as_secs_f64() / span.as_secs_f64()))
    }
}

/// Energy between two readings of a counter that wraps at its range.
fn spent(then: &Zone, now: &Zone) -> u64 {
    if now.energy >= then.energy {
        now.energy - then.energy
    } else {
        now.range.saturating_sub(then.energy).saturating_add(now.energy)
    }
}

/// All packages and their memory zones; `None` where there is none or one cannot be read.
fn zones(folder: &Path) -> Option<Vec<Zone>> {
    let mut zones = Vec::new();
    for package in subfolders(folder, "intel-rapl:") {
        if name(&package)?.starts_with("package-") {
            zones.push(zone(&package)?);
            for part in subfolders(&package, "intel-rapl:") {
                if name(&part)? == "dram" {
                    zones.push(zone(&part)?);
                }
            }
        }
    }
    (!zones.is_empty()).then_some(zones)
}

/// Zones below a folder. The top level lists sub-zones (`intel-rapl:0:0`) as well, which belong to their package.
fn subfolders(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let depth = |path: &Path| path.file_name().map_or(0, |name| name.to_string_lossy().matches(':').count());
    let below = depth(folder) + 1;
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .filter(|path| depth(path) == below)
        .collect();
    found.sort();
    found
}

fn text(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn name(zone: &Path) -> Option<String> {
    text(&zone.join("name"))
}

fn zone(path: &Path) -> Option<Zone> {
    let number = |file: &str| text(&path.join(file))?.parse().ok();
    Some(Zone { path: path.into(), energy: number("energy_uj")?, range: number("max_energy_range_uj")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, energy: u64) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("name"), format!("{name}\n")).unwrap();
        fs::write(folder.join("energy_uj"), format!("{energy}\n")).unwrap();
        fs::write(folder.join("max_energy_range_uj"), "1000000000\n").unwrap();
    }

    /// Two packages, one with memory; the sub-zone appears at the top level too, as in sysfs.
    fn tree(root: &Path, energies: [u64; 3]) {
        let top = root.join("sys/class/powercap");
        write(&top.join("intel-rapl:0"), "package-0", energies[0]);
        write(&top.join("intel-rapl:0/intel-rapl:0:0"), "dram", energies[1]);
        write(&top.join("intel-rapl:0:0"), "dram", energies[1]);
        write(&top.join("intel-rapl:0/intel-rapl:0:1"), "core", 77);
        write(&top.join("intel-rapl:1"), "package-1", energies[2]);
        write(&top.join("intel-rapl:2"), "psys", 5);
        write(&top.join("intel-rapl-mmio:0"), "package-0", energies[0]);
    }

    #[test]
    fn packages_and_their_memory_are_summed_once() {
        let root = tempfile::tempdir().unwrap();
        let mut rapl = Rapl::new(root.path());
        tree(root.path(), [0, 0, 0]);
        assert_eq!(rapl.read(Duration::from_secs(1)), None);
        tree(root.path(), [300_000_000, 50_000_000, 150_000_000]);
        assert_eq!(rapl.read(Duration::from_secs(6)), Some(Watts(100.0)));
    }

    #[test]
    fn a_counter_that_wraps_loses_nothing() {
        let root = tempfile::tempdir().unwrap();
        let mut rapl = Rapl::new(root.path());
        tree(root.path(), [999_000_000, 0, 0]);
        rapl.read(Duration::from_secs(1));
        tree(root.path(), [1_000_000, 0, 0]);
        assert_eq!(rapl.read(Duration::from_secs(2)), Some(Watts(2.0)));
    }

    #[test]
    fn a_package_that_cannot_be_read_makes_the_whole_unknown() {
        let root = tempfile::tempdir().unwrap();
        let mut rapl = Rapl::new(root.path());
        tree(root.path(), [0, 0, 0]);
        rapl.read(Duration::from_secs(1));
        tree(root.path(), [1, 1, 1]);
        fs::write(root.path().join("sys/class/powercap/intel-rapl:1/energy_uj"), "").unwrap();
        assert_eq!(rapl.read(Duration::from_secs(2)), None);
        assert_eq!(Rapl::new(Path::new("/nowhere")).read(Duration::ZERO), None);
    }
}
