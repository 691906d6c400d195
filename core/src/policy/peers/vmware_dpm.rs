//! `vmware-dpm`: VMware's Distributed Power Management, with DRS' own balancing off.
//!
//! Source: Broadcom KB 310527 and the vSphere Resource Management guide: the target is 63 % of a host's capacity, give or
//! take 18. A host whose mean demand was above 81 % over 5 minutes asks for help; hosts whose mean was
//! below 45 % over 40 minutes are evacuated and powered off, the least loaded first, as long as no host leaves the range
//! and the cost-benefit analysis finds a gain. Off is slow, on is fast.
//!
//! Our reading: a hot host first hands vms to hosts that stay within the range (what DRS would do), and a standby host
//! is powered on where there is none, so that it can; the gain is that of the fleet's objective over its horizon, for
//! the prices of DPM's own are not published; DPM's memory demand is what vms touch, which nobody measures here, so memory
//! counts by what is promised and the capacity only. Growth: `O(vms log hosts)`.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    id::HostId,
    policy::{
        Advice, Policy, View,
        peers::{
            means::Means,
            room::{BySlack, Taste},
            table::{Ask, Places, Table},
        },
    },
    proposal::Motive,
    snapshot::HostPower,
};

/// Upper end of the range: target 63 % plus 18.
const HIGH: f64 = 0.81;
/// Lower end of the range: target 63 % less 18.
const LOW: f64 = 0.45;
/// Time over which a host must have been above the range.
const ON_AFTER: Duration = Duration::from_secs(5 * 60);
/// Time over which a host must have been below the range.
const OFF_AFTER: Duration = Duration::from_secs(40 * 60);

/// Power management by bands of utilisation.
#[derive(Debug, Clone)]
pub struct VmwareDpm {
    short: Means<HostId>,
    long: Means<HostId>,
}

impl VmwareDpm {
    /// Its name.
    pub const NAME: &'static str = "vmware-dpm";
}

impl Default for VmwareDpm {
    fn default() -> Self {
        Self { short: Means::over(ON_AFTER), long: Means::over(OFF_AFTER) }
    }
}

impl Policy for VmwareDpm {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn propose(&mut self, view: View<'_>) -> Advice {
        let mut table = Table::new(view, Ask::wanted(view));
        self.watch(&table);
        let now = view.snapshot.taken_at;
        let of = |means: &Means<HostId>, row: usize| means.whole(table.host(row), now);
        let ranked = |means: &Means<HostId>, outside: &dyn Fn(f64) -> bool| -> Vec<(f64, usize)> {
            let all = table.members().into_iter().filter_map(|row| Some((of(means, row)?, row)));
            all.filter(|(load, _)| outside(*load)).collect()
        };
        let mut hot = ranked(&self.short, &|load| load > HIGH);
        let mut cold = ranked(&self.long, &|load| load < LOW);
        hot.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        cold.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        if hot.is_empty() {
            power_off(&mut table, &cold);
        } else {
            let mut places = BySlack::new(&table, &table.members(), Taste::Loosest, HIGH);
            hot.into_iter().for_each(|(load, row)| relieve(&mut table, row, load, &mut places));
        }
        table.advice
    }
}

impl VmwareDpm {
    fn watch(&mut self, table: &Table<'_>) {
        let hosts = &table.board.view.snapshot.hosts;
        for means in [&mut self.short, &mut self.long] {
            means.keep(|host| hosts.get(host).is_some_and(|host| host.power == HostPower::Awake));
            for row in table.members() {
                means.observe(table.host(row), table.board.view.snapshot.taken_at, table.rows[row].cpu_share());
            }
        }
    }
}

/// Brings a host back to the top of the range, its smallest vms first: to others that stay within it, or to a host that
/// is powered on for them.
fn relieve(table: &mut Table<'_>, row: usize, load: f64, places: &mut dyn Places) {
    let motive = Motive::Overload { host: table.host(row).clone(), load, limit: HIGH };
    let mut waiting = 0.0;
    for mover in table.rows[row].smallest_first() {
        let left = table.rows[row].stand.cpu - waiting;
        if left <= HIGH * table.rows[row].cores {
            return;
        }
        if let Some(to) = places.find(table, &mover) {
            table.relocate(row, mover, to, &motive);
            [row, to].into_iter().for_each(|row| places.refresh(table, row));
        } else if table.wake_for(row, &mover, HIGH, &motive) {
            waiting += mover.ask.cores;
        }
    }
}

/// Powers off what is empty, and empties what is below the range, the least loaded first.
fn power_off(table: &mut Table<'_>, cold: &[(f64, usize)]) {
    let below: BTreeSet<usize> = cold.iter().map(|(_, row)| *row).collect();
    table.sleep_empty(0, usize::MAX, |_, row| below.contains(&row));
    let mut places = BySlack::new(table, &table.members(), Taste::Loosest, HIGH);
    for (_, row) in cold {
        let at = &table.rows[*row];
        if table.is_member(*row) && at.could_be_emptied() && table.can_sleep(*row) {
            let movers = at.largest_first();
            table.evacuate(*row, &movers, &mut places, |expected| expected.gain.get() > 0.0);
        }
    }
}
