//! A trained forecaster in one checked file: a safetensors container with the weights and, beside them, the card that says
//! what they are, what they were trained on, under which terms, and how good they were.
//!
//! What does not fit is refused with the reason: another format, another encoding of the past, a size that the tensors do not
//! have, a number that is none, a checksum that differs.

mod card;
pub(crate) mod container;
mod half;
#[cfg(test)]
mod tests;

pub use card::{Card, DataSet, Score};

use safetensors::{Dtype, tensor::TensorView};
use thiserror::Error;

use container::{Opened, Packed};

use crate::{
    features::{CONTEXT, INPUTS, SCHEMA},
    network::{OUTPUTS, TENSORS, Weights, tensor_name},
};

/// Format of the file.
pub const FORMAT: u32 = 1;

/// Largest file that is read: a hundred times the shipped one.
pub const BYTES_MAX: usize = 64 << 20;

/// How numbers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// As they were trained.
    Full,
    /// In 16 bits each: half the size (`docs/forecaster.md` has the measured loss).
    Half,
}

/// Why a bundle is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BundleError {
    /// It is no container, or a broken one.
    #[error("no bundle: {0}")]
    Container(String),
    /// Something of it does not fit this program.
    #[error("{field} is {found}, {needed} is needed")]
    Mismatch {
        /// Which part.
        field: String,
        /// What it is.
        found: String,
        /// What it should be.
        needed: String,
    },
}

/// A trained forecaster.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// What it is.
    pub card: Card,
    /// Its weights.
    pub weights: Weights,
}

impl Bundle {
    /// The file's bytes.
    ///
    /// # Errors
    /// Where the container cannot be written.
    pub fn to_bytes(&self, precision: Precision) -> Result<Vec<u8>, BundleError> {
        let dtype = if precision == Precision::Full { Dtype::F32 } else { Dtype::F16 };
        let tensors = self.weights.tensors().into_iter().zip(self.weights.shapes()).enumerate();
        let packed = tensors.map(|(index, (tensor, shape))| {
            let data = half::encode(tensor, precision);
            Packed { name: tensor_name(index), dtype, shape, data }
        });
        container::pack(&self.card, &packed.collect::<Vec<_>>())
    }

    /// A short name of just these weights: what a vm's kept state belongs to.
    pub fn version(&self) -> String {
        let tensors = self.weights.tensors().into_iter().map(|tensor| half::encode(tensor, Precision::Full));
        let mut hasher = blake3::Hasher::new();
        tensors.for_each(|tensor| {
            hasher.update(&tensor);
        });
        format!("{}-{}", self.card.cell, &hasher.finalize().to_hex()[..12])
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// [`BundleError`] for anything that does not fit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        let opened = Opened::new(bytes, BYTES_MAX)?;
        let card: Card = opened.card()?;
        fits(&card)?;
        let views = opened.tensors((0..TENSORS).map(tensor_name))?;
        Ok(Self { weights: weights(&card, &views)?, card })
    }
}

pub(crate) fn mismatch(field: impl Into<String>, found: impl Into<String>, needed: impl Into<String>) -> BundleError {
    BundleError::Mismatch { field: field.into(), found: found.into(), needed: needed.into() }
}

/// Whether a card is of what this program encodes and answers.
fn fits(card: &Card) -> Result<(), BundleError> {
    let number = |field: &str, found: usize, needed: usize| match found == needed {
        true => Ok(()),
        false => Err(mismatch(field, found.to_string(), needed.to_string())),
    };
    if card.format != FORMAT {
        return Err(mismatch("format", card.format.to_string(), FORMAT.to_string()));
    }
    if card.schema != SCHEMA {
        return Err(mismatch("schema", &card.schema, SCHEMA));
    }
    number("inputs", card.inputs, INPUTS)?;
    number("context", card.context, CONTEXT)?;
    number("outputs", card.outputs, OUTPUTS)
}

fn weights(card: &Card, views: &[TensorView<'_>]) -> Result<Weights, BundleError> {
    let sizes = card.sizes()?;
    let mut weights =
        Weights::zeros(sizes).map_err(|error| mismatch(error.field, error.value.to_string(), error.expected))?;
    let shapes = weights.shapes();
    let mut outcome = Ok(());
    weights.change(|index, tensor| {
        let view = &views[index];
        let read = if view.shape() == shapes[index] {
            half::decode(view, tensor).map_err(|found| mismatch(tensor_name(index), found, "finite numbers"))
        } else {
            Err(mismatch(tensor_name(index), format!("{:?}", view.shape()), format!("{:?}", shapes[index])))
        };
        if outcome.is_ok() {
            outcome = read;
        }
    });
    outcome.map(|()| weights)
}

/// The bundle that ballast ships and uses where no other is named; `docs/forecaster.md` tells how it was made.
///
/// # Errors
/// Where this program was built with another one than it encodes for.
pub fn shipped() -> Result<Bundle, BundleError> {
    Bundle::from_bytes(include_bytes!("../../bundles/forecaster.safetensors"))
}
