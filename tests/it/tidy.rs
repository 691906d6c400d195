//! Habits that a reviewer need not look for, because this does.

use ballast_tests::sources;

/// A longer file holds more than one idea.
const LONGEST_FILE: usize = 600;
/// From here on it is worth a look.
const LONG_FILE: usize = 400;

#[test]
fn every_file_opens_by_saying_what_it_is_for() {
    let files = sources::files(&[], &["rs"]).unwrap();
    let silent: Vec<_> = files.iter().filter(|f| !f.text.starts_with("//! ")).map(|f| &f.path).collect();
    assert!(silent.is_empty(), "these files do not open with `//! `: {silent:#?}");
}

#[test]
fn no_file_is_longer_than_one_idea() {
    let mut too_long = Vec::new();
    for file in sources::files(&[], &["rs"]).unwrap() {
        let lines = file.text.lines().count();
        if lines > LONGEST_FILE {
            too_long.push(format!("{}: {lines} lines", file.path));
        } else if lines > LONG_FILE {
            println!("long: {}: {lines} lines", file.path);
        }
    }
    assert!(too_long.is_empty(), "longer than {LONGEST_FILE} lines: {too_long:#?}");
}

/// Fails where any line of any file of these kinds says one of `words`. The words are put together at run time by the
/// callers, so that this file does not find itself.
#[track_caller]
fn nowhere(words: &[String], folders: &[&str], extensions: &[&str]) {
    let mut found = Vec::new();
    for file in sources::files(folders, extensions).unwrap() {
        for (index, line) in file.text.lines().enumerate() {
            let said = words.iter().filter(|word| begins_a_word(line, word));
            found.extend(said.map(|word| format!("{}:{}: {word}", file.path, index + 1)));
        }
    }
    assert!(found.is_empty(), "found where it must not be:\n{}", found.join("\n"));
}

/// Whether `word` stands in `line` other than as the end of a longer word or path.
fn begins_a_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric()))
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["todo", "!("], ["unimplemented", "!("]];
    nowhere(&marks.map(|halves| halves.concat()), &[], &["rs", "proto", "toml", "md", "py"]);
}

#[test]
fn no_test_is_switched_off() {
    nowhere(&[["#[", "ignore"].concat(), ["#[", "should_panic"].concat()], &[], &["rs"]);
}

#[test]
fn no_test_sleeps_to_synchronise() {
    nowhere(&[["thread::", "sleep"].concat()], &[], &["rs"]);
    nowhere(&[["tokio::time::", "sleep"].concat()], &["tests/src", "tests/it"], &["rs"]);
}

#[test]
fn no_path_of_one_machine_is_written_down() {
    let places = [["/wo", "rk/"], ["/fa", "rm/"], ["/ro", "ot/"], ["/tmp/", "wt"]];
    let texts = ["rs", "proto", "toml", "md", "py", "sh", "yml", "service", "json"];
    nowhere(&places.map(|halves| halves.concat()), &[], &texts);
}
