//! The moves: which vm, what it writes meanwhile, and what came of it.

use std::{collections::BTreeMap, io::Write as _, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use ballast_proto::v1::{self, operator_client::OperatorClient};
use ballast_tests::{
    lab::Lab,
    lab_fleet::{LabFleet, eventually},
};
use tonic::transport::Channel;

use super::scene::{Scene, Vm};

/// Moves that count between two changes of what a vm writes.
const EACH: usize = 5;

/// One move that counts.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) vm: &'static str,
    pub(crate) mib: u32,
    pub(crate) writes: (u32, u32),
    pub(crate) measured: (f64, Option<f64>),
    pub(crate) reckoned: v1::ReckonedCopy,
    pub(crate) outcome: v1::Outcome,
}

/// One move of a vm that writes more than the link carries.
#[derive(Debug)]
pub(crate) struct Stubborn {
    pub(crate) vm: &'static str,
    pub(crate) writes: (u32, u32),
    /// Whether it was foretold that it does not converge.
    pub(crate) foretold: bool,
    pub(crate) outcome: v1::Outcome,
}

/// All that was moved.
#[derive(Debug)]
pub(crate) struct Came {
    pub(crate) moved: Vec<Moved>,
    pub(crate) stubborn: Vec<Stubborn>,
}

/// Moves the vms in turn until so many moves count; where there are stubborn ones, one of them has its turn after all others.
pub(crate) async fn run(
    fleet: &LabFleet,
    operator: OperatorClient<Channel>,
    scene: &Scene,
    moves: usize,
) -> Result<Came> {
    let (vms, writes) = (scene.vms, scene.writes);
    let mut run = Run::new(fleet, operator);
    let mut turned = Vec::new();
    let mut turn = 0;
    loop {
        for (index, vm) in vms.iter().enumerate() {
            // Each vm is at another place of the list, so that every part of the run has all of it.
            run.change(vm, writes[(turn + index) % writes.len()]).await?;
        }
        for _ in 0..EACH {
            for (index, vm) in vms.iter().enumerate() {
                run.counted(vm, writes[(turn + index) % writes.len()]).await?;
                if run.moved.len() >= moves {
                    return Ok(Came { moved: run.moved, stubborn: turned });
                }
            }
            if let Some((vm, writes)) = scene.stubborn.iter().cycle().nth(turned.len()) {
                turned.push(run.turned_back(vm, *writes).await?);
            }
        }
        writeln!(std::io::stderr(), "{} of {moves} moves", run.moved.len())?;
        turn += 1;
    }
}

/// A run under way.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) fleet: &'a LabFleet,
    operator: OperatorClient<Channel>,
    moved: Vec<Moved>,
    /// When each vm arrived where it is, UTC nanoseconds.
    arrived: BTreeMap<&'static str, u64>,
}

/// Time after an arrival within which the newest sample may still be of the host before, nanoseconds.
const SETTLED: u64 = 6_000_000_000;

impl<'a> Run<'a> {
    /// One in which nothing was moved yet.
    pub(crate) fn new(fleet: &'a LabFleet, operator: OperatorClient<Channel>) -> Self {
        Self { fleet, operator, moved: Vec::new(), arrived: BTreeMap::new() }
    }

    /// Has a vm write otherwise and moves it once: what is measured after that is of what it writes now.
    pub(crate) async fn change(&mut self, vm: &Vm, writes: (u32, u32)) -> Result<()> {
        self.fleet.lab.writes_and_holds(vm.name, writes, vm.held)?;
        self.order(vm).await.map(drop)
    }

    /// A move of a vm that writes more than the link carries, once that was measured: what is told of it is its outcome, which
    /// is no arrival where all is well.
    async fn turned_back(&mut self, vm: &Vm, writes: (u32, u32)) -> Result<Stubborn> {
        self.measured(vm).await?;
        let migration = self.order(vm).await?;
        let outcome = migration.outcome.context("an outcome")?;
        let reckoned = migration.reckoned.context("what it was reckoned with")?;
        Ok(Stubborn { vm: vm.name, writes, foretold: !reckoned.converges, outcome })
    }

    /// A move that counts: once it is known how the vm writes.
    async fn counted(&mut self, vm: &Vm, writes: (u32, u32)) -> Result<()> {
        let measured = self.measured(vm).await?;
        let migration = self.order(vm).await?;
        let outcome = migration.outcome.context("an outcome")?;
        if outcome.ending() != v1::EndingKind::Completed {
            let Vm { name, .. } = vm;
            writeln!(std::io::stderr(), "{name} with {writes:?}: {:?} {}", outcome.ending(), outcome.reason)?;
            return Ok(());
        }
        let reckoned = migration.reckoned.context("what it was reckoned with")?;
        self.moved.push(Moved { vm: vm.name, mib: vm.mib, writes, measured, reckoned, outcome });
        Ok(())
    }

    /// What is known of a vm.
    pub(crate) async fn status(&self, vm: &Vm) -> Result<v1::VmStatus> {
        let vms = self.operator.clone().list_vms(v1::ListVmsRequest::default()).await?.into_inner().vms;
        vms.into_iter().find(|one| one.name == vm.name).context("the vm is not known")
    }

    async fn measured(&self, vm: &Vm) -> Result<(f64, Option<f64>)> {
        let is_measured = |reading: &v1::Reading| reading.quality() == v1::Quality::Measured;
        let value = |reading: Option<v1::Reading>| reading.filter(is_measured).map(|reading| reading.value);
        let since = self.arrived.get(vm.name).map_or(0, |arrived| arrived + SETTLED);
        let known = eventually(Duration::from_secs(120), async || {
            let sample = self.status(vm).await.ok()?.sample.filter(|sample| sample.taken_at_unix_nanos > since)?;
            Some((value(sample.dirty_rate_bytes_per_second)?, value(sample.working_set_bytes)))
        });
        known.await.with_context(|| format!("how {} writes was not measured within two minutes", vm.name))
    }

    /// Moves a vm to the other host and waits for what comes of it.
    pub(crate) async fn order(&mut self, vm: &Vm) -> Result<v1::Migration> {
        let ordered = eventually(Duration::from_secs(60), async || {
            let there = self.status(vm).await.ok()?;
            let to = if there.host == Lab::host(1) { Lab::host(2) } else { Lab::host(1) };
            let request = v1::MigrateRequest {
                vm: vm.name.into(),
                host: to,
                r#override: true,
                reason: "measured".into(),
                ..v1::MigrateRequest::default()
            };
            // Refused for as long as its last arrival is not confirmed.
            self.operator.clone().migrate(request).await.ok()
        });
        let id = ordered.await.with_context(|| format!("{} cannot be moved", vm.name))?.into_inner().migration_id;
        ensure!(!id.is_empty(), "no migration was ordered");
        let over = eventually(Duration::from_secs(240), async || {
            let request = v1::ListMigrationsRequest { limit_count: 8, ..v1::ListMigrationsRequest::default() };
            let known = self.operator.clone().list_migrations(request).await.ok()?.into_inner().migrations;
            known.into_iter().find(|one| one.migration_id == id && one.outcome.is_some())
        });
        match over.await {
            Some(migration) => {
                let ended = migration.outcome.as_ref().map_or(0, |outcome| outcome.ended_at_unix_nanos);
                self.arrived.insert(vm.name, ended);
                Ok(migration)
            }
            None => bail!("migration {id} of {} did not end within four minutes", vm.name),
        }
    }
}
