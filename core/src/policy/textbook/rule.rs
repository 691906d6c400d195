//! The textbook rules by name: `lr-mmt-1.2+fix` is local regression with safety 1.2, least memory first, and the
//! one-line fix. What a name means is settled here, for the ordinary policy and for the simulation's faithful benchmark.
//!
//! The rules are those of A. Beloglazov and R. Buyya, *Optimal online deterministic algorithms and adaptive heuristics
//! for energy and performance efficient dynamic consolidation of virtual machines in cloud data centers*, Concurrency
//! and Computation: Practice and Experience 24(13), 2012, with the parameters of their code in `CloudSim` 3.0.3.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// What a name of a rule looks like, for messages.
pub const GRAMMAR: &str = "(thr|iqr|mad|lr|lrr)-(mmt|mc|mu|rs)[-PARAMETER][+fix][+excl][+wls][+v30][+v301], dvfs, npa";

/// A name that is no rule's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name:?} is no textbook rule: {what}; accepted are {GRAMMAR}")]
pub struct UnknownRule {
    /// What was given.
    pub name: String,
    /// What is wrong with it.
    pub what: String,
}

/// When a host counts as overloaded. The number is the rule's parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Detector {
    /// `thr`: the load asked for is above a fixed share of capacity.
    Threshold(f64),
    /// `iqr`: it is above one minus so many interquartile ranges of its history.
    InterQuartile(f64),
    /// `mad`: it is above one minus so many median absolute deviations of its history.
    Deviation(f64),
    /// `lr`: a straight line through the last ten values, times the parameter, reaches capacity at the next step.
    Regression(f64),
    /// `lrr`: the same, with values far off the line counting less.
    RobustRegression(f64),
}

impl Detector {
    /// The rules of detection with the parameters their authors use.
    pub const DEFAULTS: [Self; 5] = [
        Self::Threshold(0.8),
        Self::InterQuartile(1.5),
        Self::Deviation(2.5),
        Self::Regression(1.2),
        Self::RobustRegression(1.2),
    ];

    /// Its name without the parameter.
    pub fn word(self) -> &'static str {
        match self {
            Self::Threshold(_) => "thr",
            Self::InterQuartile(_) => "iqr",
            Self::Deviation(_) => "mad",
            Self::Regression(_) => "lr",
            Self::RobustRegression(_) => "lrr",
        }
    }

    /// Its parameter: a share of capacity for `thr`, a safety factor for the others.
    pub fn parameter(self) -> f64 {
        match self {
            Self::Threshold(number)
            | Self::InterQuartile(number)
            | Self::Deviation(number)
            | Self::Regression(number)
            | Self::RobustRegression(number) => number,
        }
    }

    /// The same rule with another parameter; the error says what would do.
    fn with(self, number: f64) -> Result<Self, &'static str> {
        let is_factor = number > 0.0 && number <= 100.0;
        match self {
            Self::Threshold(_) if number > 0.0 && number <= 1.0 => Ok(Self::Threshold(number)),
            Self::Threshold(_) => Err("a share above 0, at most 1, is needed"),
            _ if !is_factor => Err("a factor above 0, at most 100, is needed"),
            Self::InterQuartile(_) => Ok(Self::InterQuartile(number)),
            Self::Deviation(_) => Ok(Self::Deviation(number)),
            Self::Regression(_) => Ok(Self::Regression(number)),
            Self::RobustRegression(_) => Ok(Self::RobustRegression(number)),
        }
    }
}

/// Which vm leaves an overloaded host first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector {
    /// `mmt`: minimum migration time, that is least memory.
    MinimumTime,
    /// `mc`: maximum correlation, whose history the others' explain best.
    MaximumCorrelation,
    /// `mu`: minimum utilisation.
    MinimumUse,
    /// `rs`: any, by lot.
    Random,
}

impl Selector {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::MinimumTime, Self::MaximumCorrelation, Self::MinimumUse, Self::Random];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::MinimumTime => "mmt",
            Self::MaximumCorrelation => "mc",
            Self::MinimumUse => "mu",
            Self::Random => "rs",
        }
    }
}

/// In what a rule departs from the code of `CloudSim` 3.0.3.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // Four independent switches, each named in the grammar.
pub struct Variant {
    /// `+fix`: a host that is off counts as drawing nothing, so that waking it costs its idle power. The original takes
    /// its idle power as drawn already, which makes waking look free.
    pub idle: bool,
    /// `+excl`: hosts that take vms from overloaded ones are not emptied in the same round, which the original meant.
    pub exclude_targets: bool,
    /// `+wls`: the regression weighs recent values more, as its papers say. The original computes the weights and never
    /// applies them.
    pub weighted: bool,
    /// `+v30`: targets are compared by their recorded load, without what was assigned to them before in the same round:
    /// releases 3.0 and 3.0.1. `+v301` is this and `+wls`.
    pub recorded_load: bool,
}

impl Variant {
    fn switch(&mut self, word: &str) -> bool {
        match word {
            "fix" => self.idle = true,
            "excl" => self.exclude_targets = true,
            "wls" => self.weighted = true,
            "v30" => self.recorded_load = true,
            "v301" => (self.recorded_load, self.weighted) = (true, true),
            _ => return false,
        }
        true
    }

    fn words(self) -> impl Iterator<Item = &'static str> {
        let v301 = self.weighted && self.recorded_load;
        let words = [
            (self.idle, "fix"),
            (self.exclude_targets, "excl"),
            (self.weighted && !v301, "wls"),
            (self.recorded_load && !v301, "v30"),
            (v301, "v301"),
        ];
        words.into_iter().filter(|(on, _)| *on).map(|(_, word)| word)
    }
}

/// A rule for moving vms: overload detection, vm selection, and placement by the least more power.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Consolidation {
    /// When a host is overloaded.
    pub detector: Detector,
    /// Which vm leaves it.
    pub selector: Selector,
    /// Departures from the original.
    pub variant: Variant,
}

/// A rule of the textbook.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// `npa`: nobody moves anything, and in the benchmark every host draws its peak power for ever.
    Npa,
    /// `dvfs`: nobody moves anything.
    Dvfs,
    /// Everything else.
    Consolidate(Consolidation),
}

impl FromStr for Rule {
    type Err = UnknownRule;

    fn from_str(name: &str) -> Result<Self, UnknownRule> {
        let unknown = |what: String| UnknownRule { name: name.into(), what };
        match name {
            "npa" => return Ok(Self::Npa),
            "dvfs" => return Ok(Self::Dvfs),
            _ => {}
        }
        let mut parts = name.split('+');
        let (detector, selector) = stem(parts.next().unwrap_or_default()).map_err(unknown)?;
        let mut variant = Variant::default();
        for word in parts {
            if !variant.switch(word) {
                return Err(unknown(format!("+{word} is not known")));
            }
        }
        Ok(Self::Consolidate(Consolidation { detector, selector, variant }))
    }
}

/// Reads what stands before the first `+`.
fn stem(stem: &str) -> Result<(Detector, Selector), String> {
    let mut words = stem.splitn(3, '-');
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let detector = Detector::DEFAULTS.into_iter().find(|one| one.word() == first);
    let detector = detector.ok_or_else(|| format!("{first:?} is no rule of detection"))?;
    let selector = Selector::ALL.into_iter().find(|one| one.word() == second);
    let selector = selector.ok_or_else(|| format!("{second:?} is no rule of selection"))?;
    let Some(parameter) = words.next() else { return Ok((detector, selector)) };
    let number: f64 = parameter.parse().map_err(|_| format!("parameter {parameter:?} is no number"))?;
    let detector = detector.with(number).map_err(|needed| format!("parameter {parameter}: {needed}"))?;
    Ok((detector, selector))
}

impl fmt::Display for Rule {
    /// The name in full, which reads as the same rule.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Npa => f.write_str("npa"),
            Self::Dvfs => f.write_str("dvfs"),
            Self::Consolidate(Consolidation { detector, selector, variant }) => {
                write!(f, "{}-{}-{}", detector.word(), selector.word(), detector.parameter())?;
                variant.words().try_for_each(|word| write!(f, "+{word}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_as_the_rule_it_says_and_back() {
        for detector in Detector::DEFAULTS {
            for selector in Selector::ALL {
                for words in ["", "+fix", "+excl", "+wls", "+v30", "+v301", "+fix+excl+v301"] {
                    let name = format!("{}-{}-{}{words}", detector.word(), selector.word(), detector.parameter());
                    assert_eq!(name.parse::<Rule>().unwrap().to_string(), name);
                }
            }
        }
        assert_eq!("npa".parse::<Rule>().unwrap().to_string(), "npa");
        assert_eq!("dvfs".parse::<Rule>().unwrap(), Rule::Dvfs);
    }

    #[test]
    fn the_parameter_may_be_left_out() {
        assert_eq!("thr-rs+fix".parse::<Rule>().unwrap().to_string(), "thr-rs-0.8+fix");
        assert_eq!("lr-mmt+v30+wls".parse::<Rule>().unwrap().to_string(), "lr-mmt-1.2+v301");
    }

    #[test]
    fn another_name_is_refused_with_what_is_wrong_and_what_would_do() {
        let cases = [
            ("foo", "\"foo\" is no rule of detection"),
            ("", "\"\" is no rule of detection"),
            ("lr", "\"\" is no rule of selection"),
            ("lr-xx-1.2", "\"xx\" is no rule of selection"),
            ("lr-mmt-x", "parameter \"x\" is no number"),
            ("lr-mmt-0", "parameter 0: a factor above 0, at most 100, is needed"),
            ("lr-mmt-NaN", "parameter NaN: a factor above 0, at most 100, is needed"),
            ("thr-mmt-1.1", "parameter 1.1: a share above 0, at most 1, is needed"),
            ("lr-mmt-1.2+", "+ is not known"),
            ("lr-mmt-1.2+speed", "+speed is not known"),
        ];
        for (name, what) in cases {
            let error = name.parse::<Rule>().unwrap_err();
            assert_eq!(error.what, what);
            assert!(error.to_string().contains("(thr|iqr|mad|lr|lrr)-(mmt|mc|mu|rs)"), "{error}");
        }
    }
}
