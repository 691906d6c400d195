//! What stands on one row of the peers' table: what each vm asks for, and what a host holds once everything has happened.

use std::cmp::Ordering;

use crate::{
    policy::{View, board::Board},
    risk::VmLoad,
    snapshot::{HostPower, VmView},
    units::Cores,
};

/// A float as a key of sorted sets: ordered over all values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key(pub(super) f64);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// What a policy takes a vm to ask for, in cores.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Ask {
    /// What it uses, or is expected to.
    pub(super) cores: f64,
    /// How far it may go beyond that; zero for the policies that do not ask.
    pub(super) radius: f64,
}

impl Ask {
    /// What the vm uses now; all its vCPUs where that is not known, for what is unknown must not look idle.
    pub(super) fn used(vm: &VmView) -> Self {
        let known = vm.cpu_used().filter(|used| used.is_sane());
        Self { cores: known.map_or(f64::from(vm.record.vcpus), Cores::get), radius: 0.0 }
    }

    /// What the vm would use if it never had to wait: VMware's notion of demand.
    pub(super) fn wanted(view: View<'_>) -> impl FnMut(&VmView) -> Self {
        move |vm| {
            let load = VmLoad::of(vm, view.forecasts.vms.get(&vm.id()));
            Self { cores: load.now().get(), radius: 0.0 }
        }
    }
}

/// A vm that may be moved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mover<'a> {
    pub(super) vm: &'a VmView,
    pub(super) ask: Ask,
}

impl Mover<'_> {
    /// Bytes promised to it.
    pub(super) fn memory(&self) -> f64 {
        self.vm.memory_reserved().as_f64()
    }

    /// Its vCPUs.
    pub(super) fn vcpus(&self) -> f64 {
        f64::from(self.vm.record.vcpus)
    }
}

/// What a host holds once everything has happened.
#[derive(Debug, Clone, Default)]
pub(super) struct Stand {
    /// Cores asked for, the host's own use included, radii not.
    pub(super) cpu: f64,
    /// Bytes promised.
    pub(super) memory: f64,
    /// vCPUs.
    pub(super) vcpus: f64,
    /// The vms' radii, the largest first; empty where nobody has one.
    radii: Vec<f64>,
}

impl Stand {
    /// Counts a vm here.
    pub(super) fn add(&mut self, vm: &VmView, ask: Ask) {
        self.cpu += ask.cores;
        self.memory += vm.memory_reserved().as_f64();
        self.vcpus += f64::from(vm.record.vcpus);
        if ask.radius > 0.0 {
            let place = self.radii.partition_point(|radius| *radius > ask.radius);
            self.radii.insert(place, ask.radius);
        }
    }

    /// Counts a vm here no more.
    pub(super) fn remove(&mut self, vm: &VmView, ask: Ask) {
        self.cpu = (self.cpu - ask.cores).max(0.0);
        self.memory = (self.memory - vm.memory_reserved().as_f64()).max(0.0);
        self.vcpus = (self.vcpus - f64::from(vm.record.vcpus)).max(0.0);
        if let Some(place) = self.radii.iter().position(|radius| *radius <= ask.radius).filter(|_| ask.radius > 0.0) {
            self.radii.remove(place);
        }
    }

    /// The sum of centres and of the `gamma` largest radii, of one vm more with radius `more`.
    pub(super) fn demand(&self, gamma: usize, more: f64) -> f64 {
        let largest: f64 = self.radii.iter().take(gamma).sum();
        let last = if gamma > 0 { self.radii.get(gamma - 1).copied().unwrap_or_default() } else { f64::INFINITY };
        self.cpu + largest + (more - last).max(0.0)
    }
}

/// One host on the table.
#[derive(Debug, Clone)]
pub(super) struct Row<'a> {
    pub(super) stand: Stand,
    /// The vms on it that may be moved and have not been.
    pub(super) movers: Vec<Mover<'a>>,
    /// Awake, in use and trusted: what peers take for a member of the cluster.
    pub(super) is_member: bool,
    pub(super) cores: f64,
    pub(super) bytes: f64,
    /// Vms that are there to stay: they cannot be moved, or are arriving.
    pub(super) fixed: usize,
    /// True where a move of its own has been proposed: it is then not emptied in the same round.
    pub(super) gives: bool,
}

impl<'a> Row<'a> {
    /// The row of one host, what is under way to it left out.
    pub(super) fn of(board: &Board<'a>, slot: usize, ask: &mut impl FnMut(&'a VmView) -> Ask) -> Self {
        let at = &board.slots[slot];
        let (mut stand, mut movers) = (Stand { cpu: at.load.base.get(), ..Stand::default() }, Vec::new());
        let is_source = at.host.power == HostPower::Awake && at.host.is_trusted();
        for vm in &at.settled {
            let mover = Mover { vm, ask: ask(vm) };
            stand.add(vm, mover.ask);
            if is_source && board.is_movable(vm) && !board.is_resting(vm) {
                movers.push(mover);
            }
        }
        let fixed = at.settled.len() - movers.len();
        let cores = at.load.capacity.get().max(f64::MIN_POSITIVE);
        let bytes = at.load.memory_capacity.as_f64().max(1.0);
        Self { stand, movers, is_member: at.host.is_eligible_target(), cores, bytes, fixed, gives: false }
    }

    /// CPU in use as a share of what there is.
    pub(super) fn cpu_share(&self) -> f64 {
        self.stand.cpu / self.cores
    }

    /// Memory promised as a share of what there is.
    pub(super) fn memory_share(&self) -> f64 {
        self.stand.memory / self.bytes
    }

    /// True where every vm on it could go, and all in one proposal.
    pub(super) fn could_be_emptied(&self) -> bool {
        self.fixed == 0 && !self.gives && !self.movers.is_empty()
    }

    /// True where vms are, or will be.
    pub(super) fn is_inhabited(&self) -> bool {
        self.fixed > 0 || !self.movers.is_empty()
    }

    /// Its vms, those that use most CPU first.
    pub(super) fn largest_first(&self) -> Vec<Mover<'a>> {
        let mut movers = self.movers.clone();
        movers.sort_by(|a, b| b.ask.cores.total_cmp(&a.ask.cores).then(a.vm.id().cmp(&b.vm.id())));
        movers
    }

    /// Its vms, those that use least CPU first.
    pub(super) fn smallest_first(&self) -> Vec<Mover<'a>> {
        let mut movers = self.movers.clone();
        movers.sort_by(|a, b| a.ask.cores.total_cmp(&b.ask.cores).then(a.vm.id().cmp(&b.vm.id())));
        movers
    }
}
