//! `rl-dc`: tabular Q-learning of each host's power mode.
//!
//! Source: F. Farahnakian, P. Liljeberg, J. Plosila, Energy-Efficient Virtual Machines Consolidation in Cloud Data Centers
//! Using Reinforcement Learning (PDP 2014): an agent learns online, without a model, when a host should sleep or be active,
//! so that energy is low and performance is kept.
//!
//! Our reading, for the paper is known to us by its abstract: all hosts share one table; the state is the host's mode, the
//! tenth of its own use and the tenth of the fleet's use of all its CPU; the actions are *active* and *sleep*; the cost of a
//! step is the host's power over its peak plus [`OVERLOAD`] times the share of hosts that are overloaded; learning rate,
//! discount and exploration are [`RATE`], [`DISCOUNT`] and [`EXPLORE`], the last falling with the visits to a state. To
//! sleep, a host is emptied by best fit, all or nothing; overloaded hosts give vms away as in [`super::packing`]. Draws
//! follow from the view's seed and time. Growth: `O(vms log hosts)`.

use std::collections::BTreeMap;

use crate::{
    id::HostId,
    policy::{
        Advice, Policy, View,
        peers::{
            means::Dice,
            packing,
            room::{BySlack, Taste},
            table::{Ask, Table},
        },
    },
    proposal::Motive,
    units::{Timestamp, count},
};

/// Price of all hosts being overloaded, in a host's peak power.
const OVERLOAD: f64 = 10.0;
/// Share of a new experience in what is believed.
const RATE: f64 = 0.1;
/// What a cost one step later counts now.
const DISCOUNT: f64 = 0.9;
/// Chance of trying the other action in a state never seen.
const EXPLORE: f64 = 0.2;
/// Visits after which exploration has halved.
const SETTLED: f64 = 100.0;
/// Steps that a share is told apart by.
const TENTHS: usize = 11;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Active,
    Sleep,
}

/// What the agent sees of one host: mode, own use, the fleet's use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    asleep: bool,
    own: usize,
    fleet: usize,
}

/// Expected cost of both actions, and how often the state was seen.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    cost: [f64; 2],
    visits: f64,
}

impl Cell {
    fn of(&self, act: Act) -> f64 {
        self.cost[usize::from(act == Act::Sleep)]
    }

    /// The cheaper action; where they are equal, the mode stays.
    fn best(&self, state: State) -> Act {
        let stay = if state.asleep { Act::Sleep } else { Act::Active };
        match self.of(Act::Sleep).total_cmp(&self.of(Act::Active)) {
            std::cmp::Ordering::Less => Act::Sleep,
            std::cmp::Ordering::Greater => Act::Active,
            std::cmp::Ordering::Equal => stay,
        }
    }
}

/// Q-learning of power modes.
#[derive(Debug, Clone, Default)]
pub struct RlDc {
    table: BTreeMap<State, Cell>,
    /// What was done with each host, and in which state.
    done: BTreeMap<HostId, (State, Act)>,
    at: Timestamp,
}

impl RlDc {
    /// Its name.
    pub const NAME: &'static str = "rl-dc";

    /// Takes in what the last actions have led to.
    fn learn(&mut self, seen: &[Seen]) {
        for one in seen {
            let Some((before, act)) = self.done.remove(&one.host) else { continue };
            let ahead = self.table.get(&one.state).map_or(0.0, |cell| cell.of(cell.best(one.state)));
            let cell = self.table.entry(before).or_default();
            let cost = &mut cell.cost[usize::from(act == Act::Sleep)];
            *cost += RATE * (one.cost + DISCOUNT * ahead - *cost);
            cell.visits += 1.0;
        }
    }

    fn choose(&self, state: State, dice: &mut Dice) -> Act {
        let cell = self.table.get(&state).copied().unwrap_or_default();
        let best = cell.best(state);
        let tries = dice.share() < EXPLORE / (1.0 + cell.visits / SETTLED);
        match (tries, best) {
            (false, act) => act,
            (true, Act::Active) => Act::Sleep,
            (true, Act::Sleep) => Act::Active,
        }
    }
}

/// One host as the agent meets it.
struct Seen {
    row: usize,
    host: HostId,
    state: State,
    cost: f64,
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn tenth(share: f64) -> usize {
    // Clamped to 0..=10: nothing is lost, and what is not a number becomes 0.
    ((share * 10.0).clamp(0.0, 10.0) as usize).min(TENTHS - 1)
}

fn look(table: &Table<'_>) -> Vec<Seen> {
    let hosts = &table.board.slots;
    let cores: f64 = table.rows.iter().map(|row| row.cores).sum();
    let used: f64 = table.rows.iter().map(|row| row.stand.cpu).sum();
    let members = table.members();
    let over = members.iter().filter(|row| table.rows[**row].cpu_share() > 1.0).count();
    let overloaded = count(over) / count(members.len().max(1));
    let see = |row: usize| {
        let (host, share) = (hosts[row].host, table.rows[row].cpu_share());
        let asleep = hosts[row].could_wake();
        let power = &host.inventory.power;
        let watts = if asleep { power.asleep() } else { power.at(share) };
        let cost = watts.ratio_of(power.peak()) + OVERLOAD * overloaded;
        let state = State { asleep, own: tenth(share), fleet: tenth(used / cores.max(f64::MIN_POSITIVE)) };
        Seen { row, host: host.id().clone(), state, cost }
    };
    let met = |row: &usize| hosts[*row].could_wake() || table.is_member(*row);
    (0..table.rows.len()).filter(met).map(see).collect()
}

impl Policy for RlDc {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn propose(&mut self, view: View<'_>) -> Advice {
        let mut table = Table::new(view, Ask::used);
        let seen = look(&table);
        let now = view.snapshot.taken_at;
        if now > self.at {
            self.learn(&seen);
            self.at = now;
        }
        let mut dice = Dice(view.seed ^ now.nanos());
        let mut acts: Vec<Act> = seen.iter().map(|one| self.choose(one.state, &mut dice)).collect();
        carry_out(&mut table, &seen, &mut acts);
        self.done = seen.into_iter().zip(acts).map(|(one, act)| (one.host, (one.state, act))).collect();
        table.advice
    }
}

/// Does what was chosen; where a host cannot be emptied, it has in truth stayed active.
fn carry_out(table: &mut Table<'_>, seen: &[Seen], acts: &mut [Act]) {
    let mut places = BySlack::new(table, &table.members(), Taste::Tightest, 1.0);
    packing::relieve(table, &mut places);
    let pool = table.board.pool(|_, _| true).0;
    for (one, act) in seen.iter().zip(acts.iter_mut()) {
        match (one.state.asleep, *act) {
            (true, Act::Active) if !table.board.slots[one.row].woken => {
                table.wake(one.row, &pool, &Motive::Shortage { cores_short: 0.0 });
            }
            (false, Act::Sleep) if !goes_to_sleep(table, one.row, &mut places) => *act = Act::Active,
            _ => {}
        }
    }
    let sleeps: Vec<usize> =
        seen.iter().zip(acts.iter()).filter(|(_, act)| **act == Act::Sleep).map(|(one, _)| one.row).collect();
    table.sleep_empty(0, usize::MAX, |_, row| sleeps.binary_search(&row).is_ok());
}

/// True where the host is empty and can sleep, or will be.
fn goes_to_sleep(table: &mut Table<'_>, row: usize, places: &mut BySlack) -> bool {
    let at = &table.rows[row];
    if !table.can_sleep(row) || !at.is_inhabited() {
        return table.can_sleep(row);
    }
    let movers = at.largest_first();
    at.could_be_emptied() && table.evacuate(row, &movers, places, |_| true)
}
