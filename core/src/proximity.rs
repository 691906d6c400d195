//! How far users are from the hosts that serve them, and what a nearer host is worth.
//!
//! A host says at which site it is, a vm whose users it serves, and the operator how long a round trip between the two takes.
//! Distance weighs as much as the vm works: each core-second of its demand is somebody's request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    inventory::{Inventory, VmRecord},
    units::{Cores, Joules},
};

/// Longest round trip that is believed, milliseconds: a satellite and back is 600.
pub const RTT_MS_MAX: f64 = 10_000.0;

/// Where users are, and what it is worth to be near them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proximity {
    /// What one core-second of demand may cost more for being one millisecond nearer to its users, in joules. 0: nothing, and
    /// nobody asks where users are.
    pub joules_per_core_second_ms: f64,
    /// Round-trip times in milliseconds: by site of the hosts, and then by group of users.
    pub rtt_ms: BTreeMap<String, BTreeMap<String, f64>>,
}

impl Proximity {
    /// Whether distance has a price.
    pub fn matters(&self) -> bool {
        self.joules_per_core_second_ms > 0.0
    }

    /// Milliseconds between the vm's users and the host; `None` where it has no users, or nobody said how far they are from
    /// anywhere. A host at no site, or at one from which the way to them is not known, counts as the farthest that is: what is
    /// not known must not look near.
    pub fn rtt_ms(&self, host: &Inventory, vm: &VmRecord) -> Option<f64> {
        let users = vm.labels.users.as_deref()?;
        let known = |site: &String| self.rtt_ms.get(site).and_then(|times| times.get(users)).copied();
        let farthest = || self.rtt_ms.values().filter_map(|times| times.get(users).copied()).reduce(f64::max);
        host.site.as_ref().and_then(known).or_else(farthest)
    }

    /// Milliseconds between the vm's users and the site that is nearest to them; `None` where it has none that are known.
    pub fn nearest_ms(&self, vm: &VmRecord) -> Option<f64> {
        let users = vm.labels.users.as_deref()?;
        self.rtt_ms.values().filter_map(|times| times.get(users).copied()).reduce(f64::min)
    }

    /// What it costs for so many core-seconds of demand to be so far from their users.
    pub fn price(&self, core_seconds: f64, rtt_ms: f64) -> Joules {
        Joules(self.joules_per_core_second_ms * core_seconds * rtt_ms)
    }

    /// What it costs to have `vm`, which wants so much on average, on `host` for so many seconds; nothing where distance has no
    /// price or is not known.
    pub fn of(&self, host: &Inventory, vm: &VmRecord, wanted: Cores, seconds: f64) -> Joules {
        let rtt = || self.rtt_ms(host, vm).unwrap_or_default();
        if self.matters() { self.price(wanted.get() * seconds, rtt()) } else { Joules::ZERO }
    }

    /// The first round-trip time that is none, as site, users and value.
    pub(crate) fn wrong_rtt(&self) -> Option<String> {
        let all = self.rtt_ms.iter().flat_map(|(site, times)| times.iter().map(move |time| (site, time)));
        let mut wrong = all.filter(|(_, (_, time))| !(0.0..=RTT_MS_MAX).contains(*time));
        wrong.next().map(|(site, (users, time))| format!("{site}.{users} = {time}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fleet, host_id, vm_id};

    fn proximity() -> Proximity {
        let site = |name: &str, times: &[(&str, f64)]| {
            (name.to_owned(), times.iter().map(|(users, time)| ((*users).to_owned(), *time)).collect())
        };
        let rtt_ms = [site("west", &[("eu", 10.0), ("us", 90.0)]), site("east", &[("eu", 80.0)])].into();
        Proximity { joules_per_core_second_ms: 0.5, rtt_ms }
    }

    fn rtt(site: Option<&str>, users: Option<&str>) -> Option<f64> {
        let mut fleet = Fleet::new(&[("a", &[1.0])]);
        fleet.inventory("a").site = site.map(Into::into);
        fleet.record(1).labels.users = users.map(Into::into);
        let (host, vm) = (&fleet.snapshot.hosts[&host_id("a")], &fleet.snapshot.vms[&vm_id(1)]);
        proximity().rtt_ms(&host.inventory, &vm.record)
    }

    #[test]
    fn the_way_is_what_the_table_says() {
        assert_eq!(rtt(Some("west"), Some("eu")), Some(10.0));
    }

    #[test]
    fn where_the_way_is_not_known_it_is_taken_to_be_the_farthest() {
        assert_eq!([rtt(None, Some("eu")), rtt(Some("moon"), Some("eu"))], [Some(80.0); 2]);
        assert_eq!(rtt(Some("east"), Some("us")), Some(90.0));
    }

    #[test]
    fn a_vm_whose_users_nobody_knows_is_at_no_distance() {
        assert_eq!([rtt(Some("west"), None), rtt(Some("west"), Some("mars"))], [None; 2]);
    }

    #[test]
    fn a_time_that_is_none_is_named_with_its_site_and_its_users() {
        let mut tuning = crate::tuning::Tuning { proximity: proximity(), ..Default::default() };
        assert_eq!(tuning.problems(), []);
        tuning.proximity.rtt_ms.entry("east".into()).or_default().insert("us".into(), f64::NAN);
        let problems: Vec<String> = tuning.problems().iter().map(ToString::to_string).collect();
        assert_eq!(problems, ["proximity.rtt_ms = east.us = NaN: milliseconds from 0 to 10000 are needed"]);
    }

    #[test]
    fn distance_is_priced_by_the_work_that_is_done_for_users() {
        assert_eq!(proximity().price(100.0, 10.0), Joules(500.0));
    }
}
