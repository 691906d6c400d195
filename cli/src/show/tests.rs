//! What is printed for what was said, word for word.

use ballast_core::forecast::{Quantiles, ResourceForecast, VmForecast};

use super::*;

fn text(answer: &Answer) -> String {
    let mut out = Vec::new();
    write(answer, Output::Table, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn json_of(answer: &Answer) -> serde_json::Value {
    let mut out = Vec::new();
    write(answer, Output::Json, &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

fn measured(value: f64) -> Option<v1::Reading> {
    Some(v1::Reading { value, quality: v1::Quality::Measured.into() })
}

fn hosts() -> Answer {
    let sample = v1::HostSample {
        cpu_capacity_cores: 16.0,
        cpu_used_cores: measured(12.0),
        memory_capacity_bytes: 64 << 30,
        power_watts: Some(v1::Reading { value: 181.6, quality: v1::Quality::Estimated.into() }),
        power_source: v1::PowerSource::Curve.into(),
        ..v1::HostSample::default()
    };
    let busy = v1::HostStatus {
        host: "kvm-1".into(),
        power: v1::HostPower::Awake.into(),
        sample_age_millis: Some(1200),
        sample: Some(sample),
        vm_count: 7,
        memory_reserved_bytes: 28 << 30,
        migrating_count: 1,
        ..v1::HostStatus::default()
    };
    let asleep = v1::HostStatus { host: "kvm-2".into(), power: v1::HostPower::Asleep.into(), ..Default::default() };
    let drained = v1::HostStatus {
        host: "kvm-3".into(),
        power: v1::HostPower::Awake.into(),
        draining: true,
        doubts: vec!["silent for 40 s".into()],
        ..Default::default()
    };
    let mode = v1::Mode::Recommend.into();
    Answer::Hosts(v1::ListHostsResponse { hosts: vec![busy, asleep, drained], mode, epoch: 3, now_unix_nanos: 0 })
}

#[test]
fn hosts_show_their_load_and_never_a_zero_for_what_is_unknown() {
    let expected = "\
mode recommend, epoch 3
HOST    CPU         CORES       MEMORY PROMISED   POWER  VMS  MOVING    AGE  STATE
kvm-1  75 %  12.0 of 16.0  28.0 GiB of 64.0 GiB  ~182 W    7       1  1.2 s  awake
kvm-2     -        - of -                     -       -    0       0      -  asleep
kvm-3     -        - of -                     -       -    0       0      -  awake, draining, silent for 40 s
";
    assert_eq!(text(&hosts()), expected);
}

#[test]
fn a_sleeping_host_does_not_show_what_it_used_before() {
    let sample = v1::HostSample {
        cpu_capacity_cores: 16.0,
        cpu_used_cores: measured(12.0),
        power_watts: measured(56.0),
        ..Default::default()
    };
    let power = v1::HostPower::Asleep.into();
    let host = v1::HostStatus { host: "kvm-2".into(), power, sample: Some(sample), ..Default::default() };
    let said = json_of(&Answer::Hosts(v1::ListHostsResponse { hosts: vec![host], ..Default::default() }));
    assert_eq!(said["hosts"][0]["cpu_used_cores"], serde_json::Value::Null);
    assert_eq!(said["hosts"][0]["power_watts"], serde_json::Value::Null);
    assert_eq!(said["hosts"][0]["cpu_capacity_cores"], 16.0);
}

#[test]
fn json_names_units_and_leaves_the_unknown_null() {
    let said = json_of(&hosts());
    assert_eq!(said["hosts"][0]["cpu_used_cores"], 12.0);
    assert_eq!(said["hosts"][1]["cpu_used_cores"], serde_json::Value::Null);
    assert_eq!(said["hosts"][2]["doubts"][0], "silent for 40 s");
    assert_eq!(said["mode"], "recommend");
}

#[test]
fn vms_show_where_they_go_and_why_they_stay() {
    let sample =
        v1::VmSample { cpu_used_cores: measured(1.5), net_rx_bytes_per_second: measured(2048.0), ..Default::default() };
    let vm = v1::VmStatus {
        vm: "00000000-0000-0000-0000-000000000001".into(),
        name: "web-1".into(),
        host: "kvm-1".into(),
        state: v1::VmState::Running.into(),
        vcpu_count: 4,
        memory_max_bytes: 4 << 30,
        sample: Some(sample),
        destination: "kvm-2".into(),
        obstacles: vec!["moved lately".into()],
    };
    let said = Answer::Vms(v1::ListVmsResponse { vms: vec![vm] });
    let shown = text(&said);
    let line = shown.lines().nth(1).unwrap();
    let words: Vec<&str> = line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
    let uuid = "00000000-0000-0000-0000-000000000001";
    let remarks = "on its way to kvm-2, moved lately";
    assert_eq!(words, ["web-1", "kvm-1", "running", "1.50 of 4", "-", "- of 4.0 GiB", "-", "2.0 KiB/s", uuid, remarks]);
    assert_eq!(json_of(&said)["vms"][0]["destination"], "kvm-2");
}

fn migration(outcome: Option<v1::Outcome>) -> v1::Migration {
    let progress = v1::Progress {
        stage: v1::Stage::Migration.into(),
        elapsed_millis: 4_200,
        total_bytes: 4 << 30,
        copied_bytes: 1 << 30,
        remaining_bytes: 3 << 30,
        rate_bytes_per_second: f64::from(1 << 28),
        iteration_count: 1,
        ..Default::default()
    };
    v1::Migration {
        migration_id: "3-17".into(),
        decision_id: "3-4".into(),
        name: "web-1".into(),
        source: "kvm-1".into(),
        destination: "kvm-2".into(),
        motive: "kvm-1 is at 97 % of its CPU, limit 85 %".into(),
        ordered_at_unix_nanos: 951_782_400_000_000_000,
        progress: Some(progress),
        outcome,
        ..Default::default()
    }
}

#[test]
fn a_running_migration_shows_how_far_it_is() {
    let shown = text(&Answer::Migrations(vec![migration(None)]));
    let line = shown.lines().nth(1).unwrap();
    assert!(
        line.contains("2000-02-29 00:00:00  migration 25 %, 1.0 GiB at 256.0 MiB/s, pass 1  kvm-1 is at"),
        "{line}"
    );
}

#[test]
fn an_ended_migration_shows_what_came_of_it() {
    let outcome = v1::Outcome {
        ending: v1::EndingKind::Completed.into(),
        began_at_unix_nanos: 1_000_000_000,
        ended_at_unix_nanos: 13_400_000_000,
        downtime_millis: Some(87),
        copied_bytes: 5 << 30,
        ..Default::default()
    };
    let done = text(&Answer::Migrations(vec![migration(Some(outcome.clone()))]));
    assert!(done.contains("completed in 12.4 s, 5.0 GiB copied, pause 87 ms"), "{done}");
    let failed = v1::Outcome { ending: v1::EndingKind::Failed.into(), reason: "out of memory".into(), ..outcome };
    let said = Answer::Migrations(vec![migration(Some(failed))]);
    assert!(text(&said).contains("failed after 12.4 s: out of memory"));
    assert_eq!(json_of(&said)["migrations"][0]["ending"], "failed");
}

#[test]
fn a_migration_that_was_stopped_says_why() {
    let outcome = v1::Outcome {
        ending: v1::EndingKind::Cancelled.into(),
        reason: "cancelled by command 3-18".into(),
        ended_at_unix_nanos: 12_400_000_000,
        ..Default::default()
    };
    let stopped = v1::Migration { stop_reason: "cancelled by ann".into(), ..migration(Some(outcome)) };
    assert!(text(&Answer::Migrations(vec![stopped])).contains("cancelled after 12.4 s: cancelled by ann"));
}

#[test]
fn a_dry_run_says_what_speaks_against_it() {
    let response = v1::MigrateResponse { findings: vec!["vm web-1 moved lately".into()], ..Default::default() };
    let said = Answer::Ordered { dry_run: true, response };
    assert_eq!(text(&said), "against it speaks:\n  - vm web-1 moved lately\n");
    assert_eq!(json_of(&said)["migration_id"], serde_json::Value::Null);
}

#[test]
fn an_order_names_its_migration_and_what_was_set_aside() {
    let response = v1::MigrateResponse {
        migration_id: "3-17".into(),
        decision_id: "3-4".into(),
        findings: vec!["vm web-1 moved lately".into()],
    };
    let said = Answer::Ordered { dry_run: false, response };
    assert_eq!(text(&said), "migration 3-17 is ordered (decision 3-4)\n  - set aside: vm web-1 moved lately\n");
}

#[test]
fn short_answers_are_one_line() {
    let cancelling = Answer::Cancelling {
        migration: "3-17".into(),
        response: v1::CancelMigrationResponse { command_id: "3-18".into() },
    };
    assert_eq!(text(&cancelling), "order 3-18 to stop migration 3-17 is given\n");
    let draining = Answer::Draining { host: "a".into(), response: v1::DrainResponse { vm_count: 3 } };
    assert_eq!(text(&draining), "a is being drained, 3 vms are still on it\n");
    assert_eq!(text(&Answer::InUse { host: "a".into() }), "a is in use again\n");
    assert_eq!(text(&Answer::Mode(v1::Mode::Auto)), "auto\n");
    let set = Answer::ModeSet { mode: v1::Mode::Auto, previous: v1::Mode::Recommend };
    assert_eq!(text(&set), "mode auto, was recommend\n");
}

#[test]
fn an_approval_says_what_is_done_and_what_no_longer_can_be() {
    let response = v1::ApproveResponse { command_ids: vec!["3-5".into()], findings: vec!["b is full".into()] };
    let said = Answer::Approved { decision: "3-4".into(), response };
    assert_eq!(text(&said), "decision 3-4 is carried out by 3-5\n  - no longer allowed: b is full\n");
}

#[test]
fn decisions_are_paragraphs() {
    let decision = v1::DecisionSummary {
        decision_id: "3-4".into(),
        trigger: "round".into(),
        policy: "risk-greedy".into(),
        chosen: vec!["put kvm-2 to sleep: empty for 120 s".into()],
        executed: true,
        ..Default::default()
    };
    let expected = "3-4  1970-01-01T00:00:00.000Z  round, risk-greedy, carried out, 0 waiting, 0 denied\n    put kvm-2 to sleep: empty for 120 s\n";
    assert_eq!(text(&Answer::Decisions(vec![decision])), expected);
}

#[test]
fn an_explanation_ends_with_what_became_of_it() {
    let said = Answer::Explained(v1::ExplainResponse {
        decision_json: "{\"policy\":\"risk-greedy\"}".into(),
        text: "decision 3-4\n".into(),
        migrations: vec![migration(None)],
        came_json: "[{\"moved\":2}]".into(),
    });
    assert_eq!(json_of(&said)["came"][0]["moved"], 2);
    assert!(text(&said).starts_with("decision 3-4\n\nwhat became of it:\nMIGRATION"), "{}", text(&said));
    assert_eq!(json_of(&said)["decision"]["policy"], "risk-greedy");
}

/// A vm that used ever more for an hour and a half, with a gap, and is expected to go on, nobody knows how far.
fn outlook() -> v1::GetForecastResponse {
    let minute = 60_000_000_000;
    let now = 1_780_000_200 * 1_000_000_000;
    let used = |step: u32| v1::DemandStep {
        from_unix_nanos: now - u64::from(18 - step) * 5 * minute,
        cpu_cores: (step != 6).then(|| 0.5 + f64::from(step) / 18.0),
        memory_bytes: Some(f64::from(1 << 30) * if step < 9 { 1.0 } else { 1.5 }),
    };
    let cpu = |middle: f64, spread: f64| {
        Quantiles([middle - spread, middle, middle + spread, middle + 1.5 * spread, middle + 2.5 * spread])
    };
    let memory = |share: f64| Quantiles([1.4, 1.5, 1.6, 1.7, 1.9].map(|gib| gib * share * f64::from(1 << 30)));
    let forecast = VmForecast {
        cpu: ResourceForecast {
            steps: [cpu(1.5, 0.1), cpu(1.7, 0.3), cpu(1.9, 0.5)],
            max_30_min: cpu(1.9, 0.3),
            max_60_min: cpu(2.2, 0.4),
            sums: None,
        },
        memory: ResourceForecast {
            steps: [memory(1.0); 3],
            max_30_min: memory(1.1),
            max_60_min: memory(1.2),
            sums: None,
        },
        ..VmForecast::default()
    };
    v1::GetForecastResponse {
        vm: "00000000-0000-0000-0000-000000000001".into(),
        method: "lstm".into(),
        source: "lstm".into(),
        name: "web-1".into(),
        now_unix_nanos: now,
        history: (0..18).map(used).collect(),
        forecast_json: serde_json::to_string(&forecast).unwrap(),
    }
}

fn drawn(said: v1::GetForecastResponse, width: usize, is_fine: bool) -> String {
    text(&Answer::Forecast { said, paper: forecast::Paper::new(width, is_fine) })
}

/// The golden pictures lie beside this file. `BALLAST_WRITE_PICTURES=1` draws them anew; look at the difference.
#[track_caller]
fn looks_like(drawn: &str, name: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/show/forecast").join(name);
    if std::env::var_os("BALLAST_WRITE_PICTURES").is_some() {
        std::fs::write(&path, drawn).unwrap();
    }
    assert_eq!(drawn, std::fs::read_to_string(&path).unwrap(), "{name}\n{drawn}");
}

#[test]
fn a_forecast_is_a_fan_after_what_was_used_with_its_maxima_and_who_says_so() {
    looks_like(&drawn(outlook(), 80, true), "fan.txt");
}

#[test]
fn what_is_no_terminal_gets_plain_letters() {
    let plain = drawn(outlook(), 80, false);
    assert!(plain.is_ascii());
    looks_like(&plain, "fan-plain.txt");
}

#[test]
fn a_vm_of_which_nothing_is_known_before_now_shows_the_fan_alone() {
    let said = v1::GetForecastResponse { history: Vec::new(), ..outlook() };
    looks_like(&drawn(said, 60, true), "fan-alone.txt");
}

#[test]
fn no_line_is_wider_than_the_paper() {
    for width in [60, 80, 101, 120] {
        for line in drawn(outlook(), width, true).lines().take_while(|line| !line.starts_with("median")) {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }
}

#[test]
fn a_forecast_names_its_vms_source_and_why_the_model_is_not_in_use() {
    let method = "ewma (lstm: late)".to_owned();
    let said = v1::GetForecastResponse { method, source: "ewma".into(), ..outlook() };
    let shown = drawn(said, 80, true);
    let first = shown.lines().next().unwrap();
    assert_eq!(first, "vm web-1 (00000000-0000-0000-0000-000000000001), by ewma; in use: ewma (lstm: late)");
}

#[test]
fn the_forecast_of_an_older_scheduler_is_shown_all_the_same() {
    let said = v1::GetForecastResponse {
        vm: "web-1".into(),
        method: "ewma".into(),
        forecast_json: outlook().forecast_json,
        ..Default::default()
    };
    assert!(drawn(said, 80, true).starts_with("vm web-1, by ewma\n"));
}

#[test]
fn a_forecast_as_json_has_the_past_the_source_and_every_quantile() {
    let said = json_of(&Answer::Forecast { said: outlook(), paper: forecast::Paper::new(80, true) });
    assert_eq!(said["forecast"]["cpu"]["max_30_min"][1], 1.9);
    assert_eq!((&said["source"], &said["history"][6]["cpu_cores"]), (&"lstm".into(), &serde_json::Value::Null));
    assert_eq!(said["at"], "2026-05-28T20:30:00.000Z");
}
