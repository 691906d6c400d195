//! Watches what a test's own thread logs: a WARN or ERROR that the test did not announce fails it.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::DefaultGuard,
};

/// The log of this thread from now on; it checks itself when it goes out of scope.
#[must_use = "the log is watched only while this lives"]
pub(crate) struct Logs {
    lines: Arc<Mutex<Vec<(Level, String)>>>,
    expected: Vec<&'static str>,
    _guard: DefaultGuard,
}

impl Logs {
    pub(crate) fn watch() -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let guard = tracing::subscriber::set_default(Collector(Arc::clone(&lines)));
        Self { lines, expected: Vec::new(), _guard: guard }
    }

    /// Announces a WARN or ERROR whose text holds `words`.
    pub(crate) fn expect(&mut self, words: &'static str) {
        self.expected.push(words);
    }

    /// How many lines hold `words`.
    pub(crate) fn count(&self, words: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|(_, line)| line.contains(words)).count()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let lines = self.lines.lock().unwrap();
        let announced = |line: &str| self.expected.iter().any(|words| line.contains(words));
        let grave = lines.iter().filter(|(level, line)| *level <= Level::WARN && !announced(line));
        let unexpected: Vec<_> = grave.collect();
        assert!(unexpected.is_empty(), "logged and not announced: {unexpected:#?}");
    }
}

struct Collector(Arc<Mutex<Vec<(Level, String)>>>);

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("ballast") && *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push((*event.metadata().level(), text.0));
    }

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a string never fails.
        let _written = write!(self.0, "{}={value:?} ", field.name());
    }
}
