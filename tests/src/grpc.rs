//! A gRPC client of other people's making: Python's grpcio with reflection, through `tests/grpc/gcurl.py`.

/// A Python that has grpcio. Without one the test named `test` is noted as skipped.
pub fn python(test: &str) -> Option<String> {
    crate::python::with("grpc_reflection", "grpcio and grpcio-reflection", test)
}
