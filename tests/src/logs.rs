//! Watches what a test's daemons log: a WARN or ERROR that the test did not announce fails it.
//!
//! Works per thread: [`crate::process`] hands it on to the daemons' threads.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{
    Event, Level, Subscriber,
    dispatcher::{self, DefaultGuard, Dispatch},
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
};

/// One line that was logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How grave it is.
    pub level: Level,
    /// The message and its fields.
    pub text: String,
}

#[derive(Debug, Default)]
struct Seen {
    lines: Vec<Line>,
    expected: Vec<&'static str>,
}

/// The log of this thread from now on. Checks itself when it goes out of scope.
#[derive(Debug)]
#[must_use = "the log is watched only while this lives"]
pub struct Logs {
    seen: Arc<Mutex<Seen>>,
    dispatch: Dispatch,
    _guard: DefaultGuard,
}

impl Logs {
    /// Begins to watch.
    pub fn watch() -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let subscriber = tracing_subscriber::registry().with(Collector(Arc::clone(&seen)));
        let dispatch = Dispatch::new(subscriber);
        let guard = dispatcher::set_default(&dispatch);
        Self { seen, dispatch, _guard: guard }
    }

    /// For another thread whose log belongs to this test.
    pub fn dispatch(&self) -> Dispatch {
        self.dispatch.clone()
    }

    /// Announces a WARN or ERROR whose text holds `words`.
    pub fn expect(&self, words: &'static str) -> &Self {
        self.lock().expected.push(words);
        self
    }

    /// Whether any line holds `words`.
    pub fn say(&self, words: &str) -> bool {
        self.lock().lines.iter().any(|line| line.text.contains(words))
    }

    /// Every WARN or ERROR nobody announced.
    pub fn unexpected(&self) -> Vec<Line> {
        let seen = self.lock();
        let announced = |line: &&Line| !seen.expected.iter().any(|words| line.text.contains(words));
        seen.lines.iter().filter(|line| line.level <= Level::WARN).filter(announced).cloned().collect()
    }

    /// All that was logged, for the output of a failed test.
    pub fn text(&self) -> String {
        self.lock().lines.iter().map(|line| format!("{:5} {}\n", line.level, line.text)).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Logs {
    #[allow(clippy::print_stdout)] // the output of a test is where people look
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- log of the failed test\n{}", self.text());
            return;
        }
        let unexpected = self.unexpected();
        assert!(unexpected.is_empty(), "logged and not announced: {unexpected:#?}");
    }
}

/// Keeps the lines of our own crates.
struct Collector(Arc<Mutex<Seen>>);

impl<S: Subscriber> Layer<S> for Collector {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let is_ours = event.metadata().target().starts_with("ballast");
        if !is_ours || *event.metadata().level() > Level::DEBUG {
            return;
        }
        let mut text = Text(format!("{}:", event.metadata().target()));
        event.record(&mut text);
        let line = Line { level: *event.metadata().level(), text: text.0 };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lines.push(line);
    }
}

/// Message and fields on one line.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let said = match field.name() {
            "message" => format!(" {value:?}"),
            name => format!(" {name}={value:?}"),
        };
        self.0.push_str(&said);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announced_warning_is_no_surprise() {
        let logs = Logs::watch();
        logs.expect("disk is full");
        tracing::warn!(target: "ballast_test", path = "x", "The disk is full");
        assert!(logs.unexpected().is_empty());
        assert!(logs.say("path=\"x\""));
    }

    #[test]
    fn a_warning_nobody_announced_is_found() {
        let logs = Logs::watch();
        tracing::warn!(target: "ballast_test", "surprise");
        assert_eq!(logs.unexpected().len(), 1);
        logs.expect("surprise");
    }
}
