//! Training as a whole, on vms made from a seed: it learns, the same at every run, on every device, and after every interruption.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use ballast_core::history::{History, Observed, Shape};
use ballast_train::{
    batch::{Walk, epoch},
    checkpoint,
    data::Set,
    device::Device,
    engine::Engine,
    loss,
    recipe::Recipe,
    training::Training,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;

/// Vms that work at the beginning of every hour, each at its own level, with noise and gaps.
fn histories(number: usize) -> Vec<History> {
    let mut random = Pcg64Mcg::seed_from_u64(11);
    let mut vm = |index: usize| {
        let level: f32 = random.random_range(0.05..0.5);
        let slots = (0..300).map(|slot| match slot % 12 {
            _ if slot % 97 == 0 => Observed::MISSING,
            0 | 1 => Observed { cpu: level * 1.8, memory: 0.3, disk_read: 1e6, ..Observed::MISSING },
            _ => Observed { cpu: level * random.random_range(0.8..1.2), memory: 0.25, ..Observed::MISSING },
        });
        History { name: index.to_string(), shape: Shape::default(), first: 0, slots: slots.collect() }
    };
    (0..number).map(&mut vm).collect()
}

fn recipe() -> Recipe {
    let walk = Walk { lanes: 8, steps: 24, chunks: 4, stride: 3, forgets: 0.1, shift: 0.3 };
    Recipe { hidden: 8, width: 8, walk, epochs: 4, warm_up: 4, rate: 5e-3, ..Recipe::default() }
}

fn set() -> Set {
    Set::of(&histories(16), 1.0)
}

/// Runs to the end, or to so many epochs.
fn run(training: &mut Training, set: &Set, epochs: usize) {
    let recipe = *training.recipe();
    let mut engine = Engine::new(&training.progress().weights, &[Device::Cpu], recipe.walk, recipe.loss).unwrap();
    while !training.is_over() && training.progress().epochs.len() < epochs {
        training.epoch(set, &mut engine, |_| {}, |_| None).unwrap();
    }
}

fn begin(recipe: Recipe) -> Training {
    Training::begin(recipe, recipe.first_weights().unwrap())
}

#[test]
fn the_loss_falls() {
    let mut training = begin(recipe());
    run(&mut training, &set(), 4);
    let losses: Vec<f64> = training.progress().epochs.iter().map(|epoch| epoch.loss).collect();
    assert!(losses[3] < 0.8 * losses[0], "{losses:?}");
}

#[test]
fn the_same_seed_gives_the_same_weights_on_any_number_of_threads() {
    let set = set();
    let trained = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut training = begin(Recipe { epochs: 2, ..recipe() });
            run(&mut training, &set, 2);
            training.progress().clone()
        })
    };
    assert_eq!(trained(1), trained(3));
}

#[test]
fn a_run_that_was_killed_goes_on_with_the_same_result() {
    let set = set();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.checkpoint");
    let mut whole = begin(recipe());
    run(&mut whole, &set, 4);
    let mut killed = begin(recipe());
    run(&mut killed, &set, 2);
    checkpoint::save(&path, &killed, "data").unwrap();
    drop(killed);
    let mut again = checkpoint::load(&path, &recipe(), "data").unwrap().unwrap();
    run(&mut again, &set, 4);
    assert_eq!(again.progress(), whole.progress());
}

#[test]
fn a_checkpoint_of_something_else_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.checkpoint");
    assert!(checkpoint::load(&path, &recipe(), "data").unwrap().is_none(), "there is none yet");
    checkpoint::save(&path, &begin(recipe()), "data").unwrap();
    let refused = |recipe: &Recipe, data: &str| checkpoint::load(&path, recipe, data).unwrap_err().to_string();
    assert!(refused(&recipe(), "other").contains("a checkpoint of other data"));
    assert!(refused(&Recipe { seed: 9, ..recipe() }, "data").contains("a checkpoint of other numbers"));
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(refused(&recipe(), "data").contains("the checkpoint is damaged"));
}

#[test]
fn a_frozen_cell_stays_as_it_is_while_the_heads_learn() {
    let recipe = Recipe { freezes_cell: true, epochs: 1, ..recipe() };
    let mut training = begin(recipe);
    run(&mut training, &set(), 1);
    let first = recipe.first_weights().unwrap();
    assert_eq!(training.progress().weights.cell, first.cell);
    assert_ne!(training.progress().weights.heads, first.heads);
}

/// Loss and gradients of three chunks in a row on these devices.
fn chunks(devices: &[Device], recipe: &Recipe, set: &Set) -> Vec<(f64, Vec<Vec<f32>>)> {
    let weights = recipe.first_weights().unwrap();
    let mut engine = Engine::new(&weights, devices, recipe.walk, loss::Weights::default()).unwrap();
    let chunks = epoch(set, &recipe.walk, 5);
    let one = |chunk| {
        let (learnt, gradients) = engine.chunk(set, chunk, 17).unwrap();
        (learnt.loss, gradients)
    };
    chunks.iter().take(3).map(one).collect()
}

fn assert_close(one: &[(f64, Vec<Vec<f32>>)], other: &[(f64, Vec<Vec<f32>>)]) {
    for ((loss, gradients), (other_loss, other_gradients)) in one.iter().zip(other) {
        assert!((loss - other_loss).abs() <= 1e-4 * loss.abs(), "{loss} and {other_loss}");
        for (tensor, (a, b)) in gradients.iter().zip(other_gradients).enumerate() {
            let largest = a.iter().fold(0.0_f32, |max, value| max.max(value.abs()));
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                assert!((a - b).abs() <= 2e-4 * largest + 1e-6, "tensor {tensor}, {index}: {a} and {b}");
            }
        }
    }
}

#[test]
fn the_kernels_gradients_are_those_of_burns_autodiff() {
    let set = set();
    for is_gru in [false, true] {
        let recipe = Recipe { is_gru, ..recipe() };
        assert_close(&chunks(&[Device::Cpu], &recipe, &set), &chunks(&[Device::Flex], &recipe, &set));
    }
}

#[test]
fn two_devices_give_what_one_gives() {
    let (set, recipe) = (set(), Recipe { walk: Walk { forgets: 0.0, ..recipe().walk }, ..recipe() });
    assert_close(&chunks(&[Device::Flex], &recipe, &set), &chunks(&[Device::Flex, Device::Flex], &recipe, &set));
}
