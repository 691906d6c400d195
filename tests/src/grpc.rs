//! A gRPC client of other people's making: Python's grpcio with reflection, through `tests/grpc/gcurl.py`.

use std::process::Command;

use crate::{skip::skipped, sources};

/// A Python that has grpcio: the one `BALLAST_PYTHON` names, or the one `tests/run` has set up. Without one the test
/// named `test` is noted as skipped.
pub fn python(test: &str) -> Option<String> {
    let named = std::env::var("BALLAST_PYTHON").ok().filter(|named| !named.is_empty());
    let set_up = sources::root().join("target/grpc-venv/bin/python");
    let python = named.unwrap_or_else(|| set_up.to_string_lossy().into_owned());
    let has_grpc = Command::new(&python).args(["-c", "import grpc_reflection"]).output();
    if has_grpc.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    skipped(test, "no Python with grpcio and grpcio-reflection: tests/run client sets one up");
    None
}
