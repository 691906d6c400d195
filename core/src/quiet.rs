//! Vms that write their memory faster than it can be copied, and the hours of the day in which they do not.
//!
//! ```text
//!   samples ─▶ QuietHours: of each vm that writes much, the mean rate of every hour of the last days
//!                 └─▶ too_busy: its copy would not end now; by what was measured, from which hour on it would
//! ```
//!
//! Such a vm is not moved for a drain or by an operator until it writes less: the order waits, and who gave it is told for how
//! long, by what is known. Hours are those of UTC; nights and nightly backups show in them, weekends do not. Only what was
//! measured counts: of a vm that nobody has measured the model assumes what it writes, and may be wrong about it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    finding::Finding,
    id::VmId,
    migration_cost::Writes,
    objective::{Objective, copy_job_of, measured_writes},
    sample::VmSample,
    snapshot::{HostView, VmView},
    units::{Bytes, BytesPerSec, Timestamp},
};

const HOUR: Duration = Duration::from_secs(3600);
const HOURS: usize = 24;

/// Days for which an hour counts: a vm's habits are those of its newest days.
const DAYS_KEPT: u64 = 3;

/// Share of its host's link from which on it is worth remembering when a vm writes how much: a copy of one that writes less
/// ends at any hour.
const REMEMBERED_FROM: f64 = 0.25;

/// What was measured in one hour.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Hour {
    /// Which day it was, counted from 1970.
    day: u64,
    /// Mean rate of so many samples.
    rate: BytesPerSec,
    samples: u32,
    /// The largest set that was written over and over.
    set: Option<Bytes>,
}

/// How one vm wrote, by hour of the day.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Writing([Option<Hour>; HOURS]);

impl Writing {
    fn note(&mut self, writes: Writes, at: Timestamp) {
        let Some(rate) = writes.rate else { return };
        let (day, hour) = place(at);
        let same_day = self.0[hour].filter(|one| one.day == day);
        let before = same_day.unwrap_or(Hour { day, rate, samples: 0, set: None });
        let samples = before.samples.saturating_add(1);
        let mean = before.rate + (rate - before.rate) * (1.0 / f64::from(samples));
        self.0[hour] = Some(Hour { day, rate: mean, samples, set: before.set.max(writes.set) });
    }

    /// How it wrote in the hour of the day that `at` lies in.
    fn at(&self, at: Timestamp, now: Timestamp) -> Option<Writes> {
        let today = place(now).0;
        let hour = self.0[place(at).1].filter(|one| today.saturating_sub(one.day) <= DAYS_KEPT)?;
        Some(Writes { rate: Some(hour.rate), set: hour.set })
    }
}

/// Day since 1970, and hour of it.
#[allow(clippy::cast_possible_truncation)] // A day has 24 hours.
fn place(at: Timestamp) -> (u64, usize) {
    let hours = at.since(Timestamp::EPOCH).as_secs() / HOUR.as_secs();
    (hours / HOURS as u64, (hours % HOURS as u64) as usize)
}

/// When the vms that write much write how much.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct QuietHours(BTreeMap<VmId, Writing>);

impl QuietHours {
    /// Takes a sample of a vm that is copied over `link`. What a snapshot holds is copied only for a vm that concerns it.
    pub fn observe(hours: &mut Arc<Self>, sample: &VmSample, link: BytesPerSec) {
        let writes = Writes::of(sample);
        if writes.rate.is_some_and(|rate| hours.concern(sample.vm, rate, link)) {
            Arc::make_mut(hours).note(sample.vm, writes, sample.taken_at);
        }
    }

    /// A vm is gone; nothing is copied for one that was never remembered.
    pub fn remove(hours: &mut Arc<Self>, vm: VmId) {
        if hours.0.contains_key(&vm) {
            Arc::make_mut(hours).forget(vm);
        }
    }

    /// Whether a vm that writes at `rate` and is copied over `link` is one to remember.
    fn concern(&self, vm: VmId, rate: BytesPerSec, link: BytesPerSec) -> bool {
        rate > link * REMEMBERED_FROM || self.0.contains_key(&vm)
    }

    /// Takes how a vm was found to write.
    fn note(&mut self, vm: VmId, writes: Writes, at: Timestamp) {
        self.0.entry(vm).or_default().note(writes, at);
    }

    /// Forgets a vm that is gone.
    fn forget(&mut self, vm: VmId) {
        self.0.remove(&vm);
    }

    /// The beginning of the next hour, within a day, in which the vm wrote so that its copy `ends`.
    fn next(&self, vm: VmId, now: Timestamp, ends: impl Fn(Writes) -> bool) -> Option<Timestamp> {
        let writing = self.0.get(&vm)?;
        let hours_gone = now.since(Timestamp::EPOCH).as_secs() / HOUR.as_secs();
        let mut ahead = (1..=HOURS as u64).map(|ahead| Timestamp::from_secs((hours_gone + ahead) * HOUR.as_secs()));
        ahead.find(|hour| writing.at(*hour, now).is_some_and(&ends))
    }
}

/// A vm whose copy would not end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TooBusy {
    /// How fast it writes.
    pub writes: BytesPerSec,
    /// From when on it has written little enough on the last days; `None` where no such hour is known.
    pub calm_at: Option<Timestamp>,
}

impl TooBusy {
    /// The same as the guard says it of a move of `vm`.
    pub fn finding(self, vm: VmId) -> Finding {
        Finding::WritesTooMuch { vm, writes: self.writes, calm_at: self.calm_at }
    }
}

/// Whether the copy of `vm` would not end as it writes now, by what was measured.
pub fn too_busy(objective: &Objective<'_>, vm: &VmView, from: &HostView, to: &HostView) -> Option<TooBusy> {
    let now = measured_writes(vm);
    let writes = now.rate?;
    let ends = |writes: Writes| objective.estimate(vm, &copy_job_of(vm, from, to, writes)).converges;
    if ends(now) {
        return None;
    }
    let snapshot = objective.snapshot();
    Some(TooBusy { writes, calm_at: snapshot.quiet.next(vm.id(), snapshot.taken_at, ends) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fleet, NOW, host_id, vm_id};

    const BUSY: f64 = 9e9;

    /// Vm 1 on a writes more than the link carries.
    fn busy() -> Fleet {
        let mut fleet = Fleet::new(&[("a", &[1.0]), ("b", &[])]);
        fleet.vm(1).sample.as_mut().unwrap().dirty_rate = crate::sample::Reading::Measured(BytesPerSec(BUSY));
        fleet
    }

    fn asked(fleet: &Fleet) -> Option<TooBusy> {
        let objective = Objective::new(&fleet.snapshot, &fleet.tuning);
        let host = |name| &fleet.snapshot.hosts[&host_id(name)];
        too_busy(&objective, &fleet.snapshot.vms[&vm_id(1)], host("a"), host("b"))
    }

    /// Busy at all hours but those, every hour of `days` days before now.
    fn remember(fleet: &mut Fleet, days: u64, calm: &[u64]) {
        let mut quiet = QuietHours::default();
        for hours in (1..=24 * days).rev() {
            let at = NOW.before(HOUR * u32::try_from(hours).unwrap());
            let hour = place(at).1 as u64;
            let rate = BytesPerSec(if calm.contains(&hour) { 1e6 } else { BUSY });
            quiet.note(vm_id(1), Writes { rate: Some(rate), set: None }, at);
        }
        fleet.snapshot.quiet = quiet.into();
    }

    #[test]
    fn a_vm_that_nobody_measured_is_not_called_busy() {
        let fleet = Fleet::new(&[("a", &[4.0]), ("b", &[])]);
        assert_eq!(asked(&fleet), None);
    }

    #[test]
    fn without_memories_no_calm_hour_is_told() {
        assert_eq!(asked(&busy()), Some(TooBusy { writes: BytesPerSec(BUSY), calm_at: None }));
    }

    #[test]
    fn the_next_hour_in_which_the_copy_would_have_ended_is_told() {
        let mut fleet = busy();
        // NOW is 13:46:40 UTC.
        remember(&mut fleet, 2, &[3, 11]);
        let calm_at = asked(&fleet).unwrap().calm_at.unwrap();
        assert_eq!(calm_at.to_string(), "1970-01-13T03:00:00.000Z");
    }

    #[test]
    fn a_vm_that_is_never_calm_has_no_such_hour() {
        let mut fleet = busy();
        remember(&mut fleet, 2, &[]);
        assert_eq!(asked(&fleet).unwrap().calm_at, None);
    }

    #[test]
    fn an_hour_that_was_calm_long_ago_is_not_known_to_be() {
        let mut writing = Writing::default();
        writing.note(Writes { rate: Some(BytesPerSec(1.0)), set: None }, NOW);
        let days = |days: u32| NOW.after(HOUR * 24 * days);
        assert!(writing.at(NOW, days(3)).is_some());
        assert_eq!(writing.at(NOW, days(4)), None);
    }

    #[test]
    fn an_hour_has_its_mean_rate_its_largest_set_and_only_its_newest_day() {
        let (mut writing, late) = (Writing::default(), NOW.after(HOUR * 24));
        let wrote = |rate: f64, mib: u64| Writes { rate: Some(BytesPerSec(rate)), set: Some(Bytes::from_mib(mib)) };
        [wrote(100.0, 9), wrote(300.0, 5)].into_iter().for_each(|writes| writing.note(writes, NOW));
        assert_eq!(writing.at(NOW, NOW), Some(wrote(200.0, 9)));
        writing.note(wrote(7.0, 1), late);
        assert_eq!(writing.at(NOW, late), Some(wrote(7.0, 1)));
    }

    #[test]
    fn who_never_wrote_much_is_not_remembered() {
        let (mut quiet, link) = (QuietHours::default(), BytesPerSec(1e9));
        assert!(!quiet.concern(vm_id(1), link * 0.2, link));
        assert!(quiet.concern(vm_id(1), link * 0.3, link));
        quiet.note(vm_id(1), Writes { rate: Some(link * 0.3), set: None }, NOW);
        assert!(quiet.concern(vm_id(1), BytesPerSec(1.0), link), "its calm hours are what matters");
        quiet.forget(vm_id(1));
        assert!(quiet.0.is_empty());
    }
}
