//! Checked conversions between the wire and core; called by agent, scheduler and command line tool.
//!
//! From the wire: `core::X::try_from(v1::X)`, which fails with the path of the field; to the wire: `v1::X::from(core::X)`,
//! which cannot fail. Readings are passed through as they were sent, even where they are not a number: whether they are
//! plausible is asked by `core::plausibility`, so that the doubt can name them. Everything else must be right.

use std::time::Duration;

use ballast_core::id::{BootId, CommandId, DecisionId, HostId, VmId};
use thiserror::Error;

mod agent;
mod inventory;
mod operator;
mod outcome;
mod preflight;
mod sample;

pub use operator::{host_status, host_statuses, vm_status};
pub use preflight::preflight_question;

/// A field of a message that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{path} = {value}: {expected}")]
pub struct InvalidField {
    /// Where it is, as in `vms[3].vm_uuid`.
    pub path: String,
    /// What was sent.
    pub value: String,
    /// What would have been accepted.
    pub expected: String,
}

impl InvalidField {
    /// A refusal of `path`; long values are cut to 100 characters.
    pub fn new(path: &str, value: impl ToString, expected: &str) -> Self {
        let value = value.to_string().chars().take(100).collect();
        Self { path: path.to_owned(), value, expected: expected.to_owned() }
    }

    /// A field that must be there and is not.
    pub fn absent(path: &str) -> Self {
        Self::new(path, "absent", "is needed")
    }

    /// The same refusal, seen from the message that holds `outer`.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.path = format!("{outer}.{}", self.path);
        self
    }
}

/// Takes a vm's id from 16 bytes.
///
/// # Errors
/// [`InvalidField`] at `path` where there are not 16.
pub fn vm_id(bytes: &[u8], path: &str) -> Result<VmId, InvalidField> {
    uuid(bytes, path).map(VmId)
}

/// Takes a boot's id from 16 bytes.
///
/// # Errors
/// [`InvalidField`] at `path` where there are not 16.
pub fn boot_id(bytes: &[u8], path: &str) -> Result<BootId, InvalidField> {
    uuid(bytes, path).map(BootId)
}

fn uuid(bytes: &[u8], path: &str) -> Result<uuid::Uuid, InvalidField> {
    uuid::Uuid::from_slice(bytes)
        .map_err(|_| InvalidField::new(path, format!("{} bytes", bytes.len()), "a uuid of 16 bytes is needed"))
}

/// Takes a host's id.
///
/// # Errors
/// [`InvalidField`] at `path` where it is not one.
pub fn host_id(text: &str, path: &str) -> Result<HostId, InvalidField> {
    parsed(text, path)
}

/// Takes a command's id, as `<epoch>-<number>`.
///
/// # Errors
/// [`InvalidField`] at `path` where it is not one.
pub fn command_id(text: &str, path: &str) -> Result<CommandId, InvalidField> {
    parsed(text, path)
}

/// Takes a decision's id, as `<epoch>-<number>`.
///
/// # Errors
/// [`InvalidField`] at `path` where it is not one.
pub fn decision_id(text: &str, path: &str) -> Result<DecisionId, InvalidField> {
    parsed(text, path)
}

fn parsed<T: std::str::FromStr<Err = ballast_core::id::InvalidId>>(text: &str, path: &str) -> Result<T, InvalidField> {
    text.parse().map_err(|error: ballast_core::id::InvalidId| {
        InvalidField::new(path, format!("{text:?}"), &format!("{} is needed", error.expected))
    })
}

/// The bytes of a uuid as the wire carries them.
pub fn uuid_bytes(id: impl Into<UuidBytes>) -> Vec<u8> {
    id.into().0
}

/// Bytes of a vm's or a boot's id; made by [`uuid_bytes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UuidBytes(Vec<u8>);

impl From<VmId> for UuidBytes {
    fn from(id: VmId) -> Self {
        Self(id.0.as_bytes().to_vec())
    }
}

impl From<BootId> for UuidBytes {
    fn from(id: BootId) -> Self {
        Self(id.0.as_bytes().to_vec())
    }
}

/// Whole milliseconds of a span; saturates.
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A span of milliseconds, at most a hundred years, so that adding it to a moment stays meaningful.
pub fn span(millis: u64) -> Duration {
    const MAX_MILLIS: u64 = 100 * 366 * 86_400_000;
    Duration::from_millis(millis.min(MAX_MILLIS))
}

/// Converts each item, naming the place of the first that cannot be.
fn each<W, C>(items: Vec<W>, path: &str) -> Result<Vec<C>, InvalidField>
where
    C: TryFrom<W, Error = InvalidField>,
{
    let one =
        |(index, item)| C::try_from(item).map_err(|error: InvalidField| error.within(&format!("{path}[{index}]")));
    items.into_iter().enumerate().map(one).collect()
}

/// Converts a message that must be there.
fn required<W, C>(item: Option<W>, path: &str) -> Result<C, InvalidField>
where
    C: TryFrom<W, Error = InvalidField>,
{
    C::try_from(item.ok_or_else(|| InvalidField::absent(path))?).map_err(|error| error.within(path))
}

/// A rate or amount of the machinery itself, which no later stage screens.
fn amount(value: f64, path: &str) -> Result<f64, InvalidField> {
    if value.is_finite() && value >= 0.0 {
        return Ok(value);
    }
    Err(InvalidField::new(path, value, "a finite number of at least 0 is needed"))
}

#[cfg(test)]
mod tests;
