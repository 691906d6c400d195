//! Running one of the site's programs: no shell, a deadline, and its complaint as the error.

use std::{process::Stdio, time::Duration};

use ballast_daemon::clock::Clock;
use tokio::process::Command;

/// Runs `program` (with its arguments) and returns what it printed.
///
/// # Errors
/// A sentence, where it cannot be started, fails, or is not done within `deadline`; then it is killed.
pub(super) async fn run(program: &[String], deadline: Duration, clock: &Clock) -> Result<String, String> {
    let (name, arguments) = program.split_first().ok_or("no program is named")?;
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let finished = clock.timeout(deadline, command.output()).await;
    let output = finished
        .map_err(|_| format!("{name} did not end within {deadline:?}"))?
        .map_err(|error| format!("{name} cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let complaint: String = complaint.trim().chars().take(200).collect();
    Err(format!("{name} failed ({}): {complaint}", output.status))
}
