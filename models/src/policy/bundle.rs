//! A trained policy in one checked file: a safetensors container as the forecaster's ([`crate::bundle`]), with a card of its own.

use std::collections::HashMap;

use ballast_core::policy::ranked::{FEATURES, LEVELS};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use super::{
    Seen,
    network::{Ensemble, Member, SHAPES, TENSOR_NAMES, TENSORS},
};
use crate::bundle::{BundleError, DataSet, checksum, mismatch};

/// Name of what questions say of a host, a fleet and a plan: changes with every change of that.
pub const SCHEMA: &str = "ballast-policy-1";

/// Most members that are believed.
const MEMBERS_MAX: usize = 16;

/// Largest file that is read.
const BYTES_MAX: usize = 16 << 20;

/// The one key of the container's metadata (several would be written in any order, and the same networks as other bytes): the
/// checksum, a space, the card.
const CARD: &str = "ballast";

/// What a policy's bundle says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// What its questions are: [`SCHEMA`].
    pub schema: String,
    /// Features of a question.
    pub features: usize,
    /// Levels of caution it was trained to choose between.
    pub levels: Vec<f64>,
    /// Members of the ensemble.
    pub members: usize,
    /// Version of the program that trained it.
    pub version: String,
    /// Seed it was trained with.
    pub seed: u64,
    /// Every number of the run, as the trainer names them.
    pub recipe: serde_json::Value,
    /// What it was trained on.
    pub data: Vec<DataSet>,
    /// Cost over the greedy policy's on what it was tuned on, with the 95 % interval; `None` where nothing was kept apart.
    pub tuned: Option<[f64; 3]>,
    /// The range of every feature in training.
    pub seen: Seen,
}

/// A trained policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// What it is.
    pub card: Card,
    /// Its networks.
    pub ensemble: Ensemble,
}

impl Bundle {
    /// The file's bytes.
    ///
    /// # Errors
    /// Where the container cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BundleError> {
        let broken = |error: &dyn std::fmt::Display| BundleError::Container(error.to_string());
        let data: Vec<Vec<u8>> = self.tensors().map(|tensor| bytes_of(tensor)).collect();
        let mut views = Vec::new();
        for (index, data) in data.iter().enumerate() {
            let view = TensorView::new(Dtype::F32, SHAPES[index % TENSORS].to_vec(), data);
            views.push((name(index), view.map_err(|error| broken(&error))?));
        }
        let card = serde_json::to_string(&self.card).map_err(|error| broken(&error))?;
        let checksum = checksum(&card, data.iter().map(Vec::as_slice));
        let metadata = HashMap::from([(CARD.to_owned(), format!("{checksum} {card}"))]);
        safetensors::serialize(views, Some(metadata)).map_err(|error| broken(&error))
    }

    fn tensors(&self) -> impl Iterator<Item = &Vec<f32>> {
        self.ensemble.members.iter().flat_map(|member| &member.tensors)
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// [`BundleError`] for anything that does not fit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        let broken = |error: &dyn std::fmt::Display| BundleError::Container(error.to_string());
        if bytes.len() > BYTES_MAX {
            return Err(mismatch("size", format!("{} bytes", bytes.len()), format!("at most {BYTES_MAX}")));
        }
        let container = SafeTensors::deserialize(bytes).map_err(|error| broken(&error))?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| broken(&error))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let entry = metadata.get(CARD).and_then(|entry| entry.split_once(' '));
        let (checked, text) = entry.ok_or_else(|| mismatch("card", "missing", "a card"))?;
        let card: Card =
            serde_json::from_str(text).map_err(|error| BundleError::Container(format!("card: {error}")))?;
        fits(&card)?;
        let mut data = Vec::new();
        for index in 0..card.members * TENSORS {
            data.push(container.tensor(&name(index)).map_err(|_| mismatch(name(index), "missing", "a tensor"))?);
        }
        let found = checksum(text, data.iter().map(TensorView::data));
        if checked != found {
            return Err(mismatch("checksum", checked, found));
        }
        let mut members = Vec::new();
        for of_member in data.chunks_exact(TENSORS) {
            members.push(member(of_member)?);
        }
        Ok(Self { card, ensemble: Ensemble { members } })
    }
}

fn name(index: usize) -> String {
    format!("{}.{}", index / TENSORS, TENSOR_NAMES[index % TENSORS])
}

fn bytes_of(tensor: &[f32]) -> Vec<u8> {
    tensor.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn member(views: &[TensorView<'_>]) -> Result<Member, BundleError> {
    let mut tensors: [Vec<f32>; TENSORS] = Default::default();
    for ((index, view), tensor) in views.iter().enumerate().zip(&mut tensors) {
        if view.dtype() != Dtype::F32 || view.shape() != SHAPES[index] {
            let found = format!("{:?} {:?}", view.dtype(), view.shape());
            return Err(mismatch(TENSOR_NAMES[index], found, format!("F32 {:?}", SHAPES[index])));
        }
        let (numbers, _) = view.data().as_chunks::<4>();
        *tensor = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    }
    let member = Member { tensors };
    if member.is_sound() { Ok(member) } else { Err(mismatch("weights", "not all numbers", "finite numbers")) }
}

fn fits(card: &Card) -> Result<(), BundleError> {
    let needed = |field: &'static str, found: String, needed: String| {
        if found == needed { Ok(()) } else { Err(mismatch(field, found, needed)) }
    };
    needed("schema", card.schema.clone(), SCHEMA.into())?;
    needed("features", card.features.to_string(), FEATURES.to_string())?;
    needed("levels", format!("{:?}", card.levels), format!("{LEVELS:?}"))?;
    needed("ranges", format!("{}, {}", card.seen.low.len(), card.seen.high.len()), format!("{FEATURES}, {FEATURES}"))?;
    if !(1..=MEMBERS_MAX).contains(&card.members) {
        return Err(mismatch("members", card.members.to_string(), format!("1 to {MEMBERS_MAX}")));
    }
    Ok(())
}
