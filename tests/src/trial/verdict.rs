//! What must be so at the end of a trial: asked of libvirt, of the machine's processes and of the vm itself, and then of the scheduler.

use anyhow::{Context, Result, bail, ensure};
use ballast_daemon::clock::Clock;
use ballast_proto::v1;

use super::{ASK, Move, PATIENCE, Trial};
use crate::{drill::witness, lab::Lab, lab_place::There};

/// A vm that is defined only to be undefined.
const SOMETHING: &str = "<domain type='qemu'><name>something</name><memory>1024</memory>\
    <os><type arch='x86_64'>hvm</type></os></domain>";

impl Trial {
    /// How a move ended, once it has, as it is listed and as it is explained.
    ///
    /// # Errors
    /// Where it has no end within a minute, or the two differ.
    pub async fn outcome(&self, order: &Move) -> Result<v1::Outcome> {
        self.until_told(&format!("the move of {} ends", order.vm), async |trial| {
            trial.known(order).await.is_ok_and(|known| known.is_some_and(|one| one.outcome.is_some()))
        })
        .await?;
        let told = self.known(order).await?.and_then(|one| one.outcome);
        let request = v1::ExplainRequest { id: order.id.clone() };
        let explained = self.operator.clone().explain(request).await?.into_inner().migrations;
        let explained = explained.into_iter().find(|one| one.migration_id == order.id).and_then(|one| one.outcome);
        ensure!(explained == told, "listed as {told:?}, explained as {explained:?}");
        told.context("an outcome")
    }

    /// The vm runs on `host` and nowhere else, as one process, defined there to stay; it has looked over its memory anew and found
    /// it whole; the scheduler says so, and no order is open.
    ///
    /// # Errors
    /// What is not so.
    pub async fn lives_on(&self, vm: &str, host: &str) -> Result<()> {
        self.until(&format!("{vm} runs on {host} alone"), async |trial| {
            let elsewhere = (1..=trial.hosts).map(Lab::host).filter(|other| other != host);
            trial.fleet.lab.place(host, vm) == There::Runs
                && elsewhere.map(|other| trial.fleet.lab.place(&other, vm)).all(|place| place == There::IsNot)
        })
        .await
        .with_context(|| format!("{:?}", self.places(vm)))?;
        let processes = self.ran(vm).len();
        ensure!(processes == 1, "{processes} processes of {vm}");
        let defined = self.fleet.lab.virsh(host, &["dominfo", vm])?;
        ensure!(defined.lines().any(|line| line.starts_with("Persistent:") && line.ends_with("yes")), "{defined}");
        self.is_whole(vm).await?;
        self.is_listed(vm, host, v1::VmState::Running).await
    }

    /// What libvirt says of a vm, host by host.
    pub fn places(&self, vm: &str) -> Vec<There> {
        (1..=self.hosts).map(|number| self.fleet.lab.place(&Lab::host(number), vm)).collect()
    }

    /// The vm has looked over all it writes anew, and found nothing changed.
    ///
    /// # Errors
    /// What it found.
    pub async fn is_whole(&self, vm: &str) -> Result<()> {
        // The first look that ends may have begun before.
        let enough = self.fleet.lab.looks(vm) + 2;
        self.until(&format!("{vm} looks over its memory"), async |trial| trial.fleet.lab.looks(vm) >= enough).await?;
        self.fleet.lab.is_whole(vm)
    }

    /// The scheduler lists the vm once, on `host`, in this state and with no order open.
    ///
    /// # Errors
    /// What it lists instead.
    pub async fn is_listed(&self, vm: &str, host: &str, state: v1::VmState) -> Result<()> {
        let listed = async |trial: &Self| {
            let vms = trial.operator.clone().list_vms(v1::ListVmsRequest::default()).await.ok()?.into_inner().vms;
            Some(vms.into_iter().filter(|one| one.name == vm).collect::<Vec<_>>())
        };
        let what = format!("{vm} is listed on {host}, {state:?}");
        let so = self.until_told(&what, async |trial| {
            let Some(vms) = listed(trial).await else { return false };
            vms.len() == 1
                && vms.iter().all(|one| one.host == host && one.state() == state && one.destination.is_empty())
        });
        if let Err(error) = so.await {
            bail!("{error:#}; it is listed as {:?}", listed(self).await);
        }
        self.nothing_is_open().await
    }

    /// No order is open.
    ///
    /// # Errors
    /// Those that are.
    pub async fn nothing_is_open(&self) -> Result<()> {
        let request = v1::ListMigrationsRequest { running_only: true, ..v1::ListMigrationsRequest::default() };
        let open = self.operator.clone().list_migrations(request).await?.into_inner().migrations;
        ensure!(open.is_empty(), "still open: {open:?}");
        Ok(())
    }

    /// The vm has ended at its source, where it is still defined, and nothing of it is anywhere else.
    ///
    /// # Errors
    /// What is not so.
    pub async fn ended_on(&self, vm: &str, host: &str) -> Result<()> {
        self.until(&format!("{vm} is shut off on {host} and nowhere else"), async |trial| {
            let elsewhere = (1..=trial.hosts).map(Lab::host).filter(|other| other != host);
            trial.fleet.lab.place(host, vm) == There::IsDefined
                && elsewhere.map(|other| trial.fleet.lab.place(&other, vm)).all(|place| place == There::IsNot)
        })
        .await
        .with_context(|| format!("{:?}", self.places(vm)))?;
        ensure!(self.ran(vm).is_empty(), "a process of {vm} is left: {:?}", self.ran(vm));
        self.all_tell_anew()?;
        self.is_listed(vm, host, v1::VmState::ShutOff).await
    }

    /// Has every host tell anew what it has, as it does when anything changes and else once a minute: that a vm is on neither
    /// host is believed when both have said so since.
    ///
    /// # Errors
    /// What virsh said.
    pub fn all_tell_anew(&self) -> Result<()> {
        let definition = tempfile::NamedTempFile::new()?;
        std::fs::write(&definition, SOMETHING)?;
        let path = definition.path().to_str().context("a path in UTF-8")?;
        for host in (1..=self.hosts).map(Lab::host) {
            self.fleet.lab.virsh(&host, &["define", path])?;
            self.fleet.lab.virsh(&host, &["undefine", "something"])?;
        }
        Ok(())
    }

    /// Waits until two processes of the vm run.
    ///
    /// # Errors
    /// Where it does not come to that.
    pub async fn runs_twice(&self, vm: &str) -> Result<()> {
        let uuid = self.uuids.get(vm).context("a vm of this trial")?;
        let clock = Clock::system();
        let mut witness = witness::Witness::default();
        while !witness.look_again().contains(uuid) {
            ensure!(clock.elapsed() < PATIENCE, "{vm} does not run twice: {:?}", self.places(vm));
            clock.sleep(ASK).await;
        }
        Ok(())
    }
}
