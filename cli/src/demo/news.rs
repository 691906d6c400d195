//! What has happened since the step before, in words: moves with their reasons, how they ended, hosts that sleep and wake.

use std::collections::BTreeMap;

use ballast_core::{
    decision::{Decision, Step},
    id::{DecisionId, HostId, VmId},
    outcome::{Ending, Outcome},
    snapshot::HostPower,
    units::Timestamp,
};
use ballast_scheduler::engine::MigrationRecord;
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

use super::stage::Stage;

/// Decisions asked for after each step: more are not made in one.
const DECISIONS: usize = 64;

/// What kind of news it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A host is relieved.
    Relief,
    /// Something else was decided.
    Decided,
    /// A migration has ended as ordered.
    Moved,
    /// Something has not worked.
    Trouble,
    /// A host changed its power state.
    Power,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub(crate) struct News {
    pub(crate) at: Timestamp,
    pub(crate) kind: Kind,
    pub(crate) text: String,
}

/// Gathers news.
pub(crate) struct Newsroom {
    migrations: Receiver<MigrationRecord>,
    newest: Option<DecisionId>,
    power: BTreeMap<HostId, HostPower>,
}

impl Newsroom {
    /// Begins to listen.
    pub(crate) fn new(stage: &Stage) -> Self {
        Self { migrations: stage.engine().watch(), newest: None, power: BTreeMap::new() }
    }

    /// What has happened since the last call.
    pub(crate) fn gather(&mut self, stage: &Stage) -> anyhow::Result<Vec<News>> {
        let mut news = self.decisions(stage);
        news.extend(self.endings()?);
        news.extend(self.power(stage));
        Ok(news)
    }

    fn decisions(&mut self, stage: &Stage) -> Vec<News> {
        let fresh: Vec<Decision> = stage
            .engine()
            .decisions(DECISIONS, false)
            .into_iter()
            .map(|record| record.decision)
            .take_while(|decision| Some(decision.id) != self.newest)
            .collect();
        self.newest = fresh.first().map(|decision| decision.id).or(self.newest);
        fresh.iter().rev().flat_map(|decision| told(decision, stage)).collect()
    }

    fn endings(&mut self) -> anyhow::Result<Vec<News>> {
        let mut over = BTreeMap::new();
        loop {
            match self.migrations.try_recv() {
                Ok(record) => over.extend(record.outcome.as_ref().map(|outcome| (record.id, ended(&record, outcome)))),
                // Who falls behind misses progress; the table at the end counts every migration.
                Err(TryRecvError::Lagged(_)) => {}
                // In the order of their ids: those of one step end at one moment, reported in any order.
                Err(TryRecvError::Empty) => return Ok(over.into_values().collect()),
                Err(TryRecvError::Closed) => anyhow::bail!("the scheduler has ended"),
            }
        }
    }

    fn power(&mut self, stage: &Stage) -> Vec<News> {
        let hosts = stage.world(|world| world.overview());
        let changed = hosts.into_iter().filter_map(|host| {
            let before = self.power.insert(host.host.clone(), host.power)?;
            let text = match host.power {
                _ if before == host.power => return None,
                HostPower::Asleep => format!("{} is asleep", host.host),
                HostPower::Awake => format!("{} is awake again", host.host),
                HostPower::FallingAsleep | HostPower::Waking => return None,
            };
            Some(News { at: stage.now(), kind: Kind::Power, text })
        });
        changed.collect()
    }
}

/// One line per step of a decision.
fn told(decision: &Decision, stage: &Stage) -> Vec<News> {
    let name = |vm: VmId| stage.world(|world| world.vm_name(vm).map_or_else(|| vm.to_string(), str::to_owned));
    let step = |step: &Step| match step {
        Step::Migrate(one) => format!("move {} from {} to {}", name(one.vm), one.from, one.to),
        Step::Sleep { host } => format!("put {host} to sleep"),
        Step::Wake { host, .. } => format!("wake {host}"),
    };
    let line = |planned: &ballast_core::decision::Planned| {
        let relief = matches!(planned.motive, ballast_core::proposal::Motive::Overload { .. });
        News {
            at: decision.at,
            kind: if relief { Kind::Relief } else { Kind::Decided },
            text: format!("{}: {}", step(&planned.step), planned.motive),
        }
    };
    decision.chosen.steps.iter().map(line).collect()
}

fn ended(record: &MigrationRecord, outcome: &Outcome) -> News {
    let took = outcome.ended_at.since(outcome.began_at).as_secs_f64();
    let way = format!("{} from {} to {}", record.name, record.source, record.destination);
    let (kind, text) = match &outcome.ending {
        Ending::Completed => {
            let pause = outcome.downtime.map_or_else(String::new, |pause| format!(", paused {} ms", pause.as_millis()));
            (Kind::Moved, format!("moved {way}: {} in {took:.0} s{pause}", outcome.copied))
        }
        other => (Kind::Trouble, format!("{way}: {other}")),
    };
    News { at: outcome.ended_at, kind, text }
}
