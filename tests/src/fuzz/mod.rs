//! What reads bytes from elsewhere, each as a target that may be given anything: it must neither panic nor hang nor take memory
//! without bound, and what it accepts must be the same after it has been written and read again.
//!
//! `it/fuzz` gives every target its seeds, the kept corpus (`tests/corpus`) and a bounded number of mutations of both, the same
//! in every run; `tests/fuzz` is the same targets under a coverage-guided fuzzer for as long as somebody likes. What libvirt
//! says is read in the agent, whose own tests do this for it.

mod files;
mod wire;

use std::path::PathBuf;

use anyhow::Result;

use crate::{damage, sources};

/// One reader.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, of its test and of its folder in the corpus.
    pub name: &'static str,
    /// Gives it bytes. It panics where it finds a fault.
    pub read: fn(&[u8]),
    /// Bytes that it understands, to begin from.
    pub seeds: fn() -> Result<Vec<Vec<u8>>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "agent_message", read: wire::agent_message, seeds: wire::agent_messages },
    Target { name: "scheduler_message", read: wire::scheduler_message, seeds: wire::scheduler_messages },
    Target { name: "wake_address", read: wire::wake_address, seeds: wire::wake_addresses },
    Target { name: "certificate", read: wire::certificate, seeds: wire::certificates },
    Target { name: "segment", read: files::segment, seeds: files::segments },
    Target { name: "segment_blocks", read: files::blocks, seeds: files::block_payloads },
    Target { name: "telemetry_record", read: files::telemetry_record, seeds: files::telemetry_records },
    Target { name: "journal_record", read: files::journal_record, seeds: files::journal_records },
    Target { name: "bundle", read: files::bundle, seeds: files::bundles },
    Target { name: "scheduler_toml", read: files::scheduler_toml, seeds: files::scheduler_tomls },
    Target { name: "agent_toml", read: files::agent_toml, seeds: files::agent_tomls },
    Target { name: "scenario_toml", read: files::scenario_toml, seeds: files::scenario_tomls },
    Target { name: "plan_json", read: files::plan_json, seeds: files::plan_jsons },
    Target { name: "trace", read: files::trace, seeds: files::traces },
    Target { name: "packed_text", read: files::packed_text, seeds: files::packed_texts },
];

/// The target of a name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().copied().find(|target| target.name == name)
}

impl Target {
    /// Where its corpus is kept: what has ever made it fail, and what a fuzzer found that the seeds do not reach.
    pub fn corpus_dir(&self) -> PathBuf {
        sources::root().join("tests/corpus").join(self.name)
    }

    /// The kept corpus.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn corpus(&self) -> Result<Vec<Vec<u8>>> {
        let dir = self.corpus_dir();
        if !dir.exists() {
            return Ok(Vec::new());
        }
        damage::files(&dir, |_| true)?.into_iter().map(|path| Ok(std::fs::read(path)?)).collect()
    }
}
