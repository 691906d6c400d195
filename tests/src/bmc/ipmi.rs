//! A BMC by IPMI over the network: OpenIPMI's `ipmi_sim`, spoken to by the site's `ipmitool`.

use std::{
    fs::{self, Permissions},
    net::UdpSocket,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Result, bail};
use tempfile::TempDir;

use super::{PASSWORD, USER, write_password};
use crate::skip::skipped;

/// RMCP without a sequence, ASF's enterprise number, and its message "presence ping" with a tag and no data.
const PRESENCE_PING: [u8; 12] = [6, 0, 0xff, 6, 0, 0, 0x11, 0xbe, 0x80, 1, 0, 0];
const PING_EVERY: Duration = Duration::from_millis(50);
/// Ten seconds in all.
const PINGS_MAX: usize = 200;

/// A running one; it ends with this value.
#[derive(Debug)]
pub struct IpmiBmc {
    folder: TempDir,
    simulator: Child,
    port: u16,
}

impl IpmiBmc {
    /// Starts one whose user may switch its host and nothing more. Without what it takes the test named `test` is noted as
    /// skipped, and there is none.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start(test: &str) -> Result<Option<Self>> {
        for (program, asked, package) in [("ipmitool", "-V", "ipmitool"), ("ipmi_sim", "-v", "openipmi")] {
            if Command::new(program).arg(asked).output().is_err() {
                skipped(test, &format!("no {program}: it comes with the package {package}"));
                return Ok(None);
            }
        }
        let folder = tempfile::tempdir()?;
        write_password(&folder.path().join("password"), PASSWORD)?;
        let port = free_port()?;
        write_settings(folder.path(), port)?;
        let simulator = Command::new("ipmi_sim")
            .current_dir(folder.path())
            .args(["-n", "-c", "lan.conf", "-f", "commands", "-s", "state"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let bmc = Self { folder, simulator, port };
        bmc.answers()?;
        Ok(Some(bmc))
    }

    /// Waits until it answers to a presence ping: `ipmitool` gives up at once on a port where nobody listens yet.
    fn answers(&self) -> Result<()> {
        // Not connected, so that a port without a listener is silence and no error.
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(PING_EVERY))?;
        for _ in 0..PINGS_MAX {
            socket.send_to(&PRESENCE_PING, ("127.0.0.1", self.port))?;
            if socket.recv_from(&mut [0; 64]).is_ok() {
                return Ok(());
            }
        }
        bail!("ipmi_sim does not answer")
    }

    /// The folder of its files: `password` is for those who speak to it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("ipmi://127.0.0.1:{}", self.port)
    }

    /// What it was told to do with its host.
    ///
    /// # Errors
    /// Where that cannot be read.
    pub fn orders(&self) -> Result<Vec<String>> {
        let orders = fs::read_to_string(self.folder().join("orders"))?;
        Ok(orders.lines().map(str::to_owned).collect())
    }
}

impl Drop for IpmiBmc {
    fn drop(&mut self) {
        // One that has ended by itself needs no killing.
        let _ended = self.simulator.kill().and_then(|()| self.simulator.wait());
    }
}

/// A port that nobody had a moment ago: the simulator cannot choose one by itself.
fn free_port() -> Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn write_settings(folder: &Path, port: u16) -> Result<()> {
    fs::create_dir(folder.join("state"))?;
    fs::write(folder.join("orders"), "")?;
    let orders = folder.join("orders");
    // It is run with the words `get power`, `set power 1` and the like after its first argument.
    let chassis = format!("#!/bin/sh\nshift\necho \"$*\" >> {orders:?}\n[ \"$1\" != get ] || echo power:0\n");
    fs::write(folder.join("chassis"), chassis)?;
    fs::set_permissions(folder.join("chassis"), Permissions::from_mode(0o700))?;
    let chassis = folder.join("chassis");
    let lan = format!(
        "name \"bmc\"\n\
         set_working_mc 0x20\n\
         startlan 1\n\
         addr 127.0.0.1 {port}\n\
         priv_limit admin\n\
         allowed_auths_operator md5\n\
         guid a123456789abcdefa123456789abcdef\n\
         endlan\n\
         chassis_control \"{} 0x20\"\n\
         user 2 true \"{USER}\" \"{PASSWORD}\" operator 10 md5\n",
        chassis.display()
    );
    fs::write(folder.join("lan.conf"), lan)?;
    let commands =
        "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nmc_enable 0x20\n";
    Ok(fs::write(folder.join("commands"), commands)?)
}
