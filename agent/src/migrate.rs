//! Carries out one live migration: feeds what the hypervisor reports into `core::migration` and does what that says.
//!
//! One task per migration, started by the command task, which it tells how far it is and how it ended. Dropping the task
//! stops nothing: the hypervisors carry the migration on between themselves.

use std::{pin::Pin, sync::Arc, time::Duration};

use ballast_core::{
    command::Progress,
    id::CommandId,
    migration::{Effect, Input, Migration, Presence},
    outcome::{Outcome, Stage},
    sample::VmState,
};
use ballast_daemon::clock::Clock;
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::sync::mpsc;

use crate::hypervisor::{Hypervisor, HypervisorError, MigrationEvent, MigrationJob, Whereabouts};

/// How often timeouts are looked at and progress is told.
const BEAT: Duration = Duration::from_millis(500);

/// What the command task hears of a migration.
#[derive(Debug)]
pub(crate) enum News {
    /// How far it is.
    Progress(Progress, CommandId),
    /// It is over.
    Finished(Outcome),
}

/// What a call to the hypervisor came to.
enum Done {
    Watch(Result<Option<mpsc::Receiver<MigrationEvent>>, HypervisorError>),
    Located(Presence, Presence),
    Nothing,
}

type Call = Pin<Box<dyn Future<Output = Done> + Send>>;

/// One migration and its ways to the hypervisor and back to the command task.
pub(crate) struct Driver<H> {
    pub(crate) machine: Migration,
    pub(crate) destination_uri: String,
    pub(crate) hypervisor: Arc<H>,
    pub(crate) clock: Clock,
    pub(crate) cancels: mpsc::Receiver<String>,
    pub(crate) news: mpsc::Sender<News>,
    pub(crate) watch: Option<mpsc::Receiver<MigrationEvent>>,
    pub(crate) calls: Calls,
}

/// Calls under way.
#[derive(Default)]
pub(crate) struct Calls(FuturesUnordered<Call>);

impl<H: Hypervisor> Driver<H> {
    /// Drives it to its end.
    pub(crate) async fn run(mut self) {
        while let Ok(reason) = self.cancels.try_recv() {
            self.feed(Input::CancelRequested { reason }).await;
        }
        self.feed(Input::Start).await;
        self.feed(Input::Tick).await;
        let mut beat = self.clock.interval(BEAT);
        while !self.machine.is_over() {
            let input = tokio::select! {
                biased;
                Some(reason) = self.cancels.recv() => Some(Input::CancelRequested { reason }),
                Some(done) = self.calls.0.next(), if !self.calls.0.is_empty() => self.take(done),
                event = next_event(&mut self.watch) => Some(self.heard(event)),
                () = beat.tick() => {
                    self.tell_progress();
                    Some(Input::Tick)
                }
            };
            if let Some(input) = input {
                self.feed(input).await;
            }
        }
    }

    async fn feed(&mut self, input: Input) {
        let before = self.machine.stage();
        let effects = self.machine.on(input, self.clock.now());
        self.log_stage(before);
        for effect in effects {
            self.perform(effect).await;
        }
    }

    fn log_stage(&self, before: Stage) {
        let stage = self.machine.stage();
        if stage != before && stage != Stage::Ended {
            let ticket = self.machine.ticket();
            tracing::info!(migration = %ticket.id, vm = %ticket.vm, destination = %ticket.destination, %stage, "Migration");
            self.tell_progress();
        }
    }

    fn tell_progress(&self) {
        let progress = self.machine.progress(self.clock.now());
        // Full means that fresher news waits already.
        let _told_or_outdated = self.news.try_send(News::Progress(progress, self.machine.ticket().id)).is_ok();
    }

    async fn perform(&mut self, effect: Effect) {
        let vm = self.machine.ticket().vm;
        let migration = self.machine.ticket().id;
        match effect {
            Effect::Begin => self.begin(),
            Effect::Abort { reason } => {
                tracing::info!(%migration, %vm, reason, "Stopping the migration");
                self.call(move |hypervisor| async move { quiet("abort", hypervisor.abort(vm).await) });
            }
            Effect::AllowDowntime(longest) => {
                tracing::info!(%migration, %vm, ?longest, "The copy stalls: allowing a longer pause");
                self.call(
                    move |hypervisor| async move { quiet("allow", hypervisor.allow_downtime(vm, longest).await) },
                );
            }
            Effect::Locate => self.locate(),
            Effect::Doubt { reason } => {
                tracing::warn!(%migration, %vm, reason, "Cannot tell yet where the vm runs: leaving it alone and asking again");
            }
            Effect::Plead { reason } => {
                tracing::error!(%migration, %vm, reason, "Cannot tell for a minute where the vm runs: a person has to look");
            }
            Effect::Finish(outcome) => {
                tracing::info!(%migration, %vm, ending = %outcome.ending, downtime = ?outcome.downtime, "Migration ended");
                // The command task ends only with the agent.
                let _heard_or_ending = self.news.send(News::Finished(outcome)).await.is_ok();
            }
        }
    }

    fn call<F>(&mut self, make: impl FnOnce(Arc<H>) -> F)
    where
        F: Future<Output = Done> + Send + 'static,
    {
        self.calls.0.push(Box::pin(make(Arc::clone(&self.hypervisor))));
    }

    fn begin(&mut self) {
        let ticket = self.machine.ticket();
        let job = MigrationJob {
            vm: ticket.vm,
            destination: ticket.destination.clone(),
            destination_uri: self.destination_uri.clone(),
            limits: ticket.limits,
        };
        self.call(move |hypervisor| async move { Done::Watch(hypervisor.migrate(job).await.map(Some)) });
    }

    /// Asks both hosts, the source first: once it no longer has the vm, the destination must have it. A job that is
    /// still there and that nobody watches is watched again.
    fn locate(&mut self) {
        let vm = self.machine.ticket().vm;
        let uri = self.destination_uri.clone();
        let watching = self.watch.is_some();
        self.call(move |hypervisor| async move {
            let source = at_source(hypervisor.locate(vm).await);
            if source == Presence::Moving
                && !watching
                && let Ok(Some(watch)) = hypervisor.resume_watching(vm).await
            {
                return Done::Watch(Ok(Some(watch)));
            }
            Done::Located(source, at_destination(hypervisor.locate_at(&uri, vm).await))
        });
    }

    fn take(&mut self, done: Done) -> Option<Input> {
        match done {
            Done::Watch(Ok(watch)) => {
                self.watch = watch;
                Some(Input::Watching)
            }
            Done::Watch(Err(error)) => Some(Input::Returned(Err(error.to_string()))),
            Done::Located(source, destination) => Some(Input::Located { source, destination }),
            Done::Nothing => None,
        }
    }

    fn heard(&mut self, event: Option<MigrationEvent>) -> Input {
        match event {
            Some(MigrationEvent::Iteration(number)) => Input::Iteration(number),
            Some(MigrationEvent::Progress(progress)) => Input::Progress(progress),
            Some(MigrationEvent::Suspended) => Input::Suspended,
            Some(MigrationEvent::Statistics { downtime, copied, iterations }) => {
                Input::Statistics { downtime, copied, iterations }
            }
            Some(MigrationEvent::Returned(result)) => {
                self.watch = None;
                Input::Returned(result.map_err(|error| error.to_string()))
            }
            None => {
                self.watch = None;
                Input::Returned(Err("the hypervisor stopped telling of the migration".to_owned()))
            }
        }
    }
}

async fn next_event(watch: &mut Option<mpsc::Receiver<MigrationEvent>>) -> Option<MigrationEvent> {
    match watch {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

fn quiet(what: &str, result: Result<(), HypervisorError>) -> Done {
    if let Err(error) = result {
        tracing::debug!(%error, what, "The hypervisor refused; it is asked again where it matters");
    }
    Done::Nothing
}

fn at_source(answer: Result<Whereabouts, HypervisorError>) -> Presence {
    match answer {
        Ok(Whereabouts::Here { migrating: true, .. }) => Presence::Moving,
        other => presence(other),
    }
}

fn at_destination(answer: Result<Whereabouts, HypervisorError>) -> Presence {
    // A vm that already moves on from its destination runs there.
    presence(answer)
}

fn presence(answer: Result<Whereabouts, HypervisorError>) -> Presence {
    match answer {
        Ok(Whereabouts::Here { state, .. }) => match state {
            VmState::Running => Presence::Running,
            VmState::Paused => Presence::Paused,
            VmState::Incoming => Presence::Moving,
            VmState::ShutOff | VmState::Crashed => Presence::Absent,
            VmState::Unknown => Presence::Unknown,
        },
        Ok(Whereabouts::NotHere) | Err(HypervisorError::NoSuchVm(_)) => Presence::Absent,
        Err(_) => Presence::Unknown,
    }
}
