//! From samples every few seconds to one observation per slot.

use ballast_core::{
    history::{CHANNELS, Observed, slot_of},
    sample::{Reading, VmSample},
    units::BytesPerSec,
};
use serde::{Deserialize, Serialize};

/// A slot that is being filled: sums and numbers of the values by channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct OpenSlot {
    pub(super) slot: u32,
    sums: [f64; CHANNELS],
    numbers: [u32; CHANNELS],
}

impl OpenSlot {
    /// An empty one.
    pub(super) fn new(slot: u32) -> Self {
        Self { slot, ..Self::default() }
    }

    /// Takes a sample of this slot: CPU in cores, memory and traffic in bytes.
    pub(super) fn take(&mut self, sample: &VmSample) {
        let rate = |reading: &Reading<BytesPerSec>| reading.value().map(BytesPerSec::get);
        let values = [
            sample.cpu_used.value().map(|cpu| cpu.get()),
            sample.memory_used.value().map(|memory| memory.as_f64()),
            rate(&sample.disk_read),
            rate(&sample.disk_write),
            rate(&sample.net_rx),
            rate(&sample.net_tx),
        ];
        for (channel, value) in values.into_iter().enumerate() {
            if let Some(value) = value.filter(|value| value.is_finite() && *value >= 0.0) {
                self.sums[channel] += value;
                self.numbers[channel] += 1;
            }
        }
    }

    /// The means of the slot, for a vm of so many cores and bytes of memory.
    #[expect(clippy::cast_possible_truncation, reason = "seven digits are more than any counter has")]
    pub(super) fn close(&self, vcpus: f64, memory: f64) -> Observed {
        let mut means = [f32::NAN; CHANNELS];
        let scales = [vcpus, memory, 1.0, 1.0, 1.0, 1.0];
        for (channel, mean) in means.iter_mut().enumerate().filter(|(channel, _)| self.numbers[*channel] > 0) {
            *mean = (self.sums[channel] / f64::from(self.numbers[channel]) / scales[channel]) as f32;
        }
        Observed::from_channels(means)
    }
}

/// The slot of a sample.
pub(super) fn slot_of_sample(sample: &VmSample) -> u32 {
    slot_of(sample.taken_at)
}
