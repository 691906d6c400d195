//! When a round comes early: once what the one before had to wait for has happened.
//!
//! A round begins as many migrations as the bounds allow and leaves the rest to the next; a host that it emptied may sleep
//! only after a while. Waiting out the interval would leave links idle and empty hosts awake. Used by the scheduler's control
//! loop and by the simulation, in mode auto: where people act, nothing waits for a round.

use std::time::Duration;

use crate::{
    decision::{Decision, Step},
    inventory::SleepSupport,
    snapshot::{HostMode, HostPower, HostView, Snapshot},
    tuning::Tuning,
    units::Timestamp,
};

/// Shortest time between two rounds: two samples at the usual pace, so that a round sees what the one before did.
pub const EARLIEST: Duration = Duration::from_secs(10);

/// Time between two looks at whether a round may come early, where there is a sample every `period`: whole periods, so that a
/// look keeps its place between two samples and never sees but a part of the fleet's newest.
pub fn interval(period: Duration) -> Duration {
    let mut interval = period.max(Duration::from_millis(1));
    while interval < EARLIEST {
        interval += period.max(Duration::from_millis(1));
    }
    interval
}

/// What a round left waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    at: Timestamp,
    /// Migrations under way when all it ordered had begun.
    flying: usize,
    /// Moves that the bounds did not allow yet.
    moves: usize,
}

impl Waits {
    /// What `decision` left waiting, and what was under way in the view it rests on.
    pub fn of(decision: &Decision, snapshot: &Snapshot) -> Self {
        let begun = decision.chosen.steps.iter().filter(|planned| matches!(planned.step, Step::Migrate(_))).count();
        Self { at: snapshot.taken_at, flying: snapshot.in_flight.len() + begun, moves: decision.waiting }
    }

    /// Whether another round may be held at all by now.
    pub fn may_end(&self, now: Timestamp) -> bool {
        now.since(self.at) >= EARLIEST
    }

    /// Whether something it waits for has happened: a migration has ended and others wait for its place, or a host has now
    /// been empty for long enough to sleep.
    pub fn are_over(&self, snapshot: &Snapshot, tuning: &Tuning) -> bool {
        let since = snapshot.taken_at.since(self.at);
        let has_place = self.moves > 0 && snapshot.in_flight.len() < self.flying;
        let falls_due = |host: &HostView| {
            let could = host.power == HostPower::Awake
                && host.mode == HostMode::Active
                && host.inventory.sleep != SleepSupport::None;
            // What was due then has had its answer.
            let was_due = host.empty_for.saturating_sub(since) >= tuning.sleep_after;
            could && host.has_been_empty_for(tuning.sleep_after) && !was_due
        };
        self.may_end(snapshot.taken_at) && (has_place || snapshot.hosts.values().any(falls_due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decide::decide,
        decision::Trigger,
        fixture::{Fleet, host_id},
        id::CommandId,
        policy::RiskGreedy,
        snapshot::InFlight,
    };

    /// A fleet whose two small hosts are worth emptying, one move at a time.
    fn fleet() -> Fleet {
        let mut fleet = Fleet::new(&[("a", &[1.0, 1.0]), ("b", &[2.0; 3])]);
        fleet.tuning.moves_in_per_host = 1;
        fleet
    }

    fn waits(fleet: &Fleet) -> (Decision, Waits) {
        let decision = decide(&fleet.input(Trigger::Round), &mut RiskGreedy);
        let waits = Waits::of(&decision, &fleet.snapshot);
        (decision, waits)
    }

    /// The fleet `secs` later, with so many migrations under way.
    fn later(fleet: &Fleet, decision: &Decision, secs: u64, flying: usize) -> Snapshot {
        let mut snapshot = fleet.snapshot.clone();
        snapshot.taken_at = snapshot.taken_at.after(Duration::from_secs(secs));
        let one = decision.chosen.steps.iter().find_map(|planned| match &planned.step {
            Step::Migrate(one) => Some(one.clone()),
            _ => None,
        });
        let flight = |one: crate::proposal::Move| InFlight {
            command: CommandId { epoch: snapshot.epoch, number: 1 },
            vm: one.vm,
            source: one.from,
            destination: one.to,
            since: snapshot.taken_at,
        };
        snapshot.in_flight = one.into_iter().map(flight).take(flying).collect();
        snapshot
    }

    #[test]
    fn looks_are_whole_periods_apart_and_never_closer_than_two_rounds_may_be() {
        for (period, expected) in [(5.0, 10.0), (15.0, 15.0), (4.0, 12.0), (0.0, 10.0), (300.0, 300.0)] {
            assert_eq!(interval(Duration::from_secs_f64(period)), Duration::from_secs_f64(expected), "{period}");
        }
    }

    #[test]
    fn a_move_that_waits_for_another_to_end_has_its_round_then_and_not_before() {
        let fleet = fleet();
        let (decision, waits) = waits(&fleet);
        assert_eq!(decision.waiting, 1, "{decision:?}");
        let over = |secs, flying| waits.are_over(&later(&fleet, &decision, secs, flying), &fleet.tuning);
        assert!(!over(60, 1), "it still flies");
        assert!(!over(9, 0), "a round has to see what the one before did");
        assert!(over(10, 0));
    }

    #[test]
    fn where_nothing_waits_the_end_of_a_migration_is_no_reason() {
        let mut fleet = fleet();
        fleet.tuning.moves_in_per_host = 2;
        fleet.tuning.moves_out_per_host = 2;
        let (decision, waits) = waits(&fleet);
        assert_eq!(decision.waiting, 0);
        assert!(!waits.are_over(&later(&fleet, &decision, 60, 0), &fleet.tuning));
    }

    #[test]
    fn a_host_has_its_round_when_it_has_been_empty_for_long_enough_and_only_once() {
        let fleet = fleet();
        let (decision, waits) = waits(&fleet);
        let due = fleet.tuning.sleep_after.as_secs();
        let empty_for = |secs: u64, empty: u64| {
            let mut snapshot = later(&fleet, &decision, secs, 1);
            snapshot.hosts.get_mut(&host_id("a")).unwrap().empty_for = Duration::from_secs(empty);
            waits.are_over(&snapshot, &fleet.tuning)
        };
        assert!(!empty_for(due + 30, due - 1));
        assert!(empty_for(due + 30, due));
        assert!(!empty_for(20, due + 20), "the round before has seen it");
    }
}
