//! Where a vm is found on both hosts after its migration: what that proves, and what is said while it proves nothing.

use std::time::Duration;

use super::Effect;

/// First and longest wait between two looks for a vm whose place is not known. The vm stays locked meanwhile, and what is
/// found has to be reported within a minute of the trouble's end: a vm that is gone takes two looks, so two of the longest
/// must fit well into that. A look is two calls that change nothing.
const LOCATE_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// What cannot be told for so long is a person's: hypervisors settle a lost peer within half a minute, by their keep-alive.
const PERSON_AFTER: Duration = Duration::from_secs(60);

/// Where a vm was found on one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Its vCPUs run there and no job moves it away.
    Running,
    /// It is there, stopped in memory, and no job moves it away.
    Paused,
    /// It is there and a job still moves it, out or in.
    Moving,
    /// It is certainly not running there.
    Absent,
    /// The host could not be asked.
    Unknown,
}

/// Where it lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Where it was.
    Source,
    /// Where it was to go.
    Destination,
    /// On neither of the two.
    Nowhere,
}

/// What its whereabouts prove, or what is known where they prove nothing. Once it was seen to be `switched` over, its
/// destination may run it whatever its source does.
pub(super) fn judge(source: Presence, destination: Presence, switched: bool) -> Result<Found, &'static str> {
    use Presence::{Absent, Moving, Paused, Running, Unknown};
    match (source, destination) {
        (Running, Running) => Err("the vm seems to run on both hosts"),
        // libvirt 9.0 has been seen to let it go on at both ends where the destination's libvirtd died at this moment.
        (Running, Unknown) if switched => {
            Err("the vm runs at its source, and its destination, which may run it too, cannot be asked")
        }
        (Running, _) => Ok(Found::Source),
        // Its source holds what is left of it where the lock manager did not let it go on there.
        (Absent, Running | Paused) | (Paused, Running) => Ok(Found::Destination),
        (Absent, Absent) => Ok(Found::Nowhere),
        (Moving, _) => Err(
            "the migration is still under way (where the vm stands still meanwhile, a restart of the source's libvirtd ends it)",
        ),
        // Who lets it go on at its source must know that it does not run elsewhere.
        (Paused, Unknown) => Err("the vm is paused at its source and its destination cannot be asked"),
        (Paused, Moving) => Err("the vm is paused at its source and still arriving at its destination"),
        (Paused, Absent | Paused) => Err(
            "the vm is paused at its source and does not run at its destination (virsh resume at the source lets it go on)",
        ),
        (Absent, Moving) => Err("the vm is gone from its source and still arriving at its destination"),
        (Absent, Unknown) => Err("the vm is not at its source and its destination cannot be asked"),
        (Unknown, _) => Err("the source's hypervisor cannot be asked"),
    }
}

/// The pause after so many looks.
pub(super) fn pause_before_look(looks: u32) -> Duration {
    let (first, longest) = LOCATE_AGAIN;
    first.saturating_mul(1 << looks.saturating_sub(1).min(8)).min(longest)
}

/// What was said of a vm whose place cannot be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Doubt {
    /// The last reason.
    said: Option<&'static str>,
    /// A person was called.
    pleaded: bool,
}

impl Doubt {
    /// Says why it cannot be told, and again where the reason is another one; once that has `waited` for long, calls a person.
    pub(super) fn say(&mut self, reason: &'static str, waited: Duration) -> Option<Effect> {
        match self.said.replace(reason) {
            Some(_) if waited >= PERSON_AFTER && !self.pleaded => {
                self.pleaded = true;
                Some(Effect::Plead { reason: reason.to_owned() })
            }
            Some(before) if before == reason => None,
            _ => Some(Effect::Doubt { reason: reason.to_owned() }),
        }
    }
}
