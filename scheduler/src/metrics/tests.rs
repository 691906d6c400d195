//! Tests of the metrics: looks put in by hand, the text of a scrape read back.

use std::{collections::BTreeSet, time::Duration};

use ballast_core::{
    decision::{Decision, Denial, Mode, Plan, Planned, Step},
    id::{BootId, CommandId, DecisionId, Epoch, HostId},
    inventory::{Inventory, SleepSupport},
    outcome::{Outcome, StageTimes},
    oversight::{
        ModelMode, Report, Standing,
        breaker::{Breaker, Reason, Rival},
        resource::{Resource, Target},
    },
    power::PowerCurve,
    proposal::{Action, Expectation, Proposal},
    sample::{HostSample, Reading},
    snapshot::HostMode,
    units::{Bytes, BytesPerSec, Cores},
};

use super::*;

const PERIOD: Duration = Duration::from_secs(5);

fn host(name: &str, watts: f64) -> HostView {
    let inventory = Inventory {
        host: HostId::new(name).unwrap(),
        boot: BootId::default(),
        taken_at: Timestamp::EPOCH,
        up_for: Duration::ZERO,
        complete: true,
        hypervisor: "test".into(),
        cpu_capacity: Cores(8.0),
        memory_capacity: Bytes::from_gib(32),
        cpu_model: "any".into(),
        cpu_models: BTreeSet::new(),
        networks: BTreeSet::new(),
        storages: BTreeSet::new(),
        migration_uri: String::new(),
        migration_bandwidth: BytesPerSec(1e9),
        power: PowerCurve::ml110_g5(),
        sleep: SleepSupport::None,
        wake_address: None,
        fault_domain: None,
        site: None,
        vms: Vec::new(),
    };
    let sample = HostSample { power: Reading::Measured(Watts(watts)), ..HostSample::default() };
    HostView {
        inventory: std::sync::Arc::new(inventory),
        sample: Some(sample),
        base: Cores::ZERO,
        heard_at: Some(Timestamp::from_secs(90)),
        power: HostPower::Awake,
        power_since: Timestamp::EPOCH,
        mode: HostMode::Active,
        doubts: Vec::new(),
        overloaded_for: Duration::ZERO,
        empty_for: Duration::ZERO,
    }
}

fn look(hosts: Vec<HostView>) -> Look {
    let hosts = hosts.into_iter().map(|host| (host.id().clone(), host)).collect();
    Look {
        snapshot: Arc::new(Snapshot { hosts, epoch: Epoch(3), ..Snapshot::default() }),
        stats: EngineStats { epoch: Epoch(3), mode: Mode::Auto, batches: 17, ..EngineStats::default() },
        sources: Sources::default(),
        at: Timestamp::from_secs(100),
    }
}

fn text_of(metrics: &Metrics) -> String {
    metrics.render(Timestamp::from_secs(100)).unwrap()
}

#[track_caller]
fn has(text: &str, line: &str) {
    assert!(text.lines().any(|it| it == line), "no line {line:?} in\n{text}");
}

#[test]
fn names_are_distinct_and_carry_the_prefix() {
    let distinct: BTreeSet<&&str> = names::ALL.iter().collect();
    assert_eq!(distinct.len(), names::ALL.len());
    assert!(names::ALL.iter().all(|name| name.starts_with("ballast_") && !name.ends_with("_total")));
}

#[test]
fn a_scrape_describes_every_name_once() {
    let metrics = Metrics::new(true);
    metrics.take_look(look(vec![host("kvm1", 100.0)]), PERIOD);
    // A counter with labels shows itself with its first value.
    metrics.take_decisions(&[decision(1)]);
    metrics.refused(tonic::Code::PermissionDenied);
    metrics.rate_limited(Limited::Call);
    let text = text_of(&metrics);
    for name in names::ALL {
        let described = text.lines().filter(|line| line.starts_with(&format!("# TYPE {name} "))).count();
        assert_eq!(described, 1, "{name} in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn a_scrape_shows_hosts_and_the_state_of_the_scheduler() {
    let metrics = Metrics::new(false);
    metrics.take_look(look(vec![host("kvm1", 100.0), host("kvm2", 50.0)]), PERIOD);
    let text = text_of(&metrics);
    has(&text, "ballast_host_power_watts{host=\"kvm1\"} 100.0");
    has(&text, "ballast_host_sample_age_seconds{host=\"kvm2\"} 10.0");
    has(&text, "ballast_hosts{power=\"awake\"} 2.0");
    has(&text, "ballast_mode{mode=\"auto\"} 1");
    has(&text, "ballast_mode{mode=\"off\"} 0");
    has(&text, "ballast_epoch 3");
    has(&text, "ballast_batches_total{fate=\"taken\"} 17");
}

#[test]
fn a_scrape_shows_who_forecasts_and_why_not_the_model() {
    let metrics = Metrics::new(false);
    let why = Reason::Pinball { resource: Resource::Cpu, target: Target::Step, times: 1.3, rival: Rival::Fallback };
    let mut look = look(Vec::new());
    look.sources = Sources { model: 0, fallback: 7, none: 2 };
    look.stats.forecast.report = Report {
        model: Some("lstm".into()),
        mode: ModelMode::Active,
        standing: Standing::SetAside { why: why.clone() },
        breaker: Breaker::Open { why, until: Timestamp::EPOCH, wait: PERIOD },
        ..Report::default()
    };
    (look.stats.forecast.answered, look.stats.forecast.late) = (9, 2);
    metrics.take_look(look, PERIOD);
    let text = text_of(&metrics);
    has(&text, "ballast_forecast_method{method=\"ewma\"} 1");
    has(&text, "ballast_forecast_method{method=\"lstm\"} 0");
    has(&text, "ballast_forecast_mode{mode=\"active\"} 1");
    has(&text, "ballast_forecast_breaker{state=\"open\"} 1");
    has(&text, "ballast_forecast_set_aside{why=\"pinball\"} 1");
    has(&text, "ballast_forecast_set_aside{why=\"late\"} 0");
    has(&text, "ballast_forecast_vms{source=\"fallback\"} 7");
    has(&text, "ballast_forecast_answers_total{when=\"late\"} 2");
    has(&text, "ballast_forecast_pinball{resource=\"cpu\",target=\"step_5m\",forecaster=\"persistence\"} 0.0");
}

#[test]
fn every_metric_of_forecasting_is_described_in_its_page() {
    let page = include_str!("../../../docs/forecasting.md");
    let missing: Vec<&&str> = names::ALL
        .iter()
        .filter(|name| name.starts_with("ballast_forecast_") && !page.contains(&format!("`{name}")))
        .collect();
    assert!(missing.is_empty(), "not in docs/forecasting.md: {missing:?}");
}

#[test]
fn a_host_that_is_gone_leaves_no_series_behind() {
    let metrics = Metrics::new(false);
    metrics.take_look(look(vec![host("kvm1", 100.0)]), PERIOD);
    metrics.take_look(look(Vec::new()), PERIOD);
    assert!(!text_of(&metrics).contains("kvm1"));
}

#[test]
fn energy_is_power_over_time_and_a_sleeping_host_draws_what_its_curve_says() {
    let metrics = Metrics::new(false);
    let asleep = HostView { power: HostPower::Asleep, ..host("kvm2", 999.0) };
    let asleep_watts = asleep.inventory.power.asleep().get();
    metrics.take_look(look(vec![host("kvm1", 100.0), asleep]), PERIOD);
    assert!((metrics.energy.get() - (100.0 + asleep_watts) * 5.0).abs() < 1e-9);
}

fn decision(number: u64) -> DecisionRecord {
    let kvm1 = HostId::new("kvm1").unwrap();
    let proposal = Proposal {
        action: Action::Sleep { host: kvm1.clone() },
        motive: Motive::Consolidation { host: kvm1.clone() },
        expected: Expectation::default(),
    };
    let planned = Planned {
        step: Step::Sleep { host: kvm1.clone() },
        motive: proposal.motive.clone(),
        expected: Expectation::default(),
        part_of: None,
    };
    let findings = vec![Finding::NotEmpty { host: kvm1.clone(), vms: 2 }, Finding::CannotSleep { host: kvm1 }];
    let decision = Decision {
        id: DecisionId { epoch: Epoch(3), number },
        at: Timestamp::EPOCH,
        trigger: Trigger::Round,
        mode: Mode::Auto,
        policy: "test".into(),
        forecast: "test".into(),
        chosen: Plan { steps: vec![planned] },
        waiting: 0,
        considered: Vec::new(),
        denied: vec![Denial { proposal, findings }],
        notes: Vec::new(),
    };
    DecisionRecord { decision, executed: true, came: Vec::new() }
}

#[test]
fn each_decision_is_counted_once_by_motive_and_by_rule() {
    let metrics = Metrics::new(false);
    metrics.take_look(look(Vec::new()), PERIOD);
    metrics.take_decisions(&[decision(2), decision(1)]);
    metrics.take_decisions(&[decision(3), decision(2), decision(1)]);
    let text = text_of(&metrics);
    has(&text, "ballast_steps_chosen_total{motive=\"consolidation\"} 3");
    has(&text, "ballast_proposals_denied_total{rule=\"not_empty\"} 3");
    has(&text, "ballast_proposals_denied_total{rule=\"cannot_sleep\"} 3");
}

#[test]
fn a_completed_migration_shows_its_time_and_its_pause() {
    let metrics = Metrics::new(false);
    let id = CommandId { epoch: Epoch(3), number: 1 };
    let outcome = Outcome {
        id,
        vm: None,
        source: HostId::new("a").unwrap(),
        destination: Some(HostId::new("b").unwrap()),
        ending: Ending::Completed,
        began_at: Timestamp::from_secs(10),
        ended_at: Timestamp::from_secs(13),
        stages: StageTimes::default(),
        downtime: Some(Duration::from_millis(250)),
        copied: Bytes::from_mib(1),
        iterations: 3,
    };
    metrics.take_migration(&MigrationRecord {
        id,
        decision: DecisionId { epoch: Epoch(3), number: 1 },
        vm: ballast_core::id::VmId::default(),
        name: "web".into(),
        source: outcome.source.clone(),
        destination: HostId::new("b").unwrap(),
        motive: String::new(),
        ordered_at: Timestamp::EPOCH,
        progress: ballast_core::command::Progress::default(),
        copy: None,
        rest: None,
        stop: None,
        outcome: Some(outcome),
    });
    let text = text_of(&metrics);
    has(&text, "ballast_migration_duration_seconds_sum 3.0");
    has(&text, "ballast_migration_downtime_seconds_sum 0.25");
}

#[test]
fn gains_are_shown_beside_what_was_expected_also_where_there_is_none_yet() {
    let metrics = Metrics::new(false);
    metrics.take_look(look(Vec::new()), PERIOD);
    let text = text_of(&metrics);
    has(&text, "ballast_gains_settled_total{kind=\"relief\"} 0");
    has(&text, "ballast_gain_joules{kind=\"round\",which=\"came\"} 0.0");
    has(&text, "ballast_gain_joules{kind=\"round\",which=\"expected\"} 0.0");
}
