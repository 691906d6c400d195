//! Connections of a run for tonic's clients.

use std::io;

use hyper_util::rt::TokioIo;
use tonic::{
    codegen::http::Uri,
    transport::{Channel, Endpoint, Error},
};
use tower::service_fn;

use super::{Dialled, Wire};

/// Opens a connection to the scheduler: that of the agent of host `index`, or of the operators behind the last.
///
/// # Errors
/// Where nobody listens.
pub(crate) async fn connect(wire: Wire, index: usize, scheduler: Endpoint) -> Result<Channel, Error> {
    let connector = service_fn(move |_: Uri| {
        let dialled = wire.dial(index);
        async move {
            match dialled {
                Dialled::Open(end) => Ok(TokioIo::new(end)),
                Dialled::Refused => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
                Dialled::Lost => std::future::pending().await,
            }
        }
    });
    scheduler.connect_with_connector(connector).await
}
