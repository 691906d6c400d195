//! The scheduler: takes in telemetry, decides, commands, and keeps the record.
//!
//! ```text
//!   agents ──▶ rpc::agent_link ──▶ engine ──▶ telemetry log, windows, snapshot ──▶ policy, guard, planner
//!      ▲                             │  ▲                                                   │
//!      └──── commands, acks ◀────────┘  │                                     journal ◀─────┤ decisions, commands
//!   operators ──▶ rpc::operator ────────┘                                                   ▼
//!   Prometheus ──▶ metrics ◀── a look per period ◀─────────────────────────────────── outcomes
//! ```
//!
//! [`run`] is all of it: `main`, the demo and every test call it with listeners they have bound themselves. [`Scheduler`]
//! is the same in two steps, for who wants to ask the engine while it serves. This file puts the parts together and
//! stops them in order; each part decides for itself.

#![forbid(unsafe_code)]

use std::{future::Future, sync::Arc, time::Duration};

use futures::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::watch,
};
use tonic::transport::server::Connected;
use tracing::{debug, error, info, warn};

use ballast_daemon::{
    clock::Clock,
    tls::{self, Credentials, Holder, TlsError},
};

pub mod config;
mod control;
mod counters;
mod dispatch;
pub mod engine;
pub mod export;
pub mod health;
mod history;
mod ingest;
mod intake;
pub mod journal;
mod links;
pub mod metrics;
pub mod model;
mod preflight;
mod proposer;
mod pulse;
mod recorder;
mod repeats;
pub mod replay;
pub mod rpc;
mod shadow;
mod shared;
mod state_task;
mod store;
pub mod telemetry_log;
#[cfg(test)]
mod testing;

use config::Config;
use engine::{Engine, EngineError};
use metrics::Metrics;
use model::Models;

/// Time to end streams and write what is known; systemd gives twice as much.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the scheduler does not start or does not go on.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// The engine does not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A listener that is open to others must not be served without TLS.
    #[error("{address} is not loopback: without [tls] only this machine may be served")]
    Exposed {
        /// Where it listens.
        address: std::net::SocketAddr,
    },
    /// The services cannot be offered.
    #[error("serve gRPC")]
    Serve(#[from] rpc::ServeError),
    /// A listener fails.
    #[error("listen")]
    Listen(#[from] std::io::Error),
    /// A part of the engine has ended unasked.
    #[error("the engine cannot go on: {why}")]
    Failed {
        /// Which part, and why.
        why: String,
    },
}

/// Runs a scheduler until `shutdown`, then stops it: no new orders, links closed, everything written, within ten
/// seconds. Migrations that run go on; the next start takes them up.
///
/// # Errors
/// [`SchedulerError`] when it does not start or cannot go on.
pub async fn run(
    config: Config,
    listener: TcpListener,
    metrics_listener: Option<TcpListener>,
    clock: Clock,
    shutdown: impl Future<Output = ()>,
) -> Result<(), SchedulerError> {
    Scheduler::start(config, clock).await?.serve(listener, metrics_listener, shutdown).await
}

/// A scheduler whose engine runs and which does not serve yet.
#[derive(Debug)]
pub struct Scheduler {
    config: Config,
    engine: Engine,
    metrics: Arc<Metrics>,
}

impl Scheduler {
    /// Starts the engine: when this returns, the new epoch is durable and decisions are made.
    ///
    /// # Errors
    /// [`SchedulerError::Engine`].
    pub async fn start(config: Config, clock: Clock) -> Result<Self, SchedulerError> {
        Self::start_with(config, Models::built_in(), clock).await
    }

    /// The same with models of one's own.
    ///
    /// # Errors
    /// [`SchedulerError::Engine`].
    pub async fn start_with(config: Config, models: Models, clock: Clock) -> Result<Self, SchedulerError> {
        let engine = Engine::start(config.engine.clone(), models, clock).await?;
        let metrics = Arc::new(Metrics::new(config.metrics_per_vm));
        Ok(Self { config, engine, metrics })
    }

    /// The engine, to be asked while the scheduler serves.
    pub fn engine(&self) -> Engine {
        self.engine.clone()
    }

    /// The counters, to be read while the scheduler serves.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Serves until `shutdown` or until the engine cannot go on, then stops.
    ///
    /// # Errors
    /// [`SchedulerError`].
    pub async fn serve(
        self,
        listener: TcpListener,
        metrics_listener: Option<TcpListener>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), SchedulerError> {
        let address = listener.local_addr()?;
        if self.config.tls.is_none() && !config::is_loopback(address.ip()) {
            return Err(SchedulerError::Exposed { address });
        }
        info!(%address, tls = self.config.tls.is_some(), "Serving");
        self.serve_connections(rpc::incoming(listener), metrics_listener, shutdown).await
    }

    /// The same over connections from wherever they come. Without TLS everyone who can make one is believed: `incoming`
    /// must not reach beyond this machine then.
    ///
    /// # Errors
    /// [`SchedulerError`].
    pub async fn serve_connections<C>(
        self,
        incoming: impl Stream<Item = std::io::Result<C>> + Send + 'static,
        metrics_listener: Option<TcpListener>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), SchedulerError>
    where
        C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let stop = watch::Sender::new(false);
        let mut services = self.services(incoming, metrics_listener, &stop)?;
        let ended = tokio::select! {
            biased;
            () = shutdown => Ok(()),
            why = self.engine.failed() => Err(SchedulerError::Failed { why }),
            outcome = services.first() => outcome,
        };
        self.stop(&stop, services).await;
        ended
    }

    fn services<C>(
        &self,
        incoming: impl Stream<Item = std::io::Result<C>> + Send + 'static,
        metrics_listener: Option<TcpListener>,
        stop: &watch::Sender<bool>,
    ) -> Result<Services, SchedulerError>
    where
        C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let files = self.config.tls.clone();
        let credentials = files.map(|files| Credentials::load(files, Holder::Scheduler)).transpose()?;
        let parts = rpc::Parts {
            engine: self.engine.clone(),
            metrics: Arc::clone(&self.metrics),
            limits: self.config.limits,
            tls: credentials.is_some(),
            stopping: stop.subscribe(),
        };
        let health = health::reporter();
        let mut services = Services::default();
        let mut grpc_stop = stop.subscribe();
        let health_of = health.clone();
        match credentials {
            Some(credentials) => {
                let clock = self.engine.clock();
                let metrics = Arc::clone(&self.metrics);
                metrics.holds(credentials.clone());
                let refused = move |error: &std::io::Error| {
                    metrics.handshake_refused();
                    debug!(%error, "A connection was refused");
                };
                let incoming = tls::incoming(incoming, credentials.clone(), clock.clone(), refused);
                services
                    .spawn(async move { Ok(rpc::serve(parts, incoming, health_of, stopped(&mut grpc_stop)).await?) });
                services.helpers.spawn(credentials.watch(clock.clone()));
            }
            None => services
                .spawn(async move { Ok(rpc::serve(parts, incoming, health_of, stopped(&mut grpc_stop)).await?) }),
        }
        if let Some(listener) = metrics_listener {
            let metrics = metrics::http::Shown { metrics: Arc::clone(&self.metrics), engine: self.engine.clone() };
            let mut http_stop = stop.subscribe();
            let stop = async move { stopped(&mut http_stop).await };
            services.spawn(async { Ok(metrics::http::serve(listener, metrics, stop).await?) });
        }
        services.helpers.spawn(metrics::observe(Arc::clone(&self.metrics), self.engine.clone()));
        services.helpers.spawn(health::tell(health, Arc::clone(&self.metrics)));
        Ok(services)
    }

    async fn stop(&self, stop: &watch::Sender<bool>, mut services: Services) {
        let orderly = async {
            self.engine.stop().await;
            stop.send_replace(true);
            services.all().await;
        };
        match self.engine.clock().timeout(STOP_TIMEOUT, orderly).await {
            Ok(()) => info!("Stopped"),
            Err(elapsed) => warn!(%elapsed, "Stopped with streams still open"),
        }
    }
}

/// Resolves once stopping has begun.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is stopping too.
    let _stopping = stop.wait_for(|stopping| *stopping).await;
}

/// The tasks that serve, and those that help them and end with them.
#[derive(Debug, Default)]
struct Services {
    serving: tokio::task::JoinSet<Result<(), SchedulerError>>,
    helpers: tokio::task::JoinSet<()>,
}

impl Services {
    fn spawn(&mut self, service: impl Future<Output = Result<(), SchedulerError>> + Send + 'static) {
        self.serving.spawn(service);
    }

    /// What the first one to end ended with.
    async fn first(&mut self) -> Result<(), SchedulerError> {
        match self.serving.join_next().await {
            Some(Ok(outcome)) => outcome,
            Some(Err(error)) => Err(SchedulerError::Failed { why: error.to_string() }),
            None => Ok(()),
        }
    }

    /// Waits for all to end.
    async fn all(&mut self) {
        while let Some(ended) = self.serving.join_next().await {
            if let Ok(Err(error)) = ended {
                error!(%error, "A service ended badly");
            }
        }
        self.helpers.shutdown().await;
    }
}
