//! One per host: reads the host and its vms, streams samples to the scheduler, carries out live migrations.
//!
//! ```text
//!   host ───────┐                     ┌──────────────┐
//!               ├─▶ sampler ─▶ spool ─▶              │  AgentLink.Connect
//!   hypervisor ─┤                     │     link     ◀══════════════════▶ scheduler
//!               ├─▶ inventory ────────▶              │
//!               │                     └──▲────────┬──┘
//!               ├◀─ preflight ◀──────────┤        │
//!               │              reports   │        │ commands
//!               └─◀── migrate ◀── command task ◀──┘
//!                                        └─▶ journal
//! ```
//!
//! [`run`] ties the parts together over any [`hypervisor::Hypervisor`] and [`host::Host`]: the program over libvirt and
//! the real host, demo and tests over a simulated fleet.

// With the libvirt driver one module is allowed it (`hypervisor::libvirt::ffi`), and says why at each block.
#![cfg_attr(not(feature = "libvirt"), forbid(unsafe_code))]

mod commands;
pub mod config;
mod error;
pub mod host;
pub mod hypervisor;
mod inventory;
mod journal;
mod link;
mod migrate;
mod power_state;
mod preflight;
mod sampler;
mod spool;
mod tasks;

use std::{future::Future, sync::Arc, time::Duration};

use ballast_core::queue::Queue;
use ballast_daemon::{
    clock::Clock,
    notify,
    tls::{Credentials, Holder},
};
use tokio::sync::{mpsc, watch};

pub use error::AgentError;
pub use journal::KIND as JOURNAL_KIND;

use commands::{Task, Tools};
use config::Config;
use host::Host;
use hypervisor::Hypervisor;
use journal::Journal;
use power_state::PowerState;
use sampler::{Beats, Sampler};
use spool::Spool;
use tasks::Tasks;

/// A sampler that has not moved for this many periods is dead, whatever else still runs.
const DEAD_PERIODS: u32 = 6;

/// Runs the agent of one host until `shutdown` completes. Migrations under way go on without it.
///
/// # Errors
/// [`AgentError`] when it cannot start (boot id, certificates, a damaged journal) or one of its tasks dies.
pub async fn run<H: Hypervisor, S: Host>(
    config: Config,
    hypervisor: H,
    host: S,
    clock: Clock,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), AgentError> {
    let (mut tasks, live) = start(Arc::new(config), Arc::new(hypervisor), Arc::new(host), clock)?;
    notify::ready("Watching the host");
    let ended = tokio::select! {
        biased;
        () = shutdown => Ok(()),
        error = tasks.first_end() => Err(error),
    };
    notify::stopping();
    tracing::info!(linked = *live.borrow(), "Stopping; migrations under way go on between the hypervisors");
    tasks.stop().await;
    ended
}

/// Makes all parts and starts their tasks; also tells whether the link stands.
fn start<H: Hypervisor, S: Host>(
    config: Arc<Config>,
    hypervisor: Arc<H>,
    host: Arc<S>,
    clock: Clock,
) -> Result<(Tasks, watch::Receiver<bool>), AgentError> {
    let boot = host.boot().map_err(AgentError::Boot)?;
    let up_since = host.up_for().map(|up_for| clock.now().before(up_for));
    let credentials = credentials(&config)?;
    let dialler = link::Dialler::new(&config, credentials.clone())?;
    let (journal, records) = Journal::open(&config.data_dir.join("journal"), clock.clone())?;
    let queue = Queue::new(config.host_id.clone(), config.moves_out);
    let (queue, open) = commands::restore(queue, records);
    let spool = Spool::open(clock.clone(), &config.data_dir.join("spool"), boot);

    let (keeper, published, refresh) = inventory::channels();
    let (commands, ends) = commands::channels();
    let (power, power_state) = watch::channel(PowerState::Awake);
    let (goodbye, goodbyes) = mpsc::channel(1);
    let (period, periods) = watch::channel(config.period);
    let (connected, live) = watch::channel(false);
    let (preflights, asked) = preflight::channel();
    let beats = Beats::default();

    let link = link::Link {
        config: Arc::clone(&config),
        boot,
        clock: clock.clone(),
        backlog: spool.backlog(),
        inventory: published.clone(),
        commands,
        preflights,
        period,
        power: power_state.clone(),
        goodbyes,
        connected,
    };
    let sampler = Sampler {
        config: Arc::clone(&config),
        hypervisor: Arc::clone(&hypervisor),
        host: Arc::clone(&host),
        clock: clock.clone(),
        spool,
        inventory: published,
        refresh: refresh.clone(),
        period: periods.clone(),
        power: power_state,
        beats: beats.clone(),
    };
    let tools = Tools {
        config: Arc::clone(&config),
        hypervisor: Arc::clone(&hypervisor),
        host: Arc::clone(&host),
        clock: clock.clone(),
        power,
        goodbye,
    };
    let desk = preflight::Desk::new(Arc::clone(&config), Arc::clone(&hypervisor), clock.clone());
    let mut tasks = Tasks::default();
    let boot_and_when = inventory::Boot { id: boot, at: up_since };
    tasks.spawn("inventory", inventory::keep(keeper, config, boot_and_when, hypervisor, clock.clone()));
    tasks.spawn("sampler", sampler.run());
    tasks.spawn("preflight", desk.run(asked));
    tasks.spawn("link", link::run(link, dialler, host));
    if let Some(credentials) = credentials {
        tasks.spawn("certificates", credentials.watch(clock.clone()));
    }
    tasks.spawn("commands", Task::new(queue, journal, ends, tools, refresh).run(boot, open));
    tasks.spawn("watchdog", watchdog(clock, beats, periods));
    Ok((tasks, live))
}

/// What the agent shows the scheduler, where it is on another machine.
fn credentials(config: &Config) -> Result<Option<Credentials>, AgentError> {
    let holder = Holder::Agent(config.host_id.to_string());
    Ok(config.tls.clone().map(|files| Credentials::load(files, holder)).transpose()?)
}

/// Tells systemd that the agent lives, for as long as the sampler moves.
async fn watchdog(clock: Clock, beats: Beats, period: watch::Receiver<Duration>) {
    let Some(every) = notify::watchdog_period() else {
        return std::future::pending().await;
    };
    let (mut seen, mut seen_at) = (beats.count(), clock.elapsed());
    loop {
        clock.sleep(every).await;
        let (now, count) = (clock.elapsed(), beats.count());
        if count != seen {
            (seen, seen_at) = (count, now);
        }
        let allowance = (*period.borrow() * DEAD_PERIODS).max(every);
        if now.saturating_sub(seen_at) <= allowance {
            notify::alive();
        } else {
            tracing::error!("The sampler does not move; leaving it to systemd to restart the agent");
        }
    }
}
