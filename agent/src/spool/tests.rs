//! The spool over restarts, reboots and broken disks.

use ballast_core::{id::HostId, sample::HostSample};
use ballast_daemon::{clock::Machine, segments::Disk};
use uuid::Uuid;

use super::{
    copy::{CLEAR_BYTES, TRIED_AGAIN},
    *,
};

const NOW: Timestamp = Timestamp::from_secs(1);

fn boot(number: u128) -> BootId {
    BootId(Uuid::from_u128(number))
}

fn batch(boot: BootId) -> Batch {
    let host = HostId::new("a").unwrap();
    Batch { host, boot, seq: Seq(0), taken_at: NOW, sample: HostSample::default(), vms: Vec::new() }
}

async fn filled(dir: &Path, boot: BootId, count: usize) -> Spool {
    let mut spool = Spool::open(Clock::system(), dir, boot);
    for _ in 0..count {
        spool.push(batch(boot), NOW).await;
    }
    spool
}

/// The oldest number held, the next to be given, and how many are held.
fn held(spool: &Spool) -> (u64, u64, usize) {
    spool.backlog().with(|ring| (ring.oldest().0, ring.next().0, ring.len()))
}

#[tokio::test]
async fn a_restarted_agent_goes_on_with_what_was_left_and_with_the_next_number() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), boot(1), 3).await);
    let spool = filled(dir.path(), boot(1), 1).await;
    assert_eq!(held(&spool), (1, 5, 4));
    assert_eq!(spool.backlog().after(Seq(3)).unwrap().1.seq, 4);
}

#[tokio::test]
async fn another_boot_numbers_anew() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), boot(1), 3).await);
    let spool = filled(dir.path(), boot(2), 1).await;
    assert_eq!(held(&spool), (1, 2, 1));
}

#[tokio::test]
async fn a_torn_tail_costs_the_last_batch_at_most() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), boot(1), 3).await);
    let file = ballast_daemon::segments::segment_files(dir.path()).unwrap().pop().unwrap();
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 5]).unwrap();
    let spool = filled(dir.path(), boot(1), 0).await;
    assert_eq!(held(&spool).2, 2);
}

#[tokio::test]
async fn a_damaged_spool_is_thrown_away_and_sampling_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), boot(1), 3).await);
    let file = ballast_daemon::segments::segment_files(dir.path()).unwrap().pop().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[70] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let spool = filled(dir.path(), boot(1), 1).await;
    assert_eq!(held(&spool).2, 1);
}

#[tokio::test]
async fn without_a_disk_samples_are_kept_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let blocked = dir.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    let spool = filled(&blocked.join("spool"), boot(1), 3).await;
    assert_eq!(held(&spool).2, 3);
}

#[tokio::test]
async fn a_spool_that_was_all_acknowledged_gives_its_disk_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = filled(dir.path(), boot(1), 1).await;
    spool.copy.lock().unwrap().bytes = CLEAR_BYTES + 1;
    spool.backlog().with(|ring| ring.acknowledge(Seq(1)));
    spool.push(batch(boot(1)), NOW).await;
    drop(spool);
    let spool = filled(dir.path(), boot(1), 0).await;
    assert_eq!(held(&spool), (2, 3, 1));
}

#[tokio::test]
async fn a_disk_that_was_full_is_written_again_once_there_is_room() {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    let dir = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(true));
    let is_full = Arc::clone(&full);
    let disk = Disk::simulated(Arc::new(move |_, bytes| if is_full.load(Relaxed) { 0 } else { bytes }));
    let clock = Clock::simulated(Machine::at(NOW).with_disk(disk));
    let mut spool = Spool::open(clock, dir.path(), boot(1));
    spool.push(batch(boot(1)), NOW).await;
    full.store(false, Relaxed);
    for _ in 0..TRIED_AGAIN {
        spool.push(batch(boot(1)), NOW).await;
    }
    drop(spool);
    let (oldest, next, held) = held(&Spool::open(Clock::system(), dir.path(), boot(1)));
    assert_eq!((next, held > 0 && held < TRIED_AGAIN as usize), (u64::from(TRIED_AGAIN) + 2, true), "{oldest} {held}");
}
