//! `ballast-train q-table`: the table of the slow loop, by Q-learning on the same cells and for the same pay as the networks.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use ballast_core::{
    policy::{Advice, Policy, RiskGreedy, View},
    units::Timestamp,
};
use ballast_models::policy::table::{self, ACTIONS, HOLDS, Table, state_of};
use clap::Args as ClapArgs;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;
use rayon::prelude::*;

use super::{
    cells::{self, Cell, Days},
    episode,
    training::unit,
};

/// Episodes between two updates of the table that episodes are played by.
const AT_ONCE: usize = 16;

/// What is learnt, on what, how long.
#[derive(Debug, Clone, ClapArgs)]
pub struct TableArgs {
    /// Folder with PlanetLab days (YYYYMMDD.csv.gz).
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Days to learn on [default: all that are there].
    #[arg(long = "day", value_name = "YYYYMMDD", value_delimiter = ',')]
    pub days: Vec<String>,
    /// Where the table goes.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Cells played.
    #[arg(long, default_value_t = 3200)]
    pub episodes: usize,
    /// Share of actions by chance at the beginning; it falls to a tenth.
    #[arg(long, default_value_t = 0.5)]
    pub chance: f64,
    /// Weight of half an hour over that of the one before.
    #[arg(long, default_value_t = 0.8)]
    pub discount: f64,
    /// Seed of all that is drawn.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// One half-hour: the state, what was done, the round it began in.
type Turn = (usize, usize, usize);

/// Learns, tells `out` how it went, and writes the table.
///
/// # Errors
/// Where data cannot be read or the table not be written.
pub fn run(args: &TableArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let days = if args.days.is_empty() { cells::found(&args.data)?.into_keys().collect() } else { args.days.clone() };
    let days = Days::read(&args.data, &days)?;
    let mut table = Table::new(args.seed, days.names(), days.hash.clone());
    let mut rng = Pcg64::seed_from_u64(args.seed);
    while table.episodes < args.episodes {
        #[allow(clippy::cast_precision_loss)] // A share of the episodes.
        let chance = args.chance * (1.0 - 0.9 * table.episodes as f64 / args.episodes as f64);
        let seeds: Vec<u64> = (0..AT_ONCE).map(|_| rng.random()).collect();
        let known = Arc::new(table.clone());
        let lived: Vec<anyhow::Result<Vec<Lived>>> =
            seeds.par_iter().map(|seed| Ok(live(&days.cell(*seed)?, &known, chance))).collect();
        for turns in lived {
            learn(&mut table, &turns?, args.discount);
            table.episodes += 1;
        }
    }
    let known = table.worth.iter().enumerate().filter(|(state, _)| table.best(*state) != 0).count();
    writeln!(out, "{} cells; another way than the greedy policy's own in {known} states", table.episodes)?;
    let text = serde_json::to_string(&rounded(table))?;
    fs::write(&args.out, text).with_context(|| format!("write {}", args.out.display()))
}

/// Three digits are more than such a table knows.
fn rounded(mut table: Table) -> Table {
    table.worth.iter_mut().flatten().for_each(|worth| *worth = (*worth * 1000.0).round() / 1000.0);
    table
}

/// A half-hour and what came of it.
struct Lived {
    state: usize,
    action: usize,
    /// What it saved over the greedy policy's course.
    reward: f64,
    /// The state after it; `None` at the end of the day.
    next: Option<usize>,
}

/// Watkins' rule, with a rate that falls as an action is tried more often.
#[allow(clippy::cast_possible_truncation)] // Idle hosts' rounds.
fn learn(table: &mut Table, lived: &[Lived], discount: f64) {
    for one in lived {
        let most = |state: usize| table.worth[state].iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let wanted = one.reward + one.next.map_or(0.0, |next| discount * f64::from(most(next)));
        let tried = &mut table.tried[one.state][one.action];
        *tried += 1;
        let rate = (1.0 / f64::from(*tried)).max(0.02);
        let worth = &mut table.worth[one.state][one.action];
        *worth += (rate * (wanted - f64::from(*worth))) as f32;
    }
}

/// Plays a cell by the table and by chance.
fn live(cell: &Cell, table: &Arc<Table>, chance: f64) -> Vec<Lived> {
    let (rounds, turns) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(Vec::new())));
    let rng = Pcg64::seed_from_u64(cell.seed ^ 0x5851_f42d);
    let mut player = Player {
        table: Arc::clone(table),
        chance,
        rng,
        now: None,
        rounds: Arc::clone(&rounds),
        turns: Arc::clone(&turns),
    };
    let ours = episode::costs(cell, &mut player, &mut || *locked(&rounds) += 1);
    let (theirs, turns, unit) = (episode::greedy(cell), locked(&turns).clone(), unit(cell));
    let saved = |from: usize, to: usize| ((theirs[to] - theirs[from]) - (ours[to] - ours[from])) / unit;
    let ends = turns.iter().skip(1).map(|(state, _, round)| (Some(*state), *round)).chain([(None, ours.len() - 1)]);
    turns
        .iter()
        .zip(ends)
        .map(|((state, action, round), (next, end))| Lived {
            state: *state,
            action: *action,
            reward: saved(*round, end),
            next,
        })
        .collect()
}

/// A lock that a panic has poisoned holds what was written before.
fn locked<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Acts by a table, now and then by chance, and writes down what it did.
struct Player {
    table: Arc<Table>,
    chance: f64,
    rng: Pcg64,
    now: Option<(Timestamp, usize)>,
    /// Rounds that have begun.
    rounds: Arc<Mutex<usize>>,
    turns: Arc<Mutex<Vec<Turn>>>,
}

impl Policy for Player {
    fn name(&self) -> &'static str {
        "player"
    }

    fn propose(&mut self, view: View<'_>) -> Advice {
        let at = view.snapshot.taken_at;
        let action = match self.now.filter(|(since, _)| at.since(*since) < HOLDS) {
            Some((_, action)) => action,
            None => {
                let state = state_of(view.snapshot, view.load);
                let by_chance = self.rng.random::<f64>() < self.chance;
                let action = if by_chance { self.rng.random_range(0..ACTIONS) } else { self.table.best(state) };
                // The round was counted before it was asked about.
                let round = locked(&self.rounds).saturating_sub(1);
                locked(&self.turns).push((state, action, round));
                self.now = Some((at, action));
                action
            }
        };
        table::act(view, action)
    }

    fn relieve(&mut self, view: View<'_>) -> Advice {
        RiskGreedy.relieve(view)
    }
}
