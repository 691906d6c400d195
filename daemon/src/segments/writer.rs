//! Writing segments: blocks, syncs, new files, and room for them.

use std::{
    fs::{self, File, OpenOptions},
    io::{Seek, SeekFrom},
    path::{Path, PathBuf},
};

use ballast_core::{
    journal::{self, Chain, HEADER_BYTES, Header, Tail},
    units::Timestamp,
};

use super::{
    Disk, Options, SegmentError,
    block::Block,
    head::{self, Head},
    reader::segment_files,
};

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// File and number of bytes cut because a write was interrupted.
    pub torn: Option<(PathBuf, usize)>,
}

/// The one writer of a directory of segments.
#[derive(Debug)]
pub struct SegmentWriter {
    disk: Disk,
    dir: PathBuf,
    options: Options,
    block: Block,
    current: Option<Current>,
    head: Option<Head>,
    next: u64,
    chain: Chain,
    durable: u64,
}

/// The segment being written.
#[derive(Debug)]
struct Current {
    path: PathBuf,
    file: File,
    end: u64,
}

impl SegmentWriter {
    /// Opens a directory, making it where it is missing, and cuts a torn tail.
    ///
    /// # Errors
    /// [`SegmentError`] when the directory cannot be made or written, or its last segment is damaged otherwise.
    pub fn open(dir: &Path, options: Options) -> Result<(Self, Recovery), SegmentError> {
        Self::open_on(Disk::default(), dir, options)
    }

    /// The same on a disk that a simulation may have made.
    ///
    /// # Errors
    /// As [`SegmentWriter::open`].
    pub fn open_on(disk: Disk, dir: &Path, options: Options) -> Result<(Self, Recovery), SegmentError> {
        fs::create_dir_all(dir).map_err(SegmentError::io("create", dir))?;
        let mut writer = Self {
            disk,
            dir: dir.into(),
            options,
            block: Block::default(),
            current: None,
            head: None,
            next: 1,
            chain: [0; 32],
            durable: 0,
        };
        let recovery = writer.resume()?;
        Ok((writer, recovery))
    }

    /// Goes on where the last segment ends. A segment whose header was never finished held nothing and is removed. Nothing is
    /// changed where records are missing.
    fn resume(&mut self) -> Result<Recovery, SegmentError> {
        let mut recovery = Recovery::default();
        let mut unfinished = Vec::new();
        for path in segment_files(&self.dir)?.into_iter().rev() {
            let bytes = fs::read(&path).map_err(SegmentError::io("read", &path))?;
            if bytes.len() >= HEADER_BYTES {
                let (end, torn_bytes) = self.take_up(&path, &bytes)?;
                recovery.torn = (torn_bytes > 0).then(|| (path.clone(), torn_bytes));
                self.current = Some(self.reopen(path, end)?);
                break;
            }
            unfinished.push((path, bytes.len()));
        }
        if self.current.is_none() {
            // Which file it was that is gone cannot be told: the first there would be.
            let gone = || (self.segment_path(), 0);
            let (path, bytes) = unfinished.last().cloned().unwrap_or_else(gone);
            self.check_end(&path, bytes)?;
        }
        for (path, bytes) in unfinished {
            fs::remove_file(&path).map_err(SegmentError::io("remove", &path))?;
            recovery.torn.get_or_insert((path, bytes));
        }
        Ok(recovery)
    }

    /// Takes up numbering and chain of the last segment; returns where its good part ends and how many torn bytes follow.
    fn take_up(&mut self, path: &Path, bytes: &[u8]) -> Result<(u64, usize), SegmentError> {
        let scan = journal::scan(bytes, self.options.kind)
            .map_err(|source| SegmentError::Header { path: path.into(), source })?;
        let torn_bytes = match scan.tail {
            Tail::Corrupt { offset, reason } => {
                return Err(SegmentError::Corrupt { path: path.into(), offset, reason });
            }
            Tail::Torn { bytes, .. } => bytes,
            Tail::Clean => 0,
        };
        (self.next, self.chain, self.durable) = (scan.next, scan.chain, scan.next.saturating_sub(1));
        self.check_end(path, scan.end)?;
        Ok((scan.end as u64, torn_bytes))
    }

    /// Whether all that is known to have been on the disk comes before `offset` of the last segment.
    fn check_end(&self, path: &Path, offset: usize) -> Result<(), SegmentError> {
        let noted = if self.options.sync { head::read(&self.dir) } else { None };
        match noted.filter(|noted| *noted >= self.next) {
            None => Ok(()),
            Some(noted) => {
                let note = head::path(&self.dir);
                let reason = format!(
                    "record {} is missing or damaged, though record {noted} was on the disk, as {} says (where these files are a copy \
                     or a backup that is to be gone on from, remove that file)",
                    self.next,
                    note.display()
                );
                Err(SegmentError::Corrupt { path: path.into(), offset, reason })
            }
        }
    }

    fn reopen(&self, path: PathBuf, end: u64) -> Result<Current, SegmentError> {
        let mut file = OpenOptions::new().write(true).open(&path).map_err(SegmentError::io("open", &path))?;
        file.set_len(end).map_err(SegmentError::io("cut the torn tail of", &path))?;
        file.sync_all().map_err(SegmentError::io("sync", &path))?;
        file.seek(SeekFrom::Start(end)).map_err(SegmentError::io("seek in", &path))?;
        Ok(Current { path, file, end })
    }

    /// Adds an entry to the block; nothing is written before [`SegmentWriter::commit`].
    ///
    /// # Errors
    /// [`SegmentError::TooLong`] when it does not fit into a record with what is waiting already.
    pub fn push(&mut self, entry: &[u8]) -> Result<(), SegmentError> {
        if self.block.push(entry) { Ok(()) } else { Err(SegmentError::TooLong { bytes: entry.len() }) }
    }

    /// Closes the segment being written: the next commit begins a new one.
    ///
    /// # Errors
    /// [`SegmentError::Io`] when it cannot be synced; it is closed all the same.
    pub fn roll(&mut self) -> Result<(), SegmentError> {
        let Some(closed) = self.current.take() else { return Ok(()) };
        closed.file.sync_all().map_err(SegmentError::io("sync", &closed.path))?;
        self.durable = self.next - 1;
        Ok(())
    }

    /// Bytes of the segment being written; zero where none is.
    pub fn segment_bytes(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.end)
    }

    /// Entries waiting for a commit.
    pub fn pending(&self) -> usize {
        self.block.len()
    }

    /// Bytes waiting for a commit.
    pub fn pending_bytes(&self) -> usize {
        self.block.bytes()
    }

    /// Forgets the entries that wait.
    pub fn discard_pending(&mut self) {
        self.block.clear();
    }

    /// Writes what waits as one record; with `sync` set it is on the disk when this returns. `now` dates a new segment.
    ///
    /// # Errors
    /// [`SegmentError::Io`]; the entries still wait then, nothing half-written is left, and it may be tried again.
    pub fn commit(&mut self, now: Timestamp) -> Result<(), SegmentError> {
        if self.block.len() == 0 {
            return Ok(());
        }
        let payload = self.block.payload(self.options.compress).map_err(SegmentError::io("compress for", &self.dir))?;
        let mut record = Vec::with_capacity(payload.len() + journal::RECORD_BYTES);
        let chain = journal::encode_record(self.next, self.durable, &self.chain, &payload, &mut record)
            .ok_or(SegmentError::TooLong { bytes: payload.len() })?;
        self.make_room(record.len() as u64, now)?;
        self.append(&record)?;
        (self.chain, self.next) = (chain, self.next + 1);
        if self.options.sync {
            self.durable = self.next - 1;
            self.note_head();
        }
        self.block.clear();
        Ok(())
    }

    /// Best effort: a note that is older, or none, vouches for less and never for what is not there.
    fn note_head(&mut self) {
        if self.head.is_none() {
            self.head = Head::open(&self.dir).ok();
        }
        if self.head.as_ref().is_some_and(|head| head.note(self.durable).is_err()) {
            self.head = None;
        }
    }

    fn append(&mut self, record: &[u8]) -> Result<(), SegmentError> {
        let sync = self.options.sync;
        let Some(current) = self.current.as_mut() else { return Ok(()) };
        let written = self.disk.write(&mut current.file, &current.path, record);
        let written = written.and_then(|()| if sync { current.file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            let end = current.end;
            // Best effort: if even this fails, the torn tail is cut at the next opening.
            let restored = current.file.set_len(end).and_then(|()| current.file.seek(SeekFrom::Start(end)));
            let path = current.path.clone();
            if restored.is_err() {
                self.current = None;
            }
            return Err(SegmentError::io("write", path)(error));
        }
        current.end += record.len() as u64;
        Ok(())
    }

    /// Begins a new segment where there is none or the record would not fit, and deletes the oldest beyond the bound.
    fn make_room(&mut self, bytes: u64, now: Timestamp) -> Result<(), SegmentError> {
        let limit = self.options.segment_bytes_max;
        let fits = |current: &Current| current.end == HEADER_BYTES as u64 || current.end + bytes <= limit;
        if self.current.as_ref().is_some_and(fits) {
            return Ok(());
        }
        if let Some(full) = self.current.as_ref() {
            full.file.sync_all().map_err(SegmentError::io("sync", &full.path))?;
            self.durable = self.next - 1;
        }
        self.current = Some(self.create(now)?);
        self.prune()
    }

    /// Where the next record begins a segment.
    fn segment_path(&self) -> PathBuf {
        self.dir.join(format!("{:016}.seg", self.next))
    }

    fn create(&self, now: Timestamp) -> Result<Current, SegmentError> {
        let path = self.segment_path();
        let header = Header { kind: self.options.kind, created: now, first: self.next, chain: self.chain };
        let create = || {
            let mut file = File::create(&path)?;
            self.disk.write(&mut file, &path, &header.encode())?;
            file.sync_all()?;
            // The new name itself must survive a power failure.
            File::open(&self.dir)?.sync_all()?;
            Ok(file)
        };
        match create() {
            Ok(file) => Ok(Current { path, file, end: HEADER_BYTES as u64 }),
            Err(error) => {
                // An unfinished header would only be removed at the next opening.
                let _gone_or_not = fs::remove_file(&path).is_ok();
                Err(SegmentError::io("create", path)(error))
            }
        }
    }

    fn prune(&self) -> Result<(), SegmentError> {
        let Some(limit) = self.options.total_bytes_max else { return Ok(()) };
        let mut files = Vec::new();
        for path in segment_files(&self.dir)? {
            let length = fs::metadata(&path).map_err(SegmentError::io("inspect", &path))?.len();
            files.push((path, length));
        }
        let mut total: u64 = files.iter().map(|(_, length)| length).sum();
        for (path, length) in files.iter().take(files.len().saturating_sub(1)) {
            if total <= limit {
                break;
            }
            fs::remove_file(path).map_err(SegmentError::io("remove", path))?;
            total -= length;
        }
        Ok(())
    }

    /// Deletes closed segments that were begun and ended before `moment`; returns how many.
    ///
    /// # Errors
    /// [`SegmentError`] when a file cannot be read or removed.
    pub fn drop_older_than(&mut self, moment: Timestamp) -> Result<usize, SegmentError> {
        let files = segment_files(&self.dir)?;
        let mut dropped = 0;
        // A segment ended when the next one began.
        for pair in files.windows(2) {
            if begun(&pair[1], self.options.kind)? >= moment {
                break;
            }
            fs::remove_file(&pair[0]).map_err(SegmentError::io("remove", &pair[0]))?;
            dropped += 1;
        }
        Ok(dropped)
    }

    /// Deletes every segment: for a spool whose content has all been acknowledged. Numbering and chain go on.
    ///
    /// # Errors
    /// [`SegmentError::Io`] when files cannot be removed.
    pub fn clear(&mut self) -> Result<(), SegmentError> {
        self.current = None;
        for path in segment_files(&self.dir)? {
            fs::remove_file(&path).map_err(SegmentError::io("remove", &path))?;
        }
        Ok(())
    }

    /// Bytes of all segments on the disk.
    ///
    /// # Errors
    /// [`SegmentError::Io`] when they cannot be listed.
    pub fn disk_bytes(&self) -> Result<u64, SegmentError> {
        let mut total = 0;
        for path in segment_files(&self.dir)? {
            total += fs::metadata(&path).map_err(SegmentError::io("inspect", &path))?.len();
        }
        Ok(total)
    }
}

/// When a segment was begun.
fn begun(path: &Path, kind: u16) -> Result<Timestamp, SegmentError> {
    use std::io::Read;

    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    let file = File::open(path).map_err(SegmentError::io("open", path))?;
    file.take(HEADER_BYTES as u64).read_to_end(&mut bytes).map_err(SegmentError::io("read", path))?;
    let header = Header::decode(&bytes, kind).map_err(|source| SegmentError::Header { path: path.into(), source })?;
    Ok(header.created)
}
