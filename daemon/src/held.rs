//! One process per data directory: the programs hold theirs from before the first file is opened until they end.
//!
//! Two of them on one directory would write one journal, each over the other's records. The lock is the kernel's, on a file of
//! the directory, so that it ends with the process however that ends. Only the programs take it: fleets within one process (the
//! demo, tests, the simulation) give each daemon a directory of its own.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use thiserror::Error;

/// The file whose lock says that the directory is in use. It stays when the process has ended: removing it while somebody waits
/// for it would let two in.
pub const FILE: &str = "lock";

/// A data directory that belongs to this process for as long as this lives.
#[derive(Debug)]
#[must_use = "the directory is held only while this lives"]
pub struct HeldDir {
    _file: File,
}

/// Why a data directory is not this process's.
#[derive(Debug, Error)]
pub enum HoldError {
    /// Another process holds it.
    #[error(
        "{} is in use by another process{}: stop that one first, or set data_dir to a directory of this one's own",
        dir.display(), by.map_or_else(String::new, |id| format!(" ({id}, by its own word)"))
    )]
    InUse {
        /// Which directory.
        dir: PathBuf,
        /// The id that the other one noted, where it could.
        by: Option<u32>,
    },
    /// It cannot be told whether anybody else does.
    #[error("lock {}: data_dir must be a directory that can be written, on a file system with locks", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl HeldDir {
    /// Takes `dir` for this process, making it where it is missing.
    ///
    /// # Errors
    /// [`HoldError::InUse`] while another process holds it, [`HoldError::Io`] where it cannot be held at all.
    pub fn take(dir: &Path) -> Result<Self, HoldError> {
        let path = dir.join(FILE);
        let io = |source| HoldError::Io { path: path.clone(), source };
        fs::create_dir_all(dir).map_err(io)?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(HoldError::InUse { dir: dir.into(), by: noted(&mut file) }),
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        // For people alone; a disk without room for five digits is told of elsewhere.
        let _noted = note(&mut file).is_ok();
        Ok(Self { _file: file })
    }
}

fn note(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn noted(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_directory_is_refused_with_its_name_and_its_holder_until_it_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let held = HeldDir::take(dir.path()).unwrap();
        let said = HeldDir::take(dir.path()).unwrap_err().to_string();
        assert!(said.contains(&dir.path().display().to_string()), "{said}");
        assert!(said.contains(&std::process::id().to_string()) && said.contains("data_dir"), "{said}");
        drop(held);
        assert!(HeldDir::take(dir.path()).is_ok());
    }

    #[test]
    fn a_directory_is_made_where_it_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(HeldDir::take(&dir.path().join("a/b")).is_ok());
    }

    #[test]
    fn where_nothing_can_be_locked_the_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let blocked = dir.path().join("file");
        fs::write(&blocked, "").unwrap();
        let error = HeldDir::take(&blocked).unwrap_err();
        assert!(matches!(&error, HoldError::Io { path, .. } if path.starts_with(&blocked)), "{error}");
    }
}
