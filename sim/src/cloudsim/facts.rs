//! What the benchmark is made of: hosts, vms, power and time, as `CloudSim` 3.0.3 and its `PlanetLab` example have them.

/// Hosts of the benchmark.
pub(super) const HOSTS: usize = 800;

/// Moment at which everything begins, in seconds; decisions follow every [`PERIOD`] from here.
pub(super) const BEGIN: f64 = 0.1;

/// Seconds between two decisions, and between two values of the recording.
pub(super) const PERIOD: f64 = 300.0;

/// Decisions of the day: the one at 86 400.1 s comes after its end.
pub(super) const EPOCHS: usize = 287;

/// Megabytes of memory that a migration moves per second: half of a gigabit, however many migrate at a time.
pub(super) const MIGRATED_MB_PER_SECOND: f64 = 1_000_000.0 / 16_000.0;

/// Share of a vm's CPU that its copy takes at the target while it migrates.
pub(super) const INCOMING_SHARE: f64 = 0.1;

/// Share of its CPU that a vm keeps while it migrates.
pub(super) const MIGRATING_SHARE: f64 = 0.9;

/// Memory of a host in megabytes, asked for when the vms are first placed and never again.
pub(super) const HOST_RAM: u32 = 4096;

/// Vms that a host's network has room for when they are first placed: each reserves a tenth of a gigabit.
pub(super) const VMS_PER_HOST: usize = 10;

/// Points of a power curve.
const POINTS: usize = 11;

/// One kind of host: two cores, and a published power curve.
#[derive(Debug)]
pub(super) struct HostKind {
    /// What one core can do, MIPS: what a vm, which has one, can use at most.
    pub(super) core: f64,
    /// What both can do, MIPS.
    pub(super) total: f64,
    /// Power at 0 %, 10 % … 100 %, watts.
    watts: [f64; POINTS],
    /// What each tenth adds, divided by ten.
    steps: [f64; POINTS],
    /// 0, 0.1 … 1.
    tenths: [f64; POINTS],
    /// 0, 1 … 10.
    whole: [f64; POINTS],
}

impl HostKind {
    const fn new(core: f64, total: f64, watts: [f64; POINTS]) -> Self {
        let (mut steps, mut tenths, mut whole) = ([0.0; POINTS], [0.0; POINTS], [0.0; POINTS]);
        let (mut index, mut number) = (0, 0.0);
        while index < POINTS {
            (whole[index], tenths[index]) = (number, number / 10.0);
            if index + 1 < POINTS {
                steps[index] = (watts[index + 1] - watts[index]) / 10.0;
            }
            index += 1;
            number += 1.0;
        }
        Self { core, total, watts, steps, tenths, whole }
    }

    /// Power at a utilisation. The order of the operations is the original's; what is above 1 by rounding counts as 1,
    /// where the original would end with an error.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // From 0 to 10 by the bounds just applied.
    pub(super) fn power(&self, utilisation: f64) -> f64 {
        let utilisation = utilisation.clamp(0.0, 1.0);
        let scaled = utilisation * 10.0;
        let below = scaled as usize;
        // On a tenth the curve's own point counts, whatever rounding makes of the rest.
        if scaled == self.whole[below] {
            return self.watts[below];
        }
        self.watts[below] + self.steps[below] * (utilisation - self.tenths[below]) * 100.0
    }

    /// Power at full load.
    pub(super) fn peak(&self) -> f64 {
        self.watts[POINTS - 1]
    }
}

/// HP `ProLiant` ML110 G4 and G5, which take turns.
pub(super) const HOST_KINDS: [HostKind; 2] = [
    HostKind::new(1860.0, 3720.0, [86.0, 89.4, 92.6, 96.0, 99.5, 102.0, 106.0, 108.0, 112.0, 114.0, 117.0]),
    HostKind::new(2660.0, 5320.0, [93.7, 97.0, 101.0, 105.0, 110.0, 116.0, 121.0, 125.0, 129.0, 133.0, 135.0]),
];

/// The kind of a host.
pub(super) fn kind_of(host: usize) -> &'static HostKind {
    &HOST_KINDS[host % HOST_KINDS.len()]
}

/// One kind of vm, with one core.
#[derive(Debug, Clone, Copy)]
pub(super) struct VmKind {
    /// What it may use, MIPS.
    pub(super) mips: f64,
    /// Memory, megabytes.
    pub(super) ram: u32,
}

/// A quarter of the vms each, the fastest first.
pub(super) const VM_KINDS: [VmKind; 4] = [
    VmKind { mips: 2500.0, ram: 870 },
    VmKind { mips: 2000.0, ram: 1740 },
    VmKind { mips: 1000.0, ram: 1740 },
    VmKind { mips: 500.0, ram: 613 },
];

/// The kind of the vm at `index` of `vms`.
pub(super) fn vm_kind_of(index: usize, vms: usize) -> VmKind {
    VM_KINDS[index / vms.div_ceil(VM_KINDS.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_is_the_curves_own_on_the_tenths_and_lies_on_lines_between() {
        let [g4, g5] = &HOST_KINDS;
        assert_eq!((g4.power(0.0), g4.power(0.5), g4.power(1.0), g5.peak()), (86.0, 102.0, 117.0, 135.0));
        assert!((g5.power(0.25) - 103.0).abs() < 1e-9, "half-way from 101 to 105");
        assert_eq!(g4.power(1.000_000_1), 117.0);
    }

    #[test]
    fn a_quarter_of_the_vms_is_of_each_kind() {
        let kinds: Vec<f64> = (0..6).map(|vm| vm_kind_of(vm, 6).mips).collect();
        assert_eq!(kinds, [2500.0, 2500.0, 2000.0, 2000.0, 1000.0, 1000.0]);
        assert_eq!(vm_kind_of(1051, 1052).ram, 613);
    }

    #[test]
    fn a_migration_takes_what_half_a_gigabit_takes() {
        let seconds = VM_KINDS.map(|kind| f64::from(kind.ram) / MIGRATED_MB_PER_SECOND);
        assert_eq!(seconds, [13.92, 27.84, 27.84, 9.808]);
    }
}
