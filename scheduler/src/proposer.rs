//! Which policy proposes, and by which networks: the engine and replay make theirs here.

use std::{fs, path::Path};

use ballast_core::{policy::Policy, standby::Caught};
use ballast_models::policy::{self, bundle::Bundle};

/// Who decides, and who is only asked.
#[derive(Debug, Clone)]
pub(crate) struct Proposers {
    /// The policy in force.
    pub(crate) active: Proposer,
    /// The one in the shadow.
    pub(crate) shadow: Option<Proposer>,
}

/// A policy by its name, with the networks that a learned one judges by.
#[derive(Debug, Clone)]
pub(crate) struct Proposer {
    name: String,
    networks: Option<Bundle>,
}

impl Proposer {
    /// The policy of that name; `bundle` is the file with its networks, where they are not those that ship.
    ///
    /// # Errors
    /// Why the file cannot be used, in words.
    pub(crate) fn new(name: &str, bundle: Option<&Path>) -> Result<Self, String> {
        let networks = bundle.map(read).transpose()?;
        Ok(Self { name: name.to_owned(), networks })
    }

    /// The policy with its panics caught.
    pub(crate) fn caught(self) -> Caught {
        Caught::new(self.name.clone(), Box::new(move || self.make()))
    }

    /// A policy that knows of no round yet; `None` where nobody has that name.
    pub(crate) fn make(&self) -> Option<Box<dyn Policy>> {
        policy::any_by_name(&self.name, self.networks.as_ref())
    }
}

fn read(path: &Path) -> Result<Bundle, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let bytes = fs::read(path).map_err(|error| wrong(&error))?;
    Bundle::from_bytes(&bytes).map_err(|error| wrong(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_come_from_the_file_that_is_named_and_a_damaged_one_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.safetensors");
        fs::write(&path, policy::shipped().unwrap().to_bytes().unwrap()).unwrap();
        let name = |made: Option<Box<dyn Policy>>| made.map(|policy| policy.name());
        assert_eq!(name(Proposer::new("dqn", Some(&path)).unwrap().make()), Some("dqn"));
        assert_eq!(name(Proposer::new("nobody", None).unwrap().make()), None);
        fs::write(&path, "no networks").unwrap();
        let why = Proposer::new("dqn", Some(&path)).unwrap_err();
        assert!(why.contains("policy.safetensors: no bundle"), "{why}");
    }
}
