//! `ballast forecast --data`: what the forecaster would have said at given moments of a recording, for anyone to score.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use ballast_core::{
    forecast::{LEVELS, STEPS},
    history::History,
};
use ballast_models::{
    bundle::{self, Bundle},
    kernel::threads::Threads,
    network::Network,
    offline::{self, Said},
    scale::Resource,
};
use ballast_sim::trace::history;
use clap::Args as ClapArgs;

/// The header of the table of origins, and of what is written.
const ORIGINS: &str = "series,t";
const FORECASTS: &str = "series,t,var,h,q50,q90";

/// Forecasts for a recording.
#[derive(Debug, Clone, Default, PartialEq, Eq, ClapArgs)]
#[group(skip)]
pub struct Offline {
    /// A recording, Parquet or CSV, with the columns vm, step and any of `cpu_pct`, `mem_mib`, `disk_r_kbs`, `disk_w_kbs`,
    /// `net_rx_kbs`, `net_tx_kbs`.
    #[arg(long, value_name = "FILE", requires = "origins")]
    pub data: Option<PathBuf>,
    /// What is asked: CSV with the columns series and t; all up to and including the step t is known.
    #[arg(long, value_name = "FILE", requires = "data")]
    pub origins: Option<PathBuf>,
    /// Where the forecasts go [default: standard output].
    #[arg(long, value_name = "FILE", requires = "data")]
    pub out: Option<PathBuf>,
    /// Sizes of the vms: CSV with the columns vm, cores and `mem_cap_mib`.
    #[arg(long, value_name = "FILE", requires = "data")]
    pub vms: Option<PathBuf>,
    /// The trained forecaster [default: the one that ballast ships].
    #[arg(long, value_name = "FILE", requires = "data")]
    pub bundle: Option<PathBuf>,
}

/// Reads, forecasts and writes.
///
/// # Errors
/// Where a file cannot be read or written, is malformed, or asks for a series that the recording has not.
pub fn run(offline: &Offline, out: &mut dyn Write) -> anyhow::Result<()> {
    let data = offline.data.as_deref().context("--data is needed")?;
    let histories = recording(data, offline.vms.as_deref())?;
    let origins = offline.origins.as_deref().context("--origins is needed")?;
    let text = fs::read_to_string(origins).with_context(|| format!("read {}", origins.display()))?;
    let asked = Asked::parse(&origins.display().to_string(), &text, &histories)?;
    let network = Network::new(&named(offline.bundle.as_deref())?.weights, Threads::One);
    let said = offline::answers(&network, &histories, &asked.by_history);
    let table = table(&asked, &said, &histories);
    match &offline.out {
        None => out.write_all(table.as_bytes())?,
        Some(file) => fs::write(file, table).with_context(|| format!("write {}", file.display()))?,
    }
    Ok(())
}

/// The bundle of that file, or the one that ships.
///
/// # Errors
/// Where it cannot be read or is refused.
pub(crate) fn named(path: Option<&Path>) -> anyhow::Result<Bundle> {
    let Some(path) = path else { return Ok(bundle::shipped()?) };
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    Bundle::from_bytes(&bytes).with_context(|| path.display().to_string())
}

fn recording(data: &Path, vms: Option<&Path>) -> anyhow::Result<Vec<History>> {
    let name = data.display().to_string();
    let shapes = match vms {
        None => BTreeMap::new(),
        Some(vms) => {
            let text = fs::read_to_string(vms).with_context(|| format!("read {}", vms.display()))?;
            history::shapes(&vms.display().to_string(), &text)?
        }
    };
    let bytes = fs::read(data).with_context(|| format!("read {name}"))?;
    if bytes.starts_with(b"PAR1") {
        return Ok(history::parquet(&name, bytes, &shapes)?);
    }
    Ok(history::csv(&name, &ballast_sim::trace::text_of(&name, &bytes)?, &shapes)?)
}

/// What is asked, in the order of the file and by history.
struct Asked {
    /// Index of the history, and step.
    rows: Vec<(usize, u32)>,
    by_history: Vec<Vec<u32>>,
}

impl Asked {
    fn parse(file: &str, text: &str, histories: &[History]) -> anyhow::Result<Self> {
        let mut lines = text.lines().enumerate();
        let header = lines.next().map_or("", |(_, line)| line.trim());
        anyhow::ensure!(header == ORIGINS, "{file}, line 1: {header:?} found, the header {ORIGINS:?} is needed");
        let indices: BTreeMap<&str, usize> =
            histories.iter().enumerate().map(|(index, history)| (history.name.as_str(), index)).collect();
        let mut asked = Self { rows: Vec::new(), by_history: vec![Vec::new(); histories.len()] };
        for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let at = || format!("{file}, line {}", number + 1);
            let (series, step) = line.rsplit_once(',').with_context(|| format!("{}: two fields are needed", at()))?;
            let series = series.trim().trim_matches('"');
            let index =
                *indices.get(series).with_context(|| format!("{}: the recording has no series {series:?}", at()))?;
            let step: u32 = step
                .trim()
                .parse()
                .map_err(|_| anyhow::anyhow!("{}: t is {step:?}, a whole number is needed", at()))?;
            asked.rows.push((index, step));
            asked.by_history[index].push(step);
        }
        for steps in &mut asked.by_history {
            steps.sort_unstable();
            steps.dedup();
        }
        Ok(asked)
    }
}

/// One row per origin, resource and horizon; none where the resource was never seen.
fn table(asked: &Asked, said: &[Said], histories: &[History]) -> String {
    let answers: BTreeMap<(usize, u32), &Said> = said.iter().map(|one| ((one.history, one.slot), one)).collect();
    let has_memory: Vec<bool> =
        histories.iter().map(|history| history.slots.iter().any(|slot| !slot.memory.is_nan())).collect();
    let mut out = format!("{FORECASTS}\n");
    for (index, step) in &asked.rows {
        let Some(said) = answers.get(&(*index, *step)) else { continue };
        for (resource, name) in [(Resource::Cpu, "cpu"), (Resource::Memory, "mem")] {
            if resource == Resource::Memory && !has_memory[*index] {
                continue;
            }
            let targets = &said.answer[resource as usize];
            let horizons = STEPS.iter().map(ToString::to_string).chain(["max12".to_owned()]);
            for (horizon, target) in horizons.zip([0, 1, 2, 4]) {
                let percent = |level: usize| f64::from(resource.raw(targets[target][level])) * 100.0;
                let (median, q90) = (percent(MEDIAN), percent(Q90));
                // Writing to a string cannot fail.
                let _written = writeln!(out, "{},{step},{name},{horizon},{median:.4},{q90:.4}", histories[*index].name);
            }
        }
    }
    out
}

/// Places of the two levels that are written.
const MEDIAN: usize = 1;
const Q90: usize = 2;

const _: () = assert!(LEVELS[MEDIAN] == 0.5 && LEVELS[Q90] == 0.9);

#[cfg(test)]
mod tests {
    use super::*;

    /// Two vms of 40 slots each, one without memory; what is asked, and what is answered.
    fn forecast(origins: &str) -> anyhow::Result<Vec<String>> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let mut rows = String::from("vm,step,cpu_pct,mem_mib\n");
        for step in 100..140 {
            writeln!(rows, "a,{step},{},512\nb,{step},7,", if step % 12 == 0 { 60 } else { 20 })?;
        }
        fs::write(path("data.csv"), rows)?;
        fs::write(path("vms.csv"), "vm,cores,mem_cap_mib\na,2,1024\nb,1,0\n")?;
        fs::write(path("origins.csv"), origins)?;
        let offline = Offline {
            data: Some(path("data.csv")),
            origins: Some(path("origins.csv")),
            vms: Some(path("vms.csv")),
            ..Offline::default()
        };
        let mut out = Vec::new();
        run(&offline, &mut out)?;
        Ok(String::from_utf8(out)?.lines().map(str::to_owned).collect())
    }

    #[test]
    fn every_origin_is_answered_in_its_order_for_what_the_vm_has() {
        let lines = forecast("series,t\nb,130\na,125\n").unwrap();
        let keys: Vec<String> =
            lines.iter().map(|line| line.split(',').take(4).collect::<Vec<_>>().join(",")).collect();
        let expected = [
            "series,t,var,h",
            "b,130,cpu,1",
            "b,130,cpu,6",
            "b,130,cpu,12",
            "b,130,cpu,max12",
            "a,125,cpu,1",
            "a,125,cpu,6",
            "a,125,cpu,12",
            "a,125,cpu,max12",
            "a,125,mem,1",
            "a,125,mem,6",
            "a,125,mem,12",
            "a,125,mem,max12",
        ];
        assert_eq!(keys, expected);
        let numbers = |line: &String| line.split(',').skip(4).map(|n| n.parse().unwrap()).collect::<Vec<f64>>();
        assert!(lines[1..].iter().map(numbers).all(|q| q[0] <= q[1]));
        let memory = numbers(&lines[9]);
        assert!((memory[0] - 50.0).abs() < 5.0, "half of its memory: {memory:?}");
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_its_line() {
        let refused = |origins: &str| forecast(origins).unwrap_err().to_string();
        assert!(refused("vm,t\n").ends_with("line 1: \"vm,t\" found, the header \"series,t\" is needed"));
        assert!(refused("series,t\na,120\nc,120\n").ends_with("line 3: the recording has no series \"c\""));
        assert!(refused("series,t\na,soon\n").ends_with("line 2: t is \"soon\", a whole number is needed"));
    }
}
