//! What is measured.

use serde::Serialize;

/// One measurement: the same for the kernel and for its peers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Case {
    pub(crate) kind: Kind,
    pub(crate) steps: usize,
    pub(crate) inputs: usize,
    pub(crate) hidden: usize,
    /// Samples, which is VMs; in training, of a batch.
    pub(crate) rows: usize,
    /// How often it is done in one measurement.
    pub(crate) repeats: usize,
    pub(crate) threads: usize,
}

/// Kinds of measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Whole windows from zero states, and the head on the last.
    Windows,
    /// One step on kept states.
    Step,
    /// The same states by running the windows again.
    Rerun,
    /// Forward, pinball loss, backward.
    Training,
}

/// Outputs of the head: twelve steps ahead, three quantiles each.
pub(crate) const OUTPUTS: usize = 36;

impl Case {
    fn new(kind: Kind, (steps, inputs, hidden): (usize, usize, usize), rows: usize, repeats: usize) -> Self {
        Self { kind, steps, inputs, hidden, rows, repeats, threads: 1 }
    }

    /// Samples of one measurement.
    pub(crate) fn samples(&self) -> usize {
        self.rows * self.repeats
    }

    /// Whether the peers are asked too. No library of theirs keeps the states of a fleet.
    pub(crate) fn has_peers(&self) -> bool {
        matches!(self.kind, Kind::Windows | Kind::Training)
    }

    /// All of them, on one thread and on two.
    pub(crate) fn all() -> Vec<Self> {
        let windows = [(48, 6, 64), (36, 4, 32), (72, 8, 128)].map(|shape| Self::new(Kind::Windows, shape, 10_000, 1));
        let steps = [32, 64].map(|hidden| Self::new(Kind::Step, (1, 8, hidden), 100_000, 3));
        let reruns = [32, 64].map(|hidden| Self::new(Kind::Rerun, (48, 8, hidden), 100_000, 1));
        let batches = [32, 64, 128, 256, 512];
        let training = batches.map(|rows| Self::new(Kind::Training, (48, 6, 64), rows, 1024 / rows));
        let alone: Vec<Self> = windows.into_iter().chain(steps).chain(reruns).chain(training).collect();
        [1, 2].iter().flat_map(|threads| alone.iter().map(|case| Self { threads: *threads, ..*case })).collect()
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { steps, inputs, hidden, rows, threads, .. } = self;
        match self.kind {
            Kind::Windows => write!(f, "windows T{steps} F{inputs} H{hidden} N{rows}")?,
            Kind::Step => write!(f, "one step F{inputs} H{hidden} N{rows}")?,
            Kind::Rerun => write!(f, "window again T{steps} F{inputs} H{hidden} N{rows}")?,
            Kind::Training => write!(f, "training T{steps} F{inputs} H{hidden} B{rows}")?,
        }
        write!(f, ", {threads} thread{}", if *threads == 1 { "" } else { "s" })
    }
}
