//! What a policy would like to happen, and why, in figures.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    aftercare::Worse,
    id::{HostId, VmId},
    units::{Bytes, Joules},
};

/// One vm to one host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Move {
    /// Which vm.
    pub vm: VmId,
    /// Where from.
    pub from: HostId,
    /// Where to.
    pub to: HostId,
}

/// What is to happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Move one vm.
    Relocate(Move),
    /// Empty a host, all of it or none.
    Evacuate {
        /// Which host.
        host: HostId,
        /// Where each of its vms goes.
        moves: Vec<Move>,
    },
    /// Move the vms of a bundle, all of them or none.
    Together {
        /// Where each of them goes.
        moves: Vec<Move>,
    },
    /// Exchange two vms that only fit if both move.
    Swap([Move; 2]),
    /// Wake a host.
    Wake {
        /// Which.
        host: HostId,
    },
    /// Put an empty host to sleep.
    Sleep {
        /// Which.
        host: HostId,
    },
}

impl Action {
    /// The moves it consists of.
    pub fn moves(&self) -> &[Move] {
        match self {
            Self::Relocate(one) => std::slice::from_ref(one),
            Self::Evacuate { moves, .. } | Self::Together { moves } => moves,
            Self::Swap(both) => both,
            Self::Wake { .. } | Self::Sleep { .. } => &[],
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relocate(one) => write!(f, "move {} from {} to {}", one.vm, one.from, one.to),
            Self::Evacuate { host, moves } => write!(f, "empty {host} ({} vms)", moves.len()),
            Self::Together { moves } => {
                f.write_str("move together")?;
                let one = |(index, one): (usize, &Move)| {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma} {} from {} to {}", one.vm, one.from, one.to)
                };
                moves.iter().enumerate().try_for_each(one)
            }
            Self::Swap([a, b]) => write!(f, "exchange {} on {} with {} on {}", a.vm, a.from, b.vm, b.from),
            Self::Wake { host } => write!(f, "wake {host}"),
            Self::Sleep { host } => write!(f, "put {host} to sleep"),
        }
    }
}

/// Why a policy wants it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Motive {
    /// The source is over its limit, or will be.
    Overload {
        /// The overloaded host.
        host: HostId,
        /// Its load now or at the risk quantile, as a share of capacity.
        load: f64,
        /// The limit, as a share of capacity.
        limit: f64,
    },
    /// The hosts are unevenly loaded, and the move makes that less (or, for a policy that packs, more).
    Balance {
        /// How uneven they are, by the policy's own measure, before it.
        from_spread: f64,
        /// How uneven they are after it.
        to_spread: f64,
    },
    /// Emptying the host lets it sleep.
    Consolidation {
        /// The host to be emptied.
        host: HostId,
    },
    /// It makes room for a vm of a host that can be emptied by then.
    Room {
        /// That host.
        host: HostId,
        /// What this and emptying it are expected to gain together.
        gain: Joules,
    },
    /// The host, once awake, takes the vms of hosts that draw more, and these sleep.
    Replacement {
        /// Those hosts.
        hosts: Vec<HostId>,
    },
    /// The operator drains the host.
    Drain {
        /// The host.
        host: HostId,
    },
    /// More hosts are needed than are awake.
    Shortage {
        /// Cores wanted at the risk quantile beyond what the awake hosts should carry.
        cores_short: f64,
    },
    /// The awake hosts would not bear the loss of one of them, as the tuning wants it.
    Spare {
        /// Whose loss would not be borne.
        host: HostId,
    },
    /// The members of a bundle are on different hosts.
    Bundle {
        /// The bundle.
        group: String,
    },
    /// Vms of a group that keeps apart are in one place.
    Apart {
        /// The group.
        group: String,
        /// The host or fault domain that they share.
        place: String,
    },
    /// Vms that come would wait for a host to wake.
    Waiting {
        /// Seconds that they are expected to wait within the horizon, all together, if none is woken.
        seconds: f64,
    },
    /// The vm is on a host that its pins do not name.
    Pin {
        /// That host.
        host: HostId,
    },
    /// The vm's users are nearer to another host, and that is worth the move.
    Nearer {
        /// Whose requests it serves.
        users: String,
        /// Milliseconds to them and back from where it is.
        from_ms: f64,
        /// The same from where it goes.
        to_ms: f64,
    },
    /// The host is empty and will not be needed for longer than sleeping takes to pay.
    Idle {
        /// For how long it has been empty.
        empty_for: Duration,
        /// After how long sleeping pays.
        break_even: Duration,
    },
    /// The vm, or those it came to, fare worse since it moved than was expected: it goes back.
    Regret {
        /// Where it was moved to.
        host: HostId,
        /// Who fares worse, and by how much.
        worse: Worse,
    },
    /// An operator asked for it.
    Operator {
        /// Who.
        who: String,
    },
}

impl Motive {
    /// Whether it is the objective that asks for it: what an operator wants, or what a rule does, need not gain.
    pub fn is_for_gain(&self) -> bool {
        match self {
            Self::Overload { .. }
            | Self::Balance { .. }
            | Self::Consolidation { .. }
            | Self::Room { .. }
            | Self::Replacement { .. }
            | Self::Nearer { .. } => true,
            Self::Drain { .. }
            | Self::Shortage { .. }
            | Self::Spare { .. }
            | Self::Waiting { .. }
            | Self::Bundle { .. }
            | Self::Apart { .. }
            | Self::Pin { .. }
            | Self::Idle { .. }
            | Self::Regret { .. }
            | Self::Operator { .. } => false,
        }
    }
}

impl fmt::Display for Motive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overload { host, load, limit } => {
                write!(f, "{host} is at {:.0} % of its CPU, limit {:.0} %", load * 100.0, limit * 100.0)
            }
            Self::Balance { from_spread, to_spread } => {
                write!(f, "the spread of load over the hosts goes from {from_spread:.4} to {to_spread:.4}")
            }
            Self::Consolidation { host } => write!(f, "{host} can be emptied and sleep"),
            Self::Room { host, gain } => {
                write!(f, "it makes room for {host} to be emptied, which gains {:.0} J in all", gain.get())
            }
            Self::Replacement { hosts } => {
                let names: Vec<&str> = hosts.iter().map(HostId::as_str).collect();
                write!(f, "{} can be emptied onto it, which draws less, and sleep", names.join(", "))
            }
            Self::Drain { host } => write!(f, "{host} is being drained"),
            Self::Shortage { cores_short } => write!(f, "the awake hosts are {cores_short:.1} cores short"),
            Self::Spare { host } => write!(f, "the awake hosts could not bear the loss of {host}"),
            Self::Bundle { group } => write!(f, "the vms of bundle {group} belong on one host"),
            Self::Apart { group, place } => write!(f, "vms of group {group} share {place} and are to be kept apart"),
            Self::Waiting { seconds } => write!(f, "vms that come would wait {seconds:.0} s for a host"),
            Self::Pin { host } => write!(f, "it is pinned to other hosts than {host}"),
            Self::Nearer { users, from_ms, to_ms } => {
                write!(f, "its users, {users}, are {to_ms:.0} ms away there and {from_ms:.0} ms here")
            }
            Self::Idle { empty_for, break_even } => {
                write!(f, "empty for {} s, sleeping pays after {} s", empty_for.as_secs(), break_even.as_secs())
            }
            Self::Regret { host, worse } => write!(f, "since it was moved to {host} {worse}"),
            Self::Operator { who } => write!(f, "ordered by {who}"),
        }
    }
}

/// What doing it and leaving it would cost over the horizon, by the exact model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    /// Energy of the hosts concerned if it is done, moves and switching included.
    pub energy_if_done: Joules,
    /// Energy of the hosts concerned if it is left.
    pub energy_if_left: Joules,
    /// Core-seconds of demand that would go unserved if it is done.
    pub overload_if_done: f64,
    /// Core-seconds of demand that would go unserved if it is left.
    pub overload_if_left: f64,
    /// Price of the distance to users of the vms that move if it is done; nothing where distance has no price.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub distance_if_done: Joules,
    /// The same if it is left.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub distance_if_left: Joules,
    /// Price of the time that new vms are expected to wait for a host if it is done; nothing where waiting has no price.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub waiting_if_done: Joules,
    /// The same if it is left.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub waiting_if_left: Joules,
    /// Time the copies take together.
    pub copy_time: Duration,
    /// Longest pause of a vm.
    pub downtime: Duration,
    /// Data copied.
    pub copied: Bytes,
    /// Price of leaving it less price of doing it, in joules: what the objective says is gained.
    pub gain: Joules,
}

impl Expectation {
    /// Both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            energy_if_done: self.energy_if_done + other.energy_if_done,
            energy_if_left: self.energy_if_left + other.energy_if_left,
            overload_if_done: self.overload_if_done + other.overload_if_done,
            overload_if_left: self.overload_if_left + other.overload_if_left,
            distance_if_done: self.distance_if_done + other.distance_if_done,
            distance_if_left: self.distance_if_left + other.distance_if_left,
            waiting_if_done: self.waiting_if_done + other.waiting_if_done,
            waiting_if_left: self.waiting_if_left + other.waiting_if_left,
            copy_time: self.copy_time.saturating_add(other.copy_time),
            downtime: self.downtime.max(other.downtime),
            copied: self.copied.saturating_add(other.copied),
            gain: self.gain + other.gain,
        }
    }

    /// The same with what new vms are expected to wait, at its price, in the place of what was said of that before.
    #[must_use]
    pub fn with_waiting(self, left: Joules, done: Joules) -> Self {
        let before = self.waiting_if_left - self.waiting_if_done;
        Self { waiting_if_left: left, waiting_if_done: done, gain: self.gain - before + (left - done), ..self }
    }

    /// Not doing it, where doing it is what is expected anyhow.
    #[must_use]
    pub fn undone(self) -> Self {
        Self {
            energy_if_done: self.energy_if_left,
            energy_if_left: self.energy_if_done,
            overload_if_done: self.overload_if_left,
            overload_if_left: self.overload_if_done,
            distance_if_done: self.distance_if_left,
            distance_if_left: self.distance_if_done,
            waiting_if_done: self.waiting_if_left,
            waiting_if_left: self.waiting_if_done,
            gain: Joules::ZERO - self.gain,
            ..Self::default()
        }
    }
}

fn is_nothing(price: &Joules) -> bool {
    *price == Joules::ZERO
}

/// One wish of a policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// What is to happen.
    pub action: Action,
    /// Why.
    pub motive: Motive,
    /// What it is expected to change.
    pub expected: Expectation,
}
