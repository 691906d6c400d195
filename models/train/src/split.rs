//! What is trained on, what training is stopped by, and what is judged: never the same vms, never the same time.

use std::{collections::BTreeSet, fs, path::Path, str::FromStr};

use anyhow::Context as _;
use ballast_core::{
    forecast::STEPS,
    history::{History, SLOTS_PER_DAY},
};

use crate::data::folder::Recorded;

/// Ids of neighbouring vms are often those of clones, for vms that were made together have ids side by side: so many of them
/// stay on one side of a split, and are drawn together for intervals.
pub(crate) const BLOCK: u32 = 10;

/// Slots between two moments that are judged: coprime with an hour and with a day, so that all times are judged alike.
const LONG_STRIDE: usize = 47;
const SHORT_STRIDE: usize = 7;

/// Slots that a recording of one day begins with before anything is judged.
const SHORT_FROM: u32 = 12;

/// How data are split.
#[derive(Debug, Clone, Default)]
pub struct Split {
    /// Names of vms, or of the days before a slash, that are not trained on.
    pub held: BTreeSet<String>,
    /// One part of so many, by blocks of neighbouring vms, that is not trained on.
    pub fold: Option<Fold>,
    /// The slot at which training ends and judging begins in recordings of more than a day.
    pub until: Option<u32>,
    /// Of recordings of more than a day only so many slots before the end of training are trained on.
    pub last: Option<usize>,
}

/// One part of several that the vms are dealt into, so that over all parts each vm is judged once by what did not see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fold {
    /// Which part, from 0.
    pub part: u32,
    /// Of how many, at least 2.
    pub of: u32,
}

impl FromStr for Fold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (part, of) = text.split_once('/').unwrap_or_default();
        match (part.parse::<u32>(), of.parse::<u32>()) {
            (Ok(part), Ok(of)) if of >= 2 && (1..=of).contains(&part) => Ok(Self { part: part - 1, of }),
            _ => Err(format!("{text:?} is no fold: as in 1/5, the first from 1 on, the second 2 or more")),
        }
    }
}

impl Fold {
    fn has(self, history: &History) -> bool {
        block(history) % self.of == self.part
    }
}

/// Histories that are judged, with the slots at which.
#[derive(Debug, Clone, Default)]
pub struct Judged {
    /// The histories, whole: what came before is known.
    pub histories: Vec<History>,
    /// Per history the slots, rising.
    pub origins: Vec<Vec<u32>>,
}

/// One kind of recording, split.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// Trained on, cut at the end of training.
    pub training: Vec<History>,
    /// Kept apart from both, to stop training by.
    pub validation: Judged,
    /// Kept apart from training, to be judged.
    pub judged: Judged,
}

impl Split {
    /// Reads the names held out: one per line, `#` begins a comment.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn read(path: Option<&Path>, until: Option<u32>) -> anyhow::Result<Self> {
        let text = match path {
            Some(path) => fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?,
            None => String::new(),
        };
        let name = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
        let held = text.lines().map(name).filter(|name| !name.is_empty()).collect();
        Ok(Self { held, until, ..Self::default() })
    }

    /// Splits a recording; one block of so many is for validation, none where `validation` is 0.
    pub fn parts(&self, recorded: Recorded, validation: u32) -> Parts {
        let mut parts = Parts::default();
        for history in recorded.histories {
            let is_named = self.held.contains(group(&history)) || self.held.contains(&history.name);
            let is_held = is_named || self.fold.is_some_and(|fold| fold.has(&history));
            let until = self.until.filter(|_| !history.is_short());
            if is_held {
                parts.judged.push(history, until);
                continue;
            }
            let last = self.last.filter(|_| !history.is_short());
            let cut = cut(&history, until, last);
            if cut.slots.is_empty() {
                continue;
            }
            if validation > 0 && block(&history).is_multiple_of(validation) {
                parts.validation.push(cut, None);
            } else {
                parts.training.push(cut);
            }
        }
        parts
    }
}

impl Judged {
    /// Adds a history to be judged from `from` on.
    pub fn push(&mut self, history: History, from: Option<u32>) {
        let (least, stride) =
            if history.is_short() { (SHORT_FROM, SHORT_STRIDE) } else { (SLOTS_PER_DAY, LONG_STRIDE) };
        let from = from.unwrap_or(history.first + least).max(history.first + SHORT_FROM);
        let last = history.first + u32::try_from(history.slots.len()).unwrap_or(u32::MAX);
        let known = |slot: &u32| {
            let steps = STEPS.map(|step| u32::try_from(step).unwrap_or(0));
            [0].into_iter().chain(steps).all(|ahead| !history.at(slot + ahead).is_missing())
        };
        let origins: Vec<u32> = (from..last.saturating_sub(SHORT_FROM)).step_by(stride).filter(known).collect();
        if !origins.is_empty() {
            self.origins.push(origins);
            self.histories.push(history);
        }
    }
}

/// What comes before the slash of a name: the day of a recording of days.
fn group(history: &History) -> &str {
    history.name.split('/').next().unwrap_or_default()
}

/// A number that is the same for neighbours: the block of a numbered vm, a hash of any other's name.
fn block(history: &History) -> u32 {
    match history.name.parse::<u32>() {
        Ok(id) => id.saturating_sub(1) / BLOCK,
        Err(_) => u32::from(blake3::hash(history.name.as_bytes()).as_bytes()[0]),
    }
}

/// What lies before slot `until`, and of that the `last` slots.
fn cut(history: &History, until: Option<u32>, last: Option<usize>) -> History {
    let keep = until.map_or(usize::MAX, |until| until.saturating_sub(history.first) as usize);
    let end = keep.min(history.slots.len());
    let begin = end.saturating_sub(last.unwrap_or(usize::MAX));
    let first = history.first + u32::try_from(begin).unwrap_or(u32::MAX);
    History { first, slots: history.slots[begin..end].to_vec(), ..history.clone() }
}

#[cfg(test)]
mod tests {
    use ballast_core::history::{Observed, Shape};

    use super::*;

    fn recorded() -> Recorded {
        let history = |id: u32| History {
            name: id.to_string(),
            shape: Shape::default(),
            first: 0,
            slots: vec![Observed { cpu: 0.5, ..Observed::MISSING }; 1000],
        };
        Recorded { kind: "long", files: Vec::new(), hash: String::new(), histories: (1..=60).map(history).collect() }
    }

    #[test]
    fn no_vm_is_on_two_sides_and_judging_begins_where_training_ends() {
        let held = (21..=30).map(|id: u32| id.to_string()).collect();
        let split = Split { held, until: Some(600), ..Split::default() };
        let parts = split.parts(recorded(), 3);
        let names = |histories: &[History]| histories.iter().map(|one| one.name.clone()).collect::<BTreeSet<String>>();
        let (training, validation) = (names(&parts.training), names(&parts.validation.histories));
        assert_eq!(names(&parts.judged.histories), split.held);
        assert!(training.is_disjoint(&validation) && training.is_disjoint(&split.held));
        assert_eq!(training.len() + validation.len(), 50);
        assert!(parts.training.iter().all(|history| history.slots.len() == 600));
        assert!(parts.judged.origins.iter().flatten().all(|slot| *slot >= 600 && *slot < 988));
    }

    #[test]
    fn of_a_new_fleet_only_the_last_hours_are_trained_on_and_those_judged_have_all_their_past() {
        let held = ["21".to_owned()].into();
        let split = Split { held, until: Some(600), last: Some(48), ..Split::default() };
        let parts = split.parts(recorded(), 0);
        assert!(parts.training.iter().all(|history| history.first == 552 && history.slots.len() == 48));
        assert!(parts.judged.histories.iter().all(|history| history.first == 0 && history.slots.len() == 1000));
    }

    #[test]
    fn over_all_folds_each_vm_is_judged_once() {
        let mut judged = Vec::new();
        for part in ["1/3", "2/3", "3/3"] {
            let split = Split { fold: Some(part.parse().unwrap()), until: Some(600), ..Split::default() };
            let parts = split.parts(recorded(), 0);
            assert_eq!(parts.training.len() + parts.judged.histories.len(), 60);
            judged.extend(parts.judged.histories.into_iter().map(|history| history.name));
        }
        judged.sort();
        let all: BTreeSet<String> = judged.iter().cloned().collect();
        assert_eq!((judged.len(), all.len()), (60, 60));
    }

    #[test]
    fn a_fold_is_one_of_several() {
        for wrong in ["", "3", "0/5", "6/5", "1/1", "a/b"] {
            let error = wrong.parse::<Fold>().unwrap_err();
            assert!(error.contains("as in 1/5"), "{error}");
        }
    }

    #[test]
    fn clones_stay_together() {
        let parts = Split::default().parts(recorded(), 3);
        let blocks = |histories: &[History]| histories.iter().map(block).collect::<BTreeSet<u32>>();
        assert!(blocks(&parts.training).is_disjoint(&blocks(&parts.validation.histories)));
    }
}
