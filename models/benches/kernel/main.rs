//! Speed of the forecaster's kernel, beside PyTorch's and onnxruntime's if `BALLAST_PEERS_PYTHON` names a Python that has
//! them. All are measured in turns, so that a busy machine is as busy for one as for the other.
//!
//! `cargo bench -p ballast-models --bench kernel -- [words of cases]`; `BALLAST_BENCH_ROUNDS` sets how often.
#![allow(clippy::disallowed_methods, reason = "a measurement reads the real clocks")]
#![allow(clippy::print_stdout, reason = "the table is what this is for")]

mod case;
mod clock;
mod ours;
mod peers;
mod table;

use case::Case;
use ours::Ours;
use peers::Peers;
use table::Series;

type AnyError = Box<dyn std::error::Error>;

fn main() -> Result<(), AnyError> {
    // Cargo adds options of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let rounds = std::env::var("BALLAST_BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(7);
    let mut peers = Peers::start()?;
    table::head();
    for case in Case::all().into_iter().filter(|case| words.iter().all(|word| case.to_string().contains(word))) {
        table::print(&case, &run(case, rounds, peers.as_mut())?);
    }
    peers.map_or(Ok(()), Peers::stop)?;
    Ok(())
}

/// Measures a case `rounds` times, the kernel and its peers in turns, after one round that does not count.
fn run(case: Case, rounds: usize, mut peers: Option<&mut Peers>) -> Result<Vec<Series>, AnyError> {
    let mut ours = Ours::new(case)?;
    let mut all = vec![Series { engine: "kernel".to_owned(), taken: Vec::new() }];
    for round in 0..=rounds {
        let mut taken = vec![("kernel".to_owned(), ours.measure()?)];
        if let Some(peers) = peers.as_deref_mut().filter(|_| case.has_peers()) {
            for engine in peers.measure(&case)? {
                agree(ours.outputs(), &engine)?;
                taken.push((engine.name.clone(), engine.taken()));
            }
        }
        if round > 0 {
            taken.into_iter().for_each(|(engine, taken)| add(&mut all, engine, taken));
        }
    }
    Ok(all)
}

/// Makes sure that the engine computes what the kernel computes.
fn agree(ours: &[f32], engine: &peers::Engine) -> Result<(), AnyError> {
    let distance = ours.iter().zip(&engine.outputs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    if distance < 1e-4 && ours.len() == engine.outputs.len() {
        return Ok(());
    }
    Err(format!("{}'s outputs are {distance} from the kernel's", engine.name).into())
}

fn add(all: &mut Vec<Series>, engine: String, taken: clock::Taken) {
    match all.iter_mut().find(|series| series.engine == engine) {
        Some(series) => series.taken.push(taken),
        None => all.push(Series { engine, taken: vec![taken] }),
    }
}
