//! `ballast plan`: a fleet written down in a file, and the whole plan for it: what-if for operators, scenarios for tests.
//!
//! Asks no scheduler. Prints one JSON object whatever comes of it; the exit status says the same: 0 there is a plan or
//! nothing to do, 3 what was asked cannot be done, 2 it was asked wrongly, 1 the file cannot be read.

use std::{
    fmt,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use ballast_core::plan::{Model, Problem, Report, Verdict, file::PlanFile};
use clap::Args as ClapArgs;
use serde::Serialize as _;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// For which fleet, and what is asked.
#[derive(Debug, Clone, PartialEq, Eq, ClapArgs)]
pub struct PlanArgs {
    /// The fleet: hosts, vms, constraints and recent use, as docs/plan.md describes.
    #[arg(long, value_name = "FILE.json")]
    pub snapshot: PathBuf,
    /// Policy that proposes [default: the file's, or risk-greedy].
    #[arg(long)]
    pub policy: Option<String>,
    /// Empty this host, all of it or nothing; may be given several times.
    #[arg(long, value_name = "HOST")]
    pub drain: Vec<String>,
    /// Seed of every random choice.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Why a plan ends with a status of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// What was asked cannot be done; the report is printed.
    Infeasible(String),
    /// A host or a policy was asked for that is not there.
    Usage(String),
}

impl Stop {
    /// The exit status.
    pub fn status(&self) -> ExitCode {
        match self {
            Self::Infeasible(_) => ExitCode::from(3),
            Self::Usage(_) => ExitCode::from(2),
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Infeasible(why) => write!(f, "what was asked cannot be done: {why}"),
            Self::Usage(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Stop {}

/// Plans; the report goes to `out`.
pub(crate) fn run(args: &PlanArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut model = read(&args.snapshot)?;
    model.seed = args.seed;
    let usage =
        |flag: &str, problem: &Problem| Stop::Usage(format!("--{flag} {}: {}", problem.value, problem.expected));
    if let Some(policy) = &args.policy {
        model.propose_by(policy).map_err(|problem| usage("policy", &problem))?;
    }
    for host in &args.drain {
        model.drain(host).map_err(|problem| usage("drain", &problem))?;
    }
    let report = model.plan();
    write(&report, out)?;
    match report.verdict {
        Verdict::NothingToDo | Verdict::Feasible => Ok(()),
        Verdict::Infeasible => Err(Stop::Infeasible(report.why.first().cloned().unwrap_or_default()).into()),
    }
}

fn read(path: &Path) -> anyhow::Result<Model> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let file: PlanFile = serde_json::from_str(&text).with_context(|| format!("understand {}", path.display()))?;
    Model::of(&file).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}: {}", path.display(), lines.join("; "))
    })
}

/// Prints the report, its figures with six digits: what is finer differs between machines and says nothing.
fn write(report: &Report, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut serializer = Serializer::with_formatter(&mut *out, SixDigits(PrettyFormatter::new()));
    report.serialize(&mut serializer).context("print the plan")?;
    writeln!(out).context("print the plan")
}

/// JSON for people, numbers with six significant digits.
struct SixDigits(PrettyFormatter<'static>);

impl Formatter for SixDigits {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let rounded: f64 = format!("{value:.5e}").parse().unwrap_or(value);
        self.0.write_f64(writer, if rounded == 0.0 { 0.0 } else { rounded })
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(text: &str, more: &[&str]) -> (anyhow::Result<()>, String) {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = folder.path().join("fleet.json");
        std::fs::write(&snapshot, text).unwrap();
        let drain = more.iter().map(|host| (*host).to_owned()).collect();
        let mut out = Vec::new();
        let result = run(&PlanArgs { snapshot, policy: None, drain, seed: 1 }, &mut out);
        (result, String::from_utf8(out).unwrap())
    }

    const ALONE: &str = r#"{"hosts": [{"name": "kvm-1", "cpu_cores": 8, "memory_gib": 32}],
        "vms": [{"name": "web-1", "host": "kvm-1", "vcpus": 2, "memory_gib": 4, "cpu_recent": [1]}]}"#;

    #[test]
    fn a_fleet_at_ease_needs_nothing() {
        let (result, text) = planned(ALONE, &[]);
        result.unwrap();
        assert!(text.starts_with("{\n  \"verdict\": \"nothing_to_do\""), "{text}");
    }

    #[test]
    fn what_cannot_be_done_is_printed_and_ends_with_status_three() {
        let (result, text) = planned(ALONE, &["kvm-1"]);
        let error = result.unwrap_err();
        assert_eq!(error.to_string(), "what was asked cannot be done: kvm-1 cannot be emptied: vm web-1 finds no host");
        let stop = error.downcast_ref::<Stop>().unwrap();
        assert_eq!(format!("{:?}", stop.status()), format!("{:?}", ExitCode::from(3)));
        assert!(text.contains("\"verdict\": \"infeasible\""), "{text}");
    }

    #[test]
    fn an_unknown_host_is_wrong_usage() {
        let error = planned(ALONE, &["kvm-9"]).0.unwrap_err();
        assert_eq!(error.to_string(), "--drain \"kvm-9\": one of kvm-1 is needed");
    }

    #[test]
    fn every_value_out_of_range_is_named_at_once() {
        let text = ALONE.replace("32}", "-1}").replace("\"vcpus\": 2", "\"vcpus\": 0").replace("[1]", "[-3]");
        let error = planned(&text, &[]).0.unwrap_err().to_string();
        for part in ["hosts[0].memory_gib = -1", "vms[0].vcpus = 0", "vms[0].cpu_recent[0] = -3"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_named_with_its_line() {
        let error = planned(&ALONE.replace("vcpus", "vpcus"), &[]).0.unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("unknown field `vpcus`") && text.contains("line 2"), "{text}");
    }

    #[test]
    fn figures_have_six_digits() {
        let mut out = Vec::new();
        let mut serializer = Serializer::with_formatter(&mut out, SixDigits(PrettyFormatter::new()));
        [1_234.567_89, 0.1 + 0.2, -1e-12, 16.0, 0.0].serialize(&mut serializer).unwrap();
        let text: String = String::from_utf8(out).unwrap().split_whitespace().collect();
        assert_eq!(text, "[1234.57,0.3,-1e-12,16.0,0.0]");
    }
}
