//! The libvirt driver against libvirt's own test driver, which lives inside the library: connection, facts,
//! whereabouts and refusals. Statistics and migrations need real hosts; `libvirt_lab` has them.

#![cfg(feature = "libvirt")]
#![allow(clippy::unwrap_used)] // Helpers of tests.

use std::{path::PathBuf, time::Duration};

use ballast_agent::hypervisor::{
    Hypervisor, HypervisorError, MigrationEvent, MigrationJob, Whereabouts,
    libvirt::{LibvirtHypervisor, LibvirtOptions},
};
use ballast_core::{
    command::MigrationLimits,
    id::{HostId, VmId},
    sample::VmState,
    units::Bytes,
};
use ballast_daemon::clock::Clock;

/// A host with one vm, of this test's own: `test:///default` is one for the whole process.
fn own_host(folder: &tempfile::TempDir, vm: &str) -> String {
    let node = folder.path().join("node.xml");
    let xml = format!(
        "<node><domain type='test'><name>web1</name><uuid>{vm}</uuid><memory>262144</memory><vcpu>2</vcpu>\
         <os><type>hvm</type></os></domain>\
         <network><name>lan</name><bridge name='virbr7'/><ip address='192.168.7.1' netmask='255.255.255.0'/></network>\
         </node>"
    );
    std::fs::write(&node, xml).unwrap();
    format!("test://{}", node.display())
}

fn driver(uri: &str) -> LibvirtHypervisor {
    let options = LibvirtOptions { uri: uri.into(), root: PathBuf::from("/nowhere"), ..LibvirtOptions::default() };
    LibvirtHypervisor::start(options, Clock::system())
}

#[tokio::test]
async fn facts_list_every_vm_with_its_definition() {
    let folder = tempfile::tempdir().unwrap();
    let vm = "11111111-2222-4333-8444-000000000001";
    let facts = driver(&own_host(&folder, vm)).facts().await.unwrap();
    let [record] = facts.vms.as_slice() else { panic!("{facts:?}") };
    assert_eq!((record.vm.to_string().as_str(), record.name.as_str()), (vm, "web1"));
    assert_eq!((record.vcpus, record.memory_max, record.state), (2, Bytes::from_mib(256), VmState::Running));
    assert_eq!(facts.networks, ["network:lan"]);
    assert!(facts.version.contains("libvirt"), "{}", facts.version);
}

#[tokio::test]
async fn a_vm_is_where_it_runs_and_nowhere_else() {
    let driver = driver("test:///default");
    let here = driver.facts().await.unwrap().vms[0].vm;
    let expected = Whereabouts::Here { state: VmState::Running, migrating: false };
    assert_eq!(driver.locate(here).await, Ok(expected));
    assert_eq!(driver.locate_at("test:///default", here).await, Ok(expected));
    let stranger: VmId = "99999999-2222-4333-8444-000000000001".parse().unwrap();
    assert_eq!(driver.locate(stranger).await, Ok(Whereabouts::NotHere));
    assert_eq!(driver.abort(stranger).await, Err(HypervisorError::NoSuchVm(stranger)));
    assert_eq!(driver.resume_watching(stranger).await.map(|events| events.is_some()), Ok(false));
}

#[tokio::test]
async fn no_libvirtd_is_unreachable_and_not_empty() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("no-such-socket");
    let driver = driver(&format!("qemu+unix:///system?socket={}", socket.display()));
    assert!(matches!(driver.facts().await, Err(HypervisorError::Unreachable(_))));
    let counters = driver.counters(Duration::from_secs(2)).await;
    assert!(matches!(counters, Err(HypervisorError::Unreachable(_))), "{counters:?}");
}

#[tokio::test]
async fn a_refused_migration_returns_as_its_last_event_and_leaves_the_vm_free() {
    let driver = driver("test:///default");
    let vm = driver.facts().await.unwrap().vms[0].vm;
    let job = MigrationJob {
        vm,
        destination: HostId::new("kvm2").unwrap(),
        destination_uri: "test:///default".into(),
        limits: MigrationLimits::for_memory(Bytes::from_mib(256)),
    };
    for _ in 0..2 {
        let mut events = driver.migrate(job.clone()).await.unwrap();
        let mut last = None;
        while let Some(event) = events.recv().await {
            last = Some(event);
        }
        assert!(matches!(last, Some(MigrationEvent::Returned(Err(HypervisorError::Refused(_))))), "{last:?}");
    }
}
