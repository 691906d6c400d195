//! Numbers of 32 and of 16 bits (IEEE 754 binary16), little-endian.

use half::f16;
use safetensors::{Dtype, tensor::TensorView};

use super::Precision;

pub(super) fn encode(values: &[f32], precision: Precision) -> Vec<u8> {
    match precision {
        Precision::Full => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Precision::Half => values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
    }
}

/// Fills `values`; what was found instead, where it is none of the two or not finite.
pub(super) fn decode(view: &TensorView<'_>, values: &mut [f32]) -> Result<(), String> {
    match view.dtype() {
        Dtype::F32 => {
            for (value, bytes) in values.iter_mut().zip(view.data().as_chunks().0) {
                *value = f32::from_le_bytes(*bytes);
            }
        }
        Dtype::F16 => {
            for (value, bytes) in values.iter_mut().zip(view.data().as_chunks().0) {
                *value = f16::from_le_bytes(*bytes).to_f32();
            }
        }
        other => return Err(format!("of type {other:?}")),
    }
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(value.to_string()),
        None => Ok(()),
    }
}
