//! The disk as a capability: the machine's, or a simulation's, which can run out of room.

use std::{fmt, fs::File, io, io::Write, path::Path, sync::Arc};

/// Of so many bytes that are to be written to a file: how many there is room for.
pub type Room = Arc<dyn Fn(&Path, usize) -> usize + Send + Sync>;

/// What segments are written to.
#[derive(Clone, Default)]
pub struct Disk(Option<Room>);

impl Disk {
    /// A simulation's disk. What does not fit is refused as a full file system does, after what did was written.
    pub fn simulated(room: Room) -> Self {
        Self(Some(room))
    }

    pub(super) fn write(&self, file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let room = self.0.as_ref().map_or(bytes.len(), |room| room(path, bytes.len()).min(bytes.len()));
        file.write_all(&bytes[..room])?;
        if room < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Disk(simulated)" } else { "Disk" })
    }
}
