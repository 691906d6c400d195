//! Who may call what: one table of methods and roles, deny by default.
//!
//! A layer around every service asks it before a message is read. The role and the name come from the caller's
//! certificate, never from a message. Without TLS (loopback only, which the configuration enforces) whoever reaches the
//! port is taken for a local operator and for any agent.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use tonic::{
    Status,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};

use ballast_core::id::HostId;
use ballast_daemon::tls::{PeerIdentity, Role};

use crate::metrics::Metrics;

const AGENTS: &[Role] = &[Role::Agent];
const READERS: &[Role] = &[Role::Operator, Role::Viewer];
const OPERATORS: &[Role] = &[Role::Operator];

/// Every method that is served and the roles that may call it. A method that is not here is refused; a test compares
/// this table with the descriptors of all served files.
pub const METHODS: &[(&str, &[Role])] = &[
    ("/ballast.v1.AgentLink/Connect", AGENTS),
    ("/ballast.v1.Operator/ListHosts", READERS),
    ("/ballast.v1.Operator/ListVms", READERS),
    ("/ballast.v1.Operator/GetSnapshot", READERS),
    ("/ballast.v1.Operator/GetForecast", READERS),
    ("/ballast.v1.Operator/Migrate", OPERATORS),
    ("/ballast.v1.Operator/CancelMigration", OPERATORS),
    ("/ballast.v1.Operator/Drain", OPERATORS),
    ("/ballast.v1.Operator/Undrain", OPERATORS),
    ("/ballast.v1.Operator/SetMode", OPERATORS),
    ("/ballast.v1.Operator/Approve", OPERATORS),
    ("/ballast.v1.Operator/ListMigrations", READERS),
    ("/ballast.v1.Operator/WatchMigrations", READERS),
    ("/ballast.v1.Operator/ListDecisions", READERS),
    ("/ballast.v1.Operator/Explain", READERS),
    ("/grpc.health.v1.Health/Check", READERS),
    ("/grpc.health.v1.Health/Watch", READERS),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", READERS),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", READERS),
];

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Somebody on this machine, over loopback without TLS.
    Local,
    /// The holder of a certificate that our authority signed.
    Certified(PeerIdentity),
}

impl Caller {
    /// The name for the record.
    pub fn who(&self) -> &str {
        match self {
            Self::Local => "local",
            Self::Certified(peer) => &peer.name,
        }
    }

    /// Whether it may call `method`.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` where the table does not name its role for the method, `UNIMPLEMENTED` where it does not
    /// name the method.
    pub fn may_call(&self, method: &str) -> Result<(), Status> {
        let Some((_, roles)) = METHODS.iter().find(|(name, _)| *name == method) else {
            return Err(Status::unimplemented(format!("{method} is not served")));
        };
        match self {
            Self::Local => Ok(()),
            Self::Certified(peer) if roles.contains(&peer.role) => Ok(()),
            Self::Certified(peer) => Err(Status::permission_denied(format!(
                "{peer}: {method} is open to {}",
                roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(" and ")
            ))),
        }
    }

    /// Whether it may speak as the agent of `host`.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` where its certificate carries another name.
    pub fn may_speak_for(&self, host: &HostId) -> Result<(), Status> {
        match self {
            Self::Local => Ok(()),
            Self::Certified(peer) if peer.name == host.as_str() => Ok(()),
            Self::Certified(peer) => Err(Status::permission_denied(format!(
                "the certificate is for {}, Hello.inventory.host says {host}: they must be equal",
                peer.name
            ))),
        }
    }
}

/// What the layer needs to judge a call.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    /// Whether callers show certificates.
    pub(super) tls: bool,
    /// Where refusals are counted.
    pub(super) metrics: Arc<Metrics>,
}

impl Gate {
    fn admit(&self, request: &Request) -> Result<Caller, Status> {
        let method = request.uri().path();
        let caller = self.caller(request).map_err(|why| Status::unauthenticated(format!("{method}: {why}")))?;
        caller.may_call(method)?;
        Ok(caller)
    }

    fn caller(&self, request: &Request) -> Result<Caller, String> {
        if !self.tls {
            return Ok(Caller::Local);
        }
        let info = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>();
        let certificates = info.and_then(TlsConnectInfo::peer_certs);
        let first = certificates.as_ref().and_then(|chain| chain.first());
        let leaf = first.ok_or("a client certificate is needed")?;
        let identity = PeerIdentity::of_certificate(leaf);
        identity.map(Caller::Certified).map_err(|error| error.to_string())
    }
}

/// The layer: refuses, or passes on with the [`Caller`] among the request's extensions.
pub(super) async fn authorize(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    match gate.admit(&request) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(status) => {
            gate.metrics.refused(status.code());
            tracing::warn!(method = request.uri().path(), reason = status.message(), "Call refused");
            status.into_http()
        }
    }
}

/// The caller that the layer put into `request`.
///
/// # Errors
/// `INTERNAL` where the layer is missing: then nobody may do anything.
pub(super) fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, Status> {
    request.extensions().get().cloned().ok_or_else(|| Status::internal("the caller was not identified"))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    // Behind TLS nobody comes this far without a certificate: this is the second door.
    #[test]
    fn a_call_without_a_certificate_is_not_authenticated_and_says_which() {
        let gate = Gate { tls: true, metrics: Arc::new(Metrics::new(false)) };
        let request = Request::builder().uri("/ballast.v1.Operator/SetMode").body(Body::empty()).unwrap();
        let refusal = gate.admit(&request).unwrap_err();
        assert_eq!(refusal.code(), tonic::Code::Unauthenticated);
        assert_eq!(refusal.message(), "/ballast.v1.Operator/SetMode: a client certificate is needed");
    }
}
