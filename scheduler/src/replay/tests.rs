//! A short recorded day, replayed: the same bytes each time, and clear words where the log is at fault.

use std::fs;

use ballast_core::{oversight::ModelMode, policy::RiskGreedy, units::Timestamp};
use ballast_daemon::segments::{Options, SegmentWriter};
use tempfile::TempDir;

use super::*;
use crate::{
    telemetry_log::Content,
    testing::{batch, inventory, models},
};

const START: u64 = 1_000_000;

fn record(second: u64, content: Content) -> Vec<u8> {
    LogRecord { at: Timestamp::from_secs(START + second), content }.encode()
}

/// Two hosts over ten minutes: `a` with six busy vms, over its limit from the second minute on, and `b` nearly idle.
fn recorded() -> Vec<Vec<u8>> {
    let (a, b) = (inventory("a", &[1, 2, 3, 4, 5, 6]), inventory("b", &[7]));
    let opened = |inventory: &ballast_core::inventory::Inventory| Content::Opened(Box::new(inventory.clone()));
    let mut records = vec![record(0, opened(&a)), record(0, opened(&b))];
    for tick in 1..=120 {
        let at = Timestamp::from_secs(START + tick * 5);
        let load = if tick > 24 { 7.6 } else { 4.0 };
        records.push(record(tick * 5, Content::Batch(Box::new(batch(&a, tick, at, load)))));
        records.push(record(tick * 5, Content::Batch(Box::new(batch(&b, tick, at, 0.2)))));
    }
    records
}

fn write_log(records: &[Vec<u8>]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let options =
        Options { kind: SEGMENT_KIND, compress: true, sync: false, segment_bytes_max: 4096, total_bytes_max: None };
    let (mut writer, _) = SegmentWriter::open(dir.path(), options).unwrap();
    for group in records.chunks(16) {
        group.iter().for_each(|record| writer.push(record).unwrap());
        writer.commit(Timestamp::from_secs(START)).unwrap();
    }
    dir
}

fn run(path: &std::path::Path, format: Format) -> Result<(Summary, String), ReplayError> {
    let mut out = Vec::new();
    let settings = ReplaySettings::new(RiskGreedy::NAME);
    let summary = replay(&[path.to_path_buf()], &settings, format, &mut out)?;
    Ok((summary, String::from_utf8(out).unwrap()))
}

#[test]
fn the_same_log_and_seed_print_the_same_bytes() {
    let dir = write_log(&recorded());
    for format in [Format::Text, Format::JsonLines] {
        assert_eq!(run(dir.path(), format).unwrap(), run(dir.path(), format).unwrap());
    }
}

#[test]
fn with_a_model_the_same_log_and_seed_print_the_same_bytes_and_name_it() {
    let dir = write_log(&recorded());
    let run = || {
        let mut settings = ReplaySettings::new(RiskGreedy::NAME);
        settings.forecast.oversight.mode = ModelMode::Active;
        settings.models = models::of_files(models::Tape::default());
        let mut out = Vec::new();
        let summary = replay(&[dir.path().to_path_buf()], &settings, Format::Text, &mut out).unwrap();
        (summary, String::from_utf8(out).unwrap())
    };
    let (first, second) = (run(), run());
    assert_eq!(first, second);
    assert!(first.1.contains("forecast tape"), "{}", first.1);
}

#[test]
fn a_replay_with_a_bundle_that_cannot_be_used_says_so() {
    let mut settings = ReplaySettings::new(RiskGreedy::NAME);
    settings.forecast.model = Some("/nonexistent/model".into());
    settings.models = models::of_files(models::Tape::default());
    let error = decisions(&[], &settings, |_, _| ()).unwrap_err().to_string();
    assert!(error.contains("model cannot be used: /nonexistent/model"), "{error}");
}

#[test]
fn an_overload_in_the_log_is_relieved_in_the_replay() {
    let dir = write_log(&recorded());
    let (summary, text) = run(dir.path(), Format::Text).unwrap();
    assert_eq!((summary.batches, summary.batches_dropped), (240, 0));
    assert!(summary.moves > 0 && summary.rounds == 10, "{summary:?}");
    assert!(text.contains("vm1") || text.contains("vm2") || text.contains("vm3"), "{text}");
    assert!(text.contains("to b"), "{text}");
}

#[test]
fn json_lines_are_decisions_and_end_with_the_summary() {
    let dir = write_log(&recorded());
    let (summary, text) = run(dir.path(), Format::JsonLines).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len() as u64, summary.decisions + 1);
    for line in &lines[..lines.len() - 1] {
        serde_json::from_str::<Decision>(line).unwrap();
    }
    assert!(lines[lines.len() - 1].starts_with("{\"summary\":"));
}

#[test]
fn duplicates_in_the_log_change_no_decision() {
    let plain = write_log(&recorded());
    let mut doubled = recorded();
    doubled.extend_from_within(doubled.len() - 40..);
    let doubled = write_log(&doubled);
    let decided = |dir: &TempDir| {
        let mut all = Vec::new();
        let settings = ReplaySettings::new(RiskGreedy::NAME);
        let summary = decisions(&[dir.path().into()], &settings, |decision, _| all.push(decision.clone())).unwrap();
        (all, summary.batches, summary.batches_dropped)
    };
    let (first, second) = (decided(&plain), decided(&doubled));
    assert_eq!(first.0, second.0);
    assert_eq!((first.1, first.2, second.1, second.2), (240, 0, 240, 40));
}

#[test]
fn a_file_that_is_no_log_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    fs::write(&path, "this is not a telemetry log, it is some sixty bytes of prose instead").unwrap();
    let error = crate::journal::error_chain(&run(&path, Format::Text).unwrap_err());
    assert!(error.contains("notes.txt") && error.contains("BLST"), "{error}");
}

#[test]
fn a_record_that_makes_no_sense_is_named_with_file_and_offset() {
    let mut records = recorded();
    records.truncate(4);
    records.push(vec![99; 20]);
    let dir = write_log(&records);
    let error = run(dir.path(), Format::Text).unwrap_err().to_string();
    assert!(error.contains(".seg: the record at byte 60") && error.contains("kind 99"), "{error}");
}

#[test]
fn a_missing_file_an_empty_directory_and_an_unknown_policy_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none.seg");
    assert!(run(&missing, Format::Text).unwrap_err().to_string().contains("none.seg"));
    assert!(matches!(run(dir.path(), Format::Text), Err(ReplayError::Empty { .. })));
    let settings = ReplaySettings::new("clever");
    let error = replay(&[missing], &settings, Format::Text, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("\"clever\"") && error.contains("risk-greedy"), "{error}");
}

#[test]
fn a_torn_tail_ends_the_replay_and_is_counted() {
    let dir = write_log(&recorded());
    let files = segments::segment_files(dir.path()).unwrap();
    let last = files.last().unwrap();
    let bytes = fs::read(last).unwrap();
    fs::write(last, &bytes[..bytes.len() - 7]).unwrap();
    let (summary, text) = run(dir.path(), Format::Text).unwrap();
    assert!(summary.batches < 240 && summary.batches > 100, "{summary:?}");
    assert!(summary.unreadable_bytes > 0);
    assert!(text.contains("could not be read"), "{text}");
}
