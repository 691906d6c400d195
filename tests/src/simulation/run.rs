//! One run: the processes of a fleet step by step on one thread, their files in a folder, and who watches them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use ballast_agent::hypervisor::simulated::Fleet as SharedWorld;
use ballast_core::{id::VmId, tuning::Tuning};
use ballast_daemon::clock::{Clock, Driver};
use ballast_scheduler::{config::Config, engine::Engine};
use ballast_sim::World;

use super::{
    belief::Belief,
    chaos::Chaos,
    desk::Desk,
    dice::Dice,
    disk::Disk,
    fleet::{self, Fleet},
    judge::{self, CLOSED_WITHIN},
    life::Life,
    planted::Bugs,
    start,
    trace::Trace,
    wall::{Shown, WallClock},
    watch::{Flight, Watch},
    wire::{Wire, meddle::Meddler},
    witness::Witness,
};
use crate::scheduler::START;

/// How far a run moves at a time: what comes over the wire comes at this beat.
pub(super) const STEP: Duration = Duration::from_millis(10);
/// A run that cannot be judged yet goes on for this long.
const PROLONGED: Duration = Duration::from_secs(10);

/// How a run is played.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long it is, in simulated time.
    pub span: Duration,
    /// How long at its end nothing goes wrong any more.
    pub quiet: Duration,
    /// Whether every line of its trace is kept.
    pub keeps_trace: bool,
    /// Planted bugs.
    pub bugs: Bugs,
}

impl Default for Options {
    /// Two minutes of trouble and a little more than the minute in which everything must be well again.
    fn default() -> Self {
        Self {
            span: Duration::from_secs(180),
            quiet: Duration::from_secs(64),
            keeps_trace: false,
            bugs: Bugs::default(),
        }
    }
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// The hash of everything that happened.
    pub hash: String,
    /// Promises that were broken, in words; empty where all were kept.
    pub broken: Vec<String>,
    /// What was done to it, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Migrations that hypervisors began by command.
    pub migrations: u64,
    /// Commands journalled.
    pub commands: u64,
    /// The trace, where it was kept.
    pub trace: String,
}

/// Plays a seed.
///
/// # Errors
/// Where the machine does not let it be played: no folder, no runtime.
pub fn play(seed: u64, options: &Options) -> Result<Report> {
    Run::new(seed, options)?.play()
}

/// Where the scheduler's engine is found while it lives.
pub(super) type Handle = Arc<Mutex<Option<Engine>>>;

/// A scheduler that another has replaced and that does not know it yet.
pub(super) struct Older {
    pub(super) life: Life,
    pub(super) engine: Handle,
    /// Until when it stands still.
    pub(super) stopped: Duration,
}

/// A run under way.
pub(super) struct Run {
    pub(super) seed: u64,
    pub(super) options: Options,
    pub(super) now: Duration,
    /// When it is over.
    pub(super) end: Duration,
    pub(super) fleet: Fleet,
    pub(super) world: SharedWorld,
    driver: Driver,
    pub(super) wire: Wire,
    pub(super) desk: Desk,
    pub(super) witness: Witness,
    pub(super) trace: Trace,
    pub(super) agents: Vec<Option<Life>>,
    pub(super) scheduler: Option<Life>,
    /// Processes that stand still until then: agents by index, the scheduler last.
    pub(super) paused: BTreeMap<usize, Duration>,
    /// Hosts without power.
    pub(super) down: BTreeSet<usize>,
    /// Vms that stopped with their host and have not been started again.
    pub(super) fallen: BTreeSet<VmId>,
    pub(super) engine: Handle,
    pub(super) config: Config,
    /// What was promised, whatever is planted.
    pub(super) tuning: Tuning,
    /// Wall clocks: agents' by index, the scheduler's last.
    pub(super) walls: Vec<WallClock>,
    pub(super) shown: Shown,
    /// Disks, in the same order.
    pub(super) disks: Vec<Disk>,
    /// A scheduler found its disk full at its start and ended: to be started again.
    pub(super) gave_up: bool,
    /// Schedulers that live on although another has taken over, the newest last.
    pub(super) older: Vec<Older>,
    /// Where each scheduler kept its files, the newest last.
    pub(super) dirs: Vec<PathBuf>,
    pub(super) folder: tempfile::TempDir,
    pub(super) lives: u64,
}

impl Run {
    fn new(seed: u64, options: &Options) -> Result<Self> {
        let fleet = fleet::of(&Dice::new(seed, "fleet"), options.span)?;
        let folder = folder()?;
        let trace = Trace::new(options.keeps_trace);
        let (clock, driver) = Clock::driven(START);
        let world = SharedWorld::new(World::new(&fleet.scenario, seed), clock);
        let meddler = Meddler::new(Dice::new(seed, "wire"), trace.clone(), options.bugs.clone());
        let wire = Wire::new(meddler, fleet.hosts.len());
        let dice = Dice::new(seed, "clocks");
        let ahead = |_| if dice.chance(0.3) { dice.millis(0, 3_600_000) } else { Duration::ZERO };
        let walls = fleet.hosts.iter().map(ahead).map(WallClock::ahead).chain([WallClock::default()]).collect();
        let disks =
            (0..=fleet.hosts.len()).map(|number| Disk::new(Dice::new(seed, &format!("disk {number}")))).collect();
        let mut config = start::settings(&folder.path().join("scheduler"), seed);
        let tuning = config.engine.tuning.clone();
        options.bugs.of_settings(&mut config);
        Ok(Self {
            seed,
            options: options.clone(),
            now: Duration::ZERO,
            end: options.span,
            walls,
            shown: Shown::default(),
            disks,
            gave_up: false,
            older: Vec::new(),
            dirs: vec![config.engine.data_dir.clone()],
            agents: fleet.hosts.iter().map(|_| None).collect(),
            desk: Desk::new(wire.clone(), fleet.hosts.len(), trace.clone(), Duration::ZERO)?,
            fleet,
            world,
            driver,
            wire,
            witness: Witness::new(folder.path().to_path_buf(), trace.clone()),
            trace,
            scheduler: None,
            paused: BTreeMap::new(),
            down: BTreeSet::new(),
            fallen: BTreeSet::new(),
            engine: Handle::default(),
            config,
            tuning,
            folder,
            lives: 0,
        })
    }

    fn play(mut self) -> Result<Report> {
        let mut chaos = Chaos::new(Dice::new(self.seed, "chaos"));
        let mut watch = Watch::default();
        let belief = Belief::default();
        self.start_scheduler()?;
        for index in 0..self.agents.len() {
            self.start_agent(index)?;
        }
        while self.now < self.end {
            self.step();
            watch.look(&mut self);
            if self.now.as_millis().is_multiple_of(500) {
                belief.compare(&self, &watch);
                belief.ask(&self);
            }
            if self.now.as_millis().is_multiple_of(100) {
                let quiet = self.now + self.options.quiet >= self.options.span;
                chaos.act(&mut self, quiet)?;
            }
            if self.now == self.end && self.copies_go_on(&watch) {
                self.end += PROLONGED;
            }
            if self.witness.with(|seen| !seen.broken.is_empty()) {
                break;
            }
        }
        self.report(&watch, chaos)
    }

    /// Whether a copy that began long ago is still under way, or has ended so lately that its intent may be open: a guest that
    /// writes faster than its memory can be copied is trouble of its own, which the bounds of a migration end.
    fn copies_go_on(&self, watch: &Watch) -> bool {
        let Some(engine) = self.engine() else { return false };
        let open: Vec<VmId> = engine.migrations(100, true).into_iter().map(|one| one.vm).collect();
        let before = self.now.saturating_sub(CLOSED_WITHIN);
        let goes_on = |flight: &Flight| flight.from <= before && flight.until >= before && open.contains(&flight.vm);
        watch.flights.iter().any(goes_on)
    }

    /// Moves everything on by one step.
    fn step(&mut self) {
        self.now += STEP;
        self.trace.at(self.now);
        self.driver.advance_to(START.after(self.now));
        self.wire.deliver(self.now);
        let is_paused =
            |paused: &BTreeMap<usize, Duration>, index| paused.get(&index).is_some_and(|until| *until > self.now);
        let last = self.agents.len();
        if !is_paused(&self.paused, last)
            && let Some(ended) = self.scheduler.as_mut().and_then(|life| life.step(self.now, STEP))
        {
            self.scheduler = None;
            // Without a journal it does not start, and whoever supervises it tries again.
            self.gave_up = ended.is_err() && self.disks[last].has_refused();
            if !self.gave_up {
                self.witness.broken(format!("the scheduler ended by itself: {ended:?}"));
            }
        }
        if let (Some(engine), Some(life)) =
            (self.engine(), self.scheduler.as_ref().filter(|_| !is_paused(&self.paused, last)))
        {
            self.shown.note(engine.epoch(), life.within(|| engine.clock().now()), self.now);
        }
        self.desk.step(self.now, STEP);
        for older in self.older.iter_mut().filter(|older| older.stopped <= self.now) {
            if let Some(ended) = older.life.step(self.now, STEP) {
                older.stopped = Duration::MAX;
                self.witness.broken(format!("a scheduler that was replaced ended by itself: {ended:?}"));
            }
            if let Some(engine) = &*older.engine.lock().unwrap_or_else(PoisonError::into_inner) {
                self.shown.note(engine.epoch(), older.life.within(|| engine.clock().now()), self.now);
            }
        }
        for index in 0..last {
            if is_paused(&self.paused, index) {
                continue;
            }
            if let Some(ended) = self.agents[index].as_mut().and_then(|life| life.step(self.now, STEP)) {
                self.agents[index] = None;
                self.witness.broken(format!("the agent of kvm{} ended by itself: {ended:?}", index + 1));
            }
        }
    }

    /// The scheduler's engine, while it lives.
    pub(super) fn engine(&self) -> Option<Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where an agent keeps its files.
    pub(super) fn agent_dir(&self, index: usize) -> PathBuf {
        self.folder.path().join(self.fleet.hosts[index].host.as_str())
    }

    fn report(mut self, watch: &Watch, chaos: Chaos) -> Result<Report> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.scheduler = None;
        self.older.clear();
        self.agents.clear();
        let judged = judge::judge(&self, watch).context("read the journals")?;
        for broken in judged.broken {
            self.witness.broken(broken);
        }
        let (broken, migrations) = self.witness.with(|seen| (seen.broken.clone(), seen.effects.len() as u64));
        Ok(Report {
            seed: self.seed,
            hash: self.trace.hash(),
            broken,
            faults: chaos.done,
            migrations,
            commands: judged.commands,
            trace: self.trace.text(),
        })
    }
}

/// Memory where the machine has a folder in it, for a run syncs its files thousands of times.
fn folder() -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    Ok(if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }?)
}
