//! The faithful benchmark: what it costs in CPU time, and its figures.
//!
//! `cargo bench -p ballast-sim --bench cloudsim -- FOLDER [RULE[,QUIRK]…]…` plays every day (`*.csv.gz`) of a folder under
//! every rule; quirks are `keep`, `slafix` and `ram=MEGABYTES`, the others are part of a rule's name. Without a folder, or
//! one in the variable `BALLAST_PLANETLAB`, it plays the cuts that are part of the repository. `RUNS` (9) runs each, of
//! which the median time is shown.

// A program for people, which reads files and measures time.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

use std::{error::Error, path::Path, process::ExitCode};

use ballast_core::policy::textbook::Rule;
use ballast_sim::{
    cloudsim::{Quirks, Report, run},
    trace::planetlab::{self, Day},
};

const RULES: [&str; 10] = [
    "npa",
    "dvfs",
    "thr-mmt-0.8",
    "iqr-mmt-1.5",
    "mad-mmt-2.5",
    "lr-mmt-1.2",
    "lr-mc-1.2",
    "lr-mu-1.2",
    "lr-mmt-1.2+fix",
    "lr-mmt-1.2+v301",
];

fn main() -> ExitCode {
    match play() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn play() -> Result<(), Box<dyn Error>> {
    let mut args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let folder = if args.is_empty() { std::env::var("BALLAST_PLANETLAB").ok() } else { Some(args.remove(0)) };
    let runs: usize = std::env::var("RUNS").map_or(Ok(9), |runs| runs.parse())?;
    let words = if args.is_empty() { RULES.map(String::from).to_vec() } else { args };
    let rules = words.iter().map(|words| read(words)).collect::<Result<Vec<_>, _>>()?;
    let days = days(folder.as_deref())?;
    println!(
        "| day | rule | CPU s | kWh | migrations | SLATAH | PDM | SLAV | ESV | overall | shutdowns | hosts | vms left | RAM MB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for (name, day) in days {
        for (words, (rule, quirks)) in words.iter().zip(&rules) {
            let mut seconds: Vec<f64> = (1..runs).map(|_| timed(&day, rule, quirks).0).collect();
            let (last, report) = timed(&day, rule, quirks);
            seconds.push(last);
            seconds.sort_by(f64::total_cmp);
            show(&name, words, seconds[seconds.len() / 2], &report);
        }
    }
    Ok(())
}

fn days(folder: Option<&str>) -> Result<Vec<(String, Day)>, Box<dyn Error>> {
    let Some(folder) = folder else {
        let days = planetlab::shipped()?.into_iter().enumerate();
        return Ok(days.map(|(index, day)| (format!("shipped {}", index + 1), day)).collect());
    };
    let entries = std::fs::read_dir(Path::new(folder)).map_err(|error| format!("{folder}: {error}"))?;
    let mut files: Vec<_> = entries.collect::<Result<Vec<_>, _>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    let mut days = Vec::new();
    for file in files {
        let name = file.file_name().to_string_lossy().into_owned();
        if let Some(day) = name.strip_suffix(".csv.gz") {
            days.push((day.to_owned(), planetlab::parse_packed(&name, &std::fs::read(file.path())?)?));
        }
    }
    if days.is_empty() { Err(format!("{folder}: no *.csv.gz in it").into()) } else { Ok(days) }
}

fn read(words: &str) -> Result<(Rule, Quirks), Box<dyn Error>> {
    let mut words = words.split(',');
    let rule = words.next().unwrap_or_default().parse()?;
    let mut quirks = Quirks::default();
    for word in words {
        match word {
            "keep" => quirks.keep = true,
            "slafix" => quirks.slafix = true,
            _ => {
                quirks.ram = Some(word.strip_prefix("ram=").ok_or("keep, slafix or ram=MEGABYTES is needed")?.parse()?)
            }
        }
    }
    Ok((rule, quirks))
}

/// Seconds of CPU that a run took, where the system tells; else seconds.
fn timed(day: &Day, rule: &Rule, quirks: &Quirks) -> (f64, Report) {
    let (began, cpu) = (std::time::Instant::now(), cpu_seconds());
    let report = run(day, rule, quirks, 1);
    let spent = cpu_seconds().zip(cpu).map(|(after, before)| after - before);
    (spent.unwrap_or_else(|| began.elapsed().as_secs_f64()), report)
}

/// Time that this thread has been running on a CPU, by Linux' scheduler.
fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split(' ').next()?.parse::<f64>().ok()? / 1e9)
}

fn show(day: &str, rule: &str, seconds: f64, report: &Report) {
    println!(
        "| {day} | {rule} | {seconds:.3} | {:.6} | {} | {:.8} | {:.8} | {:.6e} | {:.6e} | {:.8} | {} | {:.2} | {} of {} | {} |",
        report.kwh,
        report.migrations,
        report.slatah,
        report.pdm,
        report.slav,
        report.esv,
        report.overall_slav,
        report.shutdowns,
        report.active_hosts,
        report.vms_left,
        report.vms,
        report.ram_max_mb,
    );
}
