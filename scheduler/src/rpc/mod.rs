//! The gRPC server: both services, reflection in both versions, health, and the limits around them.
//!
//! `lib.rs` calls [`serve`]. Every call passes [`auth`] first; errors become statuses in [`status`].

use std::{future::Future, sync::Arc, time::Duration};

use axum::middleware::from_fn_with_state;
use futures::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::watch,
};
use tonic::{
    service::Routes,
    transport::{
        Server,
        server::{Connected, TcpIncoming},
    },
};
use tonic_health::server::HealthReporter;

use ballast_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{agent_link_server::AgentLinkServer, operator_server::OperatorServer},
};

use crate::{config::Limits, engine::Engine, metrics::Metrics};

mod agent_link;
pub mod auth;
mod operator;
pub mod rate;
mod status;
mod views;
mod watching;

/// Beat of HTTP/2 pings: a host that lost its network is noticed within two of them.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Time a call may take until its answer begins; for a link that is the wait for `Hello`.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// What the server is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    /// What the services stand in front of.
    pub(crate) engine: Engine,
    /// Where refusals and slow watchers are counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Bounds.
    pub(crate) limits: Limits,
    /// Whether callers have shown a certificate; they have not on loopback.
    pub(crate) tls: bool,
    /// Turns true when streams are to end.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// Why the services cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// What the listener says.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
    /// The descriptors built into the program are broken.
    #[error("the built-in descriptors cannot be served: {0}")]
    Descriptors(#[from] tonic_reflection::server::Error),
}

/// The names under which health is asked for: the server as a whole, and each service.
pub(crate) const HEALTH_NAMES: [&str; 3] = ["", "ballast.v1.AgentLink", "ballast.v1.Operator"];

/// The connections that a listener accepts.
pub(crate) fn incoming(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEP_ALIVE))
}

/// Serves `incoming` connections until `shutdown`, then until the last stream has ended. Health is told by whoever holds the reporter.
///
/// # Errors
/// [`ServeError`].
pub(crate) async fn serve<C>(
    parts: Parts,
    incoming: impl Stream<Item = std::io::Result<C>>,
    health: HealthReporter,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError>
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let mut server = Server::builder()
        .timeout(CALL_TIMEOUT)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .max_concurrent_streams(parts.limits.streams_per_connection);
    Ok(server.add_routes(routes(parts, health)?).serve_with_incoming_shutdown(incoming, shutdown).await?)
}

fn routes(parts: Parts, health: HealthReporter) -> Result<Routes, tonic_reflection::server::Error> {
    let Parts { engine, metrics, limits, tls, stopping } = parts;
    let gate = auth::Gate {
        tls,
        metrics: Arc::clone(&metrics),
        calls: Arc::new(rate::Buckets::new(limits.calls)),
        clock: engine.clock().clone(),
    };
    let bytes_max = limits.message_bytes_max;
    let messages = Arc::new(rate::Buckets::new(limits.messages));
    let link = agent_link::LinkService { engine: engine.clone(), metrics: Arc::clone(&metrics), messages };
    let links = AgentLinkServer::new(link);
    let operators = OperatorServer::new(operator::OperatorService { engine, metrics, stopping });
    let routes = Routes::new(links.max_decoding_message_size(bytes_max))
        .add_service(operators.max_decoding_message_size(bytes_max))
        .add_service(tonic_health::pb::health_server::HealthServer::new(
            tonic_health::server::HealthService::from_health_reporter(health),
        ))
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    Ok(routes.into_axum_router().layer(from_fn_with_state(gate, auth::authorize)).into())
}

fn reflection<'a>() -> tonic_reflection::server::Builder<'a> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
