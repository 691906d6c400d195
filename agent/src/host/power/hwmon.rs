//! Power meters of the hardware monitoring class, in microwatts.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use ballast_core::units::Watts;

/// The sum over all channels of the devices named `meters` below `root`; `None` where there is none, or where a channel
/// cannot be read.
pub(super) fn read(root: &Path, meters: &[String]) -> Option<Watts> {
    let devices = fs::read_dir(root.join("sys/class/hwmon")).ok()?;
    let mut total = None;
    for device in devices.flatten().map(|entry| entry.path()) {
        let name = fs::read_to_string(device.join("name")).unwrap_or_default();
        if meters.iter().any(|meter| meter == name.trim()) {
            for channel in channels(&device).into_values() {
                let microwatts: f64 = fs::read_to_string(channel).ok()?.trim().parse().ok()?;
                total = Some(total.unwrap_or(Watts::ZERO) + Watts(microwatts / 1e6));
            }
        }
    }
    total
}

/// The files of a device's power channels; where a channel has both, the average rather than the instant.
fn channels(device: &Path) -> BTreeMap<String, PathBuf> {
    let mut channels = BTreeMap::new();
    let Ok(entries) = fs::read_dir(device) else { return channels };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((channel, kind)) = name.split_once('_').filter(|(channel, _)| is_channel(channel)) else { continue };
        match kind {
            "average" => _ = channels.insert(channel.to_owned(), entry.path()),
            "input" => _ = channels.entry(channel.to_owned()).or_insert_with(|| entry.path()),
            _ => {}
        }
    }
    channels
}

fn is_channel(name: &str) -> bool {
    name.strip_prefix("power").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(root: &Path, number: u32, name: &str, files: &[(&str, &str)]) {
        let device = root.join(format!("sys/class/hwmon/hwmon{number}"));
        fs::create_dir_all(&device).unwrap();
        fs::write(device.join("name"), format!("{name}\n")).unwrap();
        for (file, text) in files {
            fs::write(device.join(file), text).unwrap();
        }
    }

    fn read_meter(root: &Path) -> Option<Watts> {
        read(root, &["power_meter".to_owned()])
    }

    #[test]
    fn only_devices_that_measure_the_host_count_and_averages_come_first() {
        let root = tempfile::tempdir().unwrap();
        device(root.path(), 0, "amdgpu", &[("power1_average", "90000000")]);
        let channels = [
            ("power1_average", "200000000\n"),
            ("power1_input", "999000000\n"),
            ("power2_input", "20000000\n"),
            ("power1_cap_max", "1000000000\n"),
            ("power_x", "1\n"),
        ];
        device(root.path(), 1, "power_meter", &channels);
        assert_eq!(read_meter(root.path()), Some(Watts(220.0)));
    }

    #[test]
    fn an_unreadable_channel_makes_the_whole_unknown() {
        let root = tempfile::tempdir().unwrap();
        device(root.path(), 1, "power_meter", &[("power1_input", "5"), ("power2_input", "")]);
        assert_eq!(read_meter(root.path()), None);
        assert_eq!(read_meter(Path::new("/nowhere")), None);
    }
}
