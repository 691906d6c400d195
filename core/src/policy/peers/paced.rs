//! A peer at its own pace: asked once a period, its plan carried on in between.
//!
//! A system that works off its plan with two migrations at a time is not one that begins two migrations a day. What the
//! planner could not begin at once is proposed again, as it was, whenever the policy is asked before its period is over;
//! the guard sees to it that nothing is done that has become wrong. The peer's own measuring goes on at each period only.

use crate::{
    policy::{Advice, Policy, View},
    proposal::{Action, Proposal},
    snapshot::{HostPower, Snapshot},
    units::Timestamp,
};

use super::catalogue::Peer;

/// A policy that is asked once a period.
pub struct Paced {
    peer: &'static Peer,
    inner: Box<dyn Policy>,
    asked: Option<Timestamp>,
    left: Vec<Proposal>,
}

impl std::fmt::Debug for Paced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Paced").field("peer", &self.peer.name).field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl Paced {
    /// The peer of that name at its own pace; `None` for a name that is not known.
    pub fn by_name(name: &str) -> Option<Self> {
        Some(Self { peer: super::peer(name)?, inner: super::by_name(name)?, asked: None, left: Vec::new() })
    }
}

impl Policy for Paced {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn propose(&mut self, view: View<'_>) -> Advice {
        let now = view.snapshot.taken_at;
        if self.asked.is_none_or(|asked| now.since(asked) >= self.peer.period) {
            self.asked = Some(now);
            let advice = self.inner.propose(view);
            self.left.clone_from(&advice.proposals);
            return advice;
        }
        self.left = std::mem::take(&mut self.left).into_iter().filter_map(|one| open(one, view.snapshot)).collect();
        let notes = vec![format!("{} is asked every {} s", self.name(), self.peer.period.as_secs())];
        Advice { proposals: self.left.clone(), notes }
    }
}

/// What is still to be done of a proposal: the moves whose vm is where it was and is not on its way.
fn open(proposal: Proposal, snapshot: &Snapshot) -> Option<Proposal> {
    let waits = |one: &crate::proposal::Move| {
        snapshot.vms.get(&one.vm).is_some_and(|vm| vm.host == one.from && vm.locked_by.is_none())
    };
    let power = |host, power| snapshot.hosts.get(host).is_some_and(|host| host.power == power);
    let action = match proposal.action {
        Action::Relocate(one) if waits(&one) => Action::Relocate(one),
        Action::Evacuate { host, mut moves } => {
            moves.retain(waits);
            (!moves.is_empty()).then_some(Action::Evacuate { host, moves })?
        }
        Action::Sleep { host } if power(&host, HostPower::Awake) => Action::Sleep { host },
        Action::Wake { host } if power(&host, HostPower::Asleep) => Action::Wake { host },
        // No peer moves bundles or exchanges vms.
        Action::Relocate(_)
        | Action::Sleep { .. }
        | Action::Wake { .. }
        | Action::Together { .. }
        | Action::Swap(..) => {
            return None;
        }
    };
    Some(Proposal { action, ..proposal })
}
