//! The way to the scheduler: one channel, TLS where certificates are given, and its errors in words.

use std::{error::Error, time::Duration};

use anyhow::{Context as _, bail, ensure};
use ballast_daemon::tls::TlsFiles;
use ballast_proto::v1::operator_client::OperatorClient;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint, Uri},
};

use crate::args::Connection;

/// Where the scheduler is when nobody says.
pub const DEFAULT_SCHEDULER: &str = "http://127.0.0.1:7070";

/// Names the scheduler where `--scheduler` does not.
pub const SCHEDULER_VARIABLE: &str = "BALLAST_SCHEDULER";

/// A connected client.
pub type Operator = OperatorClient<Channel>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A snapshot of a large fleet is longer than the usual four megabytes.
const LARGEST_ANSWER: usize = 256 << 20;

/// Opens the channel.
///
/// # Errors
/// An address that is none, certificates that do not go with it or cannot be read, a scheduler that does not answer.
pub async fn connect(connection: &Connection) -> anyhow::Result<Operator> {
    let url = address(connection, std::env::var(SCHEDULER_VARIABLE).ok());
    let endpoint = endpoint(&url, tls_files(connection)?)?;
    let channel = endpoint.connect().await.with_context(|| format!("cannot reach the scheduler at {url}"))?;
    Ok(OperatorClient::new(channel).max_decoding_message_size(LARGEST_ANSWER))
}

fn address(connection: &Connection, variable: Option<String>) -> String {
    let given = connection.scheduler.clone().or(variable.filter(|url| !url.is_empty()));
    given.unwrap_or_else(|| DEFAULT_SCHEDULER.to_owned())
}

fn tls_files(connection: &Connection) -> anyhow::Result<Option<TlsFiles>> {
    match (connection.ca.clone(), connection.cert.clone(), connection.key.clone()) {
        (None, None, None) => Ok(None),
        (Some(ca), Some(cert), Some(key)) => Ok(Some(TlsFiles { ca, cert, key })),
        _ => bail!("--ca, --cert and --key go together: all three are needed"),
    }
}

fn endpoint(url: &str, tls: Option<TlsFiles>) -> anyhow::Result<Endpoint> {
    let uri: Uri = url.parse().with_context(|| format!("--scheduler {url:?} is not an address"))?;
    let scheme = uri.scheme_str().unwrap_or_default().to_owned();
    let Some(host) = uri.host().map(|host| host.trim_matches(['[', ']']).to_owned()) else {
        bail!("--scheduler {url:?} names no host: http://HOST:PORT or https://HOST:PORT is needed");
    };
    let endpoint = Endpoint::from(uri).connect_timeout(CONNECT_TIMEOUT).timeout(ANSWER_TIMEOUT);
    match (scheme.as_str(), tls) {
        ("http", None) => Ok(endpoint),
        ("https", Some(files)) => Ok(files.secure(endpoint, &host)?),
        ("https", None) => bail!("{url} needs --ca, --cert and --key: the scheduler asks who you are"),
        ("http", Some(_)) => bail!("certificates were given, but {url} is not https"),
        _ => {
            ensure!(false, "--scheduler {url:?} is neither http:// nor https://");
            Ok(endpoint)
        }
    }
}

/// An error as a person reads it: a status without its machinery.
pub fn in_words(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref::<Status>() {
        Some(status) if status.message().is_empty() => kind(status.code()).to_owned(),
        Some(status) => format!("{}: {}", kind(status.code()), status.message()),
        None => error.to_string(),
    }
}

fn kind(code: Code) -> &'static str {
    match code {
        Code::InvalidArgument => "invalid argument",
        Code::NotFound => "not found",
        Code::AlreadyExists => "already exists",
        Code::PermissionDenied => "permission denied",
        Code::Unauthenticated => "not authenticated",
        Code::FailedPrecondition => "denied",
        Code::ResourceExhausted => "too much at once",
        Code::Unavailable => "the scheduler is not available",
        Code::DeadlineExceeded => "no answer in time",
        Code::Cancelled => "cancelled",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out of range",
        Code::Unimplemented => "not supported by this scheduler",
        Code::DataLoss => "data loss",
        Code::Internal => "the scheduler failed",
        Code::Ok | Code::Unknown => "error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str, tls: bool) -> String {
        let files = tls.then(|| TlsFiles { ca: "ca".into(), cert: "cert".into(), key: "key".into() });
        endpoint(url, files).unwrap_err().to_string()
    }

    #[test]
    fn the_option_goes_before_the_variable_and_that_before_the_default() {
        let given = Connection { scheduler: Some("http://a:1".into()), ..Connection::default() };
        assert_eq!(address(&given, Some("http://b:1".into())), "http://a:1");
        assert_eq!(address(&Connection::default(), Some("http://b:1".into())), "http://b:1");
        assert_eq!(address(&Connection::default(), Some(String::new())), DEFAULT_SCHEDULER);
    }

    #[test]
    fn an_address_that_cannot_be_meant_is_refused_with_what_is_needed() {
        assert!(refusal("7070", false).contains("is needed") || refusal("7070", false).contains("neither"));
        assert!(refusal("ftp://a:1", false).contains("neither http:// nor https://"));
        assert!(refusal("https://a:1", false).contains("--ca, --cert and --key"));
        assert!(refusal("http://a:1", true).contains("not https"));
        assert!(refusal("https://a:1", true).contains("read the authority's certificate ca"));
    }

    #[test]
    fn two_of_three_certificates_are_not_enough() {
        let two = Connection { ca: Some("ca".into()), cert: Some("cert".into()), ..Connection::default() };
        assert!(tls_files(&two).unwrap_err().to_string().contains("all three are needed"));
    }
}
