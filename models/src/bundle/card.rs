//! What a bundle says of itself.

use serde::{Deserialize, Serialize};

use super::{BundleError, FORMAT, mismatch};
use crate::{
    features::{CONTEXT, INPUTS, SCHEMA},
    kernel::cell::CellKind,
    network::{OUTPUTS, Sizes},
};

/// Largest number of units that is believed.
const UNITS_MAX: usize = 4096;

/// What a bundle says of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Format of the file.
    pub format: u32,
    /// Name of the encoding of a vm's past.
    pub schema: String,
    /// `lstm` or `gru`.
    pub cell: String,
    /// Units of the cell.
    pub hidden: usize,
    /// Units of the head's hidden layer.
    pub width: usize,
    /// Values the cell gets.
    pub inputs: usize,
    /// Values the head gets besides.
    pub context: usize,
    /// Values it answers.
    pub outputs: usize,
    /// Version of the program that trained it.
    pub version: String,
    /// Seed it was trained with.
    pub seed: u64,
    /// Epochs it was trained for.
    pub epochs: u32,
    /// Every number of the run, as the trainer names them.
    pub recipe: serde_json::Value,
    /// What it was trained on.
    pub data: Vec<DataSet>,
    /// How good it was on what it was not trained on; empty where nothing was kept apart.
    pub scores: Vec<Score>,
}

/// Data it was trained on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DataSet {
    /// Kind of recording.
    pub kind: String,
    /// Names of the files.
    pub files: Vec<String>,
    /// blake3 of their bytes, one after another.
    pub hash: String,
    /// Histories trained on.
    pub histories: usize,
    /// Slots trained on.
    pub slots: usize,
    /// Origin and terms, as the operator stated them.
    pub licence: String,
}

/// How good it was for one resource and target of one set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Kind of recording.
    pub set: String,
    /// Resource.
    pub resource: String,
    /// Target: a step ahead or a maximum.
    pub target: String,
    /// Mean absolute error of the median: percent, or on the scale.
    pub mae: f64,
    /// Pinball loss at 0.9.
    pub pinball_90: f64,
    /// Share of what came that the .95 quantile covered, percent.
    pub coverage_95: f64,
}

impl Card {
    /// A card for a network of these sizes, as this program makes them; the rest is empty.
    pub fn of(sizes: Sizes) -> Self {
        let cell = match sizes.kind {
            CellKind::Lstm => "lstm",
            CellKind::Gru => "gru",
        };
        Self {
            format: FORMAT,
            schema: SCHEMA.to_owned(),
            cell: cell.to_owned(),
            hidden: sizes.hidden,
            width: sizes.width,
            inputs: INPUTS,
            context: CONTEXT,
            outputs: OUTPUTS,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Self::default()
        }
    }

    /// The sizes of its network.
    ///
    /// # Errors
    /// Where the cell is unknown or a size is out of bounds.
    pub fn sizes(&self) -> Result<Sizes, BundleError> {
        let kind = match self.cell.as_str() {
            "lstm" => CellKind::Lstm,
            "gru" => CellKind::Gru,
            other => return Err(mismatch("cell", other, "lstm or gru")),
        };
        for (field, units) in [("hidden", self.hidden), ("width", self.width)] {
            if !(1..=UNITS_MAX).contains(&units) {
                return Err(mismatch(field, units.to_string(), format!("1 to {UNITS_MAX}")));
            }
        }
        Ok(Sizes { kind, hidden: self.hidden, width: self.width })
    }
}
