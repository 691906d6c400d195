//! Everything slow-changing, collected in one go on the control connection. Blocking; the driver gives it a thread.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ballast_core::{id::VmId, inventory::VmRecord, sample::VmState};
use tracing::{debug, warn};
use virt::{connect::Connect, domain::Domain, error::Error};
use virt_sys as sys;

use super::{
    domain_xml, ffi, host_xml,
    known::{HostWords, Listed},
    params::{self, JobKind},
    session::{Failure, Session, of_vm},
    storage::{SHARED_POOLS, Storages},
};
use crate::hypervisor::HypervisorFacts;

/// What collecting depends on besides libvirt.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    /// Where `/proc` and `/sys` are found.
    pub(super) root: PathBuf,
    /// Paths that the operator vouches to be shared.
    pub(super) shared_paths: Vec<PathBuf>,
    /// Where QEMU's certificates for encrypted migrations are, where the operator says so.
    pub(super) migration_tls_dir: Option<PathBuf>,
    /// How often guests shall account for their memory; zero leaves them alone.
    pub(super) balloon_period: Duration,
}

/// Collects; of vms that no event has named (those are `touched`) and that a listing shows as they were, what is known of them is
/// taken. A failure of one vm's definition fails all, for an inventory with a hole would say that the vm is gone, and everything
/// is looked at anew the next time.
pub(super) fn collect(
    session: &Session,
    around: &Surroundings,
    touched: &BTreeSet<VmId>,
    now: Duration,
) -> Result<HypervisorFacts, Failure> {
    let connection = session.connection();
    let mut known = session.take_known();
    let storages = storages(connection, around);
    known.note_storages(&storages);
    known.forget(touched);
    let words = known.host(now).cloned().unwrap_or_else(|| {
        let words = host_words(connection);
        known.note_host(words.clone(), now);
        words
    });
    let mut vms = Vec::new();
    for (domain, listed) in listing(connection)? {
        if let Some(record) = known.still(listed, now) {
            vms.push(record.clone());
            continue;
        }
        match record(&domain, &words.cpu_model, &storages, around.balloon_period) {
            Ok(record) => {
                known.note(listed, record.clone(), now);
                vms.push(record);
            }
            // It ended between the listing and its turn.
            Err(Failure::NoSuchVm(vm)) => debug!(%vm, "Gone while the facts were collected"),
            Err(other) => return Err(other),
        }
    }
    let here: BTreeSet<VmId> = vms.iter().map(|record| record.vm).collect();
    session.keep_domains(|vm| here.contains(&vm));
    known.keep(&here);
    session.put_known(known);
    let HostWords { version, cpu_model, cpu_models } = words;
    let (networks, storages) = (networks(connection, &around.root), storages.ids());
    Ok(HypervisorFacts { version, cpu_model, cpu_models, networks, storages, vms })
}

/// All vms, with what two listings say of each.
fn listing(connection: &Connect) -> Result<Vec<(Domain, Listed)>, Failure> {
    let uuid = |domain: &Domain| domain.get_uuid().map(VmId);
    let running = connection.list_all_domains(sys::VIR_CONNECT_LIST_DOMAINS_RUNNING)?;
    let running: BTreeSet<VmId> = running.iter().map(uuid).collect::<Result<_, _>>()?;
    let listed = |domain: Domain| {
        let vm = uuid(&domain)?;
        let listed = Listed { vm, run: domain.get_id(), running: running.contains(&vm) };
        Ok((domain, listed))
    };
    connection.list_all_domains(0)?.into_iter().map(listed).collect()
}

fn host_words(connection: &Connect) -> HostWords {
    let capabilities = connection.get_domain_capabilities(None, None, None, None, 0);
    HostWords {
        version: version(connection),
        cpu_model: connection.get_capabilities().ok().as_deref().and_then(host_xml::cpu_model).unwrap_or_default(),
        cpu_models: capabilities.map(|xml| host_xml::cpu_models(&xml)).unwrap_or_default(),
    }
}

fn version(connection: &Connect) -> String {
    let kind = connection.get_type().unwrap_or_else(|_| "hypervisor".into());
    let text = |version: Result<u32, Error>| version.map_or_else(|_| "?".into(), host_xml::version);
    format!("{kind} {}, libvirt {}", text(connection.get_hyp_version()), text(connection.get_lib_version()))
}

fn record(
    domain: &Domain,
    cpu_model: &str,
    storages: &Storages,
    balloon_period: Duration,
) -> Result<VmRecord, Failure> {
    let vm = VmId(domain.get_uuid()?);
    let xml = domain.get_xml_desc(0).map_err(|error| of_vm(vm, error))?;
    let definition = domain_xml::parse(&xml, cpu_model, storages).map_err(Failure::Refused)?;
    let (state, reason) = domain.get_state().map_err(|error| of_vm(vm, error))?;
    let mut record = definition.record;
    record.state = params::state(Some(state.into()), u64::try_from(reason).ok());
    if record.state == VmState::ShutOff {
        return Ok(record);
    }
    let job = job(domain);
    record.busy = job.is_some_and(|job| job != JobKind::Untold);
    record.state = arriving(record.state, reason, job);
    if record.state == VmState::Running && definition.balloon_period.is_some_and(|period| period == 0) {
        start_balloon(domain, &record, balloon_period);
    }
    Ok(record)
}

/// The kind of job a domain runs; `None` where it surely runs none.
pub(super) fn job(domain: &Domain) -> Option<JobKind> {
    match ffi::job_stats(domain) {
        Ok((kind, figures)) => params::job(kind, &figures).map(|job| job.kind),
        Err(error) => {
            debug!(%error, "No job statistics");
            Some(JobKind::Untold)
        }
    }
}

/// A vm paused for a migration may be arriving where its job cannot be told: that is what libvirt answers for one that does. Without
/// a job it is what a source keeps of a vm that it could not let go on, its lease being elsewhere.
pub(super) fn arriving(state: VmState, reason: i32, job: Option<JobKind>) -> VmState {
    let for_migration = u32::try_from(reason) == Ok(sys::VIR_DOMAIN_PAUSED_MIGRATION);
    match job {
        Some(JobKind::Arriving) => VmState::Incoming,
        Some(JobKind::Untold) if state == VmState::Paused && for_migration => VmState::Incoming,
        _ => state,
    }
}

/// Without a period the guest's account of its memory freezes at what it was when the vm started.
fn start_balloon(domain: &Domain, record: &VmRecord, period: Duration) {
    let seconds = i32::try_from(period.as_secs()).unwrap_or(i32::MAX);
    if seconds == 0 {
        return;
    }
    if let Err(error) = domain.set_memory_stats_period(seconds, sys::VIR_DOMAIN_AFFECT_LIVE) {
        warn!(vm = %record.vm, %error, "The guest will not account for its memory");
    }
}

/// The shared storages of the host.
pub(super) fn storages(connection: &Connect, around: &Surroundings) -> Storages {
    let mounts = fs::read_to_string(around.root.join("proc/self/mountinfo")).unwrap_or_default();
    // A libvirtd without the storage driver has no pools.
    let pools = connection.list_all_storage_pools(sys::VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE).unwrap_or_default();
    let shared = pools.iter().filter_map(|pool| {
        let kind = host_xml::pool_kind(&pool.get_xml_desc(0).ok()?)?;
        SHARED_POOLS.contains(&kind.as_str()).then(|| pool.get_name().ok()).flatten()
    });
    let shared = shared.collect();
    Storages::new(&mounts, &around.shared_paths, shared)
}

/// Active libvirt networks, bridges, and devices that a macvtap interface could sit on.
pub(super) fn networks(connection: &Connect, root: &Path) -> Vec<String> {
    let networks = connection.list_all_networks(sys::VIR_CONNECT_LIST_NETWORKS_ACTIVE).unwrap_or_default();
    let mut names: Vec<_> =
        networks.iter().filter_map(|network| network.get_name().ok()).map(|name| format!("network:{name}")).collect();
    names.extend(devices(root));
    names.sort_unstable();
    names
}

/// The network devices that count. A bridge of Open vSwitch looks like any virtual device, so where it is present all
/// virtual devices that no process holds open count as bridges.
fn devices(root: &Path) -> Vec<String> {
    let class = root.join("sys/class/net");
    let Ok(entries) = fs::read_dir(&class) else { return Vec::new() };
    let names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let open_vswitch = names.iter().any(|name| name == "ovs-system");
    let has = |name: &str, what: &str| class.join(name).join(what).exists();
    let kind = |name: &String| {
        if has(name, "bridge") || (open_vswitch && !has(name, "device") && !has(name, "tun_flags")) {
            Some(name.clone())
        } else if has(name, "device") {
            Some(format!("device:{name}"))
        } else {
            None
        }
    };
    names.iter().filter_map(kind).collect()
}

/// The vms that run here, for the roster.
pub(super) fn running(session: &Session) -> Result<Vec<VmId>, Failure> {
    let domains = session.connection().list_all_domains(sys::VIR_CONNECT_LIST_DOMAINS_ACTIVE)?;
    domains.iter().map(|domain| Ok(VmId(domain.get_uuid()?))).collect()
}

/// The handle of a vm that runs here.
pub(super) fn running_domain(session: &Session, vm: VmId) -> Result<Arc<Domain>, Failure> {
    let domain = session.domain(vm)?;
    if domain.is_active().map_err(|error| of_vm(vm, error))? { Ok(domain) } else { Err(Failure::NoSuchVm(vm)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_paused_for_a_migration_arrives_only_where_its_job_is_not_told() {
        let reason = i32::try_from(sys::VIR_DOMAIN_PAUSED_MIGRATION).unwrap();
        let state = |job| arriving(VmState::Paused, reason, job);
        assert_eq!(state(Some(JobKind::Untold)), VmState::Incoming);
        assert_eq!(state(Some(JobKind::Leaving)), VmState::Paused);
        assert_eq!(state(None), VmState::Paused, "a source keeps it that could not let it go on");
    }
}
