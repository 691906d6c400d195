//! The driver's own view of `test:///default`, with a second connection to move its vm.

use virt::connect::Connect;

use super::*;

#[tokio::test]
async fn lifecycle_events_announce_changes_and_keep_the_roster() {
    let clock = Clock::system();
    let options = LibvirtOptions { uri: "test:///default".into(), ..LibvirtOptions::default() };
    let driver = LibvirtHypervisor::start(options, clock.clone());
    let vm = driver.facts().await.unwrap().vms[0].vm;
    driver.inner.list().await.unwrap();
    let mut changes = driver.inner.hub.changes();

    // Events of this driver go to all connections of the process.
    let stop_and_start = on_thread(move || {
        let mut connection = Connect::open(Some("test:///default"))?;
        let domain = Domain::lookup_by_uuid(&connection, vm.0)?;
        domain.destroy()?;
        domain.create()?;
        drop(domain);
        connection.close()?;
        Ok(())
    });
    stop_and_start.await.unwrap();

    let settled = async {
        changes.changed().await.unwrap();
        while driver.inner.hub.with_roster(|roster| roster.split()) != (vec![vm], vec![]) {
            changes.changed().await.unwrap();
        }
    };
    // Two changes close together may be seen as one, so only the end is certain.
    assert!(clock.timeout(Duration::from_secs(10), settled).await.is_ok());
}
