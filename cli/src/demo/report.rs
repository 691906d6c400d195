//! The closing figures: the fleet under ballast beside the same fleet left alone.

use std::{fmt, time::Duration};

use ballast_sim::{Ledger, Scenario};
use serde::Serialize;

use super::stage::Stage;

/// The figures of one run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    seed: u64,
    hosts: usize,
    vms: usize,
    fleet_seconds: f64,
    wall_seconds: f64,
    energy_joules: f64,
    baseline_energy_joules: f64,
    energy_saved_percent: f64,
    /// Host-seconds in which demand was above capacity.
    overload_seconds: f64,
    baseline_overload_seconds: f64,
    /// Core-seconds that vms wanted and did not get because their host had no more.
    overload_core_seconds: f64,
    baseline_overload_core_seconds: f64,
    /// Core-seconds that vms lost to being migrated.
    migration_core_seconds: f64,
    migrations: u64,
    migrations_failed: u64,
    downtime_ms_mean: f64,
    copied_bytes: u64,
    sleeps: u64,
    wakes: u64,
    /// Hosts awake, as a mean over the run.
    hosts_awake_mean: f64,
}

impl Summary {
    /// Sums up.
    pub(crate) fn of(stage: &Stage, scenario: &Scenario, seed: u64, wall: Duration) -> Self {
        let (ours, alone) = (stage.world(|world| world.ledger()), stage.twin().ledger());
        let seconds = ours.elapsed.as_secs_f64();
        Self {
            seed,
            hosts: scenario.hosts().len(),
            vms: scenario.vms().len(),
            fleet_seconds: seconds,
            wall_seconds: wall.as_secs_f64(),
            energy_joules: ours.energy.get(),
            baseline_energy_joules: alone.energy.get(),
            energy_saved_percent: 100.0 * (1.0 - ours.energy.ratio_of(alone.energy)),
            overload_seconds: ours.overload_seconds,
            baseline_overload_seconds: alone.overload_seconds,
            overload_core_seconds: ours.overload_core_seconds,
            baseline_overload_core_seconds: alone.overload_core_seconds,
            migration_core_seconds: ours.migration_core_seconds,
            migrations: ours.migrations,
            migrations_failed: ours.aborted,
            downtime_ms_mean: mean_downtime_ms(&ours),
            copied_bytes: ours.copied.get(),
            sleeps: ours.sleeps,
            wakes: ours.wakes,
            hosts_awake_mean: if seconds > 0.0 { ours.awake_host_seconds / seconds } else { 0.0 },
        }
    }
}

#[allow(clippy::cast_precision_loss)] // Counts of migrations are small.
fn mean_downtime_ms(ledger: &Ledger) -> f64 {
    1000.0 * ledger.downtime.as_secs_f64() / (ledger.migrations as f64).max(1.0)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.fleet_seconds / 3600.0;
        let (hosts, vms, seed, wall) = (self.hosts, self.vms, self.seed, self.wall_seconds);
        writeln!(f, "{hours:.1} hours of {hosts} hosts with {vms} vms (seed {seed}) in {wall:.0} s")?;
        writeln!(f, "{:<26}{:>12}{:>12}", "", "with ballast", "left alone")?;
        let kwh = |joules: f64| joules / 3.6e6;
        let mut row = |name: &str, ours: f64, alone: f64, digits: usize| {
            writeln!(f, "{name:<26}{ours:>12.digits$}{alone:>12.digits$}")
        };
        row("energy, kWh", kwh(self.energy_joules), kwh(self.baseline_energy_joules), 2)?;
        row("overloaded, host-seconds", self.overload_seconds, self.baseline_overload_seconds, 0)?;
        row("unserved, core-seconds", self.overload_core_seconds, self.baseline_overload_core_seconds, 0)?;
        row("hosts awake, mean", self.hosts_awake_mean, ballast_core::units::count(self.hosts), 1)?;
        let (migrations, failed) = (self.migrations, self.migrations_failed);
        writeln!(f, "{:<26}{migrations:>12}{:>12}", "migrations", 0)?;
        writeln!(
            f,
            "{failed} failed; mean pause {:.0} ms; {} sleeps, {} wakes",
            self.downtime_ms_mean, self.sleeps, self.wakes
        )?;
        write!(f, "energy saved: {:.1} %", self.energy_saved_percent)
    }
}
