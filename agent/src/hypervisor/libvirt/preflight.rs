//! What a vm needs of another host, read from its definition, and what this host has of it. Blocking; the driver gives it a
//! thread. `core::preflight` judges.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use ballast_core::{
    convergence::Compression,
    id::VmId,
    preflight::{Passport, Premises},
    units::Bytes,
};
use roxmltree::{Document, Node};
use tracing::debug;
use virt::connect::Connect;
use virt_sys as sys;

use super::{
    domain_xml::{self, child, memory},
    facts::{self, Surroundings},
    ffi, host_xml,
    session::{Failure, Session, of_vm},
    storage::Storages,
};

/// Where libvirt looks for certificates of migrations, the first that exists (`migrate_tls_x509_cert_dir` of qemu.conf).
const TLS_DIRS: [&str; 2] = ["etc/pki/libvirt-migrate", "etc/pki/qemu"];
/// What the end that sends needs of them, and the end that receives.
const TLS_CLIENT: [&str; 3] = ["ca-cert.pem", "client-cert.pem", "client-key.pem"];
const TLS_SERVER: [&str; 3] = ["ca-cert.pem", "server-cert.pem", "server-key.pem"];
/// Numbers of processors and nodes beyond this are a slip or a lie.
const NUMBER_MAX: u32 = 8191;

/// What a vm that runs here needs.
pub(super) fn passport(session: &Session, vm: VmId, around: &Surroundings) -> Result<Passport, Failure> {
    let connection = session.connection();
    let domain = facts::running_domain(session, vm)?;
    // As the destination would be given it.
    let xml = domain.get_xml_desc(sys::VIR_DOMAIN_XML_MIGRATABLE).map_err(|error| of_vm(vm, error))?;
    let capabilities = connection.get_capabilities().unwrap_or_default();
    let cpu_model = host_xml::cpu_model(&capabilities).unwrap_or_default();
    let passport = read(&xml, &cpu_model, &facts::storages(connection, around)).map_err(Failure::Refused)?;
    Ok(Passport {
        hypervisor: connection.get_hyp_version().ok(),
        libvirt: connection.get_lib_version().ok(),
        tls_lacking: tls_lacking(around, TLS_CLIENT),
        ..passport
    })
}

/// What this host has of what a vm needs.
pub(super) fn premises(session: &Session, vm: &Passport, around: &Surroundings) -> Result<Premises, Failure> {
    let connection = session.connection();
    let capabilities = connection.get_capabilities()?;
    let domain_capabilities = connection.get_domain_capabilities(None, None, None, None, 0).unwrap_or_default();
    let machine = machine(&capabilities, vm);
    let root = &around.root;
    Ok(Premises {
        hypervisor: connection.get_hyp_version().ok(),
        libvirt: connection.get_lib_version().ok(),
        vcpus_max: machine.clone().ok().flatten(),
        machine_lacking: machine.err(),
        cpu_model: host_xml::cpu_model(&capabilities).unwrap_or_default(),
        cpu_models: host_xml::cpu_models(&domain_capabilities).into_iter().collect(),
        cpu_lacking: cpu_lacking(connection, vm),
        memory_free: memory_free(root, vm.hugepage),
        networks: facts::networks(connection, root).into_iter().collect(),
        storages: facts::storages(connection, around).ids().into_iter().collect(),
        cpus: online(root, "cpu"),
        numa_nodes: online(root, "node"),
        tls_lacking: tls_lacking(around, TLS_SERVER),
        ..Premises::default()
    })
}

/// A definition as a passport.
fn read(xml: &str, host_cpu: &str, storages: &Storages) -> Result<Passport, String> {
    let definition = domain_xml::parse(xml, host_cpu, storages)?;
    let document = Document::parse(xml).map_err(|error| format!("a domain's definition is not XML: {error}"))?;
    let domain = document.root_element();
    let record = definition.record;
    let kind = child(domain, "os").and_then(|os| child(os, "type"));
    let attribute = |name| kind.and_then(|kind| kind.attribute(name)).unwrap_or_default().to_owned();
    let emulator = child(domain, "devices").and_then(|devices| child(devices, "emulator")?.text());
    let now = child(domain, "currentMemory").or_else(|| child(domain, "memory"));
    Ok(Passport {
        vm: record.vm,
        obstacles: record.obstacles,
        domain_type: domain.attribute("type").unwrap_or_default().to_owned(),
        arch: attribute("arch"),
        machine: attribute("machine"),
        emulator: emulator.unwrap_or_default().trim().to_owned(),
        cpu: Some(record.cpu),
        cpu_xml: cpu_xml(xml, domain),
        memory: memory(now),
        hugepage: hugepage(domain),
        vcpus: record.vcpus,
        networks: record.networks,
        disks: definition.disks,
        pinned_cpus: pinned_cpus(domain),
        numa_nodes: numa_nodes(domain),
        parallel: record.labels.convergence.is_parallel(),
        zstd: record.labels.convergence.compression == Compression::Zstd,
        ..Passport::default()
    })
}

/// The definition of a CPU that is compared as such. Emulation provides every feature by itself, and libvirt's comparison
/// knows nothing of that; one that is passed through is compared with the host's.
fn cpu_xml(xml: &str, domain: Node<'_, '_>) -> String {
    let passed = |cpu: &Node<'_, '_>| matches!(cpu.attribute("mode"), Some("host-passthrough" | "maximum"));
    let cpu = child(domain, "cpu").filter(|cpu| domain.attribute("type") != Some("qemu") && !passed(cpu));
    cpu.and_then(|cpu| xml.get(cpu.range())).unwrap_or_default().to_owned()
}

/// Size of the pages its memory is made of; zero for the host's own size.
fn hugepage(domain: Node<'_, '_>) -> Option<Bytes> {
    let pages = child(child(domain, "memoryBacking")?, "hugepages")?;
    let Some(page) = child(pages, "page") else { return Some(Bytes::ZERO) };
    let size: u64 = page.attribute("size")?.parse().ok()?;
    let unit: u64 = match page.attribute("unit").unwrap_or("KiB") {
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        _ => 1 << 10,
    };
    Some(Bytes(size.saturating_mul(unit)))
}

fn pinned_cpus(domain: Node<'_, '_>) -> BTreeSet<u32> {
    let tuned = child(domain, "cputune").into_iter().flat_map(|tune| tune.children());
    let pins = tuned.filter(|pin| matches!(pin.tag_name().name(), "vcpupin" | "emulatorpin" | "iothreadpin"));
    pins.chain(child(domain, "vcpu")).filter_map(|pin| pin.attribute("cpuset")).flat_map(numbers).collect()
}

/// What is only preferred holds nobody back.
fn numa_nodes(domain: Node<'_, '_>) -> BTreeSet<u32> {
    let tuned = child(domain, "numatune").into_iter().flat_map(|tune| tune.children());
    let bound = tuned.filter(|node| node.is_element() && node.attribute("mode") != Some("preferred"));
    bound.filter_map(|node| node.attribute("nodeset")).flat_map(numbers).collect()
}

/// Numbers as libvirt and the kernel list them: `0-3,8,^2`. What cannot be read is left out.
fn numbers(list: &str) -> BTreeSet<u32> {
    let mut all = BTreeSet::new();
    for part in list.trim().split(',').map(str::trim) {
        if let Some(not) = part.strip_prefix('^') {
            not.parse().ok().map(|number: u32| all.remove(&number));
            continue;
        }
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) {
            all.extend(first..=last.min(NUMBER_MAX));
        }
    }
    all
}

/// vCPUs that the machine type may have; or why the host cannot provide it.
fn machine(capabilities: &str, vm: &Passport) -> Result<Option<u32>, String> {
    if vm.machine.is_empty() {
        return Ok(None);
    }
    let most = host_xml::machine(capabilities, &vm.arch, &vm.domain_type, &vm.machine)?;
    let emulator = Path::new(&vm.emulator);
    // It is only looked at: whether it works is for libvirt to find out, who starts it.
    match fs::metadata(emulator) {
        Err(error) if error.kind() == ErrorKind::NotFound && emulator.is_absolute() => {
            Err(format!("its emulator {} is not there", vm.emulator))
        }
        _ => Ok(most),
    }
}

fn cpu_lacking(connection: &Connect, vm: &Passport) -> Option<String> {
    if vm.cpu_xml.is_empty() {
        return None;
    }
    let text = |text: &str| ffi::c_string(text);
    match ffi::compare_cpu(connection, &text(&vm.arch), &text(&vm.domain_type), &text(&vm.cpu_xml)) {
        Ok(lacking) => lacking,
        Err(error) => {
            debug!(vm = %vm.vm, %error, "Its CPU cannot be compared here");
            None
        }
    }
}

/// Memory that is free, in pages of that size where one is demanded (zero: of the host's own size).
fn memory_free(root: &Path, hugepage: Option<Bytes>) -> Option<Bytes> {
    let meminfo = || fs::read_to_string(root.join("proc/meminfo")).ok();
    let kib = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.trim().parse().ok().map(Bytes::from_kib)
    };
    let Some(size) = hugepage else { return kib(&meminfo()?, "MemAvailable") };
    let size = if size == Bytes::ZERO { kib(&meminfo()?, "Hugepagesize")? } else { size };
    let folder = format!("sys/kernel/mm/hugepages/hugepages-{}kB/free_hugepages", size.get() >> 10);
    let free: u64 = match fs::read_to_string(root.join(folder)) {
        Ok(text) => text.trim().parse().ok()?,
        // Pages of a size that the host has none of.
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(_) => return None,
    };
    Some(Bytes(free.saturating_mul(size.get())))
}

/// Numbers of the processors or NUMA nodes that are online. A host without a list of nodes has one.
fn online(root: &Path, what: &str) -> Option<BTreeSet<u32>> {
    match fs::read_to_string(root.join(format!("sys/devices/system/{what}/online"))) {
        Ok(list) => Some(numbers(&list)),
        Err(error) if error.kind() == ErrorKind::NotFound && what == "node" => Some([0].into()),
        Err(_) => None,
    }
}

/// What an end of an encrypted copy lacks. What may not be looked at is taken to be there: libvirt may, and says so if not.
fn tls_lacking(around: &Surroundings, files: [&str; 3]) -> Option<String> {
    let defaults = || TLS_DIRS.map(|folder| around.root.join(folder)).into_iter().find(|folder| folder.exists());
    let Some(folder) = around.migration_tls_dir.clone().or_else(defaults) else {
        return Some(format!("neither /{} nor /{} exists", TLS_DIRS[0], TLS_DIRS[1]));
    };
    let absent = |path: &PathBuf| fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    let missing = files.map(|file| folder.join(file)).into_iter().find(absent)?;
    Some(format!("{} is not there", missing.display()))
}

#[cfg(test)]
mod tests {
    use ballast_core::preflight::Disk;

    use super::*;

    const VM: &str = "<domain type='kvm'><name>a</name><uuid>00000000-0000-4000-8000-00000000000a</uuid>\
        <memory unit='KiB'>4194304</memory><currentMemory unit='KiB'>2097152</currentMemory>\
        <memoryBacking><hugepages><page size='2' unit='M'/></hugepages></memoryBacking>\
        <vcpu cpuset='4-7,^6'>4</vcpu><cputune><vcpupin vcpu='0' cpuset='9'/><shares>8</shares></cputune>\
        <numatune><memory mode='strict' nodeset='1'/><memnode cellid='0' mode='preferred' nodeset='3'/></numatune>\
        <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>\
        <cpu mode='custom'><model>Skylake</model><feature policy='require' name='pdpe1gb'/></cpu>\
        <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>\
        <disk type='block' device='disk'><source dev='/dev/san/a'/></disk>\
        <disk type='network' device='disk'><source protocol='nbd' name='a'/></disk></devices></domain>";

    fn passport_of(xml: &str) -> Passport {
        read(xml, "host", &Storages::new("", &[PathBuf::from("/dev/san")], Vec::new())).unwrap()
    }

    #[test]
    fn a_definition_says_what_the_next_host_must_have() {
        let passport = passport_of(VM);
        assert_eq!((passport.arch.as_str(), passport.machine.as_str()), ("x86_64", "pc-q35-7.2"));
        assert_eq!(passport.memory, Bytes::from_gib(2));
        assert_eq!(passport.hugepage, Some(Bytes::from_mib(2)));
        assert_eq!(passport.vcpus, 4);
        assert_eq!(passport.pinned_cpus, [4, 5, 7, 9].into());
        assert_eq!(passport.numa_nodes, [1].into());
        assert_eq!(passport.disks, [Disk { path: "/dev/san/a".into(), storage: Some("path:/dev/san".into()) }]);
        assert!(passport.cpu_xml.starts_with("<cpu mode='custom'>") && passport.cpu_xml.ends_with("</cpu>"));
    }

    #[test]
    fn an_emulated_cpu_is_not_compared_and_neither_is_one_that_is_passed_through() {
        assert_eq!(passport_of(&VM.replace("type='kvm'", "type='qemu'")).cpu_xml, "");
        assert_eq!(passport_of(&VM.replace("mode='custom'", "mode='host-passthrough'")).cpu_xml, "");
    }

    #[test]
    fn lists_of_numbers_read_as_libvirt_and_the_kernel_write_them() {
        assert_eq!(numbers("0-3,8,^2\n"), [0, 1, 3, 8].into());
        assert!(numbers("").is_empty() && numbers("all").is_empty());
        assert_eq!(numbers("8190-4294967295").len(), 2, "a slip does not fill the memory");
    }

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn free_memory_is_counted_in_the_pages_that_are_demanded() {
        let meminfo = "MemTotal:       8000000 kB\nMemAvailable:    1048576 kB\nHugepagesize:       2048 kB\n";
        let pages = "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
        let root = root(&[("proc/meminfo", meminfo), (pages, "3\n")]);
        let free = |hugepage| memory_free(root.path(), hugepage);
        assert_eq!(free(None), Some(Bytes::from_gib(1)));
        assert_eq!(free(Some(Bytes::from_mib(2))), Some(Bytes::from_mib(6)));
        assert_eq!(free(Some(Bytes::ZERO)), Some(Bytes::from_mib(6)), "the host's own size");
        assert_eq!(free(Some(Bytes::from_gib(1))), Some(Bytes::ZERO), "none of that size");
    }

    #[test]
    fn each_end_of_an_encrypted_copy_needs_certificates_of_its_own() {
        let empty = root(&[("proc/x", "")]);
        let around = |root: &tempfile::TempDir| Surroundings {
            root: root.path().to_path_buf(),
            shared_paths: Vec::new(),
            migration_tls_dir: None,
            balloon_period: std::time::Duration::ZERO,
        };
        assert!(tls_lacking(&around(&empty), TLS_SERVER).unwrap().starts_with("neither /etc/pki/libvirt-migrate"));
        let served = TLS_SERVER.map(|file| (format!("etc/pki/qemu/{file}"), ""));
        let served = root(&served.iter().map(|(path, text)| (path.as_str(), *text)).collect::<Vec<_>>());
        assert_eq!(tls_lacking(&around(&served), TLS_SERVER), None);
        assert!(
            tls_lacking(&around(&served), TLS_CLIENT).unwrap().ends_with("etc/pki/qemu/client-cert.pem is not there")
        );
        let elsewhere = Surroundings { migration_tls_dir: Some(served.path().join("other")), ..around(&served) };
        assert!(tls_lacking(&elsewhere, TLS_SERVER).is_some(), "where the operator says they are");
    }
}
