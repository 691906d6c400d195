//! The breaker between a model and the decisions: what opens it, for how long, and what lets the model back in.
//!
//! ```text
//!            unsound, worse than the fallback,
//!            far off its coverage, late, panicked
//!   Closed ─────────────────────────────────────▶ Open ◀───────────┐
//!      ▲                                            │ half an hour, │ any of these:
//!      │ an hour without any of these               │ and good      │ twice as long
//!      └────────────────────────────── HalfOpen ◀───┘ scores since ─┘
//! ```

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    oversight::{
        OversightSettings,
        resource::{Resource, Target},
        score::{Score, Scores},
    },
    units::Timestamp,
};

/// Time for which an opened breaker stays open at least: six steps, in which new scores come due.
const OPEN_FOR: Duration = Duration::from_secs(30 * 60);

/// The same at most, however often it has opened: once a day a model may try again.
const OPEN_FOR_MAX: Duration = Duration::from_secs(24 * 3600);

/// Time on probation after which a model is trusted as before: all forecasts of the first moment have come due.
const PROBATION: Duration = Duration::from_secs(3600);

/// Whose forecasts were better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rival {
    /// The fallback's.
    Fallback,
    /// The last value again.
    Persistence,
}

/// Why a model is not used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A value of a forecast is no number or below zero.
    NoNumber {
        /// Of which resource.
        resource: Resource,
    },
    /// A higher quantile is below a lower one.
    Crossing {
        /// Of which resource.
        resource: Resource,
    },
    /// Forecasts are beyond what the vms could do.
    Absurd {
        /// How many.
        count: usize,
        /// Of how many.
        of: usize,
    },
    /// Its pinball loss is larger than another's.
    Pinball {
        /// Of which resource.
        resource: Resource,
        /// Of which target.
        target: Target,
        /// How many times as large.
        times: f64,
        /// Whose.
        rival: Rival,
    },
    /// Too many values were above its 95 % quantile.
    Coverage {
        /// Of which resource.
        resource: Resource,
        /// Of which target.
        target: Target,
        /// Share that was below.
        share: f64,
    },
    /// It did not answer in time.
    Late {
        /// So many times in a row.
        times: u32,
    },
    /// It panicked.
    Panicked {
        /// With what words.
        what: String,
    },
}

impl Reason {
    /// The words of [`Reason::kind`].
    pub const KINDS: [&str; 7] = ["no_number", "crossing", "absurd", "pinball", "coverage", "late", "panicked"];

    /// Whether the model does what no model may do, good or bad.
    pub(super) fn is_defect(&self) -> bool {
        matches!(self, Self::NoNumber { .. } | Self::Crossing { .. } | Self::Panicked { .. })
    }

    /// One word, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoNumber { .. } => "no_number",
            Self::Crossing { .. } => "crossing",
            Self::Absurd { .. } => "absurd",
            Self::Pinball { .. } => "pinball",
            Self::Coverage { .. } => "coverage",
            Self::Late { .. } => "late",
            Self::Panicked { .. } => "panicked",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNumber { resource } => write!(f, "a forecast of {} is no number", resource.name()),
            Self::Crossing { resource } => write!(f, "quantiles of {} cross", resource.name()),
            Self::Absurd { count, of } => write!(f, "{count} of {of} forecasts are beyond what the vm could do"),
            Self::Pinball { resource, target, times, rival } => {
                let whose = if *rival == Rival::Fallback { "the fallback's" } else { "that of the last value" };
                write!(f, "pinball {times:.1} times {whose} for {} {}", resource.name(), target.words())
            }
            Self::Coverage { resource, target, share } => {
                let share = share * 100.0;
                write!(f, "{share:.0} % below the 95 % quantile for {} {}", resource.name(), target.words())
            }
            Self::Late { times: 1 } => f.write_str("late"),
            Self::Late { times } => write!(f, "late {times} times in a row"),
            Self::Panicked { what } => write!(f, "panicked: {what}"),
        }
    }
}

/// Whether a model may be used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Breaker {
    /// It may.
    #[default]
    Closed,
    /// It may not.
    Open {
        /// Why.
        why: Reason,
        /// When it may be tried again at the earliest.
        until: Timestamp,
        /// How long it is kept open.
        wait: Duration,
    },
    /// It may, on probation.
    HalfOpen {
        /// Until when.
        until: Timestamp,
        /// How long it was kept open last.
        wait: Duration,
    },
}

/// What became of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Opened,
    HalfOpened,
    Closed,
}

impl Breaker {
    /// The words of [`Breaker::name`].
    pub const NAMES: [&str; 3] = ["closed", "open", "half_open"];

    /// Its state in one word, for metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen { .. } => "half_open",
        }
    }

    /// Why it is open, where it is.
    pub fn why(&self) -> Option<&Reason> {
        match self {
            Self::Open { why, .. } => Some(why),
            Self::Closed | Self::HalfOpen { .. } => None,
        }
    }

    /// Opens it. One that is open stays so for its whole time from now on.
    pub(super) fn open(&mut self, why: Reason, now: Timestamp) -> Option<Turn> {
        let wait = match self {
            Self::Closed => OPEN_FOR,
            Self::HalfOpen { wait, .. } => (*wait * 2).min(OPEN_FOR_MAX),
            Self::Open { until, wait, .. } => {
                *until = now.after(*wait);
                return None;
            }
        };
        *self = Self::Open { why, until: now.after(wait), wait };
        Some(Turn::Opened)
    }

    /// Time has passed; `recovered` where enough has come due since it opened, and all of it speaks for the model.
    pub(super) fn pass(&mut self, recovered: bool, now: Timestamp) -> Option<Turn> {
        match *self {
            Self::Open { until, wait, .. } if now >= until && recovered => {
                *self = Self::HalfOpen { until: now.after(PROBATION), wait };
                Some(Turn::HalfOpened)
            }
            Self::HalfOpen { until, .. } if now >= until => {
                *self = Self::Closed;
                Some(Turn::Closed)
            }
            Self::Closed | Self::Open { .. } | Self::HalfOpen { .. } => None,
        }
    }
}

/// What speaks against a model by its scores; the gravest first is the one with the near target of CPU.
pub(super) fn verdict(scores: &Scores, settings: &OversightSettings) -> Option<Reason> {
    let each = Resource::JUDGED.into_iter().flat_map(|resource| Target::ALL.map(|target| (resource, target)));
    let mut told = each.filter(|(resource, target)| scores.of(*resource, *target).count >= settings.scores_min);
    told.find_map(|(resource, target)| against(scores.of(resource, target), resource, target, settings))
}

fn against(score: &Score, resource: Resource, target: Target, settings: &OversightSettings) -> Option<Reason> {
    let (fallback, persistence, slack) = (score.fallback(), score.persistence(), score.slack());
    let (best, rival) =
        if persistence < fallback { (persistence, Rival::Persistence) } else { (fallback, Rival::Fallback) };
    if score.model() > settings.tolerance * best + slack {
        let times = score.model() / best.max(slack).max(f64::MIN_POSITIVE);
        return Some(Reason::Pinball { resource, target, times: times.min(1e9), rival });
    }
    let share = score.coverage();
    (share < settings.coverage_min).then_some(Reason::Coverage { resource, target, share })
}

/// Whether so much has come due that the near target of CPU tells.
pub(super) fn is_told(scores: &Scores, settings: &OversightSettings) -> bool {
    scores.of(Resource::Cpu, Target::Step).count >= settings.scores_min
}

/// Whether the model beats the fallback: told on both targets of CPU, nothing against it, and its losses smaller on the
/// whole of what is judged.
pub(super) fn is_ahead(scores: &Scores, settings: &OversightSettings) -> bool {
    let is_told = |resource, target| scores.of(resource, target).count >= settings.scores_min;
    if !Target::ALL.into_iter().all(|target| is_told(Resource::Cpu, target)) || verdict(scores, settings).is_some() {
        return false;
    }
    let each = Resource::JUDGED.into_iter().flat_map(|resource| Target::ALL.map(|target| (resource, target)));
    let ratio = |score: &Score| {
        let slack = score.slack().max(f64::MIN_POSITIVE);
        (score.model() + slack) / (score.fallback() + slack)
    };
    let told: Vec<f64> = each.filter(|(r, t)| is_told(*r, *t)).map(|(r, t)| ratio(scores.of(r, t))).collect();
    told.iter().sum::<f64>() < crate::units::count(told.len())
}
