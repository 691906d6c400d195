//! The real programs on the lab's hosts: an agent in each, a scheduler beside them, TLS between all.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use ballast_daemon::{
    clock::Clock,
    tls::{Role, TlsFiles},
};
use ballast_proto::v1::{self, operator_client::OperatorClient};
use tonic::transport::{Channel, Endpoint};

use crate::{
    certificates::Authority,
    lab::{self, Daemon, HERE, Lab},
};

/// The scheduler's port on the lab's network.
pub const PORT: u16 = 7070;
/// Between two looks at something that takes its time.
const LOOK: Duration = Duration::from_millis(250);

/// A fleet of real programs on real hosts.
#[derive(Debug)]
pub struct LabFleet {
    // The programs end before the lab they run in.
    /// The scheduler.
    pub scheduler: Daemon,
    /// The agents, in the order of the hosts.
    pub agents: Vec<Daemon>,
    /// The hosts and their vms.
    pub lab: Lab,
    operator: TlsFiles,
    authority: Authority,
    hosts: usize,
    folder: tempfile::TempDir,
}

/// How a scheduler of the lab decides and moves.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The mode it starts in.
    pub mode: &'static str,
    /// Whether migrations are encrypted; the hosts need certificates for that ([`Lab::up_with_certificates`]).
    pub migration_tls: bool,
    /// Further lines of its section `[tuning]`.
    pub tuning: &'static str,
    /// Memory of each host for its vms, MiB.
    pub memory_mib: u32,
    /// CPU of each host for its vms, counted by what they use: the hosts share this machine's processors.
    pub cpu_cores: f64,
    /// Whether a host that is empty may sleep. None does: its command only says so, and the host stays as it is.
    pub may_sleep: bool,
}

impl Terms {
    /// As shipped, in `mode`, but that migrations are not encrypted.
    pub fn plain(mode: &'static str) -> Self {
        Self { mode, migration_tls: false, tuning: "", memory_mib: 1024, cpu_cores: 1.0, may_sleep: false }
    }
}

impl LabFleet {
    /// Starts a scheduler in `mode` and an agent on each of the lab's `hosts` hosts.
    ///
    /// # Errors
    /// Where something does not start, with what it said.
    pub fn start(lab: Lab, hosts: usize, mode: &'static str) -> Result<Self> {
        Self::start_on(lab, hosts, &Terms::plain(mode))
    }

    /// The same on other terms.
    ///
    /// # Errors
    /// Where something does not start, with what it said.
    pub fn start_on(lab: Lab, hosts: usize, terms: &Terms) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let authority = Authority::new(folder.path())?;
        let operator = authority.issue(Role::Operator, "lab", None)?;
        configure_scheduler(&authority, folder.path(), terms)?;
        let scheduler = start_scheduler(&lab, folder.path())?;
        let start = |number: usize| {
            let host = Lab::host(number);
            configure_agent(&lab, &authority, folder.path(), &host, terms)?;
            start_agent(&lab, folder.path(), &host)
        };
        let agents = (1..=hosts).map(start).collect::<Result<_>>()?;
        Ok(Self { scheduler, agents, lab, operator, authority, hosts, folder })
    }

    /// Starts the scheduler again after it was killed, with what it had written.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn restart_scheduler(&mut self) -> Result<()> {
        self.scheduler.crash()?;
        self.scheduler = start_scheduler(&self.lab, self.folder.path())?;
        Ok(())
    }

    /// Starts the agent of a host, counted from 1, again after it was killed.
    ///
    /// # Errors
    /// Where there is none or it does not start.
    pub fn restart_agent(&mut self, number: usize) -> Result<()> {
        let index = number.checked_sub(1).context("hosts are counted from 1")?;
        let agent = self.agents.get_mut(index).context("no such agent")?;
        agent.crash()?;
        *agent = start_agent(&self.lab, self.folder.path(), &Lab::host(number))?;
        Ok(())
    }

    /// Gives the scheduler and every agent new certificates of the same authority, in the files of the old ones.
    ///
    /// # Errors
    /// Where these cannot be written.
    pub fn renew_certificates(&self) -> Result<()> {
        issue_for_scheduler(&self.authority)?;
        (1..=self.hosts).try_for_each(|number| self.authority.issue(Role::Agent, &Lab::host(number), None).map(drop))
    }

    /// Where the agent of a host keeps its data.
    pub fn data_dir(&self, host: &str) -> PathBuf {
        self.folder.path().join(host)
    }

    /// Certificates of an operator.
    pub fn operator_files(&self) -> &TlsFiles {
        &self.operator
    }

    /// Address of the scheduler, as clients write it.
    pub fn address() -> String {
        format!("{HERE}:{PORT}")
    }

    /// A client for operators.
    ///
    /// # Errors
    /// Where the scheduler cannot be reached within half a minute.
    pub async fn operator(&self) -> Result<OperatorClient<Channel>> {
        let endpoint = Endpoint::from_shared(format!("https://{}", Self::address()))?;
        let endpoint = self.operator.secure(endpoint, HERE)?;
        let channel = eventually(Duration::from_secs(30), async || endpoint.connect().await.ok()).await;
        Ok(OperatorClient::new(channel.context("the scheduler cannot be reached")?))
    }

    /// Waits until every host has reported, none is doubted, and it is known of every vm what it uses: one that has only been seen
    /// is taken to use all it may, and finds no place.
    ///
    /// # Errors
    /// With what is doubted, after a minute.
    pub async fn trusted(&self, operator: &OperatorClient<Channel>, hosts: usize) -> Result<Vec<v1::HostStatus>> {
        let mut last = Vec::new();
        let seen = eventually(Duration::from_secs(60), async || {
            let reply = operator.clone().list_hosts(v1::ListHostsRequest {}).await.ok()?.into_inner();
            let well = |host: &v1::HostStatus| host.doubts.is_empty() && host.sample.is_some();
            let all = reply.hosts.len() == hosts && reply.hosts.iter().all(well);
            last.clone_from(&reply.hosts);
            (all && uses_are_known(operator).await?).then_some(reply.hosts)
        })
        .await;
        ensure!(seen.is_some(), "hosts after a minute: {last:#?}");
        seen.context("hosts")
    }
}

/// Whether the scheduler knows of every vm how much CPU it uses.
async fn uses_are_known(operator: &OperatorClient<Channel>) -> Option<bool> {
    let vms = operator.clone().list_vms(v1::ListVmsRequest::default()).await.ok()?.into_inner().vms;
    let used = |vm: &v1::VmStatus| vm.sample.as_ref().and_then(|sample| sample.cpu_used_cores);
    Some(vms.iter().all(|vm| used(vm).is_some_and(|used| used.quality() == v1::Quality::Measured)))
}

/// Asks until there is an answer, for at most `limit` of real time.
pub async fn eventually<T>(limit: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let clock = Clock::system();
    loop {
        if let Some(answer) = ask().await {
            return Some(answer);
        }
        if clock.elapsed() > limit {
            return None;
        }
        clock.sleep(LOOK).await;
    }
}

fn tls_section(files: &TlsFiles) -> String {
    format!(
        "[tls]\nca = {:?}\ncert = {:?}\nkey = {:?}\n",
        files.ca.display().to_string(),
        files.cert.display().to_string(),
        files.key.display().to_string()
    )
}

fn issue_for_scheduler(authority: &Authority) -> Result<TlsFiles> {
    authority.issue(Role::Scheduler, "lab", Some(HERE.parse()?))
}

/// Samples every second and rounds every five, so that a test need not wait; the rest is as shipped, but for rests of vms
/// that would outlast the test.
fn configure_scheduler(authority: &Authority, folder: &Path, terms: &Terms) -> Result<()> {
    let files = issue_for_scheduler(authority)?;
    let Terms { mode, migration_tls, tuning, .. } = terms;
    let text = format!(
        "[scheduler]\nlisten = \"{HERE}:{PORT}\"\nmetrics_listen = \"\"\ndata_dir = {:?}\nmode = {mode:?}\n\
         period_seconds = 1.0\nround_seconds = 5.0\nrelief_seconds = 1.0\nmigration_tls = {migration_tls}\n{}\
         [tuning]\nrelief_after = 5.0\nvm_cool_down = 60.0\n{tuning}\n\
         [log]\nfilter = \"info,ballast_scheduler=debug,ballast_scheduler::rpc=info\"\n",
        folder.join("scheduler").display().to_string(),
        tls_section(&files)
    );
    Ok(fs::write(folder.join("scheduler.toml"), text)?)
}

fn start_scheduler(lab: &Lab, folder: &Path) -> Result<Daemon> {
    let (config, program) = (folder.join("scheduler.toml"), lab::program("ballast-scheduler")?);
    lab.daemon_here("scheduler", &program, &[OsStr::new("--config"), config.as_os_str(), OsStr::new("run")])
}

fn configure_agent(lab: &Lab, authority: &Authority, folder: &Path, host: &str, terms: &Terms) -> Result<()> {
    let files = authority.issue(Role::Agent, host, None)?;
    let (uri, migration_uri) = lab.uris(host)?;
    let pki = lab.pki(host);
    let pki =
        if pki.exists() { format!("migration_tls_dir = {:?}\n", pki.display().to_string()) } else { String::new() };
    let sleep = if terms.may_sleep { "sleep = \"suspend\"\nsleep_command = [\"true\"]\n" } else { "" };
    let text = format!(
        "[agent]\nhost = {host:?}\nscheduler = \"https://{HERE}:{PORT}\"\ndata_dir = {:?}\nperiod_seconds = 1.0\nmoves_out = 8\n\
         log = \"info,ballast_agent=debug\"\n{}\
         [libvirt]\nuri = {uri:?}\nmigration_uri = {migration_uri:?}\n{pki}\
         [host]\ncpu_cores = {:?}\nmemory_mib = {}\ncpu_accounting = \"vms\"\n{sleep}\
         [power]\nclass = \"ml110-g5\"\nsources = []\n",
        folder.join(host).display().to_string(),
        tls_section(&files),
        terms.cpu_cores,
        terms.memory_mib
    );
    Ok(fs::write(folder.join(format!("{host}.toml")), text)?)
}

fn start_agent(lab: &Lab, folder: &Path, host: &str) -> Result<Daemon> {
    let (config, program) = (folder.join(format!("{host}.toml")), lab::program("ballast-agent")?);
    let arguments = [OsStr::new("--config"), config.as_os_str(), OsStr::new("run")];
    lab.daemon_in(host, &format!("agent-{host}"), &program, &arguments)
}
