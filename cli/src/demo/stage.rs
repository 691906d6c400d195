//! The demo's parts put together: fleet, scheduler, one agent per host, and the same fleet once more, left alone.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use ballast_agent::{
    config::Config as AgentConfig,
    host::simulated::SimulatedHost,
    hypervisor::simulated::{Fleet, SimulatedHypervisor},
};
use ballast_core::{decision::Mode, id::HostId, snapshot::Doubt, units::Timestamp};
use ballast_daemon::clock::{Clock, Driver};
use ballast_scheduler::{Scheduler, config::Config as SchedulerConfig, engine::Engine};
use ballast_sim::{Scenario, World, scenario::HostSpec};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use super::pace::DECIDING;

/// A fleet with its scheduler, before or while it plays.
pub(crate) struct Stage {
    fleet: Fleet,
    /// The same fleet, which nobody touches.
    twin: World,
    engine: Engine,
    address: SocketAddr,
    start: Timestamp,
    driver: Driver,
    stop: watch::Sender<bool>,
    tasks: JoinSet<anyhow::Result<()>>,
    /// Removed with everything in it when the demo ends.
    _data: tempfile::TempDir,
}

impl Stage {
    /// Starts everything; time stands at the scenario's beginning.
    pub(crate) async fn build(
        scenario: &Scenario,
        seed: u64,
        period: Duration,
        listen: SocketAddr,
    ) -> anyhow::Result<Self> {
        let data =
            tempfile::Builder::new().prefix("ballast-demo-").tempdir().context("make a directory for the demo")?;
        let (clock, driver) = Clock::driven(scenario.start());
        let listener = TcpListener::bind(listen).await.with_context(|| format!("listen on {listen}"))?;
        let address = listener.local_addr()?;
        let mut config = SchedulerConfig::for_embedding(data.path().join("scheduler"), address);
        config.engine.period = period;
        config.engine.seed = seed;
        config.engine.initial_mode = Mode::Auto;
        driver.advance(DECIDING);
        let scheduler = Scheduler::start(config, clock.clone()).await?;
        let engine = scheduler.engine();
        // Its rounds are counted from now on, not from whenever its task is first run.
        engine.settled().await?;
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let stopped = until(stopping.clone());
        tasks.spawn(async move { Ok(scheduler.serve(listener, None, stopped).await?) });
        // Agents sample at whole periods from now on.
        driver.advance(period.saturating_sub(DECIDING));
        let fleet = Fleet::new(World::new(scenario, seed), clock.clone());
        for spec in scenario.hosts() {
            let config = agent_config(spec, address, period, &data);
            let (hypervisor, host) = drivers(&fleet, spec);
            let (clock, stopped) = (clock.clone(), until(stopping.clone()));
            tasks.spawn(async move { Ok(ballast_agent::run(config, hypervisor, host, clock, stopped).await?) });
        }
        let mut twin = World::new(scenario, seed);
        twin.advance_to(driver.now());
        Ok(Self { start: scenario.start(), fleet, twin, engine, address, driver, stop, tasks, _data: data })
    }

    /// Where the scheduler listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The scheduler's engine.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The fleet's time.
    pub(crate) fn now(&self) -> Timestamp {
        self.driver.now()
    }

    /// Fleet time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.driver.now().since(self.start)
    }

    /// Looks at the fleet.
    pub(crate) fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        self.fleet.with(look)
    }

    /// The fleet that is left alone, at the same moment.
    pub(crate) fn twin(&self) -> &World {
        &self.twin
    }

    /// Lets `span` pass: first for the hosts, then for everybody who watches the clock.
    pub(crate) fn advance(&mut self, span: Duration) {
        let next = self.driver.now().after(span);
        self.fleet.with(|world| world.advance_to(next));
        self.twin.advance_to(next);
        self.driver.advance_to(next);
    }

    /// True once the scheduler knows of every command how it stands.
    pub(crate) async fn is_reported(&self) -> anyhow::Result<bool> {
        let flights = self.world(|world| world.flights().len()) as u64;
        Ok(self.engine.stats().await?.commands_open == flights)
    }

    /// True once the scheduler sees every vm where it is and every awake host connected.
    pub(crate) async fn is_seen_as_it_is(&self) -> anyhow::Result<bool> {
        let (flights, awake) = self.world(|world| (world.flights().len(), world.awake_hosts()));
        let seen = self.engine.snapshot().await?;
        let is_connected =
            |host: &HostId| seen.hosts.get(host).is_some_and(|view| !view.doubts.contains(&Doubt::Disconnected));
        Ok(seen.in_flight.len() == flights && awake.iter().all(is_connected))
    }

    /// What a part ended with that should not have ended; `None` while all run.
    pub(crate) fn casualty(&mut self) -> Option<anyhow::Error> {
        let ended = self.tasks.try_join_next()?;
        Some(match ended {
            Ok(Ok(())) => anyhow::anyhow!("a part of the demo has ended before its time"),
            Ok(Err(error)) => error,
            Err(error) => error.into(),
        })
    }

    /// Stops everything and removes the demo's files. Time goes on meanwhile, for those who wait for it.
    pub(crate) async fn strike(mut self) -> anyhow::Result<()> {
        let real = Clock::system();
        self.stop.send_replace(true);
        loop {
            tokio::select! {
                biased;
                ended = self.tasks.join_next() => match ended {
                    None => return Ok(()),
                    Some(outcome) => outcome.context("stop a part of the demo")??,
                },
                () = real.sleep(Duration::from_millis(10)) => {
                    self.driver.advance(Duration::from_secs(1));
                }
            }
        }
    }
}

fn drivers(fleet: &Fleet, spec: &HostSpec) -> (SimulatedHypervisor, SimulatedHost) {
    let hypervisor = SimulatedHypervisor::new(fleet.clone(), spec.host.clone());
    (hypervisor, SimulatedHost::new(fleet.clone(), spec.host.clone()))
}

fn agent_config(spec: &HostSpec, scheduler: SocketAddr, period: Duration, data: &tempfile::TempDir) -> AgentConfig {
    let directory = data.path().join("agents").join(spec.host.as_str());
    let capacity = (spec.cpu_capacity, spec.memory_capacity);
    let mut config = AgentConfig::embedded(
        spec.host.clone(),
        format!("http://{scheduler}"),
        directory,
        capacity,
        spec.power.clone(),
    );
    config.period = period;
    config.libvirt.migration_uri = ballast_sim::observe::migration_uri(&spec.host);
    config.libvirt.migration_bandwidth = spec.migration_bandwidth;
    config
}

/// Resolves once stopping has begun.
async fn until(mut stopping: watch::Receiver<bool>) {
    // An error means that the stage is gone, which is stopping too.
    let _stopping = stopping.wait_for(|stopping| *stopping).await;
}
