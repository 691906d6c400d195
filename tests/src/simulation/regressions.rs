//! Seeds that broke a promise once, each with what was wrong: they are played with every run of the tests.
//!
//! A seed means what it means only for this simulation: whoever changes what the dice decide looks for seeds that take the
//! place of these (by undoing the mend), or sees that a test of its own stands for the bug.

/// The seeds, and what they found.
pub const REGRESSIONS: &[(u64, &str)] = &[
    (11127, "a vm started anew on a host whose link was lost was told as gone by what that host had said before"),
    (
        16358,
        "a host said hello with an inventory from before a vm was started on it, though it had sampled the vm since",
    ),
];
