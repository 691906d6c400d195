//! What libvirt's capability documents say of the host. Pure: text in, facts out.

use roxmltree::{Document, Node};

fn find<'a, 'input>(node: Node<'a, 'input>, path: &[&str]) -> Option<Node<'a, 'input>> {
    path.iter().try_fold(node, |node, name| node.children().find(|child| child.has_tag_name(*name)))
}

/// The host's CPU from `virConnectGetCapabilities`: model and a mark of vendor and features. A CPU that is passed
/// through needs an equal one, and hosts of one model name may still differ in features.
pub(super) fn cpu_model(capabilities: &str) -> Option<String> {
    let document = Document::parse(capabilities).ok()?;
    let cpu = find(document.root_element(), &["host", "cpu"])?;
    let model = find(cpu, &["model"])?.text()?.trim();
    let mut traits: Vec<&str> = cpu
        .children()
        .filter_map(|node| match node.tag_name().name() {
            "feature" => node.attribute("name"),
            "vendor" => node.text(),
            _ => None,
        })
        .collect();
    traits.sort_unstable();
    Some(format!("{model} {:08x}", fnv1a(&traits.join(","))))
}

/// FNV-1a, 32 bits: a mark to compare by, the same on every host and in every version.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// CPU models the host can provide, from `virConnectGetDomainCapabilities`.
pub(super) fn cpu_models(domain_capabilities: &str) -> Vec<String> {
    let Ok(document) = Document::parse(domain_capabilities) else { return Vec::new() };
    let Some(cpu) = find(document.root_element(), &["cpu"]) else { return Vec::new() };
    let custom = |node: &Node<'_, '_>| node.has_tag_name("mode") && node.attribute("name") == Some("custom");
    let usable = |node: &Node<'_, '_>| node.has_tag_name("model") && node.attribute("usable") == Some("yes");
    let models = cpu.children().filter(custom).flat_map(|mode| mode.children()).filter(usable);
    models.filter_map(|model| model.text()).map(|name| name.trim().to_owned()).collect()
}

/// What the hypervisor knows of a machine type: how many vCPUs it may have, where that is said; or why it cannot provide it.
///
/// # Errors
/// In words, where it cannot.
pub(super) fn machine(capabilities: &str, arch: &str, domain_type: &str, name: &str) -> Result<Option<u32>, String> {
    let Ok(document) = Document::parse(capabilities) else { return Ok(None) };
    let guests = document.root_element().children().filter(|node| node.has_tag_name("guest"));
    let mut arches = guests.flat_map(|guest| guest.children()).filter(|node| node.has_tag_name("arch"));
    let Some(arch) = arches.find(|node| node.attribute("name") == Some(arch)) else {
        return Err(format!("no emulator of {arch} is installed"));
    };
    let domains = || arch.children().filter(|node| node.has_tag_name("domain"));
    if domains().next().is_some() && !domains().any(|node| node.attribute("type") == Some(domain_type)) {
        return Err(format!("it has no {domain_type}"));
    }
    let is_it = |node: &Node<'_, '_>| {
        let named = node.text().map(str::trim) == Some(name) || node.attribute("canonical") == Some(name);
        node.has_tag_name("machine") && named
    };
    let machine = arch.descendants().find(is_it).ok_or_else(|| format!("{domain_type} does not know it here"))?;
    Ok(machine.attribute("maxCpus").and_then(|most| most.parse().ok()))
}

/// The kind of a storage pool, from its definition.
pub(super) fn pool_kind(pool: &str) -> Option<String> {
    Document::parse(pool).ok()?.root_element().attribute("type").map(str::to_owned)
}

/// libvirt's packed version number (million, thousand, one) as people write it.
pub(super) fn version(packed: u32) -> String {
    format!("{}.{}.{}", packed / 1_000_000, packed / 1000 % 1000, packed % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPABILITIES: &str = "<capabilities><host><cpu><arch>x86_64</arch><model>EPYC-Milan</model>\
        <vendor>AMD</vendor><feature name='ht'/><feature name='avx2'/></cpu></host></capabilities>";

    #[test]
    fn hosts_of_one_model_with_other_features_are_told_apart() {
        let model = cpu_model(CAPABILITIES).unwrap();
        assert!(model.starts_with("EPYC-Milan "), "{model}");
        let reordered = CAPABILITIES.replace("'ht'", "'x'").replace("'avx2'", "'ht'").replace("'x'", "'avx2'");
        assert_eq!(cpu_model(&reordered).unwrap(), model);
        assert_ne!(cpu_model(&CAPABILITIES.replace("avx2", "avx512f")).unwrap(), model);
    }

    #[test]
    fn only_models_that_the_host_can_run_are_provided() {
        let document = "<domainCapabilities><cpu><mode name='host-model'><model>no</model></mode>\
            <mode name='custom'><model usable='yes'>qemu64</model><model usable='no'>EPYC</model>\
            <model usable='yes'>Nehalem</model></mode></cpu></domainCapabilities>";
        assert_eq!(cpu_models(document), ["qemu64", "Nehalem"]);
        assert!(cpu_models("not xml").is_empty());
    }

    const GUESTS: &str = "<capabilities><guest><os_type>hvm</os_type><arch name='x86_64'><wordsize>64</wordsize>\
        <emulator>/usr/bin/qemu-system-x86_64</emulator><machine maxCpus='255'>pc-i440fx-7.2</machine>\
        <machine canonical='pc-q35-7.2' maxCpus='288'>q35</machine><domain type='qemu'/></arch></guest></capabilities>";

    #[test]
    fn a_machine_type_is_known_by_its_name_or_by_what_an_alias_stands_for() {
        assert_eq!(machine(GUESTS, "x86_64", "qemu", "pc-i440fx-7.2"), Ok(Some(255)));
        assert_eq!(machine(GUESTS, "x86_64", "qemu", "pc-q35-7.2"), Ok(Some(288)));
        assert_eq!(machine(GUESTS, "x86_64", "qemu", "pc-q35-9.0").unwrap_err(), "qemu does not know it here");
        assert_eq!(machine(GUESTS, "x86_64", "kvm", "pc-q35-7.2").unwrap_err(), "it has no kvm");
        assert_eq!(machine(GUESTS, "aarch64", "qemu", "virt").unwrap_err(), "no emulator of aarch64 is installed");
        assert_eq!(machine("not xml", "x86_64", "qemu", "q35"), Ok(None), "nothing is known");
    }

    #[test]
    fn versions_read_as_people_write_them() {
        assert_eq!(version(7_002_022), "7.2.22");
    }
}
