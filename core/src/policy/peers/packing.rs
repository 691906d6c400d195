//! `first-fit`, `best-fit` and `gamma-robust`: re-packing as the literature has it, with as few moves as it takes.
//!
//! Source: first and best fit are the classical rules of bin packing, by the CPU that is used now and the memory that is
//! promised. Γ-robust first fit (Han 2025, after Bertsimas and Sim 2004, The Price of Robustness) takes a host for full when
//! the sum of its vms' centres and of the Γ largest radii among them reaches its CPU: room for Γ vms to be at their worst
//! at a time. What fits stays where it is; a host that is over gives away what brings it back (the smallest vm that does
//! alone, or else the largest); then hosts are emptied, the least filled first, each wholly or not at all, onto others
//! that hold vms; empty hosts sleep, and a host is woken for what fits nowhere.
//!
//! Our reading: centre and radius are the forecast's median at its next step and the distance to the 95 % quantile from
//! there; without a forecast what is used now, and nothing. Γ is [`GAMMA`] unless the name says otherwise, as in
//! `gamma-robust-2`; first fit goes through the hosts by name; nobody falls asleep in a round in which somebody is woken.
//! Growth: `O(vms log hosts)`.

use crate::{
    policy::{
        Advice, Policy, View,
        peers::{
            room::{BySlack, InOrder, Taste},
            table::{Ask, Mover, Places, Table},
        },
    },
    proposal::{Action, Motive},
    snapshot::VmView,
};

/// Γ where the name does not say.
const GAMMA: usize = 4;

/// Names of the robust rule by Γ; the first stands for [`GAMMA`].
const ROBUST: [&str; 9] = [
    "gamma-robust",
    "gamma-robust-1",
    "gamma-robust-2",
    "gamma-robust-3",
    "gamma-robust-4",
    "gamma-robust-5",
    "gamma-robust-6",
    "gamma-robust-7",
    "gamma-robust-8",
];

/// One of the three rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// The first host with room.
    FirstFit,
    /// The host with least CPU to spare.
    BestFit,
    /// The first host with room for the Γ vms at their worst; the number stands for the name.
    Robust(usize),
}

impl Packing {
    /// Name of first fit.
    pub const FIRST_FIT: &'static str = "first-fit";
    /// Name of best fit.
    pub const BEST_FIT: &'static str = "best-fit";
    /// Name of the robust rule.
    pub const GAMMA_ROBUST: &'static str = ROBUST[0];

    /// The robust rule of that name, `gamma-robust` or `gamma-robust-1` to `gamma-robust-8`.
    pub fn robust(name: &str) -> Option<Self> {
        ROBUST.iter().position(|known| *known == name).map(Self::Robust)
    }

    fn gamma(self) -> usize {
        match self {
            Self::FirstFit | Self::BestFit => 0,
            Self::Robust(0) => GAMMA,
            Self::Robust(gamma) => gamma,
        }
    }

    fn places(self, table: &Table<'_>, rows: Vec<usize>) -> Box<dyn Places> {
        match self {
            Self::FirstFit | Self::Robust(_) => Box::new(InOrder::new(table, rows, 1.0)),
            Self::BestFit => Box::new(BySlack::new(table, &rows, Taste::Tightest, 1.0)),
        }
    }
}

/// Median and distance to the 95 % quantile at the next step.
fn interval(view: View<'_>, vm: &VmView) -> Ask {
    let step = view.forecasts.vms.get(&vm.id()).map(|known| known.steps[0]);
    let known = step.map(|step| (step.median(), step.q95() - step.median()));
    match known.filter(|(cores, radius)| cores.is_finite() && radius.is_finite()) {
        Some((cores, radius)) => Ask { cores: cores.max(0.0), radius: radius.max(0.0) },
        None => Ask::used(vm),
    }
}

impl Policy for Packing {
    fn name(&self) -> &'static str {
        match self {
            Self::FirstFit => Self::FIRST_FIT,
            Self::BestFit => Self::BEST_FIT,
            Self::Robust(gamma) => ROBUST[(*gamma).min(ROBUST.len() - 1)],
        }
    }

    fn propose(&mut self, view: View<'_>) -> Advice {
        let is_robust = matches!(self, Self::Robust(_));
        let ask = |vm: &VmView| if is_robust { interval(view, vm) } else { Ask::used(vm) };
        let mut table = Table::robust(view, self.gamma(), ask);
        let mut places = self.places(&table, table.members());
        relieve(&mut table, places.as_mut());
        let wakes = table.advice.proposals.iter().any(|one| matches!(one.action, Action::Wake { .. }));
        if !wakes {
            let mut places = self.places(&table, inhabited(&table));
            empty(&mut table, places.as_mut());
            table.sleep_empty(0, usize::MAX, |_, _| true);
        }
        table.advice
    }
}

fn inhabited(table: &Table<'_>) -> Vec<usize> {
    table.members().into_iter().filter(|row| table.rows[*row].is_inhabited()).collect()
}

/// Takes from every host that is over what brings it back.
pub(super) fn relieve(table: &mut Table<'_>, places: &mut dyn Places) {
    for row in table.members() {
        let (load, host) = (table.demand(row) / table.rows[row].cores, table.host(row).clone());
        let motive = Motive::Overload { host, load, limit: 1.0 };
        let mut movers = table.rows[row].smallest_first();
        let mut waiting = 0.0;
        loop {
            let over = table.demand(row) - waiting - table.rows[row].cores;
            let Some(mover) = next_to_go(&mut movers, over) else { break };
            if let Some(to) = places.find(table, &mover) {
                table.relocate(row, mover, to, &motive);
                [row, to].into_iter().for_each(|row| places.refresh(table, row));
            } else if table.wake_for(row, &mover, 1.0, &motive) {
                waiting += mover.ask.cores + mover.ask.radius;
            }
        }
    }
}

/// The smallest vm that takes `over` off its host, or else the largest; none where nothing is to be taken off.
fn next_to_go<'a>(movers: &mut Vec<Mover<'a>>, over: f64) -> Option<Mover<'a>> {
    // What rounding leaves is no overload.
    if over <= 1e-9 || movers.is_empty() {
        return None;
    }
    let enough = movers.iter().position(|mover| mover.ask.cores + mover.ask.radius >= over);
    Some(movers.remove(enough.unwrap_or(movers.len() - 1)))
}

/// Empties hosts, the least filled first.
fn empty(table: &mut Table<'_>, places: &mut dyn Places) {
    let mut rows = inhabited(table);
    let demand = |row: &usize| table.demand(*row);
    rows.sort_by(|a, b| demand(a).total_cmp(&demand(b)).then(b.cmp(a)));
    for row in rows {
        let at = &table.rows[row];
        if at.could_be_emptied() && table.can_sleep(row) {
            let movers = at.largest_first();
            table.evacuate(row, &movers, places, |_| true);
        }
    }
}
