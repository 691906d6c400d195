//! `ballast-train speed`: how fast this machine's devices train the forecaster, beside PyTorch if a Python that has it is named.

mod peer;

use std::{io::Write, path::PathBuf, time::Duration};

use ballast_core::history::{History, Observed, Shape};
use ballast_sim::score::stats::median;
use clap::Args;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;

use crate::{batch::Walk, data::Set, device::Device, engine::Engine, recipe::Recipe, training::Training};

/// Chunks that each lane is walked through in a round.
const CHUNKS: usize = 4;

/// Measures how fast devices train the forecaster.
#[derive(Debug, Clone, Args)]
pub struct SpeedArgs {
    /// Devices to measure, one after another: cpu, flex, cuda, vulkan or wgpu, with an index as in cuda:1.
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_delimiter = ',')]
    device: Vec<Device>,
    /// Series abreast.
    #[arg(long, default_values_t = [128, 1024], value_delimiter = ',')]
    lanes: Vec<usize>,
    /// Units of the cell.
    #[arg(long, default_values_t = [64], value_delimiter = ',')]
    hidden: Vec<usize>,
    /// Rounds that count, after one that does not.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// A Python that has PyTorch, to measure beside.
    #[arg(long, value_name = "PYTHON")]
    peer: Option<PathBuf>,
    /// The devices that PyTorch is measured on.
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_delimiter = ',', requires = "peer")]
    peer_device: Vec<String>,
}

/// Measures by `clock`, the time since any moment, and writes a line for each device and size as soon as it is known.
///
/// # Errors
/// Where a number is out of its range, a device is not there or the peer fails.
pub fn run(args: &SpeedArgs, clock: &dyn Fn() -> Duration, out: &mut dyn Write) -> anyhow::Result<()> {
    for (field, values, most) in [("lanes", &args.lanes, 65_536), ("hidden", &args.hidden, 1024)] {
        let wrong = values.iter().find(|value| !(1..=most).contains(*value));
        anyhow::ensure!(wrong.is_none(), "{field} is {}, 1 to {most} is needed", wrong.copied().unwrap_or_default());
    }
    writeln!(out, "{:<34} {:>6} {:>7} {:>12} {:>12}", "device", "hidden", "lanes", "ms a chunk", "slots a s")?;
    for hidden in &args.hidden {
        for lanes in &args.lanes {
            measure(args, &recipe(*hidden, *lanes, args.rounds), clock, out)?;
        }
    }
    Ok(())
}

/// What is trained: the usual recipe but for the sizes.
fn recipe(hidden: usize, lanes: usize, rounds: u32) -> Recipe {
    let usual = Recipe::default();
    let walk = Walk { lanes, chunks: CHUNKS, shift: 0.0, ..usual.walk };
    Recipe { hidden, walk, epochs: rounds + 1, warm_up: 0, ..usual }
}

fn measure(args: &SpeedArgs, recipe: &Recipe, clock: &dyn Fn() -> Duration, out: &mut dyn Write) -> anyhow::Result<()> {
    let set = Set::of(&histories(recipe.walk.lanes, recipe.walk.steps * CHUNKS), 1.0);
    let mut line = |name: &str, seconds: Vec<f64>| -> anyhow::Result<()> {
        let median = median(seconds);
        let slots = (recipe.walk.lanes * recipe.walk.steps) as f64 / median;
        writeln!(out, "{name:<34} {:>6} {:>7} {:>12.2} {slots:>12.0}", recipe.hidden, recipe.walk.lanes, median * 1e3)?;
        Ok(out.flush()?)
    };
    for device in &args.device {
        line(&device.to_string(), rounds(recipe, *device, &set, (args.rounds, clock))?)?;
    }
    for device in args.peer.iter().flat_map(|python| args.peer_device.iter().map(move |device| (python, device))) {
        for measured in peer::measure(device.0, &peer::sizes(recipe, device.1, (args.rounds, CHUNKS)))? {
            line(&measured.name, measured.seconds)?;
        }
    }
    Ok(())
}

/// Seconds per chunk of each of so many rounds, everything that training does included.
fn rounds(
    recipe: &Recipe,
    device: Device,
    set: &Set,
    (number, clock): (u32, &dyn Fn() -> Duration),
) -> anyhow::Result<Vec<f64>> {
    let mut training = Training::begin(*recipe, recipe.first_weights()?);
    let mut engine = Engine::new(&training.progress().weights, &[device], recipe.walk, recipe.loss)?;
    let mut seconds = Vec::new();
    for round in 0..=number {
        let began = clock();
        let mut chunks = 0;
        training.epoch(set, &mut engine, |step| chunks = step.chunks.1, |_| None)?;
        // In the first the device's kernels are made and tried out.
        if round > 0 {
            seconds.push((clock() - began).as_secs_f64() / f64::from(u32::try_from(chunks)?));
        }
    }
    Ok(seconds)
}

/// Vms that work at the beginning of every hour, each at its own level, drawn from a seed.
fn histories(number: usize, slots: usize) -> Vec<History> {
    let mut random = Pcg64Mcg::seed_from_u64(1);
    let mut vm = |index: usize| {
        let level: f32 = random.random_range(0.05..0.5);
        let slots = (0..slots).map(|slot| {
            let cpu = if slot % 12 < 2 { level * 1.8 } else { level * random.random_range(0.8..1.2) };
            Observed { cpu, memory: 0.3, disk_read: 1e6, disk_write: 2e5, net_rx: 1e5, net_tx: 1e6 }
        });
        History { name: index.to_string(), shape: Shape::default(), first: 0, slots: slots.collect() }
    };
    (0..number).map(&mut vm).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: SpeedArgs,
    }

    fn told(line: &str) -> anyhow::Result<String> {
        let args = Line::parse_from(line.split(' ')).args;
        let (seconds, mut out) = (Cell::new(0), Vec::new());
        // A second between any two looks: a chunk takes a second over the chunks of a round.
        let clock = || {
            seconds.set(seconds.get() + 1);
            Duration::from_secs(seconds.get())
        };
        run(&args, &clock, &mut out)?;
        Ok(String::from_utf8(out)?)
    }

    #[test]
    fn each_device_and_size_has_a_line_of_its_own() {
        let text = told("speed --device cpu,flex --lanes 2 --hidden 4 --rounds 1").unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1..], [["cpu", "4", "2", "250.00", "384"], ["flex", "4", "2", "250.00", "384"]]);
    }

    #[test]
    fn a_number_out_of_its_range_is_named() {
        let error = told("speed --lanes 0").unwrap_err().to_string();
        assert_eq!(error, "lanes is 0, 1 to 65536 is needed");
    }
}
