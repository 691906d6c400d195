//! One run: the processes of a fleet step by step on one thread, their files in a folder, and who watches them.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::Write,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use ballast_agent::{
    config::Config as AgentConfig,
    host::simulated::SimulatedHost,
    hypervisor::simulated::{Fleet as SharedWorld, SimulatedHypervisor},
};
use ballast_core::{decision::Mode, oversight::ModelMode, tuning::Tuning};
use ballast_daemon::{
    clock::{Clock, Driver, Pace},
    segments::segment_files,
};
use ballast_scheduler::{Scheduler, config::Config, engine::Engine, model::Models};
use ballast_sim::World;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{
    belief::Belief,
    chaos::Chaos,
    dice::Dice,
    fleet::{self, Fleet},
    judge,
    life::Life,
    planted::Bugs,
    trace::Trace,
    watch::Watch,
    wire::{Way, Wire, meddle::Meddler},
    witness::{Watched, WatchedHost, Witness},
};
use crate::scheduler::{START, quick};

/// How far a run moves at a time: what comes over the wire comes at this beat.
pub(super) const STEP: Duration = Duration::from_millis(10);

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

/// A run under way.
pub(super) struct Run {
    pub(super) seed: u64,
    pub(super) options: Options,
    pub(super) now: Duration,
    pub(super) fleet: Fleet,
    pub(super) world: SharedWorld,
    driver: Driver,
    pub(super) wire: Wire,
    pub(super) witness: Witness,
    pub(super) trace: Trace,
    pub(super) agents: Vec<Option<Life>>,
    pub(super) scheduler: Option<Life>,
    /// Processes that stand still until then: agents by index, the scheduler last.
    pub(super) paused: BTreeMap<usize, Duration>,
    pub(super) engine: Handle,
    pub(super) config: Config,
    /// What was promised, whatever is planted.
    pub(super) tuning: Tuning,
    ahead: Vec<Duration>,
    folder: tempfile::TempDir,
    lives: u64,
}

impl Run {
    fn new(seed: u64, options: &Options) -> Result<Self> {
        let fleet = fleet::of(&Dice::new(seed, "fleet"), options.span)?;
        let folder = folder()?;
        let trace = Trace::new(options.keeps_trace);
        let (clock, driver) = Clock::driven(START);
        let world = SharedWorld::new(World::new(&fleet.scenario, seed), clock);
        let meddler = Meddler::new(Dice::new(seed, "wire"), trace.clone(), options.bugs.clone());
        let dice = Dice::new(seed, "clocks");
        let ahead =
            fleet.hosts.iter().map(|_| if dice.chance(0.3) { dice.millis(0, 3_600_000) } else { Duration::ZERO });
        let mut config = settings(&folder.path().join("scheduler"), seed);
        let tuning = config.engine.tuning.clone();
        options.bugs.of_settings(&mut config);
        Ok(Self {
            seed,
            options: options.clone(),
            now: Duration::ZERO,
            ahead: ahead.collect(),
            agents: fleet.hosts.iter().map(|_| None).collect(),
            fleet,
            world,
            driver,
            wire: Wire::new(meddler),
            witness: Witness::new(folder.path().to_path_buf(), trace.clone()),
            trace,
            scheduler: None,
            paused: BTreeMap::new(),
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
        while self.now < self.options.span {
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
            if self.witness.with(|seen| !seen.broken.is_empty()) {
                break;
            }
        }
        self.report(&watch, chaos)
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
            self.witness.broken(format!("the scheduler ended by itself: {ended:?}"));
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
        let config = AgentConfig::embedded(host.clone(), "http://scheduler:7070".to_owned(), dir, capacity, spec.power);
        let (world, wire, witness) = (self.world.clone(), self.wire.clone(), self.witness.clone());
        let (bugs, ahead, start) = (self.options.bugs.clone(), self.ahead[index], START.after(self.now));
        let dice = self.next_dice("agent");
        let life = Life::begin(self.now, move || {
            let clock = Clock::simulated(start.after(ahead), pace(dice));
            // The hosts live by the true time; each agent by its host's clock.
            let world = world.by(Clock::simulated(start, Box::new(Default::default)));
            let inner = SimulatedHypervisor::new(world.clone(), host.clone());
            let hypervisor =
                Watched { inner, host: host.clone(), witness: witness.clone(), bugs, ahead, clock: clock.clone() };
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
        let life = Life::begin(self.now, move || {
            let clock = Clock::simulated(start, pace(dice));
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

    /// Loses the agent of a host; what it was just writing may be torn.
    ///
    /// # Errors
    /// Where its files cannot be reached.
    pub(super) fn lose_agent(&mut self, index: usize, dice: &Dice) -> Result<()> {
        self.agents[index] = None;
        tear(&self.agent_dir(index).join("journal"), dice)?;
        tear(&self.agent_dir(index).join("spool"), dice)
    }

    /// The scheduler's engine, while it lives.
    pub(super) fn engine(&self) -> Option<Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where an agent keeps its files.
    pub(super) fn agent_dir(&self, index: usize) -> PathBuf {
        self.folder.path().join(self.fleet.hosts[index].host.as_str())
    }

    /// Everything that was cut is whole again, and everyone lives.
    ///
    /// # Errors
    /// Where somebody does not start.
    pub(super) fn heal(&mut self) -> Result<()> {
        self.wire.meddle(false);
        self.paused.clear();
        for index in 0..self.agents.len() {
            self.wire.cut(index, Way::Up, false);
            self.wire.cut(index, Way::Down, false);
            self.wire.slow(index, Duration::ZERO);
            if self.agents[index].is_none() {
                self.start_agent(index)?;
            }
            let host = self.fleet.hosts[index].host.clone();
            self.world
                .with(|world| world.set_host_unreachable(&host, false).and_then(|()| world.stall_link(&host, false)))?;
        }
        if self.scheduler.is_none() { self.start_scheduler() } else { Ok(()) }
    }

    fn report(mut self, watch: &Watch, chaos: Chaos) -> Result<Report> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.scheduler = None;
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
    let memory = std::path::Path::new("/dev/shm");
    Ok(if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }?)
}

/// Bounds that are reached within minutes; everything else is the default.
fn settings(dir: &std::path::Path, seed: u64) -> Config {
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

/// Adds the beginning of a record that was being written when the process was lost.
fn tear(dir: &std::path::Path, dice: &Dice) -> Result<()> {
    let Some(last) = segment_files(dir)?.pop().filter(|_| dice.chance(0.5)) else { return Ok(()) };
    let mut file = OpenOptions::new().append(true).open(last)?;
    // A length that promises more than there is.
    file.write_all(&[200, 1, 0, 0])?;
    Ok(file.write_all(&dice.bytes(dice.below(60)))?)
}
