//! One host's side of the fleet's state: link, power, how fresh and how plausible its figures are.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::{
    id::{HostId, VmId},
    inventory::Inventory,
    sample::{Batch, HostSample},
    snapshot::{Doubt, HostPower},
    units::{Cores, Timestamp},
};

use super::FleetSettings;

/// Beyond what its power curve says, so long may a host take to fall asleep or to wake.
const GRACE: Duration = Duration::from_secs(60);

/// A power order that has not ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Transition {
    /// This host is to sleep.
    Sleep(HostId),
    /// This host is to wake.
    Wake(HostId),
}

/// An absurd reading that has not been forgotten.
#[derive(Debug, Clone, PartialEq)]
struct Absurdity {
    what: String,
    clean_batches: u32,
}

/// What is known of one host.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HostState {
    /// Its newest inventory.
    pub(super) inventory: Arc<Inventory>,
    /// The vms it claims; what it claims of them is kept with the vm.
    pub(super) claims: BTreeSet<VmId>,
    pub(super) sample: Option<HostSample>,
    /// CPU used by what is not a vm, as last measured.
    pub(super) base: Cores,
    /// The vms of its newest batch.
    metered: Vec<VmId>,
    pub(super) heard_at: Option<Timestamp>,
    pub(super) connected: bool,
    /// When the link opened or, without one, when the host was first heard of.
    known_since: Timestamp,
    power: HostPower,
    power_since: Timestamp,
    absurdity: Option<Absurdity>,
    overloaded_since: Option<Timestamp>,
    empty_since: Option<Timestamp>,
}

impl HostState {
    /// A host not heard of before: awake for as long as it has been up, as far as anybody knows.
    pub(super) fn new(inventory: Inventory, now: Timestamp) -> Self {
        let up_for = inventory.up_for;
        Self {
            inventory: Arc::new(inventory),
            claims: BTreeSet::new(),
            sample: None,
            base: Cores::ZERO,
            metered: Vec::new(),
            heard_at: None,
            connected: false,
            known_since: now,
            power: HostPower::Awake,
            power_since: now.before(up_for),
            absurdity: None,
            overloaded_since: None,
            empty_since: None,
        }
    }

    /// Its link opened. A link that merely flaps while the host falls asleep (`falling`) does not call that off: the
    /// order's outcome will say what came of it.
    pub(super) fn connected(&mut self, falling: bool, now: Timestamp) {
        self.connected = true;
        self.known_since = now;
        if !(falling && self.power == HostPower::FallingAsleep) {
            self.awake(now);
        }
    }

    pub(super) fn disconnected(&mut self, now: Timestamp) {
        self.connected = false;
        if self.power == HostPower::FallingAsleep {
            self.set_power(HostPower::Asleep, now);
        }
    }

    /// Takes its newest inventory; with a new boot, what the old one measured no longer counts.
    pub(super) fn take_inventory(&mut self, inventory: &Inventory, now: Timestamp) {
        if self.inventory.boot != inventory.boot {
            self.power_since = self.power_since.max(now.before(inventory.up_for));
            self.absurdity = None;
            self.overloaded_since = None;
            (self.sample, self.base) = (None, Cores::ZERO);
        }
        self.inventory = Arc::new(inventory.clone());
    }

    pub(super) fn take_batch(&mut self, batch: &Batch, absurd: &[String], settings: &FleetSettings, now: Timestamp) {
        self.sample = Some(batch.sample);
        self.heard_at = Some(now);
        self.note_absurdity(absurd, settings.silent_periods);
        self.note_base(batch);
        self.note_load(&batch.sample, settings.cpu_limit, now);
        if self.connected && self.shows_life(now) {
            self.awake(now);
        }
    }

    /// True where a sample proves that a host thought asleep is not: its link survived the sleep, or it never slept.
    /// What it sent while it fell asleep proves nothing.
    fn shows_life(&self, now: Timestamp) -> bool {
        let falling = self.inventory.power.fall_asleep_time() + GRACE;
        match self.power {
            HostPower::Waking => true,
            HostPower::Asleep => now.since(self.power_since) > falling,
            HostPower::Awake | HostPower::FallingAsleep => false,
        }
    }

    fn note_absurdity(&mut self, absurd: &[String], batches_to_forget: u32) {
        if let Some(what) = summary(absurd) {
            self.absurdity = Some(Absurdity { what, clean_batches: 0 });
        } else if let Some(absurdity) = &mut self.absurdity {
            absurdity.clean_batches += 1;
            if absurdity.clean_batches >= batches_to_forget {
                self.absurdity = None;
            }
        }
    }

    /// What a vm used that left since the batch before, or came, is part of what the host used: it is no base.
    fn note_base(&mut self, batch: &Batch) {
        let ids = || batch.vms.iter().map(|vm| vm.vm);
        if ids().eq(self.metered.iter().copied()) {
            self.base = batch.beside_vms().unwrap_or(self.base);
        } else {
            self.metered = ids().collect();
        }
    }

    /// A missing reading neither begins an overload nor ends it.
    fn note_load(&mut self, sample: &HostSample, limit: f64, now: Timestamp) {
        let Some(used) = sample.cpu_used.value() else { return };
        if used > self.inventory.cpu_capacity * limit {
            self.overloaded_since.get_or_insert(now);
        } else {
            self.overloaded_since = None;
        }
    }

    pub(super) fn note_empty(&mut self, empty: bool, now: Timestamp) {
        if empty {
            self.empty_since.get_or_insert(now);
        } else {
            self.empty_since = None;
        }
    }

    pub(super) fn fall_asleep(&mut self, now: Timestamp) {
        self.set_power(HostPower::FallingAsleep, now);
    }

    /// The order to sleep ended. A host that came back meanwhile stays awake.
    pub(super) fn slept(&mut self, completed: bool, now: Timestamp) {
        match self.power {
            HostPower::FallingAsleep if completed => self.set_power(HostPower::Asleep, now),
            HostPower::FallingAsleep | HostPower::Asleep if !completed => self.awake(now),
            _ => {}
        }
    }

    /// The order to wake it was carried out.
    pub(super) fn waking(&mut self, now: Timestamp) {
        if matches!(self.power_at(now).0, HostPower::Asleep | HostPower::FallingAsleep) {
            self.power = HostPower::Waking;
            self.power_since = now;
        }
    }

    /// Awake, and from now on to be judged anew: a host just woken is not long empty.
    fn awake(&mut self, now: Timestamp) {
        if self.power != HostPower::Awake {
            self.empty_since = self.empty_since.map(|_| now);
            self.overloaded_since = None;
        }
        self.set_power(HostPower::Awake, now);
    }

    fn set_power(&mut self, power: HostPower, now: Timestamp) {
        if self.power != power {
            self.power = power;
            self.power_since = now;
        }
    }

    /// Power and since when. A host that does not come back in time from its wake order is asleep, so that it can be
    /// tried again.
    pub(super) fn power_at(&self, now: Timestamp) -> (HostPower, Timestamp) {
        match self.wake_failed(now) {
            Some(waited) => (HostPower::Asleep, self.power_since.after(waited)),
            None => (self.power, self.power_since),
        }
    }

    /// How long its wake was waited for, where that was in vain.
    fn wake_failed(&self, now: Timestamp) -> Option<Duration> {
        let patience = self.inventory.power.wake_time().saturating_mul(3).saturating_add(GRACE);
        (self.power == HostPower::Waking && now.since(self.power_since) > patience).then_some(patience)
    }

    pub(super) fn overloaded_for(&self, now: Timestamp) -> Duration {
        self.overloaded_since.map_or(Duration::ZERO, |since| now.since(since))
    }

    pub(super) fn empty_for(&self, now: Timestamp) -> Duration {
        self.empty_since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// Why its figures are not to be acted on, but for what other hosts have to do with. A host that sleeps on our
    /// order is rightly silent.
    pub(super) fn doubts(&self, settings: &FleetSettings, now: Timestamp) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        if let Some(waited) = self.wake_failed(now) {
            doubts.push(Doubt::WakeFailed { waited });
        }
        if self.power == HostPower::Awake {
            doubts.extend((!self.connected).then_some(Doubt::Disconnected));
            doubts.extend(self.silence(settings, now).map(|age| Doubt::Silent { age }));
            let away = self.sample.is_some_and(|sample| !sample.agent.hypervisor_connected);
            doubts.extend(away.then_some(Doubt::HypervisorAway));
        }
        doubts.extend((!self.inventory.complete).then_some(Doubt::InventoryIncomplete));
        doubts.extend(self.absurdity.as_ref().map(|absurdity| Doubt::Absurd { what: absurdity.what.clone() }));
        doubts
    }

    /// Age of its newest sample where that is too old; a host that has sent none in this boot is silent at once, for
    /// nobody knows its load.
    fn silence(&self, settings: &FleetSettings, now: Timestamp) -> Option<Duration> {
        let heard_at = self.heard_at.filter(|_| self.sample.is_some());
        let age = now.since(heard_at.unwrap_or(self.known_since));
        let allowed = settings.period.saturating_mul(settings.silent_periods);
        (heard_at.is_none() || age > allowed).then_some(age)
    }
}

/// The first of a batch's absurd readings, and how many more there were.
fn summary(absurd: &[String]) -> Option<String> {
    let first = absurd.first()?;
    Some(if absurd.len() > 1 { format!("{first} (and {} more)", absurd.len() - 1) } else { first.clone() })
}
