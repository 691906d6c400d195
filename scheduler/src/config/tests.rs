//! Tests of the configuration: texts in, problems or resolved values out.

use std::{net::SocketAddr, path::Path, time::Duration};

use ballast_core::decision::Mode;
use ballast_daemon::config::ConfigError;

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("scheduler.toml"), Strictness::Strict).map(|(config, _)| config)
}

/// The fields that are complained of, in order.
fn fields(text: &str) -> Vec<String> {
    match parse(text) {
        Err(ConfigError::Invalid { problems, .. }) => problems.wrong().iter().map(|it| it.field.clone()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_file_is_a_recommending_scheduler_on_loopback() {
    let config = parse("").unwrap();
    assert_eq!(config.listen, "127.0.0.1:7070".parse::<SocketAddr>().unwrap());
    assert_eq!(config.metrics_listen, Some("127.0.0.1:7071".parse().unwrap()));
    assert_eq!(config.engine.initial_mode, Mode::Recommend);
    assert_eq!(config.engine.period, Duration::from_secs(5));
    assert!(config.tls.is_none());
}

#[test]
fn what_check_config_prints_is_a_file_of_the_same_configuration() {
    let text =
        "[scheduler]\nperiod_seconds = 2.5\nmode = \"auto\"\n[tuning]\ncpu_limit = 0.9\n[log]\nfilter = \"debug\"\n";
    let printed = parse(text).unwrap().to_toml().unwrap();
    let again = parse(&printed).unwrap();
    assert_eq!(again.to_toml().unwrap(), printed);
    assert_eq!(again.engine.period, Duration::from_secs_f64(2.5));
    assert_eq!(again.engine.initial_mode, Mode::Auto);
    assert!((again.engine.tuning.cpu_limit - 0.9).abs() < 1e-9);
}

#[test]
fn every_mistake_is_told_at_once_with_its_field() {
    let text = "[scheduler]\nlisten = \"here\"\nperiod_seconds = 0\nmode = \"fast\"\ntypo = 1\n\
                [tuning]\ncpu_limit = 7.0\n[limits]\nwindow_count = -1\n[log]\ntelemetry_total_mib = 1\n";
    let expected = [
        "scheduler.mode",
        "limits.window_count",
        "scheduler.listen",
        "scheduler.period_seconds",
        "tuning.cpu_limit",
        "log.telemetry_total_mib",
        "scheduler.typo",
    ];
    let mut found = fields(text);
    found.sort_unstable();
    let mut expected: Vec<String> = expected.map(str::to_owned).to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn a_message_names_field_value_and_range() {
    let error = parse("[scheduler]\nperiod_seconds = 0.1").unwrap_err().to_string();
    assert!(error.contains("scheduler.period_seconds = 0.1: a number from 0.5 to 300 is needed"), "{error}");
}

#[test]
fn the_model_begins_in_the_shadow_and_every_number_it_is_held_to_has_its_range() {
    let config = parse("").unwrap();
    assert_eq!(config.engine.forecast, crate::engine::ForecastSettings::default());
    let text = "[forecast]\nmodel = \"m.bundle\"\ndeadline_ms = 5\npromote_after = -1.0\ntolerance = 0.9\n\
                coverage_min = 1.0\nscores_min = 0\nlate_max = 0\nmode = \"perhaps\"";
    let expected =
        ["mode", "model", "deadline_ms", "promote_after", "tolerance", "coverage_min", "scores_min", "late_max"];
    assert_eq!(fields(text), expected.map(|key| format!("forecast.{key}")));
    let error = parse("[forecast]\ndeadline_ms = 5").unwrap_err().to_string();
    assert!(error.contains("forecast.deadline_ms = 5: a number from 10 to 10000 is needed"), "{error}");
    let error = parse("[forecast]\nmode = \"perhaps\"").unwrap_err().to_string();
    assert!(error.contains("forecast.mode = \"perhaps\"") && error.contains("shadow"), "{error}");
}

#[test]
fn not_a_number_is_no_number_of_seconds() {
    assert_eq!(fields("[scheduler]\nrelief_seconds = nan"), ["scheduler.relief_seconds"]);
}

#[test]
fn other_machines_are_served_only_with_certificates() {
    let error = parse("[scheduler]\nlisten = \"0.0.0.0:7070\"").unwrap_err().to_string();
    assert!(error.contains("beyond loopback a section [tls]"), "{error}");
    for loopback in ["127.0.0.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        assert!(parse(&format!("[scheduler]\nlisten = \"{loopback}\"")).is_ok(), "{loopback}");
    }
}

#[test]
fn certificates_that_are_not_there_are_named() {
    let text = "[scheduler]\nlisten = \"0.0.0.0:7070\"\n[tls]\nca = \"/nonexistent/ca.pem\"";
    assert_eq!(fields(text), ["tls.ca", "tls.cert", "tls.key"]);
}

#[test]
fn migrations_are_encrypted_unless_plain_is_asked_for() {
    assert!(parse("").unwrap().engine.migration_tls);
    assert!(!parse("[scheduler]\nmigration_tls = false").unwrap().engine.migration_tls);
}

#[test]
fn rates_have_their_ranges() {
    let text = "[limits]\ncalls_per_second = 0.0\ncalls_burst = 0\nmessages_per_second = 1.0\nmessages_burst = 0";
    let expected = ["calls_per_second", "calls_burst", "messages_per_second", "messages_burst"];
    assert_eq!(fields(text), expected.map(|key| format!("limits.{key}")));
    assert_eq!(parse("").unwrap().limits, Limits::default());
}

#[test]
fn an_unknown_key_is_refused_at_the_first_start_and_warned_of_later() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("[scheduler]\ndata_dir = {:?}\nfuture = 1", dir.path());
    let start = || Config::parse(&text, Path::new("scheduler.toml"), Strictness::AsStarted);
    assert!(start().is_err());
    std::fs::write(dir.path().join("journal"), "").unwrap();
    let (_, unknown) = start().unwrap();
    assert_eq!(unknown.len(), 1);
    assert_eq!(unknown[0].field, "scheduler.future");
}

#[test]
fn an_embedded_scheduler_keeps_to_its_directory_and_address() {
    let address = "127.0.0.1:0".parse().unwrap();
    let config = Config::for_embedding("/tmp/somewhere", address);
    assert_eq!(config.engine.data_dir, Path::new("/tmp/somewhere"));
    assert_eq!((config.listen, config.metrics_listen), (address, None));
    assert_eq!(config.engine.forecast.deadline, None, "its clock may outrun any model");
}
