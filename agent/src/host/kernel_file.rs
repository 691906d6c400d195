//! Small files of `/proc` that are read at every beat: opened once, and read with one call each.

use std::{fs::File, os::unix::fs::FileExt, path::PathBuf};

/// More than any of them holds before what is looked for.
const BYTES_MAX: usize = 4096;

/// One of them.
#[derive(Debug)]
pub(super) struct KernelFile {
    path: PathBuf,
    file: Option<File>,
}

impl KernelFile {
    /// The file at `path`; opened when it is first read.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// What it says now; empty where the kernel does not offer it.
    pub(super) fn text(&mut self) -> String {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        let mut bytes = [0; BYTES_MAX];
        match self.file.as_ref().map(|file| file.read_at(&mut bytes, 0)) {
            Some(Ok(length)) => String::from_utf8_lossy(&bytes[..length]).into_owned(),
            Some(Err(_)) => {
                self.file = None;
                String::new()
            }
            None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_reading_says_what_is_there_now() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("load");
        let mut file = KernelFile::new(path.clone());
        assert_eq!(file.text(), "", "a file that is not there says nothing");
        fs::write(&path, "1").unwrap();
        assert_eq!(file.text(), "1");
        fs::write(&path, "22").unwrap();
        assert_eq!(file.text(), "22");
    }

    #[test]
    fn the_kernel_tells_anew_at_each_reading_of_one_opened_file() {
        let mut stat = KernelFile::new("/proc/self/stat".into());
        let own = format!("{} (", std::process::id());
        assert!((0..3).all(|_| stat.text().starts_with(&own)));
    }
}
