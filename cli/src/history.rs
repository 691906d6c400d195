//! `ballast history`: recorded telemetry as a table of five-minute means, for `ballast-train` and for anyone's tools.
//!
//! Asks no scheduler. Of a log of terabytes only the means are kept: 60 bytes per vm and slot.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use anyhow::Context as _;
use ballast_models::recording::Recording;
use ballast_scheduler::{replay::records, telemetry_log::Content};
use ballast_sim::trace::history::write_csv;
use clap::Args as ClapArgs;

/// What to read, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, ClapArgs)]
pub struct HistoryArgs {
    /// Segments of a telemetry log, or directories of them, in order.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where the table goes, CSV [default: standard output].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Reads and writes; what was left out is said on standard error.
///
/// # Errors
/// Where the log is at fault, holds no vm, or the table cannot be written.
pub fn run(args: &HistoryArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut recording = Recording::default();
    let unreadable = records(&args.files, |record| match &record.content {
        Content::Batch(batch) => recording.batch(batch),
        Content::Opened(inventory) | Content::Inventory(inventory) | Content::Standing(inventory) => {
            recording.inventory(inventory);
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
    if late > 0 || unreadable > 0 {
        let left_out = format!("{late} samples that came too late, {unreadable} bytes that could not be read");
        // Where standard error is closed, nobody is left to be told.
        let _told = writeln!(io::stderr().lock(), "ballast: left out: {left_out}");
    }
    Ok(())
}
