//! What `run` needs from the machine: the configuration as at a start, the real drivers, the signals.

use std::{error::Error, path::Path};

use ballast_agent::{
    AgentError,
    config::{Config, Machine},
};
use ballast_daemon::{
    config::{ConfigError, File, Problem},
    held::{HeldDir, HoldError},
};

/// Reads the configuration as at a start: an unknown key is a mistake at the first start, where nothing is in the data
/// directory yet, and warned of later, so that an older version still starts with a newer file.
///
/// # Errors
/// [`ConfigError`] with every problem of the file.
pub(super) fn load(path: &Path) -> Result<(Config, Vec<Problem>), ConfigError> {
    let machine = Machine::here();
    let (config, unknown) = Config::from_file(File::read(path)?, &machine, false)?;
    let first_start = !config.data_dir.join("journal").exists();
    if first_start && !unknown.is_empty() {
        return Config::from_file(File::read(path)?, &machine, true);
    }
    Ok((config, unknown))
}

/// An error with its causes.
pub(super) fn words(error: &ConfigError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Time for a call to the hypervisor that hangs to come back before the process ends without it.
#[cfg(feature = "libvirt")]
const LAST_CALLS: std::time::Duration = std::time::Duration::from_secs(3);

/// True where only another configuration helps.
pub(super) fn is_of_configuration(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(AgentError::Tls(_) | AgentError::Endpoint { .. }))
}

/// Runs the agent alone on its data directory, of which nothing is opened before. One that cannot be written is lived with, as
/// everywhere in the agent: nothing is carried out from it then.
pub(super) fn hold_and_serve(config: Config) -> anyhow::Result<()> {
    let _held = match HeldDir::take(&config.data_dir) {
        Ok(held) => Some(held),
        Err(error @ HoldError::InUse { .. }) => return Err(error.into()),
        Err(error @ HoldError::Io { .. }) => {
            tracing::error!("{:#}; nothing keeps a second agent away from it", anyhow::Error::from(error));
            None
        }
    };
    serve(config)
}

/// Runs the agent over libvirt and the real host until SIGTERM or SIGINT.
#[cfg(feature = "libvirt")]
fn serve(config: Config) -> anyhow::Result<()> {
    // One thread: whatever blocks is done aside (the clock's `aside`, threads of the libvirt driver), and a second worker would be
    // woken at every beat for nothing.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(run(config));
    runtime.shutdown_timeout(LAST_CALLS);
    outcome
}

#[cfg(feature = "libvirt")]
async fn run(config: Config) -> anyhow::Result<()> {
    use ballast_agent::{host::real::RealHost, hypervisor::libvirt::LibvirtHypervisor};
    use ballast_daemon::clock::Clock;

    tracing::info!(version = env!("CARGO_PKG_VERSION"), host = %config.host_id, "Starting");
    let clock = Clock::system();
    let stop = stop_signal()?;
    let host = RealHost::new(config.host_options(), clock.clone())?;
    let hypervisor = LibvirtHypervisor::start(config.libvirt_options(), clock.clone());
    ballast_agent::run(config, hypervisor, host, clock, stop).await?;
    Ok(())
}

/// Says that there is nothing to run on.
#[cfg(not(feature = "libvirt"))]
fn serve(_: Config) -> anyhow::Result<()> {
    anyhow::bail!(
        "this program was built without a hypervisor: build it with the feature `libvirt`, which is the default"
    )
}

/// Resolves at the first SIGTERM or SIGINT.
#[cfg(feature = "libvirt")]
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use anyhow::Context;
    use tokio::signal::unix::{SignalKind, signal};

    let mut term = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("watch for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => tracing::info!("SIGTERM: stopping"),
            _ = int.recv() => tracing::info!("SIGINT: stopping"),
        }
    })
}
