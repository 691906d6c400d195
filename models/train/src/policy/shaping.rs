//! Potential-based reward shaping (Ng, Harada and Russell 1999, *Policy invariance under reward transformations*): what an answer is
//! paid is changed by how much nearer it brings the fleet to as few hosts as could carry it. The best answers stay the best, for a
//! potential of states adds the same to all answers in a state; a network need not wait for the energy bill to see which way is down.

use ballast_core::policy::ranked::Question;

/// Where a question says what of its fleet's CPU and memory is in use, and one over the number of its hosts.
const CPU: usize = 8;
const MEMORY: usize = 11;
const ONE_OVER_HOSTS: usize = 18;

/// The potential of the fleet that a question is about: minus the idle hosts that a fluid would leave asleep, each worth the energy
/// that it draws in `rounds`.
pub(super) fn potential(question: &Question, rounds: f32) -> f32 {
    let [cpu, memory, one] = [CPU, MEMORY, ONE_OVER_HOSTS].map(|index| question.shared[index]);
    if one <= 0.0 { 0.0 } else { -rounds * (1.0 - cpu.max(memory)).max(0.0) / one }
}

/// What is added to the pay between a question and the one that follows, whose worth counts `discount` times; where none follows its
/// potential is zero.
pub(super) fn bonus(asked: &Question, next: Option<&Question>, discount: f32, rounds: f32) -> f32 {
    next.map_or(0.0, |next| discount * potential(next, rounds)) - potential(asked, rounds)
}

#[cfg(test)]
mod tests {
    use ballast_core::policy::ranked::SHARED;
    use rand::{RngExt as _, SeedableRng as _};
    use rand_pcg::Pcg64;

    use super::*;

    /// Hosts of the small fleet, and those that its load needs.
    const HOSTS: usize = 8;
    const NEEDED: usize = 2;

    const DISCOUNT: f64 = 0.9;

    /// What a host that is awake draws in a step; what emptying one costs; what it costs where the rest cannot carry the load.
    const IDLE: f64 = 1.0;
    const MOVES: f64 = 4.0;
    const OVERLOAD: f64 = 40.0;

    /// A fleet of which so many hosts are awake, in which one is emptied (answer 1) or none (answer 0).
    fn step(awake: usize, answer: usize) -> (usize, f64) {
        match answer {
            0 => (awake, -IDLE * awake as f64),
            _ if awake > NEEDED => (awake - 1, -IDLE * (awake - 1) as f64 - MOVES),
            _ => (awake, -IDLE * awake as f64 - OVERLOAD),
        }
    }

    /// The potential of such a fleet: as [`potential`], of hosts that a fluid would leave asleep.
    fn phi(awake: usize, weight: f64) -> f64 {
        -weight * (awake - NEEDED) as f64
    }

    fn pay(awake: usize, answer: usize, weight: f64) -> (usize, f64) {
        let (next, reward) = step(awake, answer);
        (next, reward + DISCOUNT * phi(next, weight) - phi(awake, weight))
    }

    type Table = [[f64; 2]; HOSTS + 1];

    fn best(table: &Table) -> Vec<usize> {
        (NEEDED..=HOSTS).map(|awake| usize::from(table[awake][1] > table[awake][0])).collect()
    }

    fn most(values: [f64; 2]) -> f64 {
        values[0].max(values[1])
    }

    /// The worth of every answer, by value iteration.
    fn exact(weight: f64) -> Table {
        let mut table = [[0.0; 2]; HOSTS + 1];
        for _ in 0..500 {
            let before = table;
            let worth = |awake, answer| {
                let (next, reward) = pay(awake, answer, weight);
                reward + DISCOUNT * most(before[next])
            };
            (NEEDED..=HOSTS).for_each(|awake| table[awake] = [worth(awake, 0), worth(awake, 1)]);
        }
        table
    }

    /// Samples after which Q-learning has the best answers and keeps them to the end.
    fn samples(weight: f64, seed: u64) -> usize {
        let (wanted, mut rng) = (best(&exact(0.0)), Pcg64::seed_from_u64(seed));
        let (mut table, mut awake, mut since) = ([[0.0; 2]; HOSTS + 1], HOSTS, 0);
        for sample in 0..6000 {
            let by_chance = rng.random::<f64>() < 0.3;
            let answer =
                if by_chance { rng.random_range(0..2) } else { usize::from(table[awake][1] > table[awake][0]) };
            let (next, reward) = pay(awake, answer, weight);
            table[awake][answer] += 0.2 * (reward + DISCOUNT * most(table[next]) - table[awake][answer]);
            awake = if rng.random::<f64>() < 0.05 { rng.random_range(NEEDED..=HOSTS) } else { next };
            if best(&table) != wanted {
                since = sample + 1;
            }
        }
        since
    }

    #[test]
    fn shaping_leaves_the_best_answers_the_best() {
        let plain = best(&exact(0.0));
        assert!(plain.contains(&0) && plain.contains(&1), "{plain:?}");
        for weight in [0.5, 3.0, 9.0, 100.0] {
            assert_eq!(best(&exact(weight)), plain, "weight {weight}");
        }
    }

    #[test]
    fn with_shaping_the_best_answers_are_learnt_from_half_the_samples() {
        let mean = |weight: f64| (0..40).map(|seed| samples(weight, seed)).sum::<usize>() / 40;
        let (plain, shaped) = (mean(0.0), mean(1.0 / (1.0 - DISCOUNT)));
        assert!(2 * shaped < plain, "{shaped} samples against {plain}");
    }

    #[test]
    fn a_fleet_with_less_to_spare_has_the_higher_potential() {
        let question = |cpu: f32, memory: f32, hosts: f32| {
            let mut shared = [0.0; SHARED];
            (shared[CPU], shared[MEMORY], shared[ONE_OVER_HOSTS]) = (cpu, memory, 1.0 / hosts);
            Question { shared, plans: Vec::new(), greedy: None }
        };
        let (before, after) = (question(0.4, 0.2, 10.0), question(0.5, 0.25, 8.0));
        assert!((potential(&before, 2.0) + 12.0).abs() < 1e-4 && (potential(&after, 2.0) + 8.0).abs() < 1e-4);
        assert!((bonus(&before, Some(&after), 0.5, 2.0) - 8.0).abs() < 1e-4);
        assert!((bonus(&before, None, 0.0, 2.0) - 12.0).abs() < 1e-4);
        assert!((potential(&question(0.1, 0.9, 10.0), 1.0) + 1.0).abs() < 1e-4, "memory is what binds");
    }
}
