//! The real scheduler inside a test: its own thread, real gRPC on loopback, a clock that the test drives.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use ballast_core::{decision::Mode, units::Timestamp};
use ballast_daemon::clock::{Clock, Driver};
use ballast_proto::v1::operator_client::OperatorClient;
use ballast_scheduler::{Scheduler, config::Config, engine::Engine};
use tokio::{net::TcpListener, sync::oneshot};
use tonic::transport::Channel;

use crate::{logs::Logs, process::Process};

/// Where every test's clock begins: a round number in 2026, so that a date in a message is no surprise.
pub const START: Timestamp = Timestamp::from_secs(1_780_000_000);
/// Real time given to the daemons for each step of the driven clock. Nothing rests on it: what a test needs it waits for.
const BREATH: Duration = Duration::from_millis(2);

/// A scheduler and the means to ask and to lose it.
#[derive(Debug)]
pub struct SchedulerUnderTest {
    process: Process,
    /// Its engine, to be looked into.
    pub engine: Engine,
    /// Where it serves.
    pub address: SocketAddr,
}

/// Settings that make a round quick to wait for; everything else is the default.
pub fn quick(data_dir: &Path, mode: Mode) -> Config {
    let mut config = Config::for_embedding(data_dir, SocketAddr::from(([127, 0, 0, 1], 0)));
    config.engine.period = Duration::from_secs(1);
    config.engine.round_interval = Duration::from_secs(10);
    config.engine.initial_mode = mode;
    config.engine.tuning.relief_after = Duration::from_secs(5);
    config
}

impl SchedulerUnderTest {
    /// Starts a scheduler; on `address` where a former one has served, on any free port otherwise.
    ///
    /// # Errors
    /// What the scheduler said when it did not start.
    pub async fn start(config: Config, clock: Clock, logs: &Logs) -> Result<Self> {
        let (tell, told) = oneshot::channel();
        let listener = std::net::TcpListener::bind(config.listen).context("bind")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let process = Process::spawn("scheduler", logs, move |stop| async move {
            let scheduler = match Scheduler::start(config, clock).await {
                Ok(scheduler) => scheduler,
                Err(error) => {
                    drop(tell.send(Err(anyhow::Error::from(error))));
                    return Ok(());
                }
            };
            drop(tell.send(Ok(scheduler.engine())));
            let listener = TcpListener::from_std(listener)?;
            // A sender that is gone means that the test is over.
            let stopped = async { drop(stop.await) };
            Ok(scheduler.serve(listener, None, stopped).await?)
        })?;
        let engine = told.await.context("the scheduler ended before it had started")??;
        Ok(Self { process, engine, address })
    }

    /// Its address, as clients write it.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// A client for operators.
    ///
    /// # Errors
    /// Where it cannot be reached.
    pub async fn operator(&self) -> Result<OperatorClient<Channel>> {
        let channel = Channel::from_shared(format!("http://{}", self.address))?.connect().await?;
        Ok(OperatorClient::new(channel))
    }

    /// Ends it as SIGTERM does.
    ///
    /// # Errors
    /// What it ended with.
    pub async fn stop(&mut self) -> Result<()> {
        self.process.stop().await
    }

    /// Loses it.
    ///
    /// # Errors
    /// Where it had failed before.
    pub async fn crash(&mut self) -> Result<()> {
        self.process.crash().await
    }
}

/// Time, as a test lets it pass.
#[derive(Debug)]
pub struct Time {
    /// What the daemons read.
    pub clock: Clock,
    driver: Driver,
    real: Clock,
}

impl Default for Time {
    fn default() -> Self {
        let (clock, driver) = Clock::driven(START);
        Self { clock, driver, real: Clock::system() }
    }
}

impl Time {
    /// Now.
    pub fn now(&self) -> Timestamp {
        self.driver.now()
    }

    /// Lets the daemons take up what has happened, without time passing.
    pub async fn settle(&self) {
        self.real.sleep(BREATH).await;
    }

    /// Lets time pass in steps of `step` until `done`, for at most `limit`; false where it was not done by then.
    pub async fn until(&self, limit: Duration, step: Duration, mut done: impl AsyncFnMut() -> bool) -> bool {
        let end = self.now().after(limit);
        loop {
            self.settle().await;
            if done().await {
                return true;
            }
            if self.now() >= end {
                return false;
            }
            self.driver.advance(step);
        }
    }

    /// Lets `span` pass in steps of `step`.
    pub async fn pass(&self, span: Duration, step: Duration) {
        self.until(span, step, async || false).await;
    }
}

/// A folder for one test, gone with it.
///
/// # Errors
/// Where it cannot be made.
pub fn folder() -> Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir().context("make a folder")?;
    let path = folder.path().to_path_buf();
    Ok((folder, path))
}
