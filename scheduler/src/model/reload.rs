//! A newer model in the place of the one that runs: when the bundle's content has changed, and when a person says so.
//!
//! A bundle that is refused changes nothing but one warning in the log. The same content again is no newer model.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ballast_core::oversight::ModelMode;

use super::{Models, fingerprint};
use crate::{counters::Counters, shared::Shared, state_task::State};

/// Time between two looks at the bundle. One that differs must look the same twice: it may be being written.
const LOOK: Duration = Duration::from_secs(30);

/// What became of a wish to load the model anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reloaded {
    /// A newer one runs.
    Newer {
        /// Its name and content, for people.
        what: String,
    },
    /// It is the one that runs.
    Same,
    /// It stays as it is.
    Refused {
        /// Why.
        why: String,
    },
}

/// Loads the model anew.
#[derive(Debug, Clone)]
pub(crate) struct Reloader {
    shared: Arc<Shared>,
    state: State,
    models: Models,
    /// The content that was last tried.
    tried: Arc<Mutex<Option<String>>>,
}

impl Reloader {
    pub(crate) fn new(shared: Arc<Shared>, state: State, models: Models, tried: Option<String>) -> Self {
        Self { shared, state, models, tried: Arc::new(Mutex::new(tried)) }
    }

    /// Loads the bundle anew; what came of it is logged here.
    pub(crate) async fn reload(&self) -> Reloaded {
        let path = self.shared.settings.forecast.model.clone();
        self.note(path.as_deref().and_then(|path| fingerprint(path).ok()));
        let reloaded = self.try_to(path).await;
        match &reloaded {
            Reloaded::Newer { what } => {
                tracing::info!(model = what, "a newer model is in place and has to prove itself")
            }
            Reloaded::Same => tracing::info!("the model's bundle is the one in place; nothing changes"),
            Reloaded::Refused { why } => {
                Counters::add(&self.shared.counters.models_refused, 1);
                tracing::warn!(why, "a newer model is refused; everything stays as it is");
            }
        }
        reloaded
    }

    async fn try_to(&self, path: Option<std::path::PathBuf>) -> Reloaded {
        let refused = |why: &str| Reloaded::Refused { why: why.to_owned() };
        if self.shared.settings.forecast.oversight.mode == ModelMode::Off {
            return refused("forecast.mode is \"off\"");
        }
        let loaded = match self.models.load_in_time(path, &self.shared.clock).await {
            Ok(Some(loaded)) => loaded,
            Ok(None) => return refused("this program was built without models"),
            Err(why) => return Reloaded::Refused { why },
        };
        let what = format!("{loaded:?}");
        match self.state.model(loaded).await {
            Some(Ok(true)) => Reloaded::Newer { what },
            Some(Ok(false)) => Reloaded::Same,
            Some(Err(why)) => Reloaded::Refused { why },
            None => refused("the scheduler is stopping"),
        }
    }

    fn note(&self, content: Option<String>) {
        *self.tried.lock().unwrap_or_else(PoisonError::into_inner) = content;
    }

    fn was_tried(&self, content: &Option<String>) -> bool {
        *self.tried.lock().unwrap_or_else(PoisonError::into_inner) == *content
    }

    /// Looks at the bundle now and then, for as long as the engine lives.
    pub(crate) async fn watch(self) {
        let Some(path) = self.shared.settings.forecast.model.clone() else { return std::future::pending().await };
        let mut looks = self.shared.clock.interval(LOOK);
        let mut before = None;
        loop {
            looks.tick().await;
            let path = path.clone();
            let look = self.shared.clock.aside(move || fingerprint(&path).ok()).await;
            let Ok(seen) = look else { continue };
            // A bundle that is gone for a moment is being replaced; the model that runs needs it no more.
            if seen.is_some() && seen == before && !self.was_tried(&seen) {
                self.reload().await;
            }
            before = seen;
            Counters::add(&self.shared.counters.bundle_looks, 1);
        }
    }
}
