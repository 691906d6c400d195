//! The table of commands against agents that lose, repeat and reorder: every command ends once, and none runs unasked.

use std::{collections::BTreeMap, time::Duration};

use ballast_core::{command::Progress, units::Timestamp};
use proptest::prelude::*;

use super::*;
use crate::testing::{host, id, migrate, outcome};

const SECOND: Duration = Duration::from_secs(1);

fn table() -> Table {
    Table::new(Epoch(1), CommandSettings::default())
}

fn report(table: &mut Table, number: u64, status: CommandStatus, now: Duration) -> Vec<Effect> {
    table.report(&host("a"), Report { id: id(number), status }, Timestamp::from_secs(9), now)
}

fn connect(table: &mut Table) {
    table.connected(&host("a"), &BTreeSet::new(), Duration::ZERO);
}

#[test]
fn a_command_of_another_host_cannot_be_ended_by_this_one() {
    let mut table = table();
    connect(&mut table);
    table.issue(migrate(1), Duration::ZERO);
    let report = Report { id: id(1), status: CommandStatus::Finished(outcome(1, Ending::Completed)) };
    let effects = table.report(&host("b"), report, Timestamp::EPOCH, SECOND);
    assert!(effects.iter().all(|effect| !matches!(effect, Effect::Close(_))), "{effects:?}");
    assert_eq!(table.len(), 1);
}

#[test]
fn an_agent_says_how_it_ended_but_not_what_it_was() {
    let mut table = table();
    connect(&mut table);
    table.issue(migrate(1), Duration::ZERO);
    let mut lie = outcome(1, Ending::Completed);
    (lie.vm, lie.destination, lie.source) = (None, Some(host("z")), host("z"));
    let effects = report(&mut table, 1, CommandStatus::Finished(lie), SECOND);
    assert_eq!(effects, [Effect::Close(outcome(1, Ending::Completed))]);
}

/// A table with an order to sleep for `a`, whose goodbye was heard after a second.
fn goodbye_was_heard() -> Table {
    let mut table = table();
    connect(&mut table);
    table.issue(Command { order: Order::Sleep, ..migrate(1) }, Duration::ZERO);
    let effects = table.goodbye(&host("a"), SECOND);
    assert_eq!(effects, [Effect::Accepted(id(1)), Effect::Goodbye(id(1), host("a"))]);
    table.goodbye_heard(id(1), SECOND);
    table
}

#[test]
fn a_host_that_said_goodbye_and_stays_away_sleeps() {
    let mut table = goodbye_was_heard();
    table.tick(Timestamp::EPOCH, SECOND * 50);
    table.disconnected(&host("a"));
    assert_eq!(table.tick(Timestamp::EPOCH, SECOND * 79), []);
    let effects = table.tick(Timestamp::from_secs(9), SECOND * 80);
    let [Effect::Close(slept)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!((&slept.ending, slept.ended_at), (&Ending::Completed, Timestamp::from_secs(9)));
}

#[test]
fn a_host_that_said_goodbye_and_stayed_says_itself_how_its_order_ended() {
    let mut table = goodbye_was_heard();
    assert_eq!(table.tick(Timestamp::EPOCH, SECOND * 40), [], "it is there");
    let failed = outcome(1, Ending::Failed { reason: "a vm arrived".into() });
    let effects = report(&mut table, 1, CommandStatus::Finished(failed), SECOND * 41);
    let [Effect::Close(stayed)] = effects.as_slice() else { panic!("{effects:?}") };
    assert!(matches!(stayed.ending, Ending::Failed { .. }));
}

#[test]
fn an_unresolved_end_can_be_put_right_later() {
    let mut table = table();
    connect(&mut table);
    table.issue(migrate(1), Duration::ZERO);
    let dark = outcome(1, Ending::Unresolved { reason: "dark".into() });
    report(&mut table, 1, CommandStatus::Finished(dark.clone()), SECOND);
    table.closed(&dark);
    assert_eq!(table.len(), 0);
    let light = outcome(1, Ending::Completed);
    let effects = report(&mut table, 1, CommandStatus::Finished(light.clone()), SECOND);
    assert_eq!(effects, [Effect::Close(light.clone())]);
    assert_eq!(table.closed(&light).len(), 1);
    let again = report(&mut table, 1, CommandStatus::Finished(light), SECOND);
    assert_eq!(again, [Effect::Send(host("a"), ToAgent::ReportAck(id(1)))]);
}

#[test]
fn a_silent_migration_is_asked_after() {
    let mut table = table();
    connect(&mut table);
    table.issue(migrate(1), Duration::ZERO);
    report(&mut table, 1, CommandStatus::Running(Progress::default()), SECOND);
    assert!(table.tick(Timestamp::EPOCH, SECOND * 50).is_empty());
    assert_eq!(table.tick(Timestamp::EPOCH, SECOND * 61), [Effect::Send(host("a"), ToAgent::Query(vec![id(1)]))]);
}

#[test]
fn an_unreachable_host_is_warned_of_once() {
    let mut table = table();
    table.issue(migrate(1), Duration::ZERO);
    let alarms: usize = (0..100).map(|ten| table.tick(Timestamp::EPOCH, SECOND * ten * 10).len()).sum();
    assert_eq!(alarms, 1);
}

#[test]
fn an_unknown_that_answers_no_question_ends_nothing() {
    let mut table = table();
    connect(&mut table);
    table.issue(migrate(1), Duration::ZERO);
    assert!(report(&mut table, 1, CommandStatus::Unknown, SECOND).is_empty(), "it may be older than the command");
}

/// An agent that remembers what it accepted, behind a network that may lose anything.
#[derive(Debug, Default)]
struct FakeAgent {
    known: BTreeMap<CommandId, CommandStatus>,
    started: BTreeMap<CommandId, u32>,
}

impl FakeAgent {
    fn receive(&mut self, message: &ToAgent) -> Vec<Report> {
        match message {
            ToAgent::Command(command) => {
                let id = command.id;
                let status = self.known.entry(id).or_insert_with(|| {
                    *self.started.entry(id).or_default() += 1;
                    CommandStatus::Accepted
                });
                vec![Report { id, status: status.clone() }]
            }
            ToAgent::Query(ids) => {
                let status = |id: &CommandId| self.known.get(id).cloned().unwrap_or(CommandStatus::Unknown);
                ids.iter().map(|id| Report { id: *id, status: status(id) }).collect()
            }
            ToAgent::ReportAck(_)
            | ToAgent::GoodbyeHeard
            | ToAgent::Ack(_)
            | ToAgent::Preflight { .. }
            | ToAgent::Close { .. } => Vec::new(),
        }
    }

    fn finish_all(&mut self) {
        for (id, status) in &mut self.known {
            if !status.is_final() {
                *status = CommandStatus::Finished(outcome(id.number, Ending::Completed));
            }
        }
    }
}

/// What may happen at one step of a run.
#[derive(Debug, Clone)]
enum Happening {
    Pass(u64),
    Lose(bool),
    Reconnect,
    Finish,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (1_u64..20).prop_map(Happening::Pass),
        2 => any::<bool>().prop_map(Happening::Lose),
        1 => Just(Happening::Reconnect),
        1 => Just(Happening::Finish),
    ]
}

/// Table, agent and network of one run.
struct Run {
    table: Table,
    agent: FakeAgent,
    now: Duration,
    lossy: bool,
    ended: Vec<Outcome>,
}

impl Run {
    fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut effects = std::collections::VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Send(_, message) if !self.lossy => {
                    for report in self.agent.receive(&message) {
                        effects.extend(self.table.report(&host("a"), report, Timestamp::EPOCH, self.now));
                    }
                }
                Effect::Close(outcome) => {
                    effects.extend(self.table.closed(&outcome));
                    self.ended.push(outcome);
                }
                _ => {}
            }
        }
    }

    fn step(&mut self, happening: &Happening) {
        let effects = match happening {
            Happening::Pass(seconds) => {
                self.now += SECOND * u32::try_from(*seconds).unwrap();
                self.table.tick(Timestamp::EPOCH, self.now)
            }
            Happening::Lose(lossy) => {
                self.lossy = *lossy;
                Vec::new()
            }
            Happening::Reconnect => {
                self.table.disconnected(&host("a"));
                self.table.connected(&host("a"), &BTreeSet::new(), self.now)
            }
            Happening::Finish => {
                self.agent.finish_all();
                Vec::new()
            }
        };
        self.carry_out(effects);
    }
}

proptest! {
    #[test]
    fn every_command_ends_exactly_once_and_what_was_abandoned_never_ran(
        happenings in prop::collection::vec(happening(), 0..40)
    ) {
        let (agent, now, ended) = (FakeAgent::default(), Duration::ZERO, Vec::new());
        let mut run = Run { table: table(), agent, now, lossy: true, ended };
        connect(&mut run.table);
        let effects = run.table.issue(migrate(1), Duration::ZERO);
        run.carry_out(effects);
        happenings.iter().for_each(|happening| run.step(happening));
        // The faults end: from here on everything arrives and the agent gets its work done.
        run.lossy = false;
        run.step(&Happening::Reconnect);
        run.step(&Happening::Finish);
        for _ in 0..20 {
            run.step(&Happening::Pass(10));
        }
        prop_assert_eq!(run.table.len(), 0);
        prop_assert_eq!(run.ended.len(), 1);
        let started = run.agent.started.get(&id(1)).copied().unwrap_or_default();
        prop_assert!(started <= 1);
        let abandoned = matches!(run.ended[0].ending, Ending::Abandoned { .. });
        prop_assert_eq!(abandoned, started == 0);
    }
}
