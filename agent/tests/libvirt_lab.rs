//! The libvirt driver against real libvirtd and real QEMU: facts, counters, a migration with its events, an abort, and
//! the other vms' counters meanwhile.
//!
//! Needs root, and what `tests/lab/lab.sh deps` installs: `BALLAST_LAB=1 cargo test -p ballast-agent --test libvirt_lab
//! -- --nocapture`. It brings up two hosts of its own and takes them down. Without `BALLAST_LAB` it says that it did
//! nothing.

#![cfg(feature = "libvirt")]
#![allow(clippy::print_stdout)] // The transcript of a real run is what this test is read for.

use std::{
    path::PathBuf,
    pin::pin,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use ballast_agent::hypervisor::{
    Hypervisor, HypervisorError, MigrationEvent, MigrationJob, Whereabouts,
    libvirt::{LibvirtHypervisor, LibvirtOptions},
};
use ballast_core::{
    command::MigrationLimits,
    id::{HostId, VmId},
    inventory::{CpuNeed, VmRecord},
    migration_cost::{self, CopyEstimate, CopyJob, Writes},
    outcome::Stage,
    sample::VmState,
    units::{Bytes, BytesPerSec, Cores},
};
use ballast_daemon::clock::Clock;

/// Memory of the vm that moves.
const MEMORY: Bytes = Bytes::from_mib(128);

/// Rate at which its copy is held, so that the time it takes is a link's and not this machine's.
const LINK: BytesPerSec = BytesPerSec(32.0 * 1024.0 * 1024.0);

/// Runs the lab's script, on hosts and a network of this test's own, and returns what it printed.
fn lab(arguments: &[&str]) -> Result<String> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/lab/lab.sh");
    // Unix sockets have short paths only, so the folder is where the script would put it, by another name.
    let folder = std::env::temp_dir().join("ballast-lab-driver");
    // To a file: the daemons that stay would keep a pipe open.
    let said = tempfile::NamedTempFile::new()?;
    let mut command = Command::new(script);
    command.env("LAB", folder).env("LAB_HOST", PREFIX).env("LAB_NET", "10.78.0").args(arguments);
    let status = command.stdin(Stdio::null()).stdout(said.reopen()?).stderr(said.reopen()?).status()?;
    let said = std::fs::read_to_string(said.path())?;
    ensure!(status.success(), "lab {arguments:?}: {said}");
    Ok(said.trim().to_owned())
}

/// What the hosts' names begin with.
const PREFIX: &str = "drv";
const SOURCE: &str = "drv1";
const DESTINATION: &str = "drv2";

/// Takes the lab down whichever way the test ends.
struct Up;

impl Up {
    fn hosts(count: &str) -> Result<Self> {
        lab(&["down"])?;
        lab(&["up", count])?;
        Ok(Self)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if let Err(error) = lab(&["down"]) {
            println!("the lab could not be taken down: {error:#}");
        }
    }
}

struct Lab {
    clock: Clock,
    source: Arc<LibvirtHypervisor>,
    destination: Arc<LibvirtHypervisor>,
}

impl Lab {
    fn connect() -> Result<Self> {
        let clock = Clock::system();
        let driver = |host: &str| -> Result<Arc<LibvirtHypervisor>> {
            let options = LibvirtOptions { uri: lab(&["uri", host])?, ..LibvirtOptions::default() };
            Ok(Arc::new(LibvirtHypervisor::start(options, clock.clone())))
        };
        Ok(Self { source: driver(SOURCE)?, destination: driver(DESTINATION)?, clock: clock.clone() })
    }

    async fn vm(&self, name: &str) -> Result<VmRecord> {
        let facts = self.source.facts().await?;
        facts.vms.into_iter().find(|vm| vm.name == name).with_context(|| format!("no vm {name} on the source"))
    }

    async fn migrate(&self, vm: VmId, bandwidth: Option<BytesPerSec>) -> Result<Migration> {
        let limits = MigrationLimits { bandwidth, tls: false, ..MigrationLimits::for_memory(MEMORY) };
        let destination = HostId::new(DESTINATION)?;
        let destination_uri = lab(&["migration-uri", DESTINATION])?;
        let events = self.source.migrate(MigrationJob { vm, destination, destination_uri, limits }).await?;
        Ok(Migration { clock: self.clock.clone(), began: self.clock.elapsed(), events, seen: Vec::new() })
    }
}

struct Migration {
    clock: Clock,
    began: Duration,
    events: tokio::sync::mpsc::Receiver<MigrationEvent>,
    seen: Vec<(Duration, MigrationEvent)>,
}

impl Migration {
    async fn next(&mut self) -> Option<MigrationEvent> {
        let event = self.events.recv().await?;
        let at = self.clock.elapsed() - self.began;
        println!("{at:>12.3?} {event:?}");
        self.seen.push((at, event.clone()));
        Some(event)
    }

    async fn end(&mut self) {
        while self.next().await.is_some() {}
    }

    fn first(&self, wanted: impl Fn(&MigrationEvent) -> bool) -> Option<Duration> {
        self.seen.iter().find(|(_, event)| wanted(event)).map(|(at, _)| *at)
    }
}

/// Reads counters ten times a second until it is stopped; returns the longest time without `vm` and the slowest call.
async fn watch_gap(
    clock: Clock,
    driver: Arc<LibvirtHypervisor>,
    vm: VmId,
    stop: Arc<tokio::sync::Notify>,
) -> (Duration, Duration, u32) {
    let (mut last, mut gap, mut slowest, mut reads) = (clock.elapsed(), Duration::ZERO, Duration::ZERO, 0);
    // From now on, so that no call of `notify_waiters` is missed while a read goes on.
    let mut stopped = pin!(stop.notified());
    stopped.as_mut().enable();
    loop {
        let began = clock.elapsed();
        let counters = driver.counters(Duration::from_secs(2)).await.unwrap_or_default();
        let now = clock.elapsed();
        (slowest, reads) = (slowest.max(now - began), reads + 1);
        if counters.iter().any(|one| one.vm == vm && one.cpu_time_nanos.is_some()) {
            gap = gap.max(now - last);
            last = now;
        }
        if clock.timeout(Duration::from_millis(100), stopped.as_mut()).await.is_ok() {
            return (gap.max(clock.elapsed() - last), slowest, reads);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moves_a_real_vm_and_loses_sight_of_no_other() -> Result<()> {
    if std::env::var_os("BALLAST_LAB").is_none() {
        println!("skipped: BALLAST_LAB is not set, so there are no real hosts to migrate between");
        return Ok(());
    }
    let _up = Up::hosts("2")?;
    lab(&["guest", SOURCE, "probe1", "10.78.0.101", "128", "20", "group=probe", "pin=drv1", "pin=drv2"])?;
    lab(&["guest", SOURCE, "probe2", "10.78.0.102", "128", "5", "immovable"])?;
    lab(&["guest", DESTINATION, "probe3", "10.78.0.103", "128", "5"])?;
    lab(&["wait-ping", "10.78.0.101"])?;
    let at = Lab::connect()?;

    let vm = facts_describe(&at).await?;
    let other = at.vm("probe2").await?.vm;
    counters_count(&at, vm).await?;
    abort_leaves_the_vm_where_it_was(&at, vm).await?;
    real_migration(&at, vm, other).await?;
    a_libvirtd_that_crashed_is_met_again(&at, vm).await
}

async fn facts_describe(at: &Lab) -> Result<VmId> {
    let vm = at.vm("probe1").await?;
    println!("{vm:#?}");
    ensure!(vm.state == VmState::Running && vm.cpu == CpuNeed::Any && !vm.busy, "{vm:?}");
    ensure!(vm.obstacles.is_empty(), "{vm:?}");
    ensure!(vm.networks.contains("br0") && vm.memory_max == MEMORY, "{vm:?}");
    ensure!(vm.labels.pinned_to.len() == 2 && vm.labels.anti_affinity.contains("probe"), "{vm:?}");
    let facts = at.source.facts().await?;
    println!("{} on {}, {} cpu models", facts.version, facts.cpu_model, facts.cpu_models.len());
    Ok(vm.vm)
}

async fn counters_count(at: &Lab, vm: VmId) -> Result<()> {
    let read = async || -> Result<_> {
        let counters = at.source.counters(Duration::from_secs(5)).await?;
        counters.into_iter().find(|one| one.vm == vm).context("the vm's counters")
    };
    let first = read().await?;
    at.clock.sleep(Duration::from_secs(6)).await;
    let second = read().await?;
    println!("{second:#?}");
    ensure!(second.cpu_time_nanos > first.cpu_time_nanos, "no CPU time");
    ensure!(second.disk_read_bytes > first.disk_read_bytes, "no disk reads");
    ensure!(second.disk_write_bytes > first.disk_write_bytes, "no disk writes");
    ensure!(second.memory_used.is_some() && second.vcpu_delay_nanos.is_some(), "{second:?}");
    ensure!(second.incarnation == first.incarnation, "{first:?} {second:?}");
    Ok(())
}

async fn abort_leaves_the_vm_where_it_was(at: &Lab, vm: VmId) -> Result<()> {
    // Slow enough that the copy is surely under way when it is stopped.
    let mut migration = at.migrate(vm, Some(BytesPerSec(2e6))).await?;
    while let Some(event) = migration.next().await {
        if matches!(event, MigrationEvent::Progress(progress) if progress.stage == Stage::Migration) {
            let state = at.source.locate(vm).await?;
            ensure!(matches!(state, Whereabouts::Here { migrating: true, .. }), "{state:?}");
            break;
        }
    }
    let resumed = at.source.resume_watching(vm).await;
    ensure!(matches!(resumed, Err(HypervisorError::Refused(_))), "two watchers of one migration: {resumed:?}");
    let asked = at.clock.elapsed();
    at.source.abort(vm).await?;
    println!("abort took {:?}", at.clock.elapsed() - asked);
    at.source.abort(vm).await?;
    migration.end().await;
    let last = migration.seen.last().map(|(_, event)| event.clone());
    ensure!(matches!(last, Some(MigrationEvent::Returned(Err(_)))), "{last:?}");
    let here = at.source.locate(vm).await?;
    ensure!(here == Whereabouts::Here { state: VmState::Running, migrating: false }, "{here:?}");
    let there = at.source.locate_at(&lab(&["migration-uri", DESTINATION])?, vm).await?;
    ensure!(there == Whereabouts::NotHere, "{there:?}");
    Ok(())
}

/// What the model says of a copy of the vm, as its counters describe it.
async fn foretell(at: &Lab, vm: VmId) -> Result<CopyEstimate> {
    // Just after a job of the vm its memory may be missing for a tick or two; how it writes is measured vm by vm.
    let known = async {
        loop {
            let counters = at.source.counters(Duration::from_secs(5)).await.unwrap_or_default();
            if let Some((resident, one)) =
                counters.iter().find(|one| one.vm == vm).and_then(|one| Some((one.memory_resident?, one)))
            {
                println!("resident {resident:?}, used {:?}", one.memory_used);
                let writes = Writes { rate: one.dirty_rate, set: one.working_set };
                if writes.rate.is_some() {
                    println!("{writes:?}");
                    return (resident, writes);
                }
            }
            at.clock.sleep(Duration::from_millis(100)).await;
        }
    };
    let known = at.clock.timeout(Duration::from_secs(90), known).await;
    let (resident, writes) = known.context("resident memory, and how it is written")?;
    let limits = MigrationLimits::for_memory(MEMORY);
    Ok(migration_cost::estimate(&CopyJob::of_vm(resident.min(MEMORY), Cores(0.2), writes, LINK, &limits)))
}

async fn real_migration(at: &Lab, vm: VmId, other: VmId) -> Result<()> {
    let stop = Arc::new(tokio::sync::Notify::new());
    let watch = |driver: &Arc<LibvirtHypervisor>, vm: VmId| {
        tokio::spawn(watch_gap(at.clock.clone(), Arc::clone(driver), vm, Arc::clone(&stop)))
    };
    let there = at.destination.facts().await?;
    let host_there = there.vms.iter().find(|record| record.name == "probe3").context("probe3")?.vm;
    let gaps = [("source", watch(&at.source, other)), ("destination", watch(&at.destination, host_there))];
    let foretold = foretell(at, vm).await?;
    let mut migration = at.migrate(vm, Some(LINK)).await?;
    migration.end().await;
    stop.notify_waiters();
    for (place, gap) in gaps {
        let (gap, slowest, reads) = gap.await?;
        println!("other vm at the {place}: longest gap {gap:?}, slowest of {reads} reads {slowest:?}");
        ensure!(gap < Duration::from_secs(2), "the other vm at the {place} was out of sight for {gap:?}");
    }

    let iteration = migration.first(|event| matches!(event, MigrationEvent::Iteration(1))).context("iteration 1")?;
    let suspended = migration.first(|event| matches!(event, MigrationEvent::Suspended)).context("the suspension")?;
    let end = migration.seen.last().context("events")?.0;
    let copy = suspended - iteration;
    println!("preparation {iteration:?}, copy {copy:?}, switching {:?}", end - suspended);
    let figures = migration.seen.iter().find_map(|(_, event)| match event {
        MigrationEvent::Statistics { downtime: Some(downtime), copied, .. } => Some((*downtime, *copied)),
        _ => None,
    });
    let (downtime, copied) = figures.context("no final figures")?;
    println!("measured: copy {copy:?}, downtime {downtime:?}, {copied:?}; foretold: {foretold:?}");
    let copying = foretold.duration - migration_cost::PREPARATION - foretold.downtime;
    for (what, ratio) in [("time", copying.div_duration_f64(copy)), ("data", foretold.copied.ratio_of(copied))] {
        ensure!((0.5..2.0).contains(&ratio), "the {what} of the copy was foretold as {ratio:.2} times what it was");
    }
    ensure!(matches!(migration.seen.last(), Some((_, MigrationEvent::Returned(Ok(()))))), "not returned well");

    ensure!(at.source.locate(vm).await? == Whereabouts::NotHere, "still at the source");
    let there = Whereabouts::Here { state: VmState::Running, migrating: false };
    ensure!(at.destination.locate(vm).await? == there, "not at the destination");
    ensure!(
        at.source.locate_at(&lab(&["migration-uri", DESTINATION])?, vm).await? == there,
        "not seen from the source"
    );
    let facts = at.source.facts().await?;
    ensure!(facts.vms.iter().all(|record| record.vm != vm), "the definition stayed behind");
    lab(&["wait-ping", "10.78.0.101", "10"])?;
    Ok(())
}

async fn a_libvirtd_that_crashed_is_met_again(at: &Lab, vm: VmId) -> Result<()> {
    lab(&["kill-libvirtd", DESTINATION])?;
    let lost = async { while at.destination.counters(Duration::from_secs(2)).await.is_ok() {} };
    ensure!(at.clock.timeout(Duration::from_secs(20), lost).await.is_ok(), "still answers without libvirtd");
    let without = at.destination.facts().await;
    ensure!(matches!(without, Err(HypervisorError::Unreachable(_))), "{without:?}");
    lab(&["restart-libvirtd", DESTINATION])?;
    let began = at.clock.elapsed();
    let back = async {
        loop {
            let counters = at.destination.counters(Duration::from_secs(2)).await.unwrap_or_default();
            if counters.iter().any(|one| one.vm == vm) {
                return;
            }
            at.clock.sleep(Duration::from_millis(100)).await;
        }
    };
    ensure!(at.clock.timeout(Duration::from_secs(60), back).await.is_ok(), "the driver did not come back");
    println!("counters again {:?} after libvirtd was", at.clock.elapsed() - began);

    // Events are registered anew: without them the vm would still be on the roster, and announced to nobody.
    let changed = async {
        loop {
            at.destination.changes().await;
            if at.destination.locate(vm).await == Ok(Whereabouts::NotHere) {
                return;
            }
        }
    };
    lab(&["virsh", DESTINATION, "destroy", "probe1"])?;
    ensure!(at.clock.timeout(Duration::from_secs(20), changed).await.is_ok(), "no event after the reconnection");
    Ok(())
}
