//! Connections to libvirt: open one, call through it with a deadline, open it again after it was lost.
//!
//! libvirt's calls block, and a stuck one cannot be taken back. So each has a thread to itself (`threads`) and holds a slot;
//! the caller waits no longer than its deadline, and a stuck thread costs one slot until libvirt lets go. Connections
//! are separate by purpose, because a libvirtd serves only a few calls at a time of each.

use std::{
    collections::HashMap,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use ballast_core::id::VmId;
use ballast_daemon::clock::Clock;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tracing::{debug, info};
use virt::{
    connect::Connect,
    domain::Domain,
    error::{Error, ErrorNumber},
};

use super::{
    events,
    ffi::{self, EventSink, Registration},
    known::Known,
    threads::on_thread,
};
use crate::hypervisor::HypervisorError;

/// Why a call through libvirt failed, before it is known whether the connection itself is to blame.
#[derive(Debug)]
pub(super) enum Failure {
    /// libvirt said so.
    Libvirt(Error),
    /// The vm is not here.
    NoSuchVm(VmId),
    /// This driver says so.
    Refused(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Libvirt(error)
    }
}

/// Locks, also after a panic elsewhere: what these locks guard is valid after every statement.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One open connection. Dropping it never blocks: closing asks libvirtd, which may hang, so a thread does that.
#[derive(Debug)]
pub(super) struct Session {
    /// `None` only while it is dropped.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    connection: Connect,
    /// Looked up once: handles go by uuid and stay good while the domain starts, stops and moves.
    domains: Mutex<HashMap<VmId, Arc<Domain>>>,
    known: Mutex<Known>,
    events: Registration,
}

/// Seconds between two probes of a connection, and how many may go unanswered before it is closed. A libvirtd that dies
/// closes its sockets at once; this is for one that hangs, and an overloaded host has been seen not to answer for 20 s.
const KEEPALIVE_SECONDS: i32 = 15;
const KEEPALIVE_COUNT: u32 = 4;

impl Session {
    /// Opens a connection; blocks. Events go to `sink`, where one is given.
    pub(super) fn open(uri: &str, read_only: bool, sink: Option<&Arc<dyn EventSink>>) -> Result<Self, Error> {
        events::start_loop()?;
        let connection = if read_only { Connect::open_read_only(Some(uri)) } else { Connect::open(Some(uri)) }?;
        let mut open =
            Open { connection, domains: Mutex::default(), known: Mutex::default(), events: Registration::default() };
        // Not every driver can (the test driver cannot); without it only a closed socket shows that a peer is gone.
        if let Err(error) = open.connection.set_keep_alive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT) {
            debug!(uri, %error, "No keep-alive on this connection");
        }
        if let Some(sink) = sink {
            open.events = ffi::register_events(&open.connection, sink)?;
            sink.opened();
        }
        Ok(Self { open: Some(open) })
    }

    #[allow(clippy::expect_used)] // Only `drop` takes it, and after that there is nobody left to call.
    fn get(&self) -> &Open {
        self.open.as_ref().expect("a session is open until it is dropped")
    }

    /// The connection itself.
    pub(super) fn connection(&self) -> &Connect {
        &self.get().connection
    }

    /// Whether the connection still stands.
    pub(super) fn is_alive(&self) -> bool {
        self.connection().is_alive().unwrap_or(false)
    }

    /// The handle of a domain; asks libvirt the first time.
    pub(super) fn domain(&self, vm: VmId) -> Result<Arc<Domain>, Failure> {
        if let Some(domain) = lock(&self.get().domains).get(&vm) {
            return Ok(Arc::clone(domain));
        }
        let found = Domain::lookup_by_uuid(self.connection(), vm.0).map_err(|error| of_vm(vm, error))?;
        let domain = Arc::new(found);
        lock(&self.get().domains).insert(vm, Arc::clone(&domain));
        Ok(domain)
    }

    /// Takes what is known of the host's vms by this connection; who does not put it back has it looked at anew.
    pub(super) fn take_known(&self) -> Known {
        std::mem::take(&mut *lock(&self.get().known))
    }

    /// Puts back what [`Session::take_known`] took.
    pub(super) fn put_known(&self, known: Known) {
        *lock(&self.get().known) = known;
    }

    /// Forgets the handles of all others: vms come and go.
    pub(super) fn keep_domains(&self, keep: impl Fn(VmId) -> bool) {
        lock(&self.get().domains).retain(|vm, _| keep(*vm));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let open = self.open.take();
        let closing = thread::Builder::new().name("libvirt-close".into()).spawn(move || drop(open));
        if let Err(error) = closing {
            debug!(%error, "No thread to close a connection to libvirt");
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        lock(&self.domains).clear();
        ffi::deregister_events(&self.connection, std::mem::take(&mut self.events));
        if let Err(error) = self.connection.close() {
            debug!(%error, "A connection to libvirt could not be closed cleanly");
        }
    }
}

/// "Not found" as the vm's own failure.
pub(super) fn of_vm(vm: VmId, error: Error) -> Failure {
    if error.code() == ErrorNumber::NoDomain { Failure::NoSuchVm(vm) } else { Failure::Libvirt(error) }
}

/// Calls in flight of one kind, at most; a stuck one holds its slot.
pub(super) type Slots = Arc<Semaphore>;

/// Makes slots for `count` calls.
pub(super) fn slots(count: usize) -> Slots {
    Arc::new(Semaphore::new(count))
}

/// A connection that is opened again after it was lost.
pub(super) struct Link {
    uri: String,
    purpose: &'static str,
    clock: Clock,
    /// Where the events of this connection go, where it has any.
    sink: Option<Arc<dyn EventSink>>,
    state: Mutex<State>,
    /// Whenever opening has ended, one way or the other.
    settled: Notify,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("uri", &self.uri).field("purpose", &self.purpose).finish_non_exhaustive()
    }
}

enum State {
    Closed { retry_at: Duration, failures: u32, why: String },
    Opening,
    Open(Arc<Session>),
}

/// What a caller that wants a session is to do.
enum Turn {
    Done(Arc<Session>),
    Wait,
    Open { failures: u32 },
}

impl Link {
    /// A connection that is opened when it is first needed.
    pub(super) fn new(uri: &str, purpose: &'static str, clock: &Clock, sink: Option<Arc<dyn EventSink>>) -> Arc<Self> {
        let state = State::Closed { retry_at: Duration::ZERO, failures: 0, why: String::new() };
        Arc::new(Self {
            uri: uri.into(),
            purpose,
            clock: clock.clone(),
            sink,
            state: Mutex::new(state),
            settled: Notify::new(),
        })
    }

    /// The session, opened now if it is not open and its time has come.
    pub(super) async fn session(self: &Arc<Self>) -> Result<Arc<Session>, HypervisorError> {
        loop {
            let mut settled = pin!(self.settled.notified());
            settled.as_mut().enable();
            match self.session_or_turn()? {
                Turn::Done(session) => return Ok(session),
                Turn::Wait => settled.await,
                Turn::Open { failures } => return self.open(failures).await,
            }
        }
    }

    fn session_or_turn(&self) -> Result<Turn, HypervisorError> {
        let mut state = lock(&self.state);
        match &*state {
            State::Open(session) => Ok(Turn::Done(Arc::clone(session))),
            State::Opening => Ok(Turn::Wait),
            State::Closed { retry_at, why, .. } if self.clock.elapsed() < *retry_at => Err(unreachable(why.clone())),
            State::Closed { failures, .. } => {
                let failures = *failures;
                *state = State::Opening;
                Ok(Turn::Open { failures })
            }
        }
    }

    async fn open(self: &Arc<Self>, failures: u32) -> Result<Arc<Session>, HypervisorError> {
        let link = Arc::clone(self);
        let opened = on_thread(move || {
            let opened = catch_unwind(AssertUnwindSafe(|| Session::open(&link.uri, false, link.sink.as_ref())));
            let outcome = match opened {
                Ok(outcome) => outcome.map(Arc::new).map_err(|error| error.message().to_owned()),
                Err(_) => Err("the libvirt binding panicked".to_owned()),
            };
            link.settle(&outcome, failures);
            outcome.map_err(Failure::Refused)
        });
        opened.await.map_err(|failure| {
            let why = explain_alone(failure).to_string();
            if matches!(*lock(&self.state), State::Opening) {
                // There was no thread to settle it.
                self.settle(&Err(why.clone()), failures);
            }
            unreachable(why)
        })
    }

    /// Records how opening ended; on the opening thread, so that it counts even when nobody waited for it.
    fn settle(&self, outcome: &Result<Arc<Session>, String>, failures: u32) {
        *lock(&self.state) = match outcome {
            Ok(session) => {
                info!(uri = self.uri, purpose = self.purpose, "Connected to libvirt");
                State::Open(Arc::clone(session))
            }
            Err(why) => State::Closed {
                retry_at: self.clock.elapsed() + backoff(failures),
                failures: failures.saturating_add(1),
                why: why.clone(),
            },
        };
        self.settled.notify_waiters();
    }

    /// Whether a session is open and its connection stands; one that does not is let go of.
    pub(super) fn check(&self) -> bool {
        let session = match &*lock(&self.state) {
            State::Open(session) => Arc::clone(session),
            State::Closed { .. } | State::Opening => return false,
        };
        let alive = session.is_alive();
        if !alive {
            self.let_go(&session, "the connection to libvirt was lost");
        }
        alive
    }

    fn let_go(&self, lost: &Arc<Session>, why: &str) {
        let mut state = lock(&self.state);
        if matches!(&*state, State::Open(session) if Arc::ptr_eq(session, lost)) {
            info!(uri = self.uri, purpose = self.purpose, why, "Disconnected from libvirt");
            let retry_at = self.clock.elapsed() + backoff(0);
            let closed = State::Closed { retry_at, failures: 1, why: why.into() };
            *state = closed;
        }
    }

    /// Calls through the connection. Waiting for a slot, connecting and the call itself share the deadline.
    pub(super) async fn call<T, F>(
        self: &Arc<Self>,
        slots: &Slots,
        deadline: Duration,
        work: F,
    ) -> Result<T, HypervisorError>
    where
        T: Send + 'static,
        F: FnOnce(&Session) -> Result<T, Failure> + Send + 'static,
    {
        let all = async {
            let slot =
                Arc::clone(slots).acquire_owned().await.map_err(|_| unreachable("the driver is closing".into()))?;
            self.call_in_slot(slot, work).await
        };
        self.clock.timeout(deadline, all).await.unwrap_or(Err(HypervisorError::TimedOut(deadline)))
    }

    /// The same with a slot in hand and no deadline but the caller's.
    pub(super) fn call_in_slot<T, F>(
        self: &Arc<Self>,
        slot: OwnedSemaphorePermit,
        work: F,
    ) -> impl Future<Output = Result<T, HypervisorError>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Session) -> Result<T, Failure> + Send + 'static,
    {
        let link = Arc::clone(self);
        async move {
            let session = link.session().await?;
            let called = Arc::clone(&session);
            let outcome = on_thread(move || {
                let outcome = work(&called);
                drop(called);
                drop(slot);
                outcome
            });
            outcome.await.map_err(|failure| link.explain(&session, failure))
        }
    }

    /// A failure in the words of the contract; notices a lost connection.
    fn explain(&self, session: &Arc<Session>, failure: Failure) -> HypervisorError {
        match failure {
            Failure::NoSuchVm(vm) => HypervisorError::NoSuchVm(vm),
            Failure::Refused(why) => HypervisorError::Refused(why),
            Failure::Libvirt(error) if session.is_alive() => HypervisorError::Refused(error.message().into()),
            Failure::Libvirt(error) => {
                self.let_go(session, error.message());
                unreachable(error.message().into())
            }
        }
    }
}

/// A failure on a connection of one's own.
pub(super) fn explain_alone(failure: Failure) -> HypervisorError {
    match failure {
        Failure::NoSuchVm(vm) => HypervisorError::NoSuchVm(vm),
        Failure::Refused(why) => HypervisorError::Refused(why),
        Failure::Libvirt(error) => HypervisorError::Refused(error.message().into()),
    }
}

fn unreachable(why: String) -> HypervisorError {
    HypervisorError::Unreachable(why)
}

/// Half a second, doubled with every failure, at most half a minute: one host connects to one libvirtd over a local
/// socket, so there is no herd to spread.
fn backoff(failures: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(500);
    FIRST.saturating_mul(1 << failures.min(6)).min(Duration::from_secs(30))
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn retries_come_less_often_but_never_stop() {
        assert_eq!(backoff(0), Duration::from_millis(500));
        assert_eq!(backoff(3), Duration::from_secs(4));
        assert_eq!(backoff(u32::MAX), Duration::from_secs(30));
    }

    #[tokio::test]
    async fn a_stuck_call_times_out_and_keeps_only_its_own_slot() {
        let (clock, driver) = Clock::driven(ballast_core::units::Timestamp::EPOCH);
        let link = Link::new("test:///default", "test", &clock, None);
        let (stuck, free) = (slots(1), slots(1));
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let (began, running) = oneshot::channel();
        let call = {
            let (link, stuck) = (Arc::clone(&link), Arc::clone(&stuck));
            tokio::spawn(async move {
                let hang = move |_: &Session| {
                    began.send(()).unwrap();
                    wait.recv().map_err(|_| Failure::Refused("released".into()))
                };
                link.call(&stuck, Duration::from_secs(5), hang).await
            })
        };
        running.await.unwrap();
        driver.advance(Duration::from_secs(6));
        assert_eq!(call.await.unwrap(), Err(HypervisorError::TimedOut(Duration::from_secs(5))));
        assert_eq!(stuck.available_permits(), 0);
        assert_eq!(link.call(&free, Duration::from_secs(5), |_| Ok(7)).await, Ok(7));
        drop(release);
    }
}
