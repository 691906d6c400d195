//! The peers' side of a case: PyTorch and onnxruntime, in a process of their own that does one case at a time.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde::Deserialize;

use crate::{case::Case, clock::Taken};

/// Names the Python to run `peers.py` with.
const PYTHON: &str = "BALLAST_PEERS_PYTHON";

/// The running script.
pub(crate) struct Peers {
    child: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
}

/// What the script says of a case.
#[derive(Debug, Deserialize)]
pub(crate) struct Reply {
    pub(crate) engines: Vec<Engine>,
}

/// One engine's measurement.
#[derive(Debug, Deserialize)]
pub(crate) struct Engine {
    /// Its name, with the chunk size that suited it best.
    pub(crate) name: String,
    wall: f64,
    cpu: f64,
    /// Outputs of the first sample.
    pub(crate) outputs: Vec<f32>,
}

impl Engine {
    pub(crate) fn taken(&self) -> Taken {
        Taken { wall: self.wall, cpu: self.cpu }
    }
}

impl Peers {
    /// Starts the script, if the environment names a Python.
    pub(crate) fn start() -> std::io::Result<Option<Self>> {
        let Some(python) = std::env::var_os(PYTHON) else { return Ok(None) };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers.py");
        let mut child = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(requests), Some(replies)) = (child.stdin.take(), child.stdout.take()) else { return Ok(None) };
        Ok(Some(Self { child, requests, replies: BufReader::new(replies) }))
    }

    /// Has all engines do `case` once.
    pub(crate) fn measure(&mut self, case: &Case) -> Result<Vec<Engine>, Box<dyn std::error::Error>> {
        writeln!(self.requests, "{}", serde_json::to_string(case)?)?;
        self.requests.flush()?;
        let mut line = String::new();
        self.replies.read_line(&mut line)?;
        Ok(serde_json::from_str::<Reply>(&line)?.engines)
    }

    /// Ends the script.
    pub(crate) fn stop(self) -> std::io::Result<()> {
        let Self { mut child, requests, .. } = self;
        drop(requests);
        child.wait().map(|_| ())
    }
}
