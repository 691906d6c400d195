//! One HTTPS connection to a Redfish service: resources in, orders out, each answer bounded.
//!
//! User and password go with every request, so there is no session to leave behind; they go nowhere but to the BMC that
//! was asked for, whatever it points to.

use std::sync::Arc;

use ballast_daemon::clock::Clock;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    HeaderMap, Method, Request, StatusCode, Uri,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    header,
    http::HeaderValue,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use super::{super::BmcOptions, trust};
use crate::host::wake_address::BmcAddress;

/// No resource that is read here is a tenth as long.
const ANSWER_MAX: usize = 1 << 20;
/// A slash at the end, another name: more than that is a circle.
const REDIRECTS_MAX: usize = 3;
/// Of what a BMC says about an error.
const COMPLAINT_MAX: usize = 200;

/// A service, and the connection to it.
pub(super) struct Service {
    bmc: BmcAddress,
    user: String,
    /// Never shown: its own kind hides it.
    authorization: HeaderValue,
    tls: TlsConnector,
    connection: Option<Connection>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("bmc", &self.bmc).field("user", &self.user).finish_non_exhaustive()
    }
}

/// A connection and the task that moves its bytes, which ends with it.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Service {
    /// Reads what is needed to speak to this BMC; the connection is made with the first request.
    ///
    /// # Errors
    /// A sentence.
    pub(super) async fn open(options: &BmcOptions, bmc: &BmcAddress, clock: &Clock) -> Result<Self, String> {
        let ca = options.ca.clone().ok_or("bmc.ca is not configured on this host")?;
        let password = options.password_for(bmc, clock).await?;
        let config = clock.aside(move || trust::config(&ca)).await.map_err(|died| died.to_string())??;
        let (user, bmc) = (options.user.clone(), bmc.clone());
        let authorization = authorization(&user, &password)?;
        Ok(Self { bmc, user, authorization, tls: TlsConnector::from(Arc::new(config)), connection: None })
    }

    /// Reads a resource.
    ///
    /// # Errors
    /// A sentence that names it.
    pub(super) async fn get(&mut self, path: &str) -> Result<Value, String> {
        let mut path = path.to_owned();
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.send(Method::GET, &path, None).await?;
            match answer.points_to().filter(|_| answer.status.is_redirection()) {
                Some(next) => path = path_here(next, &self.bmc)?,
                None => return answer.resource().map_err(|why| self.complaint(&Method::GET, &path, &why)),
            }
        }
        Err(format!("GET {path} is sent on and on"))
    }

    /// Reads what a link points to.
    ///
    /// # Errors
    /// A sentence that names it.
    pub(super) async fn get_link(&mut self, link: &str) -> Result<Value, String> {
        let path = path_here(link, &self.bmc)?;
        self.get(&path).await
    }

    /// Posts an order.
    ///
    /// # Errors
    /// A sentence, where the service does not take it.
    pub(super) async fn post(&mut self, link: &str, order: &Value) -> Result<(), String> {
        let path = path_here(link, &self.bmc)?;
        let answer = self.send(Method::POST, &path, Some(order)).await?;
        answer.taken().map_err(|why| self.complaint(&Method::POST, &path, &why))
    }

    fn complaint(&self, method: &Method, path: &str, why: &str) -> String {
        format!("{method} {path} as {}: {why}", self.user)
    }

    async fn send(&mut self, method: Method, path: &str, order: Option<&Value>) -> Result<Answer, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{method} {path}: {error}");
        let request = self.request(&method, path, order).map_err(|error| failed(&error))?;
        let sender = self.connected().await?;
        let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await.map_err(|error| failed(&error))?;
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
    }

    fn request(&self, method: &Method, path: &str, order: Option<&Value>) -> hyper::http::Result<Request<Full<Bytes>>> {
        let body = order.map_or_else(Bytes::new, |order| Bytes::from(order.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.bmc.to_string())
            .header(header::USER_AGENT, concat!("ballast-agent/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "application/json")
            .header("OData-Version", "4.0")
            .header(header::AUTHORIZATION, &self.authorization);
        let request = if order.is_some() { request.header(header::CONTENT_TYPE, "application/json") } else { request };
        request.body(Full::new(body))
    }

    /// The connection at hand while the other side keeps it, or else a new one.
    async fn connected(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, String> {
        let kept = match self.connection.take() {
            Some(mut at_hand) => at_hand.sender.ready().await.is_ok().then_some(at_hand),
            None => None,
        };
        let connection = match kept {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        Ok(&mut self.connection.insert(connection).sender)
    }

    async fn connect(&self) -> Result<Connection, String> {
        let BmcAddress { host, port } = &self.bmc;
        let name = ServerName::try_from(host.clone()).map_err(|error| error.to_string())?;
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| format!("connect: {error}"))?;
        let stream = self.tls.connect(name, stream).await;
        let stream = stream.map_err(|error| format!("{error} (checked against bmc.ca)"))?;
        let (sender, bytes) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        // What ends the connection, the request on it is told too.
        let task = tokio::spawn(async move { drop(bytes.await) });
        Ok(Connection { sender, task })
    }
}

fn authorization(user: &str, password: &str) -> Result<HeaderValue, String> {
    let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let mut value = HeaderValue::try_from(basic).map_err(|_| "user and password make no HTTP header")?;
    value.set_sensitive(true);
    Ok(value)
}

impl Answer {
    fn points_to(&self) -> Option<&str> {
        self.headers.get(header::LOCATION)?.to_str().ok()
    }

    fn taken(&self) -> Result<(), String> {
        match self.status {
            status if status.is_success() => Ok(()),
            status => Err(format!("{status}{}", complaint(&self.body))),
        }
    }

    fn resource(&self) -> Result<Value, String> {
        self.taken()?;
        serde_json::from_slice(&self.body).map_err(|error| format!("its answer is no JSON: {error}"))
    }
}

/// The path that a link of the service names; one that leads to another machine is not followed.
fn path_here(link: &str, bmc: &BmcAddress) -> Result<String, String> {
    let elsewhere = || format!("it points to {link:?}, which is not its own");
    let uri: Uri = link.parse().map_err(|_| elsewhere())?;
    let is_here = match uri.authority() {
        None => true,
        Some(authority) => {
            let host = authority.host().trim_matches(['[', ']']);
            uri.scheme_str() == Some("https")
                && host.eq_ignore_ascii_case(&bmc.host)
                && authority.port_u16().unwrap_or(443) == bmc.port
        }
    };
    let path = uri
        .path_and_query()
        .map(ToString::to_string)
        .filter(|path| is_here && path.starts_with('/') && !path.starts_with("//"));
    path.ok_or_else(elsewhere)
}

/// What a Redfish error says, in brackets; nothing where it says nothing.
fn complaint(body: &[u8]) -> String {
    let said = || {
        let body: Value = serde_json::from_slice(body).ok()?;
        let error = body.get("error")?;
        let first = error.get("@Message.ExtendedInfo").and_then(|infos| infos.get(0)?.get("Message"));
        let words = first.or_else(|| error.get("message"))?.as_str()?;
        Some(words.trim().chars().take(COMPLAINT_MAX).collect::<String>())
    };
    said().map_or_else(String::new, |words| format!(" ({words})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_goes_nowhere_but_to_the_bmc_that_was_asked() {
        let bmc = BmcAddress { host: "bmc7".to_owned(), port: 443 };
        for (link, path) in [
            ("/redfish/v1/Systems/1", Some("/redfish/v1/Systems/1")),
            ("/redfish/v1/Power#/PowerControl/0", Some("/redfish/v1/Power")),
            ("https://BMC7/redfish/v1/", Some("/redfish/v1/")),
            ("https://bmc7:8443/redfish/v1/", None),
            ("http://bmc7/redfish/v1/", None),
            ("https://evil.example/redfish/v1/", None),
            ("//evil.example/redfish/v1/", None),
            ("Systems/1", None),
            ("*", None),
        ] {
            assert_eq!(path_here(link, &bmc).ok().as_deref(), path, "{link}");
        }
    }

    #[test]
    fn user_and_password_are_never_shown() {
        let value = authorization("waker", "secret").unwrap();
        assert_eq!(value, "Basic d2FrZXI6c2VjcmV0");
        assert_eq!(format!("{value:?}"), "Sensitive");
    }

    #[test]
    fn what_the_bmc_says_of_an_error_is_passed_on() {
        let told = |body: &str, status| {
            let body = Bytes::from(body.to_owned());
            Answer { status, headers: HeaderMap::new(), body }.taken()
        };
        let body = r#"{"error": {"message": "general", "@Message.ExtendedInfo": [{"Message": "Not now."}]}}"#;
        assert_eq!(told(body, StatusCode::CONFLICT), Err("409 Conflict (Not now.)".to_owned()));
        assert_eq!(told("<html>", StatusCode::UNAUTHORIZED), Err("401 Unauthorized".to_owned()));
        assert_eq!(told("", StatusCode::NO_CONTENT), Ok(()));
    }
}
