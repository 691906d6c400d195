//! The `Operator` service: checks and converts what people ask, hands it to the engine, converts the answer.
//!
//! Decides nothing: a manual migration passes the same guard as the scheduler's own, inside the engine. Who asked comes
//! from the caller's certificate.

use std::{pin::Pin, sync::Arc};

use futures::Stream;
use serde::Serialize;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use ballast_core::{decision::Mode, id::HostId, snapshot::HostMode};
use ballast_proto::{
    convert::{command_id, decision_id, host_id, host_statuses},
    v1::{self, operator_server::Operator},
};

use super::{auth, status, views, watching};
use crate::{
    engine::{Engine, ManualMove, OperatorError},
    metrics::Metrics,
};

/// Entries of a list where the request names no number.
const LIST_DEFAULT: usize = 100;

/// Most entries of a list: an answer must stay below the 4 MiB that clients take by default.
pub(super) const LIST_MAX: usize = 1000;

type Answer<T> = Result<Response<T>, Status>;

/// The service.
#[derive(Debug)]
pub(super) struct OperatorService {
    /// What is asked.
    pub(super) engine: Engine,
    /// Where slow watchers are counted.
    pub(super) metrics: Arc<Metrics>,
    /// Turns true when the service is to end.
    pub(super) stopping: watch::Receiver<bool>,
}

impl OperatorService {
    async fn set_host_mode(&self, host: &str, mode: HostMode, who: &str) -> Result<u32, Status> {
        let host = host_of(host)?;
        let vms = self.engine.set_host_mode(&host, mode, who).await.map_err(refused)?;
        Ok(views::small(vms))
    }
}

#[tonic::async_trait]
impl Operator for OperatorService {
    type WatchMigrationsStream = Pin<Box<dyn Stream<Item = Result<v1::MigrationEvent, Status>> + Send>>;

    async fn list_hosts(&self, _request: Request<v1::ListHostsRequest>) -> Answer<v1::ListHostsResponse> {
        let snapshot = self.engine.snapshot().await.map_err(refused)?;
        answer(v1::ListHostsResponse {
            hosts: host_statuses(&snapshot),
            mode: v1::Mode::from(self.engine.mode()).into(),
            epoch: snapshot.epoch.0,
            now_unix_nanos: self.engine.clock().now().nanos(),
        })
    }

    async fn list_vms(&self, request: Request<v1::ListVmsRequest>) -> Answer<v1::ListVmsResponse> {
        let snapshot = self.engine.snapshot().await.map_err(refused)?;
        let host = request.into_inner().host;
        if host.is_empty() {
            return answer(v1::ListVmsResponse { vms: views::vms(&snapshot, |_| true) });
        }
        let host = host_of(&host)?;
        if !snapshot.hosts.contains_key(&host) {
            return Err(refused(OperatorError::UnknownHost { host }));
        }
        answer(v1::ListVmsResponse { vms: views::vms(&snapshot, |of| of == host.as_str()) })
    }

    async fn get_snapshot(&self, _request: Request<v1::GetSnapshotRequest>) -> Answer<v1::GetSnapshotResponse> {
        let snapshot = self.engine.snapshot().await.map_err(refused)?;
        answer(v1::GetSnapshotResponse { snapshot_json: json(&*snapshot)? })
    }

    async fn get_forecast(&self, request: Request<v1::GetForecastRequest>) -> Answer<v1::GetForecastResponse> {
        let outlook = self.engine.outlook(&request.into_inner().vm).await.map_err(refused)?;
        let Some(forecast) = outlook.forecast else {
            let why = format!("vm {} has been watched too briefly for a forecast", outlook.vm);
            return Err(Status::failed_precondition(why));
        };
        answer(v1::GetForecastResponse {
            vm: outlook.vm.to_string(),
            method: outlook.method,
            forecast_json: json(&forecast)?,
            source: outlook.source,
            name: outlook.name,
            now_unix_nanos: outlook.at.nanos(),
            history: outlook.history.iter().map(views::demand_step).collect(),
        })
    }

    async fn migrate(&self, request: Request<v1::MigrateRequest>) -> Answer<v1::MigrateResponse> {
        let who = auth::caller(&request)?.who().to_owned();
        let wish = wish(request.into_inner(), who)?;
        let result = self.engine.migrate(wish).await.map_err(refused)?;
        answer(v1::MigrateResponse {
            migration_id: result.migration.map(|id| id.to_string()).unwrap_or_default(),
            decision_id: result.decision.map(|id| id.to_string()).unwrap_or_default(),
            findings: texts(&result.findings),
        })
    }

    async fn cancel_migration(
        &self,
        request: Request<v1::CancelMigrationRequest>,
    ) -> Answer<v1::CancelMigrationResponse> {
        let who = auth::caller(&request)?.who().to_owned();
        let id = command_id(&request.into_inner().migration_id, "migration_id").map_err(invalid)?;
        let command = self.engine.cancel(id, &who).await.map_err(refused)?;
        answer(v1::CancelMigrationResponse { command_id: command.to_string() })
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Answer<v1::DrainResponse> {
        let who = auth::caller(&request)?.who().to_owned();
        let vm_count = self.set_host_mode(&request.into_inner().host, HostMode::Draining, &who).await?;
        answer(v1::DrainResponse { vm_count })
    }

    async fn undrain(&self, request: Request<v1::UndrainRequest>) -> Answer<v1::UndrainResponse> {
        let who = auth::caller(&request)?.who().to_owned();
        self.set_host_mode(&request.into_inner().host, HostMode::Active, &who).await?;
        answer(v1::UndrainResponse {})
    }

    async fn set_mode(&self, request: Request<v1::SetModeRequest>) -> Answer<v1::SetModeResponse> {
        let who = auth::caller(&request)?.who().to_owned();
        let mode = Mode::try_from(request.into_inner().mode()).map_err(invalid)?;
        let change = self.engine.set_mode(mode, &who).await.map_err(refused)?;
        answer(v1::SetModeResponse { previous: v1::Mode::from(change.previous).into() })
    }

    async fn approve(&self, request: Request<v1::ApproveRequest>) -> Answer<v1::ApproveResponse> {
        let who = auth::caller(&request)?.who().to_owned();
        let id = decision_id(&request.into_inner().decision_id, "decision_id").map_err(invalid)?;
        let approval = self.engine.approve(id, &who).await.map_err(refused)?;
        answer(v1::ApproveResponse { command_ids: texts(&approval.commands), findings: texts(&approval.findings) })
    }

    async fn list_migrations(&self, request: Request<v1::ListMigrationsRequest>) -> Answer<v1::ListMigrationsResponse> {
        let request = request.into_inner();
        let records = self.engine.migrations(limit(request.limit_count), request.running_only);
        answer(v1::ListMigrationsResponse { migrations: records.into_iter().map(views::migration).collect() })
    }

    async fn watch_migrations(
        &self,
        _request: Request<v1::WatchMigrationsRequest>,
    ) -> Answer<Self::WatchMigrationsStream> {
        let stream = watching::migrations(self.engine.clone(), Arc::clone(&self.metrics), self.stopping.clone());
        Ok(Response::new(Box::pin(stream)))
    }

    async fn list_decisions(&self, request: Request<v1::ListDecisionsRequest>) -> Answer<v1::ListDecisionsResponse> {
        let request = request.into_inner();
        let records = self.engine.decisions(limit(request.limit_count), request.include_empty);
        answer(v1::ListDecisionsResponse { decisions: records.iter().map(views::decision).collect() })
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Answer<v1::ExplainResponse> {
        let explanation = self.engine.explain(&request.into_inner().id).map_err(refused)?;
        answer(v1::ExplainResponse {
            decision_json: json(&explanation.decision)?,
            text: explanation.text,
            migrations: explanation.migrations.into_iter().map(views::migration).collect(),
            came_json: json(&explanation.came)?,
        })
    }
}

fn wish(request: v1::MigrateRequest, who: String) -> Result<ManualMove, Status> {
    let v1::MigrateRequest { vm, host, dry_run, r#override: set_aside, reason } = request;
    if vm.is_empty() {
        return Err(Status::invalid_argument("vm is empty: a uuid or a name is needed"));
    }
    Ok(ManualMove { vm, host: host_of(&host)?, dry_run, set_aside, reason, who })
}

fn host_of(text: &str) -> Result<HostId, Status> {
    host_id(text, "host").map_err(invalid)
}

fn limit(asked: u32) -> usize {
    match usize::try_from(asked).unwrap_or(LIST_MAX) {
        0 => LIST_DEFAULT,
        asked => asked.min(LIST_MAX),
    }
}

fn answer<T>(message: T) -> Answer<T> {
    Ok(Response::new(message))
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

fn json<T: Serialize>(value: &T) -> Result<String, Status> {
    serde_json::to_string(value).map_err(|error| Status::internal(format!("cannot be shown as JSON: {error}")))
}

// `map_err` hands errors over by value.
#[allow(clippy::needless_pass_by_value)]
fn refused(error: OperatorError) -> Status {
    status::operator(&error)
}

#[allow(clippy::needless_pass_by_value)] // as above
fn invalid(error: ballast_proto::convert::InvalidField) -> Status {
    status::invalid(&error)
}
