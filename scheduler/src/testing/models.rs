//! A model that does as a test tells it: it remembers each vm's demand, and hangs or panics when it is to.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use ballast_core::{
    forecast::{Forecaster, StateRefused, VmForecast},
    id::VmId,
    sample::VmSample,
    units::{Cores, Timestamp},
};

use crate::model::Models;

/// What the model is told, from outside.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tape(Arc<(Mutex<Orders>, Condvar)>);

#[derive(Debug, Default)]
struct Orders {
    held: bool,
    panics: bool,
}

impl Tape {
    fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.1.notify_all();
    }

    /// From now on it hangs when it is asked.
    pub(crate) fn hold(&self) {
        self.order(|orders| orders.held = true);
    }

    /// It hangs no longer.
    pub(crate) fn release(&self) {
        self.order(|orders| orders.held = false);
    }

    /// It panics when it is asked next.
    pub(crate) fn panic(&self) {
        self.order(|orders| orders.panics = true);
    }

    fn obey(&self) {
        let orders = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut orders = self.0.1.wait_while(orders, |orders| orders.held).unwrap_or_else(PoisonError::into_inner);
        assert!(!std::mem::take(&mut orders.panics), "the tape is torn");
    }
}

/// Why a bundle is refused.
#[derive(Debug, thiserror::Error)]
#[error("the bundle is bad")]
pub(crate) struct Bad;

/// Models of files: `bad` is refused, `panic` panics, anything else is a model whose version is the content. The built-in
/// one is of version `built in`.
pub(crate) fn of_files(tape: Tape) -> Models {
    Models::new(move |path: Option<&Path>| {
        let version = path.map_or_else(|| "built in".to_owned(), |path| std::fs::read_to_string(path).unwrap());
        match version.as_str() {
            "bad" => Err(Bad),
            "panic" => panic!("such a bundle"),
            _ => Ok(Box::new(Remembers { tape: tape.clone(), version, vms: BTreeMap::new() }) as Box<dyn Forecaster>),
        }
    })
}

/// Remembers each vm's demand as a running mean that depends on every sample and their order.
struct Remembers {
    tape: Tape,
    version: String,
    vms: BTreeMap<VmId, f64>,
}

impl Forecaster for Remembers {
    fn name(&self) -> &'static str {
        "tape"
    }

    fn observe(&mut self, sample: &VmSample) {
        let used = sample.cpu_used.value().map_or(0.0, Cores::get);
        let mean = self.vms.entry(sample.vm).or_insert(used);
        *mean = 0.9 * *mean + 0.1 * used;
    }

    fn forget(&mut self, vm: VmId) {
        self.vms.remove(&vm);
    }

    fn advance(&mut self, _now: Timestamp) {
        self.tape.obey();
    }

    fn forecast(&self, vm: VmId, _now: Timestamp) -> Option<VmForecast> {
        self.vms.get(&vm).map(|cpu| VmForecast::steady(Cores(*cpu)))
    }

    fn state(&self, vm: VmId) -> Option<Vec<u8>> {
        Some([&self.vms.get(&vm)?.to_be_bytes()[..], self.version.as_bytes()].concat())
    }

    fn restore(&mut self, vm: VmId, state: &[u8]) -> Result<(), StateRefused> {
        let refused = |reason: String| StateRefused { reason };
        let (mean, version) = state.split_at_checked(8).ok_or_else(|| refused(format!("{} bytes", state.len())))?;
        if version != self.version.as_bytes() {
            let theirs = String::from_utf8_lossy(version).into_owned();
            return Err(refused(format!("it is of version {theirs}, not {}", self.version)));
        }
        self.vms.insert(vm, f64::from_be_bytes(mean.try_into().map_err(|_| refused(String::new()))?));
        Ok(())
    }
}
