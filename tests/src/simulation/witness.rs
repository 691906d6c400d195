//! Sees every effect: stands between an agent and its simulated hypervisor and host, and looks into the journals at the very
//! moment something is begun.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use ballast_agent::{
    host::{Host, HostError, HostReading, simulated::SimulatedHost},
    hypervisor::{
        Hypervisor, HypervisorError, HypervisorFacts, MigrationEvent, MigrationJob, Whereabouts,
        simulated::SimulatedHypervisor,
    },
};
use ballast_core::{
    command::{Command, Order},
    counters::VmCounters,
    id::{BootId, CommandId, HostId, VmId},
    preflight::{Passport, Premises},
};
use ballast_daemon::clock::Clock;
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};

use super::{
    books,
    planted::{Bug, Bugs},
    trace::Trace,
    wire::{Wire, connect},
};

/// A migration that a hypervisor was made to begin.
#[derive(Debug, Clone)]
pub(super) struct Effect {
    /// When.
    pub(super) at: Duration,
    /// By which command, where one was open for it.
    pub(super) id: Option<CommandId>,
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Migrations begun, in order.
    pub(super) effects: Vec<Effect>,
    /// Promises that were broken, in words.
    pub(super) broken: Vec<String>,
    /// Where each scheduler keeps its files.
    pub(super) schedulers: Vec<PathBuf>,
}

/// The witness; clones see into the same book.
#[derive(Debug, Clone)]
pub(super) struct Witness {
    seen: Arc<Mutex<Seen>>,
    folder: PathBuf,
    trace: Trace,
}

impl Witness {
    /// A witness of a run whose files lie in `folder`.
    pub(super) fn new(folder: PathBuf, trace: Trace) -> Self {
        let seen = Seen { schedulers: vec![folder.join("scheduler")], ..Seen::default() };
        Self { seen: Arc::new(Mutex::new(seen)), folder, trace }
    }

    /// Looks at what was seen, or adds to it.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A promise was broken.
    pub(super) fn broken(&self, what: String) {
        self.trace.note(format_args!("BROKEN {what}"));
        self.with(|seen| seen.broken.push(what));
    }

    /// Something is about to take effect at `host`: the command behind it must be open in both journals (I1).
    fn about_to(&self, host: &HostId, what: &str, is_it: impl Fn(&Command) -> bool) -> Option<CommandId> {
        let notes = books::of_agent(&self.folder.join(host.as_str())).unwrap_or_default();
        let id =
            books::open_at_agent(&notes).into_iter().rev().find(|command| is_it(command)).map(|command| command.id);
        let Some(id) = id else {
            self.broken(format!("I1: {host} begins {what} that no open command in its journal orders"));
            return None;
        };
        // Of two schedulers either may have ordered it; that the older one is obeyed no more where the newer one was met is
        // for the fence of the agent's journal to show.
        let dirs = self.with(|seen| seen.schedulers.clone());
        let open: Result<Vec<bool>> = dirs.iter().map(|dir| Ok(books::ledger(dir)?.open.contains_key(&id))).collect();
        match open {
            Ok(open) if open.contains(&true) => {}
            Ok(_) => self.broken(format!("I1: {host} begins {what} by {id}, whose intent is not open")),
            Err(error) => self.broken(format!("the scheduler's journal cannot be read: {error:#}")),
        }
        let fence = books::fence(&notes);
        if id.epoch < fence {
            self.broken(format!("I5: {host} begins {what} by {id} after it has seen epoch {fence}"));
        }
        Some(id)
    }
}

/// A hypervisor that is watched.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) inner: SimulatedHypervisor,
    pub(super) host: HostId,
    pub(super) witness: Witness,
    pub(super) bugs: Bugs,
    /// The host's clock.
    pub(super) clock: Clock,
}

impl Watched {
    async fn begin(&self, job: MigrationJob) -> Result<mpsc::Receiver<MigrationEvent>, HypervisorError> {
        let (vm, destination) = (job.vm, job.destination.clone());
        let is_it = |command: &Command| match &command.order {
            Order::Migrate { vm: wanted, destination: to, .. } => *wanted == vm && *to == destination,
            _ => false,
        };
        let what = format!("a migration of {vm} to {destination}");
        let id = self.witness.about_to(&self.host, &what, is_it);
        let begun = self.inner.migrate(job).await;
        let at = self.witness.trace.now();
        self.witness.trace.note(format_args!(
            "{} begins {id:?} {vm} to {destination}: {:?}",
            self.host,
            begun.as_ref().err()
        ));
        if begun.is_ok() {
            self.witness.with(|seen| seen.effects.push(Effect { at, id }));
        }
        begun
    }

    /// A planted bug: what failed is begun once more.
    async fn begin_again(&self, job: MigrationJob) -> Result<mpsc::Receiver<MigrationEvent>, HypervisorError> {
        let first = self.begin(job.clone()).await;
        let again = Self {
            inner: self.inner.clone(),
            host: self.host.clone(),
            witness: self.witness.clone(),
            bugs: self.bugs.clone(),
            clock: self.clock.clone(),
        };
        tokio::spawn(async move {
            again.clock.sleep(Duration::from_secs(20)).await;
            if let Ok(Whereabouts::Here { migrating: false, .. }) = again.inner.locate(job.vm).await {
                drop(again.begin(job).await);
            }
        });
        first
    }
}

impl Hypervisor for Watched {
    async fn facts(&self) -> Result<HypervisorFacts, HypervisorError> {
        match self.inner.facts().await {
            Err(_) if self.bugs.has(Bug::EmptyMeansGone) => Ok(HypervisorFacts::default()),
            facts => facts,
        }
    }

    async fn counters(&self, deadline: Duration) -> Result<Vec<VmCounters>, HypervisorError> {
        let mut counters = self.inner.counters(deadline).await?;
        counters.iter_mut().for_each(|vm| vm.taken_at = self.clock.now());
        Ok(counters)
    }

    async fn migrate(&self, job: MigrationJob) -> Result<mpsc::Receiver<MigrationEvent>, HypervisorError> {
        if self.bugs.has(Bug::DriverRetries) { self.begin_again(job).await } else { self.begin(job).await }
    }

    async fn resume_watching(&self, vm: VmId) -> Result<Option<mpsc::Receiver<MigrationEvent>>, HypervisorError> {
        self.inner.resume_watching(vm).await
    }

    async fn abort(&self, vm: VmId) -> Result<(), HypervisorError> {
        self.witness.trace.note(format_args!("{} stops the migration of {vm}", self.host));
        self.inner.abort(vm).await
    }

    async fn allow_downtime(&self, vm: VmId, longest: Duration) -> Result<(), HypervisorError> {
        self.inner.allow_downtime(vm, longest).await
    }

    async fn locate(&self, vm: VmId) -> Result<Whereabouts, HypervisorError> {
        self.inner.locate(vm).await
    }

    async fn locate_at(&self, uri: &str, vm: VmId) -> Result<Whereabouts, HypervisorError> {
        match self.inner.locate_at(uri, vm).await {
            Err(HypervisorError::Unreachable(_)) if self.bugs.has(Bug::SilentMeansAbsent) => Ok(Whereabouts::NotHere),
            found => found,
        }
    }

    async fn passport(&self, vm: VmId) -> Result<Passport, HypervisorError> {
        self.inner.passport(vm).await
    }

    async fn premises(&self, passport: &Passport) -> Result<Premises, HypervisorError> {
        self.inner.premises(passport).await
    }

    async fn changes(&self) {
        self.inner.changes().await;
    }
}

/// A host that is watched, and whose network is the run's.
#[derive(Debug)]
pub(super) struct WatchedHost {
    pub(super) inner: SimulatedHost,
    pub(super) host: HostId,
    pub(super) index: usize,
    pub(super) witness: Witness,
    pub(super) wire: Wire,
}

impl Host for WatchedHost {
    fn dial(&self, scheduler: &Endpoint) -> impl Future<Output = Result<Channel, tonic::transport::Error>> + Send {
        connect(self.wire.clone(), self.index, scheduler.clone())
    }

    async fn read(&self) -> HostReading {
        self.inner.read().await
    }

    async fn sleep(&self) -> Result<(), HostError> {
        self.witness.about_to(&self.host, "to sleep", |command| command.order == Order::Sleep);
        let slept = self.inner.sleep().await;
        self.witness.trace.note(format_args!("{} sleeps: {:?}", self.host, slept.as_ref().err()));
        slept
    }

    async fn wake(&self, target: &HostId, address: Option<&str>) -> Result<(), HostError> {
        let what = format!("to wake {target}");
        self.witness.about_to(
            &self.host,
            &what,
            |command| matches!(&command.order, Order::Wake { target: whom, .. } if whom == target),
        );
        self.inner.wake(target, address).await
    }

    fn boot(&self) -> Result<BootId, HostError> {
        self.inner.boot()
    }

    fn up_for(&self) -> Option<Duration> {
        self.inner.up_for()
    }

    async fn woken(&self) {
        self.inner.woken().await;
    }
}
