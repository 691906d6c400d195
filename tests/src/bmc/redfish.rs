//! A BMC by Redfish: sushy-tools' emulator, through `tests/bmc/redfish.py`, with TLS and a user of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PASSWORD, USER, write_password};
use crate::{python, sources};

/// One that is off unless a test says otherwise.
#[derive(Debug, Clone, Copy)]
pub struct System {
    /// Part of its path.
    pub uuid: &'static str,
    /// `On` or `Off`.
    pub power: &'static str,
}

impl System {
    /// Where it is.
    pub fn path(&self) -> String {
        format!("/redfish/v1/Systems/{}", self.uuid)
    }
}

/// Who vouches for its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// It does by itself, and bears no name, as those that BMCs come with.
    Own,
    /// An authority, for its address.
    Signed,
}

/// A running one; it ends with this value.
#[derive(Debug)]
pub struct RedfishBmc {
    folder: TempDir,
    emulator: Child,
    port: u16,
}

impl RedfishBmc {
    /// Starts one. Without what it takes the test named `test` is noted as skipped, and there is none.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start(test: &str, systems: &[System], certificate: Certificate) -> Result<Option<Self>> {
        let Some(python) = python::with("sushy_tools", "sushy-tools", test) else { return Ok(None) };
        let folder = tempfile::tempdir()?;
        write_certificates(folder.path(), certificate)?;
        write_password(&folder.path().join("password"), PASSWORD)?;
        write_settings(folder.path(), systems, &hashed(&python)?)?;
        let mut emulator = Command::new(python)
            .arg(sources::root().join("tests/bmc/redfish.py"))
            .arg("--config")
            .arg(folder.path().join("settings.py"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let port = port(&mut emulator)?;
        let bmc = Self { folder, emulator, port };
        bmc.measure(&json!({}))?;
        Ok(Some(bmc))
    }

    /// The folder of its files: `ca.pem` and `password` are for those who speak to it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What belongs into the section `[bmc]` of such a one.
    pub fn trust(&self) -> String {
        format!("ca = {:?}", self.folder().join("ca.pem"))
    }

    /// Its address, followed by `path`.
    pub fn address(&self, path: &str) -> String {
        format!("redfish://{}:{}{path}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// What its chassis' meters say from now on.
    ///
    /// # Errors
    /// Where that cannot be written.
    pub fn measure(&self, meters: &Value) -> Result<()> {
        // In one step: it is read at any time.
        let next = self.folder().join("meter.next");
        fs::write(&next, meters.to_string())?;
        Ok(fs::rename(next, self.folder().join("meter"))?)
    }

    /// The orders it has had: path and body.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn orders(&self) -> Result<Vec<String>> {
        let orders = fs::read_to_string(self.folder().join("orders"))?;
        Ok(orders.lines().map(str::to_owned).collect())
    }
}

impl Drop for RedfishBmc {
    fn drop(&mut self) {
        // One that has ended by itself needs no killing.
        let _ended = self.emulator.kill().and_then(|()| self.emulator.wait());
    }
}

/// Waits until it says where it listens; what it says afterwards is read and dropped, so that it never waits for that.
fn port(emulator: &mut Child) -> Result<u16> {
    let mut said = String::new();
    let mut lines = BufReader::new(emulator.stderr.take().context("its standard error is a pipe")?).lines();
    let port = loop {
        let Some(line) = lines.next().transpose()? else { bail!("the emulator did not start: {said}") };
        if let Some((_, port)) = line.split_once("Running on https://127.0.0.1:") {
            break port.trim().parse()?;
        }
        said.push_str(&line);
    };
    std::thread::spawn(move || lines.for_each(drop));
    Ok(port)
}

/// The password as the emulator wants it in its file of users.
fn hashed(python: &str) -> Result<String> {
    let program = "import bcrypt, sys; print(bcrypt.hashpw(sys.argv[1].encode(), bcrypt.gensalt(4)).decode())";
    let output = Command::new(python).args(["-c", program, PASSWORD]).output()?;
    Ok(format!("{USER}:{}", String::from_utf8(output.stdout)?))
}

fn write_settings(folder: &Path, systems: &[System], users: &str) -> Result<()> {
    let file = |name: &str| -> PathBuf { folder.join(name) };
    fs::write(file("users"), users)?;
    fs::write(file("orders"), "")?;
    fs::create_dir(file("state"))?;
    let system =
        |system: &System| json!({ "uuid": system.uuid, "name": system.uuid, "power_state": system.power, "nics": [] });
    // A literal of JSON without true, false and null is one of Python.
    let systems: Value = systems.iter().map(system).collect();
    let settings = format!(
        "SUSHY_EMULATOR_FAKE_DRIVER = True\n\
         SUSHY_EMULATOR_LISTEN_IP = '127.0.0.1'\n\
         SUSHY_EMULATOR_LISTEN_PORT = 0\n\
         SUSHY_EMULATOR_SSL_CERT = {:?}\n\
         SUSHY_EMULATOR_SSL_KEY = {:?}\n\
         SUSHY_EMULATOR_AUTH_FILE = {:?}\n\
         SUSHY_EMULATOR_STATE_DIR = {:?}\n\
         SUSHY_EMULATOR_FAKE_SYSTEMS = {systems}\n\
         METER_FILE = {:?}\n\
         ORDERS_FILE = {:?}\n",
        file("bmc.pem"),
        file("bmc.key"),
        file("users"),
        file("state"),
        file("meter"),
        file("orders"),
    );
    Ok(fs::write(file("settings.py"), settings)?)
}

/// Writes its certificate and key, and as `ca.pem` what vouches for it.
fn write_certificates(folder: &Path, certificate: Certificate) -> Result<()> {
    let mut own = CertificateParams::new(Vec::new())?;
    own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own_key = KeyPair::generate()?;
    let vouches = own.self_signed(&own_key)?.pem();
    let (cert, key) = match certificate {
        Certificate::Own => (vouches.clone(), own_key.serialize_pem()),
        Certificate::Signed => {
            let key = KeyPair::generate()?;
            let named = CertificateParams::new(vec![Ipv4Addr::LOCALHOST.to_string()])?;
            (named.signed_by(&key, &Issuer::new(own, own_key))?.pem(), key.serialize_pem())
        }
    };
    fs::write(folder.join("bmc.pem"), cert)?;
    fs::write(folder.join("bmc.key"), key)?;
    Ok(fs::write(folder.join("ca.pem"), vouches)?)
}
