//! Damage to every file that the daemons keep, in every way: nothing is lost without a word, nobody panics, and the daemon
//! either serves within a minute or refuses with the file and the remedy.
//!
//! One test per kind of file; each prints its row of the table in docs/reliability.md:
//! `cargo nextest run -p ballast-tests -E 'test(/^damage::/)' --success-output final`

mod agent;
mod scheduler;

use std::{fmt, path::Path, time::Duration};

use ballast_daemon::clock::Clock;
use ballast_tests::{damage::Harm, logs::Logs};

/// The time in which a daemon serves again.
const START_MAX: Duration = Duration::from_secs(60);

/// What a daemon did about the damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It serves, and nothing is lost.
    Whole,
    /// It serves without what is lost, and its log names the file.
    Told,
    /// It serves without what is lost and says nothing: for a file whose absence means that somebody removed it.
    Unmissed,
    /// It does not start, and says which file it is and what to do.
    Refused,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "whole",
            Self::Told => "told",
            Self::Unmissed => "unmissed",
            Self::Refused => "refused",
        })
    }
}

/// Does every harm to a kind of file and prints what came of each. `start` damages a fresh copy and starts a daemon on it.
async fn matrix(kind: &str, mut start: impl AsyncFnMut(Harm) -> Answer) -> Vec<(Harm, Answer)> {
    let clock = Clock::system();
    let (mut answers, mut slowest) = (Vec::new(), Duration::ZERO);
    for harm in Harm::ALL {
        let began = clock.elapsed();
        answers.push((harm, start(harm).await));
        slowest = slowest.max(clock.elapsed() - began);
    }
    assert!(slowest < START_MAX, "{kind}: {slowest:?} for one of {answers:?}");
    let cells: Vec<String> = answers.iter().map(|(_, answer)| answer.to_string()).collect();
    println!("| {kind} | {} | {:.1} s |", cells.join(" | "), slowest.as_secs_f64());
    answers
}

/// Whether a log says anything of a file, which then is no surprise.
fn told(logs: &Logs, file: &Path) -> bool {
    logs.expect("");
    logs.say(&file.display().to_string())
}

/// An error that stops a start names the file and what to do about it.
#[track_caller]
fn refused(error: &str, file: &Path, harm: Harm) -> Answer {
    // Of a file that is gone from among others only these can be named.
    let named = if harm == Harm::Deleted { file.parent().unwrap() } else { file };
    let names_it = error.contains(&named.display().to_string());
    let helps = ["backup", "Is a directory"].iter().any(|words| error.contains(words));
    assert!(names_it && helps, "{harm:?} of {}: {error}", file.display());
    Answer::Refused
}
