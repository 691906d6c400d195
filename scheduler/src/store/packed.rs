//! Keys and values of the store as bytes: a host's window is one range of keys, a value knows whether it is whole.
//!
//! Key of a model's state: the vm's uuid as text; content: `at:u64` big-endian, then the model's bytes. Key of a window: `host 0x00 at:u64` big-endian, so that order of bytes is order of host and time. Value: the content,
//! then `version:u8 crc32c:u32`.

use ballast_core::{id::HostId, oversight::SavedState, units::Timestamp};

/// Version of the values: others are left out when read.
const VERSION: u8 = 1;

const TRAILER: usize = 5;

/// The key of a host's window at a moment.
pub(super) fn window_key(host: &HostId, at: Timestamp) -> Vec<u8> {
    let mut key = host.as_str().as_bytes().to_vec();
    // No host id holds a zero byte, so no host's range reaches into another's.
    key.push(0);
    key.extend_from_slice(&at.nanos().to_be_bytes());
    key
}

/// The host and moment of a key.
pub(super) fn split_key(key: &[u8]) -> Option<(HostId, Timestamp)> {
    let (host, nanos) = key.split_at_checked(key.len().checked_sub(8)?)?;
    let host = std::str::from_utf8(host.strip_suffix(&[0])?).ok()?;
    Some((HostId::new(host).ok()?, Timestamp(u64::from_be_bytes(nanos.try_into().ok()?))))
}

/// The content with its trailer.
pub(super) fn seal(mut content: Vec<u8>) -> Vec<u8> {
    content.push(VERSION);
    let checksum = crc32c::crc32c(&content);
    content.extend_from_slice(&checksum.to_be_bytes());
    content
}

/// The content of a value that is whole and of this version.
pub(super) fn open(value: &[u8]) -> Option<&[u8]> {
    let (sealed, checksum) = value.split_at_checked(value.len().checked_sub(TRAILER - 1)?)?;
    let (version, content) = sealed.split_last()?;
    let whole = crc32c::crc32c(sealed).to_be_bytes() == checksum;
    (whole && *version == VERSION).then_some(content)
}

/// The key and value of a model's state.
pub(super) fn pack_state(saved: &SavedState) -> (String, Vec<u8>) {
    let mut content = saved.at.nanos().to_be_bytes().to_vec();
    content.extend_from_slice(&saved.state);
    (saved.vm.to_string(), seal(content))
}

/// The state of a key and value that are whole.
pub(super) fn unpack_state(key: &[u8], value: &[u8]) -> Option<SavedState> {
    let (at, state) = open(value)?.split_at_checked(8)?;
    let vm = std::str::from_utf8(key).ok()?.parse().ok()?;
    Some(SavedState { vm, at: Timestamp(u64::from_be_bytes(at.try_into().ok()?)), state: state.to_vec() })
}
