//! A forecaster that knows: what any policy could do if nothing surprised it.
//!
//! For the scoreboard and for tests. It reads the scenario that is being played, at the seed it is played with, and says what
//! will be as if it were certain; how far it looks is up to whoever uses the forecasts.

use std::{collections::BTreeMap, time::Duration};

use ballast_core::{
    forecast::{Forecaster, Quantiles, ResourceForecast, STEP, STEPS, VmForecast},
    id::VmId,
    sample::VmSample,
    units::{Timestamp, count, seconds},
};

use crate::{demand::Demand, scenario::Scenario};

/// Time between two looks ahead for the maxima.
const LOOK: Duration = Duration::from_secs(60);

/// Knows what every vm of one run will want.
#[derive(Debug, Clone)]
pub struct Oracle {
    scenario: Scenario,
    seed: u64,
    index: BTreeMap<VmId, usize>,
}

impl Oracle {
    /// One that knows the run of `scenario` with `seed`.
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        let index = scenario.vms().iter().enumerate().map(|(index, spec)| (spec.vm, index)).collect();
        Self { scenario: scenario.clone(), seed, index }
    }

    /// What the vm wants `ahead` of `now`; nothing before it arrives and after it is gone.
    fn demand(&self, vm: usize, now: Timestamp, ahead: Duration) -> Demand {
        let at = now.after(ahead).since(self.scenario.start());
        let spec = &self.scenario.vms()[vm];
        let is_there = spec.arrives <= at && spec.departs.is_none_or(|departs| at < departs);
        if is_there { self.scenario.demand(vm, at.as_secs_f64(), self.seed) } else { Demand::default() }
    }

    /// The greatest of each resource over the time `ahead` of `now`.
    fn highest(&self, vm: usize, now: Timestamp, ahead: Duration) -> Demand {
        let looks = (0u32..).map(|look| LOOK * look).take_while(|look| *look <= ahead);
        looks.map(|look| self.demand(vm, now, look)).fold(Demand::default(), greater)
    }
}

impl Forecaster for Oracle {
    fn name(&self) -> &'static str {
        "oracle"
    }

    /// It has nothing to learn.
    fn observe(&mut self, _sample: &VmSample) {}

    fn forget(&mut self, _vm: VmId) {}

    fn forecast(&self, vm: VmId, now: Timestamp) -> Option<VmForecast> {
        let vm = *self.index.get(&vm)?;
        let steps = STEPS.map(|step| self.demand(vm, now, seconds(STEP.as_secs_f64() * count(step))));
        let half_hour = self.highest(vm, now, Duration::from_secs(30 * 60));
        let hour = self.highest(vm, now, Duration::from_secs(60 * 60));
        let of = |value: fn(&Demand) -> f64| ResourceForecast {
            steps: steps.map(|demand| Quantiles::certain(value(&demand))),
            max_30_min: Quantiles::certain(value(&half_hour)),
            max_60_min: Quantiles::certain(value(&hour)),
            sums: None,
        };
        Some(VmForecast {
            cpu: of(|demand| demand.cpu),
            memory: of(|demand| demand.memory),
            storage: of(|demand| demand.disk_read + demand.disk_write),
            network: of(|demand| demand.net_rx + demand.net_tx),
        })
    }
}

fn greater(a: Demand, b: Demand) -> Demand {
    Demand {
        cpu: a.cpu.max(b.cpu),
        memory: a.memory.max(b.memory),
        disk_read: a.disk_read.max(b.disk_read),
        disk_write: a.disk_write.max(b.disk_write),
        net_rx: a.net_rx.max(b.net_rx),
        net_tx: a.net_tx.max(b.net_tx),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::FleetSize;

    #[test]
    fn the_oracle_says_what_will_be() {
        let scenario = Scenario::fleet(FleetSize::default(), 3).unwrap();
        let oracle = Oracle::new(&scenario, 3);
        let now = scenario.start().after(Duration::from_secs(600));
        let forecast = oracle.forecast(scenario.vms()[5].vm, now).unwrap();
        let truth = scenario.demand(5, 900.0, 3);
        assert_eq!(forecast.cpu.steps[0], Quantiles::certain(truth.cpu));
        assert_eq!(
            forecast.cpu.ahead().moments(0),
            ballast_core::forecast::Moments { mean: truth.cpu, deviation: 0.0 }
        );
        assert!(forecast.cpu.max_60_min.median() >= forecast.cpu.max_30_min.median());
        assert!(forecast.cpu.max_30_min.median() >= truth.cpu);
        assert_eq!(oracle.forecast(VmId::default(), now), None);
    }
}
