//! What the configuration means for the real drivers.

use ballast_core::{inventory::SleepSupport, sample::PowerSource};

use super::{BmcConfig, Config, PowerMeter};
use crate::host::{
    bmc::BmcOptions,
    power::{PowerOptions, RedfishMeter},
    real::HostOptions,
    sleep::SleepOptions,
};

impl Config {
    /// How the real host is read, put to sleep, and wakes others.
    pub fn host_options(&self) -> HostOptions {
        HostOptions {
            cpu: Some(self.host.cpu_capacity),
            memory: Some(self.host.memory_capacity),
            power: PowerOptions {
                order: self.power.meters.iter().map(|meter| meter.source()).collect(),
                redfish: self.bmc.as_ref().and_then(BmcConfig::meter),
                ..PowerOptions::default()
            },
            sleep: SleepOptions {
                sleep_command: self.sleep_command(),
                wake_command: self.wake_command(),
                bmc: self.bmc.as_ref().map(BmcConfig::options),
                ..SleepOptions::default()
            },
            ..HostOptions::default()
        }
    }

    /// The site's command, or systemd's for the way the host sleeps.
    fn sleep_command(&self) -> Vec<String> {
        let verb = match self.host.sleep {
            SleepSupport::None => return Vec::new(),
            _ if !self.host.sleep_command.is_empty() => return self.host.sleep_command.clone(),
            SleepSupport::Suspend => "suspend",
            SleepSupport::PowerOff => "poweroff",
        };
        vec!["systemctl".to_owned(), verb.to_owned()]
    }

    /// The site's command, with name and wake address at its end unless it says where it wants them.
    fn wake_command(&self) -> Vec<String> {
        let mut command = self.host.wake_command.clone();
        let placed = command.iter().any(|part| part.contains("{host}") || part.contains("{address}"));
        if !command.is_empty() && !placed {
            command.extend(["{host}".to_owned(), "{address}".to_owned()]);
        }
        command
    }

    /// How the libvirt driver works.
    #[cfg(feature = "libvirt")]
    pub fn libvirt_options(&self) -> crate::hypervisor::libvirt::LibvirtOptions {
        crate::hypervisor::libvirt::LibvirtOptions {
            uri: self.libvirt.uri.clone(),
            shared_paths: self.libvirt.shared_paths.clone(),
            migration_tls_dir: self.libvirt.migration_tls_dir.clone(),
            measures_writes: self.libvirt.measures_writes,
            ..Default::default()
        }
    }
}

impl BmcConfig {
    fn options(&self) -> BmcOptions {
        BmcOptions {
            user: self.user.clone(),
            password_file: self.password_file.clone(),
            ca: self.ca.clone(),
            trusted: self.trusted.clone(),
            ipmitool: BmcOptions::default_ipmitool(),
        }
    }

    fn meter(&self) -> Option<RedfishMeter> {
        Some(RedfishMeter { address: self.own.clone()?, bmc: self.options() })
    }
}

impl PowerMeter {
    fn source(self) -> PowerSource {
        match self {
            Self::Dcmi => PowerSource::Dcmi,
            Self::Redfish => PowerSource::Redfish,
            Self::Hwmon => PowerSource::Hwmon,
            Self::Rapl => PowerSource::Rapl,
        }
    }
}
