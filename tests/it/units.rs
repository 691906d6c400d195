//! The systemd units: valid, hardened, and tied to nothing that would take a migration down with it.
//!
//! Where the machine has no systemd tools there is nothing to ask and the test says so.

use std::{
    path::Path,
    process::{Command, Output},
};

use ballast_tests::{skip::skipped, sources};

const UNITS: [&str; 2] = ["ballast-agent", "ballast-scheduler"];
/// `systemd-analyze security` rates from 0 (nothing exposed) to 10; the bound.
const EXPOSURE_MAX: f64 = 2.0;

fn unit(name: &str) -> String {
    let path = sources::root().join(format!("systemd/{name}.service"));
    std::fs::read_to_string(path).unwrap()
}

/// Runs a tool of systemd's; `None`, and a line that says so, where it is not installed.
fn systemd(tool: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(tool).args(arguments).env("LC_ALL", "C").output() {
        Ok(output) => Some(output),
        Err(error) => {
            skipped("units", &format!("{tool}: {error}"));
            None
        }
    }
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
fn check_exposure(name: &str) {
    let file = sources::root().join(format!("systemd/{name}.service"));
    let arguments = ["security", "--offline=yes", "--no-pager", file.to_str().unwrap()];
    let Some(output) = systemd("systemd-analyze", &arguments) else { return };
    let said = words(&output);
    let line = said.lines().find(|line| line.contains("Overall exposure level")).expect("an overall level");
    let level: f64 = line.split_whitespace().find_map(|word| word.parse().ok()).expect("a number");
    println!("{name}: {level}");
    assert!(level <= EXPOSURE_MAX, "{name} has exposure {level}, more than {EXPOSURE_MAX}");
}

#[test]
fn the_agent_exposes_little() {
    check_exposure("ballast-agent");
}

#[test]
fn the_scheduler_exposes_little() {
    check_exposure("ballast-scheduler");
}

#[test]
fn systemd_understands_every_line() {
    let folder = tempfile::tempdir().unwrap();
    for name in UNITS {
        // The binaries are not installed here; everything else is judged as it will be.
        let here = unit(name).replace(&format!("/usr/bin/{name}"), "/bin/true");
        let path = folder.path().join(format!("{name}.service"));
        std::fs::write(&path, here).unwrap();
        let Some(output) = systemd("systemd-analyze", &["verify", path.to_str().unwrap()]) else { return };
        assert!(output.status.success() && words(&output).trim().is_empty(), "{name}: {}", words(&output));
    }
}

#[test]
fn units_notify_and_are_watched() {
    for name in UNITS {
        let unit = unit(name);
        for needed in ["Type=notify", "WatchdogSec=", "Restart=on-failure", "StateDirectory=ballast/", "MemoryMax="] {
            assert!(unit.lines().any(|line| line.starts_with(needed)), "{name} lacks {needed}");
        }
    }
}

#[test]
fn a_restart_of_libvirtd_takes_no_unit_down() {
    for name in UNITS {
        let unit = unit(name);
        let ties = ["Requires=", "BindsTo=", "PartOf=", "Requisite=", "PropagatesStopTo=", "StopPropagatedFrom="];
        let tied: Vec<_> = unit.lines().filter(|line| ties.iter().any(|tie| line.starts_with(tie))).collect();
        assert!(tied.is_empty(), "{name} is tied to another unit: {tied:?}");
    }
    let after =
        unit("ballast-agent").lines().any(|line| line.starts_with("After=") && line.contains("libvirtd.service"));
    assert!(after, "the agent starts before libvirtd");
}

/// An empty root with the system's own users, so that nothing of this machine is changed.
fn empty_root(folder: &Path) {
    std::fs::create_dir_all(folder.join("etc")).unwrap();
    std::fs::write(folder.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
    std::fs::write(folder.join("etc/group"), "root:x:0:\n").unwrap();
}

#[test]
fn sysusers_makes_the_user_and_its_membership() {
    let root = tempfile::tempdir().unwrap();
    empty_root(root.path());
    let file = sources::root().join("systemd/ballast.sysusers");
    let at = format!("--root={}", root.path().display());
    // Given by name, a file is read from the real root; as text it needs none.
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let arguments: Vec<&str> = [at.as_str(), "--inline"].into_iter().chain(lines.iter().copied()).collect();
    let Some(output) = systemd("systemd-sysusers", &arguments) else { return };
    assert!(output.status.success(), "{}", words(&output));
    let users = std::fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    let groups = std::fs::read_to_string(root.path().join("etc/group")).unwrap();
    assert!(users.lines().any(|line| line.starts_with("ballast:")), "{users}");
    let member = groups.lines().any(|line| line.starts_with("libvirt:") && line.ends_with(":ballast"));
    assert!(member, "{groups}");
}

#[test]
fn tmpfiles_lines_have_the_form_that_systemd_reads() {
    let root = tempfile::tempdir().unwrap();
    empty_root(root.path());
    let groups = "root:x:0:\nballast:x:990:\n";
    std::fs::write(root.path().join("etc/group"), groups).unwrap();
    let users = "root:x:0:0::/:/bin/sh\nballast:x:990:990::/:/bin/false\n";
    std::fs::write(root.path().join("etc/passwd"), users).unwrap();
    let place = root.path().join("usr/lib/tmpfiles.d");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::copy(sources::root().join("systemd/ballast.tmpfiles"), place.join("ballast.conf")).unwrap();
    let at = format!("--root={}", root.path().display());
    let Some(output) = systemd("systemd-tmpfiles", &[&at, "--create", "ballast.conf"]) else { return };
    let said = words(&output);
    // Only root may give files away; anybody can see whether the lines were understood.
    let understood = !said.contains("Unknown") && !said.contains("Failed to parse") && !said.contains("Invalid");
    assert!(understood, "{said}");
    assert!(root.path().join("etc/ballast/tls").is_dir(), "{said}");
}
