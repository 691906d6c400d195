//! Framing of records on bytes: what journal, telemetry log and spool files look like. No files here.
//!
//! ```text
//! segment = header record*
//! header  = "BLST" version:u16 kind:u16 created:u64 first:u64 chain:[32] crc32c:u32            (60 bytes)
//! record  = length:u32 crc32c:u32 seq:u64 durable:u64 chain:[16] payload                       (40 bytes and more)
//! ```
//! All integers are little-endian. `seq` rises by one per record and goes on across segments. `chain` is the hash of the
//! record before, so a record that was changed, dropped or moved shows. `durable` is the newest `seq` that was known to
//! be on the disk when the record was written: a damaged record that a later one vouches for is corruption, and any
//! other damaged end is a torn tail, the write the power failure interrupted, and may be cut.

pub mod audit;

use thiserror::Error;

use crate::units::Timestamp;

/// Version of the framing.
pub const VERSION: u16 = 1;

/// Bytes of a segment header.
pub const HEADER_BYTES: usize = 60;

/// Bytes of a record before its payload.
pub const RECORD_BYTES: usize = 40;

/// Longest payload: longer ones are refused when written and taken for damage when read.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 20;

const MAGIC: [u8; 4] = *b"BLST";

/// Hash of a record (or of nothing, before the first): BLAKE3.
pub type Chain = [u8; 32];

/// First bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the segment holds; the user of the framing gives the numbers.
    pub kind: u16,
    /// When it was begun.
    pub created: Timestamp,
    /// Seq of its first record.
    pub first: u64,
    /// Hash of the last record of the segment before.
    pub chain: Chain,
}

/// Why bytes are not a segment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// Too short: a segment that was being created when the power failed.
    #[error("{0} bytes are fewer than a header's {HEADER_BYTES}")]
    Short(usize),
    /// Not one of ours.
    #[error("the file does not begin with BLST: it is not a ballast file")]
    Magic,
    /// Of another version.
    #[error("framing version {0} is not {VERSION}: it was written by another version of ballast")]
    Version(u16),
    /// Of another kind.
    #[error("kind {found} is not {wanted}: it holds something else")]
    Kind {
        /// What it is.
        found: u16,
        /// What was wanted.
        wanted: u16,
    },
    /// Damaged.
    #[error("the header's checksum does not match")]
    Checksum,
}

impl Header {
    /// The header as bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.kind.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.created.nanos().to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        bytes[24..56].copy_from_slice(&self.chain);
        let checksum = crc32c::crc32c(&bytes[..56]);
        bytes[56..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a header of the given kind.
    ///
    /// # Errors
    /// [`HeaderError`] when the bytes are too few, not ours, of another version or kind, or damaged.
    pub fn decode(bytes: &[u8], kind: u16) -> Result<Self, HeaderError> {
        let Some(bytes) = bytes.get(..HEADER_BYTES) else { return Err(HeaderError::Short(bytes.len())) };
        if bytes[..4] != MAGIC {
            return Err(HeaderError::Magic);
        }
        let version = u16::from_le_bytes([bytes[4], bytes[5]]);
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        if crc32c::crc32c(&bytes[..56]) != u32_at(bytes, 56) {
            return Err(HeaderError::Checksum);
        }
        let found = u16::from_le_bytes([bytes[6], bytes[7]]);
        if found != kind {
            return Err(HeaderError::Kind { found, wanted: kind });
        }
        let mut chain = [0; 32];
        chain.copy_from_slice(&bytes[24..56]);
        Ok(Self { kind, created: Timestamp(u64_at(bytes, 8)), first: u64_at(bytes, 16), chain })
    }
}

/// Appends one record to `out` and returns its hash, which the next record carries. The payload must be at most
/// [`PAYLOAD_BYTES_MAX`] long; a longer one leaves `out` as it is and gives `None`.
pub fn encode_record(seq: u64, durable: u64, chain: &Chain, payload: &[u8], out: &mut Vec<u8>) -> Option<Chain> {
    if payload.len() > PAYLOAD_BYTES_MAX {
        return None;
    }
    let length = u32::try_from(payload.len()).ok()?;
    let start = out.len();
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(&durable.to_le_bytes());
    out.extend_from_slice(&chain[..16]);
    out.extend_from_slice(payload);
    let checksum = record_checksum(&out[start..]);
    out[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
    Some(hash_record(&out[start..]))
}

/// One record of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its number.
    pub seq: u64,
    /// Where it begins in the segment.
    pub offset: usize,
    /// What it holds.
    pub payload: &'a [u8],
}

/// What follows the last good record of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    Clean,
    /// The rest of a write that was interrupted: may be cut at `offset` when this is the last segment.
    Torn {
        /// Where the good part ends.
        offset: usize,
        /// How many bytes follow.
        bytes: usize,
    },
    /// Damage to what once was on the disk for sure.
    Corrupt {
        /// Where.
        offset: usize,
        /// What is wrong.
        reason: String,
    },
}

/// A segment read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan<'a> {
    /// Its header.
    pub header: Header,
    /// Its good records.
    pub records: Vec<Record<'a>>,
    /// Where the good part ends.
    pub end: usize,
    /// Seq the next record will have.
    pub next: u64,
    /// Hash the next record will carry.
    pub chain: Chain,
    /// What follows the good part.
    pub tail: Tail,
}

/// Reads a whole segment.
///
/// # Errors
/// [`HeaderError`] when it is not a segment of that kind; damage further on is told by [`Scan::tail`].
pub fn scan(bytes: &[u8], kind: u16) -> Result<Scan<'_>, HeaderError> {
    let header = Header::decode(bytes, kind)?;
    let (mut end, mut next, mut chain) = (HEADER_BYTES, header.first, header.chain);
    let mut records = Vec::new();
    while let Some(raw) = record_at(bytes, end) {
        if raw.seq != next || *raw.chain != chain[..16] {
            let reason = format!("record {} stands where record {next} belongs, or its chain is broken", raw.seq);
            return Ok(Scan { header, records, end, next, chain, tail: Tail::Corrupt { offset: end, reason } });
        }
        chain = hash_record(&bytes[end..end + raw.bytes]);
        records.push(Record { seq: raw.seq, offset: end, payload: &bytes[end + RECORD_BYTES..end + raw.bytes] });
        end += raw.bytes;
        next = next.saturating_add(1);
    }
    let tail = judge_tail(bytes, end, next);
    Ok(Scan { header, records, end, next, chain, tail })
}

/// Decides whether the damaged end of a segment is an interrupted write or corruption.
fn judge_tail(bytes: &[u8], end: usize, damaged: u64) -> Tail {
    if end == bytes.len() {
        return Tail::Clean;
    }
    // As many records as there is room for could follow. Checksums are only computed where the number is one of theirs: over
    // every byte of a large damaged segment they would take hours.
    let numbers = damaged..=damaged.saturating_add((bytes.len() / RECORD_BYTES) as u64);
    let is_near = |offset: &usize| {
        bytes.get(offset + 8..offset + 16).is_some_and(|_| numbers.contains(&u64_at(bytes, offset + 8)))
    };
    let later = (end + 1..bytes.len()).filter(is_near).find(|offset| record_at(bytes, *offset).is_some());
    match later.and_then(|offset| records_from(bytes, offset).find(|record| record.durable >= damaged)) {
        Some(later) => Tail::Corrupt {
            offset: end,
            reason: format!("record {damaged} is damaged, though record {} says it was on the disk", later.seq),
        },
        None => Tail::Torn { offset: end, bytes: bytes.len() - end },
    }
}

/// The good records that follow one another from `offset` on. Not every write is a durable one, so the record that vouches
/// for the damaged one need not be the next.
fn records_from(bytes: &[u8], offset: usize) -> impl Iterator<Item = RawRecord<'_>> {
    let mut at = offset;
    std::iter::from_fn(move || record_at(bytes, at).inspect(|record| at += record.bytes))
}

/// A record's fixed part, its checksum verified.
struct RawRecord<'a> {
    seq: u64,
    durable: u64,
    chain: &'a [u8],
    bytes: usize,
}

fn record_at(bytes: &[u8], offset: usize) -> Option<RawRecord<'_>> {
    let rest = bytes.get(offset..)?;
    let head = rest.get(..RECORD_BYTES)?;
    let payload = u32_at(head, 0) as usize;
    if payload > PAYLOAD_BYTES_MAX {
        return None;
    }
    let whole = rest.get(..RECORD_BYTES + payload)?;
    if record_checksum(whole) != u32_at(head, 4) {
        return None;
    }
    Some(RawRecord { seq: u64_at(head, 8), durable: u64_at(head, 16), chain: &head[24..40], bytes: whole.len() })
}

/// Checksum over everything but the checksum itself.
fn record_checksum(record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&record[..4]), &record[8..])
}

fn hash_record(record: &[u8]) -> Chain {
    *blake3::hash(record).as_bytes()
}

/// Callers have checked that the bytes are there.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// Callers have checked that the bytes are there.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KIND: u16 = 7;

    /// A segment with these payloads; each record vouches for all before it unless `durable` says otherwise.
    fn segment(payloads: &[Vec<u8>], durable: impl Fn(u64) -> u64) -> Vec<u8> {
        let header = Header { kind: KIND, created: Timestamp::from_secs(1), first: 1, chain: [0; 32] };
        let mut bytes = header.encode().to_vec();
        let mut chain = header.chain;
        for (seq, payload) in (1..).zip(payloads) {
            chain = encode_record(seq, durable(seq), &chain, payload, &mut bytes).unwrap();
        }
        bytes
    }

    fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..8)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(payloads in payloads()) {
            let bytes = segment(&payloads, |seq| seq - 1);
            let scan = scan(&bytes, KIND).unwrap();
            prop_assert_eq!(&scan.tail, &Tail::Clean);
            let read: Vec<Vec<u8>> = scan.records.iter().map(|record| record.payload.to_vec()).collect();
            prop_assert_eq!(read, payloads);
        }

        #[test]
        fn a_cut_end_is_a_torn_tail_and_loses_only_the_last_record(payloads in payloads(), cut in 1_usize..40) {
            let mut bytes = segment(&payloads, |seq| seq - 1);
            bytes.truncate(bytes.len() - cut.min(RECORD_BYTES + payloads.last().unwrap().len() - 1));
            let scan = scan(&bytes, KIND).unwrap();
            prop_assert_eq!(scan.records.len(), payloads.len() - 1);
            let torn = matches!(scan.tail, Tail::Torn { .. });
            prop_assert!(torn, "{:?}", scan.tail);
        }

        #[test]
        fn a_flipped_bit_never_goes_unseen(payloads in payloads(), place in any::<prop::sample::Index>(), bit in 0..8_u32) {
            let mut bytes = segment(&payloads, |seq| seq - 1);
            let place = place.index(bytes.len());
            bytes[place] ^= 1_u8 << bit;
            let seen = match scan(&bytes, KIND) {
                Err(_) => true,
                Ok(scan) => scan.tail != Tail::Clean,
            };
            prop_assert!(seen);
        }

        #[test]
        fn garbage_is_refused_and_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(scan(&bytes, KIND).is_err());
        }
    }

    #[test]
    fn damage_that_a_later_record_vouches_for_is_corruption() {
        let mut bytes = segment(&[vec![1; 20], vec![2; 20], vec![3; 20]], |seq| seq - 1);
        bytes[HEADER_BYTES + RECORD_BYTES + 3] ^= 1;
        let scan = scan(&bytes, KIND).unwrap();
        assert!(matches!(scan.tail, Tail::Corrupt { offset: HEADER_BYTES, .. }), "{:?}", scan.tail);
    }

    #[test]
    fn an_unfinished_group_whose_pages_came_out_of_order_is_torn_not_corrupt() {
        let mut bytes = segment(&[vec![1; 20], vec![2; 20], vec![3; 20]], |_| 1);
        let second = HEADER_BYTES + RECORD_BYTES + 20;
        bytes[second + RECORD_BYTES + 3] ^= 1;
        let scan = scan(&bytes, KIND).unwrap();
        assert_eq!(scan.records.len(), 1);
        assert!(matches!(scan.tail, Tail::Torn { .. }), "{:?}", scan.tail);
    }

    #[test]
    fn a_large_damaged_end_is_judged_in_time() {
        let mut bytes = segment(&[vec![1; 20]], |seq| seq - 1);
        // Every four bytes a length that fits: each would be worth a checksum over two thirds of what follows.
        let length = 1_u32 << 20;
        bytes.extend((0..(3_usize << 20) / 4).flat_map(|_| length.to_le_bytes()));
        assert!(matches!(scan(&bytes, KIND).unwrap().tail, Tail::Torn { .. }));
    }

    #[test]
    fn a_record_left_out_breaks_the_chain() {
        let whole = segment(&[vec![1; 20], vec![2; 20], vec![3; 20]], |seq| seq - 1);
        let record = RECORD_BYTES + 20;
        let mut bytes = whole[..HEADER_BYTES + record].to_vec();
        bytes.extend_from_slice(&whole[HEADER_BYTES + 2 * record..]);
        assert!(matches!(scan(&bytes, KIND).unwrap().tail, Tail::Corrupt { .. }));
    }
}
