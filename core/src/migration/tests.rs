//! The life cycle against scripted and against random histories.

use proptest::prelude::*;

use super::*;
use crate::id::Epoch;

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(5000 + secs)
}

fn ticket() -> Ticket {
    Ticket {
        id: CommandId { epoch: Epoch(1), number: 7 },
        vm: VmId::default(),
        source: HostId::new("a").unwrap(),
        destination: HostId::new("b").unwrap(),
        limits: MigrationLimits::for_memory(Bytes::from_gib(1)),
    }
}

fn begun() -> Migration {
    let mut migration = Migration::new(ticket(), at(0));
    assert_eq!(migration.on(Input::Start, at(0)), [Effect::Begin]);
    migration
}

fn located(source: Presence, destination: Presence) -> Input {
    Input::Located { source, destination }
}

#[track_caller]
fn ending(effects: &[Effect]) -> &Ending {
    match effects {
        [Effect::Finish(outcome)] => &outcome.ending,
        other => panic!("expected one outcome, got {other:?}"),
    }
}

#[test]
fn a_migration_passes_its_three_stages_and_books_their_times() {
    let mut migration = begun();
    migration.on(Input::Iteration(1), at(3));
    migration.on(Input::Suspended, at(13));
    let downtime = Some(Duration::from_millis(180));
    migration.on(Input::Statistics { downtime, copied: Bytes::from_mib(92), iterations: 4 }, at(14));
    assert_eq!(migration.on(Input::Returned(Ok(())), at(15)), [Effect::Locate]);
    let effects = migration.on(located(Presence::Absent, Presence::Running), at(16));
    let [Effect::Finish(outcome)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(outcome.ending, Ending::Completed);
    assert_eq!(outcome.stages.preparation, Duration::from_secs(3));
    assert_eq!(outcome.stages.migration, Duration::from_secs(10));
    assert_eq!(outcome.stages.switching, Duration::from_secs(2));
    assert_eq!((outcome.downtime, outcome.copied, outcome.iterations), (downtime, Bytes::from_mib(92), 4));
}

/// The lab drill's seed 3: the destination's libvirtd was killed in the switch-over, and both ends ran the vm.
#[test]
fn a_vm_that_was_switched_over_has_not_stayed_before_its_destination_says_so() {
    let mut migration = begun();
    migration.on(Input::Iteration(1), at(3));
    migration.on(Input::Suspended, at(13));
    migration.on(Input::Returned(Err("lost".to_owned())), at(14));
    let effects = migration.on(located(Presence::Running, Presence::Unknown), at(14));
    assert!(matches!(&effects[..], [Effect::Doubt { reason }] if reason.contains("may run it too")), "{effects:?}");
    let effects = migration.on(located(Presence::Running, Presence::Absent), at(16));
    assert_eq!(ending(&effects).to_string(), "failed: lost");
}

#[test]
fn another_reason_for_doubt_is_said_at_once_and_the_same_one_not_again() {
    let mut migration = begun();
    migration.on(Input::Iteration(1), at(3));
    migration.on(Input::Suspended, at(13));
    migration.on(Input::Returned(Err("lost".to_owned())), at(14));
    let said = |migration: &mut Migration, destination, second| {
        let effects = migration.on(located(Presence::Running, destination), at(second));
        effects
            .into_iter()
            .map(|effect| if let Effect::Doubt { reason } = effect { reason } else { format!("{effect:?}") })
            .collect::<Vec<_>>()
    };
    assert_eq!(said(&mut migration, Presence::Unknown, 14).len(), 1);
    assert_eq!(said(&mut migration, Presence::Unknown, 16), [""; 0]);
    assert_eq!(said(&mut migration, Presence::Running, 20), ["the vm seems to run on both hosts"]);
    assert_eq!(said(&mut migration, Presence::Running, 24), [""; 0]);
}

#[test]
fn the_place_of_the_vm_outweighs_what_the_call_said() {
    use Presence::{Absent, Moving, Paused, Running, Unknown};
    let check = |returned: Result<(), String>, source, destination, expected: Option<&str>| {
        let mut migration = begun();
        migration.on(Input::Returned(returned), at(1));
        let effects = migration.on(located(source, destination), at(2));
        match expected {
            Some(text) => assert_eq!(ending(&effects).to_string(), text, "{source:?} {destination:?}"),
            None => assert!(matches!(&effects[..], [Effect::Doubt { .. }]), "{source:?} {destination:?}: {effects:?}"),
        }
    };
    let lost = || Err("connection lost".to_owned());
    check(lost(), Absent, Running, Some("completed"));
    check(lost(), Running, Absent, Some("failed: connection lost"));
    check(lost(), Running, Unknown, Some("failed: connection lost"));
    check(Ok(()), Running, Absent, Some("failed: the vm runs at its source although the call succeeded"));
    check(Ok(()), Absent, Unknown, None);
    check(Ok(()), Unknown, Running, None);
    check(Ok(()), Unknown, Absent, None);
    check(Ok(()), Running, Running, None);
    check(lost(), Paused, Absent, None);
    check(lost(), Paused, Unknown, None);
    check(lost(), Moving, Moving, None);
}

#[test]
fn a_vm_is_only_gone_when_two_looks_in_a_row_say_so() {
    let mut migration = begun();
    let gone = || located(Presence::Absent, Presence::Absent);
    migration.on(Input::Returned(Ok(())), at(1));
    assert_eq!(migration.on(gone(), at(1)), []);
    assert_eq!(migration.on(located(Presence::Absent, Presence::Unknown), at(2)).len(), 1);
    assert_eq!(migration.on(gone(), at(3)), []);
    assert_eq!(ending(&migration.on(gone(), at(4))), &Ending::VmGone);
}

#[test]
fn an_unknown_place_is_asked_for_again_with_growing_pauses_and_a_person_is_called_once() {
    let mut migration = begun();
    migration.on(Input::Returned(Err("lost".to_owned())), at(1));
    assert_eq!(migration.on(located(Presence::Paused, Presence::Unknown), at(1)).len(), 1);
    let mut looks = Vec::new();
    let mut said = Vec::new();
    for second in 2..80 {
        for effect in migration.on(Input::Tick, at(second)) {
            assert_eq!(effect, Effect::Locate);
            looks.push(second);
            let effects = migration.on(located(Presence::Paused, Presence::Unknown), at(second));
            said.extend(effects.into_iter().map(|effect| (second, effect)));
        }
    }
    assert_eq!(looks, [2, 4, 8, 16, 31, 46, 61, 76]);
    assert!(matches!(&said[..], [(61, Effect::Plead { reason })] if reason.ends_with("cannot be asked")), "{said:?}");
    let effects = migration.on(located(Presence::Running, Presence::Absent), at(300));
    assert_eq!(ending(&effects).to_string(), "failed: lost");
}

#[test]
fn a_person_is_told_to_resume_a_vm_only_where_it_surely_runs_nowhere_else() {
    let said = |destination| {
        let mut migration = begun();
        migration.on(Input::Returned(Err("lost".to_owned())), at(1));
        let effects = migration.on(located(Presence::Paused, destination), at(1));
        format!("{effects:?}")
    };
    assert!(said(Presence::Absent).contains("virsh resume"));
    for destination in [Presence::Unknown, Presence::Moving] {
        assert!(!said(destination).contains("virsh resume"), "{destination:?}");
    }
}

/// Seed 1802 of the simulation: pauses of a minute kept a vm locked for longer than that after all trouble was over.
#[test]
fn a_place_that_can_be_told_again_ends_it_within_half_a_minute_however_long_it_could_not() {
    let check = |source, destination, trouble| {
        let mut migration = begun();
        migration.on(Input::Returned(Err("lost".to_owned())), at(1));
        migration.on(located(Presence::Unknown, Presence::Unknown), at(1));
        let mut ended = None;
        for second in 2..trouble + 120 {
            if migration.on(Input::Tick, at(second)).is_empty() {
                continue;
            }
            let is_over = second >= trouble;
            let found = if is_over { (source, destination) } else { (Presence::Unknown, Presence::Unknown) };
            migration.on(located(found.0, found.1), at(second));
            ended = ended.or(migration.is_over().then_some(second));
        }
        let ended = ended.unwrap_or_else(|| panic!("{source:?} {destination:?} does not end it"));
        assert!(ended - trouble <= 30, "{source:?} {destination:?} end it after {} s", ended - trouble);
    };
    for trouble in [2, 10, 33, 100, 1000] {
        check(Presence::Running, Presence::Absent, trouble);
        check(Presence::Absent, Presence::Running, trouble);
        check(Presence::Absent, Presence::Absent, trouble);
    }
}

#[test]
fn a_destination_that_does_not_get_ready_is_given_up() {
    let mut migration = begun();
    assert_eq!(migration.on(Input::Tick, at(59)), []);
    assert!(matches!(&migration.on(Input::Tick, at(60))[..], [Effect::Abort { .. }]));
    assert_eq!(migration.on(Input::Tick, at(61)), []);
}

#[test]
fn the_completion_timeout_counts_from_the_first_pass() {
    let mut migration = begun();
    migration.on(Input::Iteration(1), at(50));
    let mut remaining = 1 << 40;
    for second in 51..350 {
        remaining -= remaining / 20;
        let progress = Progress { iteration: 1, remaining: Bytes(remaining), ..Progress::default() };
        assert_eq!(migration.on(Input::Progress(progress), at(second)), []);
        assert_eq!(migration.on(Input::Tick, at(second)), [], "{second}");
    }
    assert!(matches!(&migration.on(Input::Tick, at(350))[..], [Effect::Abort { .. }]));
}

#[test]
fn a_stalled_copy_is_given_a_longer_pause_before_it_is_given_up() {
    let mut migration = begun();
    migration.on(Input::Iteration(1), at(1));
    let mut seen = Vec::new();
    for second in 2..200 {
        let progress = Progress { iteration: second, remaining: Bytes::from_mib(500), ..Progress::default() };
        for effect in migration.on(Input::Progress(progress), at(second)) {
            seen.push((second, effect));
        }
    }
    let downtimes: Vec<_> = seen.iter().filter(|(_, e)| matches!(e, Effect::AllowDowntime(_))).collect();
    let millis = |ms| Effect::AllowDowntime(Duration::from_millis(ms));
    assert_eq!(downtimes, [&(42, millis(450)), &(80, millis(500))]);
    assert!(matches!(seen.last(), Some((152, Effect::Abort { .. }))), "{seen:?}");
}

#[test]
fn a_cancel_ends_as_cancelled_only_when_the_vm_stayed() {
    let mut migration = begun();
    let cancel = Input::CancelRequested { reason: "operator".to_owned() };
    assert_eq!(migration.on(cancel.clone(), at(1)), [Effect::Abort { reason: "operator".to_owned() }]);
    assert_eq!(migration.on(cancel.clone(), at(2)), []);
    migration.on(Input::Returned(Err("aborted".to_owned())), at(3));
    let mut moved = migration.clone();
    assert_eq!(
        ending(&migration.on(located(Presence::Running, Presence::Absent), at(4))).to_string(),
        "cancelled: operator"
    );
    assert_eq!(ending(&moved.on(located(Presence::Absent, Presence::Running), at(4))), &Ending::Completed);
}

#[test]
fn an_abort_without_effect_is_repeated_and_then_the_vm_is_looked_for() {
    let mut migration = begun();
    migration.on(Input::CancelRequested { reason: "operator".to_owned() }, at(1));
    let effects: Vec<_> = (2..50).flat_map(|second| migration.on(Input::Tick, at(second))).collect();
    let abort = || Effect::Abort { reason: "operator".to_owned() };
    assert_eq!(effects, [abort(), abort(), abort(), Effect::Locate]);
}

#[test]
fn a_switch_over_is_never_aborted() {
    let mut migration = begun();
    migration.on(Input::Suspended, at(1));
    assert_eq!(migration.on(Input::CancelRequested { reason: "late".to_owned() }, at(2)), []);
    assert_eq!(migration.on(Input::Tick, at(60)), []);
    assert_eq!(migration.on(Input::Tick, at(61)), [Effect::Locate]);
}

/// `virsh suspend` in flight: libvirt tells of it in the words of a switch-over.
#[test]
fn a_vm_that_somebody_paused_in_flight_is_waited_for_as_long_as_its_copy_goes_on() {
    let mut migration = begun();
    migration.on(Input::Iteration(1), at(1));
    migration.on(Input::Suspended, at(2));
    for second in (30..300).step_by(30) {
        let progress = Progress { copied: Bytes::from_mib(second), ..Progress::default() };
        assert_eq!(migration.on(Input::Progress(progress), at(second)), []);
        assert_eq!(migration.on(Input::Tick, at(second + 29)), []);
    }
    assert_eq!(migration.on(Input::Tick, at(270 + 60)), [Effect::Locate], "a minute after the last of it");
}

#[test]
fn a_recovered_migration_looks_first_and_watches_on_where_a_job_runs() {
    let mut migration = Migration::recovered(ticket(), at(0), at(100));
    assert_eq!(migration.on(Input::Start, at(100)), []);
    assert_eq!(migration.on(Input::Tick, at(100)), [Effect::Locate]);
    assert_eq!(migration.on(Input::Watching, at(101)), []);
    assert_eq!(migration.stage(), Stage::Migration);
    migration.on(Input::Suspended, at(103));
    assert_eq!(migration.on(Input::Returned(Ok(())), at(104)), [Effect::Locate]);
    assert_eq!(ending(&migration.on(located(Presence::Absent, Presence::Running), at(105))), &Ending::Completed);
}

fn presences() -> impl Strategy<Value = Presence> {
    use Presence::{Absent, Moving, Paused, Running, Unknown};
    prop_oneof![Just(Running), Just(Paused), Just(Moving), Just(Absent), Just(Unknown)]
}

fn inputs() -> impl Strategy<Value = Input> {
    prop_oneof![
        Just(Input::Start),
        Just(Input::Watching),
        (0..9u64).prop_map(Input::Iteration),
        (0..9u64, 0..1000u64).prop_map(|(iteration, mib)| Input::Progress(Progress {
            iteration,
            remaining: Bytes::from_mib(mib),
            ..Progress::default()
        })),
        Just(Input::Suspended),
        Just(Input::Returned(Ok(()))),
        Just(Input::Returned(Err("no".to_owned()))),
        Just(Input::Tick),
        Just(Input::CancelRequested { reason: "stop".to_owned() }),
        (presences(), presences()).prop_map(|(source, destination)| located(source, destination)),
    ]
}

fn proves_completion(input: &Input) -> bool {
    use Presence::{Absent, Paused, Running};
    matches!(
        input,
        Input::Located { source: Absent, destination: Running | Paused }
            | Input::Located { source: Paused, destination: Running }
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever order things happen in: one `Begin` and one `Finish` at most, nothing after the end, and `Completed`
    /// only in answer to the vm being found at the destination.
    #[test]
    fn any_history_gives_at_most_one_begin_and_one_proven_outcome(
        history in prop::collection::vec((inputs(), 0..90u64), 0..60)
    ) {
        let mut migration = Migration::new(ticket(), at(0));
        let (mut begins, mut outcomes, mut now) = (0, 0, 0);
        for (input, pause) in history {
            now += pause;
            let over = migration.is_over();
            let effects = migration.on(input.clone(), at(now));
            prop_assert!(!over || effects.is_empty());
            for effect in effects {
                begins += u32::from(effect == Effect::Begin);
                if let Effect::Finish(outcome) = effect {
                    outcomes += 1;
                    prop_assert!(outcome.ending != Ending::Completed || proves_completion(&input));
                    let undecided = matches!(outcome.ending, Ending::Unresolved { .. });
                    prop_assert!(!undecided);
                }
                prop_assert!(begins <= 1 && outcomes <= 1);
            }
        }
    }

    /// From wherever it stands, time and one honest answer bring it to an end: it cannot hang.
    #[test]
    fn every_history_ends_once_the_vm_can_be_found(
        history in prop::collection::vec((inputs(), 0..90u64), 0..40)
    ) {
        let mut migration = Migration::new(ticket(), at(0));
        migration.on(Input::Start, at(0));
        let mut now = 0;
        for (input, pause) in history {
            now += pause;
            migration.on(input, at(now));
        }
        for _ in 0..2000 {
            now += 1;
            for effect in migration.on(Input::Tick, at(now)) {
                if effect == Effect::Locate {
                    migration.on(located(Presence::Running, Presence::Absent), at(now));
                }
            }
        }
        prop_assert!(migration.is_over());
    }
}
