//! TLS before a listener: each connection shakes hands aside, with the certificates that are in use at that moment.
//!
//! tonic's own TLS is fixed when its server starts; here a connection made after a renewal is made with the new
//! certificates, and those that stand are not touched.

use std::{future::ready, io, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::Credentials;
use crate::clock::Clock;

/// A client that has not shown its certificate after this is let go: it takes two round trips.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Handshakes at a time: further connections wait in the listener's queue. More than a fleet needs that comes back at once, and so
/// many that clients which say nothing do not keep others out.
const HANDSHAKES: usize = 4096;

/// The listener's pause after it could not accept: files are short then, and come back as others are closed.
const PAUSE: Duration = Duration::from_millis(100);

/// The connections of `plain` whose clients have shown a certificate of our authority. Each one that has not is told to
/// `refused` and closed; a listener that cannot accept for a moment is asked again.
pub fn incoming<C>(
    plain: impl Stream<Item = io::Result<C>> + Send + 'static,
    credentials: Credentials,
    clock: Clock,
    refused: impl Fn(&io::Error) + Send + Sync + 'static,
) -> impl Stream<Item = io::Result<TlsStream<C>>> + Send + 'static
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let refused = Arc::new(refused);
    let shaken = plain.map(move |connection| {
        let (credentials, clock, refused) = (credentials.clone(), clock.clone(), Arc::clone(&refused));
        async move {
            match connection {
                Ok(connection) => {
                    let shaking = tokio::spawn(shake(connection, credentials, clock)).await;
                    let shaken = shaking.unwrap_or_else(|error| Err(io::Error::other(error)));
                    shaken.inspect_err(|error| refused(error)).ok()
                }
                Err(error) => {
                    tracing::warn!(%error, "A connection cannot be accepted");
                    clock.sleep(PAUSE).await;
                    None
                }
            }
        }
    });
    shaken.buffer_unordered(HANDSHAKES).filter_map(|connection| ready(connection.map(Ok)))
}

async fn shake<C>(connection: C, credentials: Credentials, clock: Clock) -> io::Result<TlsStream<C>>
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let acceptor = TlsAcceptor::from(credentials.server());
    let shaken = clock.timeout(HANDSHAKE, acceptor.accept(connection)).await;
    shaken.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no handshake in ten seconds")))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use ballast_core::units::Timestamp;
    use futures::stream;

    use super::*;
    use crate::tls::credentials::tests::Folder;

    #[tokio::test]
    async fn a_client_that_says_nothing_is_let_go_and_a_listener_that_fails_is_asked_again() {
        let (clock, driver) = Clock::driven(Timestamp::EPOCH);
        let (silent, _kept_open) = tokio::io::duplex(64);
        let plain = stream::iter([Err(io::Error::other("too many open files")), Ok(silent)]);
        let refused = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&refused);
        let told = move |error: &io::Error| note.lock().unwrap().push(error.to_string());
        let served = incoming(plain, Folder::new().of_kvm1(), clock, told);
        let all = tokio::spawn(served.collect::<Vec<_>>());
        while !all.is_finished() {
            driver.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
        assert!(all.await.unwrap().is_empty());
        assert_eq!(*refused.lock().unwrap(), ["no handshake in ten seconds"]);
    }
}
