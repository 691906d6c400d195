//! A block: many entries in one record, so that they are synced and compressed together.
//!
//! `flags:u8` (1: the rest is zstd), then per entry `length:u32 bytes`.

use std::io;

use ballast_core::journal::PAYLOAD_BYTES_MAX;

const COMPRESSED: u8 = 1;

/// zstd's own default: telemetry shrinks about fourfold at a few microseconds per batch.
const LEVEL: i32 = 3;

/// Entries on their way into one record.
#[derive(Debug, Default)]
pub(super) struct Block {
    bytes: Vec<u8>,
    entries: usize,
}

impl Block {
    /// Adds an entry; `false` where it is too long to fit with the others.
    pub(super) fn push(&mut self, entry: &[u8]) -> bool {
        let Ok(length) = u32::try_from(entry.len()) else { return false };
        if self.bytes.len() + entry.len() + 5 > PAYLOAD_BYTES_MAX {
            return false;
        }
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(entry);
        self.entries += 1;
        true
    }

    pub(super) fn len(&self) -> usize {
        self.entries
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.entries = 0;
    }

    /// The block as a record's payload.
    pub(super) fn payload(&self, compress: bool) -> io::Result<Vec<u8>> {
        let mut payload = vec![u8::from(compress)];
        if compress {
            payload.extend(zstd::bulk::compress(&self.bytes, LEVEL)?);
        } else {
            payload.extend_from_slice(&self.bytes);
        }
        Ok(payload)
    }
}

/// The entries of a record's payload, or what is wrong with it.
pub(super) fn entries(payload: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let (flags, rest) = payload.split_first().ok_or("the block is empty")?;
    if *flags == COMPRESSED {
        let bytes = zstd::bulk::decompress(rest, PAYLOAD_BYTES_MAX).map_err(|error| format!("zstd: {error}"))?;
        return split(&bytes);
    }
    split(rest)
}

fn split(mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut entries = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let entry = rest.get(..length).ok_or("an entry is longer than its block")?;
        entries.push(entry.to_vec());
        bytes = &rest[length..];
    }
    if bytes.is_empty() { Ok(entries) } else { Err("the block ends within an entry".into()) }
}
