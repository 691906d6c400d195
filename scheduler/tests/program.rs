//! The program itself, as processes of their own: what two of them do to each other.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
};

use ballast_daemon::segments::segment_files;

/// A scheduler that is killed (`kill -9`) with this value.
struct Program {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Program {
    fn start(folder: &Path) -> Self {
        let config = folder.join("scheduler.toml");
        let (data, listen) = (folder.join("data").display().to_string(), "listen = \"127.0.0.1:0\"");
        std::fs::write(&config, format!("[scheduler]\n{listen}\nmetrics_listen = \"\"\ndata_dir = {data:?}\n"))
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ballast-scheduler"));
        let command = command.arg("--config").arg(config).arg("run").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// The first line of its log that holds `words`; the last one where none does before it ends.
    fn says(&mut self, words: &str) -> String {
        let mut line = String::new();
        loop {
            let mut next = String::new();
            if self.log.read_line(&mut next).unwrap() == 0 {
                return line;
            }
            line = next;
            if line.contains(words) {
                return line;
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended by itself needs no killing.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

#[test]
fn a_second_scheduler_on_one_data_directory_does_not_start_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Program::start(folder.path());
    assert!(first.says("Serving").contains("Serving"));
    let journal = || {
        segment_files(&folder.path().join("data/journal"))
            .unwrap()
            .iter()
            .map(std::fs::read)
            .fold(Vec::new(), |all, bytes| [all, bytes.unwrap()].concat())
    };
    let before = journal();
    let mut second = Program::start(folder.path());
    let said = second.says("in use");
    let (data, holder) = (folder.path().join("data").display().to_string(), first.child.id().to_string());
    assert!(said.contains(&data) && said.contains(&holder) && said.contains("data_dir"), "{said}");
    assert_eq!(second.child.wait().unwrap().code(), Some(1));
    assert!(first.child.try_wait().unwrap().is_none(), "the first one runs on");
    assert!(journal().starts_with(&before), "the journal is the first one's");
}

#[test]
fn a_scheduler_killed_at_once_leaves_its_data_directory_free() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let mut scheduler = Program::start(folder.path());
        let said = scheduler.says("Serving");
        assert!(said.contains("Serving"), "{said}");
    }
}
