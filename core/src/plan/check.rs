//! What is wrong with a plan file, all of it at once: each problem with its path, the value, and what was expected.

use std::{fmt, time::Duration};

use crate::{
    id::HostId,
    units::{Bytes, seconds},
};

/// One value that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands, as `vms[3].memory_gib`.
    pub path: String,
    /// What stands there.
    pub value: String,
    /// What would have been accepted.
    pub expected: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}: {}", self.path, self.value, self.expected)
    }
}

/// Largest number of GiB that is no slip of the unit.
const GIB_MAX: f64 = 1e6;

/// Longest time that may have passed since something: thirty years.
const AGO_MAX: f64 = 1e9;

/// Collects problems, and takes what is well.
#[derive(Debug, Default)]
pub(super) struct Checks {
    pub(super) problems: Vec<Problem>,
}

impl Checks {
    pub(super) fn note(&mut self, path: impl Into<String>, value: impl fmt::Display, expected: impl Into<String>) {
        self.problems.push(Problem { path: path.into(), value: value.to_string(), expected: expected.into() });
    }

    /// `value` where it lies within the range, else the lower end.
    pub(super) fn within(&mut self, path: String, value: f64, (low, high): (f64, f64), unit: &str) -> f64 {
        if (low..=high).contains(&value) {
            return value;
        }
        self.note(path, value, format!("a number of {unit} from {low} to {high} is needed"));
        low
    }

    /// Memory, more than none.
    pub(super) fn memory(&mut self, path: String, gib: f64) -> Bytes {
        Bytes::from_f64(self.within(path, gib, (0.001, GIB_MAX), "GiB") * 1_073_741_824.0)
    }

    /// A time that has passed, or `default`.
    pub(super) fn span(&mut self, path: String, given: Option<f64>, default: Duration) -> Duration {
        given.map_or(default, |value| seconds(self.within(path, value, (0.0, AGO_MAX), "seconds")))
    }

    /// A host's name; `None` where it is none.
    pub(super) fn host(&mut self, path: String, name: &str) -> Option<HostId> {
        match HostId::new(name) {
            Ok(host) => Some(host),
            Err(error) => {
                self.note(path, format!("{name:?}"), format!("{} are needed", error.expected));
                None
            }
        }
    }
}
