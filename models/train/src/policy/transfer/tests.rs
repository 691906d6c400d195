//! A fleet made new, what hours of it are, and the table from end to end.

use ballast_core::units::Bytes;
use ballast_sim::trace::Slot;

use super::{
    super::tests::{days, numbers},
    summary::Mean,
    *,
};

fn args(folder: &std::path::Path) -> TransferArgs {
    TransferArgs {
        data: folder.to_owned(),
        days: vec!["20110303".into()],
        judge: vec!["20110403".into()],
        fleet: FleetArgs { load: 1.8, of_first: 0.9, memory: 0.5, link: 1.0 },
        from: Vec::new(),
        hours: vec![1, 24],
        every: 1,
        seeds: 2,
        judged: 2,
        log: None,
        numbers: numbers(),
        device: Device::Cpu,
    }
}

#[test]
fn hours_of_a_day_repeat_until_it_is_over_and_whole_days_are_as_they_were() {
    let folder = days();
    let all = Days::read(folder.path(), &["20110303".into(), "20110403".into()]).unwrap();
    assert_eq!(all.first(48).unwrap().names(), all.names());
    assert_eq!(all.first(24).unwrap().names(), ["20110303"]);
    let error = all.first(49).unwrap_err().to_string();
    assert_eq!(error, "49 hours: 2 days are there");
    let (hour, day) = (all.first(1).unwrap(), all.first(24).unwrap());
    let slots = |days: &Days| -> Vec<Vec<Slot>> {
        let cell = days.cell(3).unwrap();
        (0..cell.scenario.vms().len()).map(|vm| cell.scenario.series(vm).slots.clone()).collect()
    };
    let (hour, day) = (slots(&hour), slots(&day));
    assert_ne!(hour, day);
    for (hour, day) in hour.iter().zip(&day) {
        assert!(hour.len() == day.len() && hour.iter().enumerate().all(|(at, slot)| slot == &day[at % 12]));
    }
}

#[test]
fn every_cell_of_a_fleet_has_its_mix_and_a_kind_that_is_not_there_is_refused() {
    let folder = days();
    let days = Days::read(folder.path(), &["20110303".into()]).unwrap();
    let hosts = Hosts { memory: 0.5, link: 1.0, kinds: [0, 1], of_first: 1.0 };
    let fleet = days.clone().like(Mix { hosts, load: 1.0 }).unwrap();
    for seed in 0..4 {
        let cell = fleet.cell(seed).unwrap();
        assert!(cell.scenario.hosts().iter().all(|host| host.memory_capacity == Bytes::from_gib(16)));
        let cores: std::collections::BTreeSet<u64> =
            cell.scenario.hosts().iter().map(|host| host.cpu_capacity.get().to_bits()).collect();
        assert_eq!(cores.len(), 1, "all of the first kind");
    }
    let error = days.like(Mix { hosts: Hosts { kinds: [0, 9999], ..hosts }, load: 1.0 }).unwrap_err().to_string();
    assert!(error.starts_with("800 hosts are known"), "{error}");
}

#[test]
fn each_start_and_number_of_hours_has_a_row_and_each_run_a_line() {
    let folder = days();
    let log = folder.path().join("runs.jsonl");
    let mut told = Vec::new();
    run(&TransferArgs { log: Some(log.clone()), ..args(folder.path()) }, &mut told).unwrap();
    let told = String::from_utf8(told).unwrap();
    for row in ["| scratch | 1 |", "| scratch | 24 |", "| shipped | 1 |", "| shipped | 24 |"] {
        assert_eq!(told.matches(row).count(), 1, "{told}");
    }
    assert!(
        told.contains("\n| scratch | 1 | 0.0000 (0.0000 to 0.0000) |"),
        "what knows nothing scores nothing: {told}"
    );
    assert!(told.contains("scratch: 1 h give ") && told.contains(" of the score of 24 h; 0.95: "), "{told}");
    let runs = std::fs::read_to_string(log).unwrap();
    assert_eq!(runs.lines().count(), 2 * 2 * 2);
    assert!(runs.lines().all(|line| line.contains(r#""points":[[0,"#)), "{runs}");
}

#[test]
fn days_that_are_learnt_on_do_not_judge_and_starts_need_a_name_and_a_file() {
    let folder = days();
    let error = run(&TransferArgs { judge: vec!["20110303".into()], ..args(folder.path()) }, &mut Vec::new());
    assert_eq!(error.unwrap_err().to_string(), "--judge 20110303: the day is learnt on too");
    let taken = Start { name: "shipped".into(), files: vec!["a".into()] };
    let error = run(&TransferArgs { from: vec![taken], ..args(folder.path()) }, &mut Vec::new());
    assert_eq!(error.unwrap_err().to_string(), "--from shipped: the name is taken");
    let two = Start { name: "meta".into(), files: vec!["a".into(), "b".into()] };
    assert_eq!("meta=a,b".parse::<Start>(), Ok(two));
    assert!("meta".parse::<Start>().is_err() && "=a".parse::<Start>().is_err() && "meta=".parse::<Start>().is_err());
}

#[test]
fn the_interval_is_students() {
    // Mean 2, deviation 1, and 4.303 for two degrees of freedom.
    let mean = Mean::of(&[1.0, 2.0, 3.0]);
    assert!((mean.value - 2.0).abs() < 1e-12 && (mean.half - 4.303 / 3.0_f64.sqrt()).abs() < 1e-9);
}
