//! libvirt's events: the one thread that pumps them, and the hub that hands them to who waits for them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use ballast_core::id::VmId;
use tokio::sync::{mpsc, watch};
use tracing::error;
use virt::error::Error;

use super::{
    ffi::{Event, EventSink},
    roster::Roster,
    session::lock,
};

/// Starts libvirt's event loop on a thread of its own, once per process and before any connection is opened:
/// keep-alive needs it as well. Also keeps libvirt from printing its errors on stderr.
pub(super) fn start_loop() -> Result<(), Error> {
    static STARTED: OnceLock<Result<(), Error>> = OnceLock::new();
    let start = || {
        virt::error::clear_error_callback();
        virt::event::event_register_default_impl()?;
        let spawned = thread::Builder::new().name("libvirt-events".into()).spawn(pump);
        if let Err(error) = spawned {
            error!(%error, "No thread for libvirt's events: migrations go unobserved until the agent is restarted");
        }
        Ok(())
    };
    STARTED.get_or_init(start).clone()
}

fn pump() {
    loop {
        if let Err(error) = virt::event::event_run_default_impl() {
            error!(%error, "libvirt's event loop failed");
            // A loop that fails at once must not use up a CPU; no clock is at hand on libvirt's thread.
            thread::park_timeout(Duration::from_secs(1));
        }
    }
}

/// Events of one vm wait here, at most so many.
const WAITING_EVENTS: usize = 256;

/// Where all events arrive.
#[derive(Debug)]
pub(super) struct Hub {
    roster: Mutex<Roster>,
    watchers: Mutex<HashMap<VmId, mpsc::Sender<Event>>>,
    /// Named by an event since the facts were last collected.
    touched: Mutex<BTreeSet<VmId>>,
    changes: watch::Sender<u64>,
    dropped: AtomicU64,
}

impl Hub {
    /// A hub that knows of no vm yet.
    pub(super) fn new() -> Self {
        Self {
            roster: Mutex::default(),
            watchers: Mutex::default(),
            touched: Mutex::default(),
            changes: watch::Sender::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Works with the roster of running vms.
    pub(super) fn with_roster<T>(&self, work: impl FnOnce(&mut Roster) -> T) -> T {
        work(&mut lock(&self.roster))
    }

    /// Receives the events of one vm from now on; `None` where somebody does already.
    pub(super) fn watch(&self, vm: VmId) -> Option<mpsc::Receiver<Event>> {
        let mut watchers = lock(&self.watchers);
        if watchers.get(&vm).is_some_and(|watcher| !watcher.is_closed()) {
            return None;
        }
        let (sender, receiver) = mpsc::channel(WAITING_EVENTS);
        watchers.insert(vm, sender);
        Some(receiver)
    }

    /// Ends what [`Hub::watch`] began.
    pub(super) fn unwatch(&self, vm: VmId) {
        lock(&self.watchers).remove(&vm);
    }

    /// The vms that events have named since this was asked last.
    pub(super) fn take_touched(&self) -> BTreeSet<VmId> {
        std::mem::take(&mut *lock(&self.touched))
    }

    /// Says that the facts may have changed.
    pub(super) fn change(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// A receiver that sees every change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Events that found their queue full, since the start.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl EventSink for Hub {
    fn opened(&self) {
        self.with_roster(Roster::forget_listing);
        self.change();
    }

    fn take(&self, vm: VmId, event: Event) {
        self.with_roster(|roster| roster.observe(vm, &event));
        lock(&self.touched).insert(vm);
        if matches!(event, Event::Lifecycle { .. } | Event::Redefined) {
            self.change();
        }
        let watchers = lock(&self.watchers);
        if let Some(watcher) = watchers.get(&vm)
            && watcher.try_send(event).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}
