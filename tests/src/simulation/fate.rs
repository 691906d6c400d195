//! What befalls the processes and hosts of a run: lost, replaced, without power, and everything whole again.

use std::{fs::OpenOptions, io::Write, path::Path, sync::PoisonError, time::Duration};

use anyhow::Result;
use ballast_core::{command::Order, id::VmId, snapshot::HostPower};
use ballast_daemon::segments::segment_files;

use super::{
    books,
    dice::Dice,
    run::{Older, Run},
    wire::Way,
};
use crate::scheduler::START;

impl Run {
    /// Loses the scheduler; what it was just writing may be torn.
    ///
    /// # Errors
    /// Where its files cannot be reached.
    pub(super) fn lose_scheduler(&mut self, dice: &Dice) -> Result<()> {
        self.wire.deaf();
        drop(self.engine());
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.scheduler = None;
        tear(&self.config.engine.journal_dir(), dice)
    }

    /// Another scheduler takes over, on another machine with what the one before had written, and that one lives on: cut off
    /// from its machine's supervisor, or standing still. False where there is none that could be replaced.
    ///
    /// # Errors
    /// Where its files cannot be copied, or the new one does not start.
    pub(super) fn take_over(&mut self) -> Result<bool> {
        if self.engine().is_none() || !self.older.is_empty() || self.disks[self.agents.len()].is_full() {
            return Ok(false);
        }
        let Some(life) = self.scheduler.take() else { return Ok(false) };
        let stopped = self.paused.remove(&self.agents.len()).unwrap_or_default();
        self.older.push(Older { life, engine: std::mem::take(&mut self.engine), stopped });
        let from = self.config.engine.journal_dir();
        self.config.engine.data_dir = self.folder.path().join(format!("scheduler {}", self.dirs.len() + 1));
        let to = self.config.engine.journal_dir();
        std::fs::create_dir_all(&to)?;
        for file in segment_files(&from)? {
            std::fs::copy(&file, to.join(file.file_name().unwrap_or_default()))?;
        }
        self.options.bugs.of_takeover(&to, START.after(self.now))?;
        self.dirs.push(self.config.engine.data_dir.clone());
        self.witness.with(|seen| seen.schedulers.clone_from(&self.dirs));
        self.wire.take_over();
        self.start_scheduler()?;
        Ok(true)
    }

    /// Whoever was replaced is switched off.
    pub(super) fn end_older(&mut self) {
        self.older.clear();
        self.wire.forget_older();
    }

    /// Loses the agent of a host; what it was just writing may be torn.
    ///
    /// # Errors
    /// Where its files cannot be reached.
    pub(super) fn lose_agent(&mut self, index: usize, dice: &Dice) -> Result<()> {
        self.agents[index] = None;
        tear(&self.agent_dir(index).join("journal"), dice)?;
        tear(&self.agent_dir(index).join("spool"), dice)
    }

    /// A host loses its power supply: its vms, its agent, and what that had not synced. Whoever does that starts the vms
    /// where there is room `restart_after`, or nobody does.
    ///
    /// # Errors
    /// Where its files cannot be reached.
    pub(super) fn lose_host(&mut self, index: usize, restart_after: Option<Duration>, dice: &Dice) -> Result<()> {
        let host = self.fleet.hosts[index].host.clone();
        let vms: Vec<VmId> = self.fleet.stays.iter().map(|stay| stay.vm).collect();
        let fallen = self.world.with(|world| {
            let there = vms.into_iter().filter(|vm| world.running_on(*vm).contains(&host)).collect::<Vec<_>>();
            world.lose_power(&host, restart_after).map(|()| there)
        })?;
        self.trace.note(format_args!("{host} has no power, {} vms stop", fallen.len()));
        self.fallen.extend(fallen);
        self.down.insert(index);
        self.paused.remove(&index);
        self.agents[index] = None;
        self.options.bugs.of_power_loss(&self.agent_dir(index).join("journal"), START.after(self.now))?;
        self.lose_agent(index, dice)?;
        // Its journal is synced; of its spool, what was not yet written back is gone.
        if let Some(newest) = segment_files(&self.agent_dir(index).join("spool"))?.pop().filter(|_| dice.chance(0.5)) {
            std::fs::remove_file(newest)?;
        }
        Ok(())
    }

    /// Where the agent of a host was moving a vm to, by its journal.
    pub(super) fn destination_of(&self, index: usize) -> Option<usize> {
        let notes = books::of_agent(&self.agent_dir(index)).ok()?;
        let to = books::open_at_agent(&notes).into_iter().rev().find_map(|command| match &command.order {
            Order::Migrate { destination, .. } => Some(destination.clone()),
            _ => None,
        })?;
        self.fleet.hosts.iter().position(|spec| spec.host == to)
    }

    /// Whether a host has no power.
    pub(super) fn is_down(&self, index: usize) -> bool {
        self.down.contains(&index)
    }

    /// A host without power boots, and its agent starts.
    ///
    /// # Errors
    /// Where the agent does not start.
    pub(super) fn boot_host(&mut self, index: usize) -> Result<()> {
        if !self.down.remove(&index) {
            return Ok(());
        }
        let host = self.fleet.hosts[index].host.clone();
        self.world.with(|world| world.boot_up(&host))?;
        self.start_agent(index)
    }

    /// Everything that was cut is whole again, and everyone lives.
    ///
    /// # Errors
    /// Where somebody does not start.
    pub(super) fn heal(&mut self) -> Result<()> {
        self.wire.meddle(false);
        self.paused.clear();
        self.end_older();
        self.disks.iter().for_each(|disk| disk.fill(false));
        for index in 0..self.agents.len() {
            self.wire.cut(index, Way::Up, false);
            self.wire.cut(index, Way::Down, false);
            self.wire.slow(index, Duration::ZERO);
            self.boot_host(index)?;
            if self.agents[index].is_none() {
                self.start_agent(index)?;
            }
            let host = self.fleet.hosts[index].host.clone();
            self.world
                .with(|world| world.set_host_unreachable(&host, false).and_then(|()| world.stall_link(&host, false)))?;
        }
        if self.scheduler.is_none() { self.start_scheduler() } else { Ok(()) }
    }

    /// Hosts that a scheduler put to sleep after it was replaced sleep on for the one that replaced it does not know that:
    /// somebody wakes them by hand, as its alarm asks for.
    ///
    /// # Errors
    /// Where a host that sleeps cannot be woken.
    pub(super) fn wake_forgotten(&mut self) -> Result<()> {
        if self.dirs.len() == 1 {
            return Ok(());
        }
        for spec in &self.fleet.hosts {
            self.world.with(|world| match world.host_power(&spec.host)? {
                HostPower::Asleep => world.wake(&spec.host),
                _ => Ok(()),
            })?;
        }
        Ok(())
    }
}

/// Adds the beginning of a record that was being written when the process was lost.
fn tear(dir: &Path, dice: &Dice) -> Result<()> {
    let Some(last) = segment_files(dir)?.pop().filter(|_| dice.chance(0.5)) else { return Ok(()) };
    let mut file = OpenOptions::new().append(true).open(last)?;
    // A length that promises more than there is.
    file.write_all(&[200, 1, 0, 0])?;
    Ok(file.write_all(&dice.bytes(dice.below(60)))?)
}
