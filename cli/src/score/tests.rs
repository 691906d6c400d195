//! The command from its arguments to what it prints, on a fleet small enough for a test.

use std::collections::BTreeMap;

use ballast_sim::{
    scenario::file::{Data, ScenarioFile},
    score::runner::FileRunner,
};
use clap::Parser as _;

use super::*;
use crate::args::{Args, Command};

fn parse(line: &str) -> Result<ScoreArgs, clap::Error> {
    match Args::try_parse_from(line.split(' '))?.command {
        Command::Score(args) => Ok(args),
        other => panic!("{other:?}"),
    }
}

fn small() -> Stage {
    let text = r#"
        name = "demo"
        description = "a small one"
        duration_h = 1
        pace = { sample_s = 30 }
        demand = { source = "demo", hosts = 4, vms = 30 }
    "#;
    let file = ScenarioFile::parse("small.toml", text).unwrap();
    let runner = FileRunner::new(file, BTreeMap::from([(None, Data::default())]));
    Stage { runner: Box::new(runner), policies: vec!["risk-greedy".into(), "none".into()], seeds: vec![1] }
}

fn board(line: &str) -> Board {
    let stage = small();
    play(stage.runner.as_ref(), &parse(line).unwrap().plan(&stage)).unwrap()
}

#[test]
fn lists_are_separated_by_commas_and_days_given_again() {
    let line = "ballast score --scenario demo --day 20110303 --day 20110306 --policies none,risk-greedy --risk 1,1.5";
    let args = parse(line).unwrap();
    assert_eq!((args.days.len(), args.policies.len(), args.risk.as_slice()), (2, 2, &[1.0, 1.5][..]));
    assert_eq!((args.seeds, args.json), (None, false));
    assert!(args.plan(&small()).threads >= 1);
    for wrong in
        ["ballast score", "ballast score --scenario demo --seeds x", "ballast score --scenario demo --risk 1,b"]
    {
        assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong}");
    }
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let refused = |line: &str| {
        let args = parse(&format!("ballast score {line}")).unwrap();
        crate::one_line(&run(&args, Output::Table, &mut Vec::new()).unwrap_err())
    };
    let nowhere = refused("--scenario nowhere");
    assert!(nowhere.starts_with("scenario \"nowhere\" is not known: demo, planetlab-faithful, "), "{nowhere}");
    assert_eq!(refused("--scenario demo --data here"), "--data here: scenario demo reads no data");
    let luck = refused("--scenario demo --policies luck");
    assert!(luck.starts_with("policy \"luck\" is not known: one of risk-greedy, none, oracle-greedy, "), "{luck}");
    assert_eq!(refused("--scenario demo --day 20110303"), "day \"20110303\" is not in scenario demo: it has no days");
    assert_eq!(refused("--scenario demo --seeds 0"), "seeds = 0: 1 to 1000 are needed");
}

#[test]
fn results_are_the_same_bytes_with_one_thread_and_with_two() {
    let line = "ballast score --scenario demo --policies none,risk-greedy --seeds 2 --threads";
    let bytes = |threads: usize| {
        let board = board(&format!("{line} {threads}"));
        serde_json::to_vec(&(&board.results, &board.bounds, &board.comparisons)).unwrap()
    };
    assert_eq!(bytes(1), bytes(2));
}

#[test]
fn the_json_has_an_entry_per_policy_and_seed_with_its_distance_to_the_limit() {
    let board = board("ballast score --scenario demo --policies risk-greedy,none,oracle-greedy --seeds 2");
    let json = serde_json::to_value(&board).unwrap();
    let results = json["results"].as_array().unwrap();
    assert_eq!((results.len(), json["timing"].as_array().unwrap().len()), (6, 6));
    for result in results {
        let (energy, bound) = (result["energy_kwh"].as_f64().unwrap(), result["bound_kwh"].as_f64().unwrap());
        let unserved = result["unserved_cpu_share"].as_f64().unwrap();
        assert!(energy >= bound * (1.0 - 2.0 * unserved), "{result}");
        assert!((result["gap"].as_f64().unwrap() - (energy / bound - 1.0)).abs() < 1e-9);
    }
    assert_eq!(json["bounds"][0]["seed"], 1);
    assert_eq!(json["comparisons"][0]["against"], "risk-greedy");
    assert!(json["timing"][0]["cpu_s"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_table_ranks_by_cost_and_compares() {
    let board = board("ballast score --scenario demo --policies none,risk-greedy --risk 1,2 --seeds 2 --against none");
    let mut out = Vec::new();
    table::write(&board, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    for part in ["demo: means over 2 runs", "risk-greedy@1 ", "risk-greedy@2 ", "limits: fluid bound", "against none:"]
    {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let cost = |policy: &str| text.lines().position(|line| line.starts_with(policy)).unwrap();
    let cheapest = board.summaries()[0].policy.clone();
    assert_eq!(cost(&cheapest), 2, "{text}");
}

#[test]
fn the_picture_goes_to_its_file_and_a_file_that_cannot_be_written_is_named() {
    let board = board("ballast score --scenario demo --policies risk-greedy --risk 1,2");
    assert!(picture(&board).contains("risk-greedy"));
    let args = parse("ballast score --scenario demo --policies none --svg /nowhere/at/all.svg").unwrap();
    let error = run(&ScoreArgs { svg: args.svg, ..args }, Output::Table, &mut Vec::new()).unwrap_err();
    assert!(crate::one_line(&error).starts_with("write the picture to /nowhere/at/all.svg"));
}
