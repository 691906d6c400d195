//! A trained policy in one checked file: a safetensors container as the forecaster's ([`crate::bundle`]), with a card of its own.

use ballast_core::policy::ranked::{FEATURES, LEVELS};
use safetensors::{Dtype, tensor::TensorView};
use serde::{Deserialize, Serialize};

use super::{
    Seen,
    network::{Ensemble, Member, SHAPES, TENSOR_NAMES, TENSORS},
};
use crate::bundle::{
    BundleError, DataSet,
    container::{self, Opened, Packed},
    mismatch,
};

/// Name of what questions say of a host, a fleet and a plan: changes with every change of that.
pub const SCHEMA: &str = "ballast-policy-1";

/// Most members that are believed.
const MEMBERS_MAX: usize = 16;

/// Largest file that is read.
const BYTES_MAX: usize = 16 << 20;

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
        let tensors = self.ensemble.members.iter().flat_map(|member| &member.tensors).enumerate();
        let packed = tensors.map(|(index, tensor)| {
            let data = tensor.iter().flat_map(|number| number.to_le_bytes()).collect();
            Packed { name: name(index), dtype: Dtype::F32, shape: SHAPES[index % TENSORS].to_vec(), data }
        });
        container::pack(&self.card, &packed.collect::<Vec<_>>())
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// [`BundleError`] for anything that does not fit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        let opened = Opened::new(bytes, BYTES_MAX)?;
        let card: Card = opened.card()?;
        fits(&card)?;
        let views = opened.tensors((0..card.members * TENSORS).map(name))?;
        let members = views.chunks_exact(TENSORS).map(member).collect::<Result<_, _>>()?;
        Ok(Self { card, ensemble: Ensemble { members } })
    }
}

fn name(index: usize) -> String {
    format!("{}.{}", index / TENSORS, TENSOR_NAMES[index % TENSORS])
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
