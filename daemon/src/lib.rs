//! What both daemons need from the machine: a clock, segment files, configuration, logging, TLS, systemd.

#![forbid(unsafe_code)]

pub mod clock;
pub mod config;
pub mod held;
pub mod logging;
pub mod notify;
pub mod segments;
pub mod tls;
