//! `watcher-consolidation`: OpenStack Watcher's VM workload consolidation.
//!
//! Source: openstack/watcher, `vm_workload_consolidation.py`. Four phases over mean use of 3600 s with capacity
//! coefficients of 1.0: *offload* takes from hosts whose CPU is asked for beyond capacity, the smallest vms first, to the
//! first host with room, the most loaded first; *consolidate* goes through the hosts from the least loaded, and through
//! each one's vms from the largest, and puts each on the first more loaded host with room; *optimise* makes one move of
//! several and none of a round trip; hosts left empty are disabled.
//!
//! Our reading: a vm is moved at most once a round (what *optimise* comes to, a round trip apart, which is not begun);
//! the order of the hosts is that of the beginning, as in the code; a disabled host is one that sleeps, and what the
//! offload phase enables is woken first; memory is what is promised. Growth: `O(vms log hosts)`.

use std::time::Duration;

use crate::{
    id::VmId,
    policy::{
        Advice, Policy, View,
        peers::{
            means::Means,
            room::InOrder,
            table::{Places, Table},
            watcher_stabilization::averaged,
        },
    },
    proposal::Motive,
};

/// Capacity coefficient.
const COEFFICIENT: f64 = 1.0;
/// Time over which use is averaged.
const PERIOD: Duration = Duration::from_secs(3600);

/// Offload, consolidate, optimise, disable.
#[derive(Debug, Clone)]
pub struct WatcherConsolidation {
    used: Means<VmId>,
}

impl WatcherConsolidation {
    /// Its name.
    pub const NAME: &'static str = "watcher-consolidation";
}

impl Default for WatcherConsolidation {
    fn default() -> Self {
        Self { used: Means::over(PERIOD) }
    }
}

impl Policy for WatcherConsolidation {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn propose(&mut self, view: View<'_>) -> Advice {
        let mut table = Table::new(view, averaged(&mut self.used, view));
        let mut order = table.members();
        let load = |row: &usize| table.rows[*row].stand.cpu;
        order.sort_by(|a, b| load(b).total_cmp(&load(a)).then(b.cmp(a)));
        let mut shelf = InOrder::new(&table, order.clone(), COEFFICIENT);
        offload(&mut table, &order, &mut shelf);
        consolidate(&mut table, &order, &mut shelf);
        table.sleep_empty(0, usize::MAX, |_, _| true);
        table.advice
    }
}

fn offload(table: &mut Table<'_>, order: &[usize], shelf: &mut InOrder) {
    for row in order.iter().copied() {
        let is_over = |cpu: f64, cores: f64| cpu > cores * COEFFICIENT;
        let (load, host) = (table.rows[row].cpu_share(), table.host(row).clone());
        let motive = Motive::Overload { host, load, limit: COEFFICIENT };
        let mut waiting = 0.0;
        for mover in table.rows[row].smallest_first() {
            if !is_over(table.rows[row].stand.cpu - waiting, table.rows[row].cores) {
                break;
            }
            if let Some(to) = shelf.find(table, &mover) {
                table.relocate(row, mover, to, &motive);
                [row, to].into_iter().for_each(|row| shelf.refresh(table, row));
            } else if table.wake_for(row, &mover, COEFFICIENT, &motive) {
                waiting += mover.ask.cores;
            }
        }
    }
}

fn consolidate(table: &mut Table<'_>, order: &[usize], shelf: &mut InOrder) {
    for (place, row) in order.iter().copied().enumerate().rev() {
        let motive = Motive::Consolidation { host: table.host(row).clone() };
        for mover in table.rows[row].largest_first() {
            if let Some(to) = shelf.first(table, &mover, place) {
                table.relocate(row, mover, to, &motive);
                [row, to].into_iter().for_each(|row| shelf.refresh(table, row));
            }
        }
    }
}
