//! How a policy's expectations have come true lately, and whether they are so far off that it is not to be trusted.

use std::{collections::VecDeque, time::Duration};

use super::{Gains, Settled};
use crate::units::{Joules, Timestamp};

/// What was settled longer ago says nothing of how it does now.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Fewest proposals that say anything.
const FEWEST: u64 = 20;

/// What was settled lately.
#[derive(Debug, Clone, Default)]
pub struct Track {
    lately: VecDeque<Settled>,
}

impl Track {
    /// Takes what was settled.
    pub fn add(&mut self, settled: impl IntoIterator<Item = Settled>) {
        self.lately.extend(settled);
    }

    /// Says in words where the proposals of `policy` have done harm on the whole, while it expected gain.
    pub fn verdict(&mut self, policy: &str, now: Timestamp) -> Option<String> {
        self.lately.retain(|one| now.since(one.at) < KEPT);
        let mut sum = Gains::default();
        self.lately.iter().filter(|one| one.policy == policy && !one.is_relief).for_each(|one| sum.add(one));
        let Gains { settled, expected, came } = sum;
        (settled >= FEWEST && expected > Joules::ZERO && came < Joules::ZERO).then(|| {
            let (came, expected) = (came.get(), expected.get());
            format!("{settled} proposals of the last day cost {:.0} J where they were to gain {expected:.0} J", -came)
        })
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.lately.clear();
    }
}
