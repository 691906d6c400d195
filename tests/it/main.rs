//! Every claim that spans crates, in one binary: linking once is what keeps the suite quick.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test fails by panicking and tells by printing

mod architecture;
mod bad_days;
mod bmc;
mod damage;
mod examples;
mod forecast;
mod fuzz;
mod grpc;
mod hostile;
mod lab;
mod migration;
mod operator;
mod peers;
mod preflight;
mod replay;
mod scenarios;
mod security;
mod simulation;
mod tidy;
mod units;
