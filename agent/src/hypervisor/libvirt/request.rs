//! The limits of a migration as libvirt's flags and typed parameters.
//!
//! Pure; [`super::ffi`] hands them over. Which versions can do what, `core::preflight` has asked before.

use std::ffi::CStr;

use ballast_core::{
    command::MigrationLimits,
    convergence::Compression,
    units::{Bytes, BytesPerSec},
};
use virt_sys as sys;

/// A value of a typed parameter, by libvirt's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Param {
    /// `int`.
    Int(i32),
    /// `unsigned long long`.
    Unsigned(u64),
    /// A string.
    Text(&'static CStr),
}

/// What libvirt is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// `VIR_MIGRATE_*`.
    pub(super) flags: u32,
    /// `VIR_MIGRATE_PARAM_*` and their values.
    pub(super) params: Vec<(&'static CStr, Param)>,
}

impl Request {
    /// A migration within `limits` of a vm that is (or is not) `persistent`. Never `UNSAFE`: libvirt's check for shared storage
    /// stands between a vm and its disk's ruin. Never `POSTCOPY`: a vm whose post-copy fails is lost.
    pub(super) fn new(persistent: bool, limits: &MigrationLimits) -> Self {
        let mut flags = sys::VIR_MIGRATE_PEER2PEER | sys::VIR_MIGRATE_LIVE;
        let mut params = Vec::new();
        if persistent {
            flags |= sys::VIR_MIGRATE_PERSIST_DEST | sys::VIR_MIGRATE_UNDEFINE_SOURCE;
        }
        if limits.tls {
            flags |= sys::VIR_MIGRATE_TLS;
        }
        if let Some(rate) = limits.bandwidth {
            params.push((sys::VIR_MIGRATE_PARAM_BANDWIDTH, Param::Unsigned(mib_per_second(rate))));
        }
        if limits.auto_converge {
            flags |= sys::VIR_MIGRATE_AUTO_CONVERGE;
        }
        if let Some(connections) = limits.parallel {
            flags |= sys::VIR_MIGRATE_PARALLEL;
            let connections = i32::try_from(connections).unwrap_or(i32::MAX);
            params.push((sys::VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS, Param::Int(connections)));
        }
        if limits.compression == Compression::Zstd {
            flags |= sys::VIR_MIGRATE_COMPRESSED;
            params.push((sys::VIR_MIGRATE_PARAM_COMPRESSION, Param::Text(c"zstd")));
        }
        Self { flags, params }
    }
}

/// A rate in the unit libvirt takes, MiB/s; at least one.
fn mib_per_second(rate: BytesPerSec) -> u64 {
    let mib = Bytes::from_f64(rate.get()).get().div_ceil(1 << 20);
    mib.max(1)
}

#[cfg(test)]
mod tests {
    use ballast_core::convergence::Convergence;

    use super::*;

    fn plain() -> MigrationLimits {
        MigrationLimits { tls: false, ..MigrationLimits::for_memory(Bytes::from_gib(1)) }
    }

    #[test]
    fn only_a_persistent_vm_takes_its_definition_along_and_nothing_is_ever_unsafe() {
        let wish = Convergence {
            bandwidth_mbit: Some(100),
            auto_converge: true,
            parallel: Some(2),
            compression: Compression::Zstd,
            ..Convergence::default()
        };
        let everything = MigrationLimits { tls: true, ..wish.limits(Bytes::from_gib(1)) };
        let all = Request::new(true, &everything).flags | Request::new(false, &plain()).flags;
        assert_eq!(all & (sys::VIR_MIGRATE_UNSAFE | sys::VIR_MIGRATE_POSTCOPY | sys::VIR_MIGRATE_OFFLINE), 0);
        let definition = sys::VIR_MIGRATE_PERSIST_DEST | sys::VIR_MIGRATE_UNDEFINE_SOURCE;
        assert_eq!(Request::new(true, &plain()).flags & definition, definition);
        let least = Request { flags: sys::VIR_MIGRATE_PEER2PEER | sys::VIR_MIGRATE_LIVE, params: Vec::new() };
        assert_eq!(Request::new(false, &plain()), least);
    }

    #[test]
    fn each_limit_that_libvirt_keeps_is_handed_over() {
        let with = |change: fn(&mut MigrationLimits)| {
            let mut limits = plain();
            change(&mut limits);
            let Request { flags, params } = Request::new(false, &limits);
            (flags & !(sys::VIR_MIGRATE_PEER2PEER | sys::VIR_MIGRATE_LIVE), params)
        };
        assert_eq!(with(|limits| limits.tls = true), (sys::VIR_MIGRATE_TLS, vec![]));
        assert_eq!(with(|limits| limits.auto_converge = true), (sys::VIR_MIGRATE_AUTO_CONVERGE, vec![]));
        assert_eq!(
            with(|limits| limits.bandwidth = Some(BytesPerSec(125e6))),
            (0, vec![(c"bandwidth", Param::Unsigned(120))])
        );
        assert_eq!(
            with(|limits| limits.parallel = Some(4)),
            (sys::VIR_MIGRATE_PARALLEL, vec![(c"parallel.connections", Param::Int(4))])
        );
        assert_eq!(
            with(|limits| limits.compression = Compression::Zstd),
            (sys::VIR_MIGRATE_COMPRESSED, vec![(c"compression", Param::Text(c"zstd"))])
        );
    }

    #[test]
    fn bandwidth_is_rounded_up_and_never_zero() {
        assert_eq!(mib_per_second(BytesPerSec(1.0)), 1);
        assert_eq!(mib_per_second(BytesPerSec(0.0)), 1);
        assert_eq!(mib_per_second(BytesPerSec(125e6)), 120);
    }
}
