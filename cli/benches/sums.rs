//! How well forecasters foretell what the vms of a host want together, which is what decisions rest on.
//!
//! `cargo bench -p ballast --bench sums -- [SCENARIO [FOLDER DAY…]]` plays a scenario (bitbrains-modern) that nobody decides on
//! and sets what was said of each vm, and of groups of 25, against what came. A forecast that is better vm by vm need not be so
//! here: what counts is the mean and the deviation of a sum, to which rare bursts and errors in common add, and of which
//! quantiles say little. *Over* is the share of groups that wanted more than the mean and so many deviations said.

// A program for people, which reads files.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use ballast_core::{
    ewma::EwmaForecaster,
    forecast::{Ahead, Forecaster, Moments, STEP, STEPS, VmForecast},
    id::VmId,
    policy::LeaveAlone,
    sample::VmSample,
    units::{Bytes, Timestamp, count},
};
use ballast_models::{bundle::shipped, stream::Streaming};
use ballast_sim::{
    scenario::{
        Scenario,
        file::{Data, DataFile, builtin},
    },
    score::{Pace, run_policy},
};

/// Vms of a group: as many as a host holds where fleets are packed.
const GROUP: usize = 25;

/// Deviations above the mean at which exceedances are counted.
const DEVIATIONS: [f64; 3] = [1.0, 1.5, 2.0];

/// What was said of a vm at a slot (mean and deviation at each step), and what came.
#[derive(Default)]
struct Log {
    said: BTreeMap<(VmId, u64), [Moments; STEPS.len()]>,
    came: BTreeMap<(VmId, u64), f64>,
}

/// Forecasts as another does, and writes it down.
struct Listener {
    inner: Box<dyn Forecaster>,
    log: Arc<Mutex<Log>>,
}

impl Listener {
    fn log(&self) -> std::sync::MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Forecaster for Listener {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn resized(&mut self, vm: VmId, vcpus: u32, memory: Bytes) {
        self.inner.resized(vm, vcpus, memory);
    }

    fn observe(&mut self, sample: &VmSample) {
        if let Some(cpu) = sample.cpu_used.value() {
            self.log().came.insert((sample.vm, slot(sample.taken_at)), cpu.get());
        }
        self.inner.observe(sample);
    }

    fn forget(&mut self, vm: VmId) {
        self.inner.forget(vm);
    }

    fn advance(&mut self, now: Timestamp) {
        self.inner.advance(now);
    }

    fn forecast(&self, vm: VmId, now: Timestamp) -> Option<VmForecast> {
        self.inner.forecast(vm, now)
    }

    fn ahead(&self, vm: VmId, now: Timestamp) -> Option<Ahead> {
        let ahead = self.inner.ahead(vm, now)?;
        self.log().said.insert((vm, slot(now)), std::array::from_fn(|step| ahead.moments(step)));
        Some(ahead)
    }
}

fn slot(at: Timestamp) -> u64 {
    at.since(Timestamp::EPOCH).as_secs() / STEP.as_secs()
}

/// Sums over vms or groups of what was said and what came.
#[derive(Default)]
struct Sums {
    number: f64,
    wanted: f64,
    error: f64,
    squares: f64,
    variance: f64,
    over: [f64; DEVIATIONS.len()],
}

impl Sums {
    fn add(&mut self, (mean, variance): (f64, f64), came: f64) {
        let error = came - mean;
        self.number += 1.0;
        self.wanted += came;
        self.error += error;
        self.squares += error * error;
        self.variance += variance;
        for (over, deviations) in self.over.iter_mut().zip(DEVIATIONS) {
            *over += f64::from(u8::from(error > deviations * variance.sqrt()));
        }
    }

    fn columns(&self) -> String {
        let mean = |sum: f64| sum / self.number.max(1.0);
        let bias = 100.0 * self.error / self.wanted.max(f64::MIN_POSITIVE);
        format!("{bias:+.1} % | {:.3} | {:.3}", mean(self.squares).sqrt(), mean(self.variance).sqrt())
    }

    fn over(&self) -> String {
        self.over.map(|over| format!("{:.1} %", 100.0 * over / self.number.max(1.0))).join(" | ")
    }
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let name = args.next().unwrap_or_else(|| "bitbrains-modern".into());
    let folder = args.next();
    let file = builtin(&name).with_context(|| format!("{name}: no such scenario"))??;
    let days: Vec<String> = args.collect();
    println!(
        "| day | forecaster | minutes ahead | vm: bias | error | said | 25 vms: bias | error | said | over 1 | 1.5 | 2 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let pace = file.pace().cloned().unwrap_or_default();
    // Read as rarely as there are forecasts to compare, decided on by nobody.
    let pace = Pace { period: STEP, round: STEP, acts_between: false, ..pace };
    for (day, scenario) in scenarios(&file, folder.as_deref(), &days)? {
        judge(&day, "ewma", Box::new(EwmaForecaster::default()), &scenario, &pace);
        judge(&day, "lstm", Box::new(Streaming::of(&shipped()?)), &scenario, &pace);
    }
    Ok(())
}

fn scenarios(
    file: &ballast_sim::scenario::file::ScenarioFile,
    folder: Option<&str>,
    days: &[String],
) -> anyhow::Result<Vec<(String, Scenario)>> {
    let Some(folder) = folder else { return Ok(vec![("-".into(), file.build(&Data::default(), None, 0)?)]) };
    let built = |day: &String| {
        let name = format!("{day}.csv.gz");
        let path = Path::new(folder).join(&name);
        let bytes = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let data = Data { files: vec![DataFile { name, bytes }], ..Data::default() };
        Ok((day.clone(), file.build(&data, Some(day), 0)?))
    };
    days.iter().map(built).collect()
}

fn judge(day: &str, name: &str, inner: Box<dyn Forecaster>, scenario: &Scenario, pace: &Pace) {
    let log = Arc::new(Mutex::new(Log::default()));
    let mut listener = Listener { inner, log: Arc::clone(&log) };
    run_policy(scenario, 0, pace, &mut listener, &mut LeaveAlone);
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    let vms: Vec<VmId> = log.came.keys().map(|(vm, _)| *vm).collect::<BTreeSet<_>>().into_iter().collect();
    // In the first hour nothing is known yet.
    let from = slot(scenario.start().after(Duration::from_secs(3600)));
    for (index, step) in STEPS.into_iter().enumerate() {
        let (mut alone, mut together) = (Sums::default(), Sums::default());
        for at in from..slot(scenario.end()) {
            for group in vms.chunks(GROUP) {
                add_group(&log, group, (at, step, index), &mut alone, &mut together);
            }
        }
        let minutes = count(step) * STEP.as_secs_f64() / 60.0;
        println!("| {day} | {name} | {minutes} | {} | {} | {} |", alone.columns(), together.columns(), together.over());
    }
}

/// Adds what was said of a group at a slot and came `step` slots later; vms of which either is not known are left out.
fn add_group(log: &Log, group: &[VmId], (at, step, index): (u64, usize, usize), alone: &mut Sums, together: &mut Sums) {
    let (mut mean, mut variance, mut wanted) = (0.0, 0.0, 0.0);
    for vm in group {
        let came = log.came.get(&(*vm, at + step as u64));
        let Some((said, came)) = log.said.get(&(*vm, at)).zip(came) else { continue };
        let Moments { mean: expected, deviation } = said[index];
        alone.add((expected, deviation * deviation), *came);
        mean += expected;
        variance += deviation * deviation;
        wanted += came;
    }
    if wanted > 0.0 {
        together.add((mean, variance), wanted);
    }
}
