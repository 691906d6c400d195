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
use ballast_daemon::{
    clock::Clock,
    tls::{PeerIdentity, Role},
};

use super::{rate::Buckets, status};
use crate::metrics::{Limited, Metrics};

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
    /// How many calls of each identity are let through.
    pub(super) calls: Arc<Buckets>,
    /// The time of the buckets.
    pub(super) clock: Clock,
}

impl Gate {
    fn admit(&self, request: &Request) -> Result<Caller, Status> {
        let method = request.uri().path();
        let caller = self.caller(request).map_err(|why| Status::unauthenticated(format!("{method}: {why}")))?;
        caller.may_call(method)?;
        self.limit(&caller, method)?;
        Ok(caller)
    }

    /// Takes a call of the caller's.
    fn limit(&self, caller: &Caller, method: &str) -> Result<(), Status> {
        let Caller::Certified(peer) = caller else { return Ok(()) };
        self.calls.take(&peer.to_string(), self.clock.elapsed()).map_err(|wait| {
            self.metrics.rate_limited(Limited::Call);
            status::too_often(&format!("{peer}: {method} and other calls"), wait)
        })
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
    use crate::config::Limits;

    fn gate() -> Gate {
        let calls = Arc::new(Buckets::new(Limits::default().calls));
        Gate { tls: true, metrics: Arc::new(Metrics::new(false)), calls, clock: Clock::system() }
    }

    // Behind TLS nobody comes this far without a certificate: this is the second door.
    #[test]
    fn a_call_without_a_certificate_is_not_authenticated_and_says_which() {
        let gate = gate();
        let request = Request::builder().uri("/ballast.v1.Operator/SetMode").body(Body::empty()).unwrap();
        let refusal = gate.admit(&request).unwrap_err();
        assert_eq!(refusal.code(), tonic::Code::Unauthenticated);
        assert_eq!(refusal.message(), "/ballast.v1.Operator/SetMode: a client certificate is needed");
    }

    #[test]
    fn calls_beyond_the_rate_are_refused_with_a_hint_and_only_for_who_makes_them() {
        let (clock, _driver) = Clock::driven(ballast_core::units::Timestamp::EPOCH);
        let gate = Gate { clock, ..gate() };
        let caller = |name: &str| Caller::Certified(PeerIdentity { role: Role::Viewer, name: name.into() });
        let burst = (0..10_000).take_while(|_| gate.limit(&caller("bob"), "/x").is_ok()).count();
        assert_eq!(burst, 200);
        let refusal = gate.limit(&caller("bob"), "/x").unwrap_err();
        assert_eq!(refusal.code(), tonic::Code::ResourceExhausted);
        assert_eq!(refusal.metadata().get("grpc-retry-pushback-ms").unwrap(), "50");
        assert!(refusal.message().contains("viewer bob") && refusal.message().contains("0.05 s"), "{refusal:?}");
        assert!(gate.limit(&caller("carol"), "/x").is_ok());
        assert!(gate.limit(&Caller::Local, "/x").is_ok());
    }
}
