//! Any method as a forecaster of the fleet: samples in, one step per vm and slot, forecasts out.
//!
//! Per vm it keeps the slot being filled, the past, the recurrent state and the last answer: `docs/forecaster.md` states how
//! many bytes that is. All of it is one step per slot, whatever the length of the history.

pub(crate) mod slot;
mod sums;
#[cfg(test)]
mod tests;
mod vm;

use std::{collections::BTreeMap, sync::Arc};

use ballast_core::{
    forecast::{Ahead, Forecaster, StateRefused, VmForecast},
    history::slot_of,
    id::VmId,
    sample::VmSample,
    units::{Bytes, Timestamp},
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    bundle::Bundle,
    features::{Encoded, encode},
    kernel::threads::Threads,
    network::Network,
    predictor::{Known, Predictor, UNKNOWN},
};
use slot::Size;
use slot::slot_of_sample;
use vm::Followed;

/// Vms that are worked off together: their scratch stays in the cache.
const BATCH: usize = 256;

/// Follows vms by a method.
pub struct Streaming {
    predictor: Arc<dyn Predictor>,
    /// Name of what the method has learnt, so that a state of another one is refused.
    version: String,
    sizes: BTreeMap<VmId, Size>,
    vms: BTreeMap<VmId, Followed>,
}

impl std::fmt::Debug for Streaming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, vms) = (self.predictor.name(), self.vms.len());
        f.debug_struct("Streaming")
            .field("predictor", &name)
            .field("version", &self.version)
            .field("vms", &vms)
            .finish()
    }
}

/// A vm's state as it is kept over a restart.
#[derive(Debug, Serialize, Deserialize)]
struct Kept<'a, T> {
    version: &'a str,
    followed: T,
}

impl Streaming {
    /// Follows no vm yet. `version` names what the method has learnt.
    pub fn new(predictor: Arc<dyn Predictor>, version: String) -> Self {
        Self { predictor, version, sizes: BTreeMap::new(), vms: BTreeMap::new() }
    }

    /// Follows vms by the network of a bundle.
    pub fn of(bundle: &Bundle) -> Self {
        // Vms are worked off in batches over all threads; within one, the kernel keeps to its own.
        Self::new(Arc::new(Network::new(&bundle.weights, Threads::One)), bundle.version())
    }
}

impl Forecaster for Streaming {
    fn name(&self) -> &'static str {
        self.predictor.name()
    }

    fn resized(&mut self, vm: VmId, vcpus: u32, memory: Bytes) {
        if vcpus > 0 && memory.as_f64() > 0.0 {
            self.sizes.insert(vm, Size { vcpus: f64::from(vcpus), memory: memory.as_f64() });
        }
    }

    fn observe(&mut self, sample: &VmSample) {
        let length = self.predictor.state_len();
        let first = || Followed::new(slot_of_sample(sample), length);
        self.vms.entry(sample.vm).or_insert_with(first).observe(sample);
    }

    fn forget(&mut self, vm: VmId) {
        self.vms.remove(&vm);
        self.sizes.remove(&vm);
    }

    fn forecast(&self, vm: VmId, _now: Timestamp) -> Option<VmForecast> {
        self.vms.get(&vm)?.forecast(*self.sizes.get(&vm)?)
    }

    fn ahead(&self, vm: VmId, _now: Timestamp) -> Option<Ahead> {
        self.vms.get(&vm)?.ahead(*self.sizes.get(&vm)?)
    }

    fn advance(&mut self, now: Timestamp) {
        let slot = slot_of(now);
        let sizes = &self.sizes;
        let mut due: Vec<(&mut Followed, Size)> = self
            .vms
            .iter_mut()
            .filter_map(|(vm, followed)| {
                followed.close_before(slot);
                // Of a vm of unknown size there is no share; what it did waits until its size is told.
                let size = *sizes.get(vm)?;
                followed.is_due().then_some((followed, size))
            })
            .collect();
        let predictor = &*self.predictor;
        due.par_chunks_mut(BATCH).for_each(|batch| work_off(predictor, batch));
    }

    fn state(&self, vm: VmId) -> Option<Vec<u8>> {
        let followed = self.vms.get(&vm)?;
        // Nothing in it can fail to be written: no map keys, no lengths unknown beforehand.
        postcard::to_allocvec(&Kept { version: &self.version, followed }).ok()
    }

    fn restore(&mut self, vm: VmId, state: &[u8]) -> Result<(), StateRefused> {
        let refused = |reason: String| StateRefused { reason };
        let kept: Kept<'_, Followed> = postcard::from_bytes(state)
            .map_err(|error| refused(format!("{} bytes that are no state: {error}", state.len())))?;
        if kept.version != self.version {
            return Err(refused(format!("of {}, {} is in use", kept.version, self.version)));
        }
        let needed = self.predictor.state_len();
        if !kept.followed.is_sound(needed) {
            let found = kept.followed.state.len();
            return Err(refused(format!("{found} numbers of state that make no sense together, {needed} are needed")));
        }
        self.vms.insert(vm, kept.followed);
        Ok(())
    }
}

/// Works off the waiting slots of a batch of vms, one slot of all of them after another.
fn work_off(predictor: &dyn Predictor, batch: &mut [(&mut Followed, Size)]) {
    let length = predictor.state_len();
    let mut rows: Vec<usize> = (0..batch.len()).collect();
    let (mut encoded, mut states): (Vec<Encoded>, Vec<f32>) = (Vec::new(), Vec::new());
    let mut newest: Vec<Option<Encoded>> = vec![None; batch.len()];
    while !rows.is_empty() {
        rows.retain(|row| {
            let (followed, size) = &mut batch[*row];
            let next = followed.next(*size);
            next.is_some_and(|observed| {
                followed.step(&observed);
                true
            })
        });
        encoded.clear();
        encoded.extend(rows.iter().map(|row| encode(&batch[*row].0.past, &batch[*row].1.shape())));
        rows.iter().zip(&encoded).for_each(|(row, encoded)| newest[*row] = Some(*encoded));
        states.clear();
        rows.iter().for_each(|row| states.extend_from_slice(&batch[*row].0.state));
        if length > 0 {
            predictor.advance(&encoded, &mut states);
            for (row, state) in rows.iter().zip(states.chunks_exact(length)) {
                batch[*row].0.state.copy_from_slice(state);
            }
        }
    }
    answer(predictor, batch, &newest);
}

/// What is said of each vm of a batch, after its last slot, which is `newest`; a vm without one keeps its answer.
fn answer(predictor: &dyn Predictor, batch: &mut [(&mut Followed, Size)], newest: &[Option<Encoded>]) {
    let mut asked: Vec<(&mut Followed, &Encoded)> = batch
        .iter_mut()
        .zip(newest)
        .filter_map(|((followed, _), encoded)| Some((&mut **followed, encoded.as_ref()?)))
        .collect();
    let states: Vec<f32> = asked.iter().flat_map(|(followed, _)| followed.state.iter().copied()).collect();
    let known: Vec<Known<'_>> =
        asked.iter().map(|(followed, encoded)| Known { past: &followed.past, encoded }).collect();
    let mut answers = vec![UNKNOWN; asked.len()];
    predictor.predict(&known, &states, &mut answers);
    for ((followed, _), answer) in asked.iter_mut().zip(answers) {
        followed.say(answer);
    }
}
