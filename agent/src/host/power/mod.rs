//! Power meters of the host, tried in the order the configuration gives.
//!
//! Figures of different meters are not comparable, so the choice does not flap: once a meter has answered, only one
//! that stands earlier in the order replaces it; while it is silent, power is missing and the sampler estimates.

mod asked;
mod dcmi;
mod hwmon;
mod rapl;
mod redfish;

use std::{path::PathBuf, time::Duration};

use ballast_core::{
    sample::{PowerSource, Reading},
    units::Watts,
};
use ballast_daemon::clock::Clock;

use self::{asked::Asked, dcmi::Dcmi, rapl::Rapl, redfish::Redfish};

pub use self::redfish::RedfishMeter;

/// Which meters, in which order, and how they are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerOptions {
    /// The order in which meters are tried. [`PowerSource::Curve`] names none; the configuration refuses it.
    pub order: Vec<PowerSource>,
    /// Names of hwmon devices that measure the whole host; others (a graphics card's) measure a part of it.
    pub hwmon_meters: Vec<String>,
    /// The program that prints a DCMI power reading, with its arguments.
    pub dcmi_command: Vec<String>,
    /// The devices by which it reaches the BMC: where none of them is there, it need not be run to know what it says.
    pub dcmi_devices: Vec<PathBuf>,
    /// The host's own BMC by Redfish, where it is in the order.
    pub redfish: Option<RedfishMeter>,
    /// How often the BMC is asked; it is slow, so at least [`PowerOptions::BMC_PERIOD_MIN`].
    pub bmc_period: Duration,
}

impl PowerOptions {
    /// Shortest period of readings by the BMC, which takes up to seconds for one.
    pub const BMC_PERIOD_MIN: Duration = Duration::from_secs(10);
}

impl Default for PowerOptions {
    fn default() -> Self {
        Self {
            // Wall power first, then a board's meter, then the processor's own account, which leaves much out.
            order: vec![PowerSource::Dcmi, PowerSource::Hwmon, PowerSource::Rapl],
            hwmon_meters: vec!["power_meter".into()],
            dcmi_command: ["ipmitool", "dcmi", "power", "reading"].map(str::to_owned).into(),
            dcmi_devices: ["dev/ipmi0", "dev/ipmi/0", "dev/ipmidev/0"].map(PathBuf::from).into(),
            redfish: None,
            bmc_period: Duration::from_secs(15),
        }
    }
}

/// The meters of one host.
#[derive(Debug)]
pub(super) struct Meters {
    root: PathBuf,
    options: PowerOptions,
    rapl: Rapl,
    dcmi: Option<Asked>,
    redfish: Option<Asked>,
    /// Place in the order of the meter in use.
    chosen: Option<usize>,
    /// Until then no meter is looked for in files, as none was there.
    no_files_until: Duration,
}

/// Where no meter is in files, they are looked for again after so long: a driver may be loaded at any time.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

impl Meters {
    /// The meters below `root`. Starts the tasks that ask the BMC, where it is in the order: call it in a runtime.
    pub(super) fn new(root: PathBuf, options: PowerOptions, clock: &Clock) -> Self {
        let wants = |source| options.order.contains(&source);
        let period = options.bmc_period.max(PowerOptions::BMC_PERIOD_MIN);
        let devices = || options.dcmi_devices.iter().map(|device| root.join(device)).collect();
        let dcmi = || Dcmi { program: options.dcmi_command.clone(), devices: devices() };
        let dcmi = wants(PowerSource::Dcmi).then(dcmi);
        let redfish = options.redfish.as_ref().filter(|_| wants(PowerSource::Redfish)).map(Redfish::new);
        Self {
            dcmi: dcmi.map(|meter| Asked::start(meter, period, clock.clone())),
            redfish: redfish.map(|meter| Asked::start(meter, period, clock.clone())),
            rapl: Rapl::new(&root),
            root,
            options,
            chosen: None,
            no_files_until: Duration::ZERO,
        }
    }

    /// Whether a reading at `elapsed` looks into files, whose drivers may take their time.
    pub(super) fn may_block(&self, elapsed: Duration) -> bool {
        elapsed >= self.no_files_until
    }

    /// Reads the meter in use at `elapsed` on the agent's clock; also says which it is.
    pub(super) fn read(&mut self, elapsed: Duration) -> (Reading<Watts>, PowerSource) {
        let last = self.chosen.map_or(self.options.order.len(), |chosen| chosen + 1);
        let answer = (0..last).find_map(|place| {
            let watts = self.read_one(self.options.order[place], elapsed).filter(|watts| watts.is_sane())?;
            Some((place, watts))
        });
        self.chosen = answer.map_or(self.chosen, |(place, _)| Some(place));
        self.note_files(elapsed);
        let source = self.chosen.map_or(PowerSource::Curve, |chosen| self.options.order[chosen]);
        (answer.map_or(Reading::Missing, |(_, watts)| Reading::Measured(watts)), source)
    }

    /// Leaves the files alone for a while where there is no meter in any of them.
    fn note_files(&mut self, elapsed: Duration) {
        let chosen = self.chosen.map(|chosen| self.options.order[chosen]);
        let is_file = matches!(chosen, Some(PowerSource::Hwmon | PowerSource::Rapl));
        if self.may_block(elapsed) && !is_file && !self.rapl.is_there() {
            self.no_files_until = elapsed + LOOK_AGAIN;
        }
    }

    fn read_one(&mut self, source: PowerSource, elapsed: Duration) -> Option<Watts> {
        match source {
            PowerSource::Hwmon | PowerSource::Rapl if !self.may_block(elapsed) => None,
            PowerSource::Dcmi => self.dcmi.as_ref()?.latest(elapsed),
            PowerSource::Hwmon => hwmon::read(&self.root, &self.options.hwmon_meters),
            PowerSource::Rapl => self.rapl.read(elapsed),
            PowerSource::Redfish => self.redfish.as_ref()?.latest(elapsed),
            PowerSource::Curve => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn options(order: &[PowerSource]) -> PowerOptions {
        PowerOptions { order: order.to_vec(), ..PowerOptions::default() }
    }

    fn meter(root: &std::path::Path, microwatts: &str) {
        let device = root.join("sys/class/hwmon/hwmon0");
        fs::create_dir_all(&device).unwrap();
        fs::write(device.join("name"), "power_meter\n").unwrap();
        fs::write(device.join("power1_average"), microwatts).unwrap();
    }

    #[test]
    fn a_host_without_meters_says_so() {
        let root = tempfile::tempdir().unwrap();
        let order = options(&[PowerSource::Hwmon, PowerSource::Rapl]);
        let mut meters = Meters::new(root.path().into(), order, &Clock::system());
        assert_eq!(meters.read(Duration::ZERO), (Reading::Missing, PowerSource::Curve));
    }

    #[test]
    fn a_meter_that_falls_silent_is_missed_and_not_replaced_by_one_that_measures_less() {
        let root = tempfile::tempdir().unwrap();
        meter(root.path(), "120000000\n");
        let zone = root.path().join("sys/class/powercap/intel-rapl:0");
        fs::create_dir_all(&zone).unwrap();
        for (file, text) in [("name", "package-0"), ("energy_uj", "0"), ("max_energy_range_uj", "1000000000")] {
            fs::write(zone.join(file), text).unwrap();
        }
        let order = options(&[PowerSource::Hwmon, PowerSource::Rapl]);
        let mut meters = Meters::new(root.path().into(), order, &Clock::system());
        assert_eq!(meters.read(Duration::ZERO), (Reading::Measured(Watts(120.0)), PowerSource::Hwmon));
        fs::remove_dir_all(root.path().join("sys/class/hwmon")).unwrap();
        assert_eq!(meters.read(Duration::from_secs(5)), (Reading::Missing, PowerSource::Hwmon));
        assert_eq!(meters.read(Duration::from_secs(10)), (Reading::Missing, PowerSource::Hwmon));
    }

    #[test]
    fn where_no_meter_is_in_files_they_are_left_alone_for_a_minute() {
        let root = tempfile::tempdir().unwrap();
        let order = options(&[PowerSource::Hwmon, PowerSource::Rapl]);
        let mut meters = Meters::new(root.path().into(), order, &Clock::system());
        assert!(meters.may_block(Duration::ZERO));
        meters.read(Duration::ZERO);
        meter(root.path(), "120000000\n");
        let soon = LOOK_AGAIN - Duration::from_secs(1);
        assert_eq!((meters.may_block(soon), meters.read(soon).1), (false, PowerSource::Curve));
        assert_eq!((meters.may_block(LOOK_AGAIN), meters.read(LOOK_AGAIN).1), (true, PowerSource::Hwmon));
        assert!(meters.may_block(LOOK_AGAIN), "it is there now");
    }

    #[test]
    fn a_better_meter_that_appears_later_takes_over() {
        let root = tempfile::tempdir().unwrap();
        let zone = root.path().join("sys/class/powercap/intel-rapl:0");
        fs::create_dir_all(&zone).unwrap();
        for (file, text) in [("name", "package-0"), ("energy_uj", "0"), ("max_energy_range_uj", "1000000000")] {
            fs::write(zone.join(file), text).unwrap();
        }
        let order = options(&[PowerSource::Hwmon, PowerSource::Rapl]);
        let mut meters = Meters::new(root.path().into(), order, &Clock::system());
        assert_eq!(meters.read(Duration::ZERO).1, PowerSource::Curve);
        fs::write(zone.join("energy_uj"), "250000000").unwrap();
        assert_eq!(meters.read(Duration::from_secs(5)), (Reading::Measured(Watts(50.0)), PowerSource::Rapl));
        meter(root.path(), "120000000\n");
        assert_eq!(meters.read(Duration::from_secs(10)), (Reading::Measured(Watts(120.0)), PowerSource::Hwmon));
    }
}
