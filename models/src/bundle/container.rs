//! The file of any bundle: a safetensors container with tensors and, beside them, one entry with a card and a checksum of both.

use std::collections::HashMap;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Serialize, de::DeserializeOwned};

use super::{BundleError, mismatch};

/// The one key of the container's metadata: the checksum, a space, the card. Several keys would be written in any order, and the
/// same model as other bytes.
const CARD: &str = "ballast";

/// A tensor to be written.
pub(crate) struct Packed {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<u8>,
}

/// The file's bytes.
///
/// # Errors
/// Where the container cannot be written.
pub(crate) fn pack(card: &impl Serialize, tensors: &[Packed]) -> Result<Vec<u8>, BundleError> {
    let mut views = Vec::with_capacity(tensors.len());
    for Packed { name, dtype, shape, data } in tensors {
        views.push((name, TensorView::new(*dtype, shape.clone(), data).map_err(|error| broken(&error))?));
    }
    let card = serde_json::to_string(card).map_err(|error| broken(&error))?;
    let checksum = checksum(&card, tensors.iter().map(|tensor| tensor.data.as_slice()));
    let metadata = HashMap::from([(CARD.to_owned(), format!("{checksum} {card}"))]);
    safetensors::serialize(views, Some(metadata)).map_err(|error| broken(&error))
}

/// A file that is a container with a card; its checksum is not looked at yet.
pub(crate) struct Opened<'a> {
    container: SafeTensors<'a>,
    checksum: String,
    card: String,
}

impl<'a> Opened<'a> {
    /// Opens a file of at most `most` bytes.
    ///
    /// # Errors
    /// Where it is larger, no container, or has no card.
    pub(crate) fn new(bytes: &'a [u8], most: usize) -> Result<Self, BundleError> {
        if bytes.len() > most {
            return Err(mismatch("size", format!("{} bytes", bytes.len()), format!("at most {most}")));
        }
        let container = SafeTensors::deserialize(bytes).map_err(|error| broken(&error))?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| broken(&error))?;
        let entry = header.metadata().as_ref().and_then(|metadata| metadata.get(CARD)?.split_once(' '));
        let (checksum, card) = entry.ok_or_else(|| mismatch("card", "missing", "a card"))?;
        Ok(Self { container, checksum: checksum.to_owned(), card: card.to_owned() })
    }

    /// Its card.
    ///
    /// # Errors
    /// Where it is none of the wanted kind.
    pub(crate) fn card<C: DeserializeOwned>(&self) -> Result<C, BundleError> {
        serde_json::from_str(&self.card).map_err(|error| BundleError::Container(format!("card: {error}")))
    }

    /// The tensors of these names.
    ///
    /// # Errors
    /// Where one is missing, or the checksum is not that of the card and of all of them in this order.
    pub(crate) fn tensors(&'a self, names: impl Iterator<Item = String>) -> Result<Vec<TensorView<'a>>, BundleError> {
        let mut views = Vec::new();
        for name in names {
            views.push(self.container.tensor(&name).map_err(|_| mismatch(name, "missing", "a tensor"))?);
        }
        let needed = checksum(&self.card, views.iter().map(TensorView::data));
        if self.checksum == needed { Ok(views) } else { Err(mismatch("checksum", &self.checksum, needed)) }
    }
}

fn broken(error: &dyn std::fmt::Display) -> BundleError {
    BundleError::Container(error.to_string())
}

/// Hash of the card and of all tensors in their order.
fn checksum<'a>(card: &str, tensors: impl Iterator<Item = &'a [u8]>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(card.as_bytes());
    for tensor in tensors {
        hasher.update(tensor);
    }
    hasher.finalize().to_hex().to_string()
}
