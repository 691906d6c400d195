//! What the store held when it was last flushed, noted beside it: sled opens on some damaged files without a word and without
//! what was in them.
//!
//! Two figures, for it loses things in two ways: the end of its log, with which the count of flushes goes back, and pages in
//! between, with which entries are missing. Written after each flush, so it is never ahead of what sled said it had.

use std::{fs, path::Path};

const FILE: &str = "note";

/// Entries that may have gone since the note was written: a minute of pruning, which the next flush would have noted.
const GONE_SHARE: u64 = 10;

/// What a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Note {
    /// How often it was flushed.
    pub(super) flushes: u64,
    /// Windows' ticks and inventories in it.
    pub(super) entries: u64,
}

impl Note {
    /// The note in the store's directory; nothing where there is none that can be read.
    pub(super) fn read(dir: &Path) -> Option<Self> {
        let text = fs::read_to_string(dir.join(FILE)).ok()?;
        let (flushes, entries) = text.trim().split_once(' ')?;
        Some(Self { flushes: flushes.parse().ok()?, entries: entries.parse().ok()? })
    }

    /// Best effort: an older note expects less.
    pub(super) fn write(self, dir: &Path) {
        let _written = fs::write(dir.join(FILE), format!("{} {}\n", self.flushes, self.entries)).is_ok();
    }

    /// What is missing of it in a store that holds `found`, in words.
    pub(super) fn missing(self, found: Self) -> Option<String> {
        let is_older = found.flushes < self.flushes;
        let is_short = found.entries < self.entries - self.entries / GONE_SHARE;
        (is_older || is_short).then(|| {
            let (held, flushes) = (self.entries, self.flushes);
            format!("{} of {held} entries are there, of flush {} instead of {flushes}", found.entries, found.flushes)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_store_and_one_with_less_are_short_and_a_newer_one_is_not() {
        let noted = Note { flushes: 7, entries: 100 };
        let found = |flushes, entries| noted.missing(Note { flushes, entries }).is_some();
        assert!(found(6, 100) && found(7, 80));
        assert!(!found(7, 100) && !found(8, 130) && !found(7, 95), "a flush may have come after the note, and pruning");
    }

    #[test]
    fn a_note_comes_back_and_anything_else_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Note::read(dir.path()), None);
        Note { flushes: 3, entries: 9 }.write(dir.path());
        assert_eq!(Note::read(dir.path()), Some(Note { flushes: 3, entries: 9 }));
        fs::write(dir.path().join(FILE), "nonsense").unwrap();
        assert_eq!(Note::read(dir.path()), None);
    }
}
