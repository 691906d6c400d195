//! The crate table and the invariants of ARCHITECTURE.md that the sources themselves can prove.

use std::collections::{BTreeMap, BTreeSet};

use ballast_tests::sources::{self, Source};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

/// Folder, crate, ours that it may depend on, others that it must not name as dependencies.
const TABLE: &[(&str, &str, &[&str], &[&str])] = &[
    ("core", "ballast-core", &[], &["tokio", "rand", "tracing", "sled", "tonic", "burn", "virt", "sysinfo"]),
    ("sim", "ballast-sim", &["ballast-core"], &["tokio", "sled", "tonic", "burn", "virt"]),
    ("models", "ballast-models", &["ballast-core"], &["tokio", "sled", "tonic", "virt", "sysinfo"]),
    (
        "models/train",
        "ballast-train",
        &["ballast-core", "ballast-sim", "ballast-models"],
        &["tokio", "sled", "tonic", "virt"],
    ),
    ("proto", "ballast-proto", &["ballast-core"], &["tokio", "sled", "burn", "virt"]),
    ("daemon", "ballast-daemon", &["ballast-core"], &["sled", "burn", "virt", "sysinfo"]),
    (
        "agent",
        "ballast-agent",
        &["ballast-core", "ballast-proto", "ballast-daemon", "ballast-sim"],
        &["sled", "burn", "axum"],
    ),
    (
        "scheduler",
        "ballast-scheduler",
        &["ballast-core", "ballast-proto", "ballast-daemon", "ballast-models"],
        &["virt", "virt-sys", "sysinfo", "burn"],
    ),
    (
        "cli",
        "ballast",
        &[
            "ballast-core",
            "ballast-sim",
            "ballast-models",
            "ballast-proto",
            "ballast-daemon",
            "ballast-agent",
            "ballast-scheduler",
        ],
        &["virt", "virt-sys", "sled", "burn"],
    ),
    (
        "tests",
        "ballast-tests",
        &[
            "ballast-core",
            "ballast-sim",
            "ballast-models",
            "ballast-proto",
            "ballast-daemon",
            "ballast-agent",
            "ballast-scheduler",
        ],
        &["virt", "virt-sys", "sled", "burn"],
    ),
];

fn metadata() -> Metadata {
    let mut command = MetadataCommand::new();
    command.current_dir(sources::root()).other_options(["--locked".into(), "--offline".into()]);
    command.exec().expect("cargo metadata answers for this workspace")
}

/// Dependencies that ship (normal and build), by crate of the workspace.
fn shipped_dependencies(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    let members = metadata.workspace_packages();
    let shipped = |package: &cargo_metadata::Package| -> BTreeSet<String> {
        let shipped = package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development);
        shipped.map(|d| d.name.clone()).collect()
    };
    members.into_iter().map(|package| (package.name.to_string(), shipped(package))).collect()
}

#[test]
fn crates_depend_only_as_the_table_says() {
    let metadata = metadata();
    let actual = shipped_dependencies(&metadata);
    let listed: BTreeSet<&str> = TABLE.iter().map(|row| row.1).collect();
    let unlisted: Vec<_> = actual.keys().filter(|name| !listed.contains(name.as_str())).collect();
    assert!(unlisted.is_empty(), "crates without a row in the table: {unlisted:?}");
    for (_, name, ours, never) in TABLE {
        let dependencies = &actual[*name];
        let forbidden_ours = dependencies.iter().filter(|d| listed.contains(d.as_str()) && !ours.contains(&d.as_str()));
        let forbidden_others = dependencies.iter().filter(|d| never.contains(&d.as_str()));
        let forbidden: Vec<_> = forbidden_ours.chain(forbidden_others).collect();
        assert!(forbidden.is_empty(), "{name} must not depend on {forbidden:?}");
    }
}

#[test]
fn the_architecture_page_has_a_row_for_every_crate() {
    let page = std::fs::read_to_string(sources::root().join("ARCHITECTURE.md")).unwrap();
    for (folder, name, ..) in TABLE {
        let has_row = page.lines().any(|line| line.starts_with(&format!("| `{folder}/` | {name} ")));
        assert!(has_row, "ARCHITECTURE.md has no row for {folder}/ {name}");
    }
    assert!(page.lines().count() <= 220, "ARCHITECTURE.md is too long to be read");
}

#[test]
fn every_test_the_architecture_page_names_is_there() {
    let page = std::fs::read_to_string(sources::root().join("ARCHITECTURE.md")).unwrap();
    let tests: String = sources::files(&["tests/it"], &["rs"]).unwrap().into_iter().map(|file| file.text).collect();
    let named =
        page.split('`').filter(|quoted| quoted.contains("::") && !quoted.ends_with(':') && !quoted.contains(' '));
    let missing: Vec<&str> =
        named.filter(|name| !tests.contains(&format!("fn {}()", name.rsplit("::").next().unwrap_or(name)))).collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");
}

#[test]
fn agent_and_scheduler_meet_only_in_proto() {
    let actual = shipped_dependencies(&metadata());
    assert!(!actual["ballast-agent"].contains("ballast-scheduler"));
    assert!(!actual["ballast-scheduler"].contains("ballast-agent"));
    assert!(!actual["ballast-proto"].iter().any(|d| d == "ballast-agent" || d == "ballast-scheduler"));
}

#[test]
fn nothing_below_core_can_do_io() {
    let metadata = metadata();
    let names = closure(&metadata, "ballast-core");
    for impure in ["tokio", "tracing", "rand", "sled", "tonic", "log", "prost"] {
        assert!(!names.contains(impure), "{impure} is among what ballast-core is built from: {names:?}");
    }
}

/// Names of all that a crate is built from, its tests left out.
fn closure(metadata: &Metadata, name: &str) -> BTreeSet<String> {
    let resolve = metadata.resolve.as_ref().expect("cargo metadata resolves");
    let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let root = metadata.packages.iter().find(|p| p.name.as_str() == name).expect("the crate is in the workspace");
    let mut waiting = vec![&root.id];
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        let ships = |d: &&cargo_metadata::NodeDep| d.dep_kinds.iter().any(|k| k.kind == DependencyKind::Normal);
        waiting.extend(nodes[id].deps.iter().filter(ships).map(|d| &d.pkg));
    }
    let named = |id: &PackageId| metadata[id].name.to_string();
    seen.into_iter().map(named).filter(|n| n != name).collect()
}

/// Fails where shipped code below `folders` says one of `words`, unless its path begins with one of `allowed`.
#[track_caller]
fn nobody_says(words: &[&str], folders: &[&str], allowed: &[&str]) {
    let files = sources::files(folders, &["rs"]).unwrap();
    assert!(!files.is_empty(), "no sources below {folders:?}");
    let elsewhere = |file: &&Source| !allowed.iter().any(|place| file.path.starts_with(place));
    let said: Vec<String> = files.iter().filter(elsewhere).flat_map(|file| file.says(words)).collect();
    assert!(said.is_empty(), "said where it must not be:\n{}", said.join("\n"));
}

const SHIPPED: &[&str] = &[
    "core/src",
    "sim/src",
    "models/src",
    "models/train/src",
    "proto/src",
    "daemon/src",
    "agent/src",
    "scheduler/src",
    "cli/src",
];

#[test]
fn foreign_crates_stay_behind_their_walls() {
    nobody_says(&["virt::", "virt_sys::"], SHIPPED, &["agent/src/hypervisor/libvirt"]);
    nobody_says(&["sled::"], SHIPPED, &["scheduler/src/store"]);
    nobody_says(
        &["burn::"],
        SHIPPED,
        &["models/src/reference.rs", "models/src/kernel/tests/burn.rs", "models/train/src"],
    );
    nobody_says(&["sysinfo::"], SHIPPED, &["agent/src/host", "agent/src/config/check.rs"]);
}

#[test]
fn unsafe_code_is_forbidden_but_in_the_libvirt_shim() {
    let roots = sources::files(&[SHIPPED, &["tests/src"]].concat(), &["rs"]).unwrap();
    let is_root = |path: &str| path.ends_with("src/lib.rs") || path.ends_with("/main.rs") && !path.contains("/tests/");
    let roots: Vec<&Source> = roots.iter().filter(|file| is_root(&file.path)).collect();
    assert!(roots.len() > TABLE.len(), "{} roots of crates", roots.len());
    for root in roots {
        let forbids = if root.path == "agent/src/lib.rs" {
            "#![cfg_attr(not(feature = \"libvirt\"), forbid(unsafe_code))]"
        } else {
            "#![forbid(unsafe_code)]"
        };
        assert!(root.text.contains(forbids), "{} does not forbid unsafe code", root.path);
    }
    nobody_says(&["allow(unsafe_code)", "unsafe {"], SHIPPED, &["agent/src/hypervisor/libvirt/ffi/"]);
}

#[test]
fn core_is_pure() {
    let io = [
        "SystemTime",
        "Instant",
        "std::fs",
        "std::env",
        "std::net",
        "std::thread",
        "std::process",
        "std::io",
        "println!",
        "eprintln!",
        "tracing::",
    ];
    nobody_says(&io, &["core/src"], &[]);
}

#[test]
fn the_guard_shares_no_code_with_policies() {
    nobody_says(&["policy::", "crate::policy"], &["core/src/guard"], &[]);
    nobody_says(&["guard::", "crate::guard"], &["core/src/policy"], &[]);
}

#[test]
fn time_comes_from_the_clock() {
    let clocks = ["SystemTime::now", "Instant::now", "tokio::time", concat!("thread::", "sleep")];
    nobody_says(&clocks, &["agent/src", "scheduler/src", "cli/src", "sim/src", "models/src", "models/train/src"], &[]);
    nobody_says(&clocks, &["daemon/src"], &["daemon/src/clock.rs"]);
}

#[test]
fn no_queue_is_unbounded() {
    let unbounded = ["unbounded_channel", "mpsc::unbounded", "std::sync::mpsc::channel"];
    nobody_says(&unbounded, SHIPPED, &[]);
}

#[test]
fn no_code_ends_or_starts_a_vm() {
    let calls = [
        "virDomainDestroy",
        "virDomainShutdown",
        "virDomainReset",
        "virDomainReboot",
        "virDomainUndefine",
        "virDomainResume",
        "virDomainSuspend",
        "virDomainCreate",
        "virDomainDefine",
        "virDomainManagedSave",
        "virDomainSave",
        "virDomainRestore",
        ".destroy(",
        ".destroy_flags(",
        ".undefine(",
        ".undefine_flags(",
        ".resume(",
        ".suspend(",
        ".shutdown(",
        ".reset(",
        ".reboot(",
        ".managed_save(",
        "Domain::define_xml",
        "Domain::create_xml",
    ];
    nobody_says(&calls, &["agent/src/hypervisor"], &["agent/src/hypervisor/simulated"]);
}
