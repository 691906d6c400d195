//! Reading configuration so that every problem is told at once, each with its field, its value and what was expected.
//!
//! A file is TOML in sections; each section is a serde struct with defaults. Keys are tried one by one, so that one
//! wrong type does not hide the next.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use toml::{Table, Value};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which field, as `section.key`.
    pub field: String,
    /// What was given.
    pub value: String,
    /// What would have been accepted.
    pub expected: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}: {}", self.field, self.value, self.expected)
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Error)]
pub struct Problems {
    wrong: Vec<Problem>,
    unknown: Vec<Problem>,
}

impl Problems {
    /// Notes a wrong value.
    pub fn push(&mut self, field: impl Into<String>, value: impl fmt::Display, expected: impl Into<String>) {
        let (field, expected) = (field.into(), expected.into());
        self.wrong.push(Problem { field, value: value.to_string(), expected });
    }

    /// What is wrong, in the order it was found.
    pub fn wrong(&self) -> &[Problem] {
        &self.wrong
    }

    /// Keys nobody knows: a spelling mistake, or written for a newer version. An error when a configuration is checked
    /// and at the first start; a warning later, so that an older version still starts with a newer file.
    pub fn unknown(&self) -> &[Problem] {
        &self.unknown
    }

    /// `value` where nothing is wrong; with `strict` unknown keys are wrong too.
    ///
    /// # Errors
    /// All the problems.
    pub fn into_result<T>(mut self, value: T, strict: bool) -> Result<T, Self> {
        if strict {
            self.wrong.append(&mut self.unknown);
        }
        if self.wrong.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} problem(s)", self.wrong.len())?;
        for problem in &self.wrong {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What came of it.
        #[source]
        source: io::Error,
    },
    /// It is not TOML.
    #[error("{} is not TOML: {message}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where and what, in the parser's words.
        message: String,
    },
    /// Its values are wrong.
    #[error("{}: {problems}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problems: Problems,
    },
}

/// A configuration file, read but not yet understood.
#[derive(Debug, Clone)]
pub struct File {
    path: PathBuf,
    table: Table,
    seen: Vec<&'static str>,
    /// Everything that is wrong so far; checks of the daemon's own add to it.
    pub problems: Problems,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError::Read`] or [`ConfigError::Syntax`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Self::parse(&text, path)
    }

    /// Takes the text of a file; `path` is for messages.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let syntax = |error: toml::de::Error| ConfigError::Syntax { path: path.into(), message: error.to_string() };
        let table = toml::from_str(text).map_err(syntax)?;
        Ok(Self { path: path.into(), table, seen: Vec::new(), problems: Problems::default() })
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True where the section is written down.
    pub fn has(&self, section: &str) -> bool {
        self.table.contains_key(section)
    }

    /// Reads one section; a value that is wrong is noted and its default taken. `T` should deny unknown fields, or
    /// misspelt keys go unseen.
    pub fn section<T: Serialize + DeserializeOwned + Default>(&mut self, name: &'static str) -> T {
        self.seen.push(name);
        let given = match self.table.get(name) {
            None => return T::default(),
            Some(Value::Table(given)) => given.clone(),
            Some(other) => {
                self.problems.push(name, other, format!("a section [{name}] is needed"));
                return T::default();
            }
        };
        let Ok(mut accepted) = Table::try_from(T::default()) else { return T::default() };
        for (key, value) in given {
            let before = accepted.insert(key.clone(), value.clone());
            let Err(error) = accepted.clone().try_into::<T>() else { continue };
            self.note(format!("{name}.{key}"), &value, error.message());
            match before {
                Some(before) => accepted.insert(key, before),
                None => accepted.remove(&key),
            };
        }
        accepted.try_into().unwrap_or_default()
    }

    fn note(&mut self, field: String, value: &Value, message: &str) {
        let problem =
            Problem { field, value: value.to_string(), expected: message.lines().next().unwrap_or("").into() };
        let is_unknown = problem.expected.starts_with("unknown field");
        if is_unknown { self.problems.unknown.push(problem) } else { self.problems.wrong.push(problem) }
    }

    /// Ends the reading: sections nobody asked for are unknown, and `value` comes back where nothing is wrong, with the
    /// unknown keys to warn of.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with all problems.
    pub fn finish<T>(mut self, value: T, strict: bool) -> Result<(T, Vec<Problem>), ConfigError> {
        for (section, content) in &self.table {
            if !self.seen.contains(&section.as_str()) {
                let expected = format!("unknown section, expected one of {}", self.seen.join(", "));
                let value = content.type_str().to_owned();
                self.problems.unknown.push(Problem { field: section.clone(), value, expected });
            }
        }
        let unknown = self.problems.unknown.clone();
        match self.problems.into_result(value, strict) {
            Ok(value) => Ok((value, unknown)),
            Err(problems) => Err(ConfigError::Invalid { path: self.path, problems }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Section {
        name: String,
        port: u16,
        share: Option<f64>,
    }

    impl Default for Section {
        fn default() -> Self {
            Self { name: "x".into(), port: 7, share: None }
        }
    }

    fn read(text: &str, strict: bool) -> Result<(Section, Vec<Problem>), ConfigError> {
        let mut file = File::parse(text, Path::new("test.toml")).unwrap();
        let section = file.section("main");
        file.finish(section, strict)
    }

    #[test]
    fn defaults_fill_what_is_not_written() {
        let (section, unknown) = read("[main]\nport = 9\nshare = 0.5", true).unwrap();
        assert_eq!(section, Section { name: "x".into(), port: 9, share: Some(0.5) });
        assert!(unknown.is_empty());
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let error = read("[main]\nname = 3\nport = 70000\nshare = \"a\"\ntypo = 1\n[other]", true).unwrap_err();
        let ConfigError::Invalid { problems, .. } = &error else { panic!("{error}") };
        let fields: Vec<&str> = problems.wrong().iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, ["main.name", "main.port", "main.share", "main.typo", "other"]);
        assert!(error.to_string().contains("main.port = 70000: "), "{error}");
    }

    #[test]
    fn unknown_keys_are_only_told_where_not_strict() {
        let (_, unknown) = read("[main]\ntypo = 1", false).unwrap();
        assert_eq!(unknown.len(), 1);
    }

    #[test]
    fn what_is_not_toml_is_refused_with_its_place() {
        let error = File::parse("[main\nport", Path::new("broken.toml")).unwrap_err().to_string();
        assert!(error.contains("broken.toml") && error.contains("line 1"), "{error}");
    }
}
