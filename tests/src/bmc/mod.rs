//! BMCs of other people's making, and hosts that speak to them as their configuration says.
//!
//! `redfish` is OpenStack's emulator, `ipmi` OpenIPMI's. Neither needs a machine of its own.

pub mod ipmi;
pub mod redfish;

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::Result;
use ballast_agent::{
    config::{Config, Machine},
    host::real::RealHost,
};
use ballast_core::units::Bytes;
use ballast_daemon::{clock::Clock, config::File};

/// The user that both kinds of BMC know.
pub const USER: &str = "waker";
/// His password.
pub const PASSWORD: &str = "not-for-logs";

/// Writes a password as it is to be kept.
///
/// # Errors
/// Where the file cannot be written.
pub fn write_password(path: &Path, password: &str) -> Result<()> {
    fs::write(path, format!("{password}\n"))?;
    Ok(fs::set_permissions(path, Permissions::from_mode(0o600))?)
}

/// A host whose agent.toml holds `sections` and, in the section `[bmc]`, the user, the file `password` of `folder` and `bmc`.
///
/// # Errors
/// Where the configuration is wrong or this machine cannot be read.
pub fn host(folder: &Path, bmc: &str, sections: &str) -> Result<RealHost> {
    let password = folder.join("password");
    let text = format!("[bmc]\nuser = {USER:?}\npassword_file = {password:?}\n{bmc}\n{sections}");
    let machine = Machine { name: "kvm1".into(), cores: 8.0, memory: Bytes::from_gib(32) };
    let (config, _) = Config::from_file(File::parse(&text, Path::new("agent.toml"))?, &machine, true)?;
    Ok(RealHost::new(config.host_options(), Clock::system())?)
}
