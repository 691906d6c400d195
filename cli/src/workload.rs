//! What a scenario file wants to read: recordings from the folder named by `--data`, and telemetry logs as a workload.
//!
//! The simulation takes bytes and values; this is where files are opened for it. Nothing is decided here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use ballast_core::{
    id::{BootId, HostId, Seq, VmId},
    inventory::{Inventory, VmRecord},
    sample::{Batch, VmSample, VmState},
    units::Timestamp,
};
use ballast_scheduler::{
    replay,
    telemetry_log::{Content, LogRecord},
};
use ballast_sim::{
    scenario::{
        HostSpec,
        file::{Data, DataFile, DemandSpec, Need, ScenarioFile, day_of},
    },
    trace::recorded::{Recorded, RecordedFleet, RecordedSample},
};

/// The days of a scenario, where none are asked for; empty where days make no difference.
///
/// # Errors
/// Where the folder cannot be read.
pub fn days(scenario: &ScenarioFile, folder: Option<&Path>) -> anyhow::Result<Vec<String>> {
    let found = folder.map_or(Ok(Vec::new()), |folder| find(scenario.needs(), folder))?;
    let names: Vec<String> = found.iter().map(|path| name_of(path)).collect();
    Ok(scenario.days(&names.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// All that a scenario reads on one of its days; nothing where no folder is named.
///
/// # Errors
/// Where a file cannot be read, or the folder holds nothing that the scenario wants.
pub fn read(scenario: &ScenarioFile, folder: Option<&Path>, day: Option<&str>) -> anyhow::Result<Data> {
    let Some(folder) = folder else { return Ok(Data::default()) };
    if matches!(scenario.demand(), DemandSpec::Telemetry(_)) {
        return Ok(Data { recorded: Some(telemetry(&[folder.into()])?), ..Data::default() });
    }
    let of_day = |path: &PathBuf| match (day, day_of(&name_of(path))) {
        (Some(wanted), Some(found)) => wanted == found,
        _ => true,
    };
    let paths = find(scenario.needs(), folder)?;
    if paths.is_empty() && !scenario.needs().is_empty() {
        let wanted: Vec<&str> = scenario.needs().iter().map(Need::name).collect();
        anyhow::bail!("{}: none of {} is there", folder.display(), wanted.join(", "));
    }
    let file = |path: &PathBuf| -> anyhow::Result<DataFile> {
        let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        Ok(DataFile { name: name_of(path), bytes })
    };
    let files = paths.iter().filter(|path| of_day(path)).map(file).collect::<anyhow::Result<_>>()?;
    Ok(Data { files, recorded: None })
}

/// Files that meet needs, in order of name: in the folder itself, or in the one below it that the need names.
fn find(needs: &[Need], folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = BTreeSet::new();
    for need in needs {
        let inner = folder.join(need.folder);
        let places = [Some(folder), inner.is_dir().then_some(&*inner)];
        for place in places.into_iter().flatten() {
            let entries = fs::read_dir(place).with_context(|| format!("read the folder {}", place.display()))?;
            for entry in entries {
                let path = entry.with_context(|| format!("read the folder {}", place.display()))?.path();
                if path.is_file() && need.accepts(&name_of(&path)) {
                    found.insert(path);
                }
            }
        }
    }
    Ok(found.into_iter().collect())
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The fleet that telemetry segments, or folders of them, recorded.
///
/// # Errors
/// Where a segment cannot be read or is damaged, or no host was recorded.
pub fn telemetry(files: &[PathBuf]) -> anyhow::Result<RecordedFleet> {
    let mut log = Log::default();
    replay::records(files, |record| log.take(record)).context("read the telemetry log")?;
    let fleet = log.fleet();
    anyhow::ensure!(!fleet.hosts.is_empty(), "the telemetry log holds no host's inventory");
    Ok(fleet)
}

/// What a log holds, as far as it matters here.
#[derive(Debug, Default)]
struct Log {
    hosts: BTreeMap<HostId, Inventory>,
    vms: BTreeMap<VmId, VmRecord>,
    streams: BTreeMap<(HostId, BootId), Stream>,
}

/// The batches of one boot of a host.
#[derive(Debug, Default)]
struct Stream {
    /// Least time from the agent's clock to the scheduler's, in nanoseconds: what a batch that was not held up took.
    ahead: Option<i128>,
    batches: BTreeMap<Seq, Batch>,
}

impl Log {
    fn take(&mut self, record: LogRecord) {
        match record.content {
            Content::Opened(inventory) | Content::Inventory(inventory) | Content::Standing(inventory) => {
                self.inventory(*inventory);
            }
            Content::Batch(batch) => self.batch(*batch, record.at),
            Content::Closed { .. } | Content::Event(_) => {}
        }
    }

    /// The newest word on a host and on each of its vms counts; an incomplete one says nothing of the vms it leaves out.
    fn inventory(&mut self, inventory: Inventory) {
        self.vms.extend(inventory.vms.iter().map(|record| (record.vm, record.clone())));
        self.hosts.insert(inventory.host.clone(), inventory);
    }

    /// A batch counts once, however often it was sent.
    fn batch(&mut self, batch: Batch, at: Timestamp) {
        let stream = self.streams.entry((batch.host.clone(), batch.boot)).or_default();
        let ahead = i128::from(at.nanos()) - i128::from(batch.taken_at.nanos());
        stream.ahead = Some(stream.ahead.map_or(ahead, |least| least.min(ahead)));
        stream.batches.entry(batch.seq).or_insert(batch);
    }

    fn fleet(self) -> RecordedFleet {
        let index: BTreeMap<&HostId, usize> =
            self.hosts.keys().enumerate().map(|(index, host)| (host, index)).collect();
        let mut samples: BTreeMap<VmId, BTreeMap<Timestamp, (usize, RecordedSample)>> = BTreeMap::new();
        for ((host, _), stream) in &self.streams {
            let Some(host) = index.get(host) else { continue };
            let ahead = stream.ahead.unwrap_or_default();
            for sample in stream.batches.values().flat_map(|batch| &batch.vms) {
                if sample.state == VmState::Running {
                    let recorded = recorded(sample, ahead);
                    samples.entry(sample.vm).or_default().insert(recorded.at, (*host, recorded));
                }
            }
        }
        let vms = samples.into_iter().filter_map(|(vm, samples)| self.vm(vm, samples)).collect();
        RecordedFleet { hosts: self.hosts.values().map(host).collect(), vms }
    }

    /// A vm with its samples; `None` where no inventory told of it.
    fn vm(&self, vm: VmId, samples: BTreeMap<Timestamp, (usize, RecordedSample)>) -> Option<Recorded> {
        let record = self.vms.get(&vm)?;
        let (first, _) = *samples.values().next()?;
        Some(Recorded {
            vm,
            name: record.name.clone(),
            vcpus: record.vcpus,
            memory_max: record.memory_max,
            labels: record.labels.clone(),
            host: first,
            samples: samples.into_values().map(|(_, sample)| sample).collect(),
        })
    }
}

/// A sample in the scheduler's time. What makes no sense is missing.
fn recorded(sample: &VmSample, ahead: i128) -> RecordedSample {
    let nanos = i128::from(sample.taken_at.nanos()) + ahead;
    let at = Timestamp(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX));
    RecordedSample {
        at,
        cpu: sample.cpu_used.value().filter(|cpu| cpu.is_sane()),
        memory: sample.memory_used.value().or(sample.memory_resident.value()),
        disk_read: sample.disk_read.value().filter(|rate| rate.is_sane()),
        disk_write: sample.disk_write.value().filter(|rate| rate.is_sane()),
        net_rx: sample.net_rx.value().filter(|rate| rate.is_sane()),
        net_tx: sample.net_tx.value().filter(|rate| rate.is_sane()),
    }
}

/// A host as its inventory says; that every vm of a simulated fleet can run on it is assumed.
pub(crate) fn host(inventory: &Inventory) -> HostSpec {
    let power = inventory.power.clone();
    let mut spec = HostSpec::new(inventory.host.clone(), inventory.cpu_capacity, inventory.memory_capacity, power);
    spec.hardware = inventory.hypervisor.clone();
    spec.cpu_model = inventory.cpu_model.clone();
    spec.cpu_models.extend(inventory.cpu_models.iter().cloned());
    spec.networks.extend(inventory.networks.iter().cloned());
    spec.storages.extend(inventory.storages.iter().cloned());
    spec.migration_bandwidth = inventory.migration_bandwidth;
    spec
}

#[cfg(test)]
mod tests {
    use ballast_core::{
        inventory::SleepSupport,
        power::PowerCurve,
        sample::{HostSample, Reading},
        units::{Bytes, BytesPerSec, Cores},
    };
    use ballast_daemon::segments::{Options, SegmentWriter};
    use ballast_scheduler::telemetry_log::SEGMENT_KIND;
    use ballast_sim::scenario::file::builtin;
    use tempfile::TempDir;

    use super::*;

    const START: u64 = 1_000_000;

    fn inventory(name: &str, vms: &[u128]) -> Inventory {
        let vm = |number: &u128| VmRecord::running(vm_id(*number), format!("vm{number}"), 2, Bytes::from_gib(2));
        Inventory {
            host: HostId::new(name).unwrap(),
            boot: BootId(uuid(1)),
            taken_at: Timestamp::from_secs(START),
            up_for: std::time::Duration::ZERO,
            complete: true,
            hypervisor: "test".into(),
            cpu_capacity: Cores(8.0),
            memory_capacity: Bytes::from_gib(32),
            cpu_model: "test".into(),
            cpu_models: BTreeSet::new(),
            networks: BTreeSet::new(),
            storages: BTreeSet::new(),
            migration_uri: format!("test://{name}"),
            migration_bandwidth: BytesPerSec(1e9),
            power: PowerCurve::ml110_g5(),
            fault_domain: None,
            site: None,
            sleep: SleepSupport::Suspend,
            wake_address: None,
            vms: vms.iter().map(vm).collect(),
        }
    }

    fn uuid(number: u128) -> uuid::Uuid {
        uuid::Uuid::from_u128(number)
    }

    fn vm_id(number: u128) -> VmId {
        VmId(uuid(number))
    }

    /// A batch of a host whose clock is `off` seconds behind the scheduler's, in which every vm uses `cpu` cores.
    fn batch(inventory: &Inventory, tick: u64, off: u64, cpu: f64) -> Batch {
        let taken_at = Timestamp::from_secs(START + tick * 10 - off);
        let sample = |record: &VmRecord| VmSample {
            vm: record.vm,
            taken_at,
            state: VmState::Running,
            cpu_used: Reading::Measured(Cores(cpu)),
            memory_resident: Reading::Measured(Bytes::from_gib(1)),
            net_rx: Reading::Measured(BytesPerSec(1000.0)),
            ..VmSample::default()
        };
        let (host, boot) = (inventory.host.clone(), inventory.boot);
        let vms = inventory.vms.iter().map(sample).collect();
        Batch { host, boot, seq: Seq(tick), taken_at, sample: HostSample::default(), vms }
    }

    fn record(tick: u64, content: Content) -> LogRecord {
        LogRecord { at: Timestamp::from_secs(START + tick * 10), content }
    }

    /// Ten minutes of hosts `a` (two vms, one core each; half an hour behind) and `b` (one vm); batch 30 of `a` comes
    /// twice, and its batches 40 to 49 come late, together.
    fn recording() -> Vec<LogRecord> {
        let (a, b) = (inventory("a", &[1, 2]), inventory("b", &[7]));
        let mut records =
            vec![record(0, Content::Opened(Box::new(a.clone()))), record(0, Content::Standing(Box::new(b.clone())))];
        for tick in 1..=60 {
            let late = if (40..50).contains(&tick) { 50 } else { tick };
            let of_a = record(late, Content::Batch(Box::new(batch(&a, tick, 1800, 1.0))));
            records.extend(std::iter::repeat_n(of_a, if tick == 30 { 2 } else { 1 }));
            records.push(record(tick, Content::Batch(Box::new(batch(&b, tick, 0, 0.5)))));
        }
        records
    }

    fn write(records: &[LogRecord]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let (kind, segment_bytes_max) = (SEGMENT_KIND, 4096);
        let options = Options { kind, compress: true, sync: false, segment_bytes_max, total_bytes_max: None };
        let (mut writer, _) = SegmentWriter::open(folder.path(), options).unwrap();
        for group in records.chunks(16) {
            group.iter().for_each(|record| writer.push(&record.encode()).unwrap());
            writer.commit(Timestamp::from_secs(START)).unwrap();
        }
        folder
    }

    #[test]
    fn a_telemetry_log_becomes_the_fleet_it_recorded() {
        let folder = write(&recording());
        let fleet = telemetry(&[folder.path().into()]).unwrap();
        let hosts: Vec<&str> = fleet.hosts.iter().map(|host| host.host.as_str()).collect();
        assert_eq!(hosts, ["a", "b"]);
        let vms: Vec<_> = fleet.vms.iter().map(|vm| (vm.name.as_str(), vm.host, vm.samples.len())).collect();
        assert_eq!(vms, [("vm1", 0, 60), ("vm2", 0, 60), ("vm7", 1, 60)]);
        let (first, last) = fleet.span().unwrap();
        assert_eq!((first, last), (Timestamp::from_secs(START + 10), Timestamp::from_secs(START + 600)));
        assert_eq!(fleet.vms[0].samples[0].memory, Some(Bytes::from_gib(1)));
    }

    #[test]
    fn the_telemetry_scenario_plays_a_recorded_log() {
        let folder = write(&recording());
        let file = builtin("telemetry").unwrap().unwrap();
        let data = read(&file, Some(folder.path()), None).unwrap();
        let scenario = file.build(&data, None, 1).unwrap();
        assert_eq!((scenario.hosts().len(), scenario.vms().len()), (2, 3));
        assert_eq!(scenario.demand(0, 300.0, 1).cpu, 1.0);
        assert_eq!(scenario.demand(2, 300.0, 1).cpu, 0.5);
    }

    #[test]
    fn recordings_are_found_in_the_folder_and_in_the_one_below() {
        let folder = tempfile::tempdir().unwrap();
        let slots: String = (0..288).map(|slot| format!(",t{slot}")).collect();
        let day = format!("vm,seen_in_dev{slots}\na,1{}\n", ",5".repeat(288));
        fs::create_dir(folder.path().join("planetlab")).unwrap();
        fs::write(folder.path().join("planetlab/20110303.csv"), &day).unwrap();
        fs::write(folder.path().join("20110306.csv"), &day).unwrap();
        let file = builtin("planetlab-corrected").unwrap().unwrap();
        assert_eq!(days(&file, Some(folder.path())).unwrap(), ["20110303", "20110306"]);
        let data = read(&file, Some(folder.path()), Some("20110303")).unwrap();
        assert_eq!(file.build(&data, Some("20110303"), 0).unwrap().vms().len(), 1);
        assert_eq!(data.files.len(), 1);
    }

    #[test]
    fn a_folder_without_what_is_wanted_says_what_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let file = builtin("planetlab-corrected").unwrap().unwrap();
        let error = read(&file, Some(folder.path()), None).unwrap_err().to_string();
        assert!(error.ends_with("none of YYYYMMDD.csv.gz is there"), "{error}");
        assert!(read(&file, Some(&folder.path().join("away")), None).is_err());
    }

    #[test]
    fn a_log_without_hosts_is_refused() {
        let folder = write(&recording()[3..4]);
        let error = telemetry(&[folder.path().into()]).unwrap_err().to_string();
        assert_eq!(error, "the telemetry log holds no host's inventory");
    }
}
