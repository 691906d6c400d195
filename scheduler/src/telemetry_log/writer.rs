//! Writing the telemetry log: groups of records, segments that can be read alone, bounds by size and age.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use ballast_core::{id::HostId, inventory::Inventory, units::Timestamp};
use ballast_daemon::segments::{Disk, Options, Recovery, SegmentError, SegmentWriter};

use super::{Content, LogRecord, SEGMENT_KIND};
use crate::{engine::KeepSettings, journal::error_chain};

/// The writing end of the log.
#[derive(Debug)]
pub(crate) struct TelemetryLog {
    writer: SegmentWriter,
    standing: BTreeMap<HostId, Arc<Inventory>>,
    begun: Option<Timestamp>,
    segment_bytes: u64,
    segment_age: Duration,
    kept_age: Duration,
}

impl TelemetryLog {
    /// Opens the log below `dir`; a torn tail is cut, and told. A damaged newest segment is set aside, and told: what is
    /// observed from now on is worth more than a stop.
    pub(crate) fn open(disk: Disk, dir: &Path, keep: &KeepSettings) -> Result<Self, SegmentError> {
        let options = Options {
            kind: SEGMENT_KIND,
            compress: true,
            // An agent whose batch was acknowledged and then lost with the power loses one batch of telemetry, no more;
            // syncing each group would cost more than that is worth.
            sync: false,
            // Segments are begun here and not by the writer, for each begins with who is connected.
            segment_bytes_max: u64::MAX,
            total_bytes_max: Some(keep.telemetry_total.get()),
        };
        let (writer, recovery) = open_past_damage(&disk, dir, options)?;
        if let Some((path, bytes)) = recovery.torn {
            tracing::warn!(file = %path.display(), bytes, "cut the telemetry log's torn last record");
        }
        Ok(Self {
            writer,
            standing: BTreeMap::new(),
            begun: None,
            segment_bytes: keep.telemetry_segment.get(),
            segment_age: keep.telemetry_segment_age,
            kept_age: keep.telemetry_age,
        })
    }

    /// A host is connected with this inventory.
    pub(crate) fn stands(&mut self, inventory: Arc<Inventory>) {
        self.standing.insert(inventory.host.clone(), inventory);
    }

    /// A host is not connected any more.
    pub(crate) fn left(&mut self, host: &HostId) {
        self.standing.remove(host);
    }

    /// Writes a group of records; returns their bytes before compression. Nothing of a group that failed is kept.
    pub(crate) fn write(&mut self, records: &[Vec<u8>], now: Timestamp) -> Result<u64, SegmentError> {
        let bytes: usize = records.iter().map(Vec::len).sum();
        let result = self.write_group(records, now);
        if result.is_err() {
            self.writer.discard_pending();
        }
        result.map(|()| bytes as u64)
    }

    fn write_group(&mut self, records: &[Vec<u8>], now: Timestamp) -> Result<(), SegmentError> {
        self.begin_segment_where_due(now)?;
        for record in records {
            self.writer.push(record)?;
        }
        self.writer.commit(now)
    }

    /// A segment begun by an earlier life is closed too: its inventories may be over.
    fn begin_segment_where_due(&mut self, now: Timestamp) -> Result<(), SegmentError> {
        let is_old = self.begun.is_none_or(|begun| now.since(begun) >= self.segment_age);
        if !is_old && self.writer.segment_bytes() < self.segment_bytes {
            return Ok(());
        }
        self.writer.roll()?;
        for inventory in self.standing.values() {
            let content = Content::Standing(Box::new((**inventory).clone()));
            self.writer.push(&LogRecord { at: now, content }.encode())?;
        }
        self.writer.commit(now)?;
        self.begun = Some(now);
        self.writer.drop_older_than(now.before(self.kept_age)).map(|_| ())
    }
}

/// Sets damaged segments aside, the newest first, until one can be gone on from.
fn open_past_damage(disk: &Disk, dir: &Path, options: Options) -> Result<(SegmentWriter, Recovery), SegmentError> {
    loop {
        match SegmentWriter::open_on(disk.clone(), dir, options) {
            Err(error @ (SegmentError::Corrupt { .. } | SegmentError::Header { .. })) => set_aside(error)?,
            opened => return opened,
        }
    }
}

fn set_aside(damage: SegmentError) -> Result<(), SegmentError> {
    let (SegmentError::Corrupt { path, .. } | SegmentError::Header { path, .. }) = &damage else { return Err(damage) };
    let aside = path.with_extension("damaged");
    std::fs::rename(path, &aside).map_err(|source| SegmentError::Io {
        action: "set aside",
        path: path.clone(),
        source,
    })?;
    tracing::warn!(
        aside = %aside.display(),
        why = error_chain(&damage),
        "a segment of the telemetry log is damaged; it was set aside and is in no replay"
    );
    Ok(())
}
