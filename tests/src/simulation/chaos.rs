//! What goes wrong in a run, and what operators do: drawn from the seed, each kind as often as the seed's mood has it.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use ballast_core::{command::MigrationLimits, id::HostId, units::Bytes};
use ballast_proto::v1;

use super::{desk::Wish, dice::Dice, planted::Bug, run::Run, wire::Way};

/// Kinds of trouble, and how often each comes per minute in a middling mood.
const KINDS: [(&str, f64); 23] = [
    ("agent lost", 3.0),
    ("scheduler lost", 1.2),
    ("host cut off", 1.0),
    ("cut one way", 1.0),
    ("agent stopped", 0.8),
    ("scheduler stopped", 0.6),
    ("hypervisor away", 1.2),
    ("host rebooted", 0.6),
    ("clock stepped", 0.8),
    ("disk full", 0.8),
    ("second scheduler", 0.4),
    ("copy stalled", 0.8),
    ("copy fails", 0.8),
    ("old command", 12.0),
    ("slow network", 0.8),
    ("operator moves", 8.0),
    ("operator cancels", 2.0),
    ("operator drains", 0.5),
    ("operator undrains", 1.5),
    ("operator looks", 1.0),
    ("mode set", 0.4),
    ("plan approved", 0.4),
    ("somebody else moves", 0.8),
];

/// Trouble does not begin before everybody has met.
const BEGIN: Duration = Duration::from_secs(6);

/// A host that was falling asleep when trouble ended does sleep after this.
const FALLEN_ASLEEP: Duration = Duration::from_secs(20);

/// What mends a fault.
#[derive(Debug)]
enum Mend {
    Agent(usize),
    Scheduler,
    Cut(usize, Way),
    Boot(usize),
    Room(usize),
    Older,
    Hypervisor(HostId),
    Stall(HostId),
    Slow(usize),
    Auto,
}

/// The trouble of a run.
pub(super) struct Chaos {
    dice: Dice,
    moods: Vec<f64>,
    mends: BTreeMap<(Duration, u64), Mend>,
    numbers: u64,
    is_quiet: bool,
    /// What was done, by kind.
    pub(super) done: BTreeMap<&'static str, u64>,
}

impl Chaos {
    /// The trouble that `dice` make.
    pub(super) fn new(dice: Dice) -> Self {
        // Much trouble keeps a fleet from doing anything that trouble could spoil: most runs have some, few have much.
        let (overall, moods) = ([0.15, 0.3, 0.3, 0.6, 1.0], [0.0, 0.3, 1.0, 1.0, 3.0]);
        let overall = overall[dice.below(overall.len())];
        let mood = |(kind, _): &(&str, f64)| {
            let mood = moods[dice.below(moods.len())];
            // Operators are as busy on a good day.
            if kind.starts_with("operator") || *kind == "old command" { mood } else { mood * overall }
        };
        let moods = KINDS.iter().map(mood).collect();
        Self { dice, moods, mends: BTreeMap::new(), numbers: 0, is_quiet: false, done: BTreeMap::new() }
    }

    /// Called ten times a second.
    ///
    /// # Errors
    /// Where a process does not start, or its files cannot be reached.
    pub(super) fn act(&mut self, run: &mut Run, quiet: bool) -> Result<()> {
        if quiet && !std::mem::replace(&mut self.is_quiet, true) {
            run.trace.note("quiet");
            self.mends.clear();
            return run.heal();
        }
        while let Some(due) = self.mends.first_entry().filter(|due| due.key().0 <= run.now) {
            let mend = due.remove();
            self.mend(run, mend)?;
        }
        if std::mem::take(&mut run.gave_up) {
            self.later(run, 0.5, 5.0, Mend::Scheduler);
        }
        self.stuck(run);
        // Some are only just falling asleep.
        let begun = run.options.span.saturating_sub(run.options.quiet);
        if quiet && run.now < begun + FALLEN_ASLEEP && run.now.as_millis().is_multiple_of(1_000) {
            run.wake_forgotten()?;
        }
        if quiet || run.now < BEGIN {
            return Ok(());
        }
        for (index, (kind, per_minute)) in KINDS.into_iter().enumerate() {
            if self.dice.chance(self.moods[index] * per_minute / 600.0) && self.trouble(run, kind)? {
                run.trace.note(kind);
                *self.done.entry(kind).or_default() += 1;
            }
        }
        Ok(())
    }

    /// A planted bug: the figures of an agent that stands still come all the same.
    fn stuck(&self, run: &Run) {
        if run.options.bugs.has(Bug::StuckSampler) && run.now.as_millis().is_multiple_of(1_000) {
            let still = run.paused.iter().filter(|(index, until)| **index < run.agents.len() && **until > run.now);
            still.for_each(|(index, _)| run.wire.repeat_batch(*index));
        }
    }

    fn later(&mut self, run: &Run, low: f64, high: f64, mend: Mend) {
        self.numbers += 1;
        // Mostly soon, at times late.
        let share = self.dice.between(0.0, 1.0).powi(2);
        let after = Duration::from_secs_f64(low + (high - low) * share);
        self.mends.insert((run.now + after, self.numbers), mend);
    }

    /// Makes trouble of a kind; false where there is nothing to trouble.
    fn trouble(&mut self, run: &mut Run, kind: &str) -> Result<bool> {
        let host = self.dice.below(run.agents.len());
        let name = run.fleet.hosts[host].host.clone();
        match kind {
            "host rebooted" if !run.is_down(host) => {
                let restart_after = self.dice.chance(0.7).then(|| self.dice.millis(5_000, 40_000));
                run.lose_host(host, restart_after, &self.dice)?;
                self.later(run, 3.0, 40.0, Mend::Boot(host));
            }
            "disk full" => {
                let whose = if self.dice.chance(0.4) { run.agents.len() } else { host };
                run.disks[whose].fill(true);
                self.later(run, 1.0, 30.0, Mend::Room(whose));
            }
            "second scheduler" => {
                if !run.take_over()? {
                    return Ok(false);
                }
                self.later(run, 1.0, 60.0, Mend::Older);
            }
            "clock stepped" => {
                // The scheduler's as often as all others together.
                let whose = if self.dice.chance(0.5) { run.agents.len() } else { host };
                let (most, back) = ([2_000, 60_000, 3_600_000][self.dice.below(3)], self.dice.chance(0.5));
                run.walls[whose].step(self.dice.millis(500, most), back);
            }
            "agent lost" if run.agents[host].is_some() => {
                run.lose_agent(host, &self.dice)?;
                self.later(run, 0.05, 15.0, Mend::Agent(host));
            }
            "scheduler lost" if run.scheduler.is_some() => {
                run.lose_scheduler(&self.dice)?;
                self.later(run, 0.05, 12.0, Mend::Scheduler);
            }
            "host cut off" => {
                for way in [Way::Up, Way::Down] {
                    run.wire.cut(host, way, true);
                    self.later(run, 0.5, 40.0, Mend::Cut(host, way));
                }
            }
            "cut one way" => {
                let way = if self.dice.chance(0.5) { Way::Up } else { Way::Down };
                run.wire.cut(host, way, true);
                self.later(run, 0.5, 40.0, Mend::Cut(host, way));
            }
            "agent stopped" if run.agents[host].is_some() => self.stop(run, host),
            "scheduler stopped" if run.scheduler.is_some() => self.stop(run, run.agents.len()),
            "hypervisor away" => {
                run.world.with(|world| world.set_host_unreachable(&name, true))?;
                self.later(run, 0.5, 20.0, Mend::Hypervisor(name));
            }
            "copy stalled" => {
                run.world.with(|world| world.stall_link(&name, true))?;
                self.later(run, 0.5, 30.0, Mend::Stall(name));
            }
            "copy fails" => run.world.with(|world| world.fail_next_migration("the copy was lost")),
            "old command" => return Ok(run.wire.echo()),
            "slow network" => {
                run.wire.slow(host, self.dice.millis(50, 1_500));
                self.later(run, 1.0, 30.0, Mend::Slow(host));
            }
            "somebody else moves" => return Ok(self.somebody_else(run, &name)),
            _ => return Ok(self.operator(run, kind, &name)),
        }
        Ok(true)
    }

    /// Trouble comes in pairs: who has just come back and asks its neighbours where a vm is finds that one does not answer.
    fn deaf_neighbour(&mut self, run: &Run, asks: usize) -> Result<()> {
        // Where it was moving a vm to is where it will ask.
        let asked = run.destination_of(asks).filter(|_| self.dice.chance(0.5));
        let neighbour = asked.unwrap_or_else(|| self.dice.below(run.agents.len()));
        if neighbour == asks || !self.dice.chance(0.4) {
            return Ok(());
        }
        let host = run.fleet.hosts[neighbour].host.clone();
        run.world.with(|world| world.set_host_unreachable(&host, true))?;
        self.later(run, 1.0, 20.0, Mend::Hypervisor(host));
        Ok(())
    }

    fn stop(&self, run: &mut Run, who: usize) {
        let until = run.now + Duration::from_secs_f64(0.3 + 30.0 * self.dice.between(0.0, 1.0).powi(2));
        run.paused.insert(who, until);
    }

    /// A migration that no command of ours orders, as by an administrator's own hand.
    fn somebody_else(&self, run: &Run, to: &HostId) -> bool {
        let Some(stay) = self.dice.pick(&run.fleet.stays) else { return false };
        run.world.with(|world| {
            let Some(from) = world.running_on(stay.vm).into_iter().next() else { return false };
            world.begin_migration(&from, stay.vm, to, MigrationLimits::for_memory(Bytes::from_gib(1))).is_ok()
        })
    }

    /// What an operator does; whether anybody is there to hear it is not asked first.
    fn operator(&mut self, run: &Run, kind: &str, host: &HostId) -> bool {
        let (host, pick) = (host.to_string(), self.dice.below(1_000));
        let wish = match kind {
            "operator moves" => match self.dice.pick(&run.fleet.stays) {
                Some(stay) => Wish::Move { vm: stay.name.clone(), host },
                None => return false,
            },
            "operator cancels" => Wish::Cancel { pick },
            "operator drains" => Wish::Drain { host },
            "operator undrains" => Wish::Undrain { host },
            "operator looks" => Wish::Look,
            "mode set" => {
                self.later(run, 1.0, 25.0, Mend::Auto);
                Wish::Mode(if self.dice.chance(0.5) { v1::Mode::Recommend } else { v1::Mode::Off })
            }
            "plan approved" => Wish::Approve { pick },
            _ => return false,
        };
        run.desk.wish(wish);
        true
    }

    fn mend(&mut self, run: &mut Run, mend: Mend) -> Result<()> {
        run.trace.note(format_args!("mends {mend:?}"));
        match mend {
            Mend::Agent(index) if run.agents[index].is_none() && !run.is_down(index) => {
                run.start_agent(index)?;
                self.deaf_neighbour(run, index)?;
            }
            Mend::Scheduler if run.scheduler.is_none() => run.start_scheduler()?,
            Mend::Agent(_) | Mend::Scheduler => {}
            Mend::Boot(index) => run.boot_host(index)?,
            Mend::Room(whose) => run.disks[whose].fill(false),
            Mend::Older => run.end_older(),
            Mend::Cut(index, way) => run.wire.cut(index, way, false),
            Mend::Hypervisor(host) => run.world.with(|world| world.set_host_unreachable(&host, false))?,
            Mend::Stall(host) => run.world.with(|world| world.stall_link(&host, false))?,
            Mend::Slow(index) => run.wire.slow(index, Duration::ZERO),
            // A scheduler that cannot be reached stays in its mode; the journal keeps it.
            Mend::Auto => run.desk.wish(Wish::Mode(v1::Mode::Auto)),
        }
        Ok(())
    }
}
