//! Small fleets and what is decided for them: each `tests/scenarios/*.json` is what `ballast plan` reads, the `.expected`
//! beside it what it prints and how it ends.
//!
//! After a change of the decisions, `BALLAST_WRITE_SCENARIOS=1 cargo test -p ballast-tests --test it scenarios` writes
//! every `.expected` anew; the difference is to be read as a careful operator would.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use ballast::{args::Args, plan::Stop};
use ballast_tests::sources;
use clap::Parser as _;

/// As many as the project promises.
const LEAST: usize = 25;

/// Every scenario, in order of name.
fn scenarios() -> Vec<PathBuf> {
    let folder = sources::root().join("tests/scenarios");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|kind| kind == "json")).collect();
    files.sort();
    files
}

/// What is printed for a scenario, and how it ends.
fn transcript(path: &Path) -> String {
    let path = path.to_str().unwrap();
    let args = Args::try_parse_from(["ballast", "plan", "--snapshot", path]).unwrap();
    let mut out = Vec::new();
    let ending = match ballast::run(args, &mut out) {
        Ok(()) => "exit status 0".to_owned(),
        Err(error) => {
            let status = error.downcast_ref::<Stop>().map_or(1, |stop| match stop {
                Stop::Infeasible(_) => 3,
                Stop::Usage(_) => 2,
            });
            format!("exit status {status}: {error}")
        }
    };
    let mut text = ending + "\n";
    write!(text, "{}", String::from_utf8(out).unwrap()).unwrap();
    text
}

#[test]
fn every_scenario_decides_as_written() {
    let files = scenarios();
    assert!(files.len() >= LEAST, "{} scenarios, at least {LEAST} are promised", files.len());
    let write = std::env::var_os("BALLAST_WRITE_SCENARIOS").is_some();
    let mut differing = Vec::new();
    for file in &files {
        let (expected, actual) = (file.with_extension("expected"), transcript(file));
        if write {
            fs::write(&expected, actual).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != actual {
            differing.push(format!("{}:\n{actual}", expected.display()));
        }
    }
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
}

#[test]
fn every_scenario_decides_the_same_twice() {
    for file in scenarios() {
        assert_eq!(transcript(&file), transcript(&file), "{}", file.display());
    }
}
