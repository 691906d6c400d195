//! What is made, and what is refused. Whether the daemons take it is a test of both together
//! (`security::what_ballast_certs_makes_is_taken_by_the_daemons` of ballast-tests).

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use ballast_core::units::Timestamp;
use ballast_daemon::tls::{Credentials, Holder, TlsFiles};
use clap::Parser as _;

use super::*;
use crate::args::{Args as Line, Command};

const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);

/// Types a line, at [`NOW`].
fn type_in(line: &str, folder: &Path) -> Result<String, String> {
    let words = format!("ballast certs {line} --out {}", folder.display());
    let parsed = Line::try_parse_from(words.split(' ')).map_err(|error| error.to_string())?;
    let Command::Certs(args) = parsed.command else { panic!("{words}") };
    let mut out = Vec::new();
    run(&args, parsed.output, &Clock::driven(NOW).0, &mut out).map_err(|error| format!("{error:#}"))?;
    Ok(String::from_utf8(out).unwrap())
}

fn install() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    type_in("init", dir.path()).unwrap();
    dir
}

fn files(dir: &Path, stem: &str) -> TlsFiles {
    let at = |name: String| dir.join(name);
    TlsFiles { ca: at("ca.pem".into()), cert: at(format!("{stem}.pem")), key: at(format!("{stem}.key")) }
}

#[test]
fn keys_are_for_their_owner_alone() {
    let dir = install();
    type_in("host kvm1", dir.path()).unwrap();
    for key in ["ca.key", "agent-kvm1.key"] {
        let mode = fs::metadata(dir.path().join(key)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
}

#[test]
fn what_is_there_is_never_written_over() {
    let dir = install();
    type_in("host kvm1", dir.path()).unwrap();
    let before = fs::read(dir.path().join("agent-kvm1.key")).unwrap();
    for line in ["init", "host kvm1"] {
        let error = type_in(line, dir.path()).unwrap_err();
        assert!(error.contains("nothing is written over"), "{error}");
    }
    fs::remove_file(dir.path().join("agent-kvm1.pem")).unwrap();
    assert!(type_in("host kvm1", dir.path()).is_err(), "the key is still there");
    assert_eq!(fs::read(dir.path().join("agent-kvm1.key")).unwrap(), before);
}

#[test]
fn each_role_gets_the_certificate_of_its_role() {
    let dir = install();
    for (line, stem, holder) in [
        ("scheduler s.example.org --san 192.0.2.7,::1", "scheduler-s.example.org", Holder::Scheduler),
        ("host kvm1 --san kvm1.example.org", "agent-kvm1", Holder::Agent("kvm1".into())),
    ] {
        type_in(line, dir.path()).unwrap();
        Credentials::load(files(dir.path(), stem), holder).unwrap();
    }
    for (line, stem) in [("operator alice@example.org", "operator-alice@example.org"), ("viewer bob", "viewer-bob")] {
        type_in(line, dir.path()).unwrap();
        let files = files(dir.path(), stem);
        assert!(Credentials::load(files.clone(), Holder::Scheduler).unwrap_err().to_string().contains("is not of"));
        Credentials::load(files, Holder::Anyone).unwrap();
    }
}

#[test]
fn a_certificate_lasts_as_long_as_asked_and_no_longer_than_its_authority() {
    let dir = tempfile::tempdir().unwrap();
    type_in("init --days 100", dir.path()).unwrap();
    let error = type_in("host kvm1", dir.path()).unwrap_err();
    assert_eq!(error, "--days: the authority itself ends in 100 days; 1 to 100 is needed");
    type_in("host kvm1 --days 30", dir.path()).unwrap();
    let credentials = Credentials::load(files(dir.path(), "agent-kvm1"), Holder::Anyone).unwrap();
    assert_eq!(credentials.valid_until(), NOW.after(DAY * 30));
    assert!(type_in("host kvm2 --days 0", dir.path()).unwrap_err().contains("--days"));
}

#[test]
fn names_that_cannot_be_are_refused() {
    let dir = install();
    for line in ["host a/b", "operator ../x", "viewer .hidden", "scheduler s --san a_b!"] {
        assert!(type_in(line, dir.path()).is_err(), "{line}");
    }
}

#[test]
fn without_an_authority_one_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let error = type_in("host kvm1", dir.path()).unwrap_err();
    assert!(error.contains("ca.pem: `ballast certs init --out DIR` makes an authority"), "{error}");
}

#[test]
fn a_renewal_goes_into_another_folder() {
    let (dir, second) = (install(), tempfile::tempdir().unwrap());
    type_in("host kvm1", dir.path()).unwrap();
    type_in(&format!("host kvm1 --authority {}", dir.path().display()), second.path()).unwrap();
    let renewed = TlsFiles { ca: dir.path().join("ca.pem"), ..files(second.path(), "agent-kvm1") };
    Credentials::load(renewed, Holder::Agent("kvm1".into())).unwrap();
}

#[test]
fn the_advice_is_a_configuration_that_is_taken() {
    let dir = install();
    let said = type_in("host kvm1", dir.path()).unwrap();
    let lines: Vec<&str> = said.lines().skip_while(|line| !line.contains("[agent]")).collect();
    let config: String =
        lines.iter().take_while(|line| line.starts_with("  ")).flat_map(|line| [line.trim(), "\n"]).collect();
    let file = ballast_daemon::config::File::parse(&config, Path::new("agent.toml")).unwrap();
    let machine = ballast_agent::config::Machine::here();
    let (config, _) = ballast_agent::config::Config::from_file(file, &machine, true).unwrap();
    assert_eq!(config.tls.unwrap().cert, Path::new("/etc/ballast/tls/agent.pem"));
}
