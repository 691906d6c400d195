//! Commands with one answer: each asks the scheduler once and hands back what it said.

use ballast_proto::v1;

use crate::{
    args::{Ask, ModeArg},
    client::Operator,
    show::{Answer, forecast::Paper},
};

/// Asks.
///
/// # Errors
/// The scheduler's refusal, as a status.
pub(crate) async fn ask(mut to: Operator, ask: Ask) -> anyhow::Result<Answer> {
    Ok(match ask {
        Ask::Hosts => Answer::Hosts(to.list_hosts(v1::ListHostsRequest {}).await?.into_inner()),
        Ask::Vms { host } => {
            let request = v1::ListVmsRequest { host: host.unwrap_or_default() };
            Answer::Vms(to.list_vms(request).await?.into_inner())
        }
        Ask::Migrate { vm, host, dry_run, set_aside, reason } => {
            let request = v1::MigrateRequest { vm, host, dry_run, r#override: set_aside, reason };
            Answer::Ordered { dry_run, response: to.migrate(request).await?.into_inner() }
        }
        Ask::Cancel { migration } => {
            let request = v1::CancelMigrationRequest { migration_id: migration.clone() };
            Answer::Cancelling { migration, response: to.cancel_migration(request).await?.into_inner() }
        }
        Ask::Drain { host } => {
            let response = to.drain(v1::DrainRequest { host: host.clone() }).await?.into_inner();
            Answer::Draining { host, response }
        }
        Ask::Undrain { host } => {
            to.undrain(v1::UndrainRequest { host: host.clone() }).await?;
            Answer::InUse { host }
        }
        Ask::Mode { mode: None } => Answer::Mode(to.list_hosts(v1::ListHostsRequest {}).await?.into_inner().mode()),
        Ask::Mode { mode: Some(mode) } => {
            let wanted = wire(mode);
            let response = to.set_mode(v1::SetModeRequest { mode: wanted.into() }).await?.into_inner();
            Answer::ModeSet { mode: wanted, previous: response.previous() }
        }
        Ask::Approve { decision } => {
            let request = v1::ApproveRequest { decision_id: decision.clone() };
            Answer::Approved { decision, response: to.approve(request).await?.into_inner() }
        }
        Ask::Migrations { running, limit } => {
            let request = v1::ListMigrationsRequest { limit_count: limit, running_only: running };
            Answer::Migrations(to.list_migrations(request).await?.into_inner().migrations)
        }
        Ask::Decisions { all, limit } => {
            let request = v1::ListDecisionsRequest { limit_count: limit, include_empty: all };
            Answer::Decisions(to.list_decisions(request).await?.into_inner().decisions)
        }
        Ask::Explain { id } => Answer::Explained(to.explain(v1::ExplainRequest { id }).await?.into_inner()),
        Ask::Forecast { vm } => {
            let said = to.get_forecast(v1::GetForecastRequest { vm }).await?.into_inner();
            Answer::Forecast { said, paper: Paper::of_stdout() }
        }
    })
}

fn wire(mode: ModeArg) -> v1::Mode {
    match mode {
        ModeArg::Off => v1::Mode::Off,
        ModeArg::Recommend => v1::Mode::Recommend,
        ModeArg::Auto => v1::Mode::Auto,
    }
}
