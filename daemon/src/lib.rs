//! What both daemons need from the machine: a clock, segment files, configuration, logging, TLS, systemd.

pub mod clock;
pub mod segments;
