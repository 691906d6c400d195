//! Every file of the repository parses and builds; every problem of a bad one is told; placement is as it says.

use std::{collections::BTreeMap, fmt::Write as _};

use ballast_core::{
    id::{HostId, VmId},
    power::PowerCurve,
    units::{Bytes, Cores, Timestamp},
};
use uuid::Uuid;

use super::*;
use crate::{
    demand::Demand,
    scenario::{FaultKind, HostSpec},
    trace::recorded::{Recorded, RecordedFleet, RecordedSample},
};

fn shipped(name: &str) -> ScenarioFile {
    builtin(name).unwrap().unwrap()
}

fn built(name: &str) -> Scenario {
    shipped(name).build(&Data::default(), None, 1).unwrap()
}

/// A `PlanetLab` day of `vms` rows, each of which wants its number modulo 100 in per cent, written in reverse order.
fn planetlab_day(vms: usize) -> DataFile {
    let mut text = String::from("vm,seen_in_dev");
    (0..288).for_each(|slot| write!(text, ",t{slot}").unwrap());
    for vm in (0..vms).rev() {
        write!(text, "\nvm-{vm:04},1{}", format!(",{}", vm % 100).repeat(288)).unwrap();
    }
    DataFile { name: "20110303.csv".into(), bytes: text.into_bytes() }
}

fn planetlab(vms: usize, seed: u64) -> Scenario {
    let data = Data { files: vec![planetlab_day(vms)], ..Data::default() };
    shipped("planetlab-corrected").build(&data, Some("20110303"), seed).unwrap()
}

fn telemetry() -> Data {
    let host = HostSpec::new(HostId::new("a").unwrap(), Cores(8.0), Bytes::from_gib(32), PowerCurve::epyc_7742());
    let sample = |second| RecordedSample {
        at: Timestamp::from_secs(second),
        cpu: Some(Cores(1.0)),
        ..RecordedSample::default()
    };
    let vm = Recorded {
        vm: VmId(Uuid::from_u128(1)),
        name: "vm1".into(),
        vcpus: 2,
        memory_max: Bytes::from_gib(2),
        labels: ballast_core::inventory::VmLabels::default(),
        host: 0,
        samples: (0..60).map(|tick| sample(1000 + tick * 10)).collect(),
    };
    Data { recorded: Some(RecordedFleet { hosts: vec![host], vms: vec![vm] }), ..Data::default() }
}

#[test]
fn every_shipped_file_parses_under_its_own_name() {
    for Builtin { name, .. } in BUILTINS {
        let file = builtin(name).unwrap().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(file.name(), name);
        assert!(!file.description().is_empty() && !file.policies().is_empty() && !file.seeds().is_empty());
    }
    assert!(builtin("clever").is_none());
}

#[test]
fn every_scenario_that_needs_no_data_is_built_and_the_same_each_time() {
    for Builtin { name, .. } in BUILTINS {
        let file = shipped(name);
        if file.faithful().is_some() || file.needs().iter().any(|need| !need.has_cut) || name == "telemetry" {
            continue;
        }
        let scenario = file.build(&Data::default(), None, 1).unwrap_or_else(|error| panic!("{name}: {error}"));
        let again = file.build(&Data::default(), None, 1).unwrap();
        assert_eq!(format!("{:?}", scenario.vms()), format!("{:?}", again.vms()), "{name}");
        let there = scenario.vms().iter().filter(|vm| vm.arrives.is_zero());
        assert!(there.clone().count() > 50 && there.clone().all(|vm| vm.home.is_some()), "{name}");
        assert_eq!(scenario.duration(), file.duration(), "{name}");
        assert_promises_are_kept(&scenario, name);
    }
}

/// No host promises more memory than it has, and vms that keep apart are apart.
fn assert_promises_are_kept(scenario: &Scenario, name: &str) {
    let mut promised: BTreeMap<usize, Bytes> = BTreeMap::new();
    let mut groups: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    for vm in scenario.vms() {
        let Some(home) = vm.home else { continue };
        let there = promised.entry(home).or_default();
        *there = *there + vm.memory_max;
        vm.labels.anti_affinity.iter().for_each(|group| *groups.entry((home, group)).or_default() += 1);
        assert!(vm.cpu_full.get() <= f64::from(vm.vcpus), "{name}: {vm:?}");
    }
    assert!(promised.iter().all(|(host, memory)| *memory <= scenario.hosts()[*host].memory_capacity), "{name}");
    assert!(groups.values().all(|members| *members == 1), "{name}");
}

#[test]
fn a_planetlab_day_takes_its_types_in_order_of_name() {
    let scenario = planetlab(1052, 0);
    let types: Vec<(f64, u32, u64)> = [0, 263, 526, 789]
        .map(|vm| &scenario.vms()[vm])
        .map(|vm| (vm.cpu_full.get(), vm.vcpus, vm.memory_max.get() >> 20))
        .to_vec();
    assert_eq!(types, [(2.5, 3, 870), (2.0, 2, 1740), (1.0, 1, 1740), (0.5, 1, 613)]);
    assert_eq!(scenario.vms()[7].name, "vm-0007");
    let hosts = scenario.hosts();
    assert_eq!((hosts.len(), hosts[0].cpu_capacity, hosts[1].cpu_capacity), (800, Cores(3.72), Cores(5.32)));
    assert_eq!(hosts[0].memory_capacity, Bytes::from_gib(32));
    assert_eq!(scenario.start().to_string(), "2011-03-03T00:00:00.000Z");
    let Demand { cpu, memory, .. } = scenario.demand(50, 86_400.0, 0);
    assert_eq!((cpu, memory), (1.25, Bytes::from_mib(870).as_f64()));
}

/// What the released benchmark does on that day: 2500-MIPS vms on the odd hosts 1 to 525, 2000-MIPS ones on the other odd ones
/// and then second on the first, 1000-MIPS ones on the even hosts 0 to 524, 500-MIPS ones on the others.
#[test]
fn the_first_placement_is_the_benchmarks() {
    let scenario = planetlab(1052, 0);
    let home = |vm: usize| scenario.vms()[vm].home.unwrap();
    assert!((0..263).all(|vm| home(vm) == 2 * vm + 1));
    assert!((263..400).all(|vm| home(vm) == 2 * vm + 1));
    assert!((400..526).all(|vm| home(vm) == 2 * (vm - 400) + 1 || home(vm) % 2 == 1));
    assert!((526..789).all(|vm| home(vm) == 2 * (vm - 526)));
    assert!((789..926).all(|vm| home(vm) == 526 + 2 * (vm - 789)));
}

#[test]
fn seeds_above_zero_deal_the_traces_out_anew() {
    let names = |seed| planetlab(40, seed).vms().iter().map(|vm| vm.name.clone()).collect::<Vec<_>>();
    let mut shuffled = names(3);
    assert_ne!(shuffled, names(0));
    assert_ne!(shuffled, names(4));
    shuffled.sort();
    assert_eq!(shuffled, names(0));
}

#[test]
fn planetlab_wants_files_and_knows_their_days() {
    let file = shipped("planetlab-corrected");
    assert_eq!(file.days(&["20110309.csv.gz", "README.md", "20110303.csv.gz"]), ["20110303", "20110309"]);
    let error = |data: &Data, day| file.build(data, day, 0).unwrap_err().to_string();
    let none = "PlanetLab days are needed: YYYYMMDD.csv.gz, in the folder of the data or in planetlab/ below it";
    assert_eq!(error(&Data::default(), None), none);
    let one = Data { files: vec![planetlab_day(8)], ..Data::default() };
    assert_eq!(error(&one, Some("20110304")), "day 20110304 is not there: one of 20110303 is needed");
    let second = DataFile { name: "20110304.csv".into(), ..planetlab_day(8) };
    let two = Data { files: vec![planetlab_day(8), second], ..Data::default() };
    assert_eq!(error(&two, None), "several days are there: one of 20110303, 20110304 is to be named");
}

#[test]
fn bitbrains_vms_keep_their_recorded_size_and_promise_most_memory() {
    let scenario = built("bitbrains-modern");
    assert_eq!(scenario.vms().len(), 24 * 48);
    let capacity: Bytes = scenario.hosts().iter().map(|host| host.memory_capacity).sum();
    let promised: Bytes = scenario.vms().iter().map(|vm| vm.memory_max).sum();
    let cores: f64 = scenario.hosts().iter().map(|host| host.cpu_capacity.get()).sum();
    let wanted: f64 = (0..scenario.vms().len()).map(|vm| scenario.demand(vm, 43_200.0, 1).cpu).sum();
    assert!(promised.ratio_of(capacity) > wanted / cores, "{promised} of {capacity}, {wanted} of {cores} cores");
}

#[test]
fn arriving_vms_come_and_go_within_the_scenario() {
    let scenario = built("arrivals");
    let later = scenario.vms().iter().filter(|vm| !vm.arrives.is_zero());
    assert!(later.clone().count() > 500 && later.clone().all(|vm| vm.home.is_none()));
    for vm in scenario.vms() {
        assert!(vm.arrives < scenario.duration());
        assert!(vm.departs.is_none_or(|departs| departs > vm.arrives && departs < scenario.duration()), "{vm:?}");
    }
}

#[test]
fn a_rack_that_fails_takes_all_its_hosts() {
    let scenario = built("failure");
    let rack = |host: usize| scenario.hosts()[host].fault_domain.clone().unwrap();
    let lost: Vec<usize> = scenario
        .terms()
        .faults
        .iter()
        .filter(|fault| fault.what == FaultKind::Lost && fault.at.as_secs() == 16_200)
        .map(|fault| fault.host)
        .collect();
    assert_eq!(lost, [9, 10, 11]);
    assert!(lost.iter().all(|host| rack(*host) == "rack-04"));
    assert!(scenario.terms().faults.is_sorted_by_key(|fault| fault.at));
}

#[test]
fn a_service_has_requests_users_and_distances() {
    let scenario = built("qa-service");
    assert_eq!(scenario.vms().len(), 80);
    let europe = scenario.vms().iter().filter(|vm| vm.labels.users.as_deref() == Some("europe"));
    assert_eq!(europe.count(), 48);
    let far = scenario.hosts()[1].rtt["europe"];
    assert!(far > scenario.hosts()[0].rtt["europe"]);
    // At its busiest hour the service is busy and not drowned.
    let load: f64 = (0..48).map(|vm| scenario.demand(vm, 13.0 * 3600.0, 1).cpu / 8.0).sum::<f64>() / 48.0;
    assert!((0.2..0.9).contains(&load), "{load}");
}

#[test]
fn a_telemetry_log_brings_its_own_fleet() {
    let file = shipped("telemetry");
    let scenario = file.build(&telemetry(), None, 1).unwrap();
    assert_eq!((scenario.vms().len(), scenario.duration().as_secs()), (1, 590));
    assert!(matches!(file.build(&Data::default(), None, 1), Err(BuildError::NoTelemetry)));
}

#[test]
fn the_faithful_simulation_is_told_its_quirks_and_nothing_else() {
    let file = shipped("planetlab-faithful");
    assert_eq!(file.faithful(), Some(&Faithful::default()));
    assert!(matches!(file.build(&Data::default(), None, 0), Err(BuildError::IsFaithful { .. })));
    assert_eq!(file.days(&["20110303.csv.gz"]), ["20110303"]);
}

#[test]
fn every_problem_of_a_file_is_told_at_once() {
    let text = r#"
        name = "bad"
        durations = 3
        begins_h = 30
        [demand]
        source = "storm"
        vms = 0
        mean = 1.5
        [[demand.storms]]
        at = 5
        [[hosts]]
        class = "epyc-9999"
        count = 2
        site = "moon"
        [[hosts]]
        class = "epyc-7742"
        count = "many"
        asleep_w = 60
        [terms]
        between = "curve"
        jitter = "much"
        [tuning]
        cpu_limit = 2.0
        [[faults]]
        at_s = 10
        until_s = 5
        host = "host-99"
        what = "flood"
        [pace]
        sample_s = 60
        round_s = 10
    "#;
    let InvalidFile::Problems { problems, .. } = ScenarioFile::parse("bad.toml", text).unwrap_err() else {
        panic!("it is TOML")
    };
    let told: Vec<String> = problems.iter().map(Problem::to_string).collect();
    let expected = [
        "description: is missing: a text is needed",
        "durations = 3: is not known here; known are ",
        "begins_h = 30: a number from 0 to 24 is needed",
        "demand.vms = 0: a whole number from 1 to 300000 is needed",
        "demand.mean = 1.5: a number from 0 to 1 is needed",
        "demand.storms[0].at = 5: is not known here; known are at_s, length_s, level, share, spread_s",
        "hosts[0].class = \"epyc-9999\": one of hp-ml110-g4, ",
        "hosts[0].site = \"moon\": the name of one of [[sites]] is needed",
        "hosts[1].count = \"many\": a whole number from 1 to 10000 is needed",
        "hosts[1].asleep_w = 60: asleep 60 W is above idle 51.4 W: sleeping would cost energy",
        "vms.types: is missing: this demand does not say how large its vms are",
        "terms.between = \"curve\": one of line, hold is needed",
        "terms.jitter = \"much\": a number from 0 to 1 is needed",
        "tuning = {…}: cpu_limit = 2: a share from 0.05 to 1 is needed",
        "faults[0].until_s = 5: a later moment than at_s is needed",
        "faults[0].host = \"host-99\": a host of the fleet, up to host-01, or one of its racks is needed",
        "faults[0].what = \"flood\": one of lost, hypervisor-away, agent-silent, slow-link, meter-stuck is needed",
        "pace.round_s = 10: at least sample_s, 60 s, is needed",
    ];
    for problem in expected {
        assert!(told.iter().any(|told| told.starts_with(problem)), "{problem}\nis not among\n{}", told.join("\n"));
    }
    assert_eq!(told.len(), expected.len(), "{}", told.join("\n"));
}

#[test]
fn a_demand_with_hosts_of_its_own_takes_no_others() {
    let text =
        "name = \"n\"\ndescription = \"d\"\n[demand]\nsource = \"telemetry\"\n[placement]\nat_start = \"spread\"\n";
    let error = ScenarioFile::parse("n.toml", text).unwrap_err().to_string();
    assert_eq!(error, "n.toml: placement = {…}: this demand brings hosts and vms of its own");
}

#[test]
fn large_fleets_share_their_series() {
    let text = "name = \"n\"\ndescription = \"d\"\n[demand]\nsource = \"diurnal\"\nvms = 30\ndistinct = 10\n[[hosts]]\n\
                class = \"epyc-7742\"\ncount = 2\n[[vms.types]]\ncpu = 1\nmemory_mib = 1024\n";
    let scenario = ScenarioFile::parse("n.toml", text).unwrap().build(&Data::default(), None, 0).unwrap();
    let vms: Vec<_> = [3, 13, 23].map(|vm| (scenario.vms()[vm].series, scenario.vms()[vm].offset)).to_vec();
    assert_eq!(vms, [(3, 0), (3, 1), (3, 2)]);
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_its_line() {
    let error = ScenarioFile::parse("bad.toml", "name = \"a\"\nduration_h = = 3\n").unwrap_err().to_string();
    assert!(error.starts_with("bad.toml: ") && error.contains("line 2"), "{error}");
}

#[test]
fn vms_that_find_no_room_are_refused_by_number() {
    let text = "name = \"n\"\ndescription = \"d\"\n[demand]\nsource = \"bursty\"\nvms = 9\n[[hosts]]\nclass = \"hp-ml110-g4\"\n\
                count = 2\n[[vms.types]]\ncpu = 1\nmemory_mib = 1024\n";
    let error = ScenarioFile::parse("n.toml", text).unwrap().build(&Data::default(), None, 0).unwrap_err();
    assert_eq!(error.to_string(), "9 vms do not fit into the memory of 2 hosts: vm 7 found no room");
}
