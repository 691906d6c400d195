//! Saying that a test could not do its work on this machine, so that nobody takes it for one that passed.

use std::io::Write as _;

/// Notes that the test named `what` did nothing, and why. `tests/run` counts these from the file that the variable
/// `BALLAST_SKIPPED` names.
#[allow(clippy::print_stdout)] // the output of a test is where people look
pub fn skipped(what: &str, why: &str) {
    println!("SKIPPED {what}: {why}");
    let Some(path) = std::env::var_os("BALLAST_SKIPPED") else { return };
    let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
    let written = file.and_then(|mut file| writeln!(file, "{what}:{}", why.replace('\n', " ")));
    if let Err(error) = written {
        println!("SKIPPED could not be written down: {error}");
    }
}
