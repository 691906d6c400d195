//! What a live migration by pre-copy takes: one model, stepped by the simulation and run to its end by the objective.
//!
//! Memory is copied while the vm runs; what it writes meanwhile is copied again in the next round, until the rest fits
//! into the allowed pause, which is when the vm is paused: QEMU does not copy a pass to its end first, so that even a vm that
//! writes nothing is paused for about as long as is allowed. Source of the rounds: Liu et al. 2011 and Akoush et al. 2010; what
//! a round leaves to the next is `W (1 - e^(-D t / W))` of a working set `W` written at rate `D`, in place of the usual
//! `min(W, D t)`, because a page written twice is copied once. Nothing here knows a host, a vm or a policy.

mod experience;
mod pass;
mod renewed;
mod writes;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    command::{MigrationLimits, Progress},
    outcome::Stage,
    units::{Bytes, BytesPerSec, Cores, seconds},
};

pub use experience::{CopyFactors, Experience, Reckoned};
pub(crate) use pass::Pass;
pub use renewed::{CopyPrices, GiveUp, Judged, Renewed, Rest, Standing, rest};
pub use writes::{Changed, Writes};

/// Rounds after which a copy counts as not converging.
pub const MAX_ROUNDS: u32 = 30;

/// Time the destination needs before the first byte: process start and channel set-up.
pub const PREPARATION: Duration = Duration::from_secs(1);

/// Pause of the vm beyond the copy of the last pages: device state, and the resume at the destination.
pub const SWITCH_OVER: Duration = Duration::from_millis(100);

/// Shortest pause taken as a target: below it no hypervisor can stop and resume a vm.
const LEAST_DOWNTIME: Duration = Duration::from_millis(1);

/// Share by which sums of bytes may be off by rounding alone.
const ROUNDING: f64 = 1e-9;

/// Steps towards the moment at which the rest of a copy fits into the pause: quadratic, so that four leave microseconds.
const NEWTON_STEPS: u32 = 4;

/// Bytes per second that one core can push through a migration stream without hardware help.
const BYTES_PER_CORE_SECOND: f64 = 1.2e9;

/// One copy to be made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CopyJob {
    /// Memory that must go over: what the vm's process holds, pages of zeros left out.
    pub memory: Bytes,
    /// Rate at which the vm writes memory.
    pub dirty_rate: BytesPerSec,
    /// Memory it writes again and again; at most `memory` counts.
    pub working_set: Bytes,
    /// Rate of the copy.
    pub bandwidth: BytesPerSec,
    /// Pause for the last pages that is tried first.
    #[serde(default)]
    pub downtime_start: Duration,
    /// Longest pause that is allowed for them once the copy stalls.
    pub downtime_max: Duration,
}

impl CopyJob {
    /// The copy of a vm that holds `memory` and uses `cpu`, at full `bandwidth` and with the pauses of `limits`; what was not
    /// measured of its writes is assumed.
    pub fn of_vm(memory: Bytes, cpu: Cores, writes: Writes, bandwidth: BytesPerSec, limits: &MigrationLimits) -> Self {
        let (rate, set) = assumed_writes(cpu, memory);
        let measured = writes.rate.filter(|rate| rate.is_sane());
        // Of a rate that was measured without a bound all memory may be the set.
        let set = if measured.is_some() { writes.set.unwrap_or(memory) } else { set };
        let (dirty_rate, working_set) = (measured.unwrap_or(rate), set);
        let (downtime_start, downtime_max) = (limits.downtime_start, limits.downtime_max);
        Self { memory, dirty_rate, working_set, bandwidth, downtime_start, downtime_max }
    }

    /// What `play` makes of it with the pause that is tried first, and where that does not converge, with the longest.
    fn eased<T>(self, play: impl Fn(Self) -> T, converges: impl Fn(&T) -> bool) -> T {
        let first = play(self);
        if converges(&first) || self.downtime_start >= self.downtime_max {
            return first;
        }
        play(Self { downtime_start: self.downtime_max, ..self })
    }
}

/// How a copy that does not converge is helped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Help {
    /// Throttle the vm: by [`THROTTLE_FIRST`], then by [`THROTTLE_MORE`] more after each pass in which it wrote more than
    /// half of what was copied. QEMU's auto-converge, with its defaults.
    pub auto_converge: bool,
    /// Passes over memory after which the vm is switched over at once and fetches the rest from its source: post-copy.
    pub post_copy_after: Option<u32>,
}

/// First throttle of auto-converge, a share of the vm's CPU (QEMU's `cpu-throttle-initial`).
pub const THROTTLE_FIRST: f64 = 0.2;
/// Further throttle per pass (QEMU's `cpu-throttle-increment`).
pub const THROTTLE_MORE: f64 = 0.1;
/// Highest throttle (QEMU's `max-cpu-throttle`).
pub const THROTTLE_MAX: f64 = 0.99;

/// What a copy takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct CopyEstimate {
    /// From the order until the vm runs at the destination.
    pub duration: Duration,
    /// Pause of the vm; for a copy that does not converge, the pause it would need after the last round.
    pub downtime: Duration,
    /// Data copied, repeats included.
    pub copied: Bytes,
    /// Passes over memory, the last pages not counted.
    pub rounds: u32,
    /// Whether the rest ever fits into the allowed pause within [`MAX_ROUNDS`].
    pub converges: bool,
}

/// What a vm without a measured dirty rate is taken to write: 1 MiB/s and 32 MiB/s per busy core, over a tenth of its
/// memory. An assumption: the tenth is the mean active share of memory in the Bitbrains traces, the rate lies in the
/// middle of what ordinary services show; a database under load writes several times as much.
pub fn assumed_writes(cpu: Cores, memory: Bytes) -> (BytesPerSec, Bytes) {
    let busy = if cpu.is_sane() { cpu.get() } else { 0.0 };
    let per_core = Bytes::from_mib(32).as_f64();
    (BytesPerSec(Bytes::from_mib(1).as_f64() + per_core * busy), memory.scale(0.1).max(Bytes::from_mib(16)))
}

/// CPU that each end of a copy at `rate` spends on it: at most one core, as the stream is one thread.
pub fn copy_cores(rate: BytesPerSec) -> Cores {
    if rate.is_sane() { Cores((rate.get() / BYTES_PER_CORE_SECOND).min(1.0)) } else { Cores::ZERO }
}

/// What `job` takes if nothing disturbs it. A copy without bandwidth takes for ever (a hundred years) and moves nothing.
pub fn estimate(job: &CopyJob) -> CopyEstimate {
    estimate_helped(job, Help::default())
}

/// What `job` takes with `help` if nothing disturbs it.
pub fn estimate_helped(job: &CopyJob, help: Help) -> CopyEstimate {
    job.eased(|job| played(job, help), |copy| copy.converges)
}

fn played(job: CopyJob, help: Help) -> CopyEstimate {
    let mut copy = PreCopy::new(job).helped(help);
    if copy.rate <= 0.0 {
        let forever = seconds(f64::INFINITY);
        return CopyEstimate { duration: forever, downtime: forever, ..CopyEstimate::default() };
    }
    while copy.round <= MAX_ROUNDS && copy.phase() != Phase::Done {
        copy.advance_secs(copy.until_next());
    }
    let converges = copy.phase() == Phase::Done;
    CopyEstimate {
        duration: seconds(copy.elapsed) + if converges { Duration::ZERO } else { copy.downtime() },
        downtime: copy.downtime(),
        copied: copy.copied(),
        rounds: copy.round.min(MAX_ROUNDS),
        converges,
    }
}

/// Where a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The destination gets ready.
    Preparing,
    /// Memory is copied while the vm runs.
    Copying,
    /// The vm is paused; the last pages go over, or with post-copy its devices only.
    Switching,
    /// The vm runs at the destination and fetches the rest of its memory.
    Fetching,
    /// The vm runs at the destination.
    Done,
}

/// A copy under way. It goes on for as long as it is advanced: whoever steps it gives it up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PreCopy {
    phase: Phase,
    /// Pass over memory, 0 while preparing.
    round: u32,
    /// Bytes left of this pass, or of the last pages.
    left: f64,
    /// Bytes written by the vm since this pass began.
    dirtied: f64,
    copied: f64,
    elapsed: f64,
    /// Seconds left of what takes a fixed time: preparation, or the switch-over beyond its copy.
    fixed: f64,
    /// Seconds of pause, known from the switch-over on.
    pause: f64,
    memory: f64,
    working_set: f64,
    dirty_rate: f64,
    rate: f64,
    /// Longest pause allowed by now, seconds.
    downtime: f64,
    help: Help,
    throttle: f64,
    /// Bytes that this pass began with, and when, in seconds since the order.
    pass_bytes: f64,
    pass_began: f64,
    /// Bytes per second of the pass before that came to be copied again: what QEMU calls its dirty rate. Less than the vm writes, for a
    /// page counts once a pass.
    found_rate: f64,
    /// Switched over by post-copy.
    fetches: bool,
}

impl PreCopy {
    /// A copy that has just been ordered. Rates that are not sane count as zero.
    pub fn new(job: CopyJob) -> Self {
        let memory = job.memory.as_f64();
        Self {
            phase: Phase::Preparing,
            round: 0,
            left: memory,
            dirtied: 0.0,
            copied: 0.0,
            elapsed: 0.0,
            fixed: PREPARATION.as_secs_f64(),
            pause: 0.0,
            memory,
            working_set: job.working_set.as_f64().min(memory),
            dirty_rate: sane(job.dirty_rate),
            rate: sane(job.bandwidth),
            downtime: job.downtime_start.max(LEAST_DOWNTIME).as_secs_f64(),
            help: Help::default(),
            throttle: 0.0,
            pass_bytes: memory,
            pass_began: PREPARATION.as_secs_f64(),
            found_rate: 0.0,
            fetches: false,
        }
    }

    /// The same copy with help.
    #[must_use]
    pub fn helped(self, help: Help) -> Self {
        Self { help, ..self }
    }

    /// Share of its CPU that the vm is kept from using so that the copy converges.
    pub fn throttle(&self) -> f64 {
        if self.phase == Phase::Copying { self.throttle } else { 0.0 }
    }

    /// Time until the phase or the pass changes at the present rates, where it ever does.
    pub fn until_change(&self) -> Option<Duration> {
        let until = self.until_next();
        until.is_finite().then(|| seconds(until))
    }

    /// The copy gets another share of the link.
    pub fn set_bandwidth(&mut self, rate: BytesPerSec) {
        self.rate = sane(rate);
    }

    /// The vm writes at another rate.
    pub fn set_dirty_rate(&mut self, rate: BytesPerSec) {
        self.dirty_rate = sane(rate);
    }

    /// The vm writes another amount again and again.
    pub fn set_working_set(&mut self, set: Bytes) {
        self.working_set = set.as_f64().min(self.memory);
    }

    /// A longer (or shorter) pause is allowed from now on.
    pub fn allow_downtime(&mut self, longest: Duration) {
        self.downtime = longest.max(LEAST_DOWNTIME).as_secs_f64();
    }

    /// Lets `span` pass.
    pub fn advance(&mut self, span: Duration) -> Phase {
        self.advance_secs(span.as_secs_f64());
        self.phase
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Pass over memory, from 1; 0 while preparing.
    pub fn round(&self) -> u32 {
        self.round
    }

    /// Time since it was ordered.
    pub fn elapsed(&self) -> Duration {
        seconds(self.elapsed)
    }

    /// Data copied so far.
    pub fn copied(&self) -> Bytes {
        Bytes::from_f64(self.copied)
    }

    /// Data left to copy of this pass: as QEMU tells it, which finds out what was written meanwhile only when a pass is over.
    pub fn remaining(&self) -> Bytes {
        Bytes::from_f64(self.left)
    }

    /// Rate of the copy.
    pub fn rate(&self) -> BytesPerSec {
        let sends = matches!(self.phase, Phase::Copying | Phase::Switching | Phase::Fetching);
        BytesPerSec(if sends { self.rate } else { 0.0 })
    }

    /// How far it is, as a hypervisor would tell of it; `total` is what there is to copy.
    pub fn progress(&self, total: Bytes) -> Progress {
        let stage = match self.phase {
            Phase::Preparing => Stage::Preparation,
            Phase::Copying => Stage::Migration,
            Phase::Switching | Phase::Fetching => Stage::Switching,
            Phase::Done => Stage::Ended,
        };
        Progress {
            stage,
            elapsed: self.elapsed(),
            total,
            copied: self.copied(),
            remaining: self.remaining(),
            rate: self.rate(),
            dirty_rate: BytesPerSec(self.found_rate),
            iteration: self.round().into(),
        }
    }

    /// Pause of the vm; before the switch-over, the pause that switching now would need.
    pub fn downtime(&self) -> Duration {
        let now = || self.transfer_time() + SWITCH_OVER.as_secs_f64();
        let is_known = matches!(self.phase, Phase::Switching | Phase::Fetching | Phase::Done);
        seconds(if is_known { self.pause } else { now() })
    }

    /// Seconds until the phase or the round changes at the present rates.
    fn until_next(&self) -> f64 {
        match self.phase {
            Phase::Preparing => self.fixed,
            Phase::Copying => self.pass_time(),
            Phase::Fetching => self.transfer_time(),
            Phase::Switching if self.fetches => self.fixed,
            Phase::Switching => self.fixed + self.transfer_time(),
            Phase::Done => f64::INFINITY,
        }
    }

    /// Lets `span` seconds pass, and all happen that is due by then.
    fn advance_secs(&mut self, mut span: f64) {
        while self.phase != Phase::Done {
            let until = self.until_next();
            if until > span {
                return self.pass(span);
            }
            self.pass(until);
            span -= until;
            self.change();
        }
    }

    /// Lets `step` seconds pass within one phase and round.
    fn pass(&mut self, step: f64) {
        self.elapsed += step;
        match self.phase {
            Phase::Preparing => self.fixed -= step,
            Phase::Copying => {
                self.transfer(step);
                self.dirtied = self.dirtied_after(step);
            }
            Phase::Switching => {
                self.pause += step;
                let waited = self.fixed.min(step);
                self.fixed -= waited;
                if !self.fetches {
                    self.transfer(step - waited);
                }
            }
            Phase::Fetching => self.transfer(step),
            Phase::Done => {}
        }
    }

    /// What will have been written since this pass began when it has gone on for `span` seconds.
    fn dirtied_after(&self, span: f64) -> f64 {
        if self.working_set <= 0.0 {
            return self.dirtied;
        }
        let fresh = 1.0 - (-self.write_rate() * span / self.working_set).exp();
        self.dirtied + (self.working_set - self.dirtied) * fresh
    }

    fn write_rate(&self) -> f64 {
        self.dirty_rate * (1.0 - self.throttle)
    }

    /// Seconds until this pass is over, or until what is left of it and what was written meanwhile fit into the pause.
    fn pass_time(&self) -> f64 {
        if self.fits() {
            return 0.0;
        }
        let whole = self.transfer_time();
        let allowed = self.rate * self.downtime;
        if !whole.is_finite() || self.dirtied_after(whole) > allowed {
            return whole;
        }
        // Newton's method from the end of the pass. The vm finds ever fewer pages that it has not written yet, so that what is to
        // be copied shrinks ever faster: no step goes too far.
        let mut at = whole;
        for _ in 0..NEWTON_STEPS {
            let dirtied = self.dirtied_after(at);
            let fresh = if self.working_set > 0.0 { 1.0 - dirtied / self.working_set } else { 0.0 };
            let shrinks = self.rate - self.write_rate() * fresh;
            let spare = allowed - dirtied - (self.left - self.rate * at);
            if shrinks <= 0.0 || spare <= ROUNDING * allowed {
                break;
            }
            at = (at - spare / shrinks).max(0.0);
        }
        at
    }

    /// Whether all that is left can be copied in the pause.
    fn fits(&self) -> bool {
        self.left + self.dirtied <= self.rate * self.downtime * (1.0 + ROUNDING)
    }

    /// Seconds until what is left is over; infinite while there is no bandwidth.
    fn transfer_time(&self) -> f64 {
        if self.left > 0.0 { self.left / self.rate } else { 0.0 }
    }

    fn transfer(&mut self, step: f64) {
        let sent = (self.rate * step).min(self.left);
        self.left -= sent;
        self.copied += sent;
    }

    /// Goes to the next phase, or to the next round.
    fn change(&mut self) {
        match self.phase {
            Phase::Preparing => (self.phase, self.round) = (Phase::Copying, 1),
            Phase::Copying => self.end_pass(),
            Phase::Switching if self.fetches => self.phase = Phase::Fetching,
            Phase::Switching | Phase::Fetching => {
                self.copied += std::mem::take(&mut self.left);
                self.phase = Phase::Done;
            }
            Phase::Done => {}
        }
    }

    /// A pass is over: switches over where the rest fits into the pause or post-copy is due, or else begins the next.
    fn end_pass(&mut self) {
        let fits = self.fits();
        self.left = (self.left + std::mem::take(&mut self.dirtied)).min(self.memory);
        self.fetches = !fits && self.help.post_copy_after.is_some_and(|passes| self.round >= passes);
        if fits || self.fetches {
            (self.phase, self.fixed) = (Phase::Switching, SWITCH_OVER.as_secs_f64());
            return;
        }
        if self.help.auto_converge && self.left > 0.5 * self.pass_bytes {
            let harder = if self.throttle > 0.0 { self.throttle + THROTTLE_MORE } else { THROTTLE_FIRST };
            self.throttle = harder.min(THROTTLE_MAX);
        }
        let took = self.elapsed - self.pass_began;
        self.found_rate = if took > 0.0 { self.left / took } else { 0.0 };
        (self.round, self.pass_bytes, self.pass_began) = (self.round + 1, self.left, self.elapsed);
    }
}

/// The bare number of a rate, zero where it is not a sane one.
fn sane(rate: BytesPerSec) -> f64 {
    if rate.is_sane() { rate.get() } else { 0.0 }
}

#[cfg(test)]
mod tests;
