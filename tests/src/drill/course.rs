//! How far each migration is, by what libvirt itself says: the drill strikes by these, not by what ballast reports.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;

use super::plan::Phase;
use crate::lab::{Daemon, Lab};

/// Moments of a vm's migration, as they were heard.
#[derive(Debug, Clone, Copy, Default)]
pub struct Course {
    ordered: Option<Duration>,
    copied: Option<Duration>,
    suspended: Option<Duration>,
    left: Option<Duration>,
}

impl Course {
    /// One that was ordered now.
    pub fn ordered(now: Duration) -> Self {
        Self { ordered: Some(now), ..Self::default() }
    }

    /// The phase it is in.
    pub fn phase(&self) -> Phase {
        match self {
            Self { left: Some(_), .. } => Phase::After,
            Self { suspended: Some(_), .. } => Phase::Switch,
            Self { copied: Some(_), .. } => Phase::Copy,
            _ => Phase::Before,
        }
    }

    /// When a phase began, or the one after it where that passed unheard.
    pub fn began(&self, phase: Phase) -> Option<Duration> {
        match phase {
            Phase::Before => self.ordered,
            Phase::Copy => self.copied.or(self.suspended).or(self.left),
            Phase::Switch => self.suspended.or(self.left),
            Phase::After => self.left,
        }
    }

    fn hear(&mut self, what: &str, now: Duration) {
        let moment = match what {
            "iteration: '1'" => &mut self.copied,
            "Suspended Migrated" => &mut self.suspended,
            "Stopped Migrated" => &mut self.left,
            _ => return,
        };
        moment.get_or_insert(now);
    }
}

/// Listens to the libvirtd of every host.
#[derive(Debug)]
pub struct Ears {
    listeners: Vec<(Daemon, usize)>,
}

impl Ears {
    /// Listens to the hosts 1 to `hosts`; what was said before is not heard.
    ///
    /// # Errors
    /// Where `virsh` cannot be started.
    pub fn open(lab: &Lab, hosts: usize) -> Result<Self> {
        let open = |number: usize| {
            let host = Lab::host(number);
            let daemon = lab.events(&host, &format!("events-{host}"))?;
            let said = daemon.log().len();
            Ok((daemon, said))
        };
        Ok(Self { listeners: (1..=hosts).map(open).collect::<Result<_>>()? })
    }

    /// Takes in what was said since.
    pub fn hear(&mut self, courses: &mut BTreeMap<String, Course>, now: Duration) {
        for (daemon, read) in &mut self.listeners {
            let log = daemon.log();
            let new = log.get(*read..).unwrap_or_default();
            // What is not yet a whole line is read the next time.
            let whole = new.rfind('\n').map_or(0, |end| end + 1);
            for (vm, what) in new[..whole].lines().filter_map(event) {
                if let Some(course) = courses.get_mut(vm) {
                    course.hear(what, now);
                }
            }
            *read += whole;
        }
    }
}

/// The vm and the words of a line as `event 'lifecycle' for domain 'a': Suspended Migrated`.
fn event(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once(" for domain ")?;
    let (vm, what) = rest.split_once(": ")?;
    Some((vm.trim_matches('\''), what.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_virsh_are_read() {
        let line = "event 'migration-iteration' for domain 'a': iteration: '1'";
        assert_eq!(event(line), Some(("a", "iteration: '1'")));
        assert_eq!(event("event 'lifecycle' for domain b: Stopped Migrated"), Some(("b", "Stopped Migrated")));
        assert_eq!(event("event loop interrupted"), None);
    }

    #[test]
    fn a_phase_that_passed_unheard_counts_as_begun_by_the_next() {
        let second = Duration::from_secs(1);
        let mut course = Course::ordered(Duration::ZERO);
        course.hear("Suspended Migrated", second);
        assert_eq!((course.phase(), course.began(Phase::Copy)), (Phase::Switch, Some(second)));
    }
}
