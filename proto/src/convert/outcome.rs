//! Progress and outcome of a command.

use ballast_core::{
    command::Progress,
    outcome::{Ending, Outcome, Stage, StageTimes},
    units::{Bytes, BytesPerSec, Timestamp},
};

use super::{InvalidField, amount, command_id, host_id, millis, span, uuid_bytes, vm_id};
use crate::v1;

impl From<v1::Stage> for Stage {
    fn from(wire: v1::Stage) -> Self {
        match wire {
            v1::Stage::Unspecified => Self::Queued,
            v1::Stage::Preparation => Self::Preparation,
            v1::Stage::Migration => Self::Migration,
            v1::Stage::Switching => Self::Switching,
            v1::Stage::Ended => Self::Ended,
        }
    }
}

impl From<Stage> for v1::Stage {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Queued => Self::Unspecified,
            Stage::Preparation => Self::Preparation,
            Stage::Migration => Self::Migration,
            Stage::Switching => Self::Switching,
            Stage::Ended => Self::Ended,
        }
    }
}

impl TryFrom<v1::Progress> for Progress {
    type Error = InvalidField;

    fn try_from(wire: v1::Progress) -> Result<Self, InvalidField> {
        Ok(Self {
            stage: wire.stage().into(),
            elapsed: span(wire.elapsed_millis),
            total: Bytes(wire.total_bytes),
            copied: Bytes(wire.copied_bytes),
            remaining: Bytes(wire.remaining_bytes),
            rate: BytesPerSec(amount(wire.rate_bytes_per_second, "rate_bytes_per_second")?),
            dirty_rate: BytesPerSec(amount(wire.dirty_rate_bytes_per_second, "dirty_rate_bytes_per_second")?),
            iteration: wire.iteration_count,
        })
    }
}

impl From<Progress> for v1::Progress {
    fn from(progress: Progress) -> Self {
        Self {
            stage: v1::Stage::from(progress.stage).into(),
            elapsed_millis: millis(progress.elapsed),
            total_bytes: progress.total.get(),
            copied_bytes: progress.copied.get(),
            remaining_bytes: progress.remaining.get(),
            rate_bytes_per_second: progress.rate.get(),
            dirty_rate_bytes_per_second: progress.dirty_rate.get(),
            iteration_count: progress.iteration,
        }
    }
}

fn ending(kind: i32, reason: String) -> Result<Ending, InvalidField> {
    Ok(match v1::EndingKind::try_from(kind) {
        Ok(v1::EndingKind::Completed) => Ending::Completed,
        Ok(v1::EndingKind::Failed) => Ending::Failed { reason },
        Ok(v1::EndingKind::Cancelled) => Ending::Cancelled { reason },
        Ok(v1::EndingKind::VmGone) => Ending::VmGone,
        Ok(v1::EndingKind::Abandoned) => Ending::Abandoned { reason },
        Ok(v1::EndingKind::Unresolved) => Ending::Unresolved { reason },
        Ok(v1::EndingKind::Unspecified) | Err(_) => {
            return Err(InvalidField::new("ending", kind, "one of EndingKind, 1 to 6, is needed"));
        }
    })
}

fn wire_ending(ending: Ending) -> (v1::EndingKind, String) {
    match ending {
        Ending::Completed => (v1::EndingKind::Completed, String::new()),
        Ending::Failed { reason } => (v1::EndingKind::Failed, reason),
        Ending::Cancelled { reason } => (v1::EndingKind::Cancelled, reason),
        Ending::VmGone => (v1::EndingKind::VmGone, String::new()),
        Ending::Abandoned { reason } => (v1::EndingKind::Abandoned, reason),
        Ending::Unresolved { reason } => (v1::EndingKind::Unresolved, reason),
    }
}

impl TryFrom<v1::Outcome> for Outcome {
    type Error = InvalidField;

    fn try_from(wire: v1::Outcome) -> Result<Self, InvalidField> {
        let vm = (!wire.vm_uuid.is_empty()).then(|| vm_id(&wire.vm_uuid, "vm_uuid")).transpose()?;
        let destination =
            (!wire.destination.is_empty()).then(|| host_id(&wire.destination, "destination")).transpose()?;
        Ok(Self {
            id: command_id(&wire.command_id, "command_id")?,
            vm,
            source: host_id(&wire.source, "source")?,
            destination,
            ending: ending(wire.ending, wire.reason)?,
            began_at: Timestamp(wire.began_at_unix_nanos),
            ended_at: Timestamp(wire.ended_at_unix_nanos),
            stages: StageTimes {
                preparation: span(wire.preparation_millis),
                migration: span(wire.migration_millis),
                switching: span(wire.switching_millis),
            },
            downtime: wire.downtime_millis.map(span),
            copied: Bytes(wire.copied_bytes),
            iterations: wire.iteration_count,
        })
    }
}

impl From<Outcome> for v1::Outcome {
    fn from(outcome: Outcome) -> Self {
        let (ending, reason) = wire_ending(outcome.ending);
        Self {
            command_id: outcome.id.to_string(),
            vm_uuid: outcome.vm.map(uuid_bytes).unwrap_or_default(),
            source: outcome.source.to_string(),
            destination: outcome.destination.map(|host| host.to_string()).unwrap_or_default(),
            ending: ending.into(),
            reason,
            began_at_unix_nanos: outcome.began_at.nanos(),
            ended_at_unix_nanos: outcome.ended_at.nanos(),
            preparation_millis: millis(outcome.stages.preparation),
            migration_millis: millis(outcome.stages.migration),
            switching_millis: millis(outcome.stages.switching),
            downtime_millis: outcome.downtime.map(millis),
            copied_bytes: outcome.copied.get(),
            iteration_count: outcome.iterations,
        }
    }
}
