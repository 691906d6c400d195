//! What can be rebuilt and saves time when it is there: recent windows, inventories, what the model knew, what was measured
//! of the fleet's risk. Nothing here is the truth.
//!
//! The recorder writes it, `engine::start` warms up from it. Deleting its directory loses that warm-up and nothing else.

mod note;
mod packed;
mod sled_store;

use ballast_core::{id::HostId, inventory::Inventory, oversight::SavedState, sample::Batch, units::Timestamp};

pub(crate) use sled_store::SledStore;

/// Why the store did not do as asked; the caller goes on without it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct StoreError(pub(crate) String);

/// Keeps recent windows and inventories over a restart.
pub(crate) trait Store: Send + Sync {
    /// Keeps a batch as part of its host's window.
    ///
    /// # Errors
    /// [`StoreError`] when it is not kept.
    fn put_window(&mut self, batch: &Batch) -> Result<(), StoreError>;

    /// Keeps a host's inventory.
    ///
    /// # Errors
    /// [`StoreError`] when it is not kept.
    fn put_inventory(&mut self, inventory: &Inventory) -> Result<(), StoreError>;

    /// Drops all of `host`'s window from before `moment`.
    ///
    /// # Errors
    /// [`StoreError`] when it is not dropped.
    fn drop_before(&mut self, host: &HostId, moment: Timestamp) -> Result<(), StoreError>;

    /// All windows since `moment`, each host's in order of time. What cannot be read is left out and counted.
    ///
    /// # Errors
    /// [`StoreError`] when nothing can be read.
    fn windows(&self, moment: Timestamp, each: &mut dyn FnMut(Batch)) -> Result<u64, StoreError>;

    /// All inventories. What cannot be read is left out.
    ///
    /// # Errors
    /// [`StoreError`] when nothing can be read.
    fn inventories(&self) -> Result<Vec<Inventory>, StoreError>;

    /// Keeps what the model knows of each vm, and `memory` of how it has done, in the place of what was kept before.
    ///
    /// # Errors
    /// [`StoreError`] when not all of it is kept.
    fn put_model(&mut self, states: &[SavedState], memory: Option<&[u8]>) -> Result<(), StoreError>;

    /// What [`Store::put_model`] kept. What cannot be read is left out and counted.
    ///
    /// # Errors
    /// [`StoreError`] when nothing can be read.
    fn model(&self) -> Result<KeptModel, StoreError>;

    /// Keeps what was measured of the fleet's risk, in the place of what was kept before.
    ///
    /// # Errors
    /// [`StoreError`] when it is not kept.
    fn put_risk(&mut self, risk: &[u8]) -> Result<(), StoreError>;

    /// What [`Store::put_risk`] kept; `None` where nothing was, or it is damaged.
    ///
    /// # Errors
    /// [`StoreError`] when nothing can be read.
    fn risk(&self) -> Result<Option<Vec<u8>>, StoreError>;

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot.
    fn flush(&mut self) -> Result<(), StoreError>;
}

/// What was kept of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeptModel {
    /// What it knew of each vm.
    pub(crate) states: Vec<SavedState>,
    /// How it had done.
    pub(crate) memory: Option<Vec<u8>>,
    /// Values that could not be read.
    pub(crate) unreadable: u64,
}

#[cfg(test)]
mod tests;
