//! Whether a model's forecast can be one at all: finite, in order, and within what the vm could do.

use crate::{
    forecast::{Quantiles, VmForecast},
    oversight::resource::Resource,
    snapshot::VmView,
};

/// What a forecast may exceed a vm's capacity by: the hypervisor works for it on other cores, and memory can be added.
const OVER_CAPACITY: f64 = 2.0;

/// Bytes per second beyond which no vm reads, writes, sends or receives.
const RATE_MAX: f64 = 1e12;

/// What is wrong with a forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsound {
    /// A value is no number, or below zero.
    NoNumber(Resource),
    /// A higher quantile is below a lower one.
    Crossing(Resource),
    /// A value is beyond what the vm could do.
    Absurd,
}

/// What a vm could use at most, by resource.
pub(super) fn ceiling(resource: Resource, vm: &VmView) -> f64 {
    match resource {
        Resource::Cpu => f64::from(vm.record.vcpus),
        Resource::Memory => vm.record.memory_max.as_f64(),
        Resource::Storage | Resource::Network => 0.0,
    }
}

/// Looks at one forecast. A vm whose capacity is not known has no bound.
pub(super) fn check(forecast: &VmForecast, vm: &VmView) -> Result<(), Unsound> {
    for resource in Resource::ALL {
        let said = resource.of(forecast);
        let bound = match resource {
            Resource::Cpu | Resource::Memory => ceiling(resource, vm) * OVER_CAPACITY,
            Resource::Storage | Resource::Network => RATE_MAX,
        };
        let bound = if bound > 0.0 { bound } else { f64::INFINITY };
        for quantiles in said.steps.iter().chain([&said.max_30_min, &said.max_60_min]) {
            check_quantiles(quantiles, resource, bound)?;
        }
    }
    Ok(())
}

fn check_quantiles(Quantiles(values): &Quantiles, resource: Resource, bound: f64) -> Result<(), Unsound> {
    if values.iter().any(|value| !value.is_finite() || *value < 0.0) {
        return Err(Unsound::NoNumber(resource));
    }
    if values.windows(2).any(|pair| pair[0] > pair[1]) {
        return Err(Unsound::Crossing(resource));
    }
    if values.iter().any(|value| *value > bound) { Err(Unsound::Absurd) } else { Ok(()) }
}
