//! What copies took beside what the model said: how far it is off on this fleet, and how far at most.
//!
//! The model's constants are nobody's own hosts. From the newest copies that ended, five figures are read: the rate that was
//! reached over the one assumed, the amount and the pause over what the model says at the rate reached, and the times to
//! prepare and to finish. Each is a median together with three copies that went as the model says, so that one odd copy moves nothing and
//! a fleet that nothing is known of is taken as the model has it. Bounds are the 90 % quantile of what is left, with the
//! correction for small samples of split conformal prediction (Papadopoulos et al. 2002); below nine copies there are none.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use super::{CopyEstimate, CopyJob, PREPARATION, SWITCH_OVER, estimate};
use crate::{
    outcome::{Ending, Outcome},
    units::{count, seconds},
};

/// Copies that are kept: enough for a quantile, few enough to follow a network that was rebuilt.
const KEPT: usize = 64;

/// Copies as the model has them that are counted in.
const PRIOR: usize = 3;

/// A factor beyond this, or its inverse, is a fault of the measurement.
const FACTOR_MAX: f64 = 20.0;

/// Longest preparation or finish that is believed, seconds.
const FIXED_MAX: f64 = 60.0;

/// Share of copies that stay within the bounds.
const WITHIN: f64 = 0.9;

/// How copies on this fleet differ from what the model says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CopyFactors {
    /// Copies it rests on.
    pub copies: u32,
    /// Rate reached over the bandwidth that the hosts state.
    pub speed: f64,
    /// Data copied over what the model says at that rate.
    pub amount: f64,
    /// Pause over what the model says at that rate.
    pub pause: f64,
    /// Time until the first byte.
    pub preparation: Duration,
    /// Time from the vm's running at its destination until the hypervisor says that it is over there.
    #[serde(default)]
    pub finish: Duration,
    /// Nine copies of ten take at most so many times what is expected, where that is known.
    pub duration_at_most: Option<f64>,
    /// Nine copies of ten pause the vm for at most so many times what is expected, where that is known.
    pub pause_at_most: Option<f64>,
}

impl Default for CopyFactors {
    fn default() -> Self {
        Self {
            copies: 0,
            speed: 1.0,
            amount: 1.0,
            pause: 1.0,
            preparation: PREPARATION,
            finish: Duration::ZERO,
            duration_at_most: None,
            pause_at_most: None,
        }
    }
}

impl CopyFactors {
    /// What `job` takes on this fleet if nothing disturbs it.
    pub fn estimate(&self, job: &CopyJob) -> CopyEstimate {
        if self.copies == 0 {
            return estimate(job);
        }
        let plain = estimate(&CopyJob { bandwidth: job.bandwidth * self.speed, ..*job });
        let downtime = scaled(plain.downtime, self.pause);
        let copying = plain.duration.saturating_sub(PREPARATION).saturating_sub(plain.downtime);
        let fixed = self.preparation.saturating_add(self.finish);
        let duration = fixed.saturating_add(scaled(copying, self.amount)).saturating_add(downtime);
        CopyEstimate { duration, downtime, copied: plain.copied.scale(self.amount), ..plain }
    }

    /// The copy as it is reckoned with when it is ordered.
    pub fn reckon(&self, job: CopyJob) -> Reckoned {
        let expected = self.estimate(&job);
        let duration_at_most = self.duration_at_most.map(|factor| scaled(expected.duration, factor));
        let downtime_at_most = self.pause_at_most.map(|factor| scaled(expected.downtime, factor));
        Reckoned { job, expected, duration_at_most, downtime_at_most }
    }
}

/// A copy as it was reckoned with when it was ordered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reckoned {
    /// The copy.
    pub job: CopyJob,
    /// What it was expected to take.
    pub expected: CopyEstimate,
    /// Nine copies of ten end within this, where that was known.
    pub duration_at_most: Option<Duration>,
    /// Nine copies of ten pause the vm for no longer than this, where that was known.
    pub downtime_at_most: Option<Duration>,
}

/// What one copy came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Came {
    job: CopyJob,
    preparation: Duration,
    /// From the order to the end.
    took: Duration,
    /// What of that came after the pause, where that was measured.
    finish: Option<Duration>,
    /// Pause, where it was measured.
    downtime: Option<Duration>,
    /// Rate that was reached over the one assumed.
    speed: f64,
    /// Data copied over what the model says at that rate.
    amount: f64,
    /// Pause over what the model says at that rate, where it was measured.
    pause: Option<f64>,
}

impl Came {
    /// What `outcome` says of the copy of `job`; `None` where it did not complete or was not measured.
    fn of(job: &CopyJob, outcome: &Outcome) -> Option<Self> {
        let stages = &outcome.stages;
        let reached = ratio(outcome.copied.as_f64() / sent_for(job, outcome).as_secs_f64(), job.bandwidth.get())?;
        if outcome.ending != Ending::Completed {
            return None;
        }
        let speed = reached.min(FACTOR_MAX);
        let plain = estimate(&CopyJob { bandwidth: job.bandwidth * speed, ..*job });
        let amount = ratio(outcome.copied.as_f64(), plain.copied.as_f64())?;
        let pause = outcome.downtime.and_then(|came| ratio(came.as_secs_f64(), plain.downtime.as_secs_f64()));
        let (preparation, downtime) = (stages.preparation, outcome.downtime);
        let finish = downtime.map(|downtime| stages.switching.saturating_sub(downtime));
        Some(Self { job: *job, preparation, took: stages.total(), finish, downtime, speed, amount, pause })
    }
}

/// The newest copies that ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Experience(VecDeque<Came>);

impl Experience {
    /// Takes what came of a copy; `false` where that teaches nothing.
    pub fn note(&mut self, reckoned: &Reckoned, outcome: &Outcome) -> bool {
        let Some(came) = Came::of(&reckoned.job, outcome) else { return false };
        self.0.push_back(came);
        while self.0.len() > KEPT {
            self.0.pop_front();
        }
        true
    }

    /// What it comes to.
    pub fn factors(&self) -> CopyFactors {
        let median = |prior: f64, of: &dyn Fn(&Came) -> Option<f64>| {
            let measured = self.0.iter().filter_map(of);
            middle(measured.chain(std::iter::repeat_n(prior, PRIOR)).collect())
        };
        let secs = |span: Duration| span.as_secs_f64().min(FIXED_MAX);
        let factors = CopyFactors {
            copies: u32::try_from(self.0.len()).unwrap_or(u32::MAX),
            speed: median(1.0, &|came| Some(came.speed)),
            amount: median(1.0, &|came| Some(came.amount)),
            pause: median(1.0, &|came| came.pause),
            preparation: seconds(median(PREPARATION.as_secs_f64(), &|came| Some(secs(came.preparation)))),
            finish: seconds(median(0.0, &|came| came.finish.map(secs))),
            ..CopyFactors::default()
        };
        CopyFactors {
            duration_at_most: self
                .bound(&|came| ratio(came.took.as_secs_f64(), factors.estimate(&came.job).duration.as_secs_f64())),
            pause_at_most: self
                .bound(&|came| ratio(came.downtime?.as_secs_f64(), factors.estimate(&came.job).downtime.as_secs_f64())),
            ..factors
        }
    }

    /// The quantile [`WITHIN`] of what `of` says of the copies, for the next one.
    fn bound(&self, of: &dyn Fn(&Came) -> Option<f64>) -> Option<f64> {
        let mut ratios: Vec<f64> = self.0.iter().filter_map(of).collect();
        ratios.sort_by(f64::total_cmp);
        let rank = (1..=ratios.len()).find(|rank| count(*rank) >= WITHIN * count(ratios.len() + 1))?;
        ratios.get(rank - 1).copied()
    }
}

/// How long data was sent: until the pause, and in it for as long as is allowed at first. What a longer pause has beyond that is
/// the hypervisor's own far more often than more data.
fn sent_for(job: &CopyJob, outcome: &Outcome) -> Duration {
    let in_the_pause = outcome.downtime.unwrap_or_default().saturating_sub(SWITCH_OVER).min(job.downtime_start);
    outcome.stages.migration.saturating_add(in_the_pause)
}

/// `part / whole` within what is believed; `None` where it is no number.
fn ratio(part: f64, whole: f64) -> Option<f64> {
    let ratio = part / whole;
    (ratio.is_finite() && ratio > 0.0).then(|| ratio.clamp(1.0 / FACTOR_MAX, FACTOR_MAX))
}

fn scaled(span: Duration, factor: f64) -> Duration {
    seconds(span.as_secs_f64() * factor)
}

/// The middle one of an odd number of values, the upper of the two middle ones of an even number.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::{super::Writes, *};
    use crate::{
        command::MigrationLimits,
        id::{CommandId, Epoch, HostId},
        outcome::StageTimes,
        units::{Bytes, BytesPerSec, Cores, Timestamp},
    };

    fn job(mib: u64) -> CopyJob {
        let limits = MigrationLimits::for_memory(Bytes::from_mib(mib));
        CopyJob::of_vm(Bytes::from_mib(mib), Cores(0.5), Writes::default(), BytesPerSec(1.25e9), &limits)
    }

    /// What comes of `job` where the link gives a third of what was assumed, pauses are twice as long and all ends a second and
    /// a half later.
    fn outcome(job: &CopyJob, off_by: f64) -> Outcome {
        let real = estimate(&CopyJob { bandwidth: job.bandwidth * (1.0 / 3.0), ..*job });
        let downtime = scaled(real.downtime, 2.0 * off_by);
        let migration = real.duration - PREPARATION - real.downtime;
        Outcome {
            id: CommandId { epoch: Epoch(1), number: 1 },
            vm: None,
            source: HostId::new("a").unwrap(),
            destination: None,
            ending: Ending::Completed,
            began_at: Timestamp::EPOCH,
            ended_at: Timestamp::EPOCH,
            stages: StageTimes {
                preparation: scaled(PREPARATION, 0.4),
                migration,
                switching: downtime + Duration::from_millis(1500),
            },
            downtime: Some(downtime),
            copied: real.copied,
            iterations: 2,
        }
    }

    fn lived(copies: usize) -> Experience {
        let mut experience = Experience::default();
        for index in 0..copies {
            let job = job(256 + 64 * (index as u64 % 20));
            let off_by = 1.0 + 0.02 * count(index % 10);
            assert!(experience.note(&CopyFactors::default().reckon(job), &outcome(&job, off_by)));
        }
        experience
    }

    #[test]
    fn a_fleet_that_nothing_is_known_of_is_as_the_model_has_it() {
        let factors = Experience::default().factors();
        assert_eq!(factors, CopyFactors::default());
        assert_eq!(factors.estimate(&job(1000)), estimate(&job(1000)));
    }

    #[test]
    fn after_some_copies_a_slower_link_and_longer_pauses_are_reckoned_with() {
        let factors = lived(12).factors();
        let (job, came) = (job(3000), outcome(&job(3000), 1.0));
        let expected = factors.estimate(&job);
        let off = |expected: f64, came: f64| (expected / came - 1.0).abs();
        let took = came.stages.total();
        assert!(off(expected.duration.as_secs_f64(), took.as_secs_f64()) < 0.05, "{expected:?}, {took:?}");
        assert!(off(expected.downtime.as_secs_f64(), came.downtime.unwrap().as_secs_f64()) < 0.15, "{expected:?}");
        assert!(off(expected.copied.as_f64(), came.copied.as_f64()) < 0.05, "{expected:?}");
    }

    #[test]
    fn one_odd_copy_changes_nothing() {
        let factors = lived(1).factors();
        assert_eq!((factors.speed, factors.amount, factors.preparation), (1.0, 1.0, PREPARATION));
        assert_eq!(factors.duration_at_most, None);
    }

    #[test]
    fn nine_copies_of_ten_stay_within_the_bound() {
        let experience = lived(40);
        let factors = experience.factors();
        let within = experience.0.iter().filter(|came| {
            let expected = factors.estimate(&came.job).downtime.as_secs_f64();
            came.downtime.unwrap().as_secs_f64() <= expected * factors.pause_at_most.unwrap() + 1e-9
        });
        assert!(within.count() >= 36);
        assert!(lived(8).factors().pause_at_most.is_none() && lived(9).factors().pause_at_most.is_some());
    }

    #[test]
    fn a_copy_that_failed_or_was_not_measured_teaches_nothing() {
        let (mut experience, job) = (Experience::default(), job(512));
        let reckoned = CopyFactors::default().reckon(job);
        let came = outcome(&job, 1.0);
        let failed = Outcome { ending: Ending::Failed { reason: String::new() }, ..came.clone() };
        let unmeasured = Outcome { stages: StageTimes::default(), copied: Bytes(0), ..came };
        assert!(!experience.note(&reckoned, &failed) && !experience.note(&reckoned, &unmeasured));
        assert_eq!(experience, Experience::default());
    }

    #[test]
    fn only_the_newest_copies_count() {
        let mut experience = lived(KEPT);
        let job = job(512);
        let quick = Outcome { copied: job.memory, ..outcome(&job, 1.0) };
        (0..KEPT).for_each(|_| assert!(experience.note(&CopyFactors::default().reckon(job), &quick)));
        assert_eq!(experience.0.len(), KEPT);
    }
}
