//! What really came after each slot of a history.

use ballast_core::{forecast::STEPS, history::History};
use ballast_models::{
    network::{MAXIMA, TARGETS},
    past,
    scale::RESOURCES,
};

use crate::loss::Truth;

/// The values of a history on the scale, ready to be looked ahead in.
#[derive(Debug, Clone)]
pub struct Futures {
    values: Vec<[f32; RESOURCES]>,
}

impl Futures {
    /// Of one history.
    pub fn of(history: &History) -> Self {
        Self { values: history.slots.iter().map(past::scaled).collect() }
    }

    /// The slot at `index` itself; NaN where it is not known.
    pub fn at(&self, index: usize) -> [f32; RESOURCES] {
        self.values.get(index).copied().unwrap_or([f32::NAN; RESOURCES])
    }

    /// What came after the slot at `index`. A maximum is known where at least half of its slots are.
    pub fn after(&self, index: usize) -> Truth {
        let mut truth = [[f32::NAN; TARGETS]; RESOURCES];
        for (resource, targets) in truth.iter_mut().enumerate() {
            let value = |ahead: usize| self.values.get(index + ahead).map_or(f32::NAN, |slot| slot[resource]);
            for (target, step) in targets.iter_mut().zip(STEPS) {
                *target = value(step);
            }
            for (target, slots) in targets[STEPS.len()..].iter_mut().zip(MAXIMA) {
                let known = (1..=slots).map(value).filter(|value| !value.is_nan());
                let (number, largest) = known.fold((0, f32::MIN), |(n, max), value| (n + 1, max.max(value)));
                *target = if 2 * number >= slots { largest } else { f32::NAN };
            }
        }
        truth
    }
}

#[cfg(test)]
mod tests {
    use ballast_core::history::{Observed, Shape};
    use ballast_models::scale::Resource;

    use super::*;

    #[test]
    fn a_maximum_is_known_where_half_of_its_slots_are() {
        let cpu = |cpu| Observed { cpu, ..Observed::MISSING };
        let mut slots = vec![cpu(0.1); 4];
        slots[2] = cpu(0.5);
        let history = History { name: "a".into(), shape: Shape::default(), first: 0, slots };
        let truth = Futures::of(&history).after(0)[0];
        assert_eq!(truth[0], Resource::Cpu.scaled(0.1));
        assert_eq!(truth[3], Resource::Cpu.scaled(0.5), "3 of 6 slots");
        assert!(truth[1].is_nan() && truth[4].is_nan(), "{truth:?}");
    }
}
