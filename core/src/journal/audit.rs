//! Which record of a journal is the first that was changed, dropped or moved: for whoever asks whether a record is still
//! what was written, not for whoever wants to go on writing.
//!
//! Every record carries the hash of the one before, so a change shows at the next record even where the checksum was
//! made to fit. What nobody comes after is vouched for by nobody: the newest record, and how many there were, can only
//! be held against a [`Head`] that was noted elsewhere. Whoever can rewrite everything from some record on can make a
//! chain of it that is whole; against that, too, only a noted head helps.

use super::{Chain, HEADER_BYTES, Header, HeaderError, RawRecord, hash_record, record_at, records_from};

/// The newest record that was seen, and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub seq: u64,
    /// Its hash, which stands for every record before it, too.
    pub chain: Chain,
}

/// What was done to a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Its bytes and its checksum disagree, or it ends in the middle.
    #[error("it was changed, or its writing was interrupted: its checksum does not match")]
    Checksum,
    /// It is whole in itself, and the record after it followed another one.
    #[error("it was changed, and its checksum made to fit: record {} followed another one", .0 + 1)]
    Rewritten(u64),
    /// It is not where it belongs, and nowhere behind it.
    #[error("it was dropped, and all up to record {through}")]
    Dropped {
        /// The last one that is missing.
        through: u64,
    },
    /// It is not where it belongs; another one is.
    #[error("it was moved: record {found} stands in its place")]
    Moved {
        /// Which stands there.
        found: u64,
    },
    /// The file it belongs in does not begin as one of ours.
    #[error("the head of its file was changed: {0}")]
    Header(#[source] HeaderError),
    /// It has not the hash that was noted.
    #[error("it was changed: its hash is not the one that was noted")]
    NotAsNoted,
    /// It was noted, and the journal ends before.
    #[error("it was dropped: the journal ends at record {last}")]
    Ended {
        /// The last one there is.
        last: u64,
    },
}

/// The first record that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// Which record.
    pub seq: u64,
    /// What was done to it.
    pub damage: Damage,
    /// Where in the segment that showed it, in bytes.
    pub offset: usize,
}

/// An audit under way: segments are shown to it in their order.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    noted: Option<Head>,
    first: Option<u64>,
    head: Option<Head>,
    records: u64,
}

impl Audit {
    /// An audit that also holds one record against its hash noted elsewhere.
    pub fn against(noted: Option<Head>) -> Self {
        Self { noted, ..Self::default() }
    }

    /// Number of the first record there is; those before were deleted in the regular way, or not.
    pub fn first(&self) -> Option<u64> {
        self.first
    }

    /// The newest record so far.
    pub fn head(&self) -> Option<Head> {
        self.head
    }

    /// Records so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Takes the next segment of files of `kind`.
    ///
    /// # Errors
    /// The first record that is not as it was written; the audit ends there.
    pub fn segment(&mut self, bytes: &[u8], kind: u16) -> Result<(), Suspect> {
        let next = self.head.map_or(1, |head| head.seq.saturating_add(1));
        let header = Header::decode(bytes, kind).map_err(|error| suspect(next, Damage::Header(error), 0))?;
        self.join(&header)?;
        let mut at = HEADER_BYTES;
        while at < bytes.len() {
            let (seq, chain) = self.awaited(&header);
            let Some(record) = record_at(bytes, at) else { return Err(suspect(seq, Damage::Checksum, at)) };
            check(bytes, at, &record, (seq, &chain), self.head)?;
            let head = Head { seq, chain: hash_record(&bytes[at..at + record.bytes]) };
            self.take(head, at)?;
            at += record.bytes;
        }
        Ok(())
    }

    /// Ends the audit.
    ///
    /// # Errors
    /// The first record that is missing at the end, where one was noted that is not there.
    pub fn end(&self) -> Result<(), Suspect> {
        let last = self.head.map_or(0, |head| head.seq);
        match self.noted {
            Some(noted) if noted.seq > last => Err(suspect(last + 1, Damage::Ended { last }, 0)),
            _ => Ok(()),
        }
    }

    /// A segment goes on where the one before ended.
    fn join(&mut self, header: &Header) -> Result<(), Suspect> {
        let Some(head) = self.head else {
            self.first = Some(header.first);
            return Ok(());
        };
        let next = head.seq.saturating_add(1);
        match header.first {
            first if first > next => Err(suspect(next, Damage::Dropped { through: first - 1 }, 0)),
            first if first < next => Err(suspect(next, Damage::Moved { found: first }, 0)),
            _ if header.chain != head.chain => Err(suspect(head.seq, Damage::Rewritten(head.seq), 0)),
            _ => Ok(()),
        }
    }

    fn awaited(&self, header: &Header) -> (u64, Chain) {
        self.head.map_or((header.first, header.chain), |head| (head.seq.saturating_add(1), head.chain))
    }

    fn take(&mut self, head: Head, offset: usize) -> Result<(), Suspect> {
        if self.noted.is_some_and(|noted| noted.seq == head.seq && noted.chain != head.chain) {
            return Err(suspect(head.seq, Damage::NotAsNoted, offset));
        }
        self.head = Some(head);
        self.records += 1;
        Ok(())
    }
}

fn suspect(seq: u64, damage: Damage, offset: usize) -> Suspect {
    Suspect { seq, damage, offset }
}

/// Holds a record that is whole against its place.
fn check(
    bytes: &[u8],
    at: usize,
    record: &RawRecord<'_>,
    (seq, chain): (u64, &Chain),
    before: Option<Head>,
) -> Result<(), Suspect> {
    let found = record.seq;
    if found == seq {
        return match before {
            _ if *record.chain == chain[..16] => Ok(()),
            Some(before) => Err(suspect(before.seq, Damage::Rewritten(before.seq), at)),
            // The first there is disagrees with the head of its own file.
            None => Err(suspect(seq, Damage::Checksum, at)),
        };
    }
    let is_behind = records_from(bytes, at).any(|later| later.seq == seq);
    let damage =
        if found > seq && !is_behind { Damage::Dropped { through: found - 1 } } else { Damage::Moved { found } };
    Err(suspect(seq, damage, at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        journal::{RECORD_BYTES, encode_record},
        units::Timestamp,
    };

    const KIND: u16 = 7;
    /// Bytes of every record here.
    const RECORD: usize = RECORD_BYTES + 8;

    /// Segments of three records each, numbered on, from `first` on.
    fn segments(first: u64, count: u64) -> Vec<Vec<u8>> {
        let (mut seq, mut chain) = (first, [0; 32]);
        let mut segment = || {
            let header = Header { kind: KIND, created: Timestamp::from_secs(1), first: seq, chain };
            let mut bytes = header.encode().to_vec();
            for _ in 0..3 {
                chain = encode_record(seq, seq - 1, &chain, &seq.to_le_bytes(), &mut bytes).unwrap();
                seq += 1;
            }
            bytes
        };
        (0..count).map(|_| segment()).collect()
    }

    fn audit(segments: &[Vec<u8>], noted: Option<Head>) -> Result<Audit, Suspect> {
        let mut audit = Audit::against(noted);
        for segment in segments {
            audit.segment(segment, KIND)?;
        }
        audit.end().map(|()| audit)
    }

    #[track_caller]
    fn found(segments: &[Vec<u8>]) -> (u64, Damage) {
        let suspect = audit(segments, None).unwrap_err();
        (suspect.seq, suspect.damage)
    }

    /// Where the record of that index begins in its segment.
    fn at(index: usize) -> usize {
        HEADER_BYTES + index * RECORD
    }

    /// Changes a record's payload and makes its checksum fit, as one would who knows the format.
    fn forge(segment: &mut [u8], index: usize) {
        segment[at(index) + RECORD_BYTES] ^= 1;
        let sum = crate::journal::record_checksum(&segment[at(index)..at(index + 1)]);
        segment[at(index) + 4..at(index) + 8].copy_from_slice(&sum.to_le_bytes());
    }

    #[test]
    fn a_journal_as_it_was_written_is_whole_from_wherever_it_begins() {
        for first in [1, 40] {
            let whole = audit(&segments(first, 3), None).unwrap();
            assert_eq!((whole.first(), whole.records()), (Some(first), 9));
            assert_eq!(whole.head().unwrap().seq, first + 8);
        }
    }

    #[test]
    fn a_flipped_bit_names_its_record() {
        let mut segments = segments(1, 2);
        segments[1][at(1) + RECORD_BYTES] ^= 1;
        assert_eq!(found(&segments), (5, Damage::Checksum));
    }

    #[test]
    fn a_forged_record_is_named_though_its_checksum_fits() {
        let mut inside = segments(1, 2);
        forge(&mut inside[1], 1);
        assert_eq!(found(&inside), (5, Damage::Rewritten(5)));
        let mut last_of_its_file = segments(1, 2);
        forge(&mut last_of_its_file[0], 2);
        assert_eq!(found(&last_of_its_file), (3, Damage::Rewritten(3)));
    }

    #[test]
    fn a_dropped_record_is_named() {
        let mut segments = segments(1, 2);
        segments[0].drain(at(1)..at(2));
        assert_eq!(found(&segments), (2, Damage::Dropped { through: 2 }));
    }

    #[test]
    fn a_dropped_file_names_all_it_held() {
        let mut segments = segments(1, 3);
        segments.remove(1);
        assert_eq!(found(&segments), (4, Damage::Dropped { through: 6 }));
    }

    #[test]
    fn records_that_changed_places_are_named_at_the_first() {
        let mut segments = segments(1, 1);
        let second = segments[0][at(1)..at(2)].to_vec();
        segments[0].drain(at(1)..at(2));
        segments[0].extend(second);
        assert_eq!(found(&segments), (2, Damage::Moved { found: 3 }));
    }

    #[test]
    fn files_that_changed_places_are_named_at_the_first_record() {
        let mut segments = segments(1, 3);
        segments.swap(1, 2);
        assert_eq!(found(&segments), (4, Damage::Dropped { through: 6 }));
        segments.swap(1, 2);
        segments.push(segments[0].clone());
        assert_eq!(found(&segments), (10, Damage::Moved { found: 1 }));
    }

    #[test]
    fn a_changed_head_of_a_file_names_its_first_record() {
        let mut segments = segments(1, 2);
        segments[1][20] ^= 1;
        assert_eq!(found(&segments), (4, Damage::Header(HeaderError::Checksum)));
    }

    #[test]
    fn an_end_that_is_missing_shows_only_against_a_noted_head() {
        let mut cut = segments(1, 2);
        let head = audit(&cut, None).unwrap().head();
        cut[1].truncate(at(2));
        assert_eq!(audit(&cut, None).unwrap().head().unwrap().seq, 5);
        let suspect = audit(&cut, head).unwrap_err();
        assert_eq!((suspect.seq, suspect.damage), (6, Damage::Ended { last: 5 }));
    }

    #[test]
    fn a_chain_written_anew_shows_only_against_a_noted_head() {
        let noted = audit(&segments(1, 2), None).unwrap().head().unwrap();
        let mut anew = segments(1, 1);
        let mut header = Header::decode(&anew[0], KIND).unwrap();
        (header.first, header.chain) = (4, audit(&anew, None).unwrap().head().unwrap().chain);
        let (mut bytes, mut chain) = (header.encode().to_vec(), header.chain);
        for seq in 4..7 {
            chain = encode_record(seq, seq - 1, &chain, b"invented", &mut bytes).unwrap();
        }
        anew.push(bytes);
        assert!(audit(&anew, None).is_ok());
        let suspect = audit(&anew, Some(noted)).unwrap_err();
        assert_eq!((suspect.seq, suspect.damage), (6, Damage::NotAsNoted));
    }

    proptest! {
        #[test]
        fn no_flipped_bit_goes_unseen_against_a_noted_head(place in any::<prop::sample::Index>(), bit in 0..8_u32) {
            let mut segments = segments(1, 3);
            let head = audit(&segments, None).unwrap().head();
            let length: usize = segments.iter().map(Vec::len).sum();
            let (mut place, mut file) = (place.index(length), 0);
            while place >= segments[file].len() {
                place -= segments[file].len();
                file += 1;
            }
            segments[file][place] ^= 1_u8 << bit;
            prop_assert!(audit(&segments, head).is_err());
        }
    }
}
