//! What is drawn again, what an answer is paid, and a run from end to end.

use std::{fs, path::Path, sync::Arc};

use ballast_core::{
    history::{History, Observed, Shape, slot_of},
    id::HostId,
    policy::ranked::{OWN, Question, SHARED},
    power::{CurveFit, PowerCurve},
    units::{Bytes, Cores, Timestamp},
};
use ballast_models::policy::bundle::Bundle;
use ballast_sim::{
    scenario::HostSpec,
    trace::{
        Series,
        history::write_csv,
        hosts::{self, RecordedHost},
        planetlab,
    },
};
use rand::SeedableRng as _;
use rand_pcg::Pcg64;

use super::{
    cells::Days,
    episode::{Answers, Episode, Step},
    replay::{Experience, Replay, Returns, experiences},
    *,
};
use crate::device::Device;

const RETURNS: Returns = Returns { discount: 0.5, rounds: 2, rounds_max: 4, shaping: 0.0 };

pub(super) fn step(round: usize) -> Step {
    let asked = Question { shared: [0.0; SHARED], plans: vec![[0.0; OWN]], greedy: None };
    Step { round, asked: Arc::new(asked), choice: Some(0) }
}

/// What an episode of these questions teaches, in which every round saved as much as its number over the greedy policy.
fn taught(rounds: &[usize]) -> Vec<Experience> {
    let greedy: Vec<f64> = (0..=10).map(|round| f64::from(round) * 100.0).collect();
    let saved = |round: i32| f64::from((0..round).sum::<i32>());
    let costs = (0..=10).map(|round| f64::from(round) * 100.0 - 10.0 * saved(round)).collect();
    let episode = Episode { steps: rounds.iter().map(|round| step(*round)).collect(), costs };
    experiences(&episode, &greedy, 10.0, RETURNS)
}

#[test]
fn an_answer_is_paid_what_its_rounds_saved_until_the_network_is_asked_again() {
    let taught = taught(&[1, 2, 3]);
    // Rounds 1 and 2, then the question of round 3.
    assert_eq!((taught[0].reward, taught[0].discount, taught[0].next.is_some()), (1.0 + 0.5 * 2.0, 0.25, true));
}

#[test]
fn what_nobody_asks_about_again_is_paid_to_its_horizon_and_no_further() {
    let taught = taught(&[1, 9]);
    let sum = 1.0 + 0.5 * 2.0 + 0.25 * 3.0 + 0.125 * 4.0;
    assert_eq!((taught[0].reward, taught[0].discount, taught[0].next.is_none()), (sum, 0.0, true));
    assert_eq!((taught[1].reward, taught[1].discount), (9.0, 0.0), "the day is over");
}

#[test]
fn what_was_learnt_badly_is_drawn_more_often_and_counts_less_for_it() {
    let mut replay = Replay::new(4);
    taught(&[1, 2, 3]).into_iter().for_each(|one| replay.push(one));
    replay.learnt(0, 10.0);
    replay.learnt(1, 0.1);
    replay.learnt(2, 0.1);
    let drawn = replay.draw(400, 1.0, &mut Pcg64::seed_from_u64(1));
    let of = |place: usize| drawn.iter().filter(|drawn| drawn.place == place).count();
    assert!(of(0) > 3 * of(1) && of(1) > 0, "{} {}", of(0), of(1));
    let weight = |place: usize| drawn.iter().find(|drawn| drawn.place == place).map(|drawn| drawn.weight);
    assert!(weight(0) < weight(1));
}

#[test]
fn the_oldest_makes_room_and_an_error_that_is_no_number_changes_nothing() {
    let mut replay = Replay::new(2);
    taught(&[1, 2, 3]).into_iter().for_each(|one| replay.push(one));
    assert_eq!((replay.len(), replay.at(0).reward), (2, 3.0 + 0.5 * 4.0 + 0.25 * 5.0 + 0.125 * 6.0));
    replay.learnt(1, f32::NAN);
    assert_eq!(replay.draw(8, 0.5, &mut Pcg64::seed_from_u64(1)).len(), 8);
    assert_eq!(Replay::new(2).draw(8, 0.5, &mut Pcg64::seed_from_u64(1)), []);
}

/// A folder with the two small days of the repository.
pub(super) fn days() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sim/traces");
    for day in ["20110303", "20110403"] {
        fs::copy(traces.join(format!("planetlab-40vm-{day}.csv.gz")), folder.path().join(format!("{day}.csv.gz")))
            .unwrap();
    }
    folder
}

pub(super) fn numbers() -> Numbers {
    Numbers {
        turns: 2,
        cells: 2,
        steps: 3,
        warm_up: 1,
        rate: 1e-3,
        chance: 0.1,
        discount: 0.97,
        rounds: 6,
        shaping: 0.0,
        meta: None,
        seed: 1,
    }
}

pub(super) fn args(folder: &Path, out: &str) -> PolicyArgs {
    PolicyArgs {
        data: Some(folder.to_owned()),
        experience: None,
        judged: 4,
        from: None,
        days: Vec::new(),
        tune: vec!["20110403".into()],
        out: folder.join(out),
        checkpoint: None,
        resume: false,
        numbers: numbers(),
        device: Device::Cpu,
    }
}

#[test]
fn the_same_seed_trains_the_same_networks() {
    let folder = days();
    let (first, again) = (args(folder.path(), "first"), args(folder.path(), "again"));
    let mut told = Vec::new();
    run(&first, &mut told).unwrap();
    run(&again, &mut Vec::new()).unwrap();
    let bytes = fs::read(&first.out).unwrap();
    assert_eq!(bytes, fs::read(&again.out).unwrap());
    let card = Bundle::from_bytes(&bytes).unwrap().card;
    assert_eq!((card.data[0].files.as_slice(), card.seed), (["20110303".to_owned()].as_slice(), 1));
    let told = String::from_utf8(told).unwrap();
    assert!(told.starts_with("training on 20110303, tuned on 20110403\n"), "{told}");
}

#[test]
fn a_day_that_is_not_there_or_trained_on_and_tuned_on_is_refused_by_name() {
    let folder = days();
    let missing = PolicyArgs { tune: vec!["20110101".into()], ..args(folder.path(), "x") };
    assert!(run(&missing, &mut Vec::new()).unwrap_err().to_string().ends_with("no day 20110101"));
    let both = PolicyArgs { days: vec!["20110403".into()], ..args(folder.path(), "x") };
    let error = run(&both, &mut Vec::new()).unwrap_err().to_string();
    assert_eq!(error, "--tune 20110403: the day is trained on too");
}

#[test]
fn a_cell_is_the_same_for_the_same_seed_and_small() {
    let folder = days();
    let days = Days::read(folder.path(), &["20110303".into(), "20110403".into()]).unwrap();
    for seed in 0..20 {
        let cell = days.cell(seed).unwrap();
        assert_eq!(format!("{:?}", cell.scenario.vms()), format!("{:?}", days.cell(seed).unwrap().scenario.vms()));
        assert!((6..=14).contains(&cell.scenario.hosts().len()) && !cell.scenario.vms().is_empty());
    }
}

#[test]
fn left_to_the_greedy_policy_a_cell_costs_what_it_costs_the_greedy_policy() {
    let folder = days();
    let cell = Days::read(folder.path(), &["20110303".into(), "20110403".into()]).unwrap().cell(3).unwrap();
    let episode = episode::explore(&cell, Answers::Greedy, 0.0, Pcg64::seed_from_u64(1));
    assert_eq!(episode.costs, episode::greedy(&cell));
    assert!(!episode.steps.is_empty() && episode.cost() > 0.0);
}

/// A folder as `ballast history` writes it: forty vms on ten hosts, for so many days.
fn fleet_of(days: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let recorded = planetlab::shipped().unwrap();
    let shape = Shape { vcpus: Some(2.0), memory_mib: Some(1024.0) };
    let slot = |cpu: f32| Observed::from_channels([cpu, 0.5, 0.0, 0.0, 0.0, 0.0]);
    let history = |series: &Series| {
        let slots: Vec<Observed> = series.slots.iter().map(|one| slot(one.cpu)).collect();
        let first = slot_of(Timestamp::from_secs(1_769_385_600));
        History { name: series.name.clone(), shape, first, slots: slots.repeat(days as usize) }
    };
    let histories: Vec<History> = recorded[0].series().iter().map(history).collect();
    let mut table = Vec::new();
    write_csv(&histories, &mut table).unwrap();
    fs::write(folder.path().join("history.csv"), table).unwrap();
    let host = |index: u32| {
        let name = HostId::new(&format!("kvm{index}")).unwrap();
        let spec = HostSpec::new(name, Cores(4.0), Bytes::from_gib(16), PowerCurve::ml110_g5());
        RecordedHost::new(&spec, &CurveFit::default())
    };
    fs::write(folder.path().join("hosts.json"), hosts::write(&(0..10).map(host).collect::<Vec<_>>()).unwrap()).unwrap();
    folder
}

fn experienced(folder: &Path) -> PolicyArgs {
    let own = Some(folder.to_owned());
    PolicyArgs {
        data: None,
        tune: Vec::new(),
        experience: own,
        numbers: Numbers { turns: 1, steps: 1, ..numbers() },
        ..args(folder, "fleet.safetensors")
    }
}

#[test]
fn a_fleets_own_days_are_learnt_on_and_what_is_no_better_is_not_written() {
    let folder = fleet_of(3);
    let (args, mut told) = (experienced(folder.path()), Vec::new());
    run(&args, &mut told).unwrap();
    let told = String::from_utf8(told).unwrap();
    assert!(told.starts_with("training on 2026-01-26, tuned on 2026-01-27, judged on 2026-01-28\n"), "{told}");
    assert!(told.contains("of the former networks'") && told.ends_with("nothing is written\n"), "{told}");
    assert!(!args.out.exists());
}

#[test]
fn two_days_of_a_fleet_are_too_few_and_the_refusal_says_what_each_is_for() {
    let folder = fleet_of(2);
    let error = run(&experienced(folder.path()), &mut Vec::new()).unwrap_err().to_string();
    assert!(error.ends_with("3 are needed: to learn on, to choose by, to judge by"), "{error}");
}

#[test]
fn a_run_goes_on_from_the_networks_of_a_bundle() {
    let folder = days();
    let first = args(folder.path(), "first");
    run(&first, &mut Vec::new()).unwrap();
    let again = PolicyArgs {
        from: Some(first.out.clone()),
        numbers: Numbers { turns: 1, steps: 0, ..numbers() },
        ..args(folder.path(), "again")
    };
    run(&again, &mut Vec::new()).unwrap();
    let [first, again] = [first.out, again.out].map(|path| Bundle::from_bytes(&fs::read(path).unwrap()).unwrap());
    assert_eq!(first.ensemble, again.ensemble, "no step was taken");
}

#[test]
fn the_same_seed_learns_the_same_table() {
    let folder = days();
    let learnt = |out: &str| {
        let out = folder.path().join(out);
        let (data, days) = (folder.path().to_owned(), vec!["20110403".to_owned()]);
        let args = tabular::TableArgs { data, days, out, episodes: 16, chance: 0.5, discount: 0.8, seed: 3 };
        tabular::run(&args, &mut Vec::new()).unwrap();
        fs::read_to_string(&args.out).unwrap()
    };
    let text = learnt("first.json");
    assert_eq!(text, learnt("again.json"));
    let table = ballast_models::policy::table::Table::parse(&text).unwrap();
    assert_eq!((table.episodes, table.days), (16, vec!["20110403".to_owned()]));
    assert!(table.tried.iter().flatten().sum::<u32>() > 16 * 40, "a day has 48 half-hours");
}

#[test]
fn a_task_is_one_day_with_one_load_and_one_mix_of_hosts() {
    let folder = days();
    let days = Days::read(folder.path(), &["20110303".into(), "20110403".into()]).unwrap();
    for seed in 0..8 {
        let task = days.task(seed);
        assert_eq!(task.names().len(), 1);
        let of = |seed: u64| {
            let cell = task.cell(seed).unwrap();
            let (hosts, vms) = (cell.scenario.hosts(), cell.scenario.vms());
            let size = |host: &HostSpec| (host.memory_capacity, host.cpu_capacity.get().to_bits());
            let kinds: std::collections::BTreeSet<_> = hosts.iter().map(size).collect();
            (kinds, vms.len())
        };
        let (one, other) = (of(1), of(2));
        assert!(one.0.len() <= 2 && !one.0.is_disjoint(&other.0), "the same kinds of hosts: {one:?} {other:?}");
    }
}

#[test]
fn networks_to_begin_with_are_those_of_the_last_turn_and_the_same_for_the_same_seed() {
    let folder = days();
    let meta = |out: &str| PolicyArgs {
        numbers: Numbers { meta: Some(0.5), turns: 3, ..numbers() },
        ..args(folder.path(), out)
    };
    let (first, again) = (meta("first"), meta("again"));
    let mut told = Vec::new();
    run(&first, &mut told).unwrap();
    run(&again, &mut Vec::new()).unwrap();
    assert_eq!(fs::read(&first.out).unwrap(), fs::read(&again.out).unwrap());
    let told = String::from_utf8(told).unwrap();
    assert!(told.contains("the networks of turn 3: "), "{told}");
    let wrong = PolicyArgs { numbers: Numbers { meta: Some(1.5), ..numbers() }, ..args(folder.path(), "x") };
    let error = run(&wrong, &mut Vec::new()).unwrap_err().to_string();
    assert_eq!(error, "meta is 1.5, more than 0 and at most 1 is needed");
}
