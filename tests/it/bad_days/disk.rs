//! Bad days of the disk: full, not writable, and cut off in the middle of a record.

use std::{fs, path::Path, time::Duration};

use ballast_core::decision::Mode;
use ballast_tests::{
    logs::Logs,
    scheduler::{SchedulerUnderTest, Time, folder, quick},
    scripted::{ScriptedHost, ScriptedLink},
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
    let is_log = |file: &std::path::PathBuf| !file.components().any(|part| part.as_os_str() == "store");
    let torn: Vec<_> = newest_files(folder).into_iter().filter(is_log).collect();
    for file in &torn {
        let mut bytes = fs::read(file).unwrap();
        bytes.extend_from_slice(&[0x2a; 7]);
        fs::write(file, bytes).unwrap();
    }
    torn
}

/// The newest files below `folder` whose last record a crash could have cut, by folder.
fn newest_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut newest = None;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(newest_files(&path));
        } else if newest.as_ref().is_none_or(|newest| path > *newest) {
            newest = Some(path);
        }
    }
    found.extend(newest);
    found
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
