//! From a file to the whole plan.

use super::*;
use crate::decision::Step;

fn file(hosts: &str, vms: &str, more: &str) -> PlanFile {
    serde_json::from_str(&format!(r#"{{{more} "hosts": [{hosts}], "vms": [{vms}]}}"#)).unwrap()
}

fn host(name: &str, more: &str) -> String {
    format!(r#"{{"name": "{name}", "cpu_cores": 16, "memory_gib": 64 {more}}}"#)
}

fn vm(name: &str, host: &str, cpu: &str, more: &str) -> String {
    format!(r#"{{"name": "{name}", "host": "{host}", "vcpus": 4, "memory_gib": 4, "cpu_recent": [{cpu}] {more}}}"#)
}

fn two_hosts() -> String {
    [host("a", ""), host("b", "")].join(",")
}

fn problems(file: &PlanFile) -> Vec<String> {
    Model::of(file).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn every_problem_is_told_with_path_value_and_range() {
    let vms = [vm("x", "nowhere", "1", ""), vm("y", "a", "-1", r#", "steal": 2"#)].join(",");
    let file = file(&two_hosts(), &vms, r#""drain": ["c"], "tuning": {"cpu_limit": 3},"#);
    assert_eq!(
        problems(&file),
        [
            "tuning.cpu_limit = 3: a share from 0.05 to 1 is needed",
            "vms[0].host = \"nowhere\": the name of a host of this file is needed",
            "vms[1].cpu_recent[0] = -1: a number of cores from 0 to 65536 is needed",
            "vms[1].steal = 2: a number of parts of one from 0 to 1 is needed",
            "drain[0] = \"c\": the name of a host of this file is needed",
        ]
    );
}

#[test]
fn one_name_is_one_host_and_one_vm() {
    let hosts = [host("a", ""), host("a", r#", "power": "pdp-11""#)].join(",");
    let vms = [vm("x", "a", "1", ""), vm("x", "a", "1", "")].join(",");
    let told = problems(&file(&hosts, &vms, ""));
    assert!(told[0].starts_with("hosts[1].name = a: ") || told[1].starts_with("hosts[1].name = a: "), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("hosts[1].power = \"pdp-11\": one of epyc-7742")), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("vms[1].name = ")), "{told:?}");
}

#[test]
fn a_name_always_gives_the_same_vm() {
    assert_eq!(vm_named("web-1"), vm_named("web-1"));
    assert_ne!(vm_named("web-1"), vm_named("web-2"));
}

#[test]
fn recent_use_is_forecast_and_says_how_long_a_host_is_over() {
    let steady = ["3.9"; 14].join(",");
    let vms: Vec<String> = (0..4).map(|index| vm(&format!("v{index}"), "a", &steady, "")).collect();
    let model = Model::of(&file(&two_hosts(), &vms.join(","), r#""period_seconds": 10,"#)).unwrap();
    let forecast = &model.forecasts.vms[&vm_named("v0")];
    assert!((forecast.steps[0].median() - 3.9).abs() < 1e-9);
    let host = |name: &str| &model.snapshot.hosts[&HostId::new(name).unwrap()];
    assert!(host("a").overloaded_for >= Duration::from_secs(3600));
    assert_eq!(host("b").overloaded_for, Duration::ZERO);
}

#[test]
fn the_whole_plan_is_in_rounds_and_ends_with_the_host_asleep() {
    let vms = [vm("x", "a", "1", ""), vm("y", "a", "1", ""), vm("z", "b", "3", "")].join(",");
    let report = Model::of(&file(&two_hosts(), &vms, "")).unwrap().plan();
    let told: Vec<(usize, bool)> =
        report.plan.iter().map(|step| (step.round, matches!(step.action.action, Step::Migrate(_)))).collect();
    assert_eq!(report.verdict, Verdict::Feasible);
    assert_eq!(told, [(1, true), (2, true), (4, false)], "{:?}", report.plan);
    assert_eq!(report.after.hosts_awake, [2, 1]);
    assert!(
        report.after.watts[1] < report.after.watts[0] && report.after.price_joules[1] < report.after.price_joules[0]
    );
}

#[test]
fn an_evacuation_that_cannot_be_whole_is_not_begun() {
    let vms = [vm("x", "a", "1", ""), vm("y", "a", "1", r#", "obstacles": [{"host_device": "gpu"}]"#)].join(",");
    let mut model = Model::of(&file(&two_hosts(), &vms, "")).unwrap();
    model.drain("a").unwrap();
    let report = model.plan();
    assert_eq!((report.verdict, report.plan.len()), (Verdict::Infeasible, 0));
    assert_eq!(report.why[1], "y: vm y cannot be moved: it uses the host's device gpu");
    assert!(report.after.hosts.iter().all(|host| host.vms.len() != 1), "{:?}", report.after);
    assert!(report.decision.unwrap().chosen.steps.is_empty());
}

#[test]
fn a_peak_that_is_left_to_pass_is_not_called_infeasible() {
    let vms: Vec<String> = (0..4).map(|index| vm(&format!("v{index}"), "a", "1, 3.9", "")).collect();
    let file = file(&two_hosts(), &vms.join(","), r#""period_seconds": 5,"#);
    let report = Model::of(&file).unwrap().plan();
    assert!(report.why.is_empty() && report.plan.iter().all(|step| !step.step.starts_with("move")), "{report:?}");
}

#[test]
fn unknown_hosts_and_policies_are_refused_by_name() {
    let mut model = Model::of(&file(&two_hosts(), "", "")).unwrap();
    assert_eq!(model.drain("c").unwrap_err().to_string(), "drain = \"c\": one of a, b is needed");
    assert!(model.propose_by("nonsense").is_err() && model.propose_by("none").is_ok());
}
