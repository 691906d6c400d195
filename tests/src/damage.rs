//! What may become of a file on a disk: every way of damaging one, for the matrices of `it/damage`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The size of a page, which is what disks and kernels lose at a time.
const PAGE: usize = 4096;

/// One way of damaging a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Nothing is left in it.
    Emptied,
    /// Its second half is gone.
    Halved,
    /// Its last byte is gone.
    Shortened,
    /// One bit near its beginning is another.
    FlippedHead,
    /// One bit in its middle is another.
    FlippedMiddle,
    /// One bit at its end is another.
    FlippedTail,
    /// The page in its middle is zero.
    ZeroedPage,
    /// It is as long as before and holds anything.
    Garbage,
    /// It is not there.
    Deleted,
    /// A directory stands in its place.
    Directory,
}

impl Harm {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Emptied,
        Self::Halved,
        Self::Shortened,
        Self::FlippedHead,
        Self::FlippedMiddle,
        Self::FlippedTail,
        Self::ZeroedPage,
        Self::Garbage,
        Self::Deleted,
        Self::Directory,
    ];

    /// Does it to a file.
    ///
    /// # Errors
    /// Where the file cannot be read or written.
    pub fn to(self, file: &Path) -> io::Result<()> {
        match self {
            Self::Deleted => return fs::remove_file(file),
            Self::Directory => {
                fs::remove_file(file)?;
                return fs::create_dir(file);
            }
            _ => {}
        }
        let mut bytes = fs::read(file)?;
        self.of(&mut bytes);
        fs::write(file, bytes)
    }

    fn of(self, bytes: &mut Vec<u8>) {
        let (middle, last) = (bytes.len() / 2, bytes.len().saturating_sub(1));
        match self {
            Self::Emptied => bytes.clear(),
            Self::Halved => bytes.truncate(middle),
            Self::Shortened => bytes.truncate(last),
            Self::FlippedHead => flip(bytes, 5),
            Self::FlippedMiddle => flip(bytes, middle),
            Self::FlippedTail => flip(bytes, last),
            Self::ZeroedPage => {
                let page = middle / PAGE * PAGE;
                bytes.iter_mut().skip(page).take(PAGE).for_each(|byte| *byte = 0);
            }
            Self::Garbage => {
                let length = bytes.len();
                bytes.clear();
                let blocks = (0_u64..).flat_map(|block| *blake3::hash(&block.to_le_bytes()).as_bytes());
                bytes.extend(blocks.take(length));
            }
            Self::Deleted | Self::Directory => {}
        }
    }
}

fn flip(bytes: &mut [u8], at: usize) {
    bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 0x10);
}

/// Copies a folder with all that is in it.
///
/// # Errors
/// Where something cannot be read or written.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &place)?;
        } else {
            fs::copy(entry.path(), place)?;
        }
    }
    Ok(())
}

/// The files of a folder itself whose names `wanted` takes, in order of their names.
///
/// # Errors
/// Where it cannot be listed.
pub fn files(folder: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() && path.file_name().is_some_and(|name| wanted(&name.to_string_lossy())) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
