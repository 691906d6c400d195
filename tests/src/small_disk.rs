//! A disk with hardly any room, so that it is soon full: a file system in memory, mounted where the test says.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::skip::skipped;

/// A file system of its own, gone with the value.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

impl SmallDisk {
    /// One of 256 KiB in a folder of its own; `None`, and a note, where this process may not make one.
    pub fn new(test: &str) -> Option<Self> {
        let folder = tempfile::tempdir().map_err(anyhow::Error::from);
        let mounted = folder.and_then(|folder| mount(folder.path(), 256).map(|()| folder));
        match mounted {
            Ok(folder) => Some(Self { path: folder.path().to_owned(), _folder: Some(folder) }),
            Err(error) => {
                skipped(test, &format!("{error:#}"));
                None
            }
        }
    }

    /// One of so many KiB over the folder `path`, whose content is out of sight meanwhile.
    ///
    /// # Errors
    /// Where this process may not mount.
    pub fn over(path: &Path, kib: u32) -> Result<Self> {
        mount(path, kib)?;
        Ok(Self { path: path.to_owned(), _folder: None })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes all the room that is left.
    ///
    /// # Errors
    /// Where it cannot even begin.
    pub fn fill(&self) -> Result<()> {
        let mut file = fs::File::create(self.filler()).context("fill the disk")?;
        while file.write_all(&[0; 1024]).is_ok() {}
        Ok(())
    }

    /// Gives it back.
    ///
    /// # Errors
    /// Where it was not taken.
    pub fn free(&self) -> Result<()> {
        fs::remove_file(self.filler()).context("free the disk")
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a daemon of a failed test may still hold a file.
        drop(Command::new("umount").arg("-l").arg(&self.path).status());
    }
}

fn mount(path: &Path, kib: u32) -> Result<()> {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "ballast-test"]).arg(path);
    let output = mount.output().context("start mount")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
