//! A vm's past in slots of five minutes, with what is missing left out: what forecasters learn from and are judged on.
//!
//! Unlike a window of telemetry it is as long as a recording, and unlike a simulated demand it keeps gaps and readings above
//! the nominal capacity, for a forecaster has to cope with both.

use serde::{Deserialize, Serialize};

use crate::{forecast::STEP, units::Timestamp};

/// Slots of a day.
pub const SLOTS_PER_DAY: u32 = 288;

/// Slots from the midnight before Monday 29 December 1969 to the Unix epoch, a Thursday: slots are counted from a Monday.
const MONDAY_TO_EPOCH: u32 = 3 * SLOTS_PER_DAY;

/// Values of one slot.
pub const CHANNELS: usize = 6;

/// What one vm did in one slot: means over it. NaN where nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// CPU as a share of its vCPUs; accounting of turbo clocks puts some readings above 1.
    pub cpu: f32,
    /// Memory in use as a share of what it may grow to.
    pub memory: f32,
    /// Storage read, bytes per second.
    pub disk_read: f32,
    /// Storage written, bytes per second.
    pub disk_write: f32,
    /// Network received, bytes per second.
    pub net_rx: f32,
    /// Network sent, bytes per second.
    pub net_tx: f32,
}

impl Observed {
    /// A slot of which nothing is known.
    pub const MISSING: Self = Self {
        cpu: f32::NAN,
        memory: f32::NAN,
        disk_read: f32::NAN,
        disk_write: f32::NAN,
        net_rx: f32::NAN,
        net_tx: f32::NAN,
    };

    /// Its values in the order of its fields.
    pub fn channels(&self) -> [f32; CHANNELS] {
        [self.cpu, self.memory, self.disk_read, self.disk_write, self.net_rx, self.net_tx]
    }

    /// From values in the order of its fields; what is negative or infinite is missing.
    pub fn from_channels(values: [f32; CHANNELS]) -> Self {
        let [cpu, memory, disk_read, disk_write, net_rx, net_tx] =
            values.map(|value| if value.is_finite() && value >= 0.0 { value } else { f32::NAN });
        Self { cpu, memory, disk_read, disk_write, net_rx, net_tx }
    }

    /// Whether nothing at all is known.
    pub fn is_missing(&self) -> bool {
        self.channels().iter().all(|value| value.is_nan())
    }
}

/// What is known of a vm itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Its virtual CPUs; `None` where nobody says.
    pub vcpus: Option<f32>,
    /// Memory it may grow to, MiB; `None` where nobody says.
    pub memory_mib: Option<f32>,
}

/// One vm's past.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Its name in the recording.
    pub name: String,
    /// What is known of the vm.
    pub shape: Shape,
    /// The slot in which it begins, counted so that slot 0 begins a Monday.
    pub first: u32,
    /// One entry per slot.
    pub slots: Vec<Observed>,
}

impl History {
    /// Whether it is of a day or less: such a recording has no yesterday.
    pub fn is_short(&self) -> bool {
        self.slots.len() <= SLOTS_PER_DAY as usize
    }

    /// What was seen in `slot`; missing outside the recording.
    pub fn at(&self, slot: u32) -> Observed {
        let index = slot.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| self.slots.get(index)).copied().unwrap_or(Observed::MISSING)
    }
}

/// The slot in which `at` lies, UTC.
pub fn slot_of(at: Timestamp) -> u32 {
    let slots = at.since(Timestamp::EPOCH).as_secs() / STEP.as_secs();
    u32::try_from(slots).unwrap_or(u32::MAX - MONDAY_TO_EPOCH) + MONDAY_TO_EPOCH
}

/// When `slot` begins, UTC; the epoch for one before it.
pub fn start_of(slot: u32) -> Timestamp {
    Timestamp::from_secs(u64::from(slot.saturating_sub(MONDAY_TO_EPOCH)) * STEP.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_0_of_a_week_begins_on_monday_midnight() {
        // 26 January 2026 was a Monday; its midnight UTC is 1769385600 s after the epoch.
        let monday = slot_of(Timestamp::from_secs(1_769_385_600));
        assert_eq!(monday % (7 * SLOTS_PER_DAY), 0);
        assert_eq!(slot_of(Timestamp::from_secs(1_769_385_600 + 299)), monday);
        assert_eq!(slot_of(Timestamp::from_secs(1_769_385_600 + 300)), monday + 1);
        assert_eq!(start_of(monday + 1), Timestamp::from_secs(1_769_385_600 + 300));
    }

    #[test]
    fn what_makes_no_sense_is_missing() {
        let observed = Observed::from_channels([0.5, -1.0, f32::INFINITY, f32::NAN, 0.0, 1.0]);
        assert_eq!((observed.cpu, observed.net_rx, observed.net_tx), (0.5, 0.0, 1.0));
        assert!(observed.memory.is_nan() && observed.disk_read.is_nan() && observed.disk_write.is_nan());
        assert!(Observed::MISSING.is_missing() && !observed.is_missing());
    }

    #[test]
    fn outside_its_recording_a_history_knows_nothing() {
        let slots = vec![Observed::from_channels([0.5; CHANNELS]); 2];
        let history = History { name: "a".into(), shape: Shape::default(), first: 10, slots };
        assert_eq!(history.at(11).cpu, 0.5);
        assert!(history.at(9).is_missing() && history.at(12).is_missing());
    }
}
