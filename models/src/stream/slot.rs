//! From samples every few seconds to one observation per slot.

use std::time::Duration;

use ballast_core::{
    history::{CHANNELS, Observed, Shape, slot_of},
    sample::{Reading, VmSample},
    units::BytesPerSec,
};
use serde::{Deserialize, Serialize};

/// A vm's size, without which its shares mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Size {
    pub(crate) vcpus: f64,
    pub(crate) memory: f64,
}

impl Size {
    #[expect(clippy::cast_possible_truncation, reason = "a size in MiB")]
    pub(crate) fn shape(self) -> Shape {
        Shape { vcpus: Some(self.vcpus as f32), memory_mib: Some((self.memory / f64::from(1 << 20)) as f32) }
    }
}

/// A slot that is being filled: sums and numbers of the values by channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenSlot {
    pub(crate) slot: u32,
    sums: [f64; CHANNELS],
    numbers: [u32; CHANNELS],
}

impl OpenSlot {
    /// An empty one.
    pub(crate) fn new(slot: u32) -> Self {
        Self { slot, ..Self::default() }
    }

    /// Takes a sample of this slot: CPU in cores, memory and traffic in bytes.
    pub(crate) fn take(&mut self, sample: &VmSample) {
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

    /// The means of the slot, NaN where nothing was measured; `None` where nothing was at all.
    pub(crate) fn close(&self) -> Option<Means> {
        let mean = |channel: usize| match self.numbers[channel] {
            0 => f64::NAN,
            number => self.sums[channel] / f64::from(number),
        };
        self.numbers.iter().any(|number| *number > 0).then(|| Means(std::array::from_fn(mean)))
    }
}

/// Means of a slot as they were measured: CPU in cores, memory in bytes, traffic in bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Means([f64; CHANNELS]);

impl Means {
    /// What they are to a vm of so many cores and bytes of memory.
    #[expect(clippy::cast_possible_truncation, reason = "seven digits are more than any counter has")]
    pub(crate) fn of(&self, size: Size) -> Observed {
        let scales = [size.vcpus, size.memory, 1.0, 1.0, 1.0, 1.0];
        Observed::from_channels(std::array::from_fn(|channel| (self.0[channel] / scales[channel]) as f32))
    }
}

/// The slot of a sample: its rates are means over the time before it was read, so that one read on the stroke belongs to the slot
/// that ends there, and is known when the next begins.
pub(crate) fn slot_of_sample(sample: &VmSample) -> u32 {
    slot_of(sample.taken_at.before(Duration::from_nanos(1)))
}
