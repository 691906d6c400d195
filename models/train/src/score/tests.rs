//! Judging on the recordings that are part of the repository.

use std::{fs, path::Path};

use tempfile::TempDir;

use super::{Report, ScoreArgs, Share, run, score, table};
use crate::baselines::{Effort, Method};

const EFFORT: Effort = Effort {
    rows: 2000,
    svr_rows: 100,
    trees_max: 20,
    lstm: crate::baselines::plain_lstm::LstmEffort { sizes: (4, 4), epochs: 1, slots_max: 10_000 },
};

/// Judges on the shipped cuts: three vms of Bitbrains in the second half of their week, and one day of `PlanetLab`.
fn args(held_out: &str, folder: &TempDir) -> ScoreArgs {
    let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sim/traces");
    let data = ["bitbrains-24vm-7d.csv.gz", "planetlab-40vm-20110303.csv.gz", "planetlab-40vm-20110403.csv.gz"];
    let hold_out = folder.path().join("held.txt");
    fs::write(&hold_out, held_out).unwrap();
    ScoreArgs {
        data: data.iter().map(|file| traces.join(file)).collect(),
        hold_out: vec![hold_out],
        until: 11_000,
        methods: vec![Method::LastValue, Method::OwnWindow, Method::Linear],
        bundle: Vec::new(),
        against: None,
        short_weight: 0.5,
        seed: 1,
        json: false,
        markdown: false,
    }
}

const HELD: &str = "# of Bitbrains\n30\n98\n172\n\nplanetlab-40vm-20110403 # the day\n";

fn report() -> Report {
    let folder = TempDir::new().unwrap();
    score(&args(HELD, &folder), EFFORT).unwrap()
}

#[test]
fn every_method_is_on_every_panel_and_set_against_the_own_window() {
    let report = report();
    let sets: Vec<_> = report.panels.iter().map(|panel| (panel.set, panel.resource)).collect();
    assert!(sets.contains(&("long", "network")) && sets.contains(&("planetlab", "cpu")));
    assert!(!sets.contains(&("planetlab", "memory")), "of a day of PlanetLab only CPU is known");
    for panel in &report.panels {
        let names: Vec<_> = panel.lines.iter().map(|line| line.method.as_str()).collect();
        assert_eq!(names, ["last-value", "own-window", "linear"]);
        let compared: Vec<_> = panel.lines.iter().map(|line| line.against.is_some()).collect();
        assert_eq!(compared, [true, false, true]);
        assert!(panel.forecasts > 0 && panel.lines.iter().all(|line| line.mae.is_finite()), "{panel:?}");
    }
}

#[test]
fn the_last_value_is_what_its_error_is_relative_to() {
    for panel in report().panels.iter().filter(|panel| !panel.target.starts_with("max") && panel.lines[0].mae > 0.0) {
        assert!((panel.lines[0].mase - 1.0).abs() < 1e-9, "{panel:?}");
    }
}

#[test]
fn vms_are_drawn_in_blocks_where_names_are_numbers() {
    for panel in report().panels {
        let is_long = panel.set == "long";
        assert_eq!(panel.blocks.is_some(), is_long);
        assert!(panel.share == Share::Active || panel.vms == if is_long { 3 } else { 40 }, "{panel:?}");
        let against = panel.lines[2].against.unwrap();
        let [low, high] = against.mae.by_vm;
        assert!(low <= against.mae.relative && against.mae.relative <= high, "{against:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_report_in_three_forms() {
    let report = report();
    assert_eq!(report, self::report());
    let json = serde_json::to_string(&report).unwrap();
    assert!(json.contains(r#""resource":"cpu","target":"max6","share":"active""#));
    let [text, markdown] = [false, true].map(|markdown| {
        let mut out = Vec::new();
        table::write(&report, markdown, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    });
    assert!(text.contains("planetlab, cpu, 1: 40 vms, "), "{text}");
    assert!(markdown.contains("### long, cpu, 1: 3 vms in 3 blocks, ") && markdown.contains("| linear | "));
}

#[test]
fn what_cannot_be_judged_is_said() {
    let folder = TempDir::new().unwrap();
    let says = |args: &ScoreArgs| format!("{:#}", run(args, &mut Vec::new()).unwrap_err());
    assert!(says(&args("nobody\n", &folder)).contains("nothing to judge"));
    assert!(says(&args("# nobody\n", &folder)).contains("held.txt: no name of a vm or a day"));
    let against = ScoreArgs { against: Some("oracle".into()), methods: vec![Method::LastValue], ..args(HELD, &folder) };
    assert_eq!(says(&against), "--against oracle: there are last-value");
    let bundle = ScoreArgs { bundle: vec![folder.path().join("held.txt")], ..args(HELD, &folder) };
    assert!(says(&bundle).contains("held.txt: no bundle"));
}
