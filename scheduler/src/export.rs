//! The telemetry log as CSV, for other programs: one line per host and per vm of every batch.
//!
//! `main` calls it. A value that could not be read is an empty field, never a zero; an estimated value is marked as such
//! in the last column, which names the fields concerned.

use std::{
    io::{self, Write},
    path::Path,
};

use ballast_core::{
    sample::{HostSample, Reading, VmSample},
    units::{Bytes, Cores},
};
use ballast_daemon::segments::{SegmentError, read_file};
use thiserror::Error;

use crate::telemetry_log::{Content, LogRecord, SEGMENT_KIND};

/// The columns, units last.
pub const HEADER: &str = "received_at_unix_nanos,taken_at_unix_nanos,host,seq,vm,cpu_used_cores,cpu_capacity_cores,\
steal_ratio,memory_used_bytes,memory_capacity_bytes,power_watts,disk_read_bytes_per_second,\
disk_write_bytes_per_second,net_rx_bytes_per_second,net_tx_bytes_per_second,dirty_rate_bytes_per_second,\
working_set_bytes,state,memory_balloon_bytes,memory_resident_bytes,disk_read_ops_per_second,disk_write_ops_per_second,\
disk_read_latency_seconds,disk_write_latency_seconds,net_rx_packets_per_second,net_tx_packets_per_second,\
net_rx_lost_packets_per_second,net_tx_lost_packets_per_second,estimated";

/// Columns from the first of storage on that a host's line leaves empty.
const OF_VMS: usize = 17;

/// Why the export ends early; what was written before is right.
#[derive(Debug, Error)]
pub enum ExportError {
    /// A segment cannot be read.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// A record cannot be understood.
    #[error("{path}, byte {offset}: {why}")]
    Record {
        /// Which file.
        path: String,
        /// Where in it.
        offset: usize,
        /// In words.
        why: String,
    },
    /// The lines cannot be written.
    #[error("write the lines: {0}")]
    Write(#[from] io::Error),
}

/// Writes the batches of one segment file; returns how many lines.
///
/// # Errors
/// [`ExportError`], after whatever could be written.
pub fn csv(path: &Path, out: &mut impl Write) -> Result<usize, ExportError> {
    let mut outcome = Ok(0);
    read_file(path, SEGMENT_KIND, |entry| {
        let Ok(lines) = &mut outcome else { return };
        let record = LogRecord::decode(&entry.bytes).map_err(|why| ExportError::Record {
            path: entry.path.display().to_string(),
            offset: entry.offset,
            why,
        });
        match record.and_then(|record| Ok(lines_of(&record, out)?)) {
            Ok(written) => *lines += written,
            Err(error) => outcome = Err(error),
        }
    })?;
    outcome
}

fn lines_of(record: &LogRecord, out: &mut impl Write) -> io::Result<usize> {
    let Content::Batch(batch) = &record.content else { return Ok(0) };
    let head = format!("{},{},{},{}", record.at.nanos(), batch.taken_at.nanos(), batch.host, batch.seq);
    writeln!(out, "{head},{}", host_fields(&batch.sample))?;
    for vm in &batch.vms {
        writeln!(out, "{head},{}", vm_fields(vm))?;
    }
    Ok(1 + batch.vms.len())
}

/// The fields of one line, in the order of [`HEADER`], and the names of those that are estimates.
#[derive(Default)]
struct Line {
    text: String,
    estimated: Vec<&'static str>,
}

impl Line {
    fn text(mut self, value: &str) -> Self {
        self.text.push_str(value);
        self.text.push(',');
        self
    }

    fn reading<T: Copy>(mut self, name: &'static str, reading: Reading<T>, number: impl Fn(T) -> f64) -> Self {
        if matches!(reading, Reading::Estimated(_)) {
            self.estimated.push(name);
        }
        let value = reading.value().map(|value| number(value).to_string()).unwrap_or_default();
        self.text(&value)
    }

    fn end(self) -> String {
        format!("{}{}", self.text, self.estimated.join(" "))
    }
}

fn host_fields(sample: &HostSample) -> String {
    Line::default()
        .text("")
        .reading("cpu_used", sample.cpu_used, Cores::get)
        .text(&sample.cpu_capacity.get().to_string())
        .text("")
        .reading("memory_used", sample.memory_used, Bytes::as_f64)
        .text(&sample.memory_capacity.get().to_string())
        .reading("power", sample.power, |power| power.get())
        // Every column from storage to the last is a vm's.
        .text(&",".repeat(OF_VMS - 1))
        .end()
}

fn vm_fields(sample: &VmSample) -> String {
    Line::default()
        .text(&sample.vm.to_string())
        .reading("cpu_used", sample.cpu_used, Cores::get)
        .text("")
        .reading("steal", sample.steal, |steal| steal.get())
        .reading("memory_used", sample.memory_used, Bytes::as_f64)
        .text(",")
        .reading("disk_read", sample.disk_read, |rate| rate.get())
        .reading("disk_write", sample.disk_write, |rate| rate.get())
        .reading("net_rx", sample.net_rx, |rate| rate.get())
        .reading("net_tx", sample.net_tx, |rate| rate.get())
        .reading("dirty_rate", sample.dirty_rate, |rate| rate.get())
        .reading("working_set", sample.working_set, Bytes::as_f64)
        .text(sample.state.name())
        .reading("memory_balloon", sample.memory_balloon, Bytes::as_f64)
        .reading("memory_resident", sample.memory_resident, Bytes::as_f64)
        .reading("disk_read_ops", sample.disk_read_ops, |rate| rate.get())
        .reading("disk_write_ops", sample.disk_write_ops, |rate| rate.get())
        .reading("disk_read_latency", sample.disk_read_latency, |time| time.get())
        .reading("disk_write_latency", sample.disk_write_latency, |time| time.get())
        .reading("net_rx_packets", sample.net_rx_packets, |rate| rate.get())
        .reading("net_tx_packets", sample.net_tx_packets, |rate| rate.get())
        .reading("net_rx_lost", sample.net_rx_lost, |rate| rate.get())
        .reading("net_tx_lost", sample.net_tx_lost, |rate| rate.get())
        .end()
}

#[cfg(test)]
mod tests {
    use ballast_core::{
        id::{BootId, HostId, Seq, VmId},
        sample::Batch,
        units::{Timestamp, Watts},
    };
    use ballast_daemon::segments::{Options, SegmentWriter};

    use super::*;

    fn batch() -> Batch {
        Batch {
            host: HostId::new("kvm1").unwrap(),
            boot: BootId::default(),
            seq: Seq(7),
            taken_at: Timestamp(2),
            sample: HostSample {
                cpu_capacity: Cores(8.0),
                cpu_used: Reading::Measured(Cores(1.5)),
                power: Reading::Estimated(Watts(99.0)),
                ..HostSample::default()
            },
            vms: vec![VmSample { vm: VmId::default(), cpu_used: Reading::Measured(Cores(0.5)), ..VmSample::default() }],
        }
    }

    fn lines() -> Vec<String> {
        let record = LogRecord { at: Timestamp(3), content: Content::Batch(Box::new(batch())) };
        let mut out = Vec::new();
        assert_eq!(lines_of(&record, &mut out).unwrap(), 2);
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn every_line_has_a_field_per_column() {
        let columns = HEADER.split(',').count();
        for line in lines() {
            assert_eq!(line.split(',').count(), columns, "{line}");
        }
    }

    #[test]
    fn a_missing_value_is_empty_and_an_estimate_is_named() {
        let host = &lines()[0];
        assert_eq!(host, &format!("3,2,kvm1,7,,1.5,8,,,0,99{}power", ",".repeat(1 + OF_VMS)));
    }

    #[test]
    fn a_segment_that_is_none_is_refused_by_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.seg");
        std::fs::write(&path, "not a segment ".repeat(20)).unwrap();
        let error = csv(&path, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("notes.seg"), "{error}");
    }

    #[test]
    fn a_record_that_cannot_be_understood_is_named_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let (kind, segment_bytes_max) = (SEGMENT_KIND, 1 << 20);
        let options = Options { kind, compress: true, sync: false, segment_bytes_max, total_bytes_max: None };
        let (mut writer, _) = SegmentWriter::open(dir.path(), options).unwrap();
        writer.push(b"rubbish, not a record").unwrap();
        writer.commit(Timestamp(1)).unwrap();
        drop(writer);
        let file = ballast_daemon::segments::segment_files(dir.path()).unwrap().remove(0);
        let error = csv(&file, &mut Vec::new()).unwrap_err();
        assert!(matches!(&error, ExportError::Record { .. }), "{error}");
    }
}
