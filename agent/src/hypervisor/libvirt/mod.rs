//! The driver for real hosts: libvirt, with QEMU behind it. The only place that says `virt::`.
//!
//! ```text
//! control ──── facts, abort, downtime, whereabouts; events of all vms ─▶ hub ─▶ roster, watchers, changes
//! telemetry ── one bulk call per tick for the vms at rest        single ── vms on the move or slow, one by one
//! migration ── one connection each: the blocking call and looks at its job
//! ```
//!
//! Every libvirt call blocks, so each has a thread, a slot and a deadline (`session`). It never destroys, undefines,
//! resumes or starts a domain, and never migrates with `VIR_MIGRATE_UNSAFE`.

mod domain_xml;
mod events;
mod facts;
mod ffi;
mod foreign;
mod host_xml;
mod keeper;
mod known;
mod labels;
mod migration;
mod params;
mod preflight;
mod request;
mod roster;
mod session;
mod stats;
mod storage;
mod survey;
mod telemetry;
mod threads;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ballast_core::{
    counters::VmCounters,
    id::VmId,
    preflight::{Passport, Premises},
    sample::VmState,
};
use ballast_daemon::clock::Clock;
use tokio::sync::{Mutex, Notify, mpsc, watch};
use tracing::{debug, warn};
use virt::{domain::Domain, error::ErrorNumber};

pub use self::foreign::read_descriptions;
use self::{
    events::Hub,
    facts::Surroundings,
    ffi::EventSink,
    migration::{Look, Looker, Watch, Watcher},
    params::JobKind,
    request::Request,
    session::{Failure, Link, Session, Slots, explain_alone, of_vm, slots},
    telemetry::Telemetry,
    threads::on_thread,
};
use super::{Hypervisor, HypervisorError, HypervisorFacts, MigrationEvent, MigrationJob, Whereabouts};

/// How the driver works; every field has a default that suits a host of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibvirtOptions {
    /// The local libvirtd.
    pub uri: String,
    /// Longest wait for a short call.
    pub call_timeout: Duration,
    /// Longest wait for the facts: a few calls per vm.
    pub facts_timeout: Duration,
    /// Between two looks at a running migration.
    pub progress_period: Duration,
    /// How often guests shall account for their memory; at least a second. An account older than twice this, or
    /// than ten seconds, does not count. Zero leaves guests alone that do not do so by themselves.
    pub balloon_period: Duration,
    /// Whether it is measured, vm by vm, how fast memory is written.
    pub measures_writes: bool,
    /// Paths whose content every host of the fleet sees, where that cannot be told from the filesystem: block devices
    /// of a SAN, a clustered volume group.
    pub shared_paths: Vec<PathBuf>,
    /// Where QEMU's certificates for encrypted migrations are, where that is not libvirt's default.
    pub migration_tls_dir: Option<PathBuf>,
    /// Where `/proc` and `/sys` are found.
    pub root: PathBuf,
}

impl Default for LibvirtOptions {
    fn default() -> Self {
        Self {
            uri: "qemu:///system".into(),
            call_timeout: Duration::from_secs(10),
            facts_timeout: Duration::from_secs(30),
            // nova's period; the decisions are coarser.
            progress_period: Duration::from_millis(500),
            balloon_period: Duration::from_secs(5),
            measures_writes: true,
            shared_paths: Vec::new(),
            migration_tls_dir: None,
            root: PathBuf::from("/"),
        }
    }
}

/// Events of a migration wait here for the caller.
const WAITING_MIGRATION_EVENTS: usize = 64;
/// The libvirt driver.
#[derive(Debug)]
pub struct LibvirtHypervisor {
    inner: Arc<Inner>,
    changes: Mutex<watch::Receiver<u64>>,
}

#[derive(Debug)]
struct Inner {
    options: LibvirtOptions,
    clock: Clock,
    hub: Arc<Hub>,
    control: Arc<Link>,
    telemetry: Telemetry,
    /// Whenever counters were read, or it was tried.
    read: Arc<Notify>,
    // Four calls of the control connection at most, one less than libvirtd serves: none waits for another kind.
    abort_slots: Slots,
    facts_slots: Slots,
    list_slots: Slots,
    short_slots: Slots,
    remote_slots: Slots,
}

impl LibvirtHypervisor {
    /// Starts the driver; connects when first asked. Call it inside a tokio runtime.
    pub fn start(options: LibvirtOptions, clock: Clock) -> Self {
        let hub = Arc::new(Hub::new());
        let sink: Arc<dyn EventSink> = Arc::clone(&hub) as _;
        let balloon_age_max = (options.balloon_period * 2).max(Duration::from_secs(10));
        let inner = Arc::new(Inner {
            control: Link::new(&options.uri, "control", &clock, Some(sink)),
            telemetry: Telemetry::new(&options.uri, &clock, Arc::clone(&hub), balloon_age_max),
            read: Arc::default(),
            abort_slots: slots(1),
            facts_slots: slots(1),
            list_slots: slots(1),
            short_slots: slots(1),
            remote_slots: slots(2),
            options,
            clock,
            hub,
        });
        tokio::spawn(keeper::keep(Arc::downgrade(&inner), Arc::clone(&inner.read), inner.clock.clone()));
        let changes = Mutex::new(inner.hub.changes());
        Self { inner, changes }
    }

    /// Events of migrations that were dropped because nobody took them, since the start.
    pub fn dropped_events(&self) -> u64 {
        self.inner.hub.dropped()
    }
}

impl Inner {
    /// A short call on the control connection.
    async fn short<T, F>(&self, work: F) -> Result<T, HypervisorError>
    where
        T: Send + 'static,
        F: FnOnce(&Session) -> Result<T, Failure> + Send + 'static,
    {
        self.control.call(&self.short_slots, self.options.call_timeout, work).await
    }

    fn surroundings(&self) -> Surroundings {
        let options = &self.options;
        Surroundings {
            root: options.root.clone(),
            shared_paths: options.shared_paths.clone(),
            migration_tls_dir: options.migration_tls_dir.clone(),
            balloon_period: options.balloon_period,
        }
    }

    /// A call that takes longer than the short ones: libvirt may have to look into its QEMU first. It shares the place of
    /// the facts, so that an abort never waits for it.
    async fn look_around<T, F>(&self, work: F) -> Result<T, HypervisorError>
    where
        T: Send + 'static,
        F: FnOnce(&Session) -> Result<T, Failure> + Send + 'static,
    {
        self.control.call(&self.facts_slots, self.options.call_timeout, work).await
    }

    async fn list(&self) -> Result<(), HypervisorError> {
        let running = self.control.call(&self.list_slots, self.options.call_timeout, facts::running).await?;
        self.hub.with_roster(|roster| roster.list(running));
        Ok(())
    }

    async fn counters(&self, deadline: Duration) -> Result<Vec<VmCounters>, HypervisorError> {
        if !self.hub.with_roster(|roster| roster.is_listed()) {
            let listed = self.clock.timeout(deadline, self.list()).await;
            listed.unwrap_or(Err(HypervisorError::TimedOut(deadline)))?;
        }
        self.telemetry.read(deadline).await
    }

    /// Opens a connection of its own within the deadline.
    async fn own_session(&self, uri: &str, read_only: bool) -> Result<Arc<Session>, HypervisorError> {
        let uri = uri.to_owned();
        let open = on_thread(move || Ok(Arc::new(Session::open(&uri, read_only, None)?)));
        let opened = self.clock.timeout(self.options.call_timeout, open).await;
        let timeout = HypervisorError::TimedOut(self.options.call_timeout);
        opened.map_err(|_| timeout)?.map_err(|failure| match explain_alone(failure) {
            HypervisorError::Refused(why) => HypervisorError::Unreachable(why),
            other => other,
        })
    }

    async fn migrate(self: &Arc<Self>, job: MigrationJob) -> Result<mpsc::Receiver<MigrationEvent>, HypervisorError> {
        let vm = job.vm;
        let persistent = self.short(move |session| {
            let domain = facts::running_domain(session, vm)?;
            domain.is_persistent().map_err(|error| of_vm(vm, error))
        });
        let request = Request::new(persistent.await?, &job.limits);
        let session = self.own_session(&self.options.uri, false).await?;
        let events = self.watch_events(vm)?;
        let (sender, receiver) = mpsc::channel(WAITING_MIGRATION_EVENTS);
        let watcher = Watcher::new(Watch {
            vm,
            clock: self.clock.clone(),
            poll_period: self.options.progress_period,
            events,
            sender,
            look: self.look_through(&session, vm, job.limits.downtime_start),
        });
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            watcher.until(Box::pin(migration::carry_out(session, job, request))).await;
            inner.release(vm);
        });
        Ok(receiver)
    }

    async fn resume_watching(
        self: &Arc<Self>,
        vm: VmId,
    ) -> Result<Option<mpsc::Receiver<MigrationEvent>>, HypervisorError> {
        let looked = self.short(move |session| migration::figures(session, vm)).await;
        let leaving = match looked {
            Ok(figures) => figures.is_some_and(|figures| figures.kind == JobKind::Leaving),
            Err(HypervisorError::NoSuchVm(_)) => false,
            Err(other) => return Err(other),
        };
        if !leaving {
            return Ok(None);
        }
        let events = self.watch_events(vm)?;
        let (sender, receiver) = mpsc::channel(WAITING_MIGRATION_EVENTS);
        let inner = Arc::clone(self);
        let look = move || -> Look {
            let inner = Arc::clone(&inner);
            Box::pin(async move { inner.short(move |session| migration::figures(session, vm)).await })
        };
        let watcher = Watcher::new(Watch {
            vm,
            clock: self.clock.clone(),
            poll_period: self.options.progress_period,
            events,
            sender,
            look: Box::new(look),
        });
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            watcher.until_no_job_runs().await;
            inner.release(vm);
        });
        Ok(Some(receiver))
    }

    /// Looks at a vm's job through the migration's own connection, and sets the pause to be tried first as soon as
    /// there is a job that takes it.
    fn look_through(self: &Arc<Self>, session: &Arc<Session>, vm: VmId, downtime: Duration) -> Looker {
        let (inner, session, allowed) = (Arc::clone(self), Arc::clone(session), Arc::new(AtomicBool::new(false)));
        Box::new(move || {
            let (inner, session, allowed) = (Arc::clone(&inner), Arc::clone(&session), Arc::clone(&allowed));
            Box::pin(async move {
                let look = on_thread(move || migration::figures(&session, vm)).await;
                let figures = look.map_err(explain_alone)?;
                if let Some(figures) = figures
                    && !allowed.load(Ordering::Relaxed)
                {
                    let set = inner.allow_first_downtime(vm, downtime, figures.iteration > 0).await;
                    allowed.store(set, Ordering::Relaxed);
                }
                Ok(figures)
            })
        })
    }

    /// Returns whether that is settled.
    async fn allow_first_downtime(&self, vm: VmId, downtime: Duration, copying: bool) -> bool {
        match self.allow_downtime(vm, downtime).await {
            Ok(()) => true,
            Err(error) if copying => {
                warn!(%vm, %error, "The first downtime limit could not be set; libvirt's own applies");
                true
            }
            Err(error) => {
                debug!(%vm, %error, "Too early for the first downtime limit");
                false
            }
        }
    }

    fn watch_events(&self, vm: VmId) -> Result<mpsc::Receiver<ffi::Event>, HypervisorError> {
        let Some(events) = self.hub.watch(vm) else {
            return Err(HypervisorError::Refused(format!("a migration of vm {vm} is under way already")));
        };
        self.hub.with_roster(|roster| roster.hold(vm));
        Ok(events)
    }

    fn release(&self, vm: VmId) {
        self.hub.unwatch(vm);
        self.hub.with_roster(|roster| roster.release(vm));
        self.hub.change();
    }

    /// Only a migration is ever stopped: some other job of the vm (a backup) is none of ours.
    async fn abort(&self, vm: VmId) -> Result<(), HypervisorError> {
        let ours = self.hub.with_roster(|roster| roster.is_held(vm));
        let abort = move |session: &Session| {
            let domain = session.domain(vm)?;
            if !ours && facts::job(&domain) != Some(JobKind::Leaving) {
                return Ok(());
            }
            match ffi::abort_job(&domain) {
                // No job runs: it has ended by itself, or was stopped before.
                Err(error) if error.code() == ErrorNumber::OperationInvalid => Ok(()),
                outcome => outcome.map_err(|error| of_vm(vm, error)),
            }
        };
        self.control.call(&self.abort_slots, self.options.call_timeout, abort).await
    }

    async fn allow_downtime(&self, vm: VmId, longest: Duration) -> Result<(), HypervisorError> {
        let millis = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX).max(1);
        let allow = move |session: &Session| {
            let domain = session.domain(vm)?;
            domain.migrate_set_max_downtime(millis, 0).map(drop).map_err(|error| of_vm(vm, error))
        };
        self.short(allow).await
    }

    async fn locate_at(&self, uri: &str, vm: VmId) -> Result<Whereabouts, HypervisorError> {
        let all = async {
            let slot = Arc::clone(&self.remote_slots).acquire_owned().await;
            let slot = slot.map_err(|_| HypervisorError::Unreachable("the driver is closing".into()))?;
            let session = self.own_session(uri, true).await?;
            let asked = on_thread(move || {
                let found = whereabouts(&session, vm);
                drop(session);
                drop(slot);
                found
            });
            asked.await.map_err(explain_alone)
        };
        let limit = self.options.call_timeout;
        self.clock.timeout(limit, all).await.unwrap_or(Err(HypervisorError::TimedOut(limit)))
    }
}

/// Where a vm is; blocks.
fn whereabouts(session: &Session, vm: VmId) -> Result<Whereabouts, Failure> {
    let found = session.domain(vm).and_then(|domain| whereabouts_of(&domain).map_err(|error| of_vm(vm, error)));
    match found {
        Err(Failure::NoSuchVm(_)) => Ok(Whereabouts::NotHere),
        other => other,
    }
}

fn whereabouts_of(domain: &Domain) -> Result<Whereabouts, virt::error::Error> {
    let (state, reason) = domain.get_state()?;
    let state = params::state(Some(state.into()), u64::try_from(reason).ok());
    if matches!(state, VmState::ShutOff | VmState::Crashed) {
        return Ok(Whereabouts::NotHere);
    }
    let job = facts::job(domain);
    let state = facts::arriving(state, reason, job);
    Ok(Whereabouts::Here { state, migrating: job == Some(JobKind::Leaving) })
}

impl Hypervisor for LibvirtHypervisor {
    async fn facts(&self) -> Result<HypervisorFacts, HypervisorError> {
        let (options, around) = (&self.inner.options, self.inner.surroundings());
        let (hub, clock) = (Arc::clone(&self.inner.hub), self.inner.clock.clone());
        // What an event names from here on is named to the next collection.
        let collect = move |session: &Session| facts::collect(session, &around, &hub.take_touched(), clock.elapsed());
        self.inner.control.call(&self.inner.facts_slots, options.facts_timeout, collect).await
    }

    async fn counters(&self, deadline: Duration) -> Result<Vec<VmCounters>, HypervisorError> {
        let counters = self.inner.counters(deadline).await;
        self.inner.read.notify_one();
        counters
    }

    async fn migrate(&self, job: MigrationJob) -> Result<mpsc::Receiver<MigrationEvent>, HypervisorError> {
        self.inner.migrate(job).await
    }

    async fn resume_watching(&self, vm: VmId) -> Result<Option<mpsc::Receiver<MigrationEvent>>, HypervisorError> {
        self.inner.resume_watching(vm).await
    }

    async fn abort(&self, vm: VmId) -> Result<(), HypervisorError> {
        self.inner.abort(vm).await
    }

    async fn allow_downtime(&self, vm: VmId, longest: Duration) -> Result<(), HypervisorError> {
        self.inner.allow_downtime(vm, longest).await
    }

    async fn locate(&self, vm: VmId) -> Result<Whereabouts, HypervisorError> {
        self.inner.short(move |session| whereabouts(session, vm)).await
    }

    async fn locate_at(&self, uri: &str, vm: VmId) -> Result<Whereabouts, HypervisorError> {
        self.inner.locate_at(uri, vm).await
    }

    async fn passport(&self, vm: VmId) -> Result<Passport, HypervisorError> {
        let around = self.inner.surroundings();
        self.inner.look_around(move |session| preflight::passport(session, vm, &around)).await
    }

    async fn premises(&self, passport: &Passport) -> Result<Premises, HypervisorError> {
        let (around, passport) = (self.inner.surroundings(), passport.clone());
        self.inner.look_around(move |session| preflight::premises(session, &passport, &around)).await
    }

    async fn changes(&self) {
        // The sender lives in the hub, which lives as long as the driver does.
        if self.changes.lock().await.changed().await.is_err() {
            warn!("The driver is gone");
        }
    }
}

#[cfg(test)]
mod tests;
