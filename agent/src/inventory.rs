//! Keeps the host's inventory: asks the hypervisor when something changed, and publishes what it said.
//!
//! One task runs [`keep`]; link, sampler and command task read what it publishes. While the hypervisor does not answer,
//! the inventory published lists no vms and is not complete: it proves nothing.

use std::{sync::Arc, time::Duration};

use ballast_core::{id::BootId, inventory::Inventory, units::Timestamp};
use ballast_daemon::clock::Clock;
use tokio::sync::{mpsc, watch};

use crate::{
    config::Config,
    hypervisor::{Hypervisor, HypervisorError, HypervisorFacts},
};

/// The inventory is published at least this often, changed or not: a message that was lost heals within a minute.
const REPEAT: Duration = Duration::from_secs(60);
/// After an unanswered question it is asked again after this.
const RETRY: Duration = Duration::from_secs(5);
/// Changes come in flocks; one question answers a flock.
const SETTLE: Duration = Duration::from_millis(200);

/// What the last question said of the host and its vms.
pub(crate) type Published = watch::Receiver<Option<Arc<Inventory>>>;

/// Asks for a fresh inventory, without waiting for it.
#[derive(Debug, Clone)]
pub(crate) struct Refresh(mpsc::Sender<()>);

impl Refresh {
    /// Ask now.
    pub(crate) fn ask(&self) {
        // Full means that a question is on its way already; closed, that the agent ends.
        let _asked_anyway = self.0.try_send(()).is_ok();
    }
}

/// The boot of the host that the agent runs on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Boot {
    /// Which.
    pub(crate) id: BootId,
    /// When it began, by the agent's clock; `None` where that is not known.
    pub(crate) at: Option<Timestamp>,
}

/// The task's ends of its channels.
#[derive(Debug)]
pub(crate) struct Keeper {
    publish: watch::Sender<Option<Arc<Inventory>>>,
    asked: mpsc::Receiver<()>,
}

/// Channels for [`keep`].
pub(crate) fn channels() -> (Keeper, Published, Refresh) {
    let (publish, published) = watch::channel(None);
    let (ask, asked) = mpsc::channel(1);
    (Keeper { publish, asked }, published, Refresh(ask))
}

/// Keeps the inventory until the agent ends.
pub(crate) async fn keep<H: Hypervisor>(
    mut keeper: Keeper,
    config: Arc<Config>,
    boot: Boot,
    hypervisor: Arc<H>,
    clock: Clock,
) {
    let mut known = HypervisorFacts::default();
    let mut connected = true;
    loop {
        let answer = hypervisor.facts().await;
        let was_connected = std::mem::replace(&mut connected, answer.is_ok());
        log_connection(was_connected, &answer);
        known = answer.unwrap_or_else(|_| HypervisorFacts { vms: Vec::new(), ..known });
        let inventory = assemble(&config, boot, &known, connected, &clock);
        keeper.publish.send_replace(Some(Arc::new(inventory)));
        let wait = if connected { REPEAT } else { RETRY };
        tokio::select! {
            biased;
            () = hypervisor.changes(), if connected => clock.sleep(SETTLE).await,
            Some(()) = keeper.asked.recv() => {}
            () = clock.sleep(wait) => {}
        }
    }
}

fn log_connection(was_connected: bool, answer: &Result<HypervisorFacts, HypervisorError>) {
    match answer {
        Err(error) if was_connected => {
            tracing::warn!(%error, "The hypervisor does not answer; nothing is known of the vms until it does");
        }
        Ok(facts) if !was_connected => {
            tracing::info!(vms = facts.vms.len(), "The hypervisor answers again");
        }
        _ => {}
    }
}

/// The inventory that follows from configuration and facts.
fn assemble(config: &Config, boot: Boot, facts: &HypervisorFacts, complete: bool, clock: &Clock) -> Inventory {
    let now = clock.now();
    Inventory {
        host: config.host_id.clone(),
        boot: boot.id,
        taken_at: now,
        up_for: boot.at.map_or(Duration::ZERO, |at| now.since(at)),
        complete,
        hypervisor: facts.version.clone(),
        cpu_capacity: config.host.cpu_capacity,
        memory_capacity: config.host.memory_capacity,
        cpu_model: facts.cpu_model.clone(),
        cpu_models: facts.cpu_models.iter().cloned().collect(),
        networks: facts.networks.iter().cloned().collect(),
        storages: facts.storages.iter().cloned().collect(),
        migration_uri: config.libvirt.migration_uri.clone(),
        migration_bandwidth: config.libvirt.migration_bandwidth,
        power: config.power.curve.clone(),
        sleep: config.host.sleep,
        wake_address: config.host.wake_address.clone(),
        fault_domain: config.host.fault_domain.clone(),
        site: config.host.site.clone(),
        vms: facts.vms.clone(),
    }
}
