//! Every claim that spans crates, in one binary: linking once is what keeps the suite quick.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod architecture;
mod tidy;
mod units;
