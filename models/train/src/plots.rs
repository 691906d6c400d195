//! Pictures of a run: how the loss fell, and what is forecast beside what came. SVG.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use ballast_core::history::History;
use ballast_models::{
    kernel::threads::Threads,
    network::{Network, Weights},
    offline,
    scale::Resource,
};
use plotters::prelude::*;

use crate::{split::Judged, training::Epoch};

/// Size of a picture, pixels.
const SIZE: (u32, u32) = (900, 480);

/// Slots of a picture of forecasts: a day.
const SHOWN: u32 = 288;

/// Pictures of forecasts per kind of recording.
const PICTURES: usize = 3;

/// `loss.svg`: the loss of each epoch, on the training and on the validation set.
///
/// # Errors
/// Where it cannot be written.
pub fn run(folder: &Path, epochs: &[Epoch]) -> anyhow::Result<()> {
    let training: Vec<(f64, f64)> = epochs.iter().map(|epoch| (f64::from(epoch.number), epoch.loss)).collect();
    let validation: Vec<(f64, f64)> =
        epochs.iter().filter_map(|epoch| Some((f64::from(epoch.number), epoch.validation?))).collect();
    let lines = [("training loss", BLUE, training), ("validation pinball, %", RED, validation)];
    draw(&folder.join("loss.svg"), "loss by epoch", "epoch", &lines, &[])
}

/// `forecast-KIND-VM.svg`: for some vms a day of CPU, with what was said of the hour ahead.
///
/// # Errors
/// Where one cannot be written.
pub fn forecasts(folder: &Path, weights: &Weights, judged: &[(String, Judged)]) -> anyhow::Result<()> {
    let network = Network::new(weights, Threads::One);
    for (kind, judged) in judged {
        for (history, origins) in liveliest(judged) {
            let Some(first) = origins.first().copied() else { continue };
            let slots: Vec<u32> = (first..first + SHOWN).collect();
            let said = offline::answers(&network, std::slice::from_ref(history), std::slice::from_ref(&slots));
            let percent = |scaled: f32| f64::from(Resource::Cpu.raw(scaled)) * 100.0;
            let at = |slot: u32| f64::from(slot - first) / 12.0;
            let came = slots.iter().map(|slot| (at(*slot), f64::from(history.at(*slot).cpu) * 100.0));
            // What is said of the slot six ahead belongs to that slot.
            let of = |level: usize| -> Vec<(f64, f64)> {
                said.iter().map(|one| (at(one.slot + 6), percent(one.answer[0][1][level]))).collect()
            };
            let band = (of(0), of(3));
            let lines = [
                ("came", BLACK, came.filter(|(_, value)| value.is_finite()).collect()),
                ("median, half an hour before", BLUE, of(1)),
            ];
            let name: String = history.name.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
            let title = format!("CPU of {kind} vm {}, percent; band: .1 to .95", history.name);
            draw(&folder.join(format!("forecast-{kind}-{name}.svg")), &title, "hours", &lines, &[band])?;
        }
    }
    Ok(())
}

/// The vms whose CPU varies most.
fn liveliest(judged: &Judged) -> Vec<(&History, &Vec<u32>)> {
    let spread = |history: &History| {
        let known: Vec<f32> = history.slots.iter().map(|slot| slot.cpu).filter(|cpu| !cpu.is_nan()).collect();
        let mean = known.iter().sum::<f32>() / known.len().max(1) as f32;
        known.iter().map(|cpu| (cpu - mean).abs()).sum::<f32>() / known.len().max(1) as f32
    };
    let mut all: Vec<_> = judged.histories.iter().zip(&judged.origins).collect();
    all.sort_by(|a, b| spread(b.0).total_cmp(&spread(a.0)));
    all.truncate(PICTURES);
    all
}

type Line<'a> = (&'a str, RGBColor, Vec<(f64, f64)>);
type Band = (Vec<(f64, f64)>, Vec<(f64, f64)>);

fn draw(path: &PathBuf, title: &str, below: &str, lines: &[Line<'_>], bands: &[Band]) -> anyhow::Result<()> {
    let all = || lines.iter().flat_map(|line| &line.2).chain(bands.iter().flat_map(|band| &band.1));
    let bound =
        |value: fn(&(f64, f64)) -> f64| all().map(value).fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)));
    let ((left, right), (_, top)) = (bound(|point| point.0), bound(|point| point.1));
    if left >= right {
        return Ok(());
    }
    let mut text = String::new();
    picture(&mut text, title, below, (left..right, 0.0..top * 1.05), lines, bands)
        .map_err(|error| anyhow::anyhow!("draw {}: {error}", path.display()))?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn picture(
    text: &mut String,
    title: &str,
    below: &str,
    (x, y): (std::ops::Range<f64>, std::ops::Range<f64>),
    lines: &[Line<'_>],
    bands: &[Band],
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    let wrong = |error: &dyn std::fmt::Display| error.to_string();
    root.fill(&WHITE).map_err(|error| wrong(&error))?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(32)
        .y_label_area_size(48)
        .build_cartesian_2d(x, y)
        .map_err(|error| wrong(&error))?;
    chart.configure_mesh().x_desc(below).light_line_style(WHITE).draw().map_err(|error| wrong(&error))?;
    for (low, high) in bands {
        let outline: Vec<(f64, f64)> = high.iter().chain(low.iter().rev()).copied().collect();
        chart.draw_series([Polygon::new(outline, BLUE.mix(0.2))]).map_err(|error| wrong(&error))?;
    }
    for (name, colour, points) in lines {
        let (points, colour) = (points.iter().copied(), *colour);
        let series = chart.draw_series(LineSeries::new(points, colour)).map_err(|error| wrong(&error))?;
        series.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()
        .map_err(|error| wrong(&error))?;
    root.present().map_err(|error| wrong(&error))?;
    Ok(())
}
