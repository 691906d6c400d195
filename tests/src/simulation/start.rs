//! How the processes of a run start: the real agent and the real scheduler, on simulated machines.

use std::{
    path::Path,
    sync::{Arc, PoisonError},
    time::Duration,
};

use anyhow::Result;
use ballast_agent::{
    config::Config as AgentConfig, host::simulated::SimulatedHost, hypervisor::simulated::SimulatedHypervisor,
};
use ballast_core::{decision::Mode, oversight::ModelMode};
use ballast_daemon::clock::{Clock, Machine, Pace};
use ballast_scheduler::{Scheduler, config::Config, model::Models};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{
    dice::Dice,
    life::Life,
    run::Run,
    witness::{Watched, WatchedHost},
};
use crate::scheduler::{START, quick};

impl Run {
    /// The dice of the next life.
    fn next_dice(&mut self, who: &str) -> Dice {
        self.lives += 1;
        Dice::new(self.seed, &format!("{who} {}", self.lives))
    }

    /// Starts the agent of a host with what an earlier one had written.
    ///
    /// # Errors
    /// Where there is no runtime, or a planted bug cannot be planted.
    pub(super) fn start_agent(&mut self, index: usize) -> Result<()> {
        let spec = self.fleet.hosts[index].clone();
        let (host, dir) = (spec.host.clone(), self.agent_dir(index));
        self.options.bugs.of_agents_journal(&dir.join("journal"), START.after(self.now))?;
        let capacity = (spec.cpu_capacity, spec.memory_capacity);
        let mut config =
            AgentConfig::embedded(host.clone(), "http://scheduler:7070".to_owned(), dir, capacity, spec.power);
        // Clocks are stepped by hours here, and the vms move all the same: nothing may rest on what an agent's clock says.
        config.clock_difference_max = Duration::from_secs(24 * 3600);
        let (world, wire, witness) = (self.world.clone(), self.wire.clone(), self.witness.clone());
        let (bugs, start) = (self.options.bugs.clone(), START.after(self.now));
        let (wall, disk) = (self.walls[index].read_from(self.now), self.disks[index].written());
        let dice = self.next_dice("agent");
        let life = Life::begin(self.now, move || {
            let machine = Machine::at(start).with_wall(wall).with_pace(pace(dice)).with_disk(disk);
            let clock = Clock::simulated(machine);
            // The hosts live by the true time; each agent by its host's clock.
            let world = world.by(Clock::simulated(Machine::at(start)));
            let inner = SimulatedHypervisor::new(world.clone(), host.clone());
            let hypervisor =
                Watched { inner, host: host.clone(), witness: witness.clone(), bugs, clock: clock.clone() };
            let inner = SimulatedHost::new(world, host.clone());
            let host = WatchedHost { inner, host, index, witness, wire };
            async move { Ok(ballast_agent::run(config, hypervisor, host, clock, std::future::pending()).await?) }
        })?;
        self.agents[index] = Some(life);
        Ok(())
    }

    /// Starts a scheduler with what an earlier one had written.
    ///
    /// # Errors
    /// Where there is no runtime, or a planted bug cannot be planted.
    pub(super) fn start_scheduler(&mut self) -> Result<()> {
        let start = START.after(self.now);
        self.options.bugs.of_schedulers_journal(&self.config.engine.journal_dir(), start)?;
        let (config, handle, wire) = (self.config.clone(), Arc::clone(&self.engine), self.wire.clone());
        let dice = self.next_dice("scheduler");
        let last = self.agents.len();
        self.disks[last].forget();
        let (wall, disk) = (self.walls[last].read_from(self.now), self.disks[last].written());
        let life = Life::begin(self.now, move || {
            let machine = Machine::at(start).with_wall(wall).with_pace(pace(dice)).with_disk(disk);
            let clock = Clock::simulated(machine);
            async move {
                let scheduler = Scheduler::start_with(config, Models::none(), clock).await?;
                wire.newest(scheduler.engine().epoch());
                let incoming = UnboundedReceiverStream::new(wire.listen());
                *handle.lock().unwrap_or_else(PoisonError::into_inner) = Some(scheduler.engine());
                Ok(scheduler.serve_connections(incoming, None, std::future::pending()).await?)
            }
        })?;
        self.scheduler = Some(life);
        Ok(())
    }
}

/// Bounds that are reached within minutes; everything else is the default.
pub(super) fn settings(dir: &Path, seed: u64) -> Config {
    let mut config = quick(dir, Mode::Auto);
    let tuning = &mut config.engine.tuning;
    tuning.vm_cool_down = Duration::from_secs(15);
    tuning.sleep_after = Duration::from_secs(10);
    tuning.power_dwell = Duration::from_secs(20);
    config.engine.seed = seed;
    config.engine.forecast.oversight.mode = ModelMode::Off;
    config.engine.forecast.deadline = None;
    config
}

/// How long a disk takes: mostly nothing to speak of, at times long.
fn pace(dice: Dice) -> Pace {
    let slow = if dice.chance(0.2) { 400 } else { 8 };
    Box::new(move || {
        let most = if dice.chance(0.01) { 2_000 } else { slow };
        (dice.millis(0, most), dice.millis(0, most))
    })
}
