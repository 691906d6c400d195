//! The repository's own files, for the tests that assert what is and is not in them.
//!
//! Comments are not code: [`Source::code`] blanks them, so that a doc may name what the code must not call.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// One text file of the repository.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its path from the repository's root, with `/` between.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl Source {
    /// Its lines with their numbers, comments blanked.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, without_comment(line)))
    }

    /// As [`Source::code`], up to the file's own tests; empty for a file that is nothing but tests.
    pub fn shipped_code(&self) -> impl Iterator<Item = (usize, &str)> {
        let only_tests = self.path.ends_with("tests.rs") || self.path.contains("/tests/");
        let end = if only_tests { 0 } else { self.own_tests_begin() };
        self.code().take_while(move |(number, _)| *number <= end)
    }

    /// The last line before the file's inline tests.
    fn own_tests_begin(&self) -> usize {
        let lines: Vec<&str> = self.text.lines().collect();
        let inline = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{');
        lines.windows(2).position(inline).unwrap_or(lines.len())
    }

    /// Where the shipped code says one of `words`, as `path:line: word`.
    pub fn says<'a>(&'a self, words: &'a [&str]) -> impl Iterator<Item = String> + 'a {
        self.shipped_code().flat_map(move |(number, line)| {
            let said = words.iter().filter(move |word| says_word(line, word));
            said.map(move |word| format!("{}:{number}: {word}", self.path))
        })
    }
}

/// The line without its `//` comment; a `//` within a string that holds `://` is no comment.
fn without_comment(line: &str) -> &str {
    let comment = line.match_indices("//").map(|(at, _)| at).find(|&at| !line[..at].ends_with(':'));
    comment.map_or(line, |at| &line[..at])
}

/// Whether `line` says `word` and not just a longer name that ends in it.
fn says_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let begins_inside = |c: char| (c.is_alphanumeric() || c == '_') && !word.starts_with(['.', '#']);
        !before.is_some_and(begins_inside)
    })
}

/// The repository's root.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Every file of the repository whose path begins with one of `under` (all where empty) and that has one of
/// `extensions`; build outputs left out.
///
/// # Errors
/// Where a folder or file cannot be read.
pub fn files(under: &[&str], extensions: &[&str]) -> Result<Vec<Source>> {
    let root = root();
    let mut found = Vec::new();
    walk(&root, &mut |path| {
        let place = name_in(&root, path);
        let below = under.is_empty() || under.iter().any(|start| place.starts_with(start));
        let kind = path.extension().is_some_and(|e| extensions.iter().any(|wanted| e == *wanted));
        if below && kind {
            let text = fs::read_to_string(path).with_context(|| format!("read {place}"))?;
            found.push(Source { path: place, text });
        }
        Ok(())
    })?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// The path from the repository's root.
fn name_in(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

fn walk(folder: &Path, each: &mut impl FnMut(&Path) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        if name == "target" || name == ".git" {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), each)?;
        } else if kind.is_file() {
            each(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { path: "core/src/x.rs".into(), text: text.into() }
    }

    #[test]
    fn a_comment_is_not_code() {
        let source =
            source("//! sled::\nlet u = \"http://x\"; // sled::\nsled::open();\n#[cfg(test)]\nmod t {\nsled::x();");
        let said: Vec<String> = source.says(&["sled::"]).collect();
        assert_eq!(said, ["core/src/x.rs:3: sled::"]);
    }

    #[test]
    fn a_longer_name_is_another_word() {
        let source = source("my_virt::x(); virt::y();");
        assert_eq!(source.says(&["virt::"]).count(), 1);
        assert_eq!(source.says(&["burn::"]).count(), 0);
    }
}
