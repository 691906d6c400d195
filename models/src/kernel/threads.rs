//! Who runs the tiles. The results do not depend on it: tiles share nothing, and sums over tiles are taken in their
//! order afterwards.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// Whether tiles are spread over threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// All on the calling thread.
    One,
    /// Over the threads of the current rayon pool.
    Pool,
}

impl Threads {
    /// Calls `work` once per job, each thread with a scratch of its own.
    pub(super) fn run<J: Send, T>(
        self,
        jobs: Vec<J>,
        scratch: impl Fn() -> T + Send + Sync,
        work: impl Fn(&mut T, J) + Send + Sync,
    ) {
        match self {
            Self::One => {
                let mut scratch = scratch();
                jobs.into_iter().for_each(|job| work(&mut scratch, job));
            }
            Self::Pool => jobs.into_par_iter().for_each_init(scratch, work),
        }
    }
}
