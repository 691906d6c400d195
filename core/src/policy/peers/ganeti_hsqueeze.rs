//! `ganeti-hsqueeze`: Ganeti's tool that powers hosts off and on by what is promised, not by what is used.
//!
//! Source: ganeti `HTools/Program/Hsqueeze.hs` and its manual. As long as every host that is up could take one more vm of
//! twice the standard size, hosts are powered off, those with the fewest vms first, each if all its vms find room and that
//! still holds; where some host could not take it, standby hosts are powered on and the cluster is balanced onto them.
//! Room is memory, and vCPUs up to four times the cores; CPU in use does not count.
//!
//! Our reading: the vms of a host go to the least filled host, which is where hbal's score rises least; the rest of the
//! cluster is not balanced anew after each; the standard vm has one vCPU and 128 MiB, Ganeti's default specification.
//! Growth: `O(vms log hosts)`.

use std::collections::BTreeSet;

use crate::{
    policy::{
        Advice, Policy, View,
        peers::{
            ganeti_hbal::{Score, VCPU_RATIO},
            spread::{Spread, Yardstick, climb},
            table::{Ask, Key, Mover, Places, Table},
        },
    },
    proposal::Motive,
    units::Bytes,
};

/// Moves worked out in one round when hosts have come up.
const STEPS: usize = 1000;
/// Memory of twice the standard vm.
const SPARE_MEMORY: Bytes = Bytes::from_mib(2 * 128);
/// vCPUs of twice the standard vm.
const SPARE_VCPUS: f64 = 2.0;

/// Power management by promised resources.
#[derive(Debug, Clone, Copy, Default)]
pub struct GanetiHsqueeze;

impl GanetiHsqueeze {
    /// Its name.
    pub const NAME: &'static str = "ganeti-hsqueeze";
}

/// True where the row could take the spare vm.
fn has_spare(table: &Table<'_>, row: usize) -> bool {
    let stand = &table.rows[row].stand;
    let vcpus = stand.vcpus + SPARE_VCPUS <= table.rows[row].cores * VCPU_RATIO;
    vcpus && stand.memory + SPARE_MEMORY.as_f64() <= table.rows[row].bytes
}

/// Hosts by how filled they are, the least first.
struct LeastFilled {
    sorted: BTreeSet<(Key, usize)>,
    key: Vec<Option<f64>>,
}

impl LeastFilled {
    fn new(table: &Table<'_>) -> Self {
        let mut places = Self { sorted: BTreeSet::new(), key: vec![None; table.rows.len()] };
        table.members().into_iter().for_each(|row| places.refresh(table, row));
        places
    }
}

impl Places for LeastFilled {
    fn find(&mut self, table: &Table<'_>, mover: &Mover<'_>) -> Option<usize> {
        let takes = |row: &usize| {
            let at = &table.rows[*row];
            let memory = at.stand.memory + mover.memory() + SPARE_MEMORY.as_f64() <= at.bytes;
            let vcpus = at.stand.vcpus + mover.vcpus() + SPARE_VCPUS <= at.cores * VCPU_RATIO;
            memory && vcpus && table.fits(*row, mover, f64::INFINITY)
        };
        self.sorted.iter().map(|(_, row)| *row).take(TRIED).find(takes)
    }

    fn refresh(&mut self, table: &Table<'_>, row: usize) {
        if let Some(key) = self.key[row].take() {
            self.sorted.remove(&(Key(key), row));
        }
        if table.is_member(row) {
            let point = Score { vcpu_ratio: VCPU_RATIO }.host(&table.rows[row]);
            let key = point[1].max(point[2] / VCPU_RATIO);
            self.key[row] = Some(key);
            self.sorted.insert((Key(key), row));
        }
    }
}

/// Hosts tried for one vm: where so many of the least filled do not take it, hardly any will.
const TRIED: usize = 256;

impl Policy for GanetiHsqueeze {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn propose(&mut self, view: View<'_>) -> Advice {
        let mut table = Table::new(view, Ask::used);
        let tight = table.members().into_iter().filter(|row| !has_spare(&table, *row)).count();
        if tight > 0 {
            expand(&mut table, tight);
        } else {
            squeeze(&mut table);
        }
        table.advice
    }
}

/// Balances onto what has room, and powers on a host where that is not enough.
fn expand(table: &mut Table<'_>, tight: usize) {
    let by = Score { vcpu_ratio: VCPU_RATIO };
    climb(table, &by, STEPS, |_| true, |before: &Spread, after: &Spread| by.score(after) < by.score(before));
    if table.members().into_iter().any(|row| !has_spare(table, row)) {
        let motive = Motive::Shortage { cores_short: SPARE_VCPUS / VCPU_RATIO };
        if !table.wake_any(&motive) {
            table.advice.notes.push(format!("{tight} hosts are full, and no host is asleep to be woken"));
        }
    }
}

fn squeeze(table: &mut Table<'_>) {
    let awake = table.members().len();
    let asleep = table.sleep_empty(0, awake.saturating_sub(1), |_, _| true);
    let mut rows = table.members();
    rows.sort_by_key(|row| (table.rows[*row].movers.len(), *row));
    rows.truncate(awake.saturating_sub(asleep).saturating_sub(1));
    let mut places = LeastFilled::new(table);
    for row in rows {
        let at = &table.rows[row];
        if at.could_be_emptied() && table.can_sleep(row) {
            let movers = at.largest_first();
            table.evacuate(row, &movers, &mut places, |_| true);
        }
    }
}
