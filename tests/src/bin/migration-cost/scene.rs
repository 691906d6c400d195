//! Which vms there are and how they write: over a free link, and over one that is held back.

use anyhow::Result;
use ballast_tests::lab::{Lab, NETWORK};

/// A vm of the run.
#[derive(Debug)]
pub(crate) struct Vm {
    pub(crate) name: &'static str,
    pub(crate) mib: u32,
    /// MiB that it fills once: an emulated vm's process does not tell how much of its memory is zeros, which are not copied, so
    /// that one which was never used would look as large as one that was.
    pub(crate) held: u32,
}

/// What is moved.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) vms: &'static [Vm],
    /// What vms write, MiB per second and MiB that are written over and over.
    pub(crate) writes: &'static [(u32, u32)],
    /// Vms of which no copy converges, each with what it writes from its start.
    pub(crate) stubborn: &'static [(Vm, (u32, u32))],
    /// Megabits per second that a host may send.
    pub(crate) link: Option<u32>,
}

/// From nothing to more than a free link of the lab gives.
const FREE_WRITES: [(u32, u32); 6] = [(0, 0), (4, 48), (16, 32), (30, 56), (60, 40), (100, 56)];
const FREE_VMS: [Vm; 4] = [vm("small", 144, 0), vm("middle", 208, 0), vm("large", 304, 0), vm("huge", 352, 0)];

/// Copies of some 110 to 340 MiB: five to twenty seconds at 200 Mbit/s.
const HELD_VMS: [Vm; 4] = [vm("small", 160, 30), vm("middle", 240, 90), vm("large", 336, 160), vm("huge", 448, 240)];
/// From nothing to two thirds of what a link of 200 Mbit/s carries, where several passes are needed.
const HELD_WRITES: [(u32, u32); 6] = [(0, 0), (2, 48), (6, 32), (10, 40), (12, 24), (16, 40)];

/// They write more than a link of 200 Mbit/s carries, and always the same: a vm that stays is measured only when nobody has
/// arrived.
const STUBBORN: [(Vm, (u32, u32)); 2] = [(vm("stubborn", 256, 40), (40, 64)), (vm("wild", 320, 60), (90, 96))];
/// Seconds that one copy of them may take; the others end within less.
const STUBBORN_WITHIN: &str = "within=25";

const fn vm(name: &'static str, mib: u32, held: u32) -> Vm {
    Vm { name, mib, held }
}

impl Scene {
    /// Over a free link, or over one of so many megabits per second.
    pub(crate) fn over(link: Option<u32>) -> Self {
        match link {
            None => Self { vms: &FREE_VMS, writes: &FREE_WRITES, stubborn: &[], link },
            Some(_) => Self { vms: &HELD_VMS, writes: &HELD_WRITES, stubborn: &STUBBORN, link },
        }
    }

    /// Starts the vms, half of them on each host, and holds the hosts' cables back once they run.
    pub(crate) fn start(&self, lab: &Lab) -> Result<()> {
        let address = |index: usize| format!("{NETWORK}.{}", 150 + index);
        for (index, vm) in self.vms.iter().enumerate() {
            lab.vm_of(&Lab::host(1 + index % 2), vm.name, &address(index), vm.mib, 5)?;
        }
        for (index, (vm, writes)) in self.stubborn.iter().enumerate() {
            let address = address(self.vms.len() + index);
            lab.guest(&Lab::host(1 + index % 2), vm.name, &address, vm.mib, 5, &[STUBBORN_WITHIN])?;
            lab.answers(&address)?;
            lab.writes_and_holds(vm.name, *writes, vm.held)?;
        }
        let Some(link) = self.link else { return Ok(()) };
        (1..=2).try_for_each(|host| lab.throttle(&Lab::host(host), link))
    }

    /// Memory that each host needs for all of them, MiB.
    pub(crate) fn memory_mib(&self) -> u32 {
        self.all().map(|vm| vm.mib).sum::<u32>().max(1024)
    }

    /// Every vm.
    pub(crate) fn all(&self) -> impl Iterator<Item = &'static Vm> {
        self.vms.iter().chain(self.stubborn.iter().map(|(vm, _)| vm))
    }
}
