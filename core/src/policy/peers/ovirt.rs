//! `ovirt-power-saving` and `ovirt-evenly-distributed`: oVirt's two CPU balancing policies.
//!
//! Source: ovirt-engine 4.5 (`PowerSavingBalancePolicyUnit`, `EvenDistributionBalancePolicyUnit`,
//! `CpuAndMemoryBalancingPolicyUnit`, `FindVmAndDestinations`, defaults of `0000_config.sql`). Every minute one vm of the
//! cluster is moved: from the most loaded host that has been at 75 % or more for 2 minutes, the vm that uses least CPU,
//! to a host that stays at or below 75 %. Evenly distributed takes targets below 60 % (the smaller of 80 % of 75 and 75
//! less a vCPU's 10), the least loaded first. Power saving also takes from hosts below 20 %, the least loaded first, and
//! prefers the most loaded target; with automatic power management one empty host beyond the reserve (none) is put down
//! at a time.
//!
//! Our reading: the rule of the moment is asked once for every minute since the last view, at most [`LATE`] times, so that
//! a slower beat does not make oVirt slower than it is. The engine powers hosts on only to fill the reserve; its manual
//! says also "when load balancing requires it", and that is followed, for a fleet that only ever falls asleep compares
//! nothing. Balancing by free memory is off, as by default. Growth: `O(hosts log hosts)`.

use std::time::Duration;

use crate::{
    id::HostId,
    policy::{
        Advice, Policy, View,
        peers::{
            means::Holding,
            table::{Ask, Mover, Table},
        },
    },
    proposal::Motive,
    units::Timestamp,
};

/// HighUtilization of both policies.
const HIGH: f64 = 0.75;
/// LowUtilization of power saving.
const LOW: f64 = 0.20;
/// What a target of evenly distributed stays below.
const TARGET: f64 = 0.60;
/// CpuOverCommitDurationMinutes.
const HELD: Duration = Duration::from_secs(2 * 60);
/// Time between two balancing moves.
const BEAT: Duration = Duration::from_secs(60);
/// HostsInReserve.
const RESERVE: usize = 0;
/// Moves of one view at most, however long the last one was ago.
const LATE: u64 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    SavePower,
    Even,
}

/// One of the two policies.
#[derive(Debug, Clone)]
pub struct Ovirt {
    goal: Goal,
    high: Holding<HostId>,
    low: Holding<HostId>,
    last: Option<Timestamp>,
}

impl Ovirt {
    /// Name of the policy that empties little used hosts.
    pub const POWER_SAVING: &'static str = "ovirt-power-saving";
    /// Name of the policy that only relieves.
    pub const EVENLY_DISTRIBUTED: &'static str = "ovirt-evenly-distributed";

    /// The policy that empties little used hosts.
    pub fn power_saving() -> Self {
        Self::with(Goal::SavePower)
    }

    /// The policy that only relieves.
    pub fn evenly_distributed() -> Self {
        Self::with(Goal::Even)
    }

    fn with(goal: Goal) -> Self {
        Self { goal, high: Holding::new(), low: Holding::new(), last: None }
    }

    /// How many moves the time since the last view allows.
    fn turns(&mut self, now: Timestamp) -> u64 {
        let turns = match self.last {
            Some(last) => now.since(last).as_secs() / BEAT.as_secs(),
            None => 1,
        };
        if turns > 0 {
            self.last = Some(now);
        }
        turns.min(LATE)
    }

    /// The hosts to take from, the most pressing first, and whether each is over its limit.
    fn sources(&mut self, table: &Table<'_>) -> Vec<(usize, bool)> {
        let now = table.board.view.snapshot.taken_at;
        let (mut over, mut under) = (Vec::new(), Vec::new());
        for row in table.members() {
            let (load, host) = (table.rows[row].cpu_share(), table.host(row));
            let held = |held: Option<Duration>| held.is_some_and(|held| held >= HELD);
            let inhabited = table.rows[row].is_inhabited();
            if held(self.high.note(host, now, load >= HIGH)) && inhabited {
                over.push((load, row));
            }
            if held(self.low.note(host, now, load < LOW)) && inhabited && self.goal == Goal::SavePower {
                under.push((load, row));
            }
        }
        over.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        under.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let over = over.into_iter().map(|(_, row)| (row, true));
        over.chain(under.into_iter().map(|(_, row)| (row, false))).collect()
    }

    fn target(&self, table: &Table<'_>, source: (usize, bool), mover: &Mover<'_>) -> Option<usize> {
        let load = |row: &usize| table.rows[*row].cpu_share();
        let may = |row: &usize| match self.goal {
            Goal::Even => load(row) < TARGET,
            // The scheduler weighs the host that the vm is on as well, so it goes only where more is in use.
            Goal::SavePower => {
                load(row) < HIGH && (source.1 || load(row) > load(&source.0)) && table.rows[*row].is_inhabited()
            }
        };
        let members = table.members().into_iter().filter(|row| *row != source.0);
        let open = members.filter(|row| may(row) && table.fits(*row, mover, HIGH));
        match self.goal {
            Goal::Even => open.min_by(|a, b| load(a).total_cmp(&load(b)).then(a.cmp(b))),
            Goal::SavePower => open.max_by(|a, b| load(a).total_cmp(&load(b)).then(b.cmp(a))),
        }
    }

    fn balance(&self, table: &mut Table<'_>, sources: &[(usize, bool)]) -> bool {
        for source in sources {
            let load = table.rows[source.0].cpu_share();
            let still = if source.1 { load >= HIGH } else { load < LOW };
            let Some(mover) = table.rows[source.0].smallest_first().first().copied().filter(|_| still) else {
                continue;
            };
            let host = table.host(source.0).clone();
            let motive = match source.1 {
                true => Motive::Overload { host, load, limit: HIGH },
                false => Motive::Consolidation { host },
            };
            if let Some(to) = self.target(table, *source, &mover) {
                table.relocate(source.0, mover, to, &motive);
                return true;
            }
            if source.1 && self.goal == Goal::SavePower && self.power_on(table, (source.0, mover), &motive) {
                return false;
            }
        }
        false
    }

    /// An empty host that is up takes the vm; where there is none, one is started.
    fn power_on(&self, table: &mut Table<'_>, (from, mover): (usize, Mover<'_>), motive: &Motive) -> bool {
        let empty = |row: &usize| !table.rows[*row].is_inhabited() && table.fits(*row, &mover, HIGH);
        match table.members().into_iter().find(empty) {
            Some(_) => false,
            None => table.wake_for(from, &mover, HIGH, motive),
        }
    }
}

impl Policy for Ovirt {
    fn name(&self) -> &'static str {
        match self.goal {
            Goal::SavePower => Self::POWER_SAVING,
            Goal::Even => Self::EVENLY_DISTRIBUTED,
        }
    }

    fn propose(&mut self, view: View<'_>) -> Advice {
        let mut table = Table::new(view, Ask::used);
        let sources = self.sources(&table);
        let turns = self.turns(view.snapshot.taken_at);
        for _ in 0..turns {
            if !self.balance(&mut table, &sources) {
                break;
            }
        }
        if self.goal == Goal::SavePower && turns > 0 {
            let at_most = usize::try_from(turns).unwrap_or(usize::MAX);
            table.sleep_empty(RESERVE, at_most, |_, _| true);
        }
        table.advice
    }
}
