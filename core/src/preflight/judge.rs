//! Whether a host can take a vm, from what both have told. Pure; one small function per check, all of them asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    inventory::CpuNeed,
    units::{Bytes, Timestamp},
};

use super::{Check, Passport, Refusal};

/// Memory that QEMU itself needs, as a share of the vm's (device buffers, page tables and dirty bitmaps are below 5 %).
const MEMORY_OVERHEAD: f64 = 1.05;

/// What became of the source's file at the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NonceSeen {
    /// The same content at the same path: the same storage.
    Same,
    /// There is none, or one with another content: another storage.
    Different(String),
    /// It may not be read, which proves nothing.
    Unreadable,
}

/// What a destination has, as it knows it now. What is `None` could not be found out and is not held against the vm.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Premises {
    /// The destination's clock.
    pub now: Timestamp,
    /// By how much it may differ from the source's: what the vm sees of the time jumps by that.
    pub clock_difference_max: Option<Duration>,
    /// Version of its hypervisor, as libvirt packs it.
    pub hypervisor: Option<u32>,
    /// Version of its libvirt.
    pub libvirt: Option<u32>,
    /// Why it cannot provide the machine type, where it cannot.
    pub machine_lacking: Option<String>,
    /// Virtual CPUs that the machine type may have here.
    pub vcpus_max: Option<u32>,
    /// Its CPU model.
    pub cpu_model: String,
    /// CPU models it can provide.
    pub cpu_models: BTreeSet<String>,
    /// What its hypervisor has against the vm's CPU, where it was compared and something is.
    pub cpu_lacking: Option<String>,
    /// Memory that is free, of the size of pages that the vm needs.
    pub memory_free: Option<Bytes>,
    /// Networks and bridges present.
    pub networks: BTreeSet<String>,
    /// Shared storages reachable.
    pub storages: BTreeSet<String>,
    /// Processors online.
    pub cpus: Option<BTreeSet<u32>>,
    /// NUMA nodes online.
    pub numa_nodes: Option<BTreeSet<u32>>,
    /// What it lacks for an encrypted copy, where it lacks something.
    pub tls_lacking: Option<String>,
}

/// Everything that stands against leaving, by the source's own knowledge.
pub fn leave(passport: &Passport) -> Vec<Refusal> {
    let obstacles = passport
        .obstacles
        .iter()
        .map(|obstacle| Refusal::new(Check::Obstacle, format!("it {obstacle}"), "nothing that only its host has"));
    let stream = unstreamed(passport, passport.hypervisor, passport.libvirt);
    obstacles.chain(unencrypted(passport, passport.tls_lacking.as_ref())).chain(stream).collect()
}

/// What a kind of stream needs of both ends: its name, and the first libvirt and QEMU that have it, packed as libvirt does.
type Stream = (&'static str, u32, u32);
/// `VIR_MIGRATE_PARALLEL`, and multifd that is no experiment any more.
const PARALLEL: Stream = ("copy over parallel connections", 5_002_000, 4_000_000);
/// `VIR_MIGRATE_PARAM_COMPRESSION` over parallel connections, and multifd's own compression.
const ZSTD: Stream = ("compress a copy by zstd", 9_004_000, 5_000_000);

/// What stands against the stream that the vm's operator wishes for, at an end with these versions.
fn unstreamed(vm: &Passport, hypervisor: Option<u32>, libvirt: Option<u32>) -> Vec<Refusal> {
    let wished = [(vm.parallel, PARALLEL), (vm.zstd, ZSTD)].into_iter().filter(|(wished, _)| *wished);
    let each = wished.flat_map(|(_, (what, of_libvirt, of_hypervisor))| {
        [("libvirt", libvirt, of_libvirt, what), ("hypervisor", hypervisor, of_hypervisor, what)]
    });
    let lacking = each.filter_map(|(program, own, first, what)| {
        let own = own.filter(|own| *own < first)?;
        let value = format!("{program} {} cannot {what}", version(own));
        Some(Refusal::new(Check::Version, value, format!("{} or newer", version(first))))
    });
    lacking.collect()
}

/// What stands against an encrypted copy, where the vm's is to be one and an end lacks something for it.
fn unencrypted(vm: &Passport, lacking: Option<&String>) -> Option<Refusal> {
    let needed = "a readable set of certificates for encrypted copies";
    lacking.filter(|_| vm.tls).map(|lacking| Refusal::new(Check::Tls, lacking, needed))
}

type Rule = fn(&Case<'_>, &mut Vec<Refusal>);

const RULES: [Rule; 11] = [cpu, machine, memory, vcpus, networks, storages, pinning, numa, tls, versions, clocks];

struct Case<'a> {
    vm: &'a Passport,
    here: &'a Premises,
    /// By folder.
    nonces: &'a BTreeMap<String, NonceSeen>,
    /// How old the passport is: it was under way for so long.
    age: Duration,
}

/// Everything that stands against the vm's arrival; `nonces` is what became of the source's files, by folder, and `age`
/// how long ago the passport was made, by the scheduler's clock.
pub fn judge(vm: &Passport, here: &Premises, nonces: &BTreeMap<String, NonceSeen>, age: Duration) -> Vec<Refusal> {
    let case = Case { vm, here, nonces, age };
    let mut refusals = Vec::new();
    RULES.iter().for_each(|rule| rule(&case, &mut refusals));
    refusals
}

fn cpu(case: &Case<'_>, refusals: &mut Vec<Refusal>) {
    let here = case.here;
    match &case.vm.cpu {
        Some(CpuNeed::Model(model)) if !here.cpu_models.contains(model) && case.vm.cpu_xml.is_empty() => {
            refusals.push(Refusal::new(Check::Cpu, "its model cannot be provided", model));
        }
        Some(CpuNeed::SameAs(model)) if here.cpu_model != *model => {
            refusals.push(Refusal::new(Check::Cpu, format!("the host's is {}", here.cpu_model), model));
        }
        _ => {}
    }
    if let Some(lacking) = &here.cpu_lacking {
        refusals.push(Refusal::new(Check::Cpu, lacking, "all that it was started with"));
    }
}

fn machine(case: &Case<'_>, refusals: &mut Vec<Refusal>) {
    if let Some(lacking) = &case.here.machine_lacking {
        refusals.push(Refusal::new(Check::Machine, lacking, &case.vm.machine));
    }
}

fn memory(case: &Case<'_>, refusals: &mut Vec<Refusal>) {
    let needed = match case.vm.hugepage {
        Some(_) => case.vm.memory,
        None => case.vm.memory.scale(MEMORY_OVERHEAD),
    };
    let pages = case.vm.hugepage.map_or_else(String::new, |size| format!(" in pages of {size}"));
    if let Some(free) = case.here.memory_free.filter(|free| *free < needed) {
        refusals.push(Refusal::new(Check::Memory, format!("{free} are free{pages}"), needed.to_string()));
    }
}

fn vcpus(case: &Case<'_>, refusals: &mut Vec<Refusal>) {
    if let Some(most) = case.here.vcpus_max.filter(|most| *most < case.vm.vcpus) {
        let needed = case.vm.vcpus.to_string();
        refusals.push(Refusal::new(Check::Vcpus, format!("{most} at most"), needed));
    }
}

fn networks(case: &Case<'_>, refusals: &mut Vec<Refusal>) {
    let missing = case.vm.networks.difference(&case.here.networks);
    refusals.extend(missing.map(|network| Refusal::new(Check::Network, "it is not there", network)));
}

/// A disk is reached where the source's file beside it can be read; where none could be written or read, by the kind of
/// storage.
fn storages(case: &Case<'_>, refusals: &mut Vec<Refusal>) {
    for disk in &case.vm.disks {
        let folder = disk.path.rsplit_once('/').map(|(folder, _)| folder).unwrap_or_default();
        match (case.nonces.get(folder), &disk.storage) {
            (Some(NonceSeen::Same), _) => {}
            (Some(NonceSeen::Different(what)), _) => {
                let needed = format!("what the source has in {folder}");
                refusals.push(Refusal::new(Check::Storage, what, needed));
            }
            (Some(NonceSeen::Unreadable) | None, Some(storage)) if case.here.storages.contains(storage) => {}
            (Some(NonceSeen::Unreadable) | None, Some(storage)) => {
                refusals.push(Refusal::new(Check::Storage, "it is not mounted or attached", storage));
            }
            (Some(NonceSeen::Unreadable) | None, None) => {
                refusals.push(Refusal::new(Check::Storage, "it cannot be shown to be shared", &disk.path));
            }
        }
    }
}

fn pinning(case: &Case<'_>, refusals: &mut Vec<Refusal>) {
    absent(Check::Pinning, "processors", &case.vm.pinned_cpus, case.here.cpus.as_ref(), refusals);
}

fn numa(case: &Case<'_>, refusals: &mut Vec<Refusal>) {
    absent(Check::Numa, "NUMA nodes", &case.vm.numa_nodes, case.here.numa_nodes.as_ref(), refusals);
}

fn absent(
    check: Check,
    what: &str,
    wanted: &BTreeSet<u32>,
    there: Option<&BTreeSet<u32>>,
    refusals: &mut Vec<Refusal>,
) {
    let Some(there) = there else { return };
    let missing: Vec<String> = wanted.difference(there).map(u32::to_string).collect();
    if !missing.is_empty() {
        let wanted: Vec<String> = wanted.iter().map(u32::to_string).collect();
        let value = format!("{what} {} are not online", missing.join(", "));
        refusals.push(Refusal::new(check, value, format!("each of {}", wanted.join(", "))));
    }
}

fn tls(case: &Case<'_>, refusals: &mut Vec<Refusal>) {
    refusals.extend(unencrypted(case.vm, case.here.tls_lacking.as_ref()));
}

/// What a newer hypervisor wrote an older one may not read.
fn versions(case: &Case<'_>, refusals: &mut Vec<Refusal>) {
    let each =
        [("hypervisor", case.vm.hypervisor, case.here.hypervisor), ("libvirt", case.vm.libvirt, case.here.libvirt)];
    for (what, source, own) in each {
        if let Some((source, own)) = source.zip(own).filter(|(source, own)| own < source) {
            let value = format!("{what} {} is older than the source's", version(own));
            refusals.push(Refusal::new(Check::Version, value, format!("{} or newer", version(source))));
        }
    }
    refusals.extend(unstreamed(case.vm, case.here.hypervisor, case.here.libvirt));
}

/// libvirt's packed version as people write it.
fn version(packed: u32) -> String {
    format!("{}.{}.{}", packed / 1_000_000, packed / 1000 % 1000, packed % 1000)
}

fn clocks(case: &Case<'_>, refusals: &mut Vec<Refusal>) {
    let (theirs, ours) = (case.vm.taken_at.after(case.age), case.here.now);
    let difference = ours.since(theirs).max(theirs.since(ours));
    if let Some(most) = case.here.clock_difference_max.filter(|most| difference > *most) {
        let value = format!("the clocks differ by {:.1} s", difference.as_secs_f64());
        refusals.push(Refusal::new(Check::Clock, value, format!("at most {:.1} s", most.as_secs_f64())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::Disk;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn passport() -> Passport {
        Passport {
            taken_at: NOW,
            hypervisor: Some(7_002_022),
            libvirt: Some(9_000_000),
            machine: "pc-q35-7.2".into(),
            cpu: Some(CpuNeed::Any),
            memory: Bytes::from_gib(2),
            vcpus: 2,
            networks: ["br0".to_owned()].into(),
            disks: vec![Disk { path: "/images/a.qcow2".into(), storage: Some("nfs".into()) }],
            pinned_cpus: [2, 3].into(),
            numa_nodes: [1].into(),
            tls: true,
            ..Passport::default()
        }
    }

    fn premises() -> Premises {
        Premises {
            now: NOW,
            clock_difference_max: Some(Duration::from_secs(5)),
            hypervisor: Some(7_002_022),
            libvirt: Some(9_000_000),
            vcpus_max: Some(8),
            memory_free: Some(Bytes::from_gib(3)),
            networks: ["br0".to_owned()].into(),
            storages: ["nfs".to_owned()].into(),
            cpus: Some((0..4).collect()),
            numa_nodes: Some([0, 1].into()),
            ..Premises::default()
        }
    }

    fn refused(vm: &Passport, here: &Premises) -> Vec<Refusal> {
        judge(vm, here, &BTreeMap::new(), Duration::ZERO)
    }

    #[test]
    fn a_host_that_has_everything_is_not_refused() {
        assert_eq!(refused(&passport(), &premises()), []);
    }

    #[test]
    fn each_thing_that_is_lacking_is_named_with_what_was_found_and_what_is_needed() {
        type Spoil = fn(&mut Passport, &mut Premises);
        let spoilt: [(Check, Spoil, &str); 12] = [
            (
                Check::Cpu,
                |vm, _| vm.cpu = Some(CpuNeed::Model("EPYC".into())),
                "cpu: its model cannot be provided, but EPYC is needed",
            ),
            (
                Check::Cpu,
                |_, here| here.cpu_lacking = Some("it lacks avx512f".into()),
                "cpu: it lacks avx512f, but all that it was started with is needed",
            ),
            (
                Check::Machine,
                |_, here| here.machine_lacking = Some("it is not known".into()),
                "machine: it is not known, but pc-q35-7.2 is needed",
            ),
            (
                Check::Memory,
                |_, here| here.memory_free = Some(Bytes::from_gib(2)),
                "memory: 2.0 GiB are free, but 2.1 GiB is needed",
            ),
            (Check::Vcpus, |_, here| here.vcpus_max = Some(1), "vcpus: 1 at most, but 2 is needed"),
            (Check::Network, |_, here| here.networks.clear(), "network: it is not there, but br0 is needed"),
            (
                Check::Storage,
                |_, here| here.storages.clear(),
                "storage: it is not mounted or attached, but nfs is needed",
            ),
            (
                Check::Pinning,
                |_, here| here.cpus = Some((0..3).collect()),
                "pinning: processors 3 are not online, but each of 2, 3 is needed",
            ),
            (
                Check::Numa,
                |_, here| here.numa_nodes = Some([0].into()),
                "numa: NUMA nodes 1 are not online, but each of 1 is needed",
            ),
            (
                Check::Tls,
                |_, here| here.tls_lacking = Some("no ca-cert.pem".into()),
                "tls: no ca-cert.pem, but a readable set of certificates for encrypted copies is needed",
            ),
            (
                Check::Version,
                |_, here| here.hypervisor = Some(7_001_000),
                "version: hypervisor 7.1.0 is older than the source's, but 7.2.22 or newer is needed",
            ),
            (
                Check::Clock,
                |_, here| here.now = NOW.after(Duration::from_secs(9)),
                "clock: the clocks differ by 9.0 s, but at most 5.0 s is needed",
            ),
        ];
        for (check, spoil, words) in spoilt {
            let (mut vm, mut here) = (passport(), premises());
            spoil(&mut vm, &mut here);
            let refusals = refused(&vm, &here);
            let found: Vec<_> = refusals.iter().map(|refusal| (refusal.check, refusal.to_string())).collect();
            assert_eq!(found, [(check, words.to_owned())]);
        }
    }

    #[test]
    fn a_stream_that_either_end_cannot_make_is_refused_with_the_versions() {
        let vm = Passport { parallel: true, zstd: true, ..passport() };
        let said = |refusals: Vec<Refusal>| refusals.iter().map(ToString::to_string).collect::<Vec<_>>();
        let words = "version: libvirt 9.0.0 cannot compress a copy by zstd, but 9.4.0 or newer is needed";
        assert_eq!(said(leave(&vm)), [words]);
        assert_eq!(said(refused(&vm, &premises())), [words]);
        let newer = Passport { libvirt: Some(9_004_000), ..vm };
        assert_eq!(leave(&newer), []);
        let here = Premises { libvirt: Some(10_000_000), ..premises() };
        assert_eq!(refused(&newer, &here), []);
        let unknown = Premises { libvirt: None, hypervisor: None, ..premises() };
        assert_eq!(refused(&newer, &unknown), [], "what is not told is not held against it");
    }

    #[test]
    fn what_could_not_be_found_out_is_not_held_against_the_vm() {
        let here = Premises {
            now: NOW,
            networks: ["br0".to_owned()].into(),
            storages: ["nfs".to_owned()].into(),
            ..Premises::default()
        };
        assert_eq!(refused(&passport(), &here), []);
    }

    #[test]
    fn a_file_that_both_see_proves_the_storage_and_one_that_is_not_there_disproves_it() {
        let with = |seen, storages: &[&str]| {
            let here =
                Premises { storages: storages.iter().map(|storage| (*storage).to_owned()).collect(), ..premises() };
            judge(&passport(), &here, &[("/images".to_owned(), seen)].into(), Duration::ZERO)
        };
        assert_eq!(with(NonceSeen::Same, &[]), [], "proven, under whatever name");
        let absent = with(NonceSeen::Different("its file is not there".into()), &["nfs"]);
        assert_eq!(absent.len(), 1, "disproven, whatever the name says: {absent:?}");
        assert_eq!(with(NonceSeen::Unreadable, &["nfs"]), [], "by kind");
        assert_eq!(with(NonceSeen::Unreadable, &[]).len(), 1);
    }

    #[test]
    fn the_time_that_a_passport_was_under_way_is_no_difference_of_clocks() {
        let here = Premises { now: NOW.after(Duration::from_secs(8)), ..premises() };
        assert_eq!(judge(&passport(), &here, &BTreeMap::new(), Duration::from_secs(8)), []);
        assert_eq!(refused(&passport(), &here).len(), 1);
    }

    #[test]
    fn certificates_matter_only_to_an_encrypted_copy() {
        let lacking = Passport { tls_lacking: Some("no ca-cert.pem".to_owned()), ..passport() };
        assert_eq!(leave(&lacking).len(), 1);
        assert_eq!(leave(&Passport { tls: false, ..lacking }), []);
    }
}
