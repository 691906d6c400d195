//! The order in which training walks through its series: many lanes abreast, each through one piece of a series after another.
//!
//! A chunk is the same number of slots of every lane. The cell's state is carried from a lane's chunk to its next and begins
//! anew with every piece, as it does for a vm that begins; gradients reach back to the beginning of the chunk (truncated
//! back-propagation through time).

use ballast_models::scale::RESOURCES;
use rand::{RngExt as _, SeedableRng as _, seq::SliceRandom as _};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use crate::data::Set;

/// How series are walked through.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Walk {
    /// Series abreast.
    pub lanes: usize,
    /// Slots of a chunk.
    pub steps: usize,
    /// Chunks of a piece, at most.
    pub chunks: usize,
    /// One slot of so many is learnt from; which one of them changes from chunk to chunk.
    pub stride: usize,
    /// Share of the head's values that a chunk does without.
    pub forgets: f32,
    /// How far a piece may be moved on the scale, up or down: vms of other sizes and speeds that do the same.
    pub shift: f32,
}

/// A stretch of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Piece {
    series: usize,
    first: usize,
    end: usize,
    shift: [f32; RESOURCES],
}

/// What one lane does in one chunk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Index of the series.
    pub series: usize,
    /// Index of its slot at the chunk's first step.
    pub first: usize,
    /// Whether the cell's state begins anew here.
    pub begins: bool,
    /// How far each resource is moved on the scale.
    pub shift: [f32; RESOURCES],
}

/// One chunk of all lanes.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// One per lane; `None` for a lane that has run out.
    pub places: Vec<Option<Place>>,
    /// The first step learnt from.
    pub phase: usize,
}

/// The chunks of one epoch, in the order that `seed` gives.
pub fn epoch(set: &Set, walk: &Walk, seed: u64) -> Vec<Chunk> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut pieces = pieces(set, walk, &mut random);
    pieces.shuffle(&mut random);
    let mut queue = pieces.into_iter();
    let mut lanes: Vec<Option<Piece>> = vec![None; walk.lanes];
    let mut chunks = Vec::new();
    loop {
        let places: Vec<Option<Place>> = lanes.iter_mut().map(|lane| next(lane, &mut queue, walk.steps)).collect();
        // The last pieces would be walked through by ever fewer lanes: an epoch ends when half of them have run out.
        if places.iter().flatten().count() * 2 < walk.lanes.min(2 * set.series.len()) {
            return chunks;
        }
        chunks.push(Chunk { places, phase: random.random_range(0..walk.stride) });
    }
}

fn next(lane: &mut Option<Piece>, queue: &mut impl Iterator<Item = Piece>, steps: usize) -> Option<Place> {
    let begins = lane.is_none_or(|piece| piece.first + steps > piece.end);
    if begins {
        *lane = queue.next();
    }
    let piece = lane.as_mut()?;
    let place = Place { series: piece.series, first: piece.first, begins, shift: piece.shift };
    piece.first += steps;
    Some(place)
}

/// Each series cut into pieces, from an offset that changes from epoch to epoch.
fn pieces(set: &Set, walk: &Walk, random: &mut Pcg64Mcg) -> Vec<Piece> {
    let length = walk.steps * walk.chunks;
    let mut pieces = Vec::new();
    for (index, series) in set.series.iter().enumerate().filter(|(_, series)| series.len() >= walk.steps) {
        let spare = series.len() % walk.steps;
        let mut first = random.random_range(0..=spare);
        while first + walk.steps <= series.len() {
            let end = (first + length).min(series.len());
            // Every other piece stays where it is.
            let moved = walk.shift > 0.0 && random.random::<bool>();
            let mut far = || if moved { random.random_range(-walk.shift..walk.shift) } else { 0.0 };
            pieces.push(Piece { series: index, first, end, shift: [far(), far(), far(), far()] });
            first += length;
        }
    }
    pieces
}
