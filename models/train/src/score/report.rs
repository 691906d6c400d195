//! What comes of judging: for every kind of recording, resource and target one panel of all methods.

use std::collections::BTreeMap;

use ballast_core::history::History;
use ballast_models::{network::TARGETS, scale::Resource};
use serde::Serialize;

use super::compare::{Difference, Pair, Resampling, blocks, relative};
use crate::{
    judge::{RESOURCE_NAMES, TARGET_NAMES, Tallies, Tally},
    split::Judged,
};

/// Indices of the levels that are shown, .9 and .95.
const SHOWN: [usize; 2] = [2, 3];

/// Standard deviation of CPU or memory, in percent of the vm's own, above which it does something at all.
const ACTIVE: f64 = 1.0;

/// The whole report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Seed of all that was drawn.
    pub seed: u64,
    /// Slot from which on long recordings were judged.
    pub until: u32,
    /// The method that all are set against.
    pub reference: String,
    /// One per kind of recording, resource, target and share of the vms.
    pub panels: Vec<Panel>,
}

/// Which of the vms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Share {
    /// All of them.
    All,
    /// Those whose CPU or memory, whichever is judged, has a standard deviation above one percent of the vm's own.
    Active,
}

/// All methods on one thing that is forecast. CPU and memory are in percent of the vm's own, storage and network on the scale,
/// `ln(1 + KB/s)`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Panel {
    /// The kind of recording.
    pub set: &'static str,
    /// What is forecast.
    pub resource: &'static str,
    /// Of when.
    pub target: &'static str,
    /// Of which vms.
    pub share: Share,
    /// How many vms that is.
    pub vms: usize,
    /// In how many blocks of neighbours; none where names are no numbers.
    pub blocks: Option<usize>,
    /// Forecasts judged, by each method.
    pub forecasts: u32,
    /// The methods.
    pub lines: Vec<Line>,
}

/// One method.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// Its name.
    pub method: String,
    /// Mean absolute error of the median.
    pub mae: f64,
    /// The same over that of the last value.
    pub mase: f64,
    /// Pinball loss at .9 and .95.
    pub pinball: [f64; SHOWN.len()],
    /// Share of what came that was at most the quantile, at .9 and .95.
    pub coverage: [f64; SHOWN.len()],
    /// How it compares with the reference; none for the reference itself.
    pub against: Option<Against>,
}

/// How a method compares with the reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Against {
    /// By the absolute error of the median.
    pub mae: Difference,
    /// By the pinball loss at .9 and .95.
    pub pinball: [Difference; SHOWN.len()],
}

/// What methods are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Absolute error of the median.
    Absolute,
    /// Pinball loss at the level with this index.
    Pinball(usize),
}

impl Measure {
    fn of(self, tally: &Tally) -> f64 {
        match self {
            Self::Absolute => tally.absolute,
            Self::Pinball(level) => tally.pinball[level],
        }
    }
}

/// A method's errors on one kind of recording, by vm and day.
pub(super) struct Said<'a> {
    pub(super) name: &'a str,
    pub(super) tallies: BTreeMap<String, Tallies>,
}

/// All panels of one kind of recording.
pub(super) fn panels(
    kind: &'static str,
    judged: &Judged,
    results: &[Said<'_>],
    reference: &str,
    seed: u64,
) -> Vec<Panel> {
    let mut panels = Vec::new();
    for resource in Resource::ALL {
        let shares: &[Share] = if resource.is_share() { &[Share::All, Share::Active] } else { &[Share::All] };
        for share in shares {
            let chosen: Vec<&str> = chosen(judged, resource, *share);
            let draws = Draws::of(&chosen, seed);
            panels.extend((0..TARGETS).filter_map(|target| {
                let field = Field { kind, resource, target, share: *share, chosen: &chosen, draws: &draws };
                field.panel(results, reference)
            }));
        }
    }
    panels
}

/// Names of the histories that were asked anything and belong to the share.
fn chosen(judged: &Judged, resource: Resource, share: Share) -> Vec<&str> {
    let asked = judged
        .histories
        .iter()
        .zip(&judged.origins)
        .filter_map(|(history, origins)| Some((history, *origins.first()?)));
    let belongs = |history: &History, from| share == Share::All || deviation(history, resource, from) > ACTIVE;
    asked.filter(|(history, from)| belongs(history, *from)).map(|(history, _)| history.name.as_str()).collect()
}

/// Standard deviation of a resource in percent, from slot `from` on.
fn deviation(history: &History, resource: Resource, from: u32) -> f64 {
    let skipped = usize::try_from(from - history.first.min(from)).unwrap_or(usize::MAX);
    let value = |slot: &ballast_core::history::Observed| if resource == Resource::Cpu { slot.cpu } else { slot.memory };
    let known =
        history.slots.iter().skip(skipped).map(|slot| f64::from(value(slot)) * 100.0).filter(|value| !value.is_nan());
    let (number, sum, squares) = known
        .fold((0.0, 0.0, 0.0), |(number, sum, squares), value| (number + 1.0, sum + value, squares + value * value));
    let number: f64 = f64::max(number, 1.0);
    f64::max(squares / number - (sum / number) * (sum / number), 0.0).sqrt()
}

/// What is drawn for intervals.
struct Draws {
    by_vm: Resampling,
    by_block: Option<Resampling>,
}

impl Draws {
    fn of(names: &[&str], seed: u64) -> Self {
        // A vm that is there on several days is one.
        let vms: Vec<&str> = names.iter().map(|name| name.split_once('/').map_or(*name, |(_, vm)| vm)).collect();
        Self { by_vm: Resampling::new(&vms, seed), by_block: blocks(&vms).map(|blocks| Resampling::new(&blocks, seed)) }
    }
}

/// One thing that is forecast, of some of the vms.
struct Field<'a> {
    kind: &'static str,
    resource: Resource,
    target: usize,
    share: Share,
    chosen: &'a [&'a str],
    draws: &'a Draws,
}

impl Field<'_> {
    /// The panel; none where nothing was known of what came.
    fn panel(&self, results: &[Said<'_>], reference: &str) -> Option<Panel> {
        let of_reference = &results.iter().find(|result| result.name == reference)?.tallies;
        let forecasts = self.all(of_reference).number;
        (forecasts > 0).then(|| Panel {
            set: self.kind,
            resource: RESOURCE_NAMES[self.resource as usize],
            target: TARGET_NAMES[self.target],
            share: self.share,
            vms: self.draws.by_vm.units(),
            blocks: self.draws.by_block.as_ref().map(Resampling::units),
            forecasts,
            lines: results.iter().map(|result| self.line(result, (reference, of_reference))).collect(),
        })
    }

    /// The tally of one history; nothing where nothing was said.
    fn tally(&self, tallies: &BTreeMap<String, Tallies>, name: &str) -> Tally {
        tallies.get(name).map(|tallies| tallies[self.resource as usize][self.target]).unwrap_or_default()
    }

    fn all(&self, tallies: &BTreeMap<String, Tallies>) -> Tally {
        let mut all = Tally::default();
        self.chosen.iter().for_each(|name| all.merge(&self.tally(tallies, name)));
        all
    }

    fn line(&self, result: &Said<'_>, (reference, of_reference): (&str, &BTreeMap<String, Tallies>)) -> Line {
        let all = self.all(&result.tallies);
        let number = f64::from(all.number.max(1));
        let difference = |measure: Measure| {
            let pair = |name: &&str| Pair {
                own: measure.of(&self.tally(&result.tallies, name)),
                reference: measure.of(&self.tally(of_reference, name)),
            };
            let pairs: Vec<Pair> = self.chosen.iter().map(pair).collect();
            Difference {
                relative: relative(pairs.iter()),
                by_vm: self.draws.by_vm.interval(&pairs),
                by_block: self.draws.by_block.as_ref().map(|draws| draws.interval(&pairs)),
            }
        };
        Line {
            method: result.name.to_owned(),
            mae: all.absolute / number,
            mase: all.absolute / all.naive,
            pinball: SHOWN.map(|level| all.pinball[level] / number),
            coverage: SHOWN.map(|level| f64::from(all.covered[level]) / number),
            against: (result.name != reference).then(|| Against {
                mae: difference(Measure::Absolute),
                pinball: SHOWN.map(|level| difference(Measure::Pinball(level))),
            }),
        }
    }
}
