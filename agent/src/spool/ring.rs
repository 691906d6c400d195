//! Batches not yet acknowledged, in memory: what the link sends from. Bounded by bytes; the oldest go first.

use std::collections::VecDeque;

use ballast_core::id::Seq;

/// One batch as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) seq: Seq,
    pub(crate) bytes: Vec<u8>,
}

/// The backlog.
#[derive(Debug)]
pub(crate) struct Ring {
    batches: VecDeque<Encoded>,
    bytes: usize,
    bytes_max: usize,
    next: Seq,
    dropped: u64,
}

impl Ring {
    /// An empty backlog of at most `bytes_max`; the first batch gets number 1.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { batches: VecDeque::new(), bytes: 0, bytes_max, next: Seq(1), dropped: 0 }
    }

    /// Number of the next batch.
    pub(crate) fn next(&self) -> Seq {
        self.next
    }

    /// The oldest batch held, or the next where none is.
    pub(crate) fn oldest(&self) -> Seq {
        self.batches.front().map_or(self.next, |batch| batch.seq)
    }

    /// Adds a batch; a number below the newest is one that was read twice and changes nothing.
    pub(crate) fn push(&mut self, batch: Encoded) {
        if batch.seq < self.next {
            return;
        }
        self.next = Seq(batch.seq.0 + 1);
        self.bytes += batch.bytes.len();
        self.batches.push_back(batch);
        while self.bytes > self.bytes_max && self.batches.len() > 1 {
            self.pop();
            self.dropped += 1;
        }
    }

    fn pop(&mut self) {
        if let Some(batch) = self.batches.pop_front() {
            self.bytes -= batch.bytes.len();
        }
    }

    /// Forgets everything up to `seq`; never gives a number at or below it again.
    pub(crate) fn acknowledge(&mut self, seq: Seq) {
        while self.batches.front().is_some_and(|batch| batch.seq <= seq) {
            self.pop();
        }
        self.next = self.next.max(Seq(seq.0.saturating_add(1)));
    }

    /// The first batch after `seq`.
    pub(crate) fn after(&self, seq: Seq) -> Option<&Encoded> {
        let index = self.batches.partition_point(|batch| batch.seq <= seq);
        self.batches.get(index)
    }

    /// Batches held.
    pub(crate) fn len(&self) -> usize {
        self.batches.len()
    }

    /// Batches dropped for want of room.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(seq: u64, length: usize) -> Encoded {
        Encoded { seq: Seq(seq), bytes: vec![0; length] }
    }

    #[test]
    fn the_oldest_are_dropped_and_counted_when_room_runs_out() {
        let mut ring = Ring::new(100);
        (1..=10).for_each(|seq| ring.push(batch(seq, 30)));
        assert_eq!((ring.oldest(), ring.len(), ring.dropped()), (Seq(8), 3, 7));
    }

    #[test]
    fn acknowledged_batches_are_gone_and_their_numbers_never_used_again() {
        let mut ring = Ring::new(1000);
        (1..=3).for_each(|seq| ring.push(batch(seq, 10)));
        ring.acknowledge(Seq(2));
        assert_eq!((ring.oldest(), ring.next()), (Seq(3), Seq(4)));
        ring.acknowledge(Seq(90));
        assert_eq!((ring.oldest(), ring.next(), ring.len()), (Seq(91), Seq(91), 0));
        ring.push(batch(7, 10));
        assert_eq!(ring.len(), 0);
    }

    #[test]
    fn sending_goes_on_after_the_last_number_sent() {
        let mut ring = Ring::new(1000);
        [3, 4, 9].into_iter().for_each(|seq| ring.push(batch(seq, 10)));
        assert_eq!(ring.after(Seq(0)).map(|batch| batch.seq), Some(Seq(3)));
        assert_eq!(ring.after(Seq(4)).map(|batch| batch.seq), Some(Seq(9)));
        assert_eq!(ring.after(Seq(9)), None);
    }
}
