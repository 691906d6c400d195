//! A trained forecaster in one checked file: a safetensors container with the weights and, beside them, the card that says
//! what they are, what they were trained on, under which terms, and how good they were.
//!
//! What does not fit is refused with the reason: another format, another encoding of the past, a size that the tensors do not
//! have, a number that is none, a checksum that differs.

mod card;
mod half;
#[cfg(test)]
mod tests;

pub use card::{Card, DataSet, Score};

use std::collections::HashMap;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use thiserror::Error;

use crate::{
    features::{CONTEXT, INPUTS, SCHEMA},
    network::{OUTPUTS, TENSORS, Weights, tensor_name},
};

/// Format of the file.
pub const FORMAT: u32 = 1;

/// Largest file that is read: a hundred times the shipped one.
pub const BYTES_MAX: usize = 64 << 20;

/// Keys of the container's metadata.
const CARD: &str = "ballast";
const CHECKSUM: &str = "blake3";

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
        let broken = |error: &dyn std::fmt::Display| BundleError::Container(error.to_string());
        let data: Vec<Vec<u8>> =
            self.weights.tensors().into_iter().map(|tensor| half::encode(tensor, precision)).collect();
        let dtype = if precision == Precision::Full { Dtype::F32 } else { Dtype::F16 };
        let mut views = Vec::new();
        for (index, (shape, data)) in self.weights.shapes().into_iter().zip(&data).enumerate() {
            views.push((tensor_name(index), TensorView::new(dtype, shape, data).map_err(|error| broken(&error))?));
        }
        let card = serde_json::to_string(&self.card).map_err(|error| broken(&error))?;
        let checksum = checksum(&card, data.iter().map(Vec::as_slice));
        let metadata = HashMap::from([(CARD.to_owned(), card), (CHECKSUM.to_owned(), checksum)]);
        safetensors::serialize(views, Some(metadata)).map_err(|error| broken(&error))
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
        let broken = |error: &dyn std::fmt::Display| BundleError::Container(error.to_string());
        if bytes.len() > BYTES_MAX {
            return Err(mismatch("size", format!("{} bytes", bytes.len()), format!("at most {BYTES_MAX}")));
        }
        let container = SafeTensors::deserialize(bytes).map_err(|error| broken(&error))?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| broken(&error))?;
        let empty = HashMap::new();
        let metadata = header.metadata().as_ref().unwrap_or(&empty);
        let text = metadata.get(CARD).ok_or_else(|| mismatch("card", "missing", "a card"))?;
        let card: Card =
            serde_json::from_str(text).map_err(|error| BundleError::Container(format!("card: {error}")))?;
        fits(&card)?;
        let mut views = Vec::with_capacity(TENSORS);
        for name in (0..TENSORS).map(tensor_name) {
            views.push(container.tensor(&name).map_err(|_| mismatch(name, "missing", "a tensor"))?);
        }
        let found = metadata.get(CHECKSUM).map_or("missing", String::as_str);
        let needed = checksum(text, views.iter().map(TensorView::data));
        if found != needed {
            return Err(mismatch("checksum", found, needed));
        }
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

/// Hash of the card and of all tensors in their order.
pub(crate) fn checksum<'a>(card: &str, tensors: impl Iterator<Item = &'a [u8]>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(card.as_bytes());
    for tensor in tensors {
        hasher.update(tensor);
    }
    hasher.finalize().to_hex().to_string()
}

/// The bundle that ballast ships and uses where no other is named; `docs/forecaster.md` tells how it was made.
///
/// # Errors
/// Where this program was built with another one than it encodes for.
pub fn shipped() -> Result<Bundle, BundleError> {
    Bundle::from_bytes(include_bytes!("../../bundles/forecaster.safetensors"))
}
