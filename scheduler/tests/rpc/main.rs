//! The scheduler as its clients meet it: real sockets, real certificates, a real engine on an empty directory.

// Clippy sees only functions marked as tests as tests; all of this is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod certificates;
mod errors;
mod link;
mod rates;
mod reflection;
mod roles;
mod rotation;
mod running;
mod stopping;
