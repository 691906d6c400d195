//! Positions of hosts by their names: asked for every vm of a fleet, where a tree of strings would be most of the work.
//!
//! It is looked up in and never walked, so that the order of its entries decides nothing.

#![allow(clippy::disallowed_types)] // for that reason

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use crate::id::HostId;

/// Positions by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Names<'a>(HashMap<&'a HostId, usize, BuildHasherDefault<Fnv>>);

impl<'a> Names<'a> {
    /// Of these hosts, in this order.
    pub(super) fn of(hosts: impl Iterator<Item = &'a HostId>) -> Self {
        Self(hosts.enumerate().map(|(position, host)| (host, position)).collect())
    }

    /// Where a host stands.
    pub(super) fn position(&self, host: &HostId) -> Option<usize> {
        self.0.get(host).copied()
    }
}

/// FNV-1a (Fowler, Noll, Vo): short names, no adversary, and the same on every machine.
#[derive(Debug, Clone)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_stands_where_it_was_put() {
        let hosts: Vec<HostId> = (0..500).map(|number| HostId::new(&format!("host-{number}")).unwrap()).collect();
        let names = Names::of(hosts.iter());
        assert!(hosts.iter().enumerate().all(|(position, host)| names.position(host) == Some(position)));
        assert_eq!(names.position(&HostId::new("other").unwrap()), None);
    }
}
