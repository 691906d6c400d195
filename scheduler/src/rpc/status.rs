//! Every error of the engine and of the wire as a gRPC status, in one table, with the reason in words.
//!
//! The codes tell a program what to do: `INVALID_ARGUMENT` never works, `NOT_FOUND` names nothing that is there,
//! `FAILED_PRECONDITION` works once the fleet has changed, `UNAVAILABLE` may work if tried again.

use std::time::Duration;

use tonic::{Code, Status, metadata::MetadataMap};

use ballast_proto::convert::InvalidField;

use crate::engine::{OperatorError, Refusal, SessionError};

fn operator_code(error: &OperatorError) -> Code {
    match error {
        OperatorError::InvalidId(_) | OperatorError::AmbiguousVm { .. } => Code::InvalidArgument,
        OperatorError::UnknownHost { .. }
        | OperatorError::UnknownVm { .. }
        | OperatorError::UnknownDecision { .. }
        | OperatorError::UnknownMigration { .. }
        | OperatorError::UnknownId { .. } => Code::NotFound,
        OperatorError::AlreadyOver { .. }
        | OperatorError::AlreadyExecuted { .. }
        | OperatorError::Denied { .. }
        | OperatorError::Refused { .. }
        | OperatorError::SteppedDown { .. } => Code::FailedPrecondition,
        OperatorError::HostAway { .. } | OperatorError::NotDurable { .. } | OperatorError::Stopping => {
            Code::Unavailable
        }
    }
}

fn refusal_code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::SteppedDown { .. } => Code::FailedPrecondition,
        Refusal::TooMany { .. } => Code::ResourceExhausted,
        Refusal::Stopping => Code::Unavailable,
    }
}

fn session_code(error: &SessionError) -> Code {
    match error {
        SessionError::Ended => Code::Aborted,
        SessionError::WrongHost { .. } => Code::PermissionDenied,
        SessionError::Stopping => Code::Unavailable,
    }
}

/// An engine's answer to an operator.
pub(super) fn operator(error: &OperatorError) -> Status {
    Status::new(operator_code(error), error.to_string())
}

/// A link that is not opened.
pub(super) fn refusal(refusal: &Refusal) -> Status {
    Status::new(refusal_code(refusal), refusal.to_string())
}

/// A message of a link that is not taken.
pub(super) fn session(error: &SessionError) -> Status {
    Status::new(session_code(error), error.to_string())
}

/// A message that cannot be understood, with the field at fault; `within` is the message's name.
pub(super) fn malformed(within: &str, error: InvalidField) -> Status {
    Status::invalid_argument(error.within(within).to_string())
}

/// Calls that come too often; says in words and, as gRPC's clients read it, in `grpc-retry-pushback-ms` when to try again.
pub(super) fn too_often(what: &str, wait: Duration) -> Status {
    let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
    let mut hint = MetadataMap::new();
    hint.insert("grpc-retry-pushback-ms", millis.into());
    let message = format!("{what} come too often: try again in {:.2} s", wait.as_secs_f64());
    Status::with_metadata(Code::ResourceExhausted, message, hint)
}

/// A field of a request that is wrong.
pub(super) fn invalid(error: &InvalidField) -> Status {
    Status::invalid_argument(error.to_string())
}

#[cfg(test)]
mod tests {
    use ballast_core::{finding::Finding, id::HostId};

    use super::*;

    #[test]
    fn a_denied_migration_names_every_finding() {
        let host = HostId::new("kvm1").unwrap();
        let findings = vec![Finding::SameHost { host: host.clone() }, Finding::NotAwake { host }];
        let status = operator(&OperatorError::Denied { findings });
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.message(), "kvm1 is both source and destination; kvm1 is not awake");
    }

    #[test]
    fn what_is_not_there_is_not_found_and_named() {
        let status = operator(&OperatorError::UnknownVm { vm: "web-9".into() });
        assert_eq!(status.code(), Code::NotFound);
        assert!(status.message().contains("\"web-9\""), "{}", status.message());
    }

    #[test]
    fn a_malformed_field_is_named_with_its_path() {
        let status = malformed("batch", InvalidField::new("vms[3].vm_uuid", "4 bytes", "a uuid of 16 bytes is needed"));
        assert_eq!(status.message(), "batch.vms[3].vm_uuid = 4 bytes: a uuid of 16 bytes is needed");
    }
}
