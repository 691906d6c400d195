//! Whether ballast adds anything to a migration: the same vms moved by turns through it and by `virsh migrate` with the flags
//! that its agent uses, each measured by what libvirt itself counted.

use std::{fmt, io::Write as _, time::Duration};

use anyhow::{Context, Result, ensure};
use ballast_daemon::clock::Clock;
use ballast_proto::v1;
use ballast_tests::{lab::Lab, lab_fleet::eventually};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::{
    moves::Run,
    report::median,
    scene::{Scene, Vm},
};

/// What the agent asks libvirt for, where nothing is wished (`agent/src/hypervisor/libvirt/request.rs`).
const FLAGS: [&str; 5] = ["migrate", "--live", "--p2p", "--persistent", "--undefinesource"];

/// Who moves, in a run of four: each has both ways, and neither is always first.
const TURNS: [Who; 4] = [Who::Ballast, Who::Virsh, Who::Virsh, Who::Ballast];

/// Samples drawn for an interval.
const DRAWS: usize = 4000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Ballast,
    Virsh,
}

/// What one move took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    who: Who,
    vm: &'static str,
    /// From the call to its return.
    whole: f64,
    /// What libvirt counted of it.
    elapsed: f64,
    downtime: f64,
}

/// Moves the vms in turn, so many times by each.
pub(crate) async fn run(run: &mut Run<'_>, scene: &Scene, each: usize) -> Result<Vec<Took>> {
    for (vm, writes) in all_with_writes(scene) {
        run.change(vm, writes).await?;
    }
    let mut all = Vec::new();
    for round in 0..each.div_ceil(2) {
        let vm = &scene.vms[round % scene.vms.len()];
        for who in TURNS {
            let whole = match who {
                Who::Ballast => by_ballast(run, vm).await?,
                Who::Virsh => by_virsh(run, vm).await?,
            };
            let (elapsed, downtime) = counted(run, vm)?;
            all.push(Took { who, vm: vm.name, whole, elapsed, downtime });
        }
        writeln!(std::io::stderr(), "{} of {} moves", all.len(), 2 * each)?;
    }
    Ok(all)
}

/// Each vm with what it writes in all of the run.
fn all_with_writes(scene: &Scene) -> impl Iterator<Item = (&'static Vm, (u32, u32))> {
    scene.vms.iter().zip(scene.writes.iter().copied())
}

/// The vms that write, and so look at their memory.
pub(crate) fn writers(scene: &Scene) -> impl Iterator<Item = &'static Vm> {
    all_with_writes(scene).filter(|(_, (rate, _))| *rate > 0).map(|(vm, _)| vm)
}

async fn by_ballast(run: &mut Run<'_>, vm: &Vm) -> Result<f64> {
    let outcome = run.order(vm).await?.outcome.context("an outcome")?;
    ensure!(outcome.ending() == v1::EndingKind::Completed, "{}: {}", vm.name, outcome.reason);
    let v1::Outcome { preparation_millis, migration_millis, switching_millis, .. } = outcome;
    Ok(Duration::from_millis(preparation_millis + migration_millis + switching_millis).as_secs_f64())
}

async fn by_virsh(run: &mut Run<'_>, vm: &Vm) -> Result<f64> {
    let lab = &run.fleet.lab;
    let (from, to) = (here(lab, vm)?, other(lab, vm)?);
    let uri = lab.uris(&to)?.1;
    let clock = Clock::system();
    lab.virsh(&from, &[&FLAGS[..], &[vm.name, &uri]].concat())?;
    let whole = clock.elapsed().as_secs_f64();
    // ballast hears of it by its inventories only, and moves it on once both agree.
    let known = eventually(Duration::from_secs(60), async || (run.status(vm).await.ok()?.host == to).then_some(()));
    known.await.with_context(|| format!("that {} runs on {to} was not seen", vm.name))?;
    Ok(whole)
}

fn here(lab: &Lab, vm: &Vm) -> Result<String> {
    lab.running_on(vm.name, 2).pop().with_context(|| format!("{} runs nowhere", vm.name))
}

fn other(lab: &Lab, vm: &Vm) -> Result<String> {
    Ok(if here(lab, vm)? == Lab::host(1) { Lab::host(2) } else { Lab::host(1) })
}

/// Seconds of the whole and of the pause, as libvirt has them at the destination.
fn counted(run: &Run<'_>, vm: &Vm) -> Result<(f64, f64)> {
    let lab = &run.fleet.lab;
    let said = lab.virsh(&here(lab, vm)?, &["domjobinfo", vm.name, "--completed", "--keep-completed", "--rawstats"])?;
    let value = |name: &str| {
        let line = said.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'));
        let millis = line.and_then(|value| value.trim().parse().ok());
        millis.map(|millis| Duration::from_millis(millis).as_secs_f64()).with_context(|| format!("{name} in {said}"))
    };
    Ok((value("time_elapsed")?, value("downtime")?))
}

/// A row per move.
pub(crate) fn csv(all: &[Took]) -> String {
    let row =
        |one: &Took| format!("{:?},{},{:.3},{:.3},{:.3}\n", one.who, one.vm, one.whole, one.elapsed, one.downtime);
    "by,vm,whole_s,elapsed_s,downtime_s\n".to_owned() + &all.iter().map(row).collect::<String>()
}

/// Both beside each other.
pub(crate) fn table(all: &[Took]) -> String {
    let line = |name: &str, of: &dyn Fn(&Took) -> f64| {
        let by = |who: Who| all.iter().filter(|one| one.who == who).map(of).collect::<Vec<_>>();
        format!("{name}: {}\n", Beside::of(&by(Who::Ballast), &by(Who::Virsh)))
    };
    line("from call to return", &|one| one.whole)
        + &line("what libvirt counted", &|one| one.elapsed)
        + &line("pause", &|one| one.downtime)
}

/// Two medians, their ratio, and the bounds of nineteen ratios of twenty.
struct Beside {
    moves: (usize, usize),
    medians: (f64, f64),
    bounds: (f64, f64),
}

impl Beside {
    fn of(ours: &[f64], theirs: &[f64]) -> Self {
        let mut random = Pcg64::seed_from_u64(1);
        let mut drawn = |of: &[f64]| median((0..of.len()).map(|_| of[random.random_range(0..of.len())]).collect());
        let mut ratios: Vec<f64> = (0..DRAWS).map(|_| drawn(ours) / drawn(theirs)).collect();
        ratios.sort_by(f64::total_cmp);
        let bounds = (ratios[DRAWS / 40], ratios[DRAWS - 1 - DRAWS / 40]);
        Self { moves: (ours.len(), theirs.len()), medians: (median(ours.to_vec()), median(theirs.to_vec())), bounds }
    }
}

impl fmt::Display for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { moves, medians: (ours, theirs), bounds: (low, high) } = self;
        let ratio = ours / theirs;
        write!(
            f,
            "{ours:.3} s by ballast ({} moves), {theirs:.3} s by virsh ({}), ratio {ratio:.3} (95 %: {low:.3} to {high:.3})",
            moves.0, moves.1
        )
    }
}
