//! What is left of a copy under way, reckoned anew with every report of its agent, and when going on is no longer worth it.
//!
//! What is left is the model's own rounds, begun with what the hypervisor says is left, at the rate it reaches and at the rate
//! at which the vm writes now; nothing that was reckoned at the order is trusted further than it must be. Giving up is dear as
//! well: all that was copied is lost, and the vm rests. So one odd report gives nothing up, the first pass never does (how the
//! vm writes while it is copied is measured by it), and nothing does once the switch-over has begun.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{CopyJob, Help, MAX_ROUNDS, Pass, Phase, PreCopy, sane};
use crate::{
    command::{MigrationLimits, Progress},
    outcome::Stage,
    units::{Bytes, BytesPerSec, Cores, Joules, Watts, seconds},
};

/// How long a copy must have been reported as too dear, without a report between that said otherwise: rates of a single
/// second are noise, and ten reports come within it.
const DEAR_FOR: Duration = Duration::from_secs(5);

/// The same for one that does not converge: bursts (a checkpoint, a backup) pass within seconds, and waiting for their end
/// costs less than a second copy. Half the time after which the source would allow a longer pause, which is counted in already.
const DIVERGING_FOR: Duration = Duration::from_secs(20);

/// Passes that are played ahead: a real copy has a limit of time and none of passes, so this only bounds the work. What has not
/// ended by then hardly shrinks from pass to pass.
const ROUNDS_AHEAD: u32 = 10 * MAX_ROUNDS;

/// Weight of the newest report in the rate of the copy (KubeVirt's figure).
const NEWEST: f64 = 0.4;

/// Share of memory that a pass leaves from which on it is not asked how often each page was written.
const NEARLY_ALL: f64 = 0.99;

/// What a copy costs while it goes on, at the objective's prices when it was ordered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct CopyPrices {
    /// Power that one more busy core draws, at both ends together.
    pub watts_per_core: Watts,
    /// CPU that each end spends on it.
    pub copying: Cores,
    /// CPU that its vm uses.
    pub used: Cores,
    /// Share of that which the vm loses while it is copied.
    pub slowdown: f64,
    /// Price of a core-second that the vm loses, joules.
    pub joules_per_core_second: f64,
}

impl CopyPrices {
    /// Energy that both ends spend on `time` of copying.
    pub fn energy(&self, time: Duration) -> Joules {
        self.watts_per_core.over(time) * self.copying.get()
    }

    /// Core-seconds that the vm loses in `time` of being copied and a pause.
    pub fn lost(&self, time: Duration, pause: Duration) -> f64 {
        self.used.get() * (self.slowdown * time.as_secs_f64() + pause.as_secs_f64())
    }

    /// Both as one price.
    pub fn cost(&self, time: Duration, pause: Duration) -> Joules {
        self.energy(time) + Joules(self.lost(time, pause) * self.joules_per_core_second)
    }
}

/// What is left of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rest {
    /// Time until the vm runs at its destination; of one that does not converge, until its limits end it.
    pub time: Duration,
    /// Data still to be copied in that time, repeats included.
    pub data: Bytes,
    /// Pause of the vm; of one that does not converge, the pause that it would need.
    pub pause: Duration,
    /// Whether it ends within its limits at the rates of now.
    pub converges: bool,
    /// What it still costs.
    pub cost: Joules,
}

impl fmt::Display for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (time, cost) = (self.time.as_secs_f64(), self.cost.get());
        if self.converges {
            write!(f, "{} and {time:.0} s left, {cost:.0} J", self.data)
        } else {
            write!(f, "does not converge at the rates of now, {time:.0} s until its limit, {cost:.0} J")
        }
    }
}

/// Where a copy is in its pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// What is left of the pass.
    pub left: Bytes,
    /// What the pass has copied so far.
    pub sent: Bytes,
}

/// What is left of a copy that is where `at` says, with `within` until its limit: `job` says how the vm writes and how fast the
/// copy is, `help` how it is made to converge.
pub fn rest(job: CopyJob, help: Help, at: Standing, within: Duration, prices: &CopyPrices) -> Rest {
    job.eased(|job| played(job, help, at, within, prices), |rest| rest.converges)
}

fn played(job: CopyJob, help: Help, at: Standing, within: Duration, prices: &CopyPrices) -> Rest {
    let memory = job.memory.max(at.left);
    let begun = PreCopy::new(CopyJob { memory, ..job }).helped(help);
    let mut copy = PreCopy { phase: Phase::Copying, round: 1, left: at.left.as_f64(), fixed: 0.0, ..begun };
    if copy.rate > 0.0 {
        // What was written since the pass began is found only at its end, and has to be copied then.
        copy.dirtied = copy.dirtied_after(at.sent.as_f64() / copy.rate);
    }
    let limit = within.as_secs_f64();
    while copy.rate > 0.0 && copy.round <= ROUNDS_AHEAD && copy.phase != Phase::Done && copy.elapsed <= limit {
        copy.advance_secs(copy.until_next());
    }
    if copy.phase == Phase::Done && copy.elapsed <= limit {
        let (time, pause) = (seconds(copy.elapsed), copy.downtime());
        return Rest { time, data: copy.copied(), pause, converges: true, cost: prices.cost(time, pause) };
    }
    let data = Bytes::from_f64(copy.rate * limit);
    let pause = if copy.rate > 0.0 { copy.downtime() } else { seconds(f64::INFINITY) };
    Rest { time: within, data, pause, converges: false, cost: prices.cost(within, Duration::ZERO) }
}

/// Why a copy is not worth going on with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GiveUp {
    /// What is left costs more than the move is worth.
    Dear {
        /// What is left.
        rest: Rest,
        /// What the move is worth once it is done.
        worth: Joules,
    },
    /// It does not end within its limits, and gains nothing then.
    Diverging {
        /// What is left.
        rest: Rest,
        /// How fast the vm writes.
        writes: BytesPerSec,
        /// How fast it is copied.
        copies: BytesPerSec,
    },
}

impl GiveUp {
    /// One word for counters.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Dear { .. } => "cost",
            Self::Diverging { .. } => "not_converging",
        }
    }
}

impl fmt::Display for GiveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dear { rest, worth } => write!(
                f,
                "what is left of its copy costs {:.0} J ({:.0} s, {}), and the move is worth {:.0} J",
                rest.cost.get(),
                rest.time.as_secs_f64(),
                rest.data,
                worth.get()
            ),
            Self::Diverging { rest, writes, copies } => write!(
                f,
                "it writes {}/s at least and is copied at {}/s, which does not converge; {:.0} s more until its limit cost {:.0} J",
                Bytes::from_f64(sane(*writes)),
                Bytes::from_f64(sane(*copies)),
                rest.time.as_secs_f64(),
                rest.cost.get()
            ),
        }
    }
}

/// What a report comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// What is left.
    pub rest: Rest,
    /// Why it is to be given up, where it is.
    pub give_up: Option<GiveUp>,
}

/// Follows one copy by the reports of its agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Renewed {
    /// The copy as it was reckoned at the order.
    job: CopyJob,
    limits: MigrationLimits,
    prices: CopyPrices,
    /// What the move is worth once it is done; `None` where it is made at any price.
    worth: Option<Joules>,
    /// When the first report of copying came, by the migration's own time, as all times here.
    copying_since: Option<Duration>,
    rate: Option<f64>,
    pass: Pass,
    /// Since when every report says that it is not worth it.
    doubted_since: Option<Duration>,
    /// What was left by the report before.
    rest: Option<Rest>,
}

impl Renewed {
    /// Follows the copy of `job` within `limits`.
    pub fn new(job: CopyJob, limits: MigrationLimits, prices: CopyPrices, worth: Option<Joules>) -> Self {
        let (copying_since, rate, doubted_since, rest) = (None, None, None, None);
        Self { job, limits, prices, worth, copying_since, rate, pass: Pass::default(), doubted_since, rest }
    }

    /// Takes a report; nothing comes of one before the first byte or after the last pass.
    pub fn report(&mut self, progress: &Progress) -> Option<Judged> {
        if progress.stage != Stage::Migration || progress.iteration == 0 {
            self.doubted_since = None;
            return None;
        }
        self.take(progress);
        let since = *self.copying_since.get_or_insert(progress.elapsed);
        if let Some(rest) = self.rest.filter(|_| !self.pass.is_clear()) {
            return Some(Judged { rest, give_up: None });
        }
        let job = self.job_now(progress);
        let within = self.limits.completion_timeout.saturating_sub(progress.elapsed.saturating_sub(since));
        let help = Help { auto_converge: self.limits.auto_converge, ..Help::default() };
        let at = Standing { left: progress.remaining, sent: self.pass.began_with.saturating_sub(progress.remaining) };
        let rest = rest(job, help, at, within, &self.prices);
        self.rest = Some(rest);
        let give_up = self.judge(&rest, &job, progress);
        Some(Judged { rest, give_up })
    }

    fn take(&mut self, progress: &Progress) {
        let newest = sane(progress.rate);
        self.rate = Some(self.rate.map_or(newest, |rate| rate + NEWEST * (newest - rate)));
        self.pass.take(progress);
    }

    /// The copy at the rates of now. In the first pass nobody has measured how the vm writes meanwhile. After it, what was found is taken
    /// to be written anywhere in memory, the kindest guess: of a smaller set a shorter pass leaves more.
    fn job_now(&self, progress: &Progress) -> CopyJob {
        let bandwidth = BytesPerSec(self.rate.unwrap_or_default());
        let found = sane(progress.dirty_rate);
        if progress.iteration < 2 || found <= 0.0 {
            return CopyJob { bandwidth, ..self.job };
        }
        let memory = self.job.memory.max(self.pass.began_with);
        let dirty_rate = BytesPerSec(found * written_per_found(self.pass.began_with.ratio_of(memory)));
        CopyJob { bandwidth, dirty_rate, memory, working_set: memory, ..self.job }
    }

    fn judge(&mut self, rest: &Rest, job: &CopyJob, progress: &Progress) -> Option<GiveUp> {
        let worth = self.worth.filter(|_| progress.iteration >= 2)?;
        let (reason, patience) = match rest.converges {
            true if rest.cost > worth => (GiveUp::Dear { rest: *rest, worth }, DEAR_FOR),
            true => {
                self.doubted_since = None;
                return None;
            }
            false => {
                let (writes, copies) = (job.dirty_rate, job.bandwidth);
                (GiveUp::Diverging { rest: *rest, writes, copies }, DIVERGING_FOR)
            }
        };
        let since = *self.doubted_since.get_or_insert(progress.elapsed);
        let is_sure = progress.elapsed.saturating_sub(since) >= patience;
        // An order to stop that comes to nothing is given again only after as long.
        self.doubted_since = (!is_sure).then_some(since);
        is_sure.then_some(reason)
    }
}

/// How many pages a vm writes for each that a pass leaves to the next, where it leaves a `share` of memory: the model's law, `share =
/// 1 - e^(-written)`, turned round. A page that is written again before it is copied counts once.
fn written_per_found(share: f64) -> f64 {
    let share = share.min(NEARLY_ALL);
    if share > 0.0 { -(1.0 - share).ln() / share } else { 1.0 }
}

#[cfg(test)]
#[path = "renewed_tests.rs"]
mod tests;
