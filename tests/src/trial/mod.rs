//! One fault in the lab: vms that write their memory move between real libvirt hosts, something goes wrong at a moment of the
//! test's choosing, and then everything must be as it was promised.
//!
//! The tests of `lab::faults` call it. A switch-over lasts a tenth of a second; so that one can be met for sure it is held:
//! with the libvirtd frozen that would have to take its next step. Who runs is asked of libvirt and of the machine, not of ballast.

mod moments;
mod verdict;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use ballast_daemon::clock::Clock;
use ballast_proto::v1::{self, operator_client::OperatorClient};
use tonic::transport::Channel;

use crate::{
    drill::course::{Course, Ears},
    lab::{self, Lab, NETWORK},
    lab_fleet::{LabFleet, Terms},
    skip::skipped,
};

/// All may move at once, also a vm that has just moved.
const TUNING: &str = "moves_out_per_host = 4\nmoves_in_per_host = 4\nmoves_in_fleet = 8";
/// What each vm writes, MiB per second, and over how many MiB: several passes, and a look over all of it every second or two.
const WRITES: (u32, u32) = (12, 16);
/// Rate of a copy in MiB per second, at which it lasts for some seconds.
pub const COPY: &str = "24";
/// A rate at which it does not end within a test.
pub const ENDLESS: &str = "1";
/// A rate that holds nothing up.
pub const UNBOUNDED: &str = "1000";
/// Between two looks: the parts of a migration last longer.
const LOOK: Duration = Duration::from_millis(30);
/// Between two questions to the scheduler, which answers a client only so often.
const ASK: Duration = Duration::from_millis(200);
/// How long anything may take that is bound to happen; emulated vms beside others need some of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A move that was ordered.
#[derive(Debug, Clone)]
pub struct Move {
    /// The migration's id.
    pub id: String,
    /// The vm's name.
    pub vm: String,
    /// Where from.
    pub source: String,
    /// Where to.
    pub destination: String,
}

/// A fleet in the lab, and what is known of its vms.
#[derive(Debug)]
pub struct Trial {
    ears: Ears,
    courses: BTreeMap<String, Course>,
    /// The programs, and the lab they run in.
    pub fleet: LabFleet,
    /// A client of the scheduler.
    pub operator: OperatorClient<Channel>,
    clock: Clock,
    hosts: usize,
    uuids: BTreeMap<String, String>,
}

impl Trial {
    /// Starts `hosts` hosts and the vms, each on the host of its number and with these labels of the script's; `None`, and a
    /// note, where this machine cannot.
    ///
    /// # Errors
    /// What does not start.
    pub async fn begin(test: &str, hosts: usize, vms: &[(&str, usize)], labels: &[&str]) -> Result<Option<Self>> {
        if let Some(why) = lab::lacks() {
            skipped(test, &why);
            return Ok(None);
        }
        let clock = Clock::system();
        let lab = Lab::up_impatient(hosts)?;
        let mut uuids = BTreeMap::new();
        for (index, (vm, host)) in vms.iter().enumerate() {
            let host = Lab::host(*host);
            lab.guest(&host, vm, &format!("{NETWORK}.{}", 190 + index), 96, 5, labels)?;
            lab.writes(vm, WRITES.0, WRITES.1)?;
            uuids.insert((*vm).to_owned(), lab.virsh(&host, &["domuuid", vm])?.trim().to_owned());
        }
        for number in 1..=hosts {
            // A libvirtd looks into its QEMU the first time it is asked to use it; that is not what is to be disturbed.
            lab.virsh(&Lab::host(number), &["domcapabilities"])?;
        }
        let fleet = LabFleet::start_on(lab, hosts, &Terms { tuning: TUNING, ..Terms::plain("recommend") })?;
        let operator = fleet.operator().await?;
        let ears = Ears::open(&fleet.lab, hosts)?;
        let trial = Self { ears, courses: BTreeMap::new(), fleet, operator, clock, hosts, uuids };
        trial.say("the programs run");
        trial.fleet.trusted(&trial.operator, hosts).await?;
        trial.say("the hosts are trusted");
        trial.until("every vm writes", async |trial| vms.iter().all(|(vm, _)| trial.fleet.lab.looks(vm) > 0)).await?;
        Ok(Some(trial))
    }

    /// Waits until it is so, for a bounded time.
    ///
    /// # Errors
    /// What did not come.
    pub async fn until(&self, what: &str, is_so: impl AsyncFn(&Self) -> bool) -> Result<()> {
        self.until_every(LOOK, what, is_so).await
    }

    /// The same where the scheduler is asked.
    ///
    /// # Errors
    /// What did not come.
    pub async fn until_told(&self, what: &str, is_so: impl AsyncFn(&Self) -> bool) -> Result<()> {
        self.until_every(ASK, what, is_so).await
    }

    async fn until_every(&self, pause: Duration, what: &str, is_so: impl AsyncFn(&Self) -> bool) -> Result<()> {
        let clock = Clock::system();
        while !is_so(self).await {
            ensure!(clock.elapsed() < PATIENCE, "within {PATIENCE:?} it did not come that {what}");
            clock.sleep(pause).await;
        }
        self.say(what);
        Ok(())
    }

    /// A line for whoever reads what the test did.
    #[allow(clippy::print_stdout)] // the output of a test is where people look
    pub fn say(&self, what: &str) {
        println!("{:>6.1} s  {what}", self.clock.elapsed().as_secs_f64());
    }

    /// Has a vm sent to another host, its copy held at `rate` MiB per second. A host may have been silent for a while, and a vm
    /// stays locked until it is confirmed where it is: the order is repeated until it is taken.
    ///
    /// # Errors
    /// Why it is not taken.
    pub async fn order(&mut self, vm: &str, source: &str, destination: &str, rate: &str) -> Result<Move> {
        self.fleet.lab.virsh(source, &["migrate-setspeed", vm, rate])?;
        let clock = Clock::system();
        let id = loop {
            match self.try_order(vm, destination).await {
                Ok(id) => break id,
                Err(refused) => ensure!(clock.elapsed() < PATIENCE, "{vm} cannot be moved: {}", refused.message()),
            }
            clock.sleep(ASK).await;
        };
        self.say(&format!("{vm} is ordered to {destination}"));
        self.courses.insert(vm.to_owned(), Course::ordered(Duration::ZERO));
        Ok(Move { id, vm: vm.to_owned(), source: source.to_owned(), destination: destination.to_owned() })
    }

    /// Orders it once; its id.
    ///
    /// # Errors
    /// The scheduler's refusal.
    pub async fn try_order(&self, vm: &str, destination: &str) -> Result<String, tonic::Status> {
        let wish = v1::MigrateRequest {
            vm: vm.to_owned(),
            host: destination.to_owned(),
            r#override: true,
            reason: "trial".to_owned(),
            ..v1::MigrateRequest::default()
        };
        Ok(self.operator.clone().migrate(wish).await?.into_inner().migration_id)
    }

    /// What the scheduler tells of a move.
    ///
    /// # Errors
    /// Where it cannot be asked.
    pub async fn known(&self, order: &Move) -> Result<Option<v1::Migration>> {
        let request = v1::ListMigrationsRequest::default();
        let listed = self.operator.clone().list_migrations(request).await?.into_inner().migrations;
        Ok(listed.into_iter().find(|one| one.migration_id == order.id))
    }

    /// What an agent has said, its host counted from 1.
    pub fn agent_log(&self, number: usize) -> String {
        self.fleet.agents.get(number - 1).map(crate::lab::Daemon::log).unwrap_or_default()
    }
}

impl Drop for Trial {
    #[allow(clippy::panic)] // a daemon that panicked fails whichever test it was in
    fn drop(&mut self) {
        let logs = self.fleet.agents.iter().chain([&self.fleet.scheduler]).map(lab::Daemon::log);
        let panics: Vec<String> = logs
            .flat_map(|log| {
                log.lines().filter(|line| line.contains("panicked at")).map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        assert!(std::thread::panicking() || panics.is_empty(), "a daemon panicked: {panics:?}");
    }
}
