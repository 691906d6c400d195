//! After a wave: every order has an outcome, every outcome is true, and every vm runs once and is whole.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ballast_proto::v1;

use super::{
    HOSTS,
    wave::{Drill, Ordered, number_of},
    witness::{self, Witness},
};
use crate::{lab::Lab, lab_place::There};

/// An outcome comes within this, once everybody is back. What the lab's emulated vms need is in it.
const OUTCOME_LIMIT: Duration = Duration::from_secs(240);
/// A vm that stands still for so long waits for a person: no hypervisor starts it again by itself.
const STANDING_STILL: Duration = Duration::from_secs(30);
/// A vm looks over its whole memory every second or two; emulated, beside others, now and then more slowly.
const WHOLE_LIMIT: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(400);

impl Drill<'_> {
    /// Waits for the outcomes, then holds everything against the hosts as they are.
    pub(super) async fn settle(&mut self, orders: &[Ordered], witness: &mut Witness) -> Result<()> {
        let outcomes = self.outcomes(orders, witness).await?;
        for (order, outcome) in orders.iter().zip(outcomes) {
            let name = self.guests[order.guest].name.clone();
            (self.say)(&format_args!("  {name}: {:?} {}", outcome.ending(), outcome.reason));
            self.report.ended(order.struck, outcome.ending());
            self.verify(order, &outcome)?;
        }
        self.are_whole(witness).await
    }

    async fn outcomes(&mut self, orders: &[Ordered], witness: &mut Witness) -> Result<Vec<v1::Outcome>> {
        let began = self.clock.elapsed();
        let mut stood = vec![None; orders.len()];
        loop {
            self.report.doubled(witness.look_again());
            let request = v1::ListMigrationsRequest { limit_count: 64, running_only: false };
            let known = self.operator.clone().list_migrations(request).await;
            let known = known.map(|reply| reply.into_inner().migrations).unwrap_or_default();
            let of = |order: &Ordered| known.iter().find(|one| one.migration_id == order.id)?.outcome.clone();
            let outcomes: Vec<_> = orders.iter().map(of).collect();
            if outcomes.iter().all(Option::is_some) {
                return Ok(outcomes.into_iter().flatten().collect());
            }
            self.look_for_forgotten().await;
            let elapsed = self.clock.elapsed();
            for (order, stood) in orders.iter().zip(&mut stood) {
                if of(order).is_none() && self.runs_nowhere(order) {
                    let since = *stood.get_or_insert(elapsed);
                    if elapsed.saturating_sub(since) > STANDING_STILL {
                        self.help(order)?;
                        *stood = None;
                    }
                } else {
                    *stood = None;
                }
            }
            let open: Vec<_> = orders.iter().filter(|order| of(order).is_none()).collect();
            let places = |order: &&Ordered| {
                let name = &self.guests[order.guest].name;
                (1..=HOSTS).map(|number| self.at(&Lab::host(number), name)).collect::<Vec<_>>()
            };
            ensure!(
                elapsed.saturating_sub(began) < OUTCOME_LIMIT,
                "no outcome within {OUTCOME_LIMIT:?}: {open:?}, {:?}",
                open.iter().map(places).collect::<Vec<_>>()
            );
            self.clock.sleep(LOOK).await;
        }
    }

    /// No vm is ever missing among what a scheduler lists that has seen all hosts: silence is no loss.
    async fn look_for_forgotten(&mut self) {
        let (mut hosts, mut vms) = (self.operator.clone(), self.operator.clone());
        let (Ok(hosts), Ok(vms)) =
            (hosts.list_hosts(v1::ListHostsRequest {}).await, vms.list_vms(v1::ListVmsRequest::default()).await)
        else {
            return;
        };
        let known =
            hosts.into_inner().hosts.iter().filter(|host| host.sample.is_some() && host.doubts.is_empty()).count()
                == HOSTS;
        let vms = vms.into_inner().vms;
        for guest in self.guests.iter().filter(|guest| known && vms.iter().all(|vm| vm.name != guest.name)) {
            self.report.forgotten(&guest.name);
        }
    }

    /// Stopped at its source, and not running at its destination.
    fn runs_nowhere(&self, order: &Ordered) -> bool {
        let name = &self.guests[order.guest].name;
        let there = self.at(&order.destination, name);
        self.at(&order.source, name) == There::StandsStill && !matches!(there, There::Runs | There::CannotBeAsked)
    }

    /// What a person does who was told of it: ballast itself starts no vm. Where libvirt's own job holds on to a vm that stands
    /// still, its daemon is started anew, which finds out what became of the move; what waits for a copy that comes no more is
    /// removed; and the vm is let go on where it stands.
    fn help(&mut self, order: &Ordered) -> Result<()> {
        let (name, source, destination) = (self.guests[order.guest].name.clone(), &order.source, &order.destination);
        let (lab, there) = (&self.fleet.lab, self.at(destination, &name));
        self.report.helped(order.struck);
        let job = lab.virsh(source, &["domjobinfo", &name])?;
        if !job.contains("None") {
            (self.say)(&format_args!(
                "  {name} is held at {source} by a job of libvirtd, {there:?} at {destination}: a person restarts that"
            ));
            lab.kill_libvirtd(source)?;
            return lab.restart_libvirtd(source);
        }
        (self.say)(&format_args!(
            "  {name} stands still at {source}, {there:?} at {destination}: a person lets it go on"
        ));
        if there == There::StandsStill {
            lab.virsh(destination, &["destroy", &name])?;
        }
        lab.virsh(source, &["resume", &name]).map(drop)
    }

    fn verify(&mut self, order: &Ordered, outcome: &v1::Outcome) -> Result<()> {
        let guest = self.guests[order.guest].clone();
        let wanted = match outcome.ending() {
            v1::EndingKind::Completed => &order.destination,
            _ => &order.source,
        };
        let places: Vec<There> = (1..=HOSTS).map(|number| self.at(&Lab::host(number), &guest.name)).collect();
        let running: Vec<String> =
            (1..=HOSTS).filter(|number| places[number - 1] == There::Runs).map(Lab::host).collect();
        match running.as_slice() {
            [] => self.report.lost(&guest.name, &places),
            [host] if host == wanted => self.guests[order.guest].host.clone_from(host),
            [host] => {
                self.report.untrue(&guest.name, outcome, host);
                self.guests[order.guest].host.clone_from(host);
            }
            _ => {
                self.report.doubled(vec![guest.uuid.clone()]);
                self.make_one(&guest.name, wanted, &running)?;
                self.guests[order.guest].host.clone_from(wanted);
            }
        }
        let places: Vec<There> = (1..=HOSTS).map(|number| self.at(&Lab::host(number), &guest.name)).collect();
        self.clear(order, &guest.name, &places)?;
        let processes = witness::look().get(&guest.uuid).map_or(0, |processes| processes.len());
        ensure!(processes <= 1 || running.len() != 1, "{}: {processes} processes of it stay behind", guest.name);
        Ok(())
    }

    /// What a person must do about a vm that runs twice, so that the drill can go on: the copy that was not told of is ended.
    fn make_one(&mut self, name: &str, keep: &str, running: &[String]) -> Result<()> {
        for host in running.iter().filter(|host| *host != keep) {
            self.fleet.lab.virsh(host, &["destroy", name])?;
        }
        self.report.single();
        Ok(())
    }

    /// What stayed behind at the end the vm is not on is a person's to remove: ballast removes nothing.
    fn clear(&mut self, order: &Ordered, name: &str, places: &[There]) -> Result<()> {
        let runs = self.guests[order.guest].host.clone();
        if places.iter().filter(|place| **place == There::Runs).count() != 1 {
            return Ok(());
        }
        for host in [&order.source, &order.destination].into_iter().filter(|host| **host != runs) {
            let there = places[number_of(host)? - 1];
            if there == There::StandsStill {
                self.fleet.lab.virsh(host, &["destroy", name])?;
            }
            if self.at(host, name) == There::IsDefined {
                self.fleet.lab.virsh(host, &["undefine", name])?;
                (self.say)(&format_args!("  {name}: {there:?} was left behind at {host}, a person removed it"));
                self.report.left_behind(order.struck);
            }
        }
        Ok(())
    }

    /// Every vm looks over all of its memory anew and finds nothing changed.
    async fn are_whole(&mut self, witness: &mut Witness) -> Result<()> {
        let (lab, began) = (&self.fleet.lab, self.clock.elapsed());
        // The first look that ends may have begun before.
        let enough: Vec<_> = self.guests.iter().map(|guest| (guest.name.clone(), lab.looks(&guest.name) + 2)).collect();
        let mut waiting = enough.clone();
        while !waiting.is_empty() && self.clock.elapsed().saturating_sub(began) < WHOLE_LIMIT {
            self.report.doubled(witness.look_again());
            self.clock.sleep(LOOK).await;
            waiting.retain(|(name, looks)| lab.looks(name) < *looks && lab.is_whole(name).is_ok());
        }
        for (name, looks) in enough {
            let looked = lab.looks(&name) >= looks;
            if let Err(found) = lab.is_whole(&name).and_then(|()| looked.then_some(()).context("it stands still")) {
                self.report.corrupted(&name, &format!("{found:#}"));
                anyhow::bail!("{name}: {found:#}");
            }
        }
        Ok(())
    }

    fn at(&self, host: &str, name: &str) -> There {
        self.fleet.lab.place(host, name)
    }
}
