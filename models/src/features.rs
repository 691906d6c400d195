//! The one encoder of a vm's past, for training, judging and serving.
//!
//! Per step the recurrent cell gets the raw levels and the same relative to the vm's own level and spread; the head gets
//! besides a summary of the vm's own windows, its habits, the time and its size. The head answers relative to the same
//! [`Anchors`], so that a forecaster that has learnt nothing says "as lately".

use ballast_core::{
    forecast::STEPS,
    history::{CHANNELS, SLOTS_PER_DAY, Shape},
};

use crate::{
    network::{MAXIMA, TARGETS},
    past::{Past, Track, Window},
    scale::{RESOURCES, Resource},
};

/// Values that the recurrent cell gets per step.
pub const INPUTS: usize = CHANNELS + 3 * RESOURCES + 4 + 2;

/// Values of its own that a resource's head gets besides the cell's state: what other resources did only misleads it about
/// vms it has never seen (`docs/forecaster.md`), and what helps comes by way of the cell.
pub const OWN: usize = SUMMARY + HABITS;

/// Values that every head gets: the time, and the vm itself.
pub const COMMON: usize = 12;

/// Values that a head gets besides the cell's state.
pub const CONTEXT: usize = OWN + COMMON;

const SUMMARY: usize = 27 + 2 * DAY_LEVELS.len();

/// Levels of the day's quantiles that the head gets.
const DAY_LEVELS: [f32; 6] = [0.1, 0.25, 0.5, 0.75, 0.9, 0.97];

const HABITS: usize = 14;

/// What a level on the scale is multiplied with.
pub const LEVEL_UNIT: f32 = 0.25;

/// Place of the level among a resource's own values.
pub const BASE: usize = 0;

/// Which resource each of the cell's first inputs is a level of.
pub const CHANNEL_RESOURCES: [Resource; CHANNELS] =
    [Resource::Cpu, Resource::Memory, Resource::Storage, Resource::Storage, Resource::Network, Resource::Network];

/// Name of this encoding: a bundle made for another one is refused.
pub const SCHEMA: &str = "ballast-features-1";

/// Smallest spread on the scale: one of 5 % of the level.
const SPREAD_MIN: f32 = 0.05;

/// What a forecast of one resource is put together from, all on the scale: the network weighs these, and adds what is left
/// in units of the spread. So it can say exactly "as last seen", "as on average", "as at this time yesterday".
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Anchors {
    /// Median of the own window.
    pub base: f32,
    /// Spread of the own window with a share of that of the last days; above zero.
    pub spread: f32,
    /// What the median of each target may be.
    pub medians: [[f32; MEDIANS]; TARGETS],
    /// How high the vm has been: what the upper quantiles may reach to.
    pub highs: [f32; HIGHS],
}

/// Candidates for the median of a target.
pub const MEDIANS: usize = 6;

/// Candidates for the height of a target.
pub const HIGHS: usize = 4;

impl Anchors {
    /// Of one resource of a vm, whose own window is `window`.
    fn of(past: &Past, resource: Resource, window: &Window) -> Self {
        let track = past.track(resource);
        let base = window.quantile(0.5);
        let spread = SPREAD_MIN + 0.5 * (window.moments().1 + track.spreads()[2]);
        let top = window.quantile(1.0);
        let ahead = |step: usize| past.slot().wrapping_add(u32::try_from(step).unwrap_or(0));
        let profile = past.profile(resource);
        let yesterday = |reach: usize| track.span(DAY - 1, DAY - reach).map(|(_, highest)| highest);
        let [_, maxima] = track.day_quantiles([0.5, 0.95], window);
        let hour_peak = profile.map_or(track.peaks()[0], |profile| profile.peak(past.slot()));
        let mut medians = [[base; MEDIANS]; TARGETS];
        for (candidates, step) in medians.iter_mut().zip(STEPS) {
            let [_, fast, slow, _] = track.means();
            let habit = profile.map_or(slow, |profile| (slow + profile.minute(ahead(step))).max(0.0));
            let seen = track.lag(DAY - step).unwrap_or(slow);
            *candidates = [track.last_two().0, base, fast, slow, habit, seen];
        }
        for (candidates, reach) in medians[STEPS.len()..].iter_mut().zip(MAXIMA) {
            let recent = track.span(reach - 1, 0).map_or(base, |(_, highest)| highest);
            let seen = yesterday(reach).unwrap_or(recent);
            *candidates = [recent, window.quantile(0.9), top, maxima[0], hour_peak, seen];
        }
        let highs = [top, track.peaks()[1], hour_peak, yesterday(MAXIMA[1]).unwrap_or(maxima[1])];
        Self { base, spread, medians, highs }
    }

    /// The same vm at another level: everything but the spread is moved by `shift` on the scale.
    pub fn moved(&self, shift: f32) -> Self {
        let moved = |value: f32| (value + shift).max(0.0);
        let medians = self.medians.map(|candidates| candidates.map(moved));
        Self { base: moved(self.base), spread: self.spread, medians, highs: self.highs.map(moved) }
    }

    /// Where a value stands relative to the window: linear near its median, logarithmic far away.
    fn relative(&self, value: f32) -> f32 {
        ((value - self.base) / self.spread).asinh()
    }
}

/// Slots of a day, as the ring counts them.
const DAY: usize = SLOTS_PER_DAY as usize;

/// A vm's past as the forecaster sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Encoded {
    /// For the recurrent cell.
    pub inputs: [f32; INPUTS],
    /// For the head of each resource.
    pub own: [[f32; OWN]; RESOURCES],
    /// For every head.
    pub common: [f32; COMMON],
    /// What the answers are relative to.
    pub anchors: [Anchors; RESOURCES],
}

impl Encoded {
    /// What the head of a resource gets besides the cell's state.
    pub fn context(&self, resource: Resource) -> [f32; CONTEXT] {
        context(&self.own[resource as usize], &self.common)
    }
}

/// What a head gets besides the cell's state: the resource's own values, then those of every head.
pub fn context(own: &[f32; OWN], common: &[f32; COMMON]) -> [f32; CONTEXT] {
    let mut context = [0.0; CONTEXT];
    context[..OWN].copy_from_slice(own);
    context[OWN..].copy_from_slice(common);
    context
}

/// Encodes a past. Values are of the order of one; none is NaN.
pub fn encode(past: &Past, shape: &Shape) -> Encoded {
    let windows = Resource::ALL.map(|resource| past.track(resource).window());
    let anchors = Resource::ALL.map(|resource| Anchors::of(past, resource, &windows[resource as usize]));
    let mut inputs = Writer::<INPUTS>::new();
    cell_inputs(past, &anchors, &mut inputs);
    let own = Resource::ALL.map(|resource| {
        let (window, anchors) = (&windows[resource as usize], &anchors[resource as usize]);
        let mut own = Writer::<OWN>::new();
        summary(past.track(resource), window, anchors, &mut own);
        habits(past, resource, anchors, &mut own);
        own.finish()
    });
    let mut common = Writer::<COMMON>::new();
    of_the_vm(past, shape, &mut common);
    Encoded { inputs: inputs.finish(), own, common: common.finish(), anchors }
}

fn cell_inputs(past: &Past, anchors: &[Anchors; RESOURCES], out: &mut Writer<INPUTS>) {
    out.all(past.channels().map(|value| value * LEVEL_UNIT));
    for resource in Resource::ALL {
        let (track, anchor) = (past.track(resource), &anchors[resource as usize]);
        let (last, before) = track.last_two();
        out.push(anchor.relative(last));
        out.push(((last - before) / anchor.spread).asinh());
        out.push(anchor.spread.ln() / 2.0);
    }
    out.all(clock(past.slot()));
    out.push(if past.gap() == 0 { 0.0 } else { 1.0 });
    out.push(fading(past.age()));
}

/// The own windows: all relative to the anchor but for the anchor itself.
fn summary(track: &Track, window: &Window, anchor: &Anchors, out: &mut Writer<OWN>) {
    out.push(anchor.base * LEVEL_UNIT);
    out.push(anchor.spread.ln() / 2.0);
    for ago in [0, 1, 2, 5, 10, 11, 23, 35] {
        out.push(anchor.relative(track.lag(ago).unwrap_or(anchor.base)));
    }
    out.all(track.means().map(|mean| anchor.relative(mean)));
    out.all(track.peaks().map(|peak| anchor.relative(peak)));
    out.all(track.quantiles().map(|quantile| anchor.relative(quantile)));
    out.all(track.spreads().map(|spread| (spread / anchor.spread).asinh()));
    out.push((track.change() / anchor.spread).asinh());
    out.push(anchor.relative(window.quantile(0.1)));
    out.push(anchor.relative(window.quantile(0.9)));
    out.push(anchor.relative(window.quantile(1.0)));
    out.push(fading(u32::from(track.since_jump())));
    for quantiles in track.day_quantiles(DAY_LEVELS, window) {
        out.all(quantiles.map(|quantile| anchor.relative(quantile)));
    }
}

/// What the vm does at this time of the hour and of the day, where that is known.
fn habits(past: &Past, resource: Resource, anchor: &Anchors, out: &mut Writer<OWN>) {
    let Some(profile) = past.profile(resource) else { return out.all([0.0; HABITS]) };
    let track = past.track(resource);
    let ahead = STEPS.map(|step| past.slot().wrapping_add(u32::try_from(step).unwrap_or(0)));
    out.all(ahead.map(|slot| (profile.minute(slot) / anchor.spread).asinh()));
    out.push((profile.minute_max() / anchor.spread).asinh());
    // What lies ahead was a day ago as far back as the day is long, less the way ahead.
    for step in STEPS {
        out.push(anchor.relative(track.lag(DAY - step).unwrap_or(anchor.base)));
    }
    let (mean, largest) = track.span(DAY - 1, DAY - 12).unwrap_or((anchor.base, anchor.base));
    out.all([mean, largest].map(|value| anchor.relative(value)));
    out.push(anchor.relative(profile.hour(ahead[1])));
    for slot in [past.slot(), ahead[1], ahead[2]] {
        out.push(anchor.relative(profile.peak(slot)));
    }
    out.push(if track.lag(DAY - 1).is_some() { 1.0 } else { 0.0 });
}

fn of_the_vm(past: &Past, shape: &Shape, out: &mut Writer<COMMON>) {
    out.all(clock(past.slot()));
    let week_end = (past.slot() / SLOTS_PER_DAY) % 7 >= 5;
    out.push(if week_end { 1.0 } else { 0.0 });
    let size = |known: Option<f32>, usual: f32| known.map_or(0.0, |value| (value / usual).max(1e-3).ln() / 4.0);
    out.push(size(shape.vcpus, 2.0));
    out.push(size(shape.memory_mib, 4096.0));
    out.push(fading(past.age()));
    out.push(fading(past.age() / 12));
    out.push(fading(past.gap()));
    let known = |resource| if past.track(resource).values() > 0 { 1.0 } else { 0.0 };
    out.push(known(Resource::Memory));
    out.push(known(Resource::Network));
}

/// Minute of the hour and hour of the day, each as a point on a circle.
fn clock(slot: u32) -> [f32; 4] {
    let turn = |slots: u32| (slot % slots) as f32 / slots as f32 * std::f32::consts::TAU;
    let (hour, day) = (turn(12), turn(SLOTS_PER_DAY));
    [hour.sin(), hour.cos(), day.sin(), day.cos()]
}

/// A count of slots, from 0 for none towards 1 for many: one half at six.
fn fading(slots: u32) -> f32 {
    let slots = slots as f32;
    slots / (slots + 6.0)
}

/// Fills an array from its beginning.
struct Writer<const N: usize> {
    values: [f32; N],
    next: usize,
}

impl<const N: usize> Writer<N> {
    fn new() -> Self {
        Self { values: [0.0; N], next: 0 }
    }

    fn push(&mut self, value: f32) {
        debug_assert!(!value.is_nan(), "value {} of {N} is NaN", self.next);
        self.values[self.next] = value;
        self.next += 1;
    }

    fn all<const M: usize>(&mut self, values: [f32; M]) {
        values.into_iter().for_each(|value| self.push(value));
    }

    fn finish(self) -> [f32; N] {
        debug_assert_eq!(self.next, N, "values written");
        self.values
    }
}

#[cfg(test)]
mod tests {
    use ballast_core::history::{CHANNELS, Observed};
    use proptest::prelude::*;

    use super::*;

    fn after(slots: &[[f32; CHANNELS]]) -> Past {
        let mut past = Past::new(100);
        for values in slots {
            past.step(&Observed::from_channels(*values));
        }
        past
    }

    #[test]
    fn a_vm_that_does_always_the_same_is_at_its_anchors() {
        let encoded = encode(&after(&[[0.5, 0.5, 1e4, 1e4, 1e4, 1e4]; 40]), &Shape::default());
        let anchors = encoded.anchors[Resource::Cpu as usize];
        assert!((Resource::Cpu.raw(anchors.base) - 0.5).abs() < 1e-3);
        // The day's distribution is known to a tenth of the scale.
        let candidates = anchors.medians.as_flattened().iter().chain(&anchors.highs);
        assert!(candidates.copied().all(|candidate| (candidate - anchors.base).abs() < 0.1), "{anchors:?}");
    }

    #[test]
    fn a_burst_of_yesterday_is_a_candidate_for_the_hour_to_come() {
        let mut slots = vec![[0.01, f32::NAN, f32::NAN, f32::NAN, f32::NAN, f32::NAN]; 288 + 40];
        slots[46][0] = 0.9;
        let anchors = encode(&after(&slots), &Shape::default()).anchors[0];
        let burst = Resource::Cpu.scaled(0.9);
        assert!((anchors.medians[4][5] - burst).abs() < 1e-2, "the maximum of the hour yesterday: {anchors:?}");
        assert!((anchors.highs[3] - burst).abs() < 1e-2);
    }

    proptest! {
        #[test]
        fn every_past_is_encoded_in_finite_numbers(
            slots in prop::collection::vec(
                prop::array::uniform6(prop_oneof![Just(f32::NAN), Just(0.0f32), 0.0..2.0f32, 0.0..1e12f32]), 0..60,
            ),
            vcpus in prop::option::of(0.0..1000.0f32),
        ) {
            let encoded = encode(&after(&slots), &Shape { vcpus, memory_mib: vcpus });
            let numbers = encoded.inputs.iter().chain(encoded.own.as_flattened()).chain(&encoded.common);
            prop_assert!(numbers.clone().all(|value| value.is_finite() && value.abs() < 50.0), "{encoded:?}");
            for anchors in encoded.anchors {
                prop_assert!(anchors.spread > 0.0 && anchors.base.is_finite());
                prop_assert!(anchors.medians.as_flattened().iter().chain(&anchors.highs).all(|value| value.is_finite()));
            }
        }
    }
}
