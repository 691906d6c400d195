//! What a caller can get wrong: sizes that do not fit each other.

/// A size that does not fit; names what, how large it is and what would have been right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}, expected {expected}")]
pub struct ShapeError {
    /// The argument or field, as the interface calls it.
    pub field: &'static str,
    /// Its size.
    pub value: usize,
    /// What it should have been.
    pub expected: String,
}

/// Checks that `value` is exactly `expected`.
pub(super) fn expect_size(field: &'static str, value: usize, expected: usize) -> Result<(), ShapeError> {
    if value == expected { Ok(()) } else { Err(ShapeError { field, value, expected: expected.to_string() }) }
}

/// Checks that `value` is at least one.
pub(super) fn expect_some(field: &'static str, value: usize) -> Result<(), ShapeError> {
    if value > 0 { Ok(()) } else { Err(ShapeError { field, value, expected: "at least 1".to_owned() }) }
}
