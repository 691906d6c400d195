//! How long something took.

use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

/// Seconds something took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Taken {
    /// By the clock on the wall.
    pub(crate) wall: f64,
    /// Of this process's threads on processors: what is left of the truth when others use the machine too.
    pub(crate) cpu: f64,
}

/// Times `work`.
pub(crate) fn time(work: impl FnOnce()) -> Taken {
    let (wall, cpu) = (Instant::now(), cpu_seconds());
    work();
    Taken { wall: wall.elapsed().as_secs_f64(), cpu: cpu_seconds() - cpu }
}

fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}
