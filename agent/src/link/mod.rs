//! The way to the scheduler: dials it, keeps the stream, comes back when it breaks.
//!
//! One task runs [`run`]. A session ([`session`]) says hello, then sends what the spool holds within the window it was
//! given, inventories, reports and keep-alives, and hands commands to the command task. Dead connections are found by
//! HTTP/2 pings. While the host sleeps there is no link.

mod backoff;
mod outbox;
mod session;

use std::{sync::Arc, time::Duration};

use ballast_core::id::BootId;
use ballast_daemon::{clock::Clock, tls::Credentials};
use ballast_proto::v1::agent_link_client::AgentLinkClient;
use tokio::sync::{mpsc, oneshot, watch};
use tonic::{
    codegen::http::Uri,
    transport::{Channel, Endpoint},
};

use crate::{
    commands::Commands,
    config::Config,
    error::AgentError,
    host::Host,
    inventory::Published,
    journal::chain,
    power_state::{PowerState, reached},
    preflight::Asked,
    spool::Backlog,
};
use backoff::Backoff;
use session::{Ended, Session};

/// A connection that is not up after this is given up.
const CONNECT: Duration = Duration::from_secs(10);
/// HTTP/2 pings: a scheduler that does not answer one within the second figure is gone.
const PING: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(10));
/// A message from the scheduler is a command at most; this leaves room for a query of thousands.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// What the link is given.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) config: Arc<Config>,
    pub(crate) boot: BootId,
    pub(crate) clock: Clock,
    pub(crate) backlog: Backlog,
    pub(crate) inventory: Published,
    pub(crate) commands: Commands,
    pub(crate) preflights: mpsc::Sender<Asked>,
    pub(crate) period: watch::Sender<Duration>,
    pub(crate) power: watch::Receiver<PowerState>,
    pub(crate) goodbyes: mpsc::Receiver<oneshot::Sender<()>>,
    /// Told the address of the scheduler while a session stands.
    pub(crate) connected: watch::Sender<bool>,
}

/// Where and how the scheduler is dialled: with the certificates that are in use when it is.
#[derive(Debug)]
pub(crate) struct Dialler {
    plain: Endpoint,
    name: String,
    credentials: Option<Credentials>,
}

impl Dialler {
    /// For the configured scheduler.
    ///
    /// # Errors
    /// [`AgentError`] when address or certificates cannot be used.
    pub(crate) fn new(config: &Config, credentials: Option<Credentials>) -> Result<Self, AgentError> {
        let refused = |source| AgentError::Endpoint { uri: config.scheduler.clone(), source };
        let plain = Endpoint::from_shared(config.scheduler.clone())
            .map_err(refused)?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        let uri: Option<Uri> = config.scheduler.parse().ok();
        let name = uri.as_ref().and_then(Uri::host).unwrap_or_default().to_owned();
        let dialler = Self { plain, name, credentials };
        dialler.endpoint()?;
        Ok(dialler)
    }

    fn endpoint(&self) -> Result<Endpoint, AgentError> {
        match &self.credentials {
            Some(credentials) => Ok(credentials.secure(self.plain.clone(), &self.name)?),
            None => Ok(self.plain.clone()),
        }
    }
}

/// Keeps the link until the agent ends.
pub(crate) async fn run<S: Host>(mut link: Link, dialler: Dialler, host: Arc<S>) {
    let mut backoff = Backoff::new(seed(&link));
    let mut was_up = true;
    loop {
        link.awake().await;
        let ended = link.session(&dialler, &*host).await;
        link.connected.send_replace(false);
        if ended.was_welcomed {
            backoff.reset();
        }
        if *link.power.borrow() != PowerState::Awake {
            tracing::info!(scheduler = link.config.scheduler, "The link rests while the host sleeps");
        } else if was_up || ended.was_welcomed {
            tracing::warn!(
                scheduler = link.config.scheduler,
                reason = ended.reason,
                "No link to the scheduler; samples are kept"
            );
        }
        was_up = false;
        link.pause(backoff.next()).await;
    }
}

/// Hosts that lose the same scheduler come back spread out.
fn seed(link: &Link) -> u64 {
    let (high, low) = link.boot.0.as_u64_pair();
    let name = link.config.host_id.as_str().bytes();
    name.fold(high ^ low, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)))
}

impl Link {
    /// Returns once the host is awake; who wants a goodbye meanwhile is told that there is nobody to hear it.
    async fn awake(&mut self) {
        loop {
            tokio::select! {
                biased;
                () = reached(&mut self.power, PowerState::Awake) => return,
                Some(unheard) = self.goodbyes.recv() => drop(unheard),
            }
        }
    }

    async fn pause(&mut self, wait: Duration) {
        let clock = self.clock.clone();
        let wait = clock.sleep(wait);
        tokio::pin!(wait);
        loop {
            tokio::select! {
                biased;
                () = &mut wait => return,
                Some(unheard) = self.goodbyes.recv() => drop(unheard),
            }
        }
    }

    async fn session(&mut self, dialler: &Dialler, host: &impl Host) -> Ended {
        let channel = match self.connect(dialler, host).await {
            Ok(channel) => channel,
            Err(reason) => return Ended { was_welcomed: false, reason },
        };
        let client = AgentLinkClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Session::open(self, client).await
    }

    async fn connect(&mut self, dialler: &Dialler, host: &impl Host) -> Result<Channel, String> {
        let endpoint = dialler.endpoint().map_err(|error| chain(&error))?;
        let connecting = host.dial(&endpoint);
        tokio::pin!(connecting);
        loop {
            tokio::select! {
                biased;
                connected = &mut connecting => return connected.map_err(|error| chain(&error)),
                Some(unheard) = self.goodbyes.recv() => drop(unheard),
            }
        }
    }
}
