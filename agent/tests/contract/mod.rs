//! What every driver of a hypervisor must keep, whatever is behind it. A driver's test hands in a vm that runs, two hosts
//! and how they reach each other; nothing here knows which driver it is.

use std::time::Duration;

use ballast_agent::hypervisor::{Hypervisor, HypervisorError, MigrationEvent, MigrationJob, Whereabouts};
use ballast_core::{
    command::MigrationLimits,
    id::{HostId, VmId},
    sample::VmState,
    units::Bytes,
};

/// Two hosts and a vm that runs on the first.
#[derive(Debug)]
pub(crate) struct Pair<H> {
    /// Where the vm runs.
    pub(crate) source: H,
    /// Another host that can take it.
    pub(crate) destination: H,
    /// The other host's name.
    pub(crate) destination_host: HostId,
    /// How the first reaches it.
    pub(crate) destination_uri: String,
    /// The vm.
    pub(crate) vm: VmId,
}

/// A vm that exists nowhere.
fn nobody() -> VmId {
    "00000000-0000-4000-8000-00000000dead".parse().unwrap()
}

impl<H: Hypervisor> Pair<H> {
    fn job(&self) -> MigrationJob {
        MigrationJob {
            vm: self.vm,
            destination: self.destination_host.clone(),
            destination_uri: self.destination_uri.clone(),
            limits: MigrationLimits::for_memory(Bytes::from_gib(1)),
        }
    }

    /// Facts and counters name the vm, the other host's do not, and a vm that exists nowhere is not here.
    pub(crate) async fn tells_who_is_here(&self) {
        let facts = self.source.facts().await.unwrap();
        let record = facts.vms.iter().find(|record| record.vm == self.vm).unwrap();
        assert_eq!(record.state, VmState::Running);
        assert!(record.vcpus > 0 && record.memory_max > Bytes::ZERO && !record.busy);
        assert!(!self.destination.facts().await.unwrap().vms.iter().any(|record| record.vm == self.vm));
        let here = Whereabouts::Here { state: VmState::Running, migrating: false };
        assert_eq!(self.source.locate(self.vm).await.unwrap(), here);
        assert_eq!(self.destination.locate(self.vm).await.unwrap(), Whereabouts::NotHere);
        let elsewhere = self.source.locate_at(&self.destination_uri, self.vm).await.unwrap();
        assert_eq!(elsewhere, Whereabouts::NotHere);
        assert_eq!(self.source.locate(nobody()).await.unwrap(), Whereabouts::NotHere);
    }

    /// Counters are of the running vms, and their times never go back.
    pub(crate) async fn counts_without_going_back(&self) {
        let read = async || {
            let all = self.source.counters(Duration::from_secs(5)).await.unwrap();
            *all.iter().find(|counters| counters.vm == self.vm).unwrap()
        };
        let (before, after) = (read().await, read().await);
        assert_eq!(before.incarnation, after.incarnation);
        assert!(before.taken_at <= after.taken_at);
        assert!(before.cpu_time_nanos.unwrap() <= after.cpu_time_nanos.unwrap());
    }

    /// Without a migration there is nothing to watch, to stop or to relax.
    pub(crate) async fn refuses_what_is_not_under_way(&self) {
        assert!(self.source.resume_watching(self.vm).await.unwrap().is_none());
        assert!(self.source.abort(self.vm).await.is_err());
        let unknown = MigrationJob { vm: nobody(), ..self.job() };
        assert_eq!(self.source.migrate(unknown).await.unwrap_err(), HypervisorError::NoSuchVm(nobody()));
    }

    /// A migration tells its passes, its pause, its figures and at the end that it returned, and the vm is at the
    /// destination and nowhere else.
    pub(crate) async fn moves_a_vm_and_tells_its_stages(&self) {
        let mut events = self.source.migrate(self.job()).await.unwrap();
        let mut told = Vec::new();
        while let Some(event) = events.recv().await {
            told.push(event);
        }
        let first = |wanted: fn(&MigrationEvent) -> bool| told.iter().position(wanted);
        let iteration = first(|event| matches!(event, MigrationEvent::Iteration(_)));
        let suspended = first(|event| matches!(event, MigrationEvent::Suspended));
        assert!(iteration.is_some() && suspended.is_some() && iteration < suspended, "{told:?}");
        assert!(first(|event| matches!(event, MigrationEvent::Statistics { .. })).is_some(), "{told:?}");
        assert_eq!(told.last(), Some(&MigrationEvent::Returned(Ok(()))));
        assert_eq!(self.source.locate(self.vm).await.unwrap(), Whereabouts::NotHere);
        let there = self.source.locate_at(&self.destination_uri, self.vm).await.unwrap();
        assert!(matches!(there, Whereabouts::Here { state: VmState::Running, .. }), "{there:?}");
    }

    /// A migration that is stopped returns with an error and leaves the vm running where it was.
    pub(crate) async fn an_abort_leaves_the_vm_at_its_source(&self) {
        let mut events = self.source.migrate(self.job()).await.unwrap();
        while let Some(event) = events.recv().await {
            if matches!(event, MigrationEvent::Iteration(_)) {
                break;
            }
        }
        self.source.abort(self.vm).await.unwrap();
        let mut last = None;
        while let Some(event) = events.recv().await {
            last = Some(event);
        }
        assert!(matches!(last, Some(MigrationEvent::Returned(Err(_)))), "{last:?}");
        let here = Whereabouts::Here { state: VmState::Running, migrating: false };
        assert_eq!(self.source.locate(self.vm).await.unwrap(), here);
    }

    /// A migration under way can be watched by somebody who did not begin it.
    pub(crate) async fn a_second_watcher_hears_of_the_end(&self) {
        let mut first = self.source.migrate(self.job()).await.unwrap();
        first.recv().await.unwrap();
        drop(first);
        let mut second = self.source.resume_watching(self.vm).await.unwrap().unwrap();
        let mut last = None;
        while let Some(event) = second.recv().await {
            last = Some(event);
        }
        assert_eq!(last, Some(MigrationEvent::Returned(Ok(()))));
    }

    /// Who waits for changes is told of a migration.
    pub(crate) async fn a_change_is_told(&self) {
        let waiting = self.source.changes();
        let moving = self.moves_a_vm_and_tells_its_stages();
        tokio::join!(waiting, moving);
    }
}
