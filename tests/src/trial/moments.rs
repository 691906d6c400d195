//! Waiting for the moment of a move at which a fault is to strike, and holding the move there.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, bail, ensure};
use ballast_daemon::clock::Clock;

use super::{ASK, LOOK, Move, PATIENCE, Trial};
use crate::drill::{Phase, witness};

/// At which what is left of it is over in a second or two: whoever is frozen meanwhile must be back before its peer gives it up.
const REST: &str = "60";
/// A processor that ran no longer than this since the look before stood still.
const STILL_NANOS: u64 = 4_000_000;
/// More than any probe of libvirt's keep-alive, and less than the call that has a vm run at its destination.
const CALL_BYTES: usize = 200;

impl Trial {
    /// Waits until a move is in `phase`, by libvirt's own events.
    ///
    /// # Errors
    /// Where it does not come there, or has an outcome before.
    pub async fn reached(&mut self, order: &Move, phase: Phase) -> Result<()> {
        let clock = Clock::system();
        let mut asked = Duration::ZERO;
        loop {
            self.ears.hear(&mut self.courses, clock.elapsed());
            if self.courses.get(&order.vm).is_some_and(|course| course.phase() >= phase) {
                self.say(&format!("{} is {phase}", order.vm));
                return Ok(());
            }
            // Whether it is over is asked as seldom as the scheduler wants to be asked.
            if clock.elapsed() < asked + ASK {
                clock.sleep(LOOK).await;
                continue;
            }
            asked = clock.elapsed();
            ensure!(clock.elapsed() < PATIENCE, "{} is not {phase} after {PATIENCE:?}", order.vm);
            if let Some(outcome) = self.known(order).await?.and_then(|one| one.outcome) {
                bail!("{} was never {phase}: {:?} {}", order.vm, outcome.ending(), outcome.reason);
            }
        }
    }

    /// Holds a move where the vm stands still at its source, all of it has been copied, and its destination's libvirtd is to
    /// have it run: that one is frozen. Thaw it to let the move go on.
    ///
    /// # Errors
    /// Where it does not come there.
    pub async fn hold_before_it_runs_there(&mut self, order: &Move) -> Result<()> {
        self.hurry(order).await?;
        self.fleet.lab.freeze_libvirtd(&order.destination)?;
        self.reached(order, Phase::Switch).await?;
        self.until("all is copied and the destination is called", async |trial| {
            let lab = &trial.fleet.lab;
            lab.is_copied_from(&order.source).is_ok_and(|copied| !copied)
                && lab.unread_bytes(&order.destination).is_ok_and(|bytes| bytes > CALL_BYTES)
        })
        .await
    }

    /// Holds a move where the vm stands still at its source and the rest of it is still to be sent: the source's libvirtd is
    /// frozen, whose word QEMU waits for. Thaw it to let the move go on.
    ///
    /// # Errors
    /// Where it does not come there.
    pub async fn hold_before_it_is_handed_over(&mut self, order: &Move) -> Result<()> {
        self.hurry(order).await?;
        self.fleet.lab.freeze_libvirtd(&order.source)?;
        let mut last = self.ran(&order.vm);
        let clock = Clock::system();
        loop {
            // Longer than a processor of the vm rests by itself.
            clock.sleep(ASK).await;
            let now = self.ran(&order.vm);
            let stood = |pid: &u32| now.get(pid).zip(last.get(pid)).is_some_and(|(now, then)| now - then < STILL_NANOS);
            if !now.is_empty() && now.keys().all(stood) {
                return Ok(());
            }
            ensure!(clock.elapsed() < PATIENCE, "{} runs on", order.vm);
            last = now;
        }
    }

    async fn hurry(&mut self, order: &Move) -> Result<()> {
        self.reached(order, Phase::Copy).await?;
        self.fleet.lab.virsh(&order.source, &["migrate-setspeed", &order.vm, REST]).map(drop)
    }

    /// The time that each process of a vm has run its processors.
    pub(super) fn ran(&self, vm: &str) -> BTreeMap<u32, u64> {
        self.uuids.get(vm).and_then(|uuid| witness::look().remove(uuid)).unwrap_or_default()
    }
}
