//! What a run learns on, chooses by and judges by, and what it begins with.

use std::{fs, io::Write, path::Path};

use anyhow::Context as _;
use ballast_models::policy::{
    Seen,
    bundle::Bundle,
    network::{Ensemble, MEMBERS},
    shipped,
};

use super::{
    PolicyArgs,
    cells::{self, Days},
    fleet::{self, Fleet},
    trial::{Trial, outcome},
};

/// The days of a run.
#[derive(Debug)]
pub(super) struct Material {
    /// To learn on.
    pub(super) train: Days,
    /// To choose the best networks of the run by.
    pub(super) tune: Days,
    /// To say whether they are better than what there was; `None` where somebody else judges.
    pub(super) judge: Option<Days>,
    /// What they were recorded of.
    pub(super) kind: &'static str,
}

impl Material {
    /// Reads what `args` name.
    ///
    /// # Errors
    /// Where it cannot be read, or a day is both trained on and tuned on.
    pub(super) fn read(args: &PolicyArgs) -> anyhow::Result<Self> {
        if let Some(folder) = &args.experience {
            let Fleet { train, tune, judge } = fleet::read(folder)?;
            return Ok(Self { train, tune, judge: Some(judge), kind: "fleet" });
        }
        let data = args.data.as_ref().context("--data or --experience is needed")?;
        let tune = Days::read(data, &args.tune)?;
        let days = if args.days.is_empty() {
            cells::found(data)?.into_keys().filter(|day| !args.tune.contains(day)).collect()
        } else {
            args.days.clone()
        };
        if let Some(both) = days.iter().find(|day| args.tune.contains(day)) {
            anyhow::bail!("--tune {both}: the day is trained on too");
        }
        Ok(Self { train: Days::read(data, &days)?, tune, judge: None, kind: "planetlab" })
    }

    /// Its days in words.
    pub(super) fn told(&self) -> String {
        let judged = self.judge.as_ref().map(|judge| format!(", judged on {}", judge.names().join(", ")));
        let (train, tune) = (self.train.names().join(", "), self.tune.names().join(", "));
        format!("training on {train}, tuned on {tune}{}", judged.unwrap_or_default())
    }
}

/// The networks that a run goes on from; `None` where it begins with none.
///
/// # Errors
/// Where the bundle cannot be read, or has another number of members.
pub(super) fn begun_with(args: &PolicyArgs) -> anyhow::Result<Option<Bundle>> {
    let bundle = match &args.from {
        None if args.experience.is_none() => return Ok(None),
        None => shipped()?,
        Some(path) => read(path)?,
    };
    Ok(Some(bundle))
}

/// Networks to begin with.
///
/// # Errors
/// Where the bundle cannot be read, or has another number of members.
pub(super) fn read(path: &Path) -> anyhow::Result<Bundle> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let bundle = Bundle::from_bytes(&bytes).with_context(|| path.display().to_string())?;
    let members = bundle.ensemble.members.len();
    anyhow::ensure!(members == MEMBERS, "--from: {} has {members} networks, and {MEMBERS} are trained", path.display());
    Ok(bundle)
}

/// Whether networks are better than the greedy policy and than those of `before` on days that nothing was learnt on or chosen by:
/// by the whole of the 95 % interval over the cells.
///
/// # Errors
/// Where a cell makes no sense, or `out` cannot be written.
pub(super) fn is_better(
    (judge, cells): (&Days, u64),
    ours: (&Ensemble, &Seen),
    before: Option<&Bundle>,
    out: &mut dyn Write,
) -> anyhow::Result<bool> {
    let trial = Trial::new(judge, cells)?;
    let costs = trial.costs(ours.0, ours.1);
    let greedy = trial.against_greedy(&costs);
    writeln!(out, "judged on {}: {greedy} of the greedy policy's", judge.names().join(", "))?;
    let Some(before) = before else { return Ok(greedy.high < 1.0) };
    let before = outcome(&costs, &trial.costs(&before.ensemble, &before.card.seen));
    writeln!(out, "judged on {}: {before} of the former networks'", judge.names().join(", "))?;
    Ok(greedy.high < 1.0 && before.high < 1.0)
}
