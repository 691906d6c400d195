//! What was reckoned beside what came, for people and as rows.

use std::fmt::Write as _;

use ballast_core::units::count;
use ballast_proto::v1;

use super::moves::{Moved, Stubborn};

impl Moved {
    fn took(&self) -> f64 {
        let v1::Outcome { preparation_millis, migration_millis, switching_millis, .. } = &self.outcome;
        millis(preparation_millis + migration_millis + switching_millis)
    }

    /// Bytes per second that the copy reached.
    fn speed(&self) -> f64 {
        whole(self.outcome.copied_bytes) / millis(self.outcome.migration_millis.max(1))
    }

    fn memory(&self) -> f64 {
        f64::from(self.mib) * 1_048_576.0
    }
}

fn millis(value: u64) -> f64 {
    std::time::Duration::from_millis(value).as_secs_f64()
}

fn whole(bytes: u64) -> f64 {
    ballast_core::units::Bytes(bytes).as_f64()
}

/// The middle one, the upper of two.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn off(said: f64, came: f64) -> f64 {
    (said / came - 1.0).abs()
}

/// A row per move.
pub(crate) fn csv(moved: &[Moved]) -> String {
    let mut out = String::from(
        "vm,memory_mib,writes_mib_s,set_mib,measured_rate,measured_set,took_s,reckoned_s,at_most_s,downtime_ms,\
         reckoned_downtime_ms,downtime_at_most_ms,copied,reckoned_copied,preparation_ms,migration_ms\n",
    );
    let known = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
    for one in moved {
        let (reckoned, outcome) = (&one.reckoned, &one.outcome);
        // Writing to a string cannot fail.
        let _ignored = writeln!(
            out,
            "{},{},{},{},{:.0},{},{:.3},{:.3},{},{},{},{},{},{},{},{}",
            one.vm,
            one.mib,
            one.writes.0,
            one.writes.1,
            one.measured.0,
            one.measured.1.map(|set| format!("{set:.0}")).unwrap_or_default(),
            one.took(),
            millis(reckoned.duration_millis),
            reckoned.duration_millis_at_most.map(|most| millis(most).to_string()).unwrap_or_default(),
            known(outcome.downtime_millis),
            reckoned.downtime_millis,
            known(reckoned.downtime_millis_at_most),
            outcome.copied_bytes,
            reckoned.copied_bytes,
            outcome.preparation_millis,
            outcome.migration_millis,
        );
    }
    out
}

/// The judged half beside the usual rule.
pub(crate) fn table(moved: &[Moved]) -> String {
    let (learnt, judged) = moved.split_at(moved.len() / 2);
    let speed = median(learnt.iter().map(Moved::speed).collect());
    let error = |of: &[&Moved], said: &dyn Fn(&Moved) -> f64| {
        median(of.iter().map(|one| off(said(one), one.took())).collect()) * 100.0
    };
    let reckoned = |one: &Moved| millis(one.reckoned.duration_millis);
    let rule = |one: &Moved| one.memory() / speed;
    let all: Vec<&Moved> = judged.iter().collect();
    let writing: Vec<&Moved> = judged.iter().filter(|one| one.writes.0 > 0).collect();
    let paused: Vec<(&Moved, u64)> =
        judged.iter().filter_map(|one| Some((one, one.outcome.downtime_millis?))).collect();
    let pause_error =
        median(paused.iter().map(|(one, came)| off(millis(one.reckoned.downtime_millis), millis(*came))).collect());
    let within = |of: &dyn Fn(&Moved) -> Option<bool>| {
        let told: Vec<bool> = judged.iter().filter_map(of).collect();
        let held = told.iter().filter(|held| **held).count();
        format!("{:.0} % of {}", 100.0 * count(held) / count(told.len().max(1)), told.len())
    };
    let duration_within = within(&|one| Some(one.took() <= millis(one.reckoned.duration_millis_at_most?)));
    let pause_within = within(&|one| Some(one.outcome.downtime_millis? <= one.reckoned.downtime_millis_at_most?));
    format!(
        "{} moves to learn from, {} judged ({} of vms that write)\n\
         median error of duration: {:.1} %, of vms that write {:.1} %; memory / bandwidth {:.1} %, {:.1} %\n\
         within the bound of nine in ten: duration {duration_within}, pause {pause_within}\n\
         median error of the pause: {:.1} %\n",
        learnt.len(),
        judged.len(),
        writing.len(),
        error(&all, &reckoned),
        error(&writing, &reckoned),
        error(&all, &rule),
        error(&writing, &rule),
        100.0 * pause_error,
    )
}

/// What came of those that cannot converge; nothing where there were none.
pub(crate) fn stubborn(moves: &[Stubborn]) -> String {
    let mut out = String::new();
    for Stubborn { vm, writes: (rate, set), foretold, outcome } in moves {
        let (ending, seconds) = (outcome.ending(), millis(outcome.migration_millis));
        let foretold = if *foretold { "foretold" } else { "not foretold" };
        // Writing to a string cannot fail.
        let _ignored = writeln!(
            out,
            "{vm}, {rate} MiB/s over {set}: {foretold}, {ending:?} after {seconds:.0} s of copying: {}",
            outcome.reason
        );
    }
    let count = |is: &dyn Fn(&Stubborn) -> bool| moves.iter().filter(|one| is(one)).count();
    if !moves.is_empty() {
        let given_up = count(&|one| one.outcome.ending() != v1::EndingKind::Completed);
        let foretold = count(&|one| one.foretold);
        let _ignored =
            writeln!(out, "of {} that cannot converge {foretold} were foretold, {given_up} given up", moves.len());
    }
    out
}
