//! Where models come from, and where they run: the one place where a learned forecaster is plugged in.
//!
//! [`Models`] makes a forecaster of a bundle; [`worker`] runs it on a thread of its own, so that one that hangs holds nobody
//! up; [`reload`] puts a newer one in its place. Whether its forecasts are used is for `ballast_core::oversight` to say.

mod reload;
mod worker;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ballast_core::forecast::Forecaster;
use ballast_daemon::clock::Clock;
use ballast_models::{
    bundle::{self, Bundle, BundleError},
    stream::Streaming,
};
use thiserror::Error;
use tokio::sync::oneshot;

pub use reload::Reloaded;
pub(crate) use reload::Reloader;
pub(crate) use worker::{Asking, Heard, Worker};

/// Time in which a bundle must be read: it is some hundred kilobytes.
const LOAD_TIMEOUT: Duration = Duration::from_secs(30);

type Load = dyn Fn(Option<&Path>) -> Result<Box<dyn Forecaster>, String> + Send + Sync;

/// Makes forecasters of bundles.
#[derive(Clone)]
pub struct Models(Option<Arc<Load>>);

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Models" } else { "Models(none)" })
    }
}

impl Models {
    /// Those that come with this program: bundles of the forecaster, and the one that ships. Daemon, demo and replay all
    /// begin here.
    pub fn built_in() -> Self {
        Self::new(forecaster)
    }

    /// No model at all.
    pub fn none() -> Self {
        Self(None)
    }

    /// Made by `load`.
    pub fn new<E: std::error::Error>(
        load: impl Fn(Option<&Path>) -> Result<Box<dyn Forecaster>, E> + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(move |path| load(path).map_err(|error| crate::journal::error_chain(&error)))))
    }

    /// The model of a bundle; `Ok(None)` where none is asked for and none comes with this program.
    ///
    /// # Errors
    /// Why there is none, in words. A panic is one of them.
    pub(crate) fn load(&self, path: Option<&Path>) -> Result<Option<Loaded>, String> {
        let Some(load) = &self.0 else {
            let none = |path: &Path| format!("{}: this program was built without models", path.display());
            return path.map_or(Ok(None), |path| Err(none(path)));
        };
        let identity = match path {
            Some(path) => fingerprint(path).map_err(|why| format!("{}: {why}", path.display()))?,
            None => concat!("built in, ", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        let loaded = catch_unwind(AssertUnwindSafe(|| load(path)));
        let model = loaded.unwrap_or_else(|_| Err("reading it panicked".to_owned()));
        let shown =
            |why| path.map_or_else(|| format!("the built-in model: {why}"), |it| format!("{}: {why}", it.display()));
        model.map(|model| Some(Loaded { model, identity })).map_err(shown)
    }

    /// The same on a thread of its own, within [`LOAD_TIMEOUT`].
    ///
    /// # Errors
    /// As [`Models::load`], and where it takes too long.
    pub(crate) async fn load_in_time(&self, path: Option<PathBuf>, clock: &Clock) -> Result<Option<Loaded>, String> {
        let (models, (reply, answer)) = (self.clone(), oneshot::channel());
        let reading = move || drop(reply.send(models.load(path.as_deref())));
        let thread = std::thread::Builder::new().name("model-load".to_owned()).spawn(reading);
        thread.map_err(|error| format!("start a thread: {error}"))?;
        match clock.timeout(LOAD_TIMEOUT, answer).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(_)) => Err("the thread that reads it has ended".to_owned()),
            Err(elapsed) => Err(format!("reading it {elapsed}")),
        }
    }
}

/// Why there is no forecaster.
#[derive(Debug, Error)]
enum NoForecaster {
    #[error("it cannot be read")]
    Unreadable(#[from] std::io::Error),
    #[error("it is refused")]
    Refused(#[from] BundleError),
}

/// The forecaster of a bundle, or of the one that ships.
fn forecaster(path: Option<&Path>) -> Result<Box<dyn Forecaster>, NoForecaster> {
    let bundle = match path {
        Some(path) => Bundle::from_bytes(&std::fs::read(path)?)?,
        None => bundle::shipped()?,
    };
    Ok(Box::new(Streaming::of(&bundle)))
}

/// A model, and which one of its name it is.
pub(crate) struct Loaded {
    pub(crate) model: Box<dyn Forecaster>,
    pub(crate) identity: String,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.model.name(), self.identity)
    }
}

/// What tells a bundle from another: the length and checksum of its content. Of a directory, of every file in it, by name.
pub(crate) fn fingerprint(path: &Path) -> std::io::Result<String> {
    if !path.is_dir() {
        let content = std::fs::read(path)?;
        return Ok(format!("{} bytes, {:08x}", content.len(), crc32c::crc32c(&content)));
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(path)?.filter_map(|entry| entry.ok().map(|it| it.path())).collect();
    files.retain(|file| file.is_file());
    files.sort();
    let (mut length, mut checksum) = (0, 0);
    for file in &files {
        let content = std::fs::read(file)?;
        length += content.len();
        checksum = crc32c::crc32c_append(checksum, file.file_name().unwrap_or_default().as_encoded_bytes());
        checksum = crc32c::crc32c_append(checksum, &content);
    }
    Ok(format!("{} files, {length} bytes, {checksum:08x}", files.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::models::{self, Tape};

    #[test]
    fn the_bundle_that_ships_is_loaded_and_a_file_that_is_none_is_refused_with_the_reason() {
        let models = Models::built_in();
        assert_eq!(models.load(None).unwrap().unwrap().model.name(), "lstm");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.bundle");
        std::fs::write(&path, b"no bundle at all").unwrap();
        let why = models.load(Some(&path)).unwrap_err();
        assert!(why.starts_with(&format!("{}: it is refused: no bundle: ", path.display())), "{why}");
    }

    #[test]
    fn without_models_the_built_in_one_is_none_and_a_bundle_is_refused_by_name() {
        assert!(Models::none().load(None).unwrap().is_none());
        let why = Models::none().load(Some(Path::new("/m.bundle"))).unwrap_err();
        assert_eq!(why, "/m.bundle: this program was built without models");
    }

    #[test]
    fn a_bundle_that_is_refused_or_panics_is_named_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m");
        for (content, words) in [("bad", "m: the bundle is bad"), ("panic", "m: reading it panicked")] {
            std::fs::write(&path, content).unwrap();
            let why = models::of_files(Tape::default()).load(Some(&path)).unwrap_err();
            assert!(why.ends_with(words), "{why}");
        }
        std::fs::remove_file(&path).unwrap();
        let why = models::of_files(Tape::default()).load(Some(&path)).unwrap_err();
        assert!(why.contains("m: No such file"), "{why}");
    }

    #[test]
    fn a_bundle_is_known_by_its_content_whether_file_or_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (file, folder) = (dir.path().join("m"), dir.path().join("d"));
        std::fs::create_dir(&folder).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for content in ["one", "two", "one"] {
            std::fs::write(&file, content).unwrap();
            std::fs::write(folder.join("weights"), content).unwrap();
            seen.insert(fingerprint(&file).unwrap());
            seen.insert(fingerprint(&folder).unwrap());
        }
        assert_eq!(seen.len(), 4, "{seen:?}");
    }
}
