//! Commands down to an agent, and reports of them up.

use ballast_core::{
    command::{Command, CommandStatus, DenyReason, MigrationLimits, Order, Report},
    id::Generation,
    units::BytesPerSec,
};

use super::{InvalidField, amount, command_id, host_id, millis, required, span, uuid_bytes, vm_id};
use crate::v1;

impl TryFrom<v1::MigrateOrder> for Order {
    type Error = InvalidField;

    fn try_from(wire: v1::MigrateOrder) -> Result<Self, InvalidField> {
        let bandwidth = wire.bandwidth_bytes_per_second;
        let limits = MigrationLimits {
            bandwidth: bandwidth.map(|rate| amount(rate, "bandwidth_bytes_per_second").map(BytesPerSec)).transpose()?,
            downtime_start: span(wire.downtime_start_millis),
            downtime_max: span(wire.downtime_max_millis),
            prepare_timeout: span(wire.prepare_timeout_millis),
            completion_timeout: span(wire.completion_timeout_millis),
            stall_timeout: span(wire.stall_timeout_millis),
            tls: wire.tls,
            auto_converge: wire.auto_converge,
            parallel: wire.parallel_connection_count,
            compression: wire.compression().into(),
        };
        Ok(Self::Migrate {
            vm: vm_id(&wire.vm_uuid, "vm_uuid")?,
            generation: Generation(wire.generation),
            destination: host_id(&wire.destination, "destination")?,
            destination_uri: wire.destination_uri,
            limits,
        })
    }
}

fn order(wire: Option<v1::command::Order>) -> Result<Order, InvalidField> {
    match wire.ok_or_else(|| InvalidField::absent("order"))? {
        v1::command::Order::Migrate(migrate) => required(Some(migrate), "migrate"),
        v1::command::Order::Cancel(cancel) => {
            Ok(Order::Cancel { migration: command_id(&cancel.migration_id, "cancel.migration_id")? })
        }
        v1::command::Order::Sleep(v1::SleepOrder {}) => Ok(Order::Sleep),
        v1::command::Order::Wake(wake) => Ok(Order::Wake {
            target: host_id(&wake.target, "wake.target")?,
            address: Some(wake.address).filter(|address| !address.is_empty()),
        }),
    }
}

fn wire_order(order: Order) -> v1::command::Order {
    match order {
        Order::Migrate { vm, generation, destination, destination_uri, limits } => {
            v1::command::Order::Migrate(v1::MigrateOrder {
                vm_uuid: uuid_bytes(vm),
                generation: generation.0,
                destination: destination.to_string(),
                destination_uri,
                bandwidth_bytes_per_second: limits.bandwidth.map(BytesPerSec::get),
                downtime_start_millis: millis(limits.downtime_start),
                downtime_max_millis: millis(limits.downtime_max),
                prepare_timeout_millis: millis(limits.prepare_timeout),
                completion_timeout_millis: millis(limits.completion_timeout),
                stall_timeout_millis: millis(limits.stall_timeout),
                tls: limits.tls,
                auto_converge: limits.auto_converge,
                parallel_connection_count: limits.parallel,
                compression: v1::Compression::from(limits.compression).into(),
            })
        }
        Order::Cancel { migration } => {
            v1::command::Order::Cancel(v1::CancelOrder { migration_id: migration.to_string() })
        }
        Order::Sleep => v1::command::Order::Sleep(v1::SleepOrder {}),
        Order::Wake { target, address } => {
            v1::command::Order::Wake(v1::WakeOrder { target: target.to_string(), address: address.unwrap_or_default() })
        }
    }
}

impl TryFrom<v1::Command> for Command {
    type Error = InvalidField;

    fn try_from(wire: v1::Command) -> Result<Self, InvalidField> {
        Ok(Self {
            id: command_id(&wire.command_id, "command_id")?,
            host: host_id(&wire.host, "host")?,
            ttl: span(wire.ttl_millis),
            order: order(wire.order)?,
        })
    }
}

impl From<Command> for v1::Command {
    fn from(command: Command) -> Self {
        Self {
            command_id: command.id.to_string(),
            host: command.host.to_string(),
            ttl_millis: millis(command.ttl),
            order: Some(wire_order(command.order)),
        }
    }
}

impl From<v1::Denied> for DenyReason {
    /// A reason this version cannot read is kept in words: a refusal stays a refusal.
    fn from(wire: v1::Denied) -> Self {
        serde_json::from_str(&wire.reason_json).unwrap_or(Self::Other { reason: wire.reason })
    }
}

impl From<DenyReason> for v1::Denied {
    fn from(reason: DenyReason) -> Self {
        // A reason holds only numbers and text, which always have a JSON form; without one the words remain.
        Self { reason_json: serde_json::to_string(&reason).unwrap_or_default(), reason: reason.to_string() }
    }
}

impl TryFrom<v1::CommandReport> for Report {
    type Error = InvalidField;

    fn try_from(wire: v1::CommandReport) -> Result<Self, InvalidField> {
        let id = command_id(&wire.command_id, "command_id")?;
        let status = match wire.status.ok_or_else(|| InvalidField::absent("status"))? {
            v1::command_report::Status::Accepted(_) => CommandStatus::Accepted,
            v1::command_report::Status::Running(progress) => {
                CommandStatus::Running(required(Some(progress), "running")?)
            }
            v1::command_report::Status::Finished(outcome) => {
                CommandStatus::Finished(required(Some(outcome), "finished")?)
            }
            v1::command_report::Status::Denied(denied) => CommandStatus::Denied(denied.into()),
            v1::command_report::Status::Unknown(_) => CommandStatus::Unknown,
        };
        Ok(Self { id, status })
    }
}

impl From<Report> for v1::CommandReport {
    fn from(report: Report) -> Self {
        let status = match report.status {
            CommandStatus::Accepted => v1::command_report::Status::Accepted(true),
            CommandStatus::Running(progress) => v1::command_report::Status::Running(progress.into()),
            CommandStatus::Finished(outcome) => v1::command_report::Status::Finished(outcome.into()),
            CommandStatus::Denied(reason) => v1::command_report::Status::Denied(reason.into()),
            CommandStatus::Unknown => v1::command_report::Status::Unknown(true),
        };
        Self { command_id: report.id.to_string(), status: Some(status) }
    }
}
