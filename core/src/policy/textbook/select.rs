//! Which vm leaves an overloaded host first: numbers in, an index out.
//!
//! Called by the textbook policy and by the simulation's faithful benchmark. Ties go to whoever stands first.

use super::{correlation, rule::Selector};

/// One vm that could leave.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its memory, in any unit.
    pub memory: f64,
    /// The CPU it asks for, as a share of what it may have.
    pub utilisation: f64,
    /// Its past utilisation, oldest first.
    pub history: &'a [f64],
}

impl Selector {
    /// Index of the vm that leaves first; `None` where there is no candidate. `lot` decides where chance does.
    pub fn pick(self, candidates: &[Candidate<'_>], lot: u64) -> Option<usize> {
        match self {
            Self::MinimumTime => least(candidates.iter().map(|one| one.memory)),
            Self::MinimumUse => least(candidates.iter().map(|one| one.utilisation)),
            Self::Random => {
                let len = u64::try_from(candidates.len()).unwrap_or(u64::MAX);
                lot.checked_rem(len).and_then(|index| usize::try_from(index).ok())
            }
            Self::MaximumCorrelation => {
                let histories: Vec<&[f64]> = candidates.iter().map(|one| one.history).collect();
                correlation::most_explained(&histories).or_else(|| Self::MinimumTime.pick(candidates, lot))
            }
        }
    }
}

/// Index of the first of the least values.
fn least(values: impl Iterator<Item = f64>) -> Option<usize> {
    let mut best: Option<(f64, usize)> = None;
    for (index, value) in values.enumerate() {
        if best.is_none_or(|(least, _)| value < least) {
            best = Some((value, index));
        }
    }
    best.map(|(_, index)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(memory: f64, utilisation: f64) -> Candidate<'static> {
        Candidate { memory, utilisation, history: &[] }
    }

    #[test]
    fn each_rule_picks_what_it_says_and_the_first_of_equals() {
        let all = [candidate(3.0, 0.2), candidate(1.0, 0.9), candidate(1.0, 0.2), candidate(2.0, 0.1)];
        assert_eq!(Selector::MinimumTime.pick(&all, 0), Some(1));
        assert_eq!(Selector::MinimumUse.pick(&all, 0), Some(3));
        assert_eq!(Selector::Random.pick(&all, 6), Some(2));
        assert_eq!(Selector::MaximumCorrelation.pick(&all, 0), Some(1), "no history: the shortest migration");
    }

    #[test]
    fn nobody_is_picked_from_nobody() {
        assert!(Selector::ALL.iter().all(|selector| selector.pick(&[], 3).is_none()));
    }
}
