//! The program itself, as processes of their own: what two of them do to each other.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
};

/// An agent that is killed (`kill -9`) with this value.
struct Program {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Program {
    fn start(folder: &Path) -> Self {
        let config = folder.join("agent.toml");
        let data = folder.join("data").display().to_string();
        // A port where nobody listens, and the driver that libvirt simulates: what the program holds is the same.
        let (agent, libvirt) = ("host = \"a\"\nscheduler = \"http://127.0.0.1:1\"", "uri = \"test:///default\"");
        std::fs::write(&config, format!("[agent]\n{agent}\ndata_dir = {data:?}\n[libvirt]\n{libvirt}\n")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ballast-agent"));
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
fn a_second_agent_on_one_data_directory_does_not_start_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Program::start(folder.path());
    assert!(first.says("Starting").contains("Starting"));
    let mut second = Program::start(folder.path());
    let said = second.says("in use");
    let (data, holder) = (folder.path().join("data").display().to_string(), first.child.id().to_string());
    assert!(said.contains(&data) && said.contains(&holder) && said.contains("data_dir"), "{said}");
    assert_eq!(second.child.wait().unwrap().code(), Some(1));
    assert!(first.child.try_wait().unwrap().is_none(), "the first one runs on");
}

#[test]
fn an_agent_killed_at_once_leaves_its_data_directory_free() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let mut agent = Program::start(folder.path());
        let said = agent.says("Starting");
        assert!(said.contains("Starting"), "{said}");
    }
}
