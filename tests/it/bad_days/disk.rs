//! Bad days of the disk: full, not writable, and cut off in the middle of a record.

use std::{fs, path::Path, time::Duration};

use ballast_core::{
    command::{CommandStatus, DenyReason},
    decision::Mode,
};
use ballast_proto::v1;
use ballast_tests::{
    fleet::{self, STEP},
    logs::Logs,
    scheduler::{SchedulerUnderTest, Time, folder, quick},
    scripted::{ScriptedHost, ScriptedLink, vm_named},
    scripted_scheduler::{ScriptedScheduler, order},
    small_disk::SmallDisk,
};

#[tokio::test]
async fn a_data_directory_that_cannot_be_made_is_told_by_name() {
    let logs = Logs::watch();
    let (_folder, path) = folder().unwrap();
    let file = path.join("a-file");
    fs::write(&file, "not a directory").unwrap();
    let config = quick(&file.join("scheduler"), Mode::Auto);
    let started = SchedulerUnderTest::start(config, Time::default().clock, &logs).await;
    let error = format!("{:#}", started.expect_err("a scheduler without a journal"));
    assert!(error.contains("a-file"), "{error}");
}

/// Ends the newest file of every log below `folder` in the middle of a record: bytes of a header, and no more. The
/// store is left out: it is not a log, and can be rebuilt.
pub(super) fn tear(folder: &Path) -> Vec<std::path::PathBuf> {
    let torn = newest_segments(folder);
    for file in &torn {
        let mut bytes = fs::read(file).unwrap();
        bytes.extend_from_slice(&[0x2a; 7]);
        fs::write(file, bytes).unwrap();
    }
    torn
}

/// The newest segment of every folder below `folder`.
fn newest_segments(folder: &Path) -> Vec<std::path::PathBuf> {
    let below = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let found = below.flat_map(|path| newest_segments(&path));
    found.chain(ballast_daemon::segments::segment_files(folder).unwrap().pop()).collect()
}

#[tokio::test]
async fn a_torn_last_record_in_every_log_of_the_scheduler_is_cut_and_told() {
    let logs = Logs::watch();
    let time = Time::default();
    let (_folder, path) = folder().unwrap();
    let data = path.join("scheduler");
    let config = quick(&data, Mode::Auto);
    let mut scheduler = SchedulerUnderTest::start(config.clone(), time.clock.clone(), &logs).await.unwrap();
    let host = ScriptedHost::new("a").unwrap().with_vm("calm", 0.5);
    let mut link = ScriptedLink::open(&scheduler.authority(), &host, Vec::new(), 0).await.unwrap();
    for seq in 1..=3 {
        link.batch(host.batch(seq, time.now())).await.unwrap();
        time.pass(Duration::from_secs(1), Duration::from_millis(250)).await;
    }
    link.acknowledged(3).await.unwrap();
    let epoch = link.welcome.epoch;
    scheduler.crash().await.unwrap();

    let torn = tear(&data);
    assert!(torn.len() >= 2, "journal and telemetry log are expected, found {torn:?}");
    logs.expect("torn").expect("cut");
    let scheduler = SchedulerUnderTest::start(config, time.clock.clone(), &logs).await.unwrap();
    let link = ScriptedLink::open(&scheduler.authority(), &host, Vec::new(), epoch).await.unwrap();
    assert!(link.welcome.epoch > epoch, "the epoch of the journal was lost");
}

async fn wish(scheduler: &SchedulerUnderTest) -> Result<v1::MigrateResponse, tonic::Status> {
    let wish = v1::MigrateRequest { vm: "calm".into(), host: "b".into(), ..v1::MigrateRequest::default() };
    let mut operator = scheduler.operator().await.unwrap();
    operator.migrate(wish).await.map(tonic::Response::into_inner)
}

/// Two hosts linked to a scheduler on a small disk, a vm on the first; then the disk goes bad and gets well.
async fn no_order_without_a_record(test: &str, spoil: fn(&SmallDisk), mend: fn(&SmallDisk)) {
    let Some(disk) = SmallDisk::new(test) else { return };
    let (logs, time) = (Logs::watch(), Time::default());
    // Whatever a daemon says of its disk on such a day is no surprise.
    logs.expect("");
    let config = quick(&disk.path().join("scheduler"), Mode::Recommend);
    let mut scheduler = SchedulerUnderTest::start(config, time.clock.clone(), &logs).await.unwrap();
    let hosts = [ScriptedHost::new("a").unwrap().with_vm("calm", 0.5), ScriptedHost::new("b").unwrap()];
    let mut links = Vec::new();
    for host in &hosts {
        links.push(ScriptedLink::open(&scheduler.authority(), host, Vec::new(), 0).await.unwrap());
    }
    let mut seq = 0;
    let mut seconds = async |count: u64| {
        for _ in 0..count {
            seq += 1;
            for (host, link) in hosts.iter().zip(&links) {
                link.batch(host.batch(seq, time.now())).await.unwrap();
            }
            time.pass(Duration::from_secs(1), Duration::from_millis(250)).await;
        }
    };
    seconds(3).await;
    spoil(&disk);
    seconds(3).await;
    // The last page of a file still takes a few records.
    let engine = scheduler.engine.clone();
    let mut spare = 0;
    while engine.set_mode(Mode::Recommend, "a test").await.is_ok() && engine.set_mode(Mode::Off, "a test").await.is_ok()
    {
        spare += 1;
        assert!(spare < 1000, "the disk does not fill");
    }
    let refused = wish(&scheduler).await.expect_err("an order without a record");
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{}", refused.message());
    assert!(refused.message().contains("journal"), "{}", refused.message());
    assert!(scheduler.engine.snapshot().await.is_ok(), "it no longer observes");
    mend(&disk);
    seconds(30).await;
    let ordered = wish(&scheduler).await;
    assert!(ordered.is_ok(), "not well again: {ordered:?}\n{}", logs.text());
    scheduler.stop().await.unwrap();
}

#[tokio::test]
async fn a_full_disk_stops_orders_and_nothing_else() {
    let test = "bad_days::disk::a_full_disk_stops_orders_and_nothing_else";
    no_order_without_a_record(test, |disk| disk.fill().unwrap(), |disk| disk.free().unwrap()).await;
}

#[tokio::test]
async fn a_full_disk_does_not_stop_the_agent() {
    let Some(disk) = SmallDisk::new("bad_days::disk::a_full_disk_does_not_stop_the_agent") else { return };
    let (logs, time) = (Logs::watch(), Time::default());
    logs.expect("");
    let (world, hosts) = fleet::pair(&time, &[fleet::vm("web", 0, 0.5)]).unwrap();
    let scheduler = ScriptedScheduler::listen().await.unwrap();
    let address = format!("http://{}", scheduler.address);
    let agent = fleet::agent(&hosts[0], address, disk.path().join("agent"), &world, &logs, &time).unwrap();
    let minute = Duration::from_secs(60);
    assert!(time.until(minute, STEP, async || scheduler.hello().is_some()).await, "no hello");
    scheduler.welcome(1).await.unwrap();
    disk.fill().unwrap();
    assert!(time.until(minute, STEP, async || scheduler.batches().len() > 5).await, "no telemetry any more");
    // The last page of the journal still takes a few records: the fence is raised until it is full.
    let answer = |id| scheduler.reports(id).into_iter().find(CommandStatus::is_final);
    for epoch in 2..200 {
        let command = order((epoch, 1), "kvm1", vm_named("nobody"), "kvm2").unwrap();
        scheduler.command(&command).await.unwrap();
        assert!(time.until(minute, STEP, async || answer(command.id).is_some()).await, "no answer");
    }
    let command = order((200, 1), "kvm1", fleet::id("web"), "kvm2").unwrap();
    scheduler.command(&command).await.unwrap();
    assert!(time.until(minute, STEP, async || answer(command.id).is_some()).await, "no answer");
    let denied = answer(command.id);
    assert!(matches!(denied, Some(CommandStatus::Denied(DenyReason::NotDurable { .. }))), "{denied:?}");
    assert!(!agent.has_ended());
    assert_eq!(world.with(|world| world.ledger().migrations), 0);
}

#[tokio::test]
async fn a_read_only_data_directory_is_told_by_name_at_the_start() {
    let Some(disk) = SmallDisk::new("bad_days::disk::a_read_only_data_directory_is_told_by_name_at_the_start") else {
        return;
    };
    let mut mount = std::process::Command::new("mount");
    assert!(mount.args(["-o", "remount,ro"]).arg(disk.path()).status().unwrap().success());
    let logs = Logs::watch();
    let config = quick(&disk.path().join("scheduler"), Mode::Auto);
    let started = SchedulerUnderTest::start(config, Time::default().clock, &logs).await;
    let error = format!("{:#}", started.expect_err("a scheduler without a journal"));
    assert!(error.contains("Read-only") && error.contains("scheduler"), "{error}");
}
