//! The machine of a simulated process: what its wall clock shows, how fast it works, and how much room its disk has.

use std::{fmt, time::Duration};

use ballast_core::units::Timestamp;

use crate::segments::Disk;

/// How long the next piece of work takes in a simulation: until it has its effect, and from then until it is known to
/// have had it. A process that is lost in between has done it and nobody was told.
pub type Pace = Box<dyn Fn() -> (Duration, Duration) + Send + Sync>;

/// What a simulated wall clock shows so long after the process began; it may step.
pub type Wall = Box<dyn Fn(Duration) -> Timestamp + Send + Sync>;

/// What a simulation says of the machine that a process runs on.
pub struct Machine {
    pub(super) wall: Wall,
    pub(super) pace: Pace,
    pub(super) disk: Disk,
}

impl Machine {
    /// A machine whose wall clock shows `start` now and is right, and on which nothing takes time.
    pub fn at(start: Timestamp) -> Self {
        Self {
            wall: Box::new(move |elapsed| start.after(elapsed)),
            pace: Box::new(Default::default),
            disk: Disk::default(),
        }
    }

    /// The same with another wall clock.
    #[must_use]
    pub fn with_wall(self, wall: Wall) -> Self {
        Self { wall, ..self }
    }

    /// The same where work takes as long as `pace` says.
    #[must_use]
    pub fn with_pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// The same with this disk.
    #[must_use]
    pub fn with_disk(self, disk: Disk) -> Self {
        Self { disk, ..self }
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Machine")
    }
}
