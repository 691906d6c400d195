//! From steps of a plan to commands: who is told, within which bounds, and how people read of it.
//!
//! Pure but for the ids it is handed. Checks nothing: the guard has.

use ballast_core::{
    aftercare::Faring,
    command::{Command, MigrationLimits, Order},
    decision::{Planned, Step},
    id::{CommandId, DecisionId, HostId},
    migration_cost::Reckoned,
    objective::{Objective, copy_job},
    proposal::{Motive, Move},
    snapshot::Snapshot,
    stake,
};

use crate::{
    engine::EngineSettings,
    journal::{Departure, OpenIntent},
};

/// The intents of a decision's steps. A step about a host or vm that the snapshot does not know gives none; the guard
/// would not have let it pass.
pub(super) fn of_steps<'a>(
    decision: DecisionId,
    steps: impl IntoIterator<Item = &'a Planned>,
    snapshot: &Snapshot,
    settings: &EngineSettings,
    mut next_id: impl FnMut() -> CommandId,
) -> Vec<OpenIntent> {
    let objective = Objective::new(snapshot, &settings.tuning);
    let each = |planned: &Planned| {
        let (host, name, order) = order(&planned.step, snapshot, settings)?;
        let command = Command { id: next_id(), host, ttl: settings.commands.ttl, order };
        let (motive, ordered_at) = (planned.motive.to_string(), snapshot.taken_at);
        let copy = reckoned(&planned.step, snapshot).map(Box::new);
        let departure = departure(planned, snapshot).map(Box::new);
        let stake = stake::of(planned, snapshot, &objective).map(Box::new);
        Some(OpenIntent {
            command,
            decision,
            name,
            motive,
            ordered_at,
            accepted: false,
            said_goodbye: false,
            copy,
            departure,
            stake,
        })
    };
    steps.into_iter().filter_map(each).collect()
}

/// What the copy of a step is reckoned with.
fn reckoned(step: &Step, snapshot: &Snapshot) -> Option<Reckoned> {
    let Step::Migrate(Move { vm, from, to }) = step else { return None };
    let host = |id| snapshot.hosts.get(id);
    Some(snapshot.copying.reckon(copy_job(snapshot.vms.get(vm)?, host(from)?, host(to)?)))
}

/// How the vm of a step fares, and those it goes to.
fn departure(planned: &Planned, snapshot: &Snapshot) -> Option<Departure> {
    let Step::Migrate(Move { vm, to, .. }) = &planned.step else { return None };
    let back = matches!(planned.motive, Motive::Regret { .. });
    Some(Departure { before: Faring::before(*vm, to, snapshot), back })
}

/// Whom a step is ordered from, what it is about, and the order.
fn order(step: &Step, snapshot: &Snapshot, settings: &EngineSettings) -> Option<(HostId, String, Order)> {
    match step {
        Step::Migrate(one) => migration(one, snapshot, settings),
        Step::Sleep { host } => Some((host.clone(), host.to_string(), Order::Sleep)),
        Step::Wake { host, by } => {
            let address = snapshot.hosts.get(host)?.inventory.wake_address.clone();
            Some((by.clone(), host.to_string(), Order::Wake { target: host.clone(), address }))
        }
    }
}

fn migration(one: &Move, snapshot: &Snapshot, settings: &EngineSettings) -> Option<(HostId, String, Order)> {
    let vm = snapshot.vms.get(&one.vm)?;
    let limits = MigrationLimits { tls: settings.migration_tls, ..vm.record.limits() };
    let order = Order::Migrate {
        vm: one.vm,
        generation: vm.generation,
        destination: one.to.clone(),
        destination_uri: snapshot.hosts.get(&one.to)?.inventory.migration_uri.clone(),
        limits,
    };
    Some((one.from.clone(), vm.record.name.clone(), order))
}
