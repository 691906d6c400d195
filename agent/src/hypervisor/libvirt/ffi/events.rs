//! libvirt's events of domains: callbacks that run on its event thread and hand over to an [`EventSink`].

use std::{
    ffi::{c_char, c_int, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::Arc,
};

use ballast_core::id::VmId;
use virt::{connect::Connect, error::Error};
use virt_sys as sys;

use super::{Params, domain_id, read_params};

/// Something that libvirt said of a domain.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Event {
    /// Its state changed.
    Lifecycle {
        /// `VIR_DOMAIN_EVENT_*`.
        kind: u32,
        /// The kind's own detail.
        detail: u32,
    },
    /// A migration of it begins another pass over memory.
    Iteration(u64),
    /// A job of it ended well; final figures.
    JobCompleted(Params),
    /// Its metadata or its devices changed.
    Redefined,
}

/// Receives events on libvirt's event thread; must neither block nor panic.
pub(in super::super) trait EventSink: Send + Sync {
    /// A connection was opened: what happened before was not told.
    fn opened(&self);

    /// Takes one event.
    fn take(&self, vm: VmId, event: Event);
}

/// Handle of registered callbacks; give it back to [`deregister_events`] before the connection is closed.
#[derive(Debug, Default)]
pub(in super::super) struct Registration(Vec<c_int>);

/// Has the events that [`Event`] tells of all domains of `connection` delivered to `sink`.
pub(in super::super) fn register_events(
    connection: &Connect,
    sink: &Arc<dyn EventSink>,
) -> Result<Registration, Error> {
    type Generic = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void);
    // SAFETY: libvirt calls each callback with the signature that belongs to its event id, as its documentation of
    // virConnectDomainEventRegisterAny demands the cast; the casts only change the declared type of the pointer.
    let callbacks: [(u32, Generic); 6] = unsafe {
        [
            (
                sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                std::mem::transmute::<sys::virConnectDomainEventCallback, Generic>(Some(on_lifecycle)),
            ),
            (
                sys::VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION,
                std::mem::transmute::<sys::virConnectDomainEventMigrationIterationCallback, Generic>(Some(
                    on_iteration,
                )),
            ),
            (
                sys::VIR_DOMAIN_EVENT_ID_JOB_COMPLETED,
                std::mem::transmute::<sys::virConnectDomainEventJobCompletedCallback, Generic>(Some(on_job_completed)),
            ),
            (
                sys::VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
                std::mem::transmute::<sys::virConnectDomainEventMetadataChangeCallback, Generic>(Some(on_metadata)),
            ),
            (
                sys::VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
                std::mem::transmute::<sys::virConnectDomainEventDeviceAddedCallback, Generic>(Some(on_device)),
            ),
            (
                sys::VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
                std::mem::transmute::<sys::virConnectDomainEventDeviceRemovedCallback, Generic>(Some(on_device)),
            ),
        ]
    };
    let mut registration = Registration::default();
    for (event, callback) in callbacks {
        match register(connection, event, callback, sink) {
            Ok(id) => registration.0.push(id),
            Err(error) => {
                deregister_events(connection, registration);
                return Err(error);
            }
        }
    }
    Ok(registration)
}

fn register(
    connection: &Connect,
    event: u32,
    callback: unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void),
    sink: &Arc<dyn EventSink>,
) -> Result<c_int, Error> {
    let opaque = Box::into_raw(Box::new(Arc::clone(sink)));
    let event = c_int::try_from(event).unwrap_or_default();
    // SAFETY: the connection is alive; a null domain means all; `opaque` is a leaked box that `free_sink` takes back
    // once libvirt is done with the callback.
    let id = unsafe {
        sys::virConnectDomainEventRegisterAny(
            connection.as_ptr(),
            ptr::null_mut(),
            event,
            Some(callback),
            opaque.cast(),
            Some(free_sink),
        )
    };
    if id < 0 {
        let error = Error::last_error();
        // SAFETY: a failed registration keeps nothing and never calls the free function, so the box is ours again.
        drop(unsafe { Box::from_raw(opaque) });
        return Err(error);
    }
    Ok(id)
}

/// Ends the delivery of events. On a dead connection this only frees what this process holds.
pub(in super::super) fn deregister_events(connection: &Connect, registration: Registration) {
    for id in registration.0 {
        // SAFETY: the id was given by a registration on this connection, which is alive.
        unsafe { sys::virConnectDomainEventDeregisterAny(connection.as_ptr(), id) };
    }
}

unsafe extern "C" fn free_sink(opaque: *mut c_void) {
    // SAFETY: `opaque` is the box leaked in `register`; libvirt calls this once, after the last callback.
    drop(unsafe { Box::from_raw(opaque.cast::<Arc<dyn EventSink>>()) });
}

unsafe extern "C" fn on_lifecycle(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    kind: c_int,
    detail: c_int,
    opaque: *mut c_void,
) -> c_int {
    let unsigned = |value: c_int| u32::try_from(value).unwrap_or(u32::MAX);
    deliver(domain, opaque, || Event::Lifecycle { kind: unsigned(kind), detail: unsigned(detail) });
    0
}

unsafe extern "C" fn on_iteration(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    iteration: c_int,
    opaque: *mut c_void,
) {
    deliver(domain, opaque, || Event::Iteration(u64::try_from(iteration).unwrap_or_default()));
}

unsafe extern "C" fn on_job_completed(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    params: sys::virTypedParameterPtr,
    count: c_int,
    opaque: *mut c_void,
) {
    // libvirt owns the parameters and frees them after the callback.
    deliver(domain, opaque, || Event::JobCompleted(read_params(params, count)));
}

unsafe extern "C" fn on_metadata(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _: c_int,
    _: *const c_char,
    opaque: *mut c_void,
) {
    deliver(domain, opaque, || Event::Redefined);
}

unsafe extern "C" fn on_device(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _: *const c_char,
    opaque: *mut c_void,
) {
    deliver(domain, opaque, || Event::Redefined);
}

/// Hands an event to the sink; a panic must not unwind into libvirt.
fn deliver(domain: sys::virDomainPtr, opaque: *mut c_void, event: impl FnOnce() -> Event) {
    // SAFETY: `opaque` is the box leaked in `register`, alive until `free_sink`; it is only borrowed here.
    let sink = unsafe { &*opaque.cast::<Arc<dyn EventSink>>() };
    let hand_over = || {
        if let Some(vm) = domain_id(domain) {
            sink.take(vm, event());
        }
    };
    // The panic hook has already told of it; there is nobody else to tell.
    drop(catch_unwind(AssertUnwindSafe(hand_over)));
}
