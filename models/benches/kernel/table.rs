//! Medians, and the lines they are printed in.

use crate::{case::Case, clock::Taken};

/// An engine's measurements of one case.
pub(crate) struct Series {
    pub(crate) engine: String,
    pub(crate) taken: Vec<Taken>,
}

impl Series {
    fn sorted(&self, part: impl Fn(&Taken) -> f64) -> Vec<f64> {
        let mut seconds: Vec<f64> = self.taken.iter().map(part).collect();
        seconds.sort_by(f64::total_cmp);
        seconds
    }

    fn median(&self, part: impl Fn(&Taken) -> f64) -> f64 {
        self.sorted(part).get(self.taken.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn best(&self) -> f64 {
        self.sorted(|taken| taken.wall).first().copied().unwrap_or(f64::NAN)
    }
}

/// Prints what the columns are.
pub(crate) fn head() {
    println!("Samples per second; in brackets, how many times the engine's speed the kernel's is.");
    println!("{:<44}{:<24}{:>18}{:>18}{:>18}", "case", "engine", "median", "best", "per CPU second");
}

/// Prints a case: a line per engine, the kernel's first.
pub(crate) fn print(case: &Case, all: &[Series]) {
    let Some(ours) = all.first() else { return };
    for series in all {
        let column = |seconds: &dyn Fn(&Series) -> f64| {
            let rate = case.samples() as f64 / seconds(series);
            format!("{rate:.0} ({:.2})", seconds(series) / seconds(ours))
        };
        let median = column(&|series| series.median(|taken| taken.wall));
        let cpu = column(&|series| series.median(|taken| taken.cpu));
        let best = column(&Series::best);
        println!("{:<44}{:<24}{median:>18}{best:>18}{cpu:>18}", case.to_string(), series.engine);
    }
    let milliseconds = 1e3 * ours.best() / case.repeats as f64;
    println!("{:<44}kernel's best: {milliseconds:.2} ms", "");
}
