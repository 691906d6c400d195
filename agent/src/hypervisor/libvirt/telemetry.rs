//! Counters of the running vms, without one vm holding up the others.
//!
//! Vms at rest are read in one bulk call; those on the move are read one by one on another connection, and may be late.
//! When a bulk call hangs all the same, the next ticks read every vm by itself, and those that do not answer are kept
//! out of the bulk until they do.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use ballast_core::{counters::VmCounters, id::VmId};
use ballast_daemon::clock::Clock;
use tokio::sync::mpsc;
use tracing::{debug, warn};
use virt_sys as sys;

use super::{
    events::Hub,
    ffi,
    session::{Failure, Link, Session, Slots, lock, of_vm, slots},
    stats,
    survey::Survey,
};
use crate::hypervisor::HypervisorError;

const GROUPS: u32 = sys::VIR_DOMAIN_STATS_STATE
    | sys::VIR_DOMAIN_STATS_CPU_TOTAL
    | sys::VIR_DOMAIN_STATS_BALLOON
    | sys::VIR_DOMAIN_STATS_VCPU
    | sys::VIR_DOMAIN_STATS_INTERFACE
    | sys::VIR_DOMAIN_STATS_BLOCK;

/// Reads that may hang at once on the connection for single vms; libvirtd serves five calls of one connection.
const SINGLE_READS: usize = 4;

/// The vms at rest have this share of a deadline, those read apart some more, and what is left is for handing the
/// results over: who asked gives up at the deadline itself, and then everything that was read would be lost.
const SHARE: f64 = 0.8;
const GRACE_SHARE: f64 = 0.1;

/// How much longer than the others the vms that are read apart may take, at most.
const GRACE: Duration = Duration::from_millis(250);

/// The reader.
#[derive(Debug)]
pub(super) struct Telemetry {
    clock: Clock,
    hub: Arc<Hub>,
    bulk: Arc<Link>,
    bulk_slot: Slots,
    single: Arc<Link>,
    single_slots: Slots,
    balloon_age_max: Duration,
    apart: Arc<Mutex<Apart>>,
    survey: Arc<Mutex<Survey>>,
    survey_slot: Slots,
}

/// Vms that are read by themselves.
#[derive(Debug, Default)]
struct Apart {
    /// A read of it has not come back yet.
    reading: BTreeSet<VmId>,
    /// It once did not answer in time, and has not answered since.
    suspects: BTreeSet<VmId>,
}

type Read = Result<Vec<VmCounters>, HypervisorError>;

impl Telemetry {
    /// A reader of the libvirtd at `uri`; the guest's account of its memory counts up to `balloon_age_max`.
    pub(super) fn new(uri: &str, clock: &Clock, hub: Arc<Hub>, balloon_age_max: Duration) -> Self {
        Self {
            clock: clock.clone(),
            hub,
            bulk: Link::new(uri, "telemetry", clock, None),
            bulk_slot: slots(1),
            single: Link::new(uri, "telemetry of single vms", clock, None),
            single_slots: slots(SINGLE_READS),
            balloon_age_max,
            apart: Arc::default(),
            survey: Arc::default(),
            survey_slot: slots(1),
        }
    }

    /// Lets go of connections that were lost.
    pub(super) fn check(&self) {
        self.bulk.check();
        self.single.check();
    }

    /// What could be read before `deadline`; the caller has seen to it that the roster is listed.
    pub(super) async fn read(&self, deadline: Duration) -> Read {
        let (resting, moving) = self.hub.with_roster(|roster| roster.split());
        lock(&self.survey).retain(|vm| resting.contains(&vm) || moving.contains(&vm));
        let suspects = lock(&self.apart).suspects.clone();
        let (suspect, resting): (Vec<_>, Vec<_>) = resting.into_iter().partition(|vm| suspects.contains(vm));
        let apart: Vec<_> = moving.into_iter().chain(suspect).collect();
        let (late_sender, late) = mpsc::channel(apart.len() + 1);
        apart.iter().for_each(|vm| self.begin_single(*vm, late_sender.clone()));
        drop(late_sender);

        let mut collected = Collected::default();
        let in_time = self.clock.timeout(deadline.mul_f64(SHARE), collected.fill(self.begin_resting(&resting))).await;
        // Those apart have had as long as the others; a little more, and the rest is for the next tick.
        if in_time.is_err() {
            self.suspect_late_ones_of(&resting);
        } else if self.clock.timeout(deadline.mul_f64(GRACE_SHARE).min(GRACE), collected.fill(late)).await.is_err() {
            debug!(vms = ?apart, "Left out of this tick");
        }
        collected.finish(resting.len(), deadline)
    }

    /// Begins to measure how the next vm writes its memory; what comes of it is among its counters later. A vm that does not
    /// answer holds up the other measurements, and nothing else.
    pub(super) fn measure_writes(&self) {
        let Ok(slot) = Arc::clone(&self.survey_slot).try_acquire_owned() else { return };
        let (resting, _) = self.hub.with_roster(|roster| roster.split());
        let Some((vm, seconds)) = lock(&self.survey).next(&resting, self.clock.elapsed()) else { return };
        let call = self.single.call_in_slot(slot, move |session| {
            ffi::start_dirty_rate(session.domain(vm)?.as_ref(), seconds.into()).map_err(|error| of_vm(vm, error))
        });
        tokio::spawn(async move {
            if let Err(error) = call.await {
                debug!(%vm, %error, "How it writes its memory cannot be measured");
            }
        });
    }

    fn begin_resting(&self, resting: &[VmId]) -> mpsc::Receiver<Read> {
        let (sender, receiver) = mpsc::channel(resting.len() + 1);
        if resting.is_empty() {
            return receiver;
        }
        if let Ok(slot) = Arc::clone(&self.bulk_slot).try_acquire_owned() {
            let (vms, reader) = (resting.to_vec(), self.reader());
            let call = self.bulk.call_in_slot(slot, move |session| reader.read(session, &vms));
            tokio::spawn(async move { drop(sender.send(call.await).await) });
        } else {
            debug!("The bulk call of an earlier tick has not come back; reading vms one by one");
            resting.iter().for_each(|vm| self.begin_single(*vm, sender.clone()));
        }
        receiver
    }

    fn begin_single(&self, vm: VmId, sender: mpsc::Sender<Read>) {
        if !lock(&self.apart).reading.insert(vm) {
            return;
        }
        let (apart, slots, link) = (Arc::clone(&self.apart), Arc::clone(&self.single_slots), Arc::clone(&self.single));
        let reader = self.reader();
        tokio::spawn(async move {
            let read = match slots.acquire_owned().await {
                Ok(slot) => link.call_in_slot(slot, move |session| reader.read(session, &[vm])).await,
                Err(_) => Err(HypervisorError::Unreachable("the driver is closing".into())),
            };
            {
                let mut apart = lock(&apart);
                apart.reading.remove(&vm);
                if read.is_ok() {
                    apart.suspects.remove(&vm);
                }
            }
            // A late result is not wanted any more: the next tick has its own.
            drop(sender.send(read).await);
        });
    }

    fn reader(&self) -> Reader {
        let (clock, survey) = (self.clock.clone(), Arc::clone(&self.survey));
        Reader { clock, balloon_age_max: self.balloon_age_max, survey }
    }

    fn suspect_late_ones_of(&self, resting: &[VmId]) {
        let mut apart = lock(&self.apart);
        for vm in resting {
            if apart.reading.contains(vm) && apart.suspects.insert(*vm) {
                warn!(%vm, "No statistics in time; reading this vm apart from the others until it answers");
            }
        }
    }
}

#[derive(Debug)]
struct Reader {
    clock: Clock,
    balloon_age_max: Duration,
    survey: Arc<Mutex<Survey>>,
}

impl Reader {
    /// Blocks.
    fn read(&self, session: &Session, vms: &[VmId]) -> Result<Vec<VmCounters>, Failure> {
        if vms.len() > 1 {
            session.keep_domains(|vm| vms.contains(&vm));
        }
        let mut domains = Vec::with_capacity(vms.len());
        for vm in vms {
            match session.domain(*vm) {
                Ok(domain) => domains.push(domain),
                // It ended since the roster was kept; its event is on the way.
                Err(Failure::NoSuchVm(_)) => {}
                Err(other) => return Err(other),
            }
        }
        let handles: Vec<_> = domains.iter().map(AsRef::as_ref).collect();
        let records = ffi::domain_stats(&handles, self.groups())?;
        let now = self.clock.now();
        let mut survey = lock(&self.survey);
        let counters = |ffi::StatsRecord { vm, run, stats }: ffi::StatsRecord| {
            let mut counters = stats::counters(vm, run, &stats, now, self.balloon_age_max);
            survey.fill(&mut counters, run, stats::changed(&stats));
            counters
        };
        Ok(records.into_iter().map(counters).collect())
    }

    fn groups(&self) -> u32 {
        let is_due = lock(&self.survey).is_due(self.clock.elapsed());
        if is_due { GROUPS | sys::VIR_DOMAIN_STATS_DIRTYRATE } else { GROUPS }
    }
}

/// Results as they come in.
#[derive(Debug, Default)]
struct Collected {
    counters: Vec<VmCounters>,
    error: Option<HypervisorError>,
    answered: bool,
}

impl Collected {
    /// Takes results until no more can come.
    async fn fill(&mut self, mut results: mpsc::Receiver<Read>) {
        while let Some(result) = results.recv().await {
            match result {
                Ok(counters) => {
                    self.answered = true;
                    self.counters.extend(counters);
                }
                Err(HypervisorError::NoSuchVm(_)) => self.answered = true,
                Err(error) => self.error = Some(error),
            }
        }
    }

    /// Nothing at all, although something was expected, is an error; otherwise what there is counts.
    fn finish(self, expected: usize, deadline: Duration) -> Read {
        if self.answered || (expected == 0 && self.error.is_none()) {
            return Ok(self.counters);
        }
        Err(self.error.unwrap_or(HypervisorError::TimedOut(deadline)))
    }
}
