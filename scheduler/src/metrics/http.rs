//! Serves `/metrics` and `/healthz` over plain HTTP, for Prometheus and for load balancers.
//!
//! Shows figures and host names, takes no orders: it has its own listener so that a firewall can treat it apart.

use std::{future::Future, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use super::Metrics;
use crate::{engine::Engine, health};

/// What Prometheus asks for by default.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is shown.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Whose clock and liveness.
    pub engine: Engine,
}

/// Serves until `shutdown`.
///
/// # Errors
/// What the listener says.
pub async fn serve(
    listener: TcpListener,
    shown: Shown,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let app = Router::new().route("/metrics", get(scrape)).route("/healthz", get(well)).with_state(shown);
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await
}

async fn scrape(State(shown): State<Shown>) -> Response {
    match shown.metrics.render(shown.engine.clock().now()) {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn well(State(shown): State<Shown>) -> Response {
    match health::check(&shown.metrics, &shown.engine) {
        None => (StatusCode::OK, "well\n").into_response(),
        Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")).into_response(),
    }
}
