//! The slow loop by a table: for half an hour at a time it says how cautious the greedy policy is and how many hosts a round may
//! empty. Learnt by Q-learning (Watkins 1989, *Learning from delayed rewards*); small enough to be read.

use std::{sync::Arc, time::Duration};

use ballast_core::{
    policy::{Advice, Policy, RiskGreedy, View},
    proposal::Motive,
    risk::FleetLoad,
    snapshot::{HostPower, Snapshot},
    tuning::Tuning,
    units::{Timestamp, count},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Name of the policy.
pub const NAME: &str = "q-table";

/// Name of what its states and actions mean: changes with every change of that.
pub const SCHEMA: &str = "ballast-q-table-1";

/// Time for which an action holds.
pub const HOLDS: Duration = Duration::from_secs(30 * 60);

/// How cautious: multiples of the risk that the tuning asks for. The operator's knob is the least.
const CAUTION: [f64; 4] = [1.0, 1.25, 1.5, 2.0];

/// How many hosts a round may empty, as a share of those awake, rounded up.
const DRAINS: [f64; 3] = [1.0, 0.03, 0.0];

/// Actions. The first is the greedy policy's own way.
pub const ACTIONS: usize = CAUTION.len() * DRAINS.len();

/// Levels of each part of a state: load, its trend, hosts over their limit, hour of the day, and which resource is scarcer.
const LEVELS: [usize; 5] = [5, 3, 3, 6, 2];

/// States.
pub const STATES: usize = LEVELS[0] * LEVELS[1] * LEVELS[2] * LEVELS[3] * LEVELS[4];

/// Times that an answer must have been tried before it may be preferred to the greedy policy's own way.
const TRIED: u32 = 20;

/// Why a table is refused.
#[derive(Debug, Error)]
pub enum TableError {
    /// It is no such file.
    #[error("the table of the slow loop: {0}")]
    Json(#[from] serde_json::Error),
    /// It is another's, or incomplete.
    #[error("the table of the slow loop: {field} = {value}: {expected} is needed")]
    Field {
        /// Which field.
        field: &'static str,
        /// What it is.
        value: String,
        /// What it should be.
        expected: String,
    },
}

/// What every action is worth in every state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// What its states and actions mean: [`SCHEMA`].
    pub schema: String,
    /// Version of the program that learnt it.
    pub version: String,
    /// Seed it was learnt with.
    pub seed: u64,
    /// Days it was learnt on.
    pub days: Vec<String>,
    /// Hash of the files with those days.
    pub hash: String,
    /// Episodes it was learnt from.
    pub episodes: usize,
    /// `[STATES][ACTIONS]`: what an action saves over the greedy policy's own course, in idle hosts' rounds.
    pub worth: Vec<[f32; ACTIONS]>,
    /// `[STATES][ACTIONS]`: how often it was tried.
    pub tried: Vec<[u32; ACTIONS]>,
}

impl Table {
    /// A table that knows nothing.
    pub fn new(seed: u64, days: Vec<String>, hash: String) -> Self {
        Self {
            schema: SCHEMA.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            seed,
            days,
            hash,
            episodes: 0,
            worth: vec![[0.0; ACTIONS]; STATES],
            tried: vec![[0; ACTIONS]; STATES],
        }
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// [`TableError`] for anything that does not fit.
    pub fn parse(text: &str) -> Result<Self, TableError> {
        let table: Self = serde_json::from_str(text)?;
        let wrong = |field, value: String, expected: String| Err(TableError::Field { field, value, expected });
        if table.schema != SCHEMA {
            return wrong("schema", table.schema, SCHEMA.into());
        }
        for (field, length) in [("worth", table.worth.len()), ("tried", table.tried.len())] {
            if length != STATES {
                return wrong(field, format!("{length} states"), STATES.to_string());
            }
        }
        match table.worth.iter().flatten().find(|worth| !worth.is_finite()) {
            Some(worth) => wrong("worth", worth.to_string(), "a number".into()),
            None => Ok(table),
        }
    }

    /// The best action of a state among those that were tried often enough; the greedy policy's own way where none was.
    pub fn best(&self, state: usize) -> usize {
        let (worth, tried) = (&self.worth[state], &self.tried[state]);
        let known = (1..ACTIONS).filter(|action| tried[*action] >= TRIED);
        known.fold(0, |best, action| if worth[action] > worth[best] { action } else { best })
    }
}

/// The table that comes with ballast.
///
/// # Errors
/// Where this program was built with another one than it asks.
pub fn shipped() -> Result<Table, TableError> {
    Table::parse(include_str!("../../bundles/q-table.json"))
}

/// The state that a fleet is in.
pub fn state_of(snapshot: &Snapshot, fleet: &FleetLoad<'_>) -> usize {
    let awake =
        |id: &ballast_core::id::HostId| snapshot.hosts.get(id).is_some_and(|host| host.power == HostPower::Awake);
    let pool = fleet.pool(awake);
    let (now, memory) = (pool.now().ratio_of(pool.capacity), pool.memory.ratio_of(pool.memory_capacity));
    let ahead = pool.mean_at(ballast_core::risk::MOMENTS - 1) / pool.capacity.get().max(f64::MIN_POSITIVE);
    let hosts = snapshot.hosts.values().filter(|host| host.power == HostPower::Awake);
    let hot = hosts.clone().filter(|host| !host.overloaded_for.is_zero()).count();
    let hot = count(hot) / count(hosts.count().max(1));
    let hour = snapshot.taken_at.since(Timestamp::EPOCH).as_secs() % 86_400 / 3600;
    let level = |value: f64, bounds: &[f64]| bounds.iter().filter(|bound| value > **bound).count();
    let parts = [
        level(now, &[0.3, 0.5, 0.65, 0.8]),
        level(ahead - now, &[-0.02, 0.02]),
        level(hot, &[0.0, 0.05]),
        usize::try_from(hour / 4).unwrap_or(0),
        usize::from(memory > now),
    ];
    parts.iter().zip(LEVELS).fold(0, |state, (part, levels)| state * levels + part)
}

/// The greedy policy on the terms of an action, for one round.
pub fn act(view: View<'_>, action: usize) -> Advice {
    let (caution, drains) = (CAUTION[action / DRAINS.len()], DRAINS[action % DRAINS.len()]);
    let tuning = Tuning { risk_z: view.tuning.risk_z * caution, ..view.tuning.clone() };
    let mut advice = RiskGreedy.propose(View { tuning: &tuning, ..view });
    let awake = view.snapshot.hosts.values().filter(|host| host.power == HostPower::Awake).count();
    let (mut left, mut kept) = (count(awake) * drains, 0);
    advice.proposals.retain(|proposal| {
        let empties = |motive: &Motive| {
            matches!(motive, Motive::Consolidation { .. } | Motive::Room { .. } | Motive::Replacement { .. })
        };
        if !empties(&proposal.motive) {
            return true;
        }
        let may = left > 0.0;
        left -= 1.0;
        kept += usize::from(!may);
        may
    });
    if kept > 0 {
        advice.notes.push(format!("{kept} hosts could be emptied, and the table would rather wait"));
    }
    advice
}

/// The greedy policy as a table steers it.
#[derive(Debug, Clone)]
pub struct QTable {
    table: Arc<Table>,
    /// What is done now, and since when.
    now: Option<(Timestamp, usize)>,
}

impl QTable {
    /// Steered by `table`.
    pub fn new(table: Arc<Table>) -> Self {
        Self { table, now: None }
    }

    fn action(&mut self, view: View<'_>) -> usize {
        let at = view.snapshot.taken_at;
        if let Some((since, action)) = self.now.filter(|(since, _)| *since <= at && at.since(*since) < HOLDS) {
            self.now = Some((since, action));
            return action;
        }
        let action = self.table.best(state_of(view.snapshot, view.load));
        self.now = Some((at, action));
        action
    }
}

impl Policy for QTable {
    fn name(&self) -> &'static str {
        NAME
    }

    fn propose(&mut self, view: View<'_>) -> Advice {
        let action = self.action(view);
        act(view, action)
    }

    fn relieve(&mut self, view: View<'_>) -> Advice {
        RiskGreedy.relieve(view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_that_ships_can_be_read_and_knows_something() {
        let table = shipped().unwrap();
        assert!(table.tried.iter().flatten().any(|tried| *tried >= TRIED));
    }

    #[test]
    fn a_table_that_knows_nothing_leaves_the_greedy_policy_its_way() {
        let table = Table::new(1, Vec::new(), String::new());
        assert!((0..STATES).all(|state| table.best(state) == 0));
    }

    #[test]
    fn what_was_hardly_tried_is_not_preferred() {
        let mut table = Table::new(1, Vec::new(), String::new());
        (table.worth[7][3], table.worth[7][5]) = (2.0, 1.0);
        (table.tried[7][3], table.tried[7][5]) = (TRIED - 1, TRIED);
        assert_eq!(table.best(7), 5);
    }

    #[test]
    fn what_does_not_fit_is_refused_by_the_name_of_the_field() {
        let text = |table: &Table| serde_json::to_string(table).unwrap();
        let table = Table::new(1, Vec::new(), String::new());
        assert_eq!(Table::parse(&text(&table)).unwrap(), table);
        let error = |table: &Table| Table::parse(&text(table)).unwrap_err().to_string();
        let other = Table { schema: "another".into(), ..table.clone() };
        assert!(error(&other).ends_with("schema = another: ballast-q-table-1 is needed"));
        let short = Table { worth: vec![[0.0; ACTIONS]; 3], ..table };
        assert!(error(&short).contains("worth = 3 states"));
    }
}
