//! The running boot, from the kernel: its id, and how long it has lasted.

use std::{fs, time::Duration};

use ballast_core::id::BootId;
use uuid::Uuid;

use super::HostError;

/// Where Linux keeps it: a new uuid at every boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The boot of the machine this runs on.
pub(super) fn of_this_machine() -> Result<BootId, HostError> {
    let text = fs::read_to_string(BOOT_ID).map_err(|error| HostError::Failed(format!("read {BOOT_ID}: {error}")))?;
    parse(&text)
}

fn parse(text: &str) -> Result<BootId, HostError> {
    Uuid::try_parse(text.trim())
        .map(BootId)
        .map_err(|_| HostError::Failed(format!("{BOOT_ID} holds {:?}, which is no uuid", text.trim())))
}

/// Where Linux says how long it has been up, sleeps included: seconds, first of two figures.
const UPTIME: &str = "/proc/uptime";

/// How long the machine this runs on has been up; `None` where the kernel does not say.
pub(super) fn uptime_of_this_machine() -> Option<Duration> {
    uptime(&fs::read_to_string(UPTIME).ok()?)
}

fn uptime(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.split_whitespace().next()?.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uptime_is_the_first_figure() {
        assert_eq!(uptime("350735.47 234388.90\n"), Some(Duration::from_millis(350_735_470)));
        assert!(uptime("").is_none() && uptime("-1 2").is_none() && uptime("soon").is_none());
    }

    #[test]
    fn the_kernels_id_is_taken_and_anything_else_refused() {
        assert!(parse("6c5aadc1-21b3-4b2f-9b4e-8e4f4c5f9a11\n").is_ok());
        assert!(parse("6c5aadc1").unwrap_err().to_string().contains("no uuid"));
    }
}
