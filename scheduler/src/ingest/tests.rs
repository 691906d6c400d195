//! Order, duplicates, gaps, boots and spooled batches, each as a claim.

use ballast_core::{
    id::{BootId, HostId, Seq},
    sample::HostSample,
    units::Timestamp,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::testing::inventory;

fn batch(boot: u128, seq: u64, taken_at: u64) -> Batch {
    Batch {
        host: HostId::new("a").unwrap(),
        boot: BootId(Uuid::from_u128(boot)),
        seq: Seq(seq),
        taken_at: Timestamp::from_secs(taken_at),
        sample: HostSample::default(),
        vms: Vec::new(),
    }
}

/// An ingest to which host `a` has opened its link at second 1000 of both clocks.
fn opened() -> Ingest {
    let mut ingest = Ingest::default();
    let mut inventory = inventory("a", &[]);
    (inventory.boot, inventory.taken_at) = (BootId(Uuid::from_u128(1)), Timestamp::from_secs(1000));
    ingest.open(&inventory, Seq(1), Timestamp::from_secs(1000));
    ingest
}

fn admit(ingest: &mut Ingest, boot: u128, seq: u64) -> Admission {
    let now = Timestamp::from_secs(2000);
    ingest.admit(&batch(boot, seq, 2000), now)
}

#[test]
fn takes_each_batch_once_and_counts_what_never_came() {
    let mut ingest = opened();
    let at = Timestamp::from_secs(2000);
    assert_eq!(admit(&mut ingest, 1, 1), Admission::Taken { missing: 0, at });
    assert_eq!(admit(&mut ingest, 1, 1), Admission::Duplicate);
    assert_eq!(admit(&mut ingest, 1, 5), Admission::Taken { missing: 3, at });
    assert_eq!(admit(&mut ingest, 1, 3), Admission::Late);
    assert_eq!(admit(&mut ingest, 1, 3), Admission::Duplicate);
}

#[test]
fn a_batch_of_another_boot_is_not_taken() {
    let mut ingest = opened();
    assert_eq!(admit(&mut ingest, 2, 1), Admission::OtherBoot);
}

#[test]
fn a_reboot_starts_the_sequence_again() {
    let mut ingest = opened();
    admit(&mut ingest, 1, 900);
    let mut rebooted = inventory("a", &[]);
    rebooted.boot = BootId(Uuid::from_u128(2));
    assert_eq!(ingest.open(&rebooted, Seq(1), Timestamp::from_secs(2000)), Seq(1));
    assert!(matches!(admit(&mut ingest, 2, 1), Admission::Taken { missing: 0, .. }));
    assert_eq!(admit(&mut ingest, 1, 901), Admission::OtherBoot);
}

#[test]
fn a_link_that_reopens_resumes_after_what_was_taken() {
    let mut ingest = opened();
    admit(&mut ingest, 1, 7);
    let mut again = inventory("a", &[]);
    again.boot = BootId(Uuid::from_u128(1));
    assert_eq!(ingest.open(&again, Seq(3), Timestamp::from_secs(2000)), Seq(8));
    assert_eq!(ingest.open(&again, Seq(30), Timestamp::from_secs(2000)), Seq(30));
}

#[test]
fn spooled_figures_are_as_old_as_they_are() {
    let mut ingest = opened();
    let now = Timestamp::from_secs(1001);
    let spooled = ingest.admit(&batch(1, 1, 700), now);
    assert_eq!(spooled, Admission::Taken { missing: 0, at: Timestamp::from_secs(700) });
    let live = ingest.admit(&batch(1, 2, 1000), now);
    assert_eq!(live, Admission::Taken { missing: 0, at: now });
}

#[test]
fn a_clock_set_back_after_the_spool_is_empty_ages_nothing() {
    let mut ingest = opened();
    let now = Timestamp::from_secs(1010);
    ingest.admit(&batch(1, 1, 1005), now);
    let after = ingest.admit(&batch(1, 2, 5), now);
    assert_eq!(after, Admission::Taken { missing: 0, at: now });
}

proptest! {
    #[test]
    fn whatever_the_order_no_batch_is_taken_twice_and_those_taken_rise(seqs in prop::collection::vec(1_u64..200, 1..100)) {
        let mut ingest = opened();
        let mut newest = 0;
        for seq in seqs {
            if let Admission::Taken { .. } = admit(&mut ingest, 1, seq) {
                prop_assert!(seq > newest);
                newest = seq;
            }
        }
    }
}
