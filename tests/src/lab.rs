//! Real libvirt hosts on one machine, through `tests/lab/lab.sh`: what the tests of module `lab` run on.
//!
//! Names and addresses are this harness's own, so that a lab somebody keeps by hand is left alone.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{certificates::Authority, sources};

/// First three octets of the lab's network.
pub const NETWORK: &str = "10.79.0";
/// Where this machine is on it: the scheduler's address.
pub const HERE: &str = "10.79.0.254";
/// The label of a vm that only one host at a time may run, by libvirt's lock manager.
pub const LEASE: &str = "lease";
/// What the hosts' names begin with.
const PREFIX: &str = "e2e";

/// When the impatient give a peer up: an overloaded libvirtd must have answered by then.
const PATIENCE_SECONDS: &str = "10";

/// Why this machine cannot hold a lab; `None` where it can, or where `BALLAST_LAB=required` says that it must.
pub fn lacks() -> Option<String> {
    if std::env::var_os("BALLAST_LAB").is_some_and(|value| value == "required") {
        return None;
    }
    for tool in ["libvirtd", "qemu-system-x86_64", "virsh", "ip", "iptables", "ping", "busybox"] {
        let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).stdout(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            return Some(format!("{tool} is not installed"));
        }
    }
    let probe = "ip netns add ballast-probe && ip netns del ballast-probe && unshare --mount --uts true";
    let output = Command::new("sh").args(["-c", probe]).output().ok()?;
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// Hosts `e2e1` … with their vms; gone when it goes out of scope.
#[derive(Debug)]
pub struct Lab {
    folder: PathBuf,
}

impl Lab {
    /// Starts `hosts` hosts.
    ///
    /// # Errors
    /// What the script said.
    pub fn up(hosts: usize) -> Result<Self> {
        let lab = Self::cleared()?;
        lab.script(["up", &hosts.to_string()])?;
        Ok(lab)
    }

    /// Starts `hosts` hosts that give a silent peer up within some seconds, where libvirt and the kernel as shipped take half a
    /// minute for one they knew and two for one they did not: for what takes as long as that.
    ///
    /// # Errors
    /// What the script said.
    pub fn up_impatient(hosts: usize) -> Result<Self> {
        let lab = Self::cleared()?;
        lab.script(["up", &hosts.to_string(), PATIENCE_SECONDS])?;
        Ok(lab)
    }

    /// Starts `hosts` hosts that have the certificates libvirt and QEMU want for encrypted migrations.
    ///
    /// # Errors
    /// Where these cannot be made, and what the script said.
    pub fn up_with_certificates(hosts: usize) -> Result<Self> {
        let lab = Self::cleared()?;
        let authority = Authority::new(&lab.made(lab.folder.join("pki"))?)?;
        for number in 1..=hosts {
            let address = format!("{NETWORK}.{number}").parse()?;
            authority.issue_for_migrations(&lab.made(lab.pki(&Self::host(number)))?, address)?;
        }
        authority.issue_for_clients(&lab.made(lab.pki("client"))?)?;
        lab.script(["up", &hosts.to_string()])?;
        Ok(lab)
    }

    fn cleared() -> Result<Self> {
        // Below the system's own folder for such things: paths of Unix sockets are at most 107 bytes long.
        let folder = std::env::temp_dir().join("ballast-lab-tests");
        std::fs::create_dir_all(&folder)?;
        let lab = Self { folder };
        lab.script(["down"])?;
        Ok(lab)
    }

    /// Where the certificates of a host are, where it has any.
    pub fn pki(&self, host: &str) -> PathBuf {
        self.folder.join("pki").join(host)
    }

    fn made(&self, folder: PathBuf) -> Result<PathBuf> {
        std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        Ok(folder)
    }

    /// Name of a host, counted from 1.
    pub fn host(number: usize) -> String {
        format!("{PREFIX}{number}")
    }

    /// Starts a vm that uses `load` percent of a CPU, and waits until it answers.
    ///
    /// # Errors
    /// What the script said.
    pub fn vm(&self, host: &str, name: &str, address: &str, load: u32) -> Result<()> {
        self.vm_of(host, name, address, 128, load)
    }

    /// The same with so many MiB of memory.
    ///
    /// # Errors
    /// What the script said.
    pub fn vm_of(&self, host: &str, name: &str, address: &str, mib: u32, load: u32) -> Result<()> {
        self.guest(host, name, address, mib, load, &[])?;
        self.answers(address)
    }

    /// Waits until a vm answers.
    ///
    /// # Errors
    /// What the script said.
    pub fn answers(&self, address: &str) -> Result<()> {
        self.script(["wait-ping", address, "120"]).map(drop)
    }

    /// Starts a vm without waiting for it, with the labels that the script knows, or [`LEASE`].
    ///
    /// # Errors
    /// What the script said.
    pub fn guest(&self, host: &str, name: &str, address: &str, mib: u32, load: u32, labels: &[&str]) -> Result<()> {
        let (mib, load) = (mib.to_string(), load.to_string());
        self.script(["guest", host, name, address, &mib, &load].into_iter().chain(labels.iter().copied())).map(drop)
    }

    /// Starts several vms of one size on a host, by name and address, and waits until all answer.
    ///
    /// # Errors
    /// What the script said.
    pub fn vms(&self, host: &str, vms: &[(&str, String)], mib: u32, load: u32) -> Result<()> {
        for (name, address) in vms {
            self.guest(host, name, address, mib, load, &[])?;
        }
        vms.iter().try_for_each(|(_, address)| self.answers(address))
    }

    /// Has a vm write `rate` MiB per second, over and over the same `set` MiB.
    ///
    /// # Errors
    /// What the script said.
    pub fn writes(&self, name: &str, rate: u32, set: u32) -> Result<()> {
        self.script(["writes", name, &rate.to_string(), &set.to_string()]).map(drop)
    }

    /// The same, with `held` MiB more that it fills once and never gives back.
    ///
    /// # Errors
    /// What the script said.
    pub fn writes_and_holds(&self, name: &str, (rate, set): (u32, u32), held: u32) -> Result<()> {
        self.script(["writes", name, &rate.to_string(), &set.to_string(), &held.to_string()]).map(drop)
    }

    /// Lets no more than so many megabits per second out of a host; 0 lets everything out again.
    ///
    /// # Errors
    /// What the script said.
    pub fn throttle(&self, host: &str, mbit: u32) -> Result<()> {
        self.script(["throttle", host, &mbit.to_string()]).map(drop)
    }

    /// Has a vm power itself off, within some seconds.
    ///
    /// # Errors
    /// What the script said.
    pub fn power_off(&self, name: &str) -> Result<()> {
        self.script(["power-off", name]).map(drop)
    }

    /// Fails where a vm ever found other in its memory than what it had written there, or has not looked yet.
    ///
    /// # Errors
    /// What it found.
    pub fn is_whole(&self, name: &str) -> Result<()> {
        self.script(["is-whole", name]).map(drop)
    }

    /// What a vm has said on its console, whichever host it was on.
    pub fn console(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default()
    }

    /// How often a vm has looked over all that it writes, and found it as it wrote it.
    pub fn looks(&self, name: &str) -> u64 {
        let console = self.console(name);
        let last = console.lines().rev().find_map(|line| line.trim().strip_prefix("WRITER-OK ")?.parse().ok());
        last.unwrap_or(0)
    }

    /// Changes the CPU a vm uses, in percent.
    ///
    /// # Errors
    /// What the script said.
    pub fn load(&self, name: &str, load: u32) -> Result<()> {
        self.script(["load", name, &load.to_string()]).map(drop)
    }

    /// How an agent reaches the libvirtd of its host, and how other libvirtd do.
    ///
    /// # Errors
    /// What the script said.
    pub fn uris(&self, host: &str) -> Result<(String, String)> {
        let uri = self.script(["uri", host])?;
        let migration = self.script(["migration-uri", host])?;
        Ok((uri.trim().to_owned(), migration.trim().to_owned()))
    }

    /// Runs virsh on a host.
    ///
    /// # Errors
    /// What virsh said.
    pub fn virsh(&self, host: &str, arguments: &[&str]) -> Result<String> {
        self.script(["virsh", host].iter().chain(arguments))
    }

    /// Runs a command where a host is: in its network and under its name.
    ///
    /// # Errors
    /// What it said.
    pub fn within<S: AsRef<OsStr>>(&self, host: &str, arguments: impl IntoIterator<Item = S>) -> Result<String> {
        let arguments = arguments.into_iter().map(|argument| argument.as_ref().to_owned());
        self.script([OsString::from("in"), OsString::from(host)].into_iter().chain(arguments))
    }

    /// Hosts on which a vm runs (of the first `hosts`), asked of libvirt and of nobody else.
    pub fn running_on(&self, vm: &str, hosts: usize) -> Vec<String> {
        let runs = |host: &String| self.virsh(host, &["domstate", vm]).is_ok_and(|state| state.trim() == "running");
        (1..=hosts).map(Self::host).filter(runs).collect()
    }

    /// Kills the libvirtd of a host as a crash would.
    ///
    /// # Errors
    /// Where there is none.
    pub fn kill_libvirtd(&self, host: &str) -> Result<()> {
        let pid = std::fs::read_to_string(self.folder.join(host).join("libvirtd.pid")).context("read libvirtd.pid")?;
        let status = Command::new("kill").args(["-9", pid.trim()]).status()?;
        ensure!(status.success(), "libvirtd of {host} was not there to be killed");
        Ok(())
    }

    /// Stops the libvirtd of a host where it stands; its vms go on, and whoever asks it waits.
    ///
    /// # Errors
    /// Where there is none.
    pub fn freeze_libvirtd(&self, host: &str) -> Result<()> {
        self.script(["signal-libvirtd", host, "STOP"]).map(drop)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// Where there is none.
    pub fn thaw_libvirtd(&self, host: &str) -> Result<()> {
        self.script(["signal-libvirtd", host, "CONT"]).map(drop)
    }

    /// Whether a host has begun to make ready for a vm that comes: its QEMU is there.
    pub fn is_made_ready(&self, host: &str, vm: &str) -> bool {
        self.folder.join(host).join("run/qemu").join(format!("{vm}.pid")).exists()
    }

    /// Kills the QEMU of a vm on a host as a crash would.
    ///
    /// # Errors
    /// Where there is none.
    pub fn kill_vm(&self, host: &str, vm: &str) -> Result<()> {
        self.script(["kill-vm", host, vm]).map(drop)
    }

    /// Lets nothing through between two hosts.
    ///
    /// # Errors
    /// What the script said.
    pub fn cut(&self, host: &str, other: &str) -> Result<()> {
        self.script(["cut", host, other]).map(drop)
    }

    /// Lets everything through again that was cut off at `host`.
    ///
    /// # Errors
    /// What the script said.
    pub fn mend(&self, host: &str) -> Result<()> {
        self.script(["mend", host]).map(drop)
    }

    /// Starts it again.
    ///
    /// # Errors
    /// What the script said.
    pub fn restart_libvirtd(&self, host: &str) -> Result<()> {
        self.script(["restart-libvirtd", host]).map(drop)
    }

    /// Listens to what the libvirtd of a host says of its vms.
    ///
    /// # Errors
    /// Where `virsh` cannot be started.
    pub fn events(&self, host: &str, name: &str) -> Result<Daemon> {
        let mut command = self.command();
        // To a file it would be told in heaps.
        let uri = self.script(["uri", host])?;
        command.args(["in", host, "stdbuf", "-oL", "virsh", "-c", uri.trim(), "event", "--all", "--loop"]);
        self.daemon(name, command)
    }

    /// Starts a program where a host is: in its network and under its name. Its output goes to `<name>.log`.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn daemon_in(&self, host: &str, name: &str, program: &Path, arguments: &[&OsStr]) -> Result<Daemon> {
        let mut command = self.command();
        command.args(["in", host]).arg(program).args(arguments);
        self.daemon(name, command)
    }

    /// Starts a program on this machine itself.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn daemon_here(&self, name: &str, program: &Path, arguments: &[&OsStr]) -> Result<Daemon> {
        let mut command = Command::new(program);
        command.args(arguments);
        self.daemon(name, command)
    }

    fn daemon(&self, name: &str, mut command: Command) -> Result<Daemon> {
        let log = self.folder.join(format!("{name}.log"));
        // A program that is started again goes on in the same log.
        let out = File::options().append(true).create(true).open(&log)?;
        let child = command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).spawn();
        Ok(Daemon { child: child.with_context(|| format!("start {name}"))?, log })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(sources::root().join("tests/lab/lab.sh"));
        command.env("LAB", &self.folder).env("LAB_HOST", PREFIX).env("LAB_NET", NETWORK);
        command
    }

    fn script<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<String> {
        let arguments: Vec<S> = arguments.into_iter().collect();
        // To a file: a daemon the script leaves behind keeps a pipe open for ever.
        let out = tempfile::NamedTempFile::new()?;
        let status = self
            .command()
            .args(&arguments)
            .stdin(Stdio::null())
            .stdout(out.reopen()?)
            .stderr(out.reopen()?)
            .status()
            .context("start lab.sh")?;
        let said = std::fs::read_to_string(out.path())?;
        if !status.success() {
            let called: Vec<_> = arguments.iter().map(|argument| argument.as_ref().to_string_lossy()).collect();
            bail!("lab.sh {}: {said}", called.join(" "));
        }
        Ok(said)
    }
}

impl Drop for Lab {
    #[allow(clippy::print_stdout)] // the output of a test is where people look
    fn drop(&mut self) {
        if let Err(error) = self.script(["down"]) {
            println!("the lab could not be taken down: {error:#}");
        }
    }
}

/// A program a test has started; killed when it goes out of scope.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// All it has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it as a crash would; one that has ended already stays so.
    ///
    /// # Errors
    /// Where it cannot be killed or waited for.
    pub fn crash(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Daemon {
    #[allow(clippy::print_stdout)] // the output of a test is where people look
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- {}\n{}", self.log.display(), self.log());
        }
        // It may have been killed before; either way it is gone afterwards.
        drop(self.child.kill().and_then(|()| self.child.wait()));
    }
}

/// A `ping` ten times a second, to see how long a vm is away.
#[derive(Debug)]
pub struct Ping {
    daemon: Daemon,
}

/// Time between two pings.
const PING_SECONDS: f64 = 0.1;

impl Ping {
    /// Begins to ping.
    ///
    /// # Errors
    /// Where `ping` cannot be started.
    pub fn start(lab: &Lab, address: &str) -> Result<Self> {
        let interval = PING_SECONDS.to_string();
        let arguments = ["-O", "-i", &interval, address].map(OsStr::new);
        Ok(Self { daemon: lab.daemon_here(&format!("ping-{address}"), Path::new("ping"), &arguments)? })
    }

    /// Answers so far, and the longest time without one, in seconds.
    pub fn longest_gap(&self) -> (usize, f64) {
        let log = self.daemon.log();
        let answered: Vec<u32> = log.lines().filter(|line| line.contains("bytes from")).filter_map(sequence).collect();
        let missed = answered.windows(2).map(|pair| pair[1].saturating_sub(pair[0] + 1)).max().unwrap_or(0);
        (answered.len(), f64::from(missed) * PING_SECONDS)
    }
}

fn sequence(line: &str) -> Option<u32> {
    let (_, rest) = line.split_once("icmp_seq=")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// A program of the workspace, built where it is not yet; from the folder `BALLAST_BIN_DIR` where that names one.
///
/// # Errors
/// What cargo said.
pub fn program(name: &str) -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("BALLAST_BIN_DIR") {
        return Ok(PathBuf::from(folder).join(name));
    }
    let here = std::env::current_exe()?;
    let beside = here.parent().context("this program lies in no folder")?;
    if !beside.ends_with("deps") {
        let program = beside.join(name);
        ensure!(program.exists(), "{} is not there: cargo build -p {name}", program.display());
        return Ok(program);
    }
    // <target>/<profile>/deps/<test>
    let folder = beside.parent().context("the test lies in no target folder")?;
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--bins", "--locked", "--quiet"]).current_dir(sources::root());
    command.args(["-p", "ballast-agent", "-p", "ballast-scheduler", "-p", "ballast-tests"]);
    command.env("CARGO_TARGET_DIR", folder.parent().context("no target folder")?);
    // What cargo tells a test of its own package would have `ring`, and all that rests on it, built anew: its build script
    // watches these.
    for (name, _) in std::env::vars_os() {
        let ours =
            name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
        if ours {
            command.env_remove(name);
        }
    }
    if folder.ends_with("release") {
        command.arg("--release");
    }
    let output = command.output()?;
    ensure!(output.status.success(), "build {name}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(folder.join(name))
}
