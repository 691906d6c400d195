//! `ballast-train transfer`: how soon networks are good on a fleet that is new to them.
//!
//! A new fleet is days that nothing was learnt on, with a load and a mix of hosts of its own. From each start (new networks, those that
//! ship, and any others) it learns on the first hours of the fleet's data as `ballast-train policy` would, and is judged on another day of
//! the same fleet as it goes. A score of 0 is a network that knows nothing and so leaves every host alone, 1 is the greedy rule at its
//! best setting; the networks answer for themselves, without that rule standing by.

mod curve;
mod summary;
#[cfg(test)]
mod tests;

use std::{fs::File, io::Write, path::PathBuf, str::FromStr, sync::mpsc};

use anyhow::Context as _;
use ballast_models::policy::{bundle::Bundle, shipped};
use burn::tensor::Device as BurnDevice;
use clap::Args as ClapArgs;
use rayon::prelude::*;

use super::{
    cells::{Days, Hosts, Mix},
    material,
    numbers::Numbers,
};
use crate::device::Device;
use curve::{Curve, Judge};

/// What is transferred, to what fleet, and how it is measured.
#[derive(Debug, Clone, ClapArgs)]
pub struct TransferArgs {
    /// Folder with PlanetLab days (YYYYMMDD.csv.gz).
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// The new fleet's days to learn on: of the first ones, as many hours as --hours says.
    #[arg(long = "day", value_name = "YYYYMMDD", value_delimiter = ',', required = true)]
    pub days: Vec<String>,
    /// The new fleet's days to be judged on.
    #[arg(long = "judge", value_name = "YYYYMMDD", value_delimiter = ',', required = true)]
    pub judge: Vec<String>,
    /// What the fleet is like.
    #[command(flatten)]
    pub fleet: FleetArgs,
    /// Networks to begin with, beside new ones (`scratch`) and those that ship (`shipped`): several files are taken in turn by the seeds.
    #[arg(long = "from", value_name = "NAME=FILE[,FILE...]")]
    pub from: Vec<Start>,
    /// Hours of the fleet's data; of less than a day the hours repeat until the day is over.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 6, 24], value_parser = clap::value_parser!(u32).range(1..))]
    pub hours: Vec<u32>,
    /// Turns between two judgements.
    #[arg(long, default_value_t = 5, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub every: usize,
    /// Runs of each kind, with seeds from --seed on.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(2..=10))]
    pub seeds: u8,
    /// Cells that judge.
    #[arg(long, default_value_t = 96)]
    pub judged: u64,
    /// A line of JSON per run, as each ends.
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Numbers of each run.
    #[command(flatten)]
    pub numbers: Numbers,
    /// Where burn computes: cpu (burn's own), cuda:N, vulkan:N or wgpu:N.
    #[arg(long, default_value = "cpu")]
    pub device: Device,
}

/// What is the same in all cells of the new fleet. Hosts are of two kinds: the recording's first two.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub struct FleetArgs {
    /// CPU that vms want, in multiples of what was recorded; cells are trained on with 0.6 to 1.6.
    #[arg(long, default_value_t = 1.8)]
    pub load: f64,
    /// Share of the hosts that are of the first kind.
    #[arg(long, default_value_t = 0.9)]
    pub of_first: f64,
    /// Memory of a host, in multiples of its kind's.
    #[arg(long, default_value_t = 0.5)]
    pub memory: f64,
    /// Bandwidth of a host's link, in multiples of its kind's.
    #[arg(long, default_value_t = 1.0)]
    pub link: f64,
}

impl FleetArgs {
    fn mix(self) -> Mix {
        let Self { load, of_first, memory, link } = self;
        Mix { hosts: Hosts { memory, link, kinds: [0, 1], of_first }, load }
    }
}

/// A name for networks, and the files they lie in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    name: String,
    files: Vec<PathBuf>,
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, files) = text.split_once('=').ok_or_else(|| format!("{text:?}: NAME=FILE[,FILE...] is needed"))?;
        let files: Vec<PathBuf> = files.split(',').filter(|file| !file.is_empty()).map(PathBuf::from).collect();
        if name.is_empty() || files.is_empty() {
            return Err(format!("{text:?}: NAME=FILE[,FILE...] is needed"));
        }
        Ok(Self { name: name.to_owned(), files })
    }
}

/// Networks to begin with: each seed takes one in turn, or new ones where there are none.
#[derive(Debug)]
struct Begun {
    name: String,
    bundles: Vec<Bundle>,
}

impl Begun {
    fn of(&self, number: u8) -> Option<&Bundle> {
        self.bundles.get(usize::from(number).checked_rem(self.bundles.len())?)
    }
}

/// One run to be made.
struct Job<'a> {
    begun: &'a Begun,
    days: &'a Days,
    hours: u32,
    number: u8,
}

/// Makes all runs, tells `out` of each as it ends, and then the table.
///
/// # Errors
/// Where data or a bundle cannot be read, or the device is not there.
pub fn run(args: &TransferArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.numbers.meta.is_none(),
        "--meta makes networks to begin with; transfer measures such networks"
    );
    if let Some(both) = args.days.iter().find(|day| args.judge.contains(day)) {
        anyhow::bail!("--judge {both}: the day is learnt on too");
    }
    let begun = begun(args)?;
    let device = args.device.burn()?.unwrap_or_else(BurnDevice::flex);
    let mix = args.fleet.mix();
    let fleet = Days::read(&args.data, &args.days)?.like(mix)?;
    let learnt: Vec<(u32, Days)> =
        args.hours.iter().map(|hours| Ok((*hours, fleet.first(*hours)?))).collect::<anyhow::Result<_>>()?;
    let judge = Judge::new(&Days::read(&args.data, &args.judge)?.like(mix)?, args.judged)?;
    let jobs: Vec<Job<'_>> = begun
        .iter()
        .flat_map(|begun| learnt.iter().map(move |(hours, days)| (begun, *hours, days)))
        .flat_map(|(begun, hours, days)| (0..args.seeds).map(move |number| Job { begun, days, hours, number }))
        .collect();
    writeln!(out, "{} runs; {}", jobs.len(), judge.told())?;
    let curves = all(args, &jobs, &judge, &device, out)?;
    summary::write(&curves, &judge, out)
}

/// The networks to begin with: new ones, those that ship, and those that were named.
fn begun(args: &TransferArgs) -> anyhow::Result<Vec<Begun>> {
    let mut all = vec![
        Begun { name: "scratch".to_owned(), bundles: Vec::new() },
        Begun { name: "shipped".to_owned(), bundles: vec![shipped()?] },
    ];
    for start in &args.from {
        anyhow::ensure!(all.iter().all(|known| known.name != start.name), "--from {}: the name is taken", start.name);
        let bundles = start.files.iter().map(|file| material::read(file)).collect::<anyhow::Result<_>>()?;
        all.push(Begun { name: start.name.clone(), bundles });
    }
    Ok(all)
}

/// Makes the runs side by side; tells of each as it ends.
fn all(
    args: &TransferArgs,
    jobs: &[Job<'_>],
    judge: &Judge,
    device: &BurnDevice,
    out: &mut dyn Write,
) -> anyhow::Result<Vec<Curve>> {
    let mut log = args
        .log
        .as_ref()
        .map(|path| File::create(path).with_context(|| format!("write {}", path.display())))
        .transpose()?;
    let (sender, ended) = mpsc::channel();
    let make = |job: &Job<'_>| {
        let numbers = Numbers { seed: args.numbers.seed + u64::from(job.number), ..args.numbers.clone() };
        let name = (job.begun.name.as_str(), job.hours);
        curve::learn(name, (job.begun.of(job.number), job.days), (&numbers, args.every), judge, device)
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            jobs.par_iter().for_each_with(sender, |sender, job| {
                // Where nobody listens any more, an error has been told already.
                drop(sender.send(make(job)));
            });
        });
        let mut curves = Vec::new();
        for curve in ended {
            let curve = curve?;
            writeln!(out, "{}", curve.told(judge))?;
            if let Some(log) = &mut log {
                writeln!(log, "{}", serde_json::to_string(&curve)?)?;
            }
            curves.push(curve);
        }
        Ok(curves)
    })
}
