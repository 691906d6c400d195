//! Single moments drawn from histories: what methods learn from that look at the past alone.

use ballast_core::history::History;
use ballast_models::{
    features::{Anchors, Encoded, encode},
    past::{Past, WINDOW},
    scale::{RESOURCES, Resource},
};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;

use crate::{
    baselines::Material,
    data::Futures,
    loss::{PERCENT_FROM, Truth},
};

/// Vms that are neighbours in their recording and so likely to be alike; fewer in a small recording.
const NEIGHBOURS: usize = 10;

/// One block of neighbours of so many is left out of fitting.
const CHECKED: usize = 4;

/// Share of the weight of CPU and memory that counts on the scale; in the network's loss it is 0.5.
const RELATIVE: f32 = 0.3;

/// One moment of one vm.
#[derive(Debug, Clone)]
pub struct Row {
    /// What was known.
    pub encoded: Encoded,
    /// The own window on the scale, the newest first; the median where a value is missing.
    pub window: [[f32; WINDOW]; RESOURCES],
    /// What came.
    pub truth: Truth,
    /// Whether it is kept for seeing how far off a method is, on vms that it was not fitted to.
    pub is_check: bool,
}

impl Row {
    /// What an error in units of the spread costs, as the network's loss counts it: in percent where there are percents.
    pub fn weight(&self, resource: Resource) -> f32 {
        let Anchors { base, spread, .. } = self.encoded.anchors[resource as usize];
        if resource.is_share() { spread * (base.min(PERCENT_FROM).cosh() + RELATIVE) } else { spread }
    }
}

/// The values of the own window, the newest first; `missing` where there is none.
pub fn window(past: &Past, resource: Resource, missing: f32) -> [f32; WINDOW] {
    let track = past.track(resource);
    std::array::from_fn(|ago| track.lag(ago).unwrap_or(missing))
}

/// About `wanted` rows, each slot of `material` with the same chance times its weight; those in which nothing was seen are not
/// drawn. The same rows for a seed, in the order of the histories, on any number of threads.
pub fn draw(material: Material<'_>, wanted: usize, seed: u64) -> Vec<Row> {
    let all: f32 = material.weighed().map(|(weight, history)| weight * history.slots.len() as f32).sum();
    let histories: Vec<(f32, &History)> = material.weighed().collect();
    let neighbours = NEIGHBOURS.min(histories.len() / (2 * CHECKED)).max(1);
    let of = |(index, (weight, history)): (usize, &(f32, &History))| {
        let random = Pcg64Mcg::seed_from_u64(seed ^ (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let chance = (wanted as f32 * weight / all.max(1.0)).min(1.0);
        of_history(history, chance, index / neighbours % CHECKED == CHECKED - 1, random)
    };
    histories.par_iter().enumerate().flat_map_iter(of).collect()
}

fn of_history(history: &History, chance: f32, is_check: bool, mut random: Pcg64Mcg) -> Vec<Row> {
    let futures = Futures::of(history);
    let mut past = Past::new(history.first);
    let mut rows = Vec::new();
    for (index, observed) in history.slots.iter().enumerate() {
        past.step(observed);
        if observed.is_missing() || random.random::<f32>() >= chance {
            continue;
        }
        let truth = futures.after(index);
        if truth.as_flattened().iter().all(|value| value.is_nan()) {
            continue;
        }
        let encoded = encode(&past, &history.shape);
        let window = Resource::ALL.map(|resource| window(&past, resource, encoded.anchors[resource as usize].base));
        rows.push(Row { encoded, window, truth, is_check });
    }
    rows
}

/// The rows in which it is known what came, and what that was.
pub fn known(rows: &[Row], resource: Resource, target: usize) -> impl Iterator<Item = (&Row, f32)> + Clone {
    let came = move |row: &Row| row.truth[resource as usize][target];
    rows.iter().map(move |row| (row, came(row))).filter(|(_, came)| !came.is_nan())
}
