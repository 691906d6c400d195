//! `[bmc]`: as whom BMCs are spoken to, for waking other hosts and for this host's power.

use std::path::{Path, PathBuf};

use ballast_daemon::config::Problems;
use serde::{Deserialize, Serialize};

use super::{HostConfig, PowerMeter};
use crate::host::wake_address::{RedfishAddress, WakeAddress};

/// As whom BMCs are spoken to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BmcConfig {
    /// Their user.
    pub user: String,
    /// File that holds the password.
    pub password_file: PathBuf,
    /// Certificates that theirs are checked against.
    pub ca: Option<PathBuf>,
    /// Which BMCs are given user and password.
    pub trusted: Vec<String>,
    /// This host's own, by Redfish, where it is known.
    pub own: Option<RedfishAddress>,
}

/// `[bmc]` as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct BmcSection {
    user: Option<String>,
    password_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    trusted: Vec<String>,
    own_address: Option<String>,
}

impl Default for BmcSection {
    fn default() -> Self {
        // A fleet of one owner; docs/security.md says when to narrow it.
        Self { user: None, password_file: None, ca: None, trusted: vec!["*".to_owned()], own_address: None }
    }
}

/// Checks the section and what other sections want of it; `None` where nobody speaks to a BMC.
pub(super) fn resolve(
    raw: BmcSection,
    host: &HostConfig,
    meters: &[PowerMeter],
    problems: &mut Problems,
) -> Option<BmcConfig> {
    let own = own(&raw, host, problems);
    check_trusted(&raw.trusted, problems);
    check_file("bmc.password_file", raw.password_file.as_deref(), problems);
    check_file("bmc.ca", raw.ca.as_deref(), problems);
    let measures = meters.contains(&PowerMeter::Redfish);
    if measures && own.is_none() {
        let needed =
            "this host's own BMC is needed: bmc.own_address, or a host.wake_address that begins with redfish://";
        problems.push("power.sources", "\"redfish\"", needed);
    }
    let is_used = measures || raw != BmcSection::default();
    if !is_used {
        return None;
    }
    if own.is_some() && raw.ca.is_none() {
        problems.push(
            "bmc.ca",
            "nothing",
            "the path of a PEM file is needed, which BMCs' certificates are checked against",
        );
    }
    Some(BmcConfig {
        user: user(raw.user, problems),
        password_file: raw.password_file.unwrap_or_else(|| {
            problems.push("bmc.password_file", "nothing", "the path of the file with the password is needed");
            PathBuf::new()
        }),
        ca: raw.ca,
        trusted: raw.trusted,
        own,
    })
}

/// The host's own BMC: as it says here, or where it is woken.
fn own(raw: &BmcSection, host: &HostConfig, problems: &mut Problems) -> Option<RedfishAddress> {
    let Some(given) = &raw.own_address else {
        return match host.wake_address.as_deref()?.parse() {
            Ok(WakeAddress::Redfish(address)) => Some(address),
            _ => None,
        };
    };
    let own: Result<RedfishAddress, _> = given.parse();
    own.map_err(|needed| problems.push("bmc.own_address", format!("{given:?}"), needed.to_string())).ok()
}

fn user(given: Option<String>, problems: &mut Problems) -> String {
    let user = given.unwrap_or_default();
    // HTTP parts user and password by a colon.
    if user.is_empty() || user.contains(|c: char| c == ':' || c.is_control()) {
        problems.push("bmc.user", format!("{user:?}"), "the name of a user of the BMCs is needed, without a colon");
    }
    user
}

fn check_trusted(trusted: &[String], problems: &mut Problems) {
    for pattern in trusted.iter().filter(|pattern| pattern.is_empty() || pattern.matches('*').count() > 1) {
        let needed = "a name or an address is needed, as *.bmc.example.org or 192.0.2.*, with one * at most";
        problems.push("bmc.trusted", format!("{pattern:?}"), needed);
    }
}

fn check_file(field: &str, path: Option<&Path>, problems: &mut Problems) {
    if let Some(path) = path.filter(|path| !path.is_absolute()) {
        problems.push(field, format!("{path:?}"), "an absolute path is needed");
    }
}
