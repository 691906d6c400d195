//! The scheduler as a process of its own, and what the system says of it.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use ballast_daemon::{clock::Clock, tls::Role};
use ballast_tests::certificates::Authority;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Clock ticks per second in /proc, the same on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The section of the configuration with certificates for the scheduler itself.
fn section(authority: &Authority, address: SocketAddr) -> Result<String> {
    let files = authority.issue(Role::Scheduler, "load", Some(address.ip()))?;
    Ok(format!("[tls]\nca = {:?}\ncert = {:?}\nkey = {:?}\n", files.ca, files.cert, files.key))
}

/// A scheduler that is killed with this value.
#[derive(Debug)]
pub(crate) struct Observed {
    /// Where it serves.
    pub(crate) address: SocketAddr,
    metrics: SocketAddr,
    child: Child,
    /// Who signs for its agents and operators, where it wants certificates.
    pub(crate) authority: Option<Authority>,
    _data: TempDir,
}

impl Drop for Observed {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell.
        let _killed = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl Observed {
    /// Starts `program` on an empty directory and waits until it accepts connections.
    /// With `secured` only holders of a certificate of [`Observed::authority`] are served.
    pub(crate) async fn start(
        program: &Path,
        period_seconds: f64,
        mode: &str,
        (secured, verbose): (bool, bool),
    ) -> Result<Self> {
        let data = tempfile::tempdir()?;
        let [address, metrics] = [free_address()?, free_address()?];
        let config = data.path().join("scheduler.toml");
        let authority = if secured { Some(Authority::new(data.path())?) } else { None };
        let tls = authority.as_ref().map(|authority| section(authority, address)).transpose()?.unwrap_or_default();
        let text = format!(
            "[scheduler]\nlisten = \"{address}\"\nmetrics_listen = \"{metrics}\"\nperiod_seconds = {period_seconds:?}\n\
             mode = \"{mode}\"\ndata_dir = {:?}\n{tls}[log]\nfilter = \"warn\"\n",
            data.path().join("data")
        );
        fs::write(&config, text)?;
        let output = || if verbose { Stdio::inherit() } else { Stdio::null() };
        let mut command = Command::new(program);
        command.arg("--config").arg(&config).arg("run").stdout(output()).stderr(output());
        let child = command.spawn().with_context(|| format!("start {}", program.display()))?;
        let mut observed = Self { address, metrics, child, authority, _data: data };
        observed.wait().await?;
        Ok(observed)
    }

    async fn wait(&mut self) -> Result<()> {
        let clock = Clock::system();
        for _ in 0..100 {
            if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the scheduler ended: {status}");
            }
            clock.sleep(Duration::from_millis(100)).await;
        }
        bail!("the scheduler does not accept connections")
    }

    /// The value of a metric without labels.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64> {
        let mut stream = tokio::net::TcpStream::connect(self.metrics).await?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: load\r\nConnection: close\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("no {name} among the metrics"))?.parse()?)
    }

    /// CPU time it has used, user and system.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name in parentheses may hold spaces; utime and stime are the 12th and 13th field after it.
        let (_, fields) = stat.rsplit_once(')').context("an unreadable /proc/PID/stat")?;
        let ticks: Vec<f64> = fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
    }

    /// Memory it holds now and held at most.
    pub(crate) fn resident_mib(&self) -> Result<(f64, f64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = |name: &str| -> Result<f64> {
            let line = status.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
            Ok(line.split_whitespace().nth(1).context("no value")?.parse()?)
        };
        Ok((kib("VmRSS:")? / 1024.0, kib("VmHWM:")? / 1024.0))
    }
}
