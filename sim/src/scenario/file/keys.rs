//! Reading a TOML table key by key: every problem is noted with its path, value and range, and reading goes on, so that all of
//! them are told at once.

use std::{cell::RefCell, collections::BTreeSet, fmt, ops::RangeInclusive, time::Duration};

use ballast_core::units::seconds;
use toml::{Table, Value};

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the key, as `hosts[0].class`.
    pub key: String,
    /// What was given; empty where nothing was.
    pub value: String,
    /// What would have been accepted.
    pub expected: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.value.is_empty() {
            return write!(f, "{}: {}", self.key, self.expected);
        }
        write!(f, "{} = {}: {}", self.key, self.value, self.expected)
    }
}

/// One table of a file, and where its problems go.
pub(super) struct Keys<'a> {
    path: String,
    table: &'a Table,
    known: RefCell<BTreeSet<String>>,
    problems: &'a RefCell<Vec<Problem>>,
}

/// An empty table, for sections that are not there.
static NOTHING: std::sync::LazyLock<Table> = std::sync::LazyLock::new(Table::new);

impl<'a> Keys<'a> {
    /// The file as a whole.
    pub(super) fn new(table: &'a Table, problems: &'a RefCell<Vec<Problem>>) -> Self {
        Self { path: String::new(), table, known: RefCell::default(), problems }
    }

    fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) }
    }

    /// Notes a problem with a key.
    pub(super) fn wrong(&self, key: &str, expected: impl Into<String>) {
        let value = self.table.get(key).map(shown).unwrap_or_default();
        self.problems.borrow_mut().push(Problem { key: self.at(key), value, expected: expected.into() });
    }

    /// True where the key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The value of a key, which is known from now on.
    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.known.borrow_mut().insert(key.into());
        self.table.get(key)
    }

    /// A number in a range, where it is there.
    pub(super) fn maybe_number(&self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        #[allow(clippy::cast_precision_loss)] // Whole numbers of a scenario are far below 2^53.
        let number = match self.value(key)? {
            Value::Float(number) => Some(*number),
            Value::Integer(number) => Some(*number as f64),
            _ => None,
        };
        let fits = number.filter(|number| range.contains(number));
        if fits.is_none() {
            self.wrong(key, format!("a number from {} to {} is needed", range.start(), range.end()));
        }
        fits
    }

    /// A number in a range, or the default.
    pub(super) fn number(&self, key: &str, default: f64, range: RangeInclusive<f64>) -> f64 {
        self.maybe_number(key, range).unwrap_or(default)
    }

    /// A number that must be there; `0` where it is not, which is noted.
    pub(super) fn needed_number(&self, key: &str, range: RangeInclusive<f64>) -> f64 {
        if !self.has(key) {
            self.wrong(key, format!("is missing: a number from {} to {} is needed", range.start(), range.end()));
        }
        self.number(key, 0.0, range)
    }

    /// A span in seconds, or the default.
    pub(super) fn span(&self, key: &str, default: f64, range: RangeInclusive<f64>) -> Duration {
        seconds(self.number(key, default, range))
    }

    /// A whole number in a range, where it is there.
    pub(super) fn maybe_whole(&self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let whole = match self.value(key)? {
            Value::Integer(number) => u64::try_from(*number).ok(),
            _ => None,
        };
        let fits = whole.filter(|whole| range.contains(whole));
        if fits.is_none() {
            self.wrong(key, format!("a whole number from {} to {} is needed", range.start(), range.end()));
        }
        fits
    }

    /// A whole number in a range, or the default.
    pub(super) fn whole(&self, key: &str, default: u64, range: RangeInclusive<u64>) -> u64 {
        self.maybe_whole(key, range).unwrap_or(default)
    }

    /// A count in a range that must be there; the least of it where it is not, which is noted.
    pub(super) fn count(&self, key: &str, range: RangeInclusive<u64>) -> usize {
        if !self.has(key) {
            self.wrong(key, format!("is missing: a whole number from {} to {} is needed", range.start(), range.end()));
        }
        usize::try_from(self.whole(key, *range.start(), range)).unwrap_or(usize::MAX)
    }

    /// `true` or `false`, or the default.
    pub(super) fn flag(&self, key: &str, default: bool) -> bool {
        match self.value(key) {
            None => default,
            Some(Value::Boolean(flag)) => *flag,
            Some(_) => {
                self.wrong(key, "true or false is needed");
                default
            }
        }
    }

    /// A text, where it is there.
    pub(super) fn maybe_text(&self, key: &str) -> Option<String> {
        match self.value(key)? {
            Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
            _ => {
                self.wrong(key, "a text is needed");
                None
            }
        }
    }

    /// A text that must be there; empty where it is not, which is noted.
    pub(super) fn text(&self, key: &str) -> String {
        if !self.has(key) {
            self.wrong(key, "is missing: a text is needed");
        }
        self.maybe_text(key).unwrap_or_default()
    }

    /// A list of texts; empty where it is not there.
    pub(super) fn texts(&self, key: &str) -> Vec<String> {
        self.list(key, "a list of texts is needed", |value| value.as_str().map(str::to_owned))
    }

    /// A list of whole numbers; empty where it is not there.
    pub(super) fn wholes(&self, key: &str) -> Vec<u64> {
        self.list(key, "a list of whole numbers is needed", |value| {
            value.as_integer().and_then(|number| u64::try_from(number).ok())
        })
    }

    fn list<T>(&self, key: &str, expected: &str, item: impl Fn(&Value) -> Option<T>) -> Vec<T> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let items = value.as_array().and_then(|items| items.iter().map(item).collect::<Option<Vec<T>>>());
        items.unwrap_or_else(|| {
            self.wrong(key, expected);
            Vec::new()
        })
    }

    /// One of several words, or the default.
    pub(super) fn choice<T: Copy>(&self, key: &str, options: &[(&str, T)], default: T) -> T {
        let Some(value) = self.value(key) else { return default };
        let found = options.iter().find(|(name, _)| value.as_str() == Some(name));
        if found.is_none() {
            let names: Vec<&str> = options.iter().map(|(name, _)| *name).collect();
            self.wrong(key, format!("one of {} is needed", names.join(", ")));
        }
        found.map_or(default, |(_, chosen)| *chosen)
    }

    /// A table within this one; an empty one where it is not there.
    pub(super) fn section(&self, key: &str) -> Keys<'a> {
        let table = match self.value(key) {
            Some(Value::Table(table)) => table,
            Some(_) => {
                self.wrong(key, "a table is needed");
                &*NOTHING
            }
            None => &*NOTHING,
        };
        Keys { path: self.at(key), table, known: RefCell::default(), problems: self.problems }
    }

    /// The tables of a list of tables; none where it is not there.
    pub(super) fn sections(&self, key: &str) -> Vec<Keys<'a>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let tables: Option<Vec<&Table>> =
            value.as_array().and_then(|items| items.iter().map(Value::as_table).collect());
        let Some(tables) = tables else {
            self.wrong(key, "a list of tables is needed");
            return Vec::new();
        };
        let keys = |(index, table)| Keys {
            path: format!("{}[{index}]", self.at(key)),
            table,
            known: RefCell::default(),
            problems: self.problems,
        };
        tables.into_iter().enumerate().map(keys).collect()
    }

    /// The names of a table's own keys: each is known from now on.
    pub(super) fn names(&self) -> Vec<String> {
        self.table.keys().cloned().collect()
    }

    /// Notes every key that nobody asked for.
    pub(super) fn done(self) {
        let known = self.known.take();
        let unknown: Vec<&String> = self.table.keys().filter(|key| !known.contains(*key)).collect();
        for key in unknown {
            let names: Vec<&str> = known.iter().map(String::as_str).collect();
            self.wrong(key, format!("is not known here; known are {}", names.join(", ")));
        }
    }
}

/// A value in few words.
fn shown(value: &Value) -> String {
    match value {
        Value::Table(_) => "{…}".into(),
        Value::Array(items) => format!("[{} items]", items.len()),
        other => other.to_string(),
    }
}
