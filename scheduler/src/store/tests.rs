//! The store: what is put is found, what is old is dropped, what is damaged never stops anything.

use std::{fs, path::Path};

use ballast_core::units::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::testing::{batch, host, inventory, vm};

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

fn opened(dir: &Path) -> SledStore {
    SledStore::open(dir, NOW).unwrap().store
}

fn found(store: &SledStore, since: Timestamp) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    store.windows(since, &mut |batch| found.push((batch.host.to_string(), batch.seq.0))).unwrap();
    found
}

/// A directory in which a store has kept ten batches of two hosts.
fn filled() -> (TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let mut store = opened(&path);
    for seq in 1..=10 {
        for name in ["a", "a.b"] {
            store.put_window(&batch(&inventory(name, &[1, 2, 3]), seq, Timestamp::from_secs(seq * 10), 1.0)).unwrap();
        }
    }
    store.put_inventory(&inventory("a", &[1])).unwrap();
    store.flush().unwrap();
    (dir, path)
}

#[test]
fn a_window_comes_back_in_order_of_time_and_only_its_newest_part() {
    let (_dir, path) = filled();
    let store = opened(&path);
    let late = found(&store, Timestamp::from_secs(95));
    assert_eq!(late, [("a".to_owned(), 10), ("a.b".to_owned(), 10)]);
    assert_eq!(found(&store, Timestamp::EPOCH).len(), 20);
    assert_eq!(store.inventories().unwrap(), [inventory("a", &[1])]);
}

#[test]
fn dropping_one_hosts_past_leaves_the_others() {
    let (_dir, path) = filled();
    let mut store = opened(&path);
    store.drop_before(&host("a"), Timestamp::from_secs(100)).unwrap();
    let left = found(&store, Timestamp::EPOCH);
    assert_eq!(left.iter().filter(|(host, _)| host == "a").count(), 1);
    assert_eq!(left.iter().filter(|(host, _)| host == "a.b").count(), 10);
}

#[test]
fn keys_give_back_their_host_and_moment() {
    let key = packed::window_key(&host("a.b"), NOW);
    assert_eq!(packed::split_key(&key), Some((host("a.b"), NOW)));
    for bad in [&b""[..], b"x", b"0123456789", &[0; 9]] {
        assert_eq!(packed::split_key(bad), None, "{bad:?}");
    }
}

#[test]
fn a_value_that_is_not_whole_is_not_opened() {
    let sealed = packed::seal(b"content".to_vec());
    assert_eq!(packed::open(&sealed), Some(&b"content"[..]));
    for place in 0..sealed.len() {
        let mut damaged = sealed.clone();
        damaged[place] ^= 4;
        assert_eq!(packed::open(&damaged), None, "byte {place}");
        assert_eq!(packed::open(&sealed[..place]), None, "cut at {place}");
    }
}

#[test]
fn no_damage_stops_the_opening() {
    let harms: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.iter_mut().skip(64).step_by(997).for_each(|byte| *byte ^= 0x55),
        |bytes| bytes.iter_mut().take(8192).for_each(|byte| *byte = 0),
        |bytes| bytes.clear(),
    ];
    for (number, harm) in harms.into_iter().enumerate() {
        let (_dir, path) = filled();
        let db = path.join("db");
        let mut bytes = fs::read(&db).unwrap();
        harm(&mut bytes);
        fs::write(&db, &bytes).unwrap();
        let opened = SledStore::open(&path, NOW).unwrap_or_else(|error| panic!("harm {number}: {error}"));
        let mut store = opened.store;
        store.put_window(&batch(&inventory("c", &[1]), 1, NOW, 1.0)).unwrap();
        assert!(found(&store, Timestamp::EPOCH).iter().any(|(host, _)| host == "c"), "harm {number}");
    }
}

#[test]
fn what_is_set_aside_is_kept_for_a_look_but_not_for_ever() {
    let (dir, path) = filled();
    for round in 0..4 {
        drop(SledStore::open(&path, NOW).unwrap());
        fs::write(path.join("conf"), "nonsense").unwrap();
        fs::write(path.join("db"), vec![0xA5; 4096]).unwrap();
        let opened = SledStore::open(&path, Timestamp::from_secs(2_000_000 + round)).unwrap();
        assert!(opened.quarantined.is_some(), "round {round}");
    }
    let aside = fs::read_dir(dir.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(".damaged-"));
    assert_eq!(aside.count(), 2);
}

#[test]
fn a_store_another_holds_is_left_alone() {
    let (_dir, path) = filled();
    let _held = opened(&path);
    assert!(SledStore::open(&path, NOW).is_err());
    assert!(path.exists(), "it was not set aside");
}

#[test]
fn what_a_model_knew_comes_back_and_nothing_of_vms_that_are_gone() {
    let (_dir, path) = filled();
    let state = |number, at| SavedState { vm: vm(number), at: Timestamp::from_secs(at), state: vec![7; 40] };
    let mut store = opened(&path);
    store.put_model(&[state(1, 10), state(2, 10)], Some(b"memory")).unwrap();
    store.put_model(&[state(2, 20), state(3, 20)], Some(b"later")).unwrap();
    store.flush().unwrap();
    drop(store);
    let kept = opened(&path).model().unwrap();
    let expected =
        KeptModel { states: vec![state(2, 20), state(3, 20)], memory: Some(b"later".to_vec()), unreadable: 0 };
    assert_eq!(kept, expected);
}

#[test]
fn what_was_measured_of_risk_comes_back_as_it_was_kept_last() {
    let (_dir, path) = filled();
    let mut store = opened(&path);
    assert_eq!(store.risk().unwrap(), None);
    [&b"first"[..], b"last"].iter().for_each(|risk| store.put_risk(risk).unwrap());
    store.flush().unwrap();
    drop(store);
    assert_eq!(opened(&path).risk().unwrap().as_deref(), Some(&b"last"[..]));
}

#[test]
fn a_state_that_is_not_whole_is_no_state() {
    let saved = SavedState { vm: vm(1), at: NOW, state: vec![1, 2, 3] };
    let (key, value) = packed::pack_state(&saved);
    assert_eq!(packed::unpack_state(key.as_bytes(), &value), Some(saved));
    for byte in 0..value.len() {
        let mut damaged = value.clone();
        damaged[byte] ^= 1;
        assert_eq!(packed::unpack_state(key.as_bytes(), &damaged), None, "byte {byte}");
    }
    assert_eq!(packed::unpack_state(b"no vm", &value), None);
}
