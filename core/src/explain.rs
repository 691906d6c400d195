//! A decision in words: what was chosen and why, what lost, what was denied. For the `Explain` RPC, the CLI and logs.

use std::{fmt::Write as _, time::Duration};

use crate::{
    decision::Decision,
    id::VmId,
    migration_cost::Reckoned,
    outcome::{Ending, Outcome},
    proposal::{Action, Expectation, Motive, Proposal},
};

/// Length of a uuid as text.
const UUID_LEN: usize = 36;

/// The decision in words. `name` gives a vm's name; a vm without one shows its uuid.
pub fn explain(decision: &Decision, name: &dyn Fn(VmId) -> Option<String>) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ignored = write_decision(&mut text, decision);
    with_names(&text, &|vm| name(vm).map(|name| format!("{name} ({vm})")))
}

fn write_decision(out: &mut String, decision: &Decision) -> std::fmt::Result {
    let Decision { id, at, trigger, mode, policy, forecast, .. } = decision;
    writeln!(out, "decision {id} at {at}: {trigger}, mode {mode}, policy {policy}, forecast {forecast}")?;
    writeln!(out, "\nchosen:")?;
    if decision.chosen.steps.is_empty() {
        writeln!(out, "  nothing")?;
    }
    for (index, planned) in decision.chosen.steps.iter().enumerate() {
        writeln!(out, "  {}. {}", index + 1, planned.step)?;
        write_reasons(out, &planned.motive, &planned.expected)?;
    }
    section(out, "considered, not done now", &decision.considered, |out, passed| {
        write_proposal(out, &passed.proposal)?;
        writeln!(out, "     not now: {}", passed.why)
    })?;
    section(out, "denied", &decision.denied, |out, denial| {
        write_proposal(out, &denial.proposal)?;
        denial.findings.iter().try_for_each(|finding| writeln!(out, "     denied: {finding}"))
    })?;
    section(out, "notes", &decision.notes, |out, note| writeln!(out, "  - {note}"))
}

fn section<T>(
    out: &mut String,
    title: &str,
    items: &[T],
    each: impl Fn(&mut String, &T) -> std::fmt::Result,
) -> std::fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}:")?;
    items.iter().try_for_each(|item| each(out, item))
}

fn write_proposal(out: &mut String, proposal: &Proposal) -> std::fmt::Result {
    writeln!(out, "  - {}", proposal.action)?;
    if let Action::Evacuate { moves, .. } = &proposal.action {
        moves.iter().try_for_each(|one| writeln!(out, "     {} to {}", one.vm, one.to))?;
    }
    write_reasons(out, &proposal.motive, &proposal.expected)
}

fn write_reasons(out: &mut String, motive: &Motive, expected: &Expectation) -> std::fmt::Result {
    writeln!(out, "     because {motive}")?;
    expectations(expected).iter().try_for_each(|line| writeln!(out, "     {line}"))
}

/// What came of a copy, beside what it was reckoned with where that is known.
pub fn came_of(reckoned: Option<&Reckoned>, outcome: &Outcome) -> String {
    if outcome.ending != Ending::Completed {
        return outcome.ending.to_string();
    }
    let secs = |span: Duration| format!("{:.1} s", span.as_secs_f64());
    let millis = |span: Duration| format!("{} ms", span.as_millis());
    let beside = |expected: Option<Duration>, most: Option<Duration>, show: &dyn Fn(Duration) -> String| {
        let most = most.map(|most| format!(", {} at most", show(most)));
        expected
            .map_or_else(String::new, |expected| format!(" ({} reckoned{})", show(expected), most.unwrap_or_default()))
    };
    let time =
        beside(reckoned.map(|copy| copy.expected.duration), reckoned.and_then(|copy| copy.duration_at_most), &secs);
    let amount = reckoned.map_or_else(String::new, |copy| format!(" ({} reckoned)", copy.expected.copied));
    let pause = outcome.downtime.map_or_else(String::new, |came| {
        let expected = reckoned.map(|copy| copy.expected.downtime);
        let beside = beside(expected, reckoned.and_then(|copy| copy.downtime_at_most), &millis);
        format!(", paused it for {}{beside}", millis(came))
    });
    format!("completed: copied {}{amount} in {}{time}{pause}", outcome.copied, secs(outcome.stages.total()))
}

/// What is expected of a proposal, in words and figures.
pub(crate) fn expectations(expected: &Expectation) -> Vec<String> {
    let kwh = |joules: crate::units::Joules| joules.kwh();
    let (done, left) = (expected.energy_if_done, expected.energy_if_left);
    let mut lines = vec![format!(
        "if done: {:.4} kWh and {:.1} core-seconds unserved; if left: {:.4} kWh and {:.1} core-seconds unserved",
        kwh(done),
        expected.overload_if_done,
        kwh(left),
        expected.overload_if_left
    )];
    let (far, near) = (expected.distance_if_left, expected.distance_if_done);
    if far != near {
        lines.push(format!("the distance to users is worth {:.0} J if done, {:.0} J if left", near.get(), far.get()));
    }
    let (left, done) = (expected.waiting_if_left, expected.waiting_if_done);
    if left != done {
        lines.push(format!("what new vms wait is worth {:.0} J if done, {:.0} J if left", done.get(), left.get()));
    }
    if !expected.copy_time.is_zero() {
        let (time, pause) = (expected.copy_time.as_secs_f64(), expected.downtime.as_millis());
        lines.push(format!("copies {} in {time:.1} s, pauses a vm for up to {pause} ms", expected.copied));
    }
    lines.push(format!("gain {:.0} J by the objective", expected.gain.get()));
    lines
}

/// The text with what `show` has for a vm in place of its uuid.
pub(crate) fn with_names(text: &str, show: &dyn Fn(VmId) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let uuid = rest.get(..UUID_LEN).filter(|part| part.as_bytes().get(8) == Some(&b'-'));
        if let Some(shown) = uuid.and_then(|part| show(part.parse().ok()?)) {
            out.push_str(&shown);
            rest = &rest[UUID_LEN..];
        } else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        command::MigrationLimits,
        decide::decide,
        decision::Trigger,
        fixture::{Fleet, vm_id},
        id::HostId,
        migration_cost::{CopyFactors, CopyJob, Writes},
        outcome::StageTimes,
        policy::RiskGreedy,
        units::{Bytes, BytesPerSec, Cores, Timestamp},
    };

    #[test]
    fn a_relief_reads_as_a_person_would_tell_it() {
        let mut fleet = Fleet::new(&[("a", &[3.5, 3.5, 3.5, 3.5]), ("b", &[3.0]), ("c", &[3.0])]);
        fleet.record(2).labels.immovable = true;
        fleet.tuning.moves_in_fleet = 1;
        let decision = decide(&fleet.input(Trigger::Round), &mut RiskGreedy);
        let name = |vm| (vm == vm_id(1)).then(|| "web-1".to_owned());
        let text = explain(&decision, &name);
        let expected = "\
decision 1-1 at 1970-01-12T13:46:40.000Z: regular round, mode auto, policy risk-greedy, forecast test

chosen:
  1. move web-1 (00000000-0000-0000-0000-000000000001) from a to b
     because a is at 88 % of its CPU, limit 85 %
     if done: 0.3010 kWh and 2.6 core-seconds unserved; if left: 0.3059 kWh and 0.0 core-seconds unserved
";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("not now: "), "{text}");
    }

    #[test]
    fn what_came_of_a_copy_stands_beside_what_it_was_reckoned_with() {
        let limits = MigrationLimits::for_memory(Bytes::from_gib(1));
        let job = CopyJob::of_vm(Bytes::from_gib(1), Cores(0.1), Writes::default(), BytesPerSec(1e8), &limits);
        let stages = StageTimes {
            preparation: Duration::from_millis(400),
            migration: Duration::from_secs(11),
            switching: Duration::from_millis(300),
        };
        let outcome = Outcome {
            id: "1-2".parse().unwrap(),
            vm: None,
            source: HostId::new("a").unwrap(),
            destination: None,
            ending: Ending::Completed,
            began_at: Timestamp::EPOCH,
            ended_at: Timestamp::EPOCH,
            stages,
            downtime: Some(Duration::from_millis(250)),
            copied: Bytes::from_gib(1),
            iterations: 3,
        };
        let known = CopyFactors { duration_at_most: Some(2.0), ..CopyFactors::default() };
        assert_eq!(
            came_of(Some(&known.reckon(job)), &outcome),
            "completed: copied 1.0 GiB (1.0 GiB reckoned) in 11.7 s (12.2 s reckoned, 24.4 s at most), \
             paused it for 250 ms (400 ms reckoned)"
        );
        assert_eq!(came_of(None, &outcome), "completed: copied 1.0 GiB in 11.7 s, paused it for 250 ms");
        let failed = Outcome { ending: Ending::Failed { reason: "no room".into() }, ..outcome };
        assert_eq!(came_of(None, &failed), "failed: no room");
    }

    #[test]
    fn nothing_chosen_says_so_and_why() {
        let fleet = Fleet::new(&[("a", &[1.0])]);
        let decision = decide(&fleet.input(Trigger::Round), &mut crate::policy::LeaveAlone);
        let text = explain(&decision, &|_| None);
        assert!(text.ends_with("chosen:\n  nothing\n\nnotes:\n  - policy none leaves the fleet as it is\n"), "{text}");
    }
}
