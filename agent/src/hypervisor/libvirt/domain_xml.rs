//! A domain's XML definition as a vm record: what it needs of a host, and what keeps it from moving.
//!
//! Pure: text in, record out. Follows <https://libvirt.org/formatdomain.html>; what libvirt itself refuses to migrate
//! is named as an obstacle here, so that nobody plans it.

use std::collections::BTreeSet;

use ballast_core::{
    id::VmId,
    inventory::{CpuNeed, Obstacle, VmRecord},
    preflight::Disk,
    sample::VmState,
    units::Bytes,
};
use roxmltree::{Document, Node};

use super::{labels, storage::Storages};

/// What a definition says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Definition {
    /// The record; state and `busy` are not in the definition and left at their defaults.
    pub(super) record: VmRecord,
    /// Period of the balloon's statistics in seconds: `Some(0)` where they are off, `None` where there is no balloon.
    pub(super) balloon_period: Option<u32>,
    /// Its disks, those that are reached over the network left out.
    pub(super) disks: Vec<Disk>,
}

/// Reads a definition. `host_cpu` is the host's CPU model, for vms that have the host's CPU passed through.
///
/// # Errors
/// A sentence where the text is not a domain's definition.
pub(super) fn parse(xml: &str, host_cpu: &str, storages: &Storages) -> Result<Definition, String> {
    let document = Document::parse(xml).map_err(|error| format!("a domain's definition is not XML: {error}"))?;
    let domain = document.root_element();
    let text = |name| child(domain, name).and_then(|node| node.text()).map(str::trim).unwrap_or_default();
    let vm: VmId = text("uuid").parse().map_err(|error| format!("a domain's definition: {error}"))?;
    let mut needs = Needs::default();
    if let Some(devices) = child(domain, "devices") {
        devices.children().filter(Node::is_element).for_each(|device| needs.take(device, storages));
    }
    needs.take_features(domain);
    let metadata = child(domain, "metadata");
    let labels = metadata.map(|metadata| labels::read(metadata, &mut needs.obstacles)).unwrap_or_default();
    let record = VmRecord {
        vm,
        name: text("name").to_owned(),
        state: VmState::Unknown,
        vcpus: text("vcpu").parse().unwrap_or(1),
        memory_max: memory(child(domain, "maxMemory").or_else(|| child(domain, "memory"))),
        cpu: cpu_need(domain, host_cpu),
        networks: needs.networks,
        storages: needs.storages,
        labels,
        obstacles: needs.obstacles,
        busy: false,
    };
    Ok(Definition { record, balloon_period: balloon_period(domain), disks: needs.disks })
}

/// The child of that name.
pub(super) fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.has_tag_name(name))
}

/// An amount of memory with its unit.
pub(super) fn memory(node: Option<Node<'_, '_>>) -> Bytes {
    let Some(node) = node else { return Bytes::ZERO };
    let amount: u64 = node.text().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let unit = match node.attribute("unit").unwrap_or("KiB") {
        "b" | "bytes" => 1,
        "KB" => 1000,
        "MB" => 1_000_000,
        "M" | "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "G" | "GiB" => 1 << 30,
        "TB" => 1_000_000_000_000,
        "T" | "TiB" => 1 << 40,
        // "k", "KiB", and what libvirt prints when it prints none.
        _ => 1 << 10,
    };
    Bytes(amount.saturating_mul(unit))
}

/// An emulated vm runs anywhere. libvirt expands `host-model` to a named model in the definition of a running domain;
/// one that is still unexpanded is bound to the host's model.
fn cpu_need(domain: Node<'_, '_>, host_cpu: &str) -> CpuNeed {
    if domain.attribute("type") == Some("qemu") {
        return CpuNeed::Any;
    }
    let Some(cpu) = child(domain, "cpu") else { return CpuNeed::Any };
    match (cpu.attribute("mode"), child(cpu, "model").and_then(|model| model.text())) {
        (Some("host-passthrough" | "maximum"), _) | (Some("host-model"), None) => CpuNeed::SameAs(host_cpu.into()),
        (_, Some(model)) => CpuNeed::Model(model.trim().into()),
        (_, None) => CpuNeed::Any,
    }
}

fn balloon_period(domain: Node<'_, '_>) -> Option<u32> {
    let balloon = child(child(domain, "devices")?, "memballoon")?;
    if balloon.attribute("model") == Some("none") {
        return None;
    }
    let period = child(balloon, "stats").and_then(|stats| stats.attribute("period"));
    Some(period.and_then(|period| period.parse().ok()).unwrap_or(0))
}

/// What the devices demand of a host.
#[derive(Debug, Default)]
struct Needs {
    networks: BTreeSet<String>,
    storages: BTreeSet<String>,
    disks: Vec<Disk>,
    obstacles: Vec<Obstacle>,
}

impl Needs {
    fn take(&mut self, device: Node<'_, '_>, storages: &Storages) {
        let kind = device.attribute("type").unwrap_or_default();
        match device.tag_name().name() {
            "disk" => self.take_disk(device, kind, storages),
            "interface" => self.take_interface(device, kind),
            "hostdev" => self.obstacles.push(Obstacle::HostDevice(describe_hostdev(device, kind))),
            "filesystem" => self.obstacles.push(Obstacle::SharedFilesystem(source_text(device))),
            "shmem" => self.other("memory shared with other processes of the host"),
            "memory" if device.attribute("model") == Some("nvdimm") => self.other("an NVDIMM backed by the host"),
            "tpm" if child(device, "backend").and_then(|b| b.attribute("type")) == Some("passthrough") => {
                self.obstacles.push(Obstacle::HostDevice("TPM".into()));
            }
            _ => {}
        }
    }

    fn take_features(&mut self, domain: Node<'_, '_>) {
        if child(domain, "launchSecurity").is_some() {
            self.other("memory encrypted by the host's CPU");
        }
        let invariant_tsc = |feature: Node<'_, '_>| {
            feature.attribute("name") == Some("invtsc") && feature.attribute("policy") == Some("require")
        };
        if child(domain, "cpu").is_some_and(|cpu| cpu.children().any(invariant_tsc)) {
            self.other("the CPU feature invtsc");
        }
    }

    fn other(&mut self, what: &str) {
        self.obstacles.push(Obstacle::Other(what.into()));
    }

    fn take_disk(&mut self, disk: Node<'_, '_>, kind: &str, storages: &Storages) {
        let Some(source) = child(disk, "source") else {
            return; // A drive without a medium.
        };
        if child(disk, "transient").is_some() {
            self.other("a transient disk");
        }
        match kind {
            "network" => {}
            "volume" => self.lies_on(storages.pool(source.attribute("pool").unwrap_or_default()), source_text(disk)),
            "nvme" => self.obstacles.push(Obstacle::HostDevice(format!("NVMe disk {}", source_text(disk)))),
            "file" | "block" => {
                let path = source_text(disk);
                self.lies_on(storages.of_path(&path), path);
            }
            _ => self.lies_on(None, source_text(disk)),
        }
    }

    fn lies_on(&mut self, storage: Option<String>, path: String) {
        match &storage {
            Some(storage) => _ = self.storages.insert(storage.clone()),
            None => self.obstacles.push(Obstacle::LocalDisk(path.clone())),
        }
        self.disks.push(Disk { path, storage });
    }

    fn take_interface(&mut self, interface: Node<'_, '_>, kind: &str) {
        let source = |attribute| child(interface, "source").and_then(|source| source.attribute(attribute));
        match kind {
            "bridge" => self.networks.extend(source("bridge").map(str::to_owned)),
            "network" => self.networks.extend(source("network").map(|name| format!("network:{name}"))),
            "direct" => self.networks.extend(source("dev").map(|name| format!("device:{name}"))),
            "hostdev" => self.obstacles.push(Obstacle::HostDevice("network interface".into())),
            "vdpa" | "vhostuser" => self.other(&format!("a network interface of type {kind}")),
            _ => {}
        }
    }
}

fn describe_hostdev(device: Node<'_, '_>, kind: &str) -> String {
    let address = child(device, "source").and_then(|source| child(source, "address"));
    let address = address.map(|node| node.attributes().map(|a| a.value()).collect::<Vec<_>>().join(":"));
    format!("{kind} {}", address.unwrap_or_default()).trim().to_owned()
}

/// The first attribute of a device's source that names a place.
fn source_text(device: Node<'_, '_>) -> String {
    let Some(source) = child(device, "source") else { return "unnamed".into() };
    let names = ["file", "dev", "dir", "volume", "name", "socket"];
    names.into_iter().find_map(|name| source.attribute(name)).unwrap_or("unnamed").to_owned()
}

#[cfg(test)]
#[path = "domain_xml_tests.rs"]
mod tests;
