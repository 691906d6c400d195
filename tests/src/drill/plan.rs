//! What is killed, when and on which side: every strike follows from the seed.

use std::{fmt, time::Duration};

use clap::ValueEnum;
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64;

/// A process that is killed as a crash would end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Victim {
    /// An agent.
    Agent,
    /// The scheduler.
    Scheduler,
    /// The libvirtd of a host; its vms go on.
    Libvirtd,
}

/// How far a migration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Ordered; the first pass over memory has not begun.
    Before,
    /// Memory is copied.
    Copy,
    /// The vm stands still at its source, until that has let go of it.
    Switch,
    /// The source has let go of it.
    After,
}

/// An end of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where the vm leaves from.
    Source,
    /// Where it goes.
    Destination,
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Agent => "agent",
            Self::Scheduler => "scheduler",
            Self::Libvirtd => "libvirtd",
        })
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Before => "before the copy",
            Self::Copy => "in the copy",
            Self::Switch => "at the switch-over",
            Self::After => "after",
        })
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Source => "source",
            Self::Destination => "destination",
        })
    }
}

/// One kill.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strike {
    pub(super) victim: Victim,
    pub(super) side: Side,
    /// The phase whose beginning it waits for.
    pub(super) phase: Phase,
    /// How long after that.
    pub(super) offset: Duration,
    /// How long the victim stays down.
    pub(super) down: Duration,
}

/// How many of each phase there are among so many strikes: the copy lasts longest and has most to it.
const PHASES: [Phase; 5] = [Phase::Copy, Phase::Switch, Phase::Before, Phase::Copy, Phase::After];

impl Phase {
    /// Longest wait after its beginning: about as long as it lasts here.
    fn length(self) -> u64 {
        match self {
            Self::Before => 900,
            Self::Copy => 4_000,
            Self::Switch => 400,
            Self::After => 2_000,
        }
    }
}

/// The dice of a drill.
#[derive(Debug)]
pub(super) struct Dice(Pcg64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(Pcg64::seed_from_u64(seed))
    }

    fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.0.random_range(low..high))
    }

    /// The strikes against `victim`, in their order.
    pub(super) fn strikes(&mut self, victim: Victim, kills: usize) -> Vec<Strike> {
        let mut phases: Vec<Phase> = PHASES.into_iter().cycle().take(kills).collect();
        phases.shuffle(&mut self.0);
        let strike = |phase: Phase| Strike {
            victim,
            side: if self.0.random_range(0..2) == 0 { Side::Source } else { Side::Destination },
            phase,
            offset: self.millis(0, phase.length()),
            // systemd waits two seconds before it starts ours again, and a moment before libvirtd.
            down: if victim == Victim::Libvirtd { self.millis(100, 3_000) } else { Duration::from_secs(2) },
        };
        phases.into_iter().map(strike).collect()
    }

    /// A number from 0 to below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_strikes_again_and_thirty_reach_every_phase() {
        let strikes = |seed| format!("{:?}", Dice::new(seed).strikes(Victim::Agent, 30));
        assert_eq!(strikes(1), strikes(1));
        assert_ne!(strikes(1), strikes(2));
        for phase in PHASES {
            let count = Dice::new(7).strikes(Victim::Libvirtd, 30).iter().filter(|one| one.phase == phase).count();
            assert!(count >= 6, "{phase}: {count}");
        }
    }
}
