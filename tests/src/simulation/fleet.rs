//! The fleet of a seed: some hosts, some vms whose load drifts, some that are shut down or started on the way.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use ballast_core::{id::VmId, units::Bytes};
use ballast_sim::{
    Scenario,
    scenario::{HostSpec, Terms, VmSpec},
    trace::{Series, Slot},
};

use super::dice::Dice;
use crate::{fleet::host, scheduler::START, scripted::vm_named};

/// When a vm is meant to run.
#[derive(Debug, Clone)]
pub(super) struct Stay {
    /// Which.
    pub(super) vm: VmId,
    /// Its name.
    pub(super) name: String,
    /// Until when, where it ends.
    pub(super) until: Option<Duration>,
}

/// What a run plays with.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) scenario: Scenario,
    pub(super) hosts: Vec<HostSpec>,
    pub(super) stays: Vec<Stay>,
}

/// The fleet that `dice` make for a run of `span`.
///
/// # Errors
/// Where it makes no sense, which no dice should bring about.
pub(super) fn of(dice: &Dice, span: Duration) -> Result<Fleet> {
    let hosts: Vec<HostSpec> =
        (1..=4 + dice.below(3)).map(|number| host(number, Bytes::from_gib(24))).collect::<Result<_>>()?;
    let count = 2 * hosts.len() + dice.below(4);
    let (mut specs, mut series, mut stays) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..count {
        let name = format!("vm-{index}");
        let memory = Bytes::from_mib(512 + 512 * dice.below(6) as u64);
        let mut spec = VmSpec::new(vm_named(&name), name.clone(), 4, memory, index, Some(dice.below(hosts.len())));
        spec.memory_floor = 0.5;
        if dice.chance(0.2) {
            spec.arrives = Duration::from_secs_f64(dice.between(0.1, 0.6) * span.as_secs_f64());
        }
        if dice.chance(0.25) {
            spec.departs = Some(spec.arrives + Duration::from_secs_f64(dice.between(0.1, 0.5) * span.as_secs_f64()));
        }
        stays.push(Stay { vm: spec.vm, name: name.clone(), until: spec.departs });
        specs.push(spec);
        series.push(Arc::new(Series::new(name, vec![slot(dice), slot(dice), slot(dice)])));
    }
    let terms = Terms { jitter: dice.between(0.0, 0.4), ..Terms::default() };
    let scenario =
        Scenario::new(START, Duration::from_secs(86_400), hosts.clone(), specs, series)?.with_terms(terms)?;
    Ok(Fleet { scenario, hosts, stays })
}

fn slot(dice: &Dice) -> Slot {
    // Mostly calm, now and then nearly all of its four vCPUs.
    let cpu = if dice.chance(0.25) { dice.between(0.6, 1.0) } else { dice.between(0.02, 0.35) };
    #[allow(clippy::cast_possible_truncation)] // A share needs no more digits.
    let cpu = cpu as f32;
    Slot { cpu, memory: 0.5, ..Slot::default() }
}
