//! libvirt's descriptions as bytes of anybody: for fuzzing alone, from within (`tests`) and from without (`tests/fuzz`).

use super::{domain_xml, host_xml, storage::Storages};

/// Reads bytes as each description that libvirt gives. Whatever they are, it must come back; what is read is thrown away.
pub fn read_descriptions(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let storages = Storages::new(text, &[], vec!["rbd".to_owned()]);
    drop(domain_xml::parse(text, "EPYC", &storages));
    drop(host_xml::cpu_model(text));
    drop(host_xml::cpu_models(text));
    drop(host_xml::machine(text, "x86_64", "kvm", "pc"));
    drop(host_xml::pool_kind(text));
}

#[cfg(test)]
mod tests {
    use mutatis::Session;

    use super::read_descriptions;

    /// Bounded, so that it is part of every run of the tests, and the same in each.
    const MUTATIONS: usize = 3_000;

    const DESCRIPTIONS: [&str; 4] = [
        "<domain type='kvm'><name>web1</name><uuid>11111111-2222-4333-8444-555555555555</uuid>\
         <memory unit='KiB'>131072</memory><maxMemory slots='4' unit='GiB'>4</maxMemory><vcpu>2</vcpu>\
         <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><cpu mode='custom'><model>Nehalem</model>\
         <feature policy='require' name='avx'/></cpu><metadata><b:labels xmlns:b='https://ballast/labels/1'>\
         <b:label name='affinity' value='db'/></b:labels></metadata><devices>\
         <disk type='file' device='disk'><source file='/shared/web1.qcow2'/><target dev='vda'/></disk>\
         <interface type='bridge'><source bridge='br0'/></interface><hostdev mode='subsystem' type='pci'/>\
         </devices></domain>",
        "<capabilities><host><cpu><arch>x86_64</arch><model>EPYC-Rome</model></cpu></host><guest><os_type>hvm</os_type>\
         <arch name='x86_64'><domain type='kvm'/><machine maxCpus='255'>pc-i440fx-7.2</machine></arch></guest></capabilities>",
        "<domainCapabilities><cpu><mode name='custom' supported='yes'><model usable='yes'>Nehalem</model></mode></cpu>\
         </domainCapabilities>",
        "36 24 0:32 / /shared rw - nfs nas:/vms rw\n24 1 8:1 / / rw - ext4 /dev/sda1 rw\n",
    ];

    #[test]
    fn what_libvirt_describes_is_understood_or_refused_whatever_it_is() {
        let mut session = Session::new().seed(1);
        for number in 0..MUTATIONS {
            let mut bytes = DESCRIPTIONS[number % DESCRIPTIONS.len()].as_bytes().to_vec();
            for _ in 0..(number / DESCRIPTIONS.len()) % 6 {
                session.mutate(&mut bytes).unwrap();
            }
            read_descriptions(&bytes);
        }
    }

    #[test]
    fn descriptions_nested_without_end_do_not_take_the_stack() {
        let deep = 100_000;
        let nested = format!("{}{}", "<domain>".repeat(deep), "</domain>".repeat(deep));
        read_descriptions(nested.as_bytes());
    }
}
