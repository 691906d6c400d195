//! The cheapest cover: least power that serves a CPU demand with hosts that together also supply something else.
//!
//! For one step, with `y` hosts awake and `x` cores served per class and piece of the hull:
//!
//! ```text
//! least  Σ_c idle_c·y_c + Σ_cj slope_cj·x_cj
//! with   Σ_cj x_cj ≥ demand                      CPU
//!        Σ_c supply_c·y_c ≥ needed               the row: memory, or what a dual-feasible function asks for
//!        x_cj ≤ width_cj·y_c,  low_c ≤ y_c ≤ high_c
//! ```
//!
//! It is solved exactly, and without a solver's library. Put a price on the row and take it into the objective: what is left
//! is a fractional choice of pieces, and taking them cheapest first is optimal, because within a class the pieces get dearer
//! (the tangent from "asleep" to the hull comes first). Its value is a concave, piecewise linear function of the price, and by
//! weak duality at *every* price a lower bound on the cover. Two prices whose lines rise and fall towards each other enclose
//! the best one; looking where the two lines meet either finds it or brings a new line, and there are finitely many
//! (Kelley 1960; in one dimension also the secant rule of Eisner and Severance 1976). By strong duality its value is the
//! optimum. Whatever rounding does, what is returned was computed at a price and is therefore a bound.

use super::class::Class;

/// Lines looked at before the search gives up and returns the best bound it has; four to eight are what it takes.
const LINES_MAX: usize = 100;

/// Relative distance from the optimum at which the search ends.
const CLOSE: f64 = 1e-12;

/// What awake hosts must supply together besides CPU.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// What one awake host of each class supplies.
    pub(super) supply: Vec<f64>,
    /// What is needed.
    pub(super) needed: f64,
}

impl Row {
    /// The same, with no more needed than so many hosts of each class can supply.
    pub(super) fn clamped(mut self, hosts: &[f64]) -> Self {
        self.needed = self.needed.min(dot(&self.supply, hosts));
        self
    }
}

/// One step's problem.
#[derive(Debug, Clone, Copy)]
pub(super) struct Problem<'a> {
    pub(super) classes: &'a [Class],
    /// Hosts of each class awake at least.
    pub(super) low: &'a [f64],
    /// Hosts of each class awake at most.
    pub(super) high: &'a [f64],
    /// CPU demand, cores.
    pub(super) cores: f64,
    pub(super) row: &'a Row,
}

/// A cover.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cover {
    /// Its power beyond that of a fleet asleep, watts: never above the optimum.
    pub(super) watts: f64,
    /// Hosts awake of each class.
    pub(super) awake: Vec<f64>,
}

/// What the choice at one price gives.
#[derive(Debug, Clone)]
struct Line {
    price: f64,
    value: f64,
    /// What is still missing of the row: the slope of the line.
    missing: f64,
    awake: Vec<f64>,
}

impl Line {
    fn at(&self, price: f64) -> f64 {
        self.value + self.missing * (price - self.price)
    }
}

/// CPU on offer at one price; taking it wakes hosts.
#[derive(Debug, Clone, Copy)]
struct Offer {
    class: usize,
    watts_per_core: f64,
    cores: f64,
    wakes: f64,
}

impl Problem<'_> {
    /// The cheapest cover; `None` where even all allowed hosts do not suffice.
    pub(super) fn solve(&self) -> Option<Cover> {
        let cores: f64 = self.classes.iter().zip(self.high).map(|(class, hosts)| class.cores * hosts).sum();
        let supply = dot(&self.row.supply, self.high);
        if cores < self.cores * (1.0 - CLOSE) || supply < self.row.needed * (1.0 - CLOSE) {
            return None;
        }
        let free = self.line(0.0);
        if free.missing <= self.row.needed * CLOSE {
            return Some(Cover { watts: free.value, awake: free.awake });
        }
        let dear = self.line(self.highest_price());
        Some(self.between(free, dear))
    }

    /// A price at which every host that supplies anything pays for itself.
    fn highest_price(&self) -> f64 {
        let pays = self.classes.iter().zip(&self.row.supply).filter(|(_, supply)| **supply > 0.0);
        pays.map(|(class, supply)| class.idle / supply).fold(0.0, f64::max) * (1.0 + 1e-9) + f64::MIN_POSITIVE
    }

    /// Closes in on the best price from a rising line and a falling one.
    fn between(&self, mut rising: Line, mut falling: Line) -> Cover {
        let mut best = rising.value.max(falling.value);
        for _ in 0..LINES_MAX {
            let slopes = rising.missing - falling.missing;
            if slopes <= 0.0 {
                break;
            }
            let price = (falling.at(0.0) - rising.at(0.0)) / slopes;
            if !(rising.price < price && price < falling.price) {
                break;
            }
            let line = self.line(price);
            best = best.max(line.value);
            if line.value >= rising.at(price) - CLOSE * rising.at(price).abs() {
                break;
            }
            if line.missing > 0.0 { rising = line } else { falling = line }
        }
        Cover { watts: best, awake: mix(&rising, &falling) }
    }

    /// The cheapest choice at one price of the row.
    fn line(&self, price: f64) -> Line {
        let mut line = Line { price, value: price * self.row.needed, missing: 0.0, awake: self.low.to_vec() };
        let mut offers = Vec::with_capacity(self.classes.len() * 12);
        for (index, class) in self.classes.iter().enumerate() {
            let waking = class.idle - price * self.row.supply[index];
            let mut asleep = self.high[index] - self.low[index];
            if waking <= 0.0 {
                line.awake[index] += asleep;
                asleep = 0.0;
            }
            line.value += waking * line.awake[index];
            offer(&mut offers, index, class, line.awake[index], None);
            offer(&mut offers, index, class, asleep, Some(waking));
        }
        offers.sort_by(|a, b| a.watts_per_core.total_cmp(&b.watts_per_core));
        self.take(&offers, &mut line);
        line.missing = self.row.needed - dot(&self.row.supply, &line.awake);
        line
    }

    /// Takes offers until the demand is served.
    fn take(&self, offers: &[Offer], line: &mut Line) {
        let mut wanted = self.cores;
        for offer in offers {
            let taken = offer.cores.min(wanted);
            line.value += taken * offer.watts_per_core;
            line.awake[offer.class] += offer.wakes * (taken / offer.cores);
            wanted -= taken;
            if wanted <= 0.0 {
                return;
            }
        }
    }
}

/// What `hosts` of a class offer. Where they must be woken first, for `waking` watts each, the first offer is the tangent to
/// the hull: it pays for waking, and no smaller or larger share of the hull is cheaper per core.
fn offer(offers: &mut Vec<Offer>, index: usize, class: &Class, hosts: f64, waking: Option<f64>) {
    if hosts <= 0.0 {
        return;
    }
    let mut rest = class.pieces.as_slice();
    if let Some(waking) = waking {
        let (pieces, cores, watts_per_core) = tangent(class, waking);
        if pieces == 0 {
            return;
        }
        offers.push(Offer { class: index, watts_per_core, cores: cores * hosts, wakes: hosts });
        rest = &rest[pieces..];
    }
    let whole = rest.iter().filter(|piece| piece.cores > 0.0);
    offers.extend(whole.map(|piece| Offer {
        class: index,
        watts_per_core: piece.watts_per_core,
        cores: piece.cores * hosts,
        wakes: 0.0,
    }));
}

/// How many pieces the tangent covers, how many cores these are, and what each costs with waking included.
fn tangent(class: &Class, waking: f64) -> (usize, f64, f64) {
    let mut best = (0, 0.0, f64::INFINITY);
    let (mut cores, mut watts) = (0.0, waking);
    for (index, piece) in class.pieces.iter().enumerate() {
        cores += piece.cores;
        watts += piece.cores * piece.watts_per_core;
        if cores > 0.0 && watts / cores < best.2 {
            best = (index + 1, cores, watts / cores);
        }
    }
    best
}

/// The hosts awake at the optimum: the mixture of both choices that supplies just what is needed.
fn mix(rising: &Line, falling: &Line) -> Vec<f64> {
    let slopes = rising.missing - falling.missing;
    let share = if slopes > 0.0 { (rising.missing / slopes).clamp(0.0, 1.0) } else { 1.0 };
    rising.awake.iter().zip(&falling.awake).map(|(rising, falling)| rising + (falling - rising) * share).collect()
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
