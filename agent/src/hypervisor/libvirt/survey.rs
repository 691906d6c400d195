//! How the vms write their memory, measured one by one in turn: what a migration costs hangs on it more than on anything
//! else, and it has to be known before anybody proposes one.
//!
//! Of every vm at rest QEMU samples some pages twice, a second apart and eight seconds apart (its `calc-dirty-rate`, by
//! hashes of 512 pages per GiB: next to no work for host and guest). One vm of the host at a time; a vm on the move is left
//! alone. The two amounts together give rate and working set ([`Writes`]).

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use ballast_core::{
    counters::VmCounters,
    id::VmId,
    migration_cost::{Changed, Writes},
    units::Timestamp,
};

/// The two spans, seconds.
const SPANS: [u8; 2] = [1, 8];

/// Least time between two measurements on a host: longer than the longer span, and a little less than two beats.
pub(super) const TURN: Duration = Duration::from_secs(9);

/// Age beyond which a measurement tells nothing of how the vm writes now. At 30 vms a host each is measured every ten
/// minutes.
const AGE_MAX: Duration = Duration::from_secs(3600);

/// An answer that has not come so long after its span is not waited for: this QEMU cannot measure, or the vm is gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// A measurement that was begun and has not been seen to end.
#[derive(Debug, Clone, Copy)]
struct Asked {
    span: u8,
    at: Duration,
}

impl Asked {
    fn is_due(&self, now: Duration) -> bool {
        let ends = self.at + Duration::from_secs(self.span.into());
        (ends..ends + PATIENCE).contains(&now)
    }
}

/// What is known of one vm.
#[derive(Debug, Default)]
struct Known {
    /// Which run of it.
    run: u32,
    /// By span, with the moment it was first seen.
    changed: [Option<(Changed, Timestamp)>; SPANS.len()],
}

/// What was measured, and whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Survey {
    known: BTreeMap<VmId, Known>,
    turns: VecDeque<(VmId, u8)>,
    /// Vms that are being measured or were last: only what was asked for is believed.
    asked: BTreeMap<VmId, Asked>,
}

impl Survey {
    /// Which vm of those at rest is to be measured now, and for how many seconds: first those that nothing is known of, as
    /// they have just arrived or been started, then all in turn.
    pub(super) fn next(&mut self, resting: &[VmId], now: Duration) -> Option<(VmId, u8)> {
        let (vm, span) = self.newcomer(resting).or_else(|| self.turn(resting))?;
        self.asked.insert(vm, Asked { span, at: now });
        Some((vm, span))
    }

    /// Whether a measurement has ended that nobody has seen yet: libvirt asks QEMU after QEMU for this, so it is asked only then.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.asked.values().any(|asked| asked.is_due(now))
    }

    /// A vm that was not measured yet, and the first span of it that is missing. One that was asked about and has not answered
    /// waits for its turn like all others.
    fn newcomer(&self, resting: &[VmId]) -> Option<(VmId, u8)> {
        let missing = |vm: &VmId| {
            let known = self.known.get(vm)?;
            let first = SPANS.into_iter().zip(known.changed).find(|(_, changed)| changed.is_none());
            first.map(|(span, _)| (*vm, span)).filter(|_| !self.asked.contains_key(vm))
        };
        resting.iter().find_map(missing)
    }

    fn turn(&mut self, resting: &[VmId]) -> Option<(VmId, u8)> {
        if self.turns.is_empty() {
            self.turns = resting.iter().flat_map(|vm| SPANS.map(|span| (*vm, span))).collect();
        }
        std::iter::from_fn(|| self.turns.pop_front()).find(|(vm, _)| resting.contains(vm))
    }

    /// Takes what a vm's statistics say, and writes into its counters what is known of its writes.
    pub(super) fn fill(&mut self, counters: &mut VmCounters, run: u32, changed: Option<Changed>) {
        let now = counters.taken_at;
        let known = self.known.entry(counters.vm).or_insert_with(|| Known { run, ..Known::default() });
        if known.run != run {
            // It was started anew, or has just arrived.
            *known = Known { run, ..Known::default() };
            self.asked.remove(&counters.vm);
        }
        let asked = self.asked.get(&counters.vm).and_then(|asked| SPANS.iter().position(|span| *span == asked.span));
        let is_asked = |index: &usize, changed: &Changed| changed.after == Duration::from_secs(SPANS[*index].into());
        if let Some((index, changed)) = asked.zip(changed).filter(|(index, changed)| is_asked(index, changed)) {
            known.changed[index] = Some((changed, now));
            self.asked.remove(&counters.vm);
        }
        let fresh = |one: Option<(Changed, Timestamp)>| one.filter(|(_, at)| now.since(*at) <= AGE_MAX);
        if let [Some((short, _)), Some((long, _))] = known.changed.map(fresh) {
            let Writes { rate, set } = Writes::measured(short, long);
            (counters.dirty_rate, counters.working_set) = (rate, set);
        }
    }

    /// Forgets every vm that does not run here any more.
    pub(super) fn retain(&mut self, is_here: impl Fn(VmId) -> bool) {
        self.known.retain(|vm, _| is_here(*vm));
        self.asked.retain(|vm, _| is_here(*vm));
    }
}

#[cfg(test)]
mod tests {
    use ballast_core::units::{Bytes, BytesPerSec};

    use super::*;

    const A: VmId = VmId(uuid::Uuid::from_u128(1));
    const B: VmId = VmId(uuid::Uuid::from_u128(2));
    const SOON: Duration = Duration::from_secs(1);

    fn changed(seconds: u64, mib: u64) -> Option<Changed> {
        Some(Changed { after: Duration::from_secs(seconds), amount: Bytes::from_mib(mib) })
    }

    fn read(survey: &mut Survey, at: u64, run: u32, changed: Option<Changed>) -> VmCounters {
        let mut counters = VmCounters { vm: A, taken_at: Timestamp::from_secs(at), ..VmCounters::default() };
        survey.fill(&mut counters, run, changed);
        counters
    }

    #[test]
    fn every_vm_at_rest_has_its_turn_with_both_spans() {
        let mut survey = Survey::default();
        let turns: Vec<_> = (0..5).filter_map(|_| survey.next(&[A, B], SOON)).collect();
        assert_eq!(turns, [(A, 1), (A, 8), (B, 1), (B, 8), (A, 1)]);
        assert_eq!(survey.next(&[B], SOON), Some((B, 1)), "who has begun to move is left out");
        assert_eq!(survey.next(&[], SOON), None);
    }

    #[test]
    fn who_has_just_arrived_is_measured_first() {
        let mut survey = Survey::default();
        assert_eq!(survey.next(&[B, A], SOON), Some((B, 1)));
        read(&mut survey, 1, 7, None);
        assert_eq!(survey.next(&[B, A], SOON), Some((A, 1)), "it was read for the first time");
        read(&mut survey, 2, 7, changed(1, 10));
        assert_eq!(survey.next(&[B, A], SOON), Some((A, 8)));
        assert_eq!(survey.next(&[B, A], SOON), Some((B, 8)), "what has not answered waits for its turn");
    }

    #[test]
    fn rate_and_set_are_known_once_both_spans_were_measured() {
        let mut survey = Survey::default();
        survey.next(&[A], SOON);
        assert_eq!(read(&mut survey, 1, 7, None).dirty_rate, None);
        assert_eq!(read(&mut survey, 2, 7, changed(1, 10)).dirty_rate, None);
        survey.next(&[A], SOON);
        let both = read(&mut survey, 12, 7, changed(8, 80));
        assert_eq!((both.dirty_rate, both.working_set), (Some(BytesPerSec(Bytes::from_mib(10).as_f64())), None));
        assert!(read(&mut survey, 3000, 7, None).dirty_rate.is_some());
        assert_eq!(read(&mut survey, 3613, 7, None).dirty_rate, None, "an hour is too old");
    }

    #[test]
    fn what_nobody_asked_for_is_not_believed() {
        let mut survey = Survey::default();
        // Somebody else measured it before this agent came.
        read(&mut survey, 1, 7, changed(1, 900));
        survey.next(&[A], SOON);
        survey.next(&[A], SOON);
        read(&mut survey, 2, 7, changed(1, 900));
        assert_eq!(read(&mut survey, 12, 7, changed(8, 80)).dirty_rate, None);
    }

    #[test]
    fn what_was_measured_is_asked_for_once_it_has_ended_and_until_it_was_seen() {
        let at = Duration::from_secs;
        let mut survey = Survey::default();
        assert!(!survey.is_due(at(100)), "nothing is being measured");
        survey.next(&[A], at(100));
        assert_eq!([100, 101, 120, 121].map(|now| survey.is_due(at(now))), [false, true, true, false]);
        read(&mut survey, 1, 7, changed(8, 10));
        assert!(survey.is_due(at(101)), "that is another measurement");
        read(&mut survey, 2, 7, changed(1, 10));
        assert!(!survey.is_due(at(101)));
    }

    #[test]
    fn a_new_run_begins_anew() {
        let mut survey = Survey::default();
        survey.next(&[A], SOON);
        read(&mut survey, 2, 7, changed(1, 10));
        survey.next(&[A], SOON);
        assert!(read(&mut survey, 12, 7, changed(8, 80)).dirty_rate.is_some());
        assert_eq!(read(&mut survey, 13, 8, None).dirty_rate, None);
        survey.retain(|_| false);
        assert!(survey.known.is_empty());
    }
}
