//! Names of things: newtypes, so that a host is never taken for a vm, each with one checked way in.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use uuid::Uuid;

/// Why a text is not a valid id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{kind} {value:?} is not valid: {expected}")]
pub struct InvalidId {
    /// Which kind of id was wanted.
    pub kind: &'static str,
    /// What was given.
    pub value: String,
    /// What would have been accepted.
    pub expected: &'static str,
}

/// A host: the name its agent is configured with and its certificate carries.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(Arc<str>);

impl HostId {
    const EXPECTED: &str = "1 to 253 of the characters a-z A-Z 0-9 . _ -, beginning with a letter or digit";

    /// Takes a host name.
    ///
    /// # Errors
    /// [`InvalidId`] when it is empty, longer than 253 characters, or holds others than letters, digits, `.`, `_`, `-`.
    pub fn new(name: &str) -> Result<Self, InvalidId> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if starts_well && name.len() <= 253 && name.chars().all(allowed) {
            return Ok(Self(name.into()));
        }
        Err(InvalidId { kind: "host id", value: name.chars().take(300).collect(), expected: Self::EXPECTED })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostId {
    type Err = InvalidId;
    fn from_str(name: &str) -> Result<Self, InvalidId> {
        Self::new(name)
    }
}

/// A vm: its libvirt uuid, never its name, for names are reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct VmId(pub Uuid);

impl fmt::Display for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for VmId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidId {
            kind: "vm id",
            value: text.chars().take(100).collect(),
            expected: "a uuid, as `virsh domuuid` prints it",
        })
    }
}

/// One boot of a host: changes when the host restarts, so that its sequence numbers may start again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub Uuid);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The scheduler's fencing token: rises with every start of a scheduler; agents deny what carries an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Position of a sample in the stream of one host's boot; rises by one per sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How often a vm's placement was confirmed anew: a command that names an older one is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Declares an id that is an epoch and a number within it, printed as `<epoch>-<number>`.
macro_rules! numbered_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name {
            /// The scheduler start that gave it.
            pub epoch: Epoch,
            /// Its number within that start, from 1.
            pub number: u64,
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&format!("{}-{}", self.epoch, self.number))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}-{}", self.epoch, self.number)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let parse = || {
                    let (epoch, number) = text.split_once('-')?;
                    Some(Self { epoch: Epoch(epoch.parse().ok()?), number: number.parse().ok()? })
                };
                parse().ok_or_else(|| InvalidId {
                    kind: $kind,
                    value: text.chars().take(100).collect(),
                    expected: "<epoch>-<number>, as in 3-17",
                })
            }
        }

        text_serde!($name);
    };
}

/// Serialises an id as its text, so that logs, JSON and journals all show the same.
macro_rules! text_serde {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

numbered_id!(
    /// One command to one agent. A migration is known by the id of the command that ordered it.
    CommandId,
    "command id"
);
numbered_id!(
    /// One decision of the control loop or of an operator.
    DecisionId,
    "decision id"
);
text_serde!(HostId);
text_serde!(VmId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_ids_refuse_what_no_certificate_could_carry() {
        assert!(HostId::new("kvm-1.example.org").is_ok());
        let spaced = "a b".to_owned();
        let long = "x".repeat(254);
        for bad in ["", "-a", ".a", &spaced, "a/b", "ä", &long] {
            let error = HostId::new(bad).unwrap_err();
            assert_eq!(error.kind, "host id", "{bad}");
        }
    }

    #[test]
    fn ids_survive_their_text_form() {
        let id = CommandId { epoch: Epoch(3), number: 17 };
        assert_eq!(id.to_string(), "3-17");
        assert_eq!("3-17".parse::<CommandId>(), Ok(id));
        for bad in ["", "3", "3-", "-17", "3-x", "3-17-1"] {
            assert!(bad.parse::<CommandId>().is_err(), "{bad}");
        }
    }
}
