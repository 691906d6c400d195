//! The scenario files of the repository.

use super::{InvalidFile, ScenarioFile};

/// A scenario file of the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Builtin {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub text: &'static str,
}

/// All of them.
pub const BUILTINS: [Builtin; 13] = [
    Builtin { name: "demo", text: include_str!("../../../scenarios/demo.toml") },
    Builtin { name: "planetlab-faithful", text: include_str!("../../../scenarios/planetlab-faithful.toml") },
    Builtin { name: "planetlab-corrected", text: include_str!("../../../scenarios/planetlab-corrected.toml") },
    Builtin { name: "planetlab-memory", text: include_str!("../../../scenarios/planetlab-memory.toml") },
    Builtin { name: "bitbrains-modern", text: include_str!("../../../scenarios/bitbrains-modern.toml") },
    Builtin { name: "google-week", text: include_str!("../../../scenarios/google-week.toml") },
    Builtin { name: "storm", text: include_str!("../../../scenarios/storm.toml") },
    Builtin { name: "failure", text: include_str!("../../../scenarios/failure.toml") },
    Builtin { name: "qa-service", text: include_str!("../../../scenarios/qa-service.toml") },
    Builtin { name: "arrivals", text: include_str!("../../../scenarios/arrivals.toml") },
    Builtin { name: "telemetry", text: include_str!("../../../scenarios/telemetry.toml") },
    Builtin { name: "scale-1000", text: include_str!("../../../scenarios/scale-1000.toml") },
    Builtin { name: "scale-10000", text: include_str!("../../../scenarios/scale-10000.toml") },
];

/// The scenario of the repository with that name; `None` where there is none.
///
/// # Errors
/// [`InvalidFile`] where the file in the repository was damaged.
pub fn builtin(name: &str) -> Option<Result<ScenarioFile, InvalidFile>> {
    let found = BUILTINS.iter().find(|builtin| builtin.name == name)?;
    Some(ScenarioFile::parse(&format!("{name}.toml"), found.text))
}
