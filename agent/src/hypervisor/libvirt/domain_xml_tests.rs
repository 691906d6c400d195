//! Definitions as people write them, and what is read from them.

use ballast_core::{
    convergence::{Compression, Convergence},
    id::HostId,
};

use super::*;

const UUID: &str = "11111111-2222-4333-8444-555555555555";

fn definition(kind: &str, inside: &str, devices: &str) -> Definition {
    let xml = format!(
        "<domain type='{kind}'><name>web1</name><uuid>{UUID}</uuid><memory unit='KiB'>131072</memory>\
         <vcpu>2</vcpu>{inside}<devices>{devices}</devices></domain>"
    );
    let mounts = "36 24 0:32 / /shared rw - nfs nas:/vms rw\n24 1 8:1 / / rw - ext4 /dev/sda1 rw\n";
    parse(&xml, "EPYC 1234abcd", &Storages::new(mounts, &[], vec!["rbd".into()])).unwrap()
}

fn obstacles(devices: &str) -> Vec<Obstacle> {
    definition("kvm", "", devices).record.obstacles
}

#[test]
fn reads_what_a_vm_is() {
    let record = definition("qemu", "", "").record;
    assert_eq!(record.vm.to_string(), UUID);
    assert_eq!((record.name.as_str(), record.vcpus), ("web1", 2));
    assert_eq!(record.memory_max, Bytes::from_mib(128));
    assert_eq!(record.cpu, CpuNeed::Any);
    assert_eq!(record.obstacles, []);
}

#[test]
fn memory_that_can_be_plugged_in_counts_from_the_start() {
    let record = definition("kvm", "<maxMemory slots='4' unit='GiB'>4</maxMemory>", "").record;
    assert_eq!(record.memory_max, Bytes::from_gib(4));
}

#[test]
fn cpu_needs_follow_the_mode() {
    let need = |cpu: &str| definition("kvm", cpu, "").record.cpu;
    assert_eq!(need("<cpu mode='host-passthrough'/>"), CpuNeed::SameAs("EPYC 1234abcd".into()));
    assert_eq!(need("<cpu mode='custom'><model>Nehalem</model></cpu>"), CpuNeed::Model("Nehalem".into()));
    assert_eq!(need("<cpu mode='host-model'/>"), CpuNeed::SameAs("EPYC 1234abcd".into()));
    assert_eq!(need(""), CpuNeed::Any);
    assert_eq!(definition("qemu", "<cpu mode='host-passthrough'/>", "").record.cpu, CpuNeed::Any);
}

#[test]
fn labels_are_read_from_our_namespace_only() {
    let metadata = "<metadata><b:vm xmlns:b='https://ballast.dev/vm/1'><b:pin host='kvm1'/><b:pin host='kvm2'/>\
        <b:anti-affinity group='web'/><b:affinity group='shop'/><b:spread group='db'/><b:users group='europe'/><b:immovable/></b:vm>\
        <x:vm xmlns:x='urn:else'><x:pin host='kvm9'/></x:vm></metadata>";
    let labels = definition("kvm", metadata, "").record.labels;
    assert_eq!(labels.pinned_to.iter().map(HostId::as_str).collect::<Vec<_>>(), ["kvm1", "kvm2"]);
    assert_eq!(labels.anti_affinity, ["web".to_owned()].into());
    assert_eq!(labels.affinity, ["shop".to_owned()].into());
    assert_eq!(labels.spread, ["db".to_owned()].into());
    assert_eq!(labels.users.as_deref(), Some("europe"));
    assert!(labels.immovable);
}

#[test]
fn a_label_that_cannot_be_understood_keeps_its_vm_where_it_is_and_says_so() {
    let metadata =
        "<metadata><b:vm xmlns:b='https://ballast.dev/vm/1'><b:pin host='no host!'/><b:spread/></b:vm></metadata>";
    let record = definition("kvm", metadata, "").record;
    let said: Vec<String> = record.obstacles.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "has the label pin of which host is \"no host!\", where a host's name is needed",
            "has the label spread of which group is missing, where a group's name is needed",
        ]
    );
    assert_eq!(record.labels, ballast_core::inventory::VmLabels::default());
}

fn migration_label(attributes: &str) -> (Convergence, Vec<String>) {
    let metadata =
        format!("<metadata><b:vm xmlns:b='https://ballast.dev/vm/1'><b:migration {attributes}/></b:vm></metadata>");
    let record = definition("kvm", &metadata, "").record;
    (record.labels.convergence, record.obstacles.iter().map(ToString::to_string).collect())
}

#[test]
fn how_copies_are_to_go_is_read_attribute_by_attribute() {
    let all = "max-downtime-ms='150' bandwidth-mbit='800' timeout-seconds='120' auto-converge='yes' post-copy='no' \
        parallel='4' compression='zstd'";
    let wish = Convergence {
        downtime_max_ms: Some(150),
        bandwidth_mbit: Some(800),
        timeout_seconds: Some(120),
        auto_converge: true,
        parallel: Some(4),
        compression: Compression::Zstd,
    };
    assert_eq!(migration_label(all), (wish, vec![]));
    assert_eq!(migration_label("auto-converge='no' compression='none'"), (Convergence::default(), vec![]));
}

#[test]
fn each_wish_for_copies_that_cannot_be_granted_keeps_the_vm_where_it_is_and_says_why() {
    let refused = [
        ("max-downtime-ms='5'", "max-downtime-ms is 5, where a number from 10 to 60000 is needed"),
        ("timeout-seconds='-1'", "timeout-seconds is \"-1\", where a whole number is needed"),
        ("auto-converge='true'", "auto-converge is \"true\", where yes or no is needed"),
        ("compression='gzip'", "compression is \"gzip\", where none or zstd is needed"),
        ("compression='zstd'", "compression is zstd, where parallel of at least 2 beside it is needed"),
        ("post-copy='yes'", "post-copy is \"yes\", where no (a vm whose post-copy fails is lost) is needed"),
        ("downtime='5'", "downtime is \"5\", where one of the attributes of docs/labels.md is needed"),
    ];
    for (attribute, why) in refused {
        assert_eq!(migration_label(attribute).1, [format!("has the label migration of which {why}")]);
    }
}

#[test]
fn disks_on_shared_storage_name_it_and_local_ones_stand_in_the_way() {
    let record = definition(
        "kvm",
        "",
        "<disk type='file' device='disk'><source file='/shared/a.qcow2'/></disk>\
         <disk type='network' device='disk'><source protocol='rbd' name='p/i'/></disk>\
         <disk type='volume' device='disk'><source pool='rbd' volume='v'/></disk>\
         <disk type='file' device='disk'><source file='/var/b.raw'/></disk>\
         <disk type='volume' device='disk'><source pool='default' volume='w'/></disk>\
         <disk type='file' device='cdrom'><target dev='sda'/><readonly/></disk>",
    )
    .record;
    assert_eq!(record.storages, ["nfs:nas:/vms at /shared".to_owned(), "pool:rbd".to_owned()].into());
    assert_eq!(record.obstacles, [Obstacle::LocalDisk("/var/b.raw".into()), Obstacle::LocalDisk("w".into())]);
}

#[test]
fn networks_are_told_apart_by_their_kind() {
    let record = definition(
        "kvm",
        "",
        "<interface type='bridge'><source bridge='br0'/></interface>\
         <interface type='network'><source network='default'/></interface>\
         <interface type='direct'><source dev='eth1' mode='bridge'/></interface>",
    )
    .record;
    let expected = ["br0", "device:eth1", "network:default"].map(str::to_owned);
    assert_eq!(record.networks, expected.into());
}

#[test]
fn whatever_ties_a_vm_to_its_host_is_an_obstacle() {
    let pci = "<hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x06' slot='0x02' \
               function='0x0'/></source></hostdev>";
    assert_eq!(obstacles(pci), [Obstacle::HostDevice("pci 0x0000:0x06:0x02:0x0".into())]);
    let filesystem = "<filesystem type='mount'><source dir='/srv'/><target dir='srv'/></filesystem>";
    assert_eq!(obstacles(filesystem), [Obstacle::SharedFilesystem("/srv".into())]);
    assert_eq!(obstacles("<interface type='hostdev'/>"), [Obstacle::HostDevice("network interface".into())]);
    assert_eq!(obstacles("<shmem name='x'/>").len(), 1);
    let tsc = "<cpu mode='host-passthrough'><feature policy='require' name='invtsc'/></cpu>";
    assert_eq!(definition("kvm", tsc, "").record.obstacles, [Obstacle::Other("the CPU feature invtsc".into())]);
}

#[test]
fn the_balloons_period_is_known_or_known_to_be_off() {
    let period = |devices: &str| definition("kvm", "", devices).balloon_period;
    assert_eq!(period("<memballoon model='virtio'><stats period='2'/></memballoon>"), Some(2));
    assert_eq!(period("<memballoon model='virtio'/>"), Some(0));
    assert_eq!(period("<memballoon model='none'/>"), None);
    assert_eq!(period(""), None);
}

#[test]
fn what_is_no_definition_is_refused_in_words() {
    assert!(parse("<domain", "", &Storages::default()).unwrap_err().contains("not XML"));
    assert!(parse("<domain/>", "", &Storages::default()).unwrap_err().contains("uuid"));
}
