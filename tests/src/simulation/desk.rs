//! Operators: they ask and order over gRPC, like anybody with the command line, a connection for each wish.

use std::time::Duration;

use anyhow::{Context, Result};
use ballast_daemon::clock::{Clock, Machine};
use ballast_proto::v1::{self, operator_client::OperatorClient};
use tonic::transport::{Channel, Endpoint};

use super::{
    life::Life,
    trace::Trace,
    wire::{Wire, connect},
};
use crate::scheduler::START;

/// So long does an operator look at a command line that says nothing.
const PATIENCE: Duration = Duration::from_secs(20);

/// What an operator wants. Of what there is to choose from, the one at `pick`, counted around.
#[derive(Debug, Clone)]
pub(super) enum Wish {
    /// A vm is to move.
    Move { vm: String, host: String },
    /// A migration is to stop.
    Cancel { pick: usize },
    /// A host is to be emptied.
    Drain { host: String },
    /// A host is to be used again.
    Undrain { host: String },
    /// The scheduler's mode.
    Mode(v1::Mode),
    /// A plan is to be carried out.
    Approve { pick: usize },
    /// Somebody looks at everything there is.
    Look,
}

/// The operators of a run, on a machine of their own.
#[derive(Debug)]
pub(super) struct Desk {
    life: Life,
    wire: Wire,
    /// Its place among those who dial: behind the last host.
    index: usize,
    trace: Trace,
    born: Duration,
}

impl Desk {
    /// Operators who begin at `born`.
    ///
    /// # Errors
    /// Where the system has no runtime to give.
    pub(super) fn new(wire: Wire, index: usize, trace: Trace, born: Duration) -> Result<Self> {
        Ok(Self { life: Life::begin(born, std::future::pending)?, wire, index, trace, born })
    }

    /// Lets them live until `now`.
    pub(super) fn step(&mut self, now: Duration, longest: Duration) {
        // They never end: what they wait for does not come.
        let _never = self.life.step(now, longest);
    }

    /// One of them wants something; whether it comes true is for the trace.
    pub(super) fn wish(&self, wish: Wish) {
        let (wire, index, trace, start) = (self.wire.clone(), self.index, self.trace.clone(), START.after(self.born));
        self.life.spawn(async move {
            let clock = Clock::simulated(Machine::at(start));
            let said = match clock.timeout(PATIENCE, fulfil(wire, index, &wish)).await {
                Ok(Ok(said)) => said,
                Ok(Err(error)) => format!("{error:#}"),
                Err(elapsed) => elapsed.to_string(),
            };
            trace.note(format_args!("operator: {wish:?}: {said}"));
        });
    }
}

async fn fulfil(wire: Wire, index: usize, wish: &Wish) -> Result<String> {
    let channel = connect(wire, index, Endpoint::from_static("http://scheduler:7070")).await?;
    let mut client = OperatorClient::new(channel);
    Ok(match wish.clone() {
        Wish::Move { vm, host } => {
            let said = client.migrate(v1::MigrateRequest { vm, host, ..Default::default() }).await?.into_inner();
            said.migration_id
        }
        Wish::Cancel { pick } => {
            let migration_id = running(&mut client, pick).await?;
            client.cancel_migration(v1::CancelMigrationRequest { migration_id }).await?.into_inner().command_id
        }
        Wish::Drain { host } => format!("{:?}", client.drain(v1::DrainRequest { host }).await?.into_inner()),
        Wish::Undrain { host } => format!("{:?}", client.undrain(v1::UndrainRequest { host }).await?.into_inner()),
        Wish::Mode(mode) => {
            format!("{:?}", client.set_mode(v1::SetModeRequest { mode: mode.into() }).await?.into_inner())
        }
        Wish::Approve { pick } => {
            let asked = v1::ListDecisionsRequest { limit_count: 5, include_empty: false };
            let decisions = client.list_decisions(asked).await?.into_inner().decisions;
            let decision_id = one(&decisions, pick)?.decision_id.clone();
            client.approve(v1::ApproveRequest { decision_id }).await?.into_inner().command_ids.join(" ")
        }
        Wish::Look => look(&mut client).await?,
    })
}

async fn running(client: &mut OperatorClient<Channel>, pick: usize) -> Result<String> {
    let asked = v1::ListMigrationsRequest { limit_count: 10, running_only: true };
    let migrations = client.list_migrations(asked).await?.into_inner().migrations;
    Ok(one(&migrations, pick)?.migration_id.clone())
}

async fn look(client: &mut OperatorClient<Channel>) -> Result<String> {
    let hosts = client.list_hosts(v1::ListHostsRequest::default()).await?.into_inner().hosts.len();
    let vms = client.list_vms(v1::ListVmsRequest::default()).await?.into_inner().vms.len();
    Ok(format!("{hosts} hosts, {vms} vms"))
}

fn one<T>(of: &[T], pick: usize) -> Result<&T> {
    of.get(pick % of.len().max(1)).context("nothing to choose from")
}
