//! A training run on disk, after each epoch: whatever ends the process, the run goes on from there with the same result.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use anyhow::Context as _;
use ballast_models::network::Weights;
use serde::{Deserialize, Serialize};

use crate::{
    recipe::Recipe,
    training::{Epoch, Progress, Training},
};

/// Bytes of the hash at the beginning of a checkpoint.
const HASH: usize = 32;

/// What a checkpoint holds.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    recipe: Recipe,
    /// Hash of the data.
    data: String,
    weights: Vec<Vec<f32>>,
    average: Vec<Vec<f32>>,
    best: Option<(Vec<Vec<f32>>, f64)>,
    update: u32,
    epochs: Vec<Epoch>,
    optimizer: Vec<u8>,
}

/// Writes a checkpoint in place of the one before.
///
/// # Errors
/// Where it cannot be written.
pub fn save(path: &Path, training: &Training, data: &str) -> anyhow::Result<()> {
    let progress = training.progress();
    let kept = Kept {
        recipe: *training.recipe(),
        data: data.to_owned(),
        weights: numbers(&progress.weights),
        average: numbers(&progress.average),
        best: progress.best.as_ref().map(|(weights, loss)| (numbers(weights), *loss)),
        update: progress.update,
        epochs: progress.epochs.clone(),
        optimizer: training.optimizer()?,
    };
    write(path, &postcard::to_allocvec(&kept).context("the checkpoint")?)
}

/// Takes a run up again; `None` where there is no checkpoint.
///
/// # Errors
/// Where it is damaged, or of another recipe or other data: then going on would not give what was asked for.
pub fn load(path: &Path, recipe: &Recipe, data: &str) -> anyhow::Result<Option<Training>> {
    let name = path.display();
    let Some(body) = read(path)? else { return Ok(None) };
    let kept: Kept = postcard::from_bytes(&body).with_context(|| format!("{name}: a checkpoint of another version"))?;
    anyhow::ensure!(kept.data == data, "{name}: a checkpoint of other data; remove it to begin anew");
    anyhow::ensure!(
        kept.recipe == *recipe,
        "{name}: a checkpoint of other numbers; remove it to begin anew\n it has {:?}\n asked for is {recipe:?}",
        kept.recipe
    );
    let weights =
        |numbers: &[Vec<f32>]| weights(recipe, numbers).with_context(|| format!("{name}: weights of another size"));
    let best =
        kept.best.as_ref().map(|(numbers, loss)| Ok::<_, anyhow::Error>((weights(numbers)?, *loss))).transpose()?;
    let progress = Progress {
        weights: weights(&kept.weights)?,
        average: weights(&kept.average)?,
        best,
        update: kept.update,
        epochs: kept.epochs,
    };
    Training::go_on(*recipe, progress, kept.optimizer).map(Some)
}

/// Writes a checkpoint's body in place of the one before: a process that ends meanwhile leaves one of the two.
pub(crate) fn write(path: &Path, body: &[u8]) -> anyhow::Result<()> {
    let beside = path.with_extension("tmp");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&beside)?;
        file.write_all(blake3::hash(body).as_bytes())?;
        file.write_all(body)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().with_context(|| format!("write the checkpoint {}", path.display()))
}

/// A checkpoint's body; `None` where there is no checkpoint.
pub(crate) fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let name = path.display();
    let mut bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("read the checkpoint {name}")),
    };
    anyhow::ensure!(bytes.len() >= HASH, "{name}: {} bytes are no checkpoint", bytes.len());
    let body = bytes.split_off(HASH);
    anyhow::ensure!(
        bytes == blake3::hash(&body).as_bytes(),
        "{name}: the checkpoint is damaged; remove it to begin anew"
    );
    Ok(Some(body))
}

fn numbers(weights: &Weights) -> Vec<Vec<f32>> {
    weights.tensors().into_iter().map(<[f32]>::to_vec).collect()
}

fn weights(recipe: &Recipe, numbers: &[Vec<f32>]) -> Option<Weights> {
    let mut weights = Weights::zeros(recipe.sizes()).ok()?;
    let fits = weights.tensors().iter().map(|tensor| tensor.len()).eq(numbers.iter().map(Vec::len));
    weights.change(|index, tensor| {
        if fits {
            tensor.copy_from_slice(&numbers[index]);
        }
    });
    fits.then_some(weights)
}
