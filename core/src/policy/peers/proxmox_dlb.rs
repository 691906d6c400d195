//! `proxmox-dlb`: the dynamic load balancing of Proxmox VE 9.2.
//!
//! Source: pve-ha-manager 5.2 (its defaults and documentation; the formula was fitted to the figures of its published
//! tests, to which it is exact): a host's load is the mean of its shares of CPU and memory in use, the imbalance is the
//! deviation of the hosts' loads over their mean. Where it has exceeded 0.3 for three rounds of about ten seconds, the
//! one move that lowers it most is made, if it takes at least a tenth (the margin) off it; nothing is begun while a
//! migration runs.
//!
//! Our reading: three rounds are thirty seconds; every vm is taken to be managed (Proxmox moves only those under high
//! availability); the move is found by brute force among the hosts at both ends; memory is what is promised. Growth:
//! [`super::spread`].

use std::time::Duration;

use crate::policy::{
    Advice, Policy, View,
    peers::{
        means::Holding,
        spread::{Point, Scale, Spread, Yardstick},
        table::{Ask, Mover, Row, Table},
    },
};

/// Imbalance that is tolerated.
const THRESHOLD: f64 = 0.3;
/// Time for which it must have been exceeded.
const HOLD: Duration = Duration::from_secs(30);
/// Share of the imbalance that a move must take off.
const MARGIN: f64 = 0.1;

/// One move at a time against imbalance that lasts.
#[derive(Debug, Clone)]
pub struct ProxmoxDlb {
    imbalanced: Holding<()>,
}

impl ProxmoxDlb {
    /// Its name.
    pub const NAME: &'static str = "proxmox-dlb";
}

impl Default for ProxmoxDlb {
    fn default() -> Self {
        Self { imbalanced: Holding::new() }
    }
}

struct MeanLoad;

impl Yardstick for MeanLoad {
    fn host(&self, row: &Row<'_>) -> Point {
        [f64::midpoint(row.cpu_share(), row.memory_share()), 0.0, 0.0]
    }
    fn vm(&self, mover: &Mover<'_>, row: &Row<'_>) -> Point {
        [f64::midpoint(mover.ask.cores / row.cores, mover.memory() / row.bytes), 0.0, 0.0]
    }
    fn score(&self, spread: &Spread) -> f64 {
        spread.imbalance(0)
    }
}

impl Policy for ProxmoxDlb {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn propose(&mut self, view: View<'_>) -> Advice {
        let mut table = Table::new(view, Ask::used);
        let mut scale = Scale::new(&table, &MeanLoad);
        let (now, imbalance) = (view.snapshot.taken_at, scale.spread.imbalance(0));
        let held = self.imbalanced.note(&(), now, imbalance > THRESHOLD && view.snapshot.in_flight.is_empty());
        if held.is_none_or(|held| held < HOLD) {
            return table.advice;
        }
        match scale.best(&table, &MeanLoad).filter(|step| step.score <= imbalance * (1.0 - MARGIN)) {
            Some(step) => {
                scale.take(&mut table, step, &MeanLoad);
                self.imbalanced.note(&(), now, false);
            }
            None => table.advice.notes.push(format!("the imbalance is {imbalance:.2}, no move takes a tenth off it")),
        }
        table.advice
    }
}
