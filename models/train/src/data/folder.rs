//! Histories from a folder: every recording in a format that is known, told by its first line.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use ballast_core::history::{History, Shape};
use ballast_sim::trace::{history, text_of};

/// Folders below the one named that are looked into, and no deeper.
const DEPTH_MAX: usize = 2;

/// Histories of one kind of recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// What kind: `long`, `planetlab` or `google`.
    pub kind: &'static str,
    /// The files, in order of name.
    pub files: Vec<PathBuf>,
    /// Hash of the files' bytes.
    pub hash: String,
    /// The histories.
    pub histories: Vec<History>,
}

/// Reads several files or folders; a vm may be in one of them only.
///
/// # Errors
/// As for [`read`], and where a vm is recorded twice.
pub fn read_all(paths: &[PathBuf]) -> anyhow::Result<Vec<Recorded>> {
    let mut all: Vec<Recorded> = Vec::new();
    for recorded in paths.iter().map(|path| read(path)).collect::<anyhow::Result<Vec<_>>>()?.into_iter().flatten() {
        match all.iter_mut().find(|other| other.kind == recorded.kind) {
            None => all.push(recorded),
            Some(other) => {
                other.hash = blake3::hash(format!("{}{}", other.hash, recorded.hash).as_bytes()).to_hex().to_string();
                other.files.extend(recorded.files);
                other.histories.extend(recorded.histories);
            }
        }
    }
    for recorded in &all {
        let mut names: Vec<(&str, u32)> = recorded.histories.iter().map(|one| (one.name.as_str(), one.first)).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            anyhow::bail!("vm {:?} is recorded twice: in {:?}", pair[0].0, recorded.files);
        }
    }
    Ok(all)
}

/// Reads every recording in `folder` and two levels below.
///
/// # Errors
/// Where a file cannot be read, a recording is malformed, or there is none.
pub fn read(folder: &Path) -> anyhow::Result<Vec<Recorded>> {
    let mut files = Vec::new();
    list(folder, DEPTH_MAX, &mut files)?;
    files.sort();
    let mut kinds: BTreeMap<&'static str, (Recorded, blake3::Hasher)> = BTreeMap::new();
    for path in files {
        let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let Some((kind, histories)) = recording(&path, &bytes)? else { continue };
        let empty = || Recorded { kind, files: Vec::new(), hash: String::new(), histories: Vec::new() };
        let (recorded, hash) = kinds.entry(kind).or_insert_with(|| (empty(), blake3::Hasher::new()));
        hash.update(&bytes);
        recorded.files.push(path);
        recorded.histories.extend(histories);
    }
    anyhow::ensure!(!kinds.is_empty(), "{}: no recording in a known format is there", folder.display());
    let done = |(mut recorded, hash): (Recorded, blake3::Hasher)| {
        recorded.hash = hash.finalize().to_hex().to_string();
        recorded
    };
    Ok(kinds.into_values().map(done).collect())
}

fn list(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if folder.is_file() {
        files.push(folder.into());
        return Ok(());
    }
    for entry in fs::read_dir(folder).with_context(|| format!("read the folder {}", folder.display()))? {
        let path = entry.with_context(|| format!("read the folder {}", folder.display()))?.path();
        if path.is_file() {
            files.push(path);
        } else if depth > 0 && path.is_dir() {
            list(&path, depth - 1, files)?;
        }
    }
    Ok(())
}

/// The histories of a file; `None` for one that is no recording of demand.
fn recording(path: &Path, bytes: &[u8]) -> anyhow::Result<Option<(&'static str, Vec<History>)>> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if name.ends_with(".parquet") {
        return Ok(Some(("long", history::parquet(&name, bytes.to_vec(), &shapes_beside(path)?)?)));
    }
    if !name.ends_with(".csv") && !name.ends_with(".csv.gz") {
        return Ok(None);
    }
    let text = text_of(&name, bytes)?;
    let header = text.lines().next().unwrap_or_default();
    Ok(if header.starts_with("vm,seen_in_dev,t0") {
        let day = name.split('.').next().unwrap_or_default();
        Some(("planetlab", history::planetlab(&name, day, &text)?))
    } else if header.starts_with("vm,feature,t0") {
        Some(("google", history::google(&name, &text)?))
    } else if header.starts_with("vm,step,") {
        Some(("long", history::csv(&name, &text, &shapes_beside(path)?)?))
    } else {
        None
    })
}

/// Sizes of the vms of a recording: of the tables beside it whose name ends with `vms.csv`, all of them.
fn shapes_beside(path: &Path) -> anyhow::Result<BTreeMap<String, Shape>> {
    let mut shapes = BTreeMap::new();
    let Some(folder) = path.parent() else { return Ok(shapes) };
    let mut tables = Vec::new();
    list(folder, 0, &mut tables)?;
    tables.retain(|table| table.to_string_lossy().ends_with("vms.csv"));
    tables.sort();
    for table in tables {
        let text = fs::read_to_string(&table).with_context(|| format!("read {}", table.display()))?;
        shapes.extend(history::shapes(&table.display().to_string(), &text)?);
    }
    Ok(shapes)
}
