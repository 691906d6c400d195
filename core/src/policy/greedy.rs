//! The risk-aware greedy policy: relief, wake-ahead, wishes, drain, nearness to users, consolidation,
//! replacement, sleep, by the exact model and nothing learned.
//!
//! The anchor that everything later must beat, and what the scheduler goes on with when it has no model.

use crate::policy::{
    Advice, Policy, View,
    board::Board,
    bundle, capacity,
    consolidate::{self, Gain, Judge},
    drain, misplaced, nearer, relieve, replace,
};

/// Keeps no state: what it proposes follows from the view alone, so a round that was only half carried out goes on in the
/// next.
#[derive(Debug, Clone, Copy, Default)]
pub struct RiskGreedy;

impl RiskGreedy {
    /// Its name.
    pub const NAME: &'static str = "risk-greedy";
}

impl Policy for RiskGreedy {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn propose(&mut self, view: View<'_>) -> Advice {
        round(view, &mut Gain)
    }

    fn relieve(&mut self, view: View<'_>) -> Advice {
        relief(view)
    }
}

/// A whole round, in which `judge` says which hosts are emptied.
pub(super) fn round(view: View<'_>, judge: &mut dyn Judge) -> Advice {
    let mut board = Board::new(view);
    let mut advice = Advice::default();
    let unhelped = relieve::relieve(&mut board, &mut advice);
    let short = capacity::wake_ahead(&mut board, &mut advice);
    if !short {
        capacity::wake_for_newcomers(&mut board, &mut advice);
    }
    bundle::mend(&mut board, &mut advice);
    misplaced::mend(&mut board, &mut advice);
    let homeless = drain::drain(&mut board, &mut advice);
    if unhelped || short || homeless {
        advice.notes.push("no host is emptied while capacity is short".into());
    } else {
        nearer::approach(&mut board, &mut advice);
        consolidate::consolidate(&mut board, &mut advice, judge);
        replace::replace(&mut board, &mut advice);
        capacity::sleep_idle(&mut board, &mut advice);
    }
    advice
}

/// Relief alone.
pub(super) fn relief(view: View<'_>) -> Advice {
    let mut advice = Advice::default();
    relieve::relieve(&mut Board::new(view), &mut advice);
    advice
}
