//! The fleet left alone: what every other policy is compared with.

use crate::policy::{Advice, Policy, View};

/// Proposes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeaveAlone;

impl LeaveAlone {
    /// Its name.
    pub const NAME: &'static str = "none";
}

impl Policy for LeaveAlone {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn propose(&mut self, _view: View<'_>) -> Advice {
        Advice { proposals: Vec::new(), notes: vec!["policy none leaves the fleet as it is".into()] }
    }
}
