//! The store on sled 0.34, used so that its known weaknesses cost warm-up at most.
//!
//! sled panics on damaged files and its flush is no power-loss barrier, so every call is fenced against panics, a
//! directory that cannot be opened is set aside and begun anew, and nothing but what can be rebuilt is in it. The only
//! place that says `sled::`.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use ballast_core::{id::HostId, inventory::Inventory, oversight::SavedState, sample::Batch, units::Timestamp};
use ballast_proto::v1;
use prost::Message;

use super::{
    KeptModel, Store, StoreError,
    note::Note,
    packed::{open, pack_state, seal, split_key, unpack_state, window_key},
};

/// Memory sled may use for its pages.
const CACHE_BYTES: u64 = 64 << 20;

/// How often a lock that is held is tried again: some tenths of a second in all.
const LOCK_TRIES: u32 = 10_000;

/// A key every store of ours holds.
const MARK: &[u8] = b"ballast";

/// The key of how a model has done: no vm's, for it is shorter.
const MEMORY: &[u8] = b"memory";

/// The key of what was measured of the fleet's risk.
const RISK: &[u8] = b"risk";

/// The key of how often the store was flushed.
const FLUSHES: &[u8] = b"flushes";

/// Directories set aside that are kept for a look; older ones go.
const QUARANTINED_MAX: usize = 2;

/// The store on sled.
pub(crate) struct SledStore {
    dir: PathBuf,
    held: Note,
    db: sled::Db,
    windows: sled::Tree,
    inventories: sled::Tree,
    models: sled::Tree,
}

/// What opening came to.
pub(crate) struct Opened {
    /// The store, empty where it had to be begun anew.
    pub(crate) store: SledStore,
    /// Where the damaged one was put, and what was wrong with it.
    pub(crate) quarantined: Option<(PathBuf, String)>,
    /// What is missing of what it held when it was last flushed, in words.
    pub(crate) missing: Option<String>,
}

impl SledStore {
    /// Opens the store in `dir`. A damaged one is renamed to `<dir>.damaged-<now>` and begun anew; one that another
    /// process holds, or a directory that cannot be written, is left as it is.
    pub(crate) fn open(dir: &Path, now: Timestamp) -> Result<Opened, StoreError> {
        let noted = Note::read(dir);
        let why = match fenced(|| Self::open_whole(dir)) {
            Ok(store) => {
                let missing = noted.and_then(|noted| noted.missing(store.held));
                return Ok(Opened { store, quarantined: None, missing });
            }
            Err(Trouble::Elsewhere(why)) => return Err(StoreError(why)),
            Err(Trouble::Damage(why)) => why,
        };
        let aside = quarantine(dir, now)?;
        match fenced(|| Self::open_whole(dir)) {
            Ok(store) => Ok(Opened { store, quarantined: Some((aside, why)), missing: None }),
            Err(Trouble::Elsewhere(why) | Trouble::Damage(why)) => Err(StoreError(why)),
        }
    }

    fn open_whole(dir: &Path) -> sled::Result<Self> {
        let had_data = dir.join("db").metadata().is_ok_and(|db| db.len() > 0);
        let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        let db = open_unlocked(&config)?;
        mark(&db, had_data)?;
        let (windows, inventories) = (db.open_tree("windows")?, db.open_tree("inventories")?);
        let models = db.open_tree("models")?;
        // A first read now finds damage while it can still be set aside.
        let mut counts = [0, 0, 0];
        for (tree, count) in [&windows, &inventories, &models].into_iter().zip(&mut counts) {
            for item in tree.iter() {
                drop(item?);
                *count += 1;
            }
        }
        let held = Note { flushes: flushes(&db)?, entries: counts[0] + counts[1] };
        Ok(Self { dir: dir.into(), held, db, windows, inventories, models })
    }

    /// Takes an entry of which there may have been one before.
    fn counted(&mut self, put: sled::Result<Option<sled::IVec>>) -> sled::Result<()> {
        self.held.entries += u64::from(put?.is_none());
        Ok(())
    }
}

/// Opens, and tries a held lock again: sled lets go of its file in a thread of its own, some time after a store of this
/// very process was closed, and tells nobody when it has. Other threads go first meanwhile.
fn open_unlocked(config: &sled::Config) -> sled::Result<sled::Db> {
    for _ in 0..LOCK_TRIES {
        match config.open() {
            Err(sled::Error::Io(error)) if is_held(&error) => std::thread::yield_now(),
            done => return done,
        }
    }
    config.open()
}

/// sled begins anew, without a word, on some damaged files: a mark that is missing from a file with data tells.
fn mark(db: &sled::Db, had_data: bool) -> sled::Result<()> {
    if db.get(MARK)?.is_some() {
        return Ok(());
    }
    if had_data {
        return Err(sled::Error::ReportableBug("its data is gone: sled has begun anew on a damaged file".to_owned()));
    }
    db.insert(MARK, MARK)?;
    db.flush().map(drop)
}

/// How often a store was flushed.
fn flushes(db: &sled::Db) -> sled::Result<u64> {
    let kept = db.get(FLUSHES)?.and_then(|bytes| bytes.as_ref().try_into().ok());
    Ok(kept.map_or(0, u64::from_be_bytes))
}

impl Store for SledStore {
    fn put_window(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let key = window_key(&batch.host, batch.taken_at);
        let value = seal(v1::Batch::from(batch.clone()).encode_to_vec());
        guarded(|| self.counted(self.windows.insert(key, value)))
    }

    fn put_inventory(&mut self, inventory: &Inventory) -> Result<(), StoreError> {
        let value = seal(v1::Inventory::from(inventory.clone()).encode_to_vec());
        guarded(|| self.counted(self.inventories.insert(inventory.host.as_str(), value)))
    }

    fn drop_before(&mut self, host: &HostId, moment: Timestamp) -> Result<(), StoreError> {
        let range = window_key(host, Timestamp::EPOCH)..window_key(host, moment);
        guarded(|| {
            for key in self.windows.range(range).keys() {
                let was_there = self.windows.remove(key?)?.is_some();
                self.held.entries = self.held.entries.saturating_sub(u64::from(was_there));
            }
            Ok(())
        })
    }

    fn windows(&self, moment: Timestamp, each: &mut dyn FnMut(Batch)) -> Result<u64, StoreError> {
        let mut unreadable = 0;
        guarded(|| {
            for item in self.windows.iter() {
                let (key, value) = item?;
                match split_key(&key) {
                    Some((_, at)) if at < moment => {}
                    Some(_) => match unpack(&value) {
                        Some(batch) => each(batch),
                        None => unreadable += 1,
                    },
                    None => unreadable += 1,
                }
            }
            Ok(())
        })?;
        Ok(unreadable)
    }

    fn inventories(&self) -> Result<Vec<Inventory>, StoreError> {
        let mut inventories = Vec::new();
        guarded(|| {
            for value in self.inventories.iter().values() {
                let value = value?;
                let wire = open(&value).and_then(|content| v1::Inventory::decode(content).ok());
                inventories.extend(wire.and_then(|wire| Inventory::try_from(wire).ok()));
            }
            Ok(())
        })?;
        Ok(inventories)
    }

    fn put_model(&mut self, states: &[SavedState], memory: Option<&[u8]>) -> Result<(), StoreError> {
        let kept: std::collections::BTreeMap<String, Vec<u8>> = states.iter().map(pack_state).collect();
        guarded(|| {
            for key in self.models.iter().keys() {
                let key = key?;
                if std::str::from_utf8(&key).is_ok_and(|key| !kept.contains_key(key)) {
                    self.models.remove(key)?;
                }
            }
            for (key, value) in kept {
                self.models.insert(key, value)?;
            }
            if let Some(memory) = memory {
                self.models.insert(MEMORY, seal(memory.to_vec()))?;
            }
            Ok(())
        })
    }

    fn model(&self) -> Result<KeptModel, StoreError> {
        let mut kept = KeptModel::default();
        guarded(|| {
            for item in self.models.iter() {
                let (key, value) = item?;
                if *key == *MEMORY {
                    kept.memory = open(&value).map(<[u8]>::to_vec);
                    kept.unreadable += u64::from(kept.memory.is_none());
                } else {
                    match unpack_state(&key, &value) {
                        Some(state) => kept.states.push(state),
                        None => kept.unreadable += 1,
                    }
                }
            }
            Ok(())
        })?;
        Ok(kept)
    }

    fn put_risk(&mut self, risk: &[u8]) -> Result<(), StoreError> {
        guarded(|| self.db.insert(RISK, seal(risk.to_vec())).map(drop))
    }

    fn risk(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let mut risk = None;
        guarded(|| {
            risk = self.db.get(RISK)?.and_then(|value| open(&value).map(<[u8]>::to_vec));
            Ok(())
        })?;
        Ok(risk)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.held.flushes += 1;
        guarded(|| {
            self.db.insert(FLUSHES, &self.held.flushes.to_be_bytes())?;
            self.db.flush().map(drop)
        })?;
        self.held.write(&self.dir);
        Ok(())
    }
}

fn unpack(value: &[u8]) -> Option<Batch> {
    let wire = v1::Batch::decode(open(value)?).ok()?;
    Batch::try_from(wire).ok()
}

/// Why the store could not be opened.
enum Trouble {
    /// Its files are damaged.
    Damage(String),
    /// Something else: held by another process, no right, no room. Setting it aside would help nothing.
    Elsewhere(String),
}

/// Opens with panics caught: sled panics on many a damaged file.
fn fenced<T>(open: impl FnOnce() -> sled::Result<T>) -> Result<T, Trouble> {
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(sled::Error::Io(error))) if !is_damage(&error) => Err(Trouble::Elsewhere(error.to_string())),
        Ok(Err(error)) => Err(Trouble::Damage(error.to_string())),
        Err(panic) => Err(Trouble::Damage(words(&*panic))),
    }
}

/// sled reports damage as I/O errors of these kinds too.
fn is_damage(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    !is_held(error) && matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

/// A held lock comes as an error of kind Other with this text.
fn is_held(error: &std::io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// One call with panics caught.
fn guarded(call: impl FnOnce() -> sled::Result<()>) -> Result<(), StoreError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| StoreError(error.to_string())),
        Err(panic) => Err(StoreError(words(&*panic))),
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("sled panicked: {}", text.unwrap_or_else(|| "without a word".to_owned()))
}

/// Renames the directory; deletes the oldest ones set aside before.
fn quarantine(dir: &Path, now: Timestamp) -> Result<PathBuf, StoreError> {
    let problem = |error: std::io::Error| StoreError(format!("{} cannot be set aside: {error}", dir.display()));
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let prefix = format!("{name}.damaged-");
    let aside = dir.with_file_name(format!("{prefix}{:020}", now.nanos()));
    std::fs::rename(dir, &aside).map_err(problem)?;
    let parent = dir.parent().unwrap_or(Path::new("."));
    let mut before: Vec<PathBuf> = std::fs::read_dir(parent)
        .map_err(problem)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
        .collect();
    before.sort();
    let excess = before.len().saturating_sub(QUARANTINED_MAX);
    for old in before.into_iter().take(excess) {
        std::fs::remove_dir_all(&old).map_err(problem)?;
    }
    Ok(aside)
}
