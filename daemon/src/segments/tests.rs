//! Segments on a real disk: what was committed comes back, whatever happened to the end of the file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ballast_core::{
    journal::{self, HEADER_BYTES},
    units::Timestamp,
};

use super::*;

const OPTIONS: Options =
    Options { kind: 9, compress: false, sync: true, segment_bytes_max: 1 << 20, total_bytes_max: None };
const NOW: Timestamp = Timestamp::from_secs(1000);

fn write(dir: &Path, options: Options, blocks: &[&[&str]]) {
    let (mut writer, _) = SegmentWriter::open(dir, options).unwrap();
    for block in blocks {
        for entry in *block {
            writer.push(entry.as_bytes()).unwrap();
        }
        writer.commit(NOW).unwrap();
    }
}

fn read(dir: &Path, options: Options) -> Result<Vec<String>, SegmentError> {
    let mut entries = Vec::new();
    read_dir(dir, options.kind, |entry| entries.push(String::from_utf8(entry.bytes).unwrap()))?;
    Ok(entries)
}

fn only_file(dir: &Path) -> PathBuf {
    let files = segment_files(dir).unwrap();
    assert_eq!(files.len(), 1);
    files[0].clone()
}

#[test]
fn committed_entries_come_back_in_order_after_reopening() {
    for compress in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { compress, ..OPTIONS };
        write(dir.path(), options, &[&["a", "b"], &["c"]]);
        write(dir.path(), options, &[&["d"]]);
        assert_eq!(read(dir.path(), options).unwrap(), ["a", "b", "c", "d"]);
    }
}

/// Cuts the last bytes of the only segment.
fn cut(dir: &Path, bytes: usize) -> PathBuf {
    let path = only_file(dir);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - bytes]).unwrap();
    path
}

#[test]
fn a_torn_tail_is_cut_and_writing_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), OPTIONS, &[&["kept"]]);
    let noted = fs::read(head::path(dir.path())).unwrap();
    write(dir.path(), OPTIONS, &[&["torn"]]);
    let path = cut(dir.path(), 3);
    // As a crash in the middle of the write leaves it.
    fs::write(head::path(dir.path()), noted).unwrap();
    let (mut writer, recovery) = SegmentWriter::open(dir.path(), OPTIONS).unwrap();
    assert!(recovery.torn.is_some_and(|(torn, bytes)| torn == path && bytes > 0));
    writer.push(b"after").unwrap();
    writer.commit(NOW).unwrap();
    assert_eq!(read(dir.path(), OPTIONS).unwrap(), ["kept", "after"]);
}

#[test]
fn a_synced_record_that_is_gone_from_the_end_is_missed_and_nothing_is_changed() {
    let record = journal::RECORD_BYTES + 1 + 4 + 4;
    for bytes in [1, record, record + 3, 2 * record] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), OPTIONS, &[&["kept"], &["lost"]]);
        let path = cut(dir.path(), bytes);
        let left = fs::read(&path).unwrap();
        let error = SegmentWriter::open(dir.path(), OPTIONS).unwrap_err().to_string();
        assert!(error.contains("record 2 was on the disk") && error.contains("head"), "cut {bytes}: {error}");
        assert_eq!(fs::read(&path).unwrap(), left, "cut {bytes}");
    }
}

#[test]
fn segments_that_are_gone_altogether_are_missed() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), OPTIONS, &[&["lost"]]);
    fs::remove_file(only_file(dir.path())).unwrap();
    let error = SegmentWriter::open(dir.path(), OPTIONS).unwrap_err().to_string();
    assert!(error.contains("record 1 was on the disk"), "{error}");
    fs::write(dir.path().join("0000000000000001.seg"), b"").unwrap();
    assert!(SegmentWriter::open(dir.path(), OPTIONS).is_err(), "emptied is no better than gone");
}

#[test]
fn a_note_that_is_gone_damaged_or_older_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), OPTIONS, &[&["one"]]);
    let older = fs::read(head::path(dir.path())).unwrap();
    write(dir.path(), OPTIONS, &[&["two"]]);
    for note in [&b""[..], b"nonsense", &[0xff; 16], &older] {
        fs::write(head::path(dir.path()), note).unwrap();
        assert!(SegmentWriter::open(dir.path(), OPTIONS).is_ok(), "{note:?}");
    }
    fs::remove_file(head::path(dir.path())).unwrap();
    write(dir.path(), OPTIONS, &[&["three"]]);
    assert_eq!(read(dir.path(), OPTIONS).unwrap(), ["one", "two", "three"]);
    assert_eq!(head::read(dir.path()), Some(3));
}

#[test]
fn an_unfinished_new_segment_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), OPTIONS, &[&["kept"]]);
    fs::write(dir.path().join("0000000000000002.seg"), b"BLS").unwrap();
    assert_eq!(read(dir.path(), OPTIONS).unwrap(), ["kept"]);
    write(dir.path(), OPTIONS, &[&["after"]]);
    assert_eq!(read(dir.path(), OPTIONS).unwrap(), ["kept", "after"]);
}

#[test]
fn damage_in_the_middle_stops_with_file_and_offset() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), OPTIONS, &[&["one"], &["two"], &["three"]]);
    let path = only_file(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    bytes[HEADER_BYTES + 41] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = SegmentWriter::open(dir.path(), OPTIONS).unwrap_err().to_string();
    assert!(error.contains(&format!("{} is damaged at byte {HEADER_BYTES}", path.display())), "{error}");
}

#[test]
fn full_segments_are_closed_and_the_oldest_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes_max: 400, total_bytes_max: Some(1200), ..OPTIONS };
    let entry = "x".repeat(100);
    for _ in 0..20 {
        write(dir.path(), options, &[&[&entry]]);
    }
    let files = segment_files(dir.path()).unwrap();
    let total: u64 = files.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(files.len() > 1 && total <= 1600, "{} files, {total} bytes", files.len());
    assert!(!read(dir.path(), options).unwrap().is_empty());
}

#[test]
fn old_segments_are_dropped_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes_max: 100, ..OPTIONS };
    let (mut writer, _) = SegmentWriter::open(dir.path(), options).unwrap();
    for second in 0..5 {
        writer.push(&[b'x'; 60]).unwrap();
        writer.commit(Timestamp::from_secs(second)).unwrap();
    }
    assert_eq!(writer.drop_older_than(Timestamp::from_secs(3)).unwrap(), 2);
    assert_eq!(read(dir.path(), options).unwrap().len(), 3);
}

#[test]
fn a_file_of_another_kind_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), OPTIONS, &[&["a"]]);
    let error = read(dir.path(), Options { kind: 3, ..OPTIONS }).unwrap_err();
    assert!(matches!(error, SegmentError::Header { .. }), "{error}");
}

#[test]
fn a_missing_segment_in_between_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes_max: 100, ..OPTIONS };
    write(
        dir.path(),
        options,
        &[&["aaaaaaaaaaaaaaaaaaaaaaaaaa"], &["bbbbbbbbbbbbbbbbbbbbbbbbbbb"], &["ccccccccccccc"]],
    );
    let files = segment_files(dir.path()).unwrap();
    assert_eq!(files.len(), 3);
    fs::remove_file(&files[1]).unwrap();
    assert!(matches!(read(dir.path(), options), Err(SegmentError::Corrupt { offset: 0, .. })));
}

#[test]
fn what_a_full_disk_refused_is_written_once_there_is_room_and_leaves_no_trace_before() {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    let dir = tempfile::tempdir().unwrap();
    let room = Arc::new(AtomicUsize::new(usize::MAX));
    let left = Arc::clone(&room);
    let disk = Disk::simulated(Arc::new(move |_, _| left.load(Relaxed)));
    let (mut writer, _) = SegmentWriter::open_on(disk, dir.path(), OPTIONS).unwrap();
    writer.push(b"before").unwrap();
    writer.commit(NOW).unwrap();
    room.store(20, Relaxed);
    writer.push(b"refused at first").unwrap();
    let error = writer.commit(NOW).unwrap_err();
    assert!(error.is_io(), "{error}");
    assert_eq!(read(dir.path(), OPTIONS).unwrap(), ["before"]);
    room.store(usize::MAX, Relaxed);
    writer.commit(NOW).unwrap();
    assert_eq!(read(dir.path(), OPTIONS).unwrap(), ["before", "refused at first"]);
}
