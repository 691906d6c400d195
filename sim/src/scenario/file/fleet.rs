//! The hosts of a scenario file: groups of a class each, in what order, in which racks, at which sites.

use std::{collections::BTreeMap, time::Duration};

use ballast_core::{
    id::HostId,
    power::PowerCurve,
    units::{Bytes, BytesPerSec, Cores, Watts, seconds},
};

use super::keys::Keys;
use crate::{
    power_class::{self, PowerClass},
    scenario::HostSpec,
};

/// Bytes per second of a gigabit per second.
const GBIT: f64 = 1e9 / 8.0;

/// Hosts of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct HostGroup {
    /// The name of its class, see [`power_class`].
    pub class: &'static PowerClass,
    /// How many.
    pub count: usize,
    /// Its physical cores.
    pub cores: f64,
    /// How fast a core is, in the cores that vms ask for.
    pub core_speed: f64,
    /// Memory of each.
    pub memory: Bytes,
    /// Its power, with what the file says of sleep.
    pub power: PowerCurve,
    /// Bandwidth for migrations.
    pub migration: BytesPerSec,
    /// Bandwidth of its vms' network; `None` for no limit.
    pub network: Option<BytesPerSec>,
    /// Bandwidth of its storage; `None` for no limit.
    pub storage: Option<BytesPerSec>,
    /// Where it stands.
    pub site: Option<String>,
}

/// In what order the groups' hosts stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// One group after the other.
    Groups,
    /// One of each group in turn.
    Alternate,
}

/// The hosts.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetSpec {
    /// Its groups.
    pub groups: Vec<HostGroup>,
    /// Their order.
    pub order: Order,
    /// Number of racks the hosts stand in, neighbours together; 0 for none.
    pub racks: usize,
    /// By site, the round-trip time to each group of users.
    pub sites: BTreeMap<String, BTreeMap<String, Duration>>,
}

impl FleetSpec {
    pub(super) fn read(file: &Keys<'_>) -> Self {
        let sites = sites(file);
        let groups: Vec<HostGroup> =
            file.sections("hosts").into_iter().filter_map(|keys| group(keys, &sites)).collect();
        let keys = file.section("fleet");
        let order = keys.choice("order", &[("groups", Order::Groups), ("alternate", Order::Alternate)], Order::Groups);
        let racks = usize::try_from(keys.whole("racks", 0, 0..=10_000)).unwrap_or(0);
        keys.done();
        let hosts: usize = groups.iter().map(|group| group.count).sum();
        if hosts > 10_000 {
            file.wrong("hosts", format!("{hosts} hosts in all: at most 10000 may be"));
        }
        Self { groups, order, racks, sites }
    }

    /// How many hosts there are.
    pub fn len(&self) -> usize {
        self.groups.iter().map(|group| group.count).sum()
    }

    /// True where there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The hosts in order, and by host the speed of a core.
    pub(super) fn hosts(&self) -> (Vec<HostSpec>, Vec<f64>) {
        let order = self.order_of_groups();
        let width = order.len().to_string().len().max(2);
        let host = |(index, group): (usize, &usize)| {
            let rack = (index * self.racks).checked_div(order.len()).filter(|_| self.racks > 0);
            self.host(&self.groups[*group], &format!("host-{:0width$}", index + 1), rack)
        };
        let speeds = order.iter().map(|group| self.groups[*group].core_speed).collect();
        (order.iter().enumerate().map(host).collect(), speeds)
    }

    fn order_of_groups(&self) -> Vec<usize> {
        let mut left: Vec<usize> = self.groups.iter().map(|group| group.count).collect();
        if self.order == Order::Groups {
            return left.iter().enumerate().flat_map(|(group, hosts)| std::iter::repeat_n(group, *hosts)).collect();
        }
        let mut order = Vec::with_capacity(self.len());
        while left.iter().any(|hosts| *hosts > 0) {
            for (group, hosts) in left.iter_mut().enumerate().filter(|(_, hosts)| **hosts > 0) {
                *hosts -= 1;
                order.push(group);
            }
        }
        order
    }

    fn host(&self, group: &HostGroup, name: &str, rack: Option<usize>) -> HostSpec {
        #[allow(clippy::expect_used)] // The name is letters, a dash and digits.
        let host = HostId::new(name).expect("a valid host name");
        let rtt = group.site.as_ref().and_then(|site| self.sites.get(site)).cloned().unwrap_or_default();
        HostSpec {
            hardware: group.class.hardware.clone(),
            storage_bandwidth: group.storage,
            network_bandwidth: group.network,
            migration_bandwidth: group.migration,
            fault_domain: rack.map(|rack| format!("rack-{:02}", rack + 1)),
            site: group.site.clone(),
            rtt,
            ..HostSpec::new(host, Cores(group.cores * group.core_speed), group.memory, group.power.clone())
        }
    }
}

/// `[[sites]]`: a name and, by group of users, the round-trip time in milliseconds.
fn sites(file: &Keys<'_>) -> BTreeMap<String, BTreeMap<String, Duration>> {
    let site = |keys: Keys<'_>| {
        let name = keys.text("name");
        let rtt = keys.section("rtt_ms");
        let one = |users: String| {
            let millis = rtt.needed_number(&users, 0.0..=10_000.0);
            (users, seconds(millis / 1000.0))
        };
        let times = rtt.names().into_iter().map(one).collect();
        keys.done();
        (name, times)
    };
    file.sections("sites").into_iter().map(site).collect()
}

/// One of `[[hosts]]`; `None` where its class is not known, which is noted.
fn group(keys: Keys<'_>, sites: &BTreeMap<String, BTreeMap<String, Duration>>) -> Option<HostGroup> {
    let name = keys.text("class");
    let class = power_class::by_name(&name);
    if class.is_none() && !name.is_empty() {
        let names: Vec<&str> = power_class::all().iter().map(|class| class.id.as_str()).collect();
        keys.wrong("class", format!("one of {} is needed", names.join(", ")));
    }
    let count = keys.count("count", 1..=10_000);
    // An unknown class has no defaults of its own: those of any other serve to find what else is wrong.
    let like = class.unwrap_or(&power_class::all()[0]);
    let bandwidth = |key, unit: f64| keys.maybe_number(key, 0.001..=1e6).map(|number| BytesPerSec(number * unit));
    let group = HostGroup {
        class: like,
        count,
        cores: keys.number("cores", like.cores.get(), 0.1..=4096.0),
        core_speed: keys.number("core_speed", 1.0, 0.01..=100.0),
        memory: memory(&keys, like),
        power: power(&keys, like),
        migration: bandwidth("migration_gbit", GBIT).unwrap_or(BytesPerSec(10.0 * GBIT)),
        network: bandwidth("network_gbit", GBIT),
        storage: bandwidth("storage_mb_s", 1e6),
        site: keys.maybe_text("site"),
    };
    if group.site.as_ref().is_some_and(|site| !sites.contains_key(site)) {
        keys.wrong("site", "the name of one of [[sites]] is needed");
    }
    keys.done();
    class.map(|_| group)
}

fn memory(keys: &Keys<'_>, class: &PowerClass) -> Bytes {
    let gib = keys.number("memory_gib", class.memory.as_f64() / f64::from(1 << 30), 0.25..=65_536.0);
    Bytes::from_f64(gib * f64::from(1 << 30))
}

/// The class's curve with what the file says of sleep.
fn power(keys: &Keys<'_>, class: &PowerClass) -> PowerCurve {
    let curve = &class.curve;
    let asleep = keys.number("asleep_w", curve.asleep().get(), 0.0..=10_000.0);
    let wake = keys.span("wake_s", curve.wake_time().as_secs_f64(), 0.0..=3600.0);
    let fall = keys.span("fall_asleep_s", curve.fall_asleep_time().as_secs_f64(), 0.0..=3600.0);
    PowerCurve::new(*curve.points(), Watts(asleep), wake, fall).unwrap_or_else(|error| {
        keys.wrong("asleep_w", error.to_string());
        curve.clone()
    })
}
