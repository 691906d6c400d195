//! What a move is worth once it is begun: how much what is left of its copy may cost before the move is given up.
//!
//! The objective's gain is what is gained with the copies paid. Of a move that is under way the past is paid whatever becomes of
//! it, so it may still cost the gain and what its own copy was reckoned with.
//!
//! **A gain that several moves share is not split.** A host that is emptied sleeps only when its last vm has left: whichever of
//! the moves fails, all of the gain is lost. So each may still cost the whole gain, the others paid as they were reckoned. A
//! split by data would give up an evacuation worth 100 kJ for one of ten vms that comes to cost 15 kJ, and lose the other
//! nine copies as well. The price is that two which become dear in the same minutes each count the other as reckoned; moves out
//! of one host go one by one unless the tuning says otherwise, and those that follow are reckoned in a round of their own.
//!
//! **What is not given up for its price.** What somebody wants done (operators, drains, labels, the way back of a vm that fares
//! worse), what ends a shortage, and relief of which the objective expects no gain: there the load itself was over its limit.
//! And no single move of a bundle or an exchange: its mates have moved or are about to, and they belong together.

use serde::{Deserialize, Serialize};

use crate::{
    decision::{Planned, Step},
    migration_cost::CopyPrices,
    objective::Objective,
    proposal::{Motive, Move},
    snapshot::Snapshot,
    units::Joules,
};

/// What is at stake with one move.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Stake {
    /// What its copy costs while it goes on.
    pub prices: CopyPrices,
    /// What the move is worth once it is done; `None` where it is made at any price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worth: Option<Joules>,
}

/// What is at stake with a step; `None` where it moves no vm that `snapshot` knows.
pub fn of(planned: &Planned, snapshot: &Snapshot, objective: &Objective<'_>) -> Option<Stake> {
    let Step::Migrate(Move { vm, from, to }) = &planned.step else { return None };
    let hosts = snapshot.hosts.get(from).zip(snapshot.hosts.get(to));
    let (vm, (from, to)) = snapshot.vms.get(vm).zip(hosts)?;
    let (prices, copy) = (objective.copy_prices(vm, from, to), objective.copy(vm, from, to));
    let own = prices.cost(copy.duration, copy.downtime);
    let worth = gain(planned).map(|gain| gain + own).filter(|worth| worth.is_sane());
    // A figure that is none would keep the order out of the journal.
    own.is_sane().then_some(Stake { prices, worth })
}

/// What the step's proposal gains, where it is made for that.
fn gain(planned: &Planned) -> Option<Joules> {
    if planned.part_of.is_some() {
        return None;
    }
    let gain = match &planned.motive {
        // What it makes room for counts as well.
        Motive::Room { gain, .. } => *gain,
        Motive::Replacement { .. } => return None,
        motive if motive.is_for_gain() => planned.expected.gain,
        _ => return None,
    };
    (gain > Joules::ZERO).then_some(gain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decide::decide,
        decision::Trigger,
        fixture::{Fleet, host_id},
        policy::RiskGreedy,
        proposal::{Action, Expectation},
    };

    /// The stakes of what is decided on `fleet`, with the steps.
    fn stakes(fleet: &Fleet) -> Vec<(Planned, Stake)> {
        let decision = decide(&fleet.input(Trigger::Round), &mut RiskGreedy);
        let objective = Objective::new(&fleet.snapshot, &fleet.tuning);
        let each = |step: Planned| of(&step, &fleet.snapshot, &objective).map(|stake| (step, stake));
        decision.chosen.steps.into_iter().filter_map(each).collect()
    }

    #[test]
    fn a_move_that_empties_a_host_may_cost_the_whole_gain_and_its_own_copy() {
        let mut fleet = Fleet::new(&[("a", &[0.5, 0.5]), ("b", &[4.0])]);
        fleet.tuning.moves_out_per_host = 2;
        fleet.tuning.moves_in_per_host = 2;
        let stakes = stakes(&fleet);
        assert_eq!(stakes.len(), 2, "{stakes:?}");
        for (step, stake) in stakes {
            let gain = step.expected.gain;
            let own = stake.worth.unwrap() - gain;
            assert!(gain.get() > 100_000.0 && own > Joules::ZERO && own < gain, "{stake:?} of {gain}");
        }
    }

    #[test]
    fn a_drained_host_is_emptied_at_any_price() {
        let mut fleet = Fleet::new(&[("a", &[0.5]), ("b", &[4.0])]);
        fleet.host("a").mode = crate::snapshot::HostMode::Draining;
        let stakes = stakes(&fleet);
        assert!(!stakes.is_empty());
        stakes.iter().for_each(|(step, stake)| assert_eq!(stake.worth, None, "{step:?}"));
    }

    #[test]
    fn relief_without_a_gain_and_a_part_of_a_bundle_are_made_at_any_price() {
        let fleet = Fleet::new(&[("a", &[4.0]), ("b", &[])]);
        let one = Move { vm: crate::fixture::vm_id(1), from: host_id("a"), to: host_id("b") };
        let planned = |gain, part_of| Planned {
            step: Step::Migrate(one.clone()),
            motive: Motive::Overload { host: host_id("a"), load: 0.9, limit: 0.85 },
            expected: Expectation { gain: Joules(gain), ..Expectation::default() },
            part_of,
        };
        let objective = Objective::new(&fleet.snapshot, &fleet.tuning);
        let worth = |planned: &Planned| of(planned, &fleet.snapshot, &objective).unwrap().worth;
        assert_eq!(worth(&planned(-50.0, None)), None);
        assert!(worth(&planned(50.0, None)).is_some_and(|worth| worth > Joules(50.0)));
        let bundle = Action::Together { moves: vec![one.clone()] };
        assert_eq!(worth(&planned(50.0, Some(bundle))), None);
    }
}
