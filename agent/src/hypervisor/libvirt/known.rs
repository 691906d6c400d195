//! What the last close look at each vm of the host said, and which vms need another.
//!
//! A close look is three calls and a definition of some kilobytes to read, for every vm and after every event of any: on a host
//! where vms come and go that was most of what the agent cost. So a vm that runs or is shut off as it did is looked at again when
//! an event names it, and every five minutes in case a change had none. Pure; `facts` asks it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ballast_core::{id::VmId, inventory::VmRecord, sample::VmState};

use super::storage::Storages;

/// What a close look said counts for so long: changes without an event (a vCPU more) and jobs that others begin are seen by
/// then. Before a vm is ordered to move, preflight looks anyhow.
const COUNTS_FOR: Duration = Duration::from_secs(5 * 60);

/// What the host itself said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostWords {
    /// Hypervisor and version, for people.
    pub(super) version: String,
    /// The host's CPU model.
    pub(super) cpu_model: String,
    /// CPU models it can provide.
    pub(super) cpu_models: Vec<String>,
}

/// What a listing says of a vm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    /// Which.
    pub(super) vm: VmId,
    /// The number that libvirt gave it when it started; `None` where it is shut off.
    pub(super) run: Option<u32>,
    /// Whether it runs, rather than being paused or between two states.
    pub(super) running: bool,
}

/// A close look at a vm.
#[derive(Debug)]
struct Seen {
    at: Duration,
    run: Option<u32>,
    record: VmRecord,
}

/// What is known of a host, on one connection to its libvirtd.
#[derive(Debug, Default)]
pub(super) struct Known {
    host: Option<(Duration, HostWords)>,
    storages: Storages,
    vms: BTreeMap<VmId, Seen>,
}

impl Known {
    /// What the host said, where that still counts at `now`, on the agent's clock.
    pub(super) fn host(&self, now: Duration) -> Option<&HostWords> {
        self.host.as_ref().filter(|(at, _)| counts(*at, now)).map(|(_, words)| words)
    }

    /// Takes what the host said.
    pub(super) fn note_host(&mut self, words: HostWords, now: Duration) {
        self.host = Some((now, words));
    }

    /// Takes the shared storages: where they have changed, every vm's disks are to be judged anew.
    pub(super) fn note_storages(&mut self, storages: &Storages) {
        if self.storages != *storages {
            self.storages = storages.clone();
            self.vms.clear();
        }
    }

    /// These have changed.
    pub(super) fn forget(&mut self, vms: &BTreeSet<VmId>) {
        self.vms.retain(|vm, _| !vms.contains(vm));
    }

    /// The record of a vm that is as it was at the last close look; `None` where another is needed.
    pub(super) fn still(&self, listed: Listed, now: Duration) -> Option<&VmRecord> {
        let seen = self.vms.get(&listed.vm)?;
        let rests = match seen.record.state {
            VmState::Running => listed.running && !seen.record.busy,
            VmState::ShutOff => listed.run.is_none(),
            _ => false,
        };
        (rests && seen.run == listed.run && counts(seen.at, now)).then_some(&seen.record)
    }

    /// Takes what a close look said.
    pub(super) fn note(&mut self, listed: Listed, record: VmRecord, now: Duration) {
        self.vms.insert(listed.vm, Seen { at: now, run: listed.run, record });
    }

    /// Forgets all that are not on the host any more.
    pub(super) fn keep(&mut self, here: &BTreeSet<VmId>) {
        self.vms.retain(|vm, _| here.contains(vm));
    }
}

fn counts(at: Duration, now: Duration) -> bool {
    now.saturating_sub(at) < COUNTS_FOR
}

#[cfg(test)]
mod tests {
    use ballast_core::units::Bytes;

    use super::*;

    fn record(state: VmState) -> VmRecord {
        VmRecord { state, ..VmRecord::running(VmId::default(), "web-1", 1, Bytes::from_gib(1)) }
    }

    const RUNS: Listed = Listed { vm: VmId(uuid::Uuid::nil()), run: Some(3), running: true };
    const OFF: Listed = Listed { run: None, running: false, ..RUNS };
    const SOON: Duration = Duration::from_secs(60);

    fn seen(listed: Listed, record: VmRecord) -> Known {
        let mut known = Known::default();
        known.note(listed, record, Duration::ZERO);
        known
    }

    #[test]
    fn who_runs_or_is_off_as_before_is_not_looked_at_again() {
        let running = record(VmState::Running);
        assert_eq!(seen(RUNS, running.clone()).still(RUNS, SOON), Some(&running));
        let off = record(VmState::ShutOff);
        assert_eq!(seen(OFF, off.clone()).still(OFF, SOON), Some(&off));
    }

    #[test]
    fn who_started_anew_stopped_or_paused_is_looked_at() {
        let known = seen(RUNS, record(VmState::Running));
        assert_eq!(known.still(Listed { run: Some(4), ..RUNS }, SOON), None);
        assert_eq!(known.still(OFF, SOON), None);
        assert_eq!(known.still(Listed { running: false, ..RUNS }, SOON), None);
        assert_eq!(seen(OFF, record(VmState::ShutOff)).still(RUNS, SOON), None);
    }

    #[test]
    fn who_is_busy_or_between_two_states_is_looked_at_each_time() {
        let busy = VmRecord { busy: true, ..record(VmState::Running) };
        assert_eq!(seen(RUNS, busy).still(RUNS, SOON), None);
        let arriving = Listed { running: false, ..RUNS };
        assert_eq!(seen(arriving, record(VmState::Incoming)).still(arriving, SOON), None);
    }

    #[test]
    fn an_event_or_five_minutes_make_a_look_due() {
        let mut known = seen(RUNS, record(VmState::Running));
        assert!(known.still(RUNS, COUNTS_FOR - Duration::from_secs(1)).is_some());
        assert_eq!(known.still(RUNS, COUNTS_FOR), None);
        known.forget(&BTreeSet::from([RUNS.vm]));
        assert_eq!(known.still(RUNS, SOON), None);
    }

    #[test]
    fn other_storages_make_every_disk_a_new_question() {
        let mut known = seen(RUNS, record(VmState::Running));
        known.note_storages(&Storages::default());
        assert!(known.still(RUNS, SOON).is_some(), "they are as they were");
        known.note_storages(&Storages::new("", &["/san".into()], Vec::new()));
        assert_eq!(known.still(RUNS, SOON), None);
    }

    #[test]
    fn the_hosts_own_words_count_as_long() {
        let mut known = Known::default();
        let words = HostWords { version: "QEMU 7.2".into(), cpu_model: "EPYC".into(), cpu_models: Vec::new() };
        known.note_host(words.clone(), SOON);
        assert_eq!(known.host(SOON + SOON), Some(&words));
        assert_eq!(known.host(SOON + COUNTS_FOR), None);
    }
}
