//! The calls that the `virt` crate does not wrap, or wraps unsoundly: bulk and job statistics, migration with our own
//! parameters, abort, and (`events`) events.
//!
//! `virt` frees libvirt's arrays with Rust's allocator, leaks records and string parameters, and panics on a parameter
//! of an unexpected type; here every block that libvirt allocated goes back to libvirt. Nothing in this file decides
//! anything; the rest of the driver calls it and contains no `unsafe`.

// The only unsafe code of the workspace, with its module: libvirt is a C library.
#![allow(unsafe_code)]

mod events;

use std::{
    ffi::{CStr, CString, c_char, c_int, c_uint},
    ptr, slice,
};

use ballast_core::id::VmId;
use uuid::Uuid;
use virt::{
    connect::Connect,
    domain::Domain,
    error::{Error, ErrorNumber},
};
use virt_sys as sys;

pub(super) use self::events::{Event, EventSink, Registration, deregister_events, register_events};
use super::{
    params::{Params, Value},
    request::{Param, Request},
    stats::Stats,
};

/// Statistics of one domain as one bulk call gave them.
#[derive(Debug)]
pub(super) struct StatsRecord {
    /// Which.
    pub(super) vm: VmId,
    /// The number libvirt gives a domain each time it starts or arrives.
    pub(super) run: u32,
    /// What was read.
    pub(super) stats: Stats,
}

/// Reads the groups `groups` of `domains` in one call. Domains that are gone are left out; those whose monitor is busy
/// answer only in part.
pub(super) fn domain_stats(domains: &[&Domain], groups: u32) -> Result<Vec<StatsRecord>, Error> {
    if domains.is_empty() {
        return Ok(Vec::new());
    }
    let mut handles: Vec<sys::virDomainPtr> = domains.iter().map(|domain| domain.as_ptr()).collect();
    handles.push(ptr::null_mut());
    let mut records: *mut sys::virDomainStatsRecordPtr = ptr::null_mut();
    let flags = sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT;
    // SAFETY: `handles` is a null-terminated array of live domains of one connection; libvirt writes one pointer to
    // `records` and keeps neither.
    let count = unsafe { sys::virDomainListGetStats(handles.as_mut_ptr(), groups, &mut records, flags) };
    let Ok(count) = usize::try_from(count) else { return Err(Error::last_error()) };
    let mut read = Vec::with_capacity(count);
    for index in 0..count {
        // SAFETY: libvirt returned `count` valid record pointers, alive until the list is freed below.
        let record = unsafe { &**records.add(index) };
        read.extend(stats_record(record));
    }
    // SAFETY: `records` comes from virDomainListGetStats and is freed once, with the function meant for it.
    unsafe { sys::virDomainStatsRecordListFree(records) };
    Ok(read)
}

fn stats_record(record: &sys::virDomainStatsRecord) -> Option<StatsRecord> {
    let vm = domain_id(record.dom)?;
    // SAFETY: the record holds a live domain handle; the call only reads it.
    let run = unsafe { sys::virDomainGetID(record.dom) };
    let mut stats = Stats::default();
    each_param(record.params, record.nparams, |param| {
        if let Some(number) = read_number(param).and_then(|value| value.number()) {
            stats.take(name(param).to_bytes(), number);
        }
    });
    Some(StatsRecord { vm, run, stats })
}

/// The job of a domain: its type (`VIR_DOMAIN_JOB_*`) and figures.
pub(super) fn job_stats(domain: &Domain) -> Result<(u32, Params), Error> {
    let (mut kind, mut params, mut count) = (0, ptr::null_mut(), 0);
    // SAFETY: all four pointers are valid for writing; `domain` is alive.
    let result = unsafe { sys::virDomainGetJobStats(domain.as_ptr(), &mut kind, &mut params, &mut count, 0) };
    if result < 0 {
        return Err(Error::last_error());
    }
    let read = read_params(params, count);
    // SAFETY: the array comes from libvirt with this length and is freed once, strings included.
    unsafe { sys::virTypedParamsFree(params, count) };
    Ok((u32::try_from(kind).unwrap_or_default(), read))
}

/// Moves a domain, peer to peer; returns when it has moved or has not.
pub(super) fn migrate(domain: &Domain, destination: &CStr, request: &Request) -> Result<(), Error> {
    let (mut params, mut count, mut capacity) = (ptr::null_mut(), 0, 0);
    let added = request.params.iter().try_for_each(|(name, value)| {
        let name = name.as_ptr();
        // SAFETY: libvirt allocates and grows the array through the three pointers; names and texts are static C strings, and
        // a text is copied.
        let added = unsafe {
            match *value {
                Param::Int(number) => sys::virTypedParamsAddInt(&mut params, &mut count, &mut capacity, name, number),
                Param::Unsigned(number) => {
                    sys::virTypedParamsAddULLong(&mut params, &mut count, &mut capacity, name, number)
                }
                Param::Text(text) => {
                    sys::virTypedParamsAddString(&mut params, &mut count, &mut capacity, name, text.as_ptr())
                }
            }
        };
        if added < 0 { Err(Error::last_error()) } else { Ok(()) }
    });
    let length = c_uint::try_from(count).unwrap_or_default();
    let outcome = added.and_then(|()| {
        let (domain, uri) = (domain.as_ptr(), destination.as_ptr());
        // SAFETY: `domain` is alive, `uri` is a C string, `params` holds `length` parameters; nothing is kept.
        let result = unsafe { sys::virDomainMigrateToURI3(domain, uri, params, length, request.flags) };
        if result < 0 { Err(Error::last_error()) } else { Ok(()) }
    });
    // SAFETY: the array was allocated by virTypedParamsAdd* (or is null with length 0) and is freed once.
    unsafe { sys::virTypedParamsFree(params, count) };
    outcome
}

/// Begins to measure how much of a domain's memory differs after `seconds`; returns at once.
pub(super) fn start_dirty_rate(domain: &Domain, seconds: c_int) -> Result<(), Error> {
    // SAFETY: `domain` is alive; the call takes plain numbers.
    let result = unsafe { sys::virDomainStartDirtyRateCalc(domain.as_ptr(), seconds, 0) };
    if result < 0 { Err(Error::last_error()) } else { Ok(()) }
}

/// Whether the hypervisor can provide a virtual CPU of this definition; `Ok(Some)` says in libvirt's words why not.
pub(super) fn compare_cpu(
    connection: &Connect,
    arch: &CStr,
    domain_type: &CStr,
    cpu_xml: &CStr,
) -> Result<Option<String>, Error> {
    let flags = sys::VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE;
    // SAFETY: the connection is alive; the texts are C strings, and null leaves emulator and machine to libvirt.
    let result = unsafe {
        sys::virConnectCompareHypervisorCPU(
            connection.as_ptr(),
            ptr::null(),
            arch.as_ptr(),
            ptr::null(),
            domain_type.as_ptr(),
            cpu_xml.as_ptr(),
            flags,
        )
    };
    match result {
        0 => Ok(Some("the hypervisor cannot provide it".to_owned())),
        found if found > 0 => Ok(None),
        _ => {
            let error = Error::last_error();
            if error.code() == ErrorNumber::CpuIncompatible { Ok(Some(error.message().to_owned())) } else { Err(error) }
        }
    }
}

/// Stops the job of a domain.
pub(super) fn abort_job(domain: &Domain) -> Result<(), Error> {
    // SAFETY: `domain` is alive.
    if unsafe { sys::virDomainAbortJob(domain.as_ptr()) } < 0 { Err(Error::last_error()) } else { Ok(()) }
}

/// A text as C wants it; what follows a NUL byte is cut off.
pub(super) fn c_string(text: &str) -> CString {
    CString::new(text.split('\0').next().unwrap_or_default()).unwrap_or_default()
}

// === reading what libvirt returned ===

fn domain_id(domain: sys::virDomainPtr) -> Option<VmId> {
    if domain.is_null() {
        return None;
    }
    let mut bytes = [0; sys::VIR_UUID_BUFLEN as usize];
    // SAFETY: the handle is alive and the buffer has the length that libvirt documents for it.
    if unsafe { sys::virDomainGetUUID(domain, bytes.as_mut_ptr()) } < 0 {
        return None;
    }
    Some(VmId(Uuid::from_bytes(bytes)))
}

fn read_params(params: sys::virTypedParameterPtr, count: c_int) -> Params {
    let read = |param: &sys::virTypedParameter| Some((name(param).to_str().ok()?.to_owned(), read_value(param)?));
    let mut found = Vec::new();
    each_param(params, count, |param| found.extend(read(param)));
    found.into_iter().collect()
}

fn each_param(params: sys::virTypedParameterPtr, count: c_int, look: impl FnMut(&sys::virTypedParameter)) {
    let length = usize::try_from(count).unwrap_or_default();
    if params.is_null() || length == 0 {
        return;
    }
    // SAFETY: libvirt returned `count` parameters at `params`, alive and unchanged during this call.
    unsafe { slice::from_raw_parts(params, length) }.iter().for_each(look);
}

fn name(param: &sys::virTypedParameter) -> &CStr {
    // SAFETY: libvirt terminates the name inside its 80 bytes.
    unsafe { CStr::from_ptr(param.field.as_ptr()) }
}

fn read_value(param: &sys::virTypedParameter) -> Option<Value> {
    if u32::try_from(param.type_) == Ok(sys::VIR_TYPED_PARAM_STRING) {
        // SAFETY: the type says that the text is what libvirt has set.
        return read_text(unsafe { param.value.s }).map(Value::Text);
    }
    read_number(param)
}

/// The value of a parameter that is no text.
fn read_number(param: &sys::virTypedParameter) -> Option<Value> {
    let kind = u32::try_from(param.type_).ok()?;
    // SAFETY: `kind` says which field of the union libvirt has set.
    let value = unsafe {
        match kind {
            sys::VIR_TYPED_PARAM_INT => Value::Signed(param.value.i.into()),
            sys::VIR_TYPED_PARAM_UINT => Value::Unsigned(param.value.ui.into()),
            sys::VIR_TYPED_PARAM_LLONG => Value::Signed(param.value.l),
            sys::VIR_TYPED_PARAM_ULLONG => Value::Unsigned(param.value.ul),
            sys::VIR_TYPED_PARAM_DOUBLE => Value::Float(param.value.d),
            sys::VIR_TYPED_PARAM_BOOLEAN => Value::Unsigned(u64::from(param.value.b != 0)),
            _ => return None,
        }
    };
    Some(value)
}

fn read_text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: a string parameter is NUL-terminated and alive as long as its array.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}
