//! The scheduler: takes in telemetry, decides, commands, and keeps the record.

pub mod engine;
