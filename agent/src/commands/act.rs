//! What each kind of order needs: the question asked before it is accepted, and how it is carried out.

use std::{sync::Arc, time::Duration};

use ballast_core::{
    command::{DenyReason, Order},
    id::VmId,
    inventory::SleepSupport,
    outcome::Ending,
    sample::VmState,
};
use ballast_daemon::clock::Clock;
use tokio::sync::{oneshot, watch};

use crate::{
    config::Config,
    host::Host,
    hypervisor::{Hypervisor, HypervisorError, Whereabouts},
    power_state::PowerState,
};

/// Time that the scheduler may take to hear a goodbye, which it writes down first.
const GOODBYE: Duration = Duration::from_secs(10);
/// After the sleep order a host goes down within this; whoever still runs then has been woken, or never slept.
const FALLING_ASLEEP: Duration = Duration::from_secs(30);

/// Asks the link to say goodbye; answered when the scheduler has heard it, and dropped where nobody does.
pub(crate) type Goodbye = tokio::sync::mpsc::Sender<oneshot::Sender<()>>;

/// What carrying out takes.
#[derive(Debug)]
pub(crate) struct Tools<H, S> {
    pub(crate) config: Arc<Config>,
    pub(crate) hypervisor: Arc<H>,
    pub(crate) host: Arc<S>,
    pub(crate) clock: Clock,
    pub(crate) power: watch::Sender<PowerState>,
    pub(crate) goodbye: Goodbye,
}

impl<H, S> Clone for Tools<H, S> {
    fn clone(&self) -> Self {
        Self {
            config: Arc::clone(&self.config),
            hypervisor: Arc::clone(&self.hypervisor),
            host: Arc::clone(&self.host),
            clock: self.clock.clone(),
            power: self.power.clone(),
            goodbye: self.goodbye.clone(),
        }
    }
}

impl<H: Hypervisor, S: Host> Tools<H, S> {
    /// Whether the host is fit for an order at this moment.
    pub(crate) async fn check(&self, order: &Order) -> Result<(), DenyReason> {
        match order {
            Order::Migrate { vm, .. } => check_vm(&*self.hypervisor, *vm).await,
            Order::Sleep => self.check_empty().await,
            Order::Cancel { .. } | Order::Wake { .. } => Ok(()),
        }
    }

    /// Everything but a vm that is off counts, above all one that arrives.
    async fn check_empty(&self) -> Result<(), DenyReason> {
        if self.config.host.sleep == SleepSupport::None {
            return Err(DenyReason::Unsupported { what: "sleep, by its configuration".to_owned() });
        }
        let facts = self.hypervisor.facts().await;
        let facts = facts.map_err(|error| DenyReason::Unsupported { what: format!("sleep now, {error}") })?;
        match facts.vms.iter().filter(|record| record.state != VmState::ShutOff).count() {
            0 => Ok(()),
            vms => Err(DenyReason::NotEmpty { vms: vms as u64 }),
        }
    }

    /// Carries out an order that is no migration.
    pub(crate) async fn carry_out(&self, order: &Order) -> Ending {
        match order {
            Order::Sleep => self.sleep().await,
            Order::Wake { target, address } => match self.host.wake(target, address.as_deref()).await {
                Ok(()) => Ending::Completed,
                Err(error) => Ending::Failed { reason: error.to_string() },
            },
            Order::Migrate { .. } | Order::Cancel { .. } => {
                Ending::Failed { reason: format!("a {} is carried out by its own task", order.kind()) }
            }
        }
    }

    async fn sleep(&self) -> Ending {
        self.power.send_replace(PowerState::Leaving);
        match self.fall_asleep().await {
            Ok(()) => Ending::Completed,
            Err(reason) => {
                self.power.send_replace(PowerState::Awake);
                Ending::Failed { reason }
            }
        }
    }

    /// A host that sleeps unheard is missed by everybody and woken by nobody, so one that cannot say so stays awake.
    async fn fall_asleep(&self) -> Result<(), String> {
        if !self.says_goodbye().await {
            return Err("the scheduler did not hear that the host goes to sleep".to_owned());
        }
        // A vm may have arrived while goodbye was said.
        self.check_empty().await.map_err(|reason| reason.to_string())?;
        self.host.sleep().await.map_err(|error| error.to_string())
    }

    /// True once the scheduler has heard it.
    async fn says_goodbye(&self) -> bool {
        let (heard, hears) = oneshot::channel();
        let asked = self.goodbye.send(heard).await;
        asked.is_ok() && matches!(self.clock.timeout(GOODBYE, hears).await, Ok(Ok(())))
    }

    /// After a sleep order was obeyed: rests until the host is awake again.
    pub(crate) async fn rest(&self) {
        self.power.send_replace(PowerState::Asleep);
        tracing::info!(host = %self.config.host_id, "Going to sleep");
        self.clock.sleep(FALLING_ASLEEP).await;
        self.host.woken().await;
        tracing::info!(host = %self.config.host_id, "Awake");
        self.power.send_replace(PowerState::Awake);
    }
}

/// Whether a vm may be told to move at this moment: before it is ordered to, and once more when it is.
pub(crate) async fn check_vm<H: Hypervisor>(hypervisor: &H, vm: VmId) -> Result<(), DenyReason> {
    match hypervisor.locate(vm).await {
        Ok(Whereabouts::Here { migrating: true, .. }) => {
            Err(DenyReason::VmNotRunning { state: "already being moved by somebody else".to_owned() })
        }
        Ok(Whereabouts::Here { state: VmState::Running, .. }) => Ok(()),
        Ok(Whereabouts::Here { state, .. }) => Err(DenyReason::VmNotRunning { state: words(state).to_owned() }),
        Ok(Whereabouts::NotHere) | Err(HypervisorError::NoSuchVm(_)) => Err(DenyReason::VmNotHere { vm }),
        Err(error) => Err(DenyReason::Unsupported { what: format!("migrate now, {error}") }),
    }
}

fn words(state: VmState) -> &'static str {
    match state {
        VmState::Running => "running",
        VmState::Paused => "paused",
        VmState::Incoming => "arriving",
        VmState::ShutOff => "shut off",
        VmState::Crashed => "crashed",
        VmState::Unknown => "in an unknown state",
    }
}
