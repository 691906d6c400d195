//! The link: hello, window, acknowledgements, cuts, and what the samples say.

use ballast_core::{
    inventory::Inventory,
    sample::{Batch, PowerSource},
};
use ballast_proto::v1::{self, agent_message::Message as Up};

use super::rig::Rig;

#[tokio::test]
async fn hello_tells_the_host_and_the_samples_follow() {
    let mut rig = Rig::new().await;
    let (host, ..) = rig.vm();
    let _agent = rig.agent(host);
    let mut session = rig.scheduler.welcome(1).await;
    let inventory = Inventory::try_from(session.hello.inventory.clone().unwrap()).unwrap();
    assert!(inventory.complete);
    assert_eq!((inventory.host, inventory.vms.len()), (rig.hosts[host].clone(), rig.vms_on(host).len()));
    let first = session.batch().await;
    session.ack(first.seq).await;
    let batch = Batch::try_from(session.batch().await).unwrap();
    assert_eq!((batch.seq.0, batch.vms.len()), (2, rig.vms_on(host).len()));
    assert!(batch.vms.iter().all(|vm| !vm.cpu_used.is_missing()), "{batch:?}");
    assert_eq!(batch.sample.power_source, PowerSource::Dcmi);
    assert!(batch.sample.agent.hypervisor_connected);
}

#[tokio::test]
async fn after_a_cut_the_samples_go_on_where_they_were_acknowledged() {
    let mut rig = Rig::new().await;
    let _agent = rig.agent(0);
    let mut session = rig.scheduler.welcome(1).await;
    for expected in 1..=3 {
        assert_eq!(session.batch().await.seq, expected);
    }
    session.ack(2).await;
    // The acknowledgement is taken before the fourth batch of the window of eight can be missed.
    assert_eq!(session.batch().await.seq, 4);
    drop(session);
    let mut session = rig.scheduler.welcome(1).await;
    assert_eq!(session.hello.resume_from_seq, 3);
    for expected in 3..=9 {
        assert_eq!(session.batch().await.seq, expected);
    }
}

#[tokio::test]
async fn no_more_than_the_window_is_under_way() {
    let mut rig = Rig::new().await;
    let _agent = rig.agent(0);
    let mut session = rig.scheduler.stream().await;
    session.welcome(v1::Welcome { epoch: 1, resume_from_seq: 1, window_count: 2, period_millis: 1000 }).await;
    let mut batches = 0;
    // Two keep-alives are twenty seconds: as many samples have been taken.
    let mut keep_alives = 0;
    while keep_alives < 2 {
        match session.next().await.unwrap() {
            Up::Batch(_) => batches += 1,
            Up::KeepAlive(_) => keep_alives += 1,
            _ => {}
        }
    }
    assert_eq!(batches, 2);
    session.ack(1).await;
    assert_eq!(session.batch().await.seq, 3);
}

#[tokio::test]
async fn a_scheduler_that_has_more_than_the_agent_is_not_sent_it_again() {
    let mut rig = Rig::new().await;
    let _agent = rig.agent(0);
    let mut session = rig.scheduler.stream().await;
    session.welcome(v1::Welcome { epoch: 1, resume_from_seq: 500, window_count: 8, period_millis: 1000 }).await;
    assert_eq!(session.batch().await.seq, 500);
}

#[tokio::test]
async fn a_scheduler_that_was_replaced_is_left() {
    let mut rig = Rig::new().await;
    let _agent = rig.agent(0);
    let session = rig.scheduler.welcome(7).await;
    drop(session);
    let mut old = rig.scheduler.welcome(6).await;
    assert_eq!(old.hello.highest_epoch, 7);
    assert!(old.next().await.is_none());
}

#[tokio::test]
async fn a_restarted_agent_goes_on_numbering() {
    let mut rig = Rig::new().await;
    let agent = rig.agent(0);
    let mut session = rig.scheduler.welcome(1).await;
    for _ in 0..4 {
        session.batch().await;
    }
    agent.stop().await;
    let _agent = rig.agent(0);
    let mut session = rig.scheduler.welcome(1).await;
    assert_eq!(session.hello.resume_from_seq, 1);
    session.ack(4).await;
    let mut last = 0;
    while last < 5 {
        let seq = session.batch().await.seq;
        assert!(seq > last, "{seq} after {last}");
        last = seq;
    }
}

#[tokio::test]
async fn a_hypervisor_that_does_not_answer_makes_the_inventory_incomplete_not_empty() {
    let mut rig = Rig::new().await;
    let (host, ..) = rig.vm();
    let _agent = rig.agent(host);
    let mut session = rig.scheduler.welcome(1).await;
    session.batch().await;
    rig.fleet.with(|world| world.set_host_unreachable(&rig.hosts[host], true)).unwrap();
    let (mut connected, mut incomplete) = (true, None);
    while connected || incomplete.is_none() {
        match session.next().await.unwrap() {
            Up::Inventory(inventory) if !inventory.complete => incomplete = Some(inventory),
            Up::Batch(batch) => {
                session.ack(batch.seq).await;
                connected = batch.sample.unwrap().agent.unwrap().hypervisor_connected;
            }
            _ => {}
        }
    }
    assert!(incomplete.unwrap().vms.is_empty());
}
