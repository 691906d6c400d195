//! `ballast history`: recorded telemetry as a table of five-minute means, for `ballast-train` and for anyone's tools.
//!
//! Asks no scheduler. Of a log of terabytes only the means are kept: 60 bytes per vm and slot.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use anyhow::Context as _;
use ballast_core::{
    id::HostId,
    inventory::Inventory,
    power::CurveFit,
    sample::{Batch, PowerSource},
};
use ballast_models::recording::Recording;
use ballast_scheduler::{replay::records, telemetry_log::Content};
use ballast_sim::{
    scenario::HostSpec,
    trace::{
        history::write_csv,
        hosts::{self, RecordedHost},
    },
};
use clap::Args as ClapArgs;

use crate::workload;

/// What to read, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, ClapArgs)]
pub struct HistoryArgs {
    /// Segments of a telemetry log, or directories of them, in order.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where the table goes, CSV [default: standard output].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Where the hosts go, JSON, their power curves corrected by what their meters said.
    #[arg(long, value_name = "FILE")]
    pub hosts: Option<PathBuf>,
}

/// Reads and writes; what was left out is said on standard error.
///
/// # Errors
/// Where the log is at fault, holds no vm, or the table cannot be written.
pub fn run(args: &HistoryArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let (mut recording, mut fleet) = (Recording::default(), Hosts::default());
    let unreadable = records(&args.files, |record| match &record.content {
        Content::Batch(batch) => {
            recording.batch(batch);
            fleet.batch(batch);
        }
        Content::Opened(inventory) | Content::Inventory(inventory) | Content::Standing(inventory) => {
            recording.inventory(inventory);
            fleet.inventory(inventory);
        }
        Content::Closed { .. } | Content::Event(_) => {}
    })?;
    let late = recording.late();
    let histories = recording.finish();
    anyhow::ensure!(!histories.is_empty(), "the log holds no sample of a running vm");
    match &args.out {
        None => write_csv(&histories, out)?,
        Some(path) => {
            let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
            let mut file = BufWriter::new(file);
            write_csv(&histories, &mut file).and_then(|()| file.flush()).with_context(|| path.display().to_string())?;
        }
    }
    if let Some(path) = &args.hosts {
        fs::write(path, hosts::write(&fleet.finish())?).with_context(|| format!("write {}", path.display()))?;
    }
    if late > 0 || unreadable > 0 {
        let left_out = format!("{late} samples that came too late, {unreadable} bytes that could not be read");
        // Where standard error is closed, nobody is left to be told.
        let _told = writeln!(io::stderr().lock(), "ballast: left out: {left_out}");
    }
    Ok(())
}

/// Hosts in the making: the newest word on each, and what its meter said.
#[derive(Debug, Default)]
struct Hosts(BTreeMap<HostId, (HostSpec, CurveFit)>);

impl Hosts {
    fn inventory(&mut self, inventory: &Inventory) {
        let known = self.0.remove(&inventory.host);
        // What was off of another curve says nothing of this one.
        let meter = known.filter(|(spec, _)| spec.power == inventory.power).map(|(_, meter)| meter);
        self.0.insert(inventory.host.clone(), (workload::host(inventory), meter.unwrap_or_default()));
    }

    /// Only meters of the whole host count: a curve says what it was told, and RAPL sees the processor alone.
    fn batch(&mut self, batch: &Batch) {
        let sample = &batch.sample;
        let is_metered = matches!(sample.power_source, PowerSource::Dcmi | PowerSource::Redfish | PowerSource::Hwmon);
        let read = sample.power.value().zip(sample.cpu_used.value()).filter(|_| is_metered);
        if let Some(((spec, meter), (watts, used))) = self.0.get_mut(&batch.host).zip(read) {
            meter.observe(&spec.power, used.ratio_of(sample.cpu_capacity), watts);
        }
    }

    fn finish(self) -> Vec<RecordedHost> {
        self.0.into_values().map(|(spec, meter)| RecordedHost::new(&spec, &meter)).collect()
    }
}
