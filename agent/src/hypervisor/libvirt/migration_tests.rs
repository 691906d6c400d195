//! The watcher with a scripted libvirt: what it reports, and in which order.

use std::sync::Mutex;

use ballast_core::units::{BytesPerSec, Timestamp};
use ballast_daemon::clock::Driver;
use tokio::sync::oneshot;

use super::{
    super::params::{Params, Value},
    *,
};

const POLL: Duration = Duration::from_millis(500);

struct Script {
    driver: Driver,
    to_watcher: mpsc::Sender<Event>,
    from_watcher: mpsc::Receiver<MigrationEvent>,
    ended: Option<oneshot::Sender<Result<(), HypervisorError>>>,
}

type Looked = Result<Option<JobFigures>, HypervisorError>;

/// A watcher whose looks give `looks`, then the last of them for ever.
fn watch(looks: Vec<Looked>, resumed: bool) -> Script {
    let (clock, driver) = Clock::driven(Timestamp::from_secs(100));
    let (to_watcher, events) = mpsc::channel(8);
    let (sender, from_watcher) = mpsc::channel(64);
    let (ended, end) = oneshot::channel();
    let looks = Mutex::new(looks.into_iter().peekable());
    let look = move || -> Look {
        let mut looks = looks.lock().unwrap();
        let now = looks.next_if(|_| true).unwrap_or(Ok(None));
        if looks.peek().is_none() {
            *looks = vec![now.clone()].into_iter().peekable();
        }
        Box::pin(std::future::ready(now))
    };
    let vm = VmId::default();
    let watcher = Watcher::new(Watch { vm, clock, poll_period: POLL, events, sender, look: Box::new(look) });
    if resumed {
        tokio::spawn(watcher.until_no_job_runs());
    } else {
        tokio::spawn(watcher.until(Box::pin(async { end.await.unwrap() })));
    }
    Script { driver, to_watcher, from_watcher, ended: Some(ended) }
}

impl Script {
    async fn says(&self, event: Event) {
        self.to_watcher.send(event).await.unwrap();
    }

    fn ends(&mut self, outcome: Result<(), HypervisorError>) {
        self.ended.take().unwrap().send(outcome).unwrap();
    }

    async fn next(&mut self) -> MigrationEvent {
        self.from_watcher.recv().await.unwrap()
    }

    /// Everything until the end, while time goes on.
    async fn rest(mut self) -> Vec<MigrationEvent> {
        let mut all = Vec::new();
        loop {
            match self.from_watcher.try_recv() {
                Ok(event) => all.push(event),
                Err(mpsc::error::TryRecvError::Disconnected) => return all,
                Err(mpsc::error::TryRecvError::Empty) => {
                    self.driver.advance(Duration::from_millis(100));
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

fn copying(iteration: u64, copied: u64) -> JobFigures {
    JobFigures {
        kind: JobKind::Leaving,
        elapsed: Duration::from_secs(1),
        total: Bytes(1000),
        copied: Bytes(copied),
        remaining: Bytes(1000 - copied),
        rate: BytesPerSec(100.0),
        dirty_rate: BytesPerSec(1.0),
        iteration,
        downtime: None,
    }
}

fn completed() -> Event {
    let params: [(&str, u64); 4] =
        [("operation", 5), ("downtime", 250), ("data_processed", 900), ("memory_iteration", 2)];
    let params: Params = params.into_iter().map(|(name, value)| (name.to_owned(), Value::Unsigned(value))).collect();
    Event::JobCompleted(params)
}

fn suspended() -> Event {
    Event::Lifecycle { kind: sys::VIR_DOMAIN_EVENT_SUSPENDED, detail: sys::VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED }
}

fn statistics(downtime: Option<u64>, copied: u64, iterations: u64) -> MigrationEvent {
    let downtime = downtime.map(Duration::from_millis);
    MigrationEvent::Statistics { downtime, copied: Bytes(copied), iterations }
}

#[tokio::test]
async fn stages_come_from_events_and_the_return_comes_last() {
    let mut script = watch(vec![Ok(None)], false);
    script.says(Event::Iteration(1)).await;
    assert_eq!(script.next().await, MigrationEvent::Iteration(1));
    script.says(suspended()).await;
    assert_eq!(script.next().await, MigrationEvent::Suspended);
    script.says(completed()).await;
    script.ends(Ok(()));
    assert_eq!(script.rest().await, [statistics(Some(250), 900, 2), MigrationEvent::Returned(Ok(()))]);
}

#[tokio::test]
async fn an_iteration_whose_event_was_lost_is_seen_by_looking() {
    let mut script = watch(vec![Ok(Some(copying(2, 300)))], false);
    tokio::task::yield_now().await;
    script.driver.advance(POLL);
    assert_eq!(script.next().await, MigrationEvent::Iteration(2));
    let MigrationEvent::Progress(progress) = script.next().await else { panic!("no progress") };
    assert_eq!((progress.stage, progress.iteration, progress.copied), (Stage::Migration, 2, Bytes(300)));
    // The event comes after all, and is not told twice.
    script.says(Event::Iteration(2)).await;
    script.says(suspended()).await;
    let after = loop {
        match script.next().await {
            MigrationEvent::Progress(_) => {}
            other => break other,
        }
    };
    assert_eq!(after, MigrationEvent::Suspended);
}

#[tokio::test]
async fn final_figures_may_come_after_the_return() {
    let mut script = watch(vec![Ok(None)], false);
    script.ends(Ok(()));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    script.says(completed()).await;
    assert_eq!(script.rest().await, [statistics(Some(250), 900, 2), MigrationEvent::Returned(Ok(()))]);
}

#[tokio::test]
async fn a_failure_reports_the_last_true_figures() {
    let called_off = JobFigures { total: Bytes(0), copied: Bytes(0), ..copying(0, 0) };
    let mut script = watch(vec![Ok(Some(copying(1, 400))), Ok(Some(called_off))], false);
    tokio::task::yield_now().await;
    for _ in 0..3 {
        script.driver.advance(POLL);
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
    }
    let failed = Err(HypervisorError::Refused("canceled by client".into()));
    script.ends(failed.clone());
    let all = script.rest().await;
    assert_eq!(all[all.len() - 2..], [statistics(None, 400, 1), MigrationEvent::Returned(failed)]);
}

#[tokio::test]
async fn a_migration_of_an_earlier_life_ends_when_its_vm_is_gone() {
    let gone = Err(HypervisorError::NoSuchVm(VmId::default()));
    let away = Err(HypervisorError::Unreachable("libvirtd restarts".into()));
    let script = watch(vec![Ok(Some(copying(1, 100))), away, gone], true);
    let all = script.rest().await;
    assert_eq!(all.first(), Some(&MigrationEvent::Iteration(1)));
    assert_eq!(all.last(), Some(&MigrationEvent::Returned(Ok(()))));
}

#[tokio::test]
async fn a_migration_of_an_earlier_life_that_was_called_off_has_failed() {
    let script = watch(vec![Ok(Some(copying(1, 100))), Ok(None)], true);
    let all = script.rest().await;
    assert!(matches!(all.last(), Some(MigrationEvent::Returned(Err(HypervisorError::Refused(_))))), "{all:?}");
}
