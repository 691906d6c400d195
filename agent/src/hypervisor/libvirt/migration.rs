//! One migration under way: the blocking call on a thread of its own, and what libvirt says meanwhile as events.
//!
//! The stages come from libvirt's events; polling fills in the figures and covers for an event that was lost. Nothing
//! here decides: bounds and aborts are the caller's.

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use ballast_core::{command::Progress, id::VmId, outcome::Stage, units::Bytes};
use ballast_daemon::clock::{Clock, Interval};
use tokio::sync::mpsc;
use tracing::debug;
use virt_sys as sys;

use super::{
    ffi::{self, Event},
    params::{self, JobFigures, JobKind},
    request::Request,
    session::{Failure, Session},
    threads::on_thread,
};
use crate::hypervisor::{HypervisorError, MigrationEvent, MigrationJob};

/// How long after the call returned its final figures may still arrive: they come on another connection.
const FIGURES_GRACE: Duration = Duration::from_secs(1);

/// The call itself; returns when libvirt does.
pub(super) async fn carry_out(
    session: Arc<Session>,
    job: MigrationJob,
    request: Request,
) -> Result<(), HypervisorError> {
    let outcome = on_thread(move || {
        let domain = session.domain(job.vm)?;
        ffi::migrate(&domain, &ffi::c_string(&job.destination_uri), &request)?;
        Ok(())
    })
    .await;
    outcome.map_err(super::session::explain_alone)
}

/// Ends the watching, whichever way it ends.
type Ended = Pin<Box<dyn Future<Output = Result<(), HypervisorError>> + Send>>;
/// One look at the job; `Ok(None)` where none runs any more.
pub(super) type Look = Pin<Box<dyn Future<Output = Result<Option<JobFigures>, HypervisorError>> + Send>>;
/// Begins such a look.
pub(super) type Looker = Box<dyn Fn() -> Look + Send + Sync>;

/// What a watcher needs.
pub(super) struct Watch {
    /// Which vm.
    pub(super) vm: VmId,
    /// Time.
    pub(super) clock: Clock,
    /// Between two looks at the job.
    pub(super) poll_period: Duration,
    /// libvirt's events of the vm.
    pub(super) events: mpsc::Receiver<Event>,
    /// To the caller.
    pub(super) sender: mpsc::Sender<MigrationEvent>,
    /// Looks at the job.
    pub(super) look: Looker,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("vm", &self.vm).finish_non_exhaustive()
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Seen {
    iteration: u64,
    suspended: bool,
    figures: Option<JobFigures>,
    statistics: bool,
}

/// A watcher at work.
#[derive(Debug)]
pub(super) struct Watcher {
    watch: Watch,
    seen: Seen,
    began: Duration,
}

impl Watcher {
    /// A watcher of a migration that begins now.
    pub(super) fn new(watch: Watch) -> Self {
        let began = watch.clock.elapsed();
        Self { watch, seen: Seen::default(), began }
    }

    /// Reports until `ended` says how it ended; `Returned` is the last.
    pub(super) async fn until(mut self, mut ended: Ended) {
        let mut ticks = self.watch.clock.interval(self.watch.poll_period);
        let mut looking: Option<Look> = None;
        let outcome = loop {
            tokio::select! {
                biased;
                Some(event) = self.watch.events.recv() => self.take(event).await,
                outcome = &mut ended => break outcome,
                look = finished(&mut looking) => {
                    looking = None;
                    if let Ok(Some(figures)) = look {
                        self.progress(figures).await;
                    }
                }
                () = ticks.tick() => looking = looking.or_else(|| Some((self.watch.look)())),
            }
        };
        self.await_statistics(outcome.is_ok()).await;
        self.tell(MigrationEvent::Returned(outcome)).await;
    }

    /// The same for a migration that another life of the agent began: it has ended when no job runs any more.
    pub(super) async fn until_no_job_runs(mut self) {
        let mut ticks = self.watch.clock.interval(self.watch.poll_period);
        let outcome = loop {
            let look = tokio::select! {
                biased;
                Some(event) = self.watch.events.recv() => {
                    self.take(event).await;
                    continue;
                }
                look = look_at_next(&mut ticks, &*self.watch.look) => look,
            };
            match look {
                Ok(Some(figures)) if figures.kind == JobKind::Leaving => self.progress(figures).await,
                Ok(_) if self.seen.statistics => break Ok(()),
                Ok(_) => break Err(HypervisorError::Refused("the migration ended without having completed".into())),
                Err(HypervisorError::NoSuchVm(_)) => break Ok(()),
                // libvirtd is away or slow: it still knows, once it is back.
                Err(error) => debug!(vm = %self.watch.vm, %error, "Cannot look at the migration"),
            }
        };
        self.await_statistics(outcome.is_ok()).await;
        self.tell(MigrationEvent::Returned(outcome)).await;
    }

    async fn take(&mut self, event: Event) {
        match event {
            Event::Iteration(number) => self.iteration(number).await,
            Event::Lifecycle {
                kind: sys::VIR_DOMAIN_EVENT_SUSPENDED,
                detail: sys::VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED,
            } => {
                self.seen.suspended = true;
                self.tell(MigrationEvent::Suspended).await;
            }
            Event::JobCompleted(figures) => self.statistics(params::figures(&figures)).await,
            Event::Lifecycle { .. } | Event::Redefined => {}
        }
    }

    async fn iteration(&mut self, number: u64) {
        if number > self.seen.iteration {
            self.seen.iteration = number;
            self.tell(MigrationEvent::Iteration(number)).await;
        }
    }

    async fn statistics(&mut self, figures: JobFigures) {
        self.seen.statistics = true;
        let iterations = figures.iteration.max(self.seen.iteration);
        let (downtime, copied) = (figures.downtime, figures.copied);
        self.tell(MigrationEvent::Statistics { downtime, copied, iterations }).await;
    }

    async fn progress(&mut self, figures: JobFigures) {
        self.iteration(figures.iteration).await;
        if figures.total == Bytes::ZERO && self.seen.figures.is_some() {
            // A job that is being called off has no figures any more; the last true ones stand.
            return;
        }
        self.seen.figures = Some(figures);
        let stage = match (self.seen.suspended, self.seen.iteration) {
            (true, _) => Stage::Switching,
            (false, 0) => Stage::Preparation,
            (false, _) => Stage::Migration,
        };
        let progress = Progress {
            stage,
            elapsed: figures.elapsed.max(self.watch.clock.elapsed().saturating_sub(self.began)),
            total: figures.total,
            copied: figures.copied,
            remaining: figures.remaining,
            rate: figures.rate,
            dirty_rate: figures.dirty_rate,
            iteration: self.seen.iteration,
        };
        // Progress is the one thing that may be lost: the next look brings newer.
        if let Err(mpsc::error::TrySendError::Full(_)) = self.watch.sender.try_send(MigrationEvent::Progress(progress))
        {
            debug!(vm = %self.watch.vm, "Progress dropped: the receiver is slow");
        }
    }

    /// After success the final figures are on their way; after failure libvirt sends none, so the last look serves.
    async fn await_statistics(&mut self, completed: bool) {
        let clock = self.watch.clock.clone();
        if completed && clock.timeout(FIGURES_GRACE, self.take_until_statistics()).await.is_err() {
            debug!(vm = %self.watch.vm, "No final figures from libvirt; the last progress serves");
        }
        if !self.seen.statistics
            && let Some(figures) = self.seen.figures
        {
            self.statistics(JobFigures { downtime: None, ..figures }).await;
        }
    }

    async fn take_until_statistics(&mut self) {
        while !self.seen.statistics
            && let Some(event) = self.watch.events.recv().await
        {
            self.take(event).await;
        }
    }

    async fn tell(&self, event: MigrationEvent) {
        // Who no longer listens has lost interest; the migration goes on all the same.
        drop(self.watch.sender.send(event).await);
    }
}

/// The outcome of a look under way; never, where there is none.
async fn finished(looking: &mut Option<Look>) -> Result<Option<JobFigures>, HypervisorError> {
    match looking {
        Some(look) => look.await,
        None => pending().await,
    }
}

async fn look_at_next(
    ticks: &mut Interval,
    look: &(dyn Fn() -> Look + Send + Sync),
) -> Result<Option<JobFigures>, HypervisorError> {
    ticks.tick().await;
    look().await
}

/// Looks at the job of a vm; for [`Watch::look`].
pub(super) fn figures(session: &Session, vm: VmId) -> Result<Option<JobFigures>, Failure> {
    let domain = session.domain(vm)?;
    let (kind, params) = ffi::job_stats(&domain).map_err(|error| super::session::of_vm(vm, error))?;
    Ok(params::job(kind, &params))
}

#[cfg(test)]
#[path = "migration_tests.rs"]
mod tests;
