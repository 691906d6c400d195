//! `ballast-train`: offline training and judging of ballast's models.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods, missing_docs, dead_code)]

mod batch;
mod data;
mod forecaster;
mod head;
mod judge;
mod learner;
mod loss;
mod optimizer;

use std::{collections::BTreeSet, fs, path::PathBuf, time::Instant};

use ballast_core::history::History;
use ballast_models::{
    kernel::{cell::CellKind, threads::Threads},
    network::{Network, Sizes},
    predictor::Predictor,
    simple::Simple,
};
use clap::Parser;

#[derive(Debug, Parser)]
struct Args {
    #[arg(long)]
    data: Vec<PathBuf>,
    #[arg(long)]
    hold_out: Option<PathBuf>,
    #[arg(long, default_value_t = 12960)]
    until: u32,
    #[arg(long, default_value_t = 4)]
    epochs: u32,
    #[arg(long, default_value_t = 64)]
    hidden: usize,
    #[arg(long, default_value_t = 48)]
    width: usize,
    #[arg(long, default_value_t = 128)]
    lanes: usize,
    #[arg(long, default_value_t = 48)]
    steps: usize,
    #[arg(long, default_value_t = 4)]
    stride: usize,
    #[arg(long, default_value_t = 2e-3)]
    rate: f64,
    #[arg(long, default_value_t = 1e-3)]
    decay: f32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = 0.3)]
    relative: f32,
    #[arg(long, default_value_t = 0.3)]
    planetlab_weight: f32,
    #[arg(long, default_value_t = 0.999)]
    average: f32,
    #[arg(long, default_value_t = 10)]
    chunks: usize,
    #[arg(long)]
    baselines: bool,
    #[arg(long, default_value_t = 0.0)]
    forgets: f32,
    #[arg(long, default_value_t = 1.0)]
    median: f32,
    #[arg(long, default_value_t = 0.1)]
    traffic: f32,
    #[arg(long, default_value_t = 2)]
    every: u32,
}

fn cut(history: &History, until: u32) -> History {
    let keep = (until.saturating_sub(history.first) as usize).min(history.slots.len());
    History { slots: history.slots[..keep].to_vec(), ..history.clone() }
}

fn show(name: &str, what: &str, predictor: &dyn Predictor, histories: &[History], origins: &[Vec<u32>]) {
    let began = Instant::now();
    let all = judge::pooled(&judge::judge(predictor, histories, origins));
    println!("  {name:<11} {what:<10} {:.1} s", began.elapsed().as_secs_f64());
    for (resource, label) in [(0, "cpu"), (1, "mem"), (2, "sto"), (3, "net")] {
        if all[resource][0].number == 0 {
            continue;
        }
        let mut line = format!("    {label}");
        for target in [0, 1, 2, 4, 3] {
            let t = &all[resource][target];
            let n = f64::from(t.number);
            line += &format!(
                " | {:.3} {:.3} {:.3} {:.1}/{:.1}",
                t.absolute / n,
                t.pinball[2] / n,
                t.pinball[3] / n,
                100.0 * f64::from(t.covered[2]) / n,
                100.0 * f64::from(t.covered[3]) / n
            );
        }
        println!("{line}");
    }
}

fn main() {
    let args = Args::parse();
    let began = Instant::now();
    let held: BTreeSet<String> = args
        .hold_out
        .iter()
        .flat_map(|path| fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let (mut training, mut tests): (Vec<(f32, Vec<History>)>, Vec<(&str, Vec<History>, Vec<Vec<u32>>)>) =
        (vec![], vec![]);
    for path in &args.data {
        for recorded in data::folder::read(path).unwrap() {
            let is_pl = recorded.kind == "planetlab";
            let group = |h: &History| h.name.split('/').next().unwrap().to_owned();
            let (out, inside): (Vec<History>, Vec<History>) =
                recorded.histories.into_iter().partition(|h| held.contains(&group(h)));
            let weight = if is_pl { args.planetlab_weight } else { 1.0 };
            let until = if is_pl { u32::MAX } else { args.until };
            training.push((weight, inside.iter().map(|h| cut(h, until)).filter(|h| !h.slots.is_empty()).collect()));
            let origins = out
                .iter()
                .map(|h| {
                    let (from, by) = if is_pl { (12, 7) } else { (args.until, 47) };
                    let end = h.first + h.slots.len() as u32 - 12;
                    (from..end)
                        .step_by(by)
                        .filter(|s| {
                            !h.at(*s).is_missing()
                                && !h.at(s + 1).is_missing()
                                && !h.at(s + 6).is_missing()
                                && !h.at(s + 12).is_missing()
                        })
                        .collect::<Vec<u32>>()
                })
                .collect();
            tests.push((recorded.kind, out, origins));
        }
    }
    println!("read {:.1} s", began.elapsed().as_secs_f64());
    if args.baselines {
        for (kind, histories, origins) in &tests {
            for simple in Simple::ALL {
                show(simple.name(), kind, &simple, histories, origins);
            }
        }
    }
    let mut set = data::Set::default();
    for (weight, histories) in &training {
        set.series.extend(data::Set::of(histories, *weight).series);
    }
    println!("encoded {} series {:.1} s", set.series.len(), began.elapsed().as_secs_f64());
    let sizes = Sizes { kind: CellKind::Lstm, hidden: args.hidden, width: args.width };
    let recipe = forecaster::Recipe {
        sizes,
        walk: batch::Walk {
            lanes: args.lanes,
            steps: args.steps,
            chunks: args.chunks,
            stride: args.stride,
            forgets: args.forgets,
        },
        epochs: args.epochs,
        rate: args.rate,
        warm_up: 200,
        decay: args.decay,
        norm_max: 1.0,
        average: args.average,
        loss: loss::Weights {
            relative: args.relative,
            median: args.median,
            traffic: args.traffic,
            ..Default::default()
        },
        seed: args.seed,
    };
    let weights = forecaster::begin(sizes, args.seed).unwrap();
    println!("{} weights", weights.len());
    let mut last = Instant::now();
    forecaster::train(&set, &recipe, weights, |progress, weights| {
        println!(
            "epoch {} loss {:.4} rate {:.5} {} slots {:.1} s ({:.0} slots/s)",
            progress.epoch,
            progress.loss,
            progress.rate,
            progress.slots,
            last.elapsed().as_secs_f64(),
            progress.slots as f64 / last.elapsed().as_secs_f64()
        );
        if progress.epoch % args.every == 0 || progress.epoch == args.epochs {
            let network = Network::new(weights, Threads::One);
            for (kind, histories, origins) in &tests {
                show("lstm", kind, &network, histories, origins);
            }
        }
        last = Instant::now();
        true
    })
    .unwrap();
}
