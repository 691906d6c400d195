//! Any target of `ballast_tests::fuzz`, or the agent's `libvirt_xml`, for libFuzzer: `BALLAST_FUZZ` names it.
//!
//! `BALLAST_FUZZ=segment cargo fuzz run -s none --fuzz-dir tests/fuzz any target/fuzz/segment tests/corpus/segment --
//! -max_total_time=300`; `ballast-tests seeds target/fuzz` writes what to begin from.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

type Read = fn(&[u8]);

/// Which one is fuzzed in this process.
static TARGET: OnceLock<Read> = OnceLock::new();

fn target() -> Read {
    let name = std::env::var("BALLAST_FUZZ").unwrap_or_default();
    let found = ballast_tests::fuzz::target(&name).map(|target| target.read);
    let libvirt = || (name == "libvirt_xml").then_some(ballast_agent::hypervisor::libvirt::read_descriptions as Read);
    let Some(read) = found.or_else(libvirt) else { panic!("BALLAST_FUZZ={name:?} is no target") };
    read
}

fuzz_target!(|bytes: &[u8]| (TARGET.get_or_init(target))(bytes));
