//! Certificates and keys on disk: keys for their owner alone, and never one file in place of another.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};

use super::issue::Made;

/// What was written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    /// The last day, as in 2027-11-27.
    pub(super) valid_until: String,
}

/// Writes `stem.pem` and `stem.key` into `folder`.
pub(super) fn write(folder: &Path, stem: &str, made: &Made) -> anyhow::Result<Written> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let [cert, key] = ["pem", "key"].map(|kind| folder.join(format!("{stem}.{kind}")));
    for path in [&cert, &key] {
        let is_there = path.symlink_metadata().is_ok();
        ensure!(
            !is_there,
            "{} is there already, and nothing is written over: move it, or name another --out",
            path.display()
        );
    }
    write_new(&key, &made.key, 0o600)?;
    write_new(&cert, &made.cert, 0o644)?;
    Ok(Written { cert, key, valid_until: made.valid_until.clone() })
}

fn write_new(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.with_context(|| format!("write {}", path.display()))
}
