//! A Python with other people's modules: the one `BALLAST_PYTHON` names, or the one `tests/run` has set up.

use std::process::Command;

use crate::{skip::skipped, sources};

/// Such a Python that has `module`, of the package `package`. Without one the test named `test` is noted as skipped.
pub fn with(module: &str, package: &str, test: &str) -> Option<String> {
    let named = std::env::var("BALLAST_PYTHON").ok().filter(|named| !named.is_empty());
    let set_up = sources::root().join("target/client-venv/bin/python");
    let python = named.unwrap_or_else(|| set_up.to_string_lossy().into_owned());
    let has_it = Command::new(&python).args(["-c", &format!("import {module}")]).output();
    if has_it.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    skipped(test, &format!("no Python with {package}: tests/run client sets one up"));
    None
}
