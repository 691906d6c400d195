//! What happened in a run, line by line, and the hash of all lines: two runs of one seed give the same.

use std::{
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// The trace of a run; clones write into the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Trace(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    now: Duration,
    hash: blake3::Hasher,
    kept: Option<String>,
    line: String,
}

impl Trace {
    /// A trace whose lines are kept as text where `keeps`, and only hashed otherwise.
    pub(super) fn new(keeps: bool) -> Self {
        let trace = Self::default();
        trace.with(|lines| lines.kept = keeps.then(String::new));
        trace
    }

    fn with<T>(&self, change: impl FnOnce(&mut Lines) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lines from now on are of this moment of the run.
    pub(super) fn at(&self, now: Duration) {
        self.with(|lines| lines.now = now);
    }

    /// The moment of the run.
    pub(super) fn now(&self) -> Duration {
        self.with(|lines| lines.now)
    }

    /// Something happened.
    pub(super) fn note(&self, what: impl std::fmt::Display) {
        self.with(|lines| {
            let Lines { now, hash, kept, line } = lines;
            line.clear();
            // Writing into a String does not fail.
            let _written = writeln!(line, "{:10.3} {what}", now.as_secs_f64());
            hash.update(line.as_bytes());
            if let Some(kept) = kept {
                kept.push_str(line);
            }
        });
    }

    /// Bytes that are part of what happened, without a line.
    pub(super) fn absorb(&self, bytes: &[u8]) {
        self.with(|lines| {
            lines.hash.update(bytes);
        });
    }

    /// The hash of everything so far.
    pub(super) fn hash(&self) -> String {
        self.with(|lines| lines.hash.finalize().to_hex()[..16].to_owned())
    }

    /// The kept lines.
    pub(super) fn text(&self) -> String {
        self.with(|lines| lines.kept.clone().unwrap_or_default())
    }
}
