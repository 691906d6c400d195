//! The fleet while a decision is made: what has been assigned already counts, and the fleet itself stays as it is.
//!
//! A host's sums go on in the order in which vms come, so that they are to the last bit what adding all of them up anew
//! would give. Hosts without vms of one kind are alike: only the first of each kind is looked at.

use ballast_core::policy::textbook::{Consolidation, Detector, HISTORY};

use super::{
    facts::{HOST_KINDS, HOSTS, kind_of},
    fleet::Fleet,
};

/// What is looked at of every host for every vm.
#[derive(Debug, Clone, Copy)]
struct Place {
    host: usize,
    /// MIPS that are in use, by what targets are compared with.
    used: f64,
    /// MIPS that nobody has taken.
    free: f64,
    /// Power that counts as drawn before the vm comes.
    base: f64,
    ram: u32,
    is_closed: bool,
}

/// What only a host that looks best is asked for.
#[derive(Debug, Clone, Copy)]
struct Load {
    /// Its history, as shares of what it can do, oldest first.
    history: [f64; HISTORY],
    /// MIPS that its vms ask for.
    asked: f64,
}

/// A host that may take vms or be emptied, as it was: to be put back.
#[derive(Debug)]
pub(super) struct Before {
    slot: usize,
    place: Place,
    load: Load,
    assigned: usize,
}

/// The fleet while a decision is made.
#[derive(Debug)]
pub(super) struct Board<'a> {
    pub(super) fleet: &'a Fleet,
    rule: Consolidation,
    window: usize,
    places: Vec<Place>,
    loads: Vec<Load>,
    assigned: Vec<Vec<usize>>,
    /// The first host without vms of each kind, where it may be used.
    empty: [Option<usize>; HOST_KINDS.len()],
}

impl<'a> Board<'a> {
    pub(super) fn new(fleet: &'a Fleet, rule: Consolidation) -> Self {
        let window = fleet.demand.remembered(HISTORY);
        let (places, loads, assigned) = (Vec::new(), Vec::new(), Vec::new());
        let mut board = Self { fleet, rule, window, places, loads, assigned, empty: [None; HOST_KINDS.len()] };
        for host in 0..HOSTS {
            if !fleet.hosts[host].vms.is_empty() {
                board.add(host);
            }
        }
        for kind in 0..HOST_KINDS.len() {
            board.empty[kind] = board.next_empty(kind);
        }
        board
    }

    fn next_empty(&self, from: usize) -> Option<usize> {
        (from..HOSTS).step_by(HOST_KINDS.len()).find(|host| self.fleet.hosts[*host].vms.is_empty())
    }

    /// Takes a host onto the board as the fleet has it.
    fn add(&mut self, host: usize) -> usize {
        let state = &self.fleet.hosts[host];
        let ram = state.vms.iter().map(|vm| self.fleet.demand.kinds[*vm].ram).sum();
        let (used, free, base) = (state.given, state.free, self.base(host, state.given));
        self.places.push(Place { host, used, free, base, ram, is_closed: false });
        self.loads.push(self.load_of(host, &state.vms));
        self.assigned.push(Vec::new());
        self.places.len() - 1
    }

    /// The power from which what a vm adds is counted: by the host's record, which knows of nothing assigned since.
    fn base(&self, host: usize, used: f64) -> f64 {
        if self.fleet.quirks.idle && used == 0.0 { 0.0 } else { self.fleet.hosts[host].power }
    }

    fn load_of(&self, host: usize, vms: &[usize]) -> Load {
        let empty = Load { history: [0.0; HISTORY], asked: 0.0 };
        vms.iter().fold(empty, |load, vm| self.with(&load, *vm, host))
    }

    fn with(&self, load: &Load, vm: usize, host: usize) -> Load {
        let mut with = *load;
        with.asked += self.fleet.demand.mips[vm];
        if !matches!(self.rule.detector, Detector::Threshold(_)) {
            let loads = self.fleet.demand.loads(vm, host, HISTORY);
            with.history.iter_mut().zip(loads).for_each(|(sum, load)| *sum += load);
        }
        with
    }

    fn is_overloaded(&self, load: &Load, host: usize) -> bool {
        let requested = load.asked / kind_of(host).total;
        self.rule.detector.judge(&load.history[..self.window], requested, self.fleet.quirks.wls).is_over
    }

    /// Hosts with vms on it.
    pub(super) fn slots(&self) -> usize {
        self.places.len()
    }

    pub(super) fn host(&self, slot: usize) -> usize {
        self.places[slot].host
    }

    pub(super) fn close(&mut self, slot: usize) {
        self.places[slot].is_closed = true;
    }

    /// From now on hosts that are off take no vms.
    pub(super) fn close_off(&mut self) {
        self.empty = [None; HOST_KINDS.len()];
        for place in &mut self.places {
            place.is_closed |= self.fleet.hosts[place.host].utilisation == 0.0;
        }
    }

    /// The vms of a host and those assigned to it.
    pub(super) fn vms(&self, slot: usize) -> Vec<usize> {
        self.fleet.hosts[self.host(slot)].vms.iter().chain(&self.assigned[slot]).copied().collect()
    }

    pub(super) fn is_overloaded_now(&self, slot: usize) -> bool {
        self.is_overloaded(&self.loads[slot], self.host(slot))
    }

    /// Whether the host is overloaded with just these vms.
    pub(super) fn is_overloaded_with(&self, slot: usize, vms: &[usize]) -> bool {
        let host = self.host(slot);
        self.is_overloaded(&self.load_of(host, vms), host)
    }

    /// Assigns a vm to the host on which it adds least power and which it does not overload; its slot, and what it was
    /// before.
    pub(super) fn assign(&mut self, vm: usize) -> Option<(usize, Before)> {
        let best = self.best(vm)?;
        let slot = match best {
            Target::Slot(slot) => slot,
            Target::Empty(host) => {
                let kind = host % HOST_KINDS.len();
                self.empty[kind] = self.next_empty(host + HOST_KINDS.len());
                self.add(host)
            }
        };
        let before =
            Before { slot, place: self.places[slot], load: self.loads[slot], assigned: self.assigned[slot].len() };
        self.put(slot, vm);
        Some((slot, before))
    }

    fn put(&mut self, slot: usize, vm: usize) {
        let (mips, host) = (self.fleet.demand.mips[vm], self.host(slot));
        self.loads[slot] = self.with(&self.loads[slot], vm, host);
        let before = self.places[slot];
        // Before release 3.0.2 what was assigned since the last record did not count.
        let used = if self.fleet.quirks.v30 { before.used } else { before.used + mips };
        let ram = before.ram + self.fleet.demand.kinds[vm].ram;
        self.places[slot] = Place { used, free: before.free - mips, base: self.base(host, used), ram, ..before };
        self.assigned[slot].push(vm);
    }

    /// Takes assignments back, the last first.
    pub(super) fn put_back(&mut self, befores: Vec<Before>) {
        for before in befores.into_iter().rev() {
            self.places[before.slot] = before.place;
            self.loads[before.slot] = before.load;
            self.assigned[before.slot].truncate(before.assigned);
        }
    }

    fn best(&self, vm: usize) -> Option<Target> {
        let mips = self.fleet.demand.mips[vm];
        let mut best = Best { added: f64::MAX, host: usize::MAX, target: None };
        for host in self.empty.into_iter().flatten() {
            let kind = kind_of(host);
            let added = kind.power(mips / kind.total) - self.base(host, 0.0);
            if mips <= kind.core && self.has_ram(0, vm) && best.is_beaten(added, host) {
                best = Best { added, host, target: Some(Target::Empty(host)) };
            }
        }
        for (slot, place) in self.places.iter().enumerate() {
            let kind = kind_of(place.host);
            if place.free < mips || kind.core < mips || place.is_closed || !self.has_ram(place.ram, vm) {
                continue;
            }
            let added = kind.power((place.used + mips) / kind.total) - place.base;
            if best.is_beaten(added, place.host) && !self.would_overload(slot, vm) {
                best = Best { added, host: place.host, target: Some(Target::Slot(slot)) };
            }
        }
        best.target
    }

    fn would_overload(&self, slot: usize, vm: usize) -> bool {
        let place = &self.places[slot];
        place.used != 0.0 && self.is_overloaded(&self.with(&self.loads[slot], vm, place.host), place.host)
    }

    fn has_ram(&self, used: u32, vm: usize) -> bool {
        self.fleet.quirks.ram.is_none_or(|ram| used + self.fleet.demand.kinds[vm].ram <= ram)
    }
}

/// A host on the board, or one without vms that is not.
#[derive(Debug, Clone, Copy)]
enum Target {
    Slot(usize),
    Empty(usize),
}

/// The best host so far.
#[derive(Debug, Clone, Copy)]
struct Best {
    added: f64,
    host: usize,
    target: Option<Target>,
}

impl Best {
    /// True where `host` is better: less power, of equals the lower number.
    fn is_beaten(&self, added: f64, host: usize) -> bool {
        added < self.added || (added == self.added && host < self.host)
    }
}
