//! Whole files against what follows from them.

use std::path::Path;

use super::*;

fn machine() -> Machine {
    Machine { name: "kvm-1".to_owned(), cores: 8.0, memory: Bytes::from_gib(32) }
}

fn read(text: &str) -> Result<Config, ConfigError> {
    let file = File::parse(text, Path::new("agent.toml")).unwrap();
    Config::from_file(file, &machine(), true).map(|(config, _)| config)
}

#[track_caller]
fn fields(text: &str) -> Vec<String> {
    let error = read(text).unwrap_err();
    let ConfigError::Invalid { problems, .. } = error else { panic!("{error}") };
    problems.wrong().iter().map(|problem| problem.field.clone()).collect()
}

#[test]
fn an_empty_file_is_a_host_beside_its_scheduler() {
    let config = read("").unwrap();
    assert_eq!(config.host_id.as_str(), "kvm-1");
    assert_eq!(config.libvirt.migration_uri, "qemu+tls://kvm-1/system");
    assert_eq!(config.host.memory_capacity, Bytes::from_gib(32));
    assert_eq!(config.host.sleep, SleepSupport::None);
}

#[test]
fn three_mistakes_are_told_together() {
    let text = "[agent]\nhost = \"a b\"\nscheduler = \"http://10.0.0.1:7461\"\n[host]\nmemory_mib = \"lots\"\n";
    assert_eq!(fields(text), ["host.memory_mib", "agent.host", "agent.scheduler"]);
}

#[test]
fn a_scheduler_elsewhere_is_refused_without_tls() {
    for (scheduler, accepted) in [
        ("http://127.0.0.1:7070", true),
        ("http://[::1]:7461", true),
        ("http://localhost:7461", true),
        ("http://10.0.0.1:7461", false),
        ("http://scheduler:7461", false),
        ("https://scheduler:7461", false),
        ("scheduler:7461", false),
        ("http://127.0.0.1", false),
    ] {
        let outcome = read(&format!("[agent]\nscheduler = {scheduler:?}"));
        assert_eq!(outcome.is_ok(), accepted, "{scheduler}");
    }
    let tls = "[tls]\nca = \"ca.pem\"\ncert = \"a.pem\"\nkey = \"a.key\"\n";
    assert!(read(&format!("[agent]\nscheduler = \"https://scheduler:7461\"\n{tls}")).is_ok());
    assert!(read(&format!("[agent]\nscheduler = \"http://127.0.0.1:7070\"\n{tls}")).is_err());
}

#[test]
fn a_sites_own_curve_replaces_the_class() {
    let own = "load_watts = [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]\nasleep_watts = 2\nwake_seconds = 90";
    let curve = read(&format!("[power]\n{own}")).unwrap().power.curve;
    assert_eq!((curve.idle().get(), curve.peak().get(), curve.wake_time().as_secs()), (10.0, 20.0, 90));
    assert_eq!(fields("[power]\nload_watts = [1, 2]"), ["power.load_watts"]);
    assert_eq!(fields("[power]\nclass = \"pdp-11\""), ["power.class"]);
    assert_eq!(fields("[power]\nasleep_watts = 500"), ["power.load_watts"]);
}

#[test]
fn values_out_of_range_are_named() {
    let text = "[agent]\nperiod_seconds = 0\nmoves_out = 99\nclock_difference_max_seconds = 0\n[host]\ncpu_cores = -1\n\
                wake_address = \"aa:bb\"\nfault_domain = \"\"";
    let expected = [
        "agent.period_seconds",
        "agent.clock_difference_max_seconds",
        "agent.moves_out",
        "host.cpu_cores",
        "host.wake_address",
        "host.fault_domain",
    ];
    assert_eq!(fields(text), expected);
}

#[test]
fn a_host_may_be_woken_by_its_bmc() {
    for address in ["ipmi://bmc7", "redfish://bmc7:8443/redfish/v1/Systems/1"] {
        let config = read(&format!("[host]\nwake_address = {address:?}")).unwrap();
        // To be woken takes no credentials; they are for those who wake.
        assert_eq!((config.host.wake_address.as_deref(), config.bmc), (Some(address), None));
    }
    assert_eq!(fields("[host]\nwake_address = \"ipmi://admin@bmc7\""), ["host.wake_address"]);
}

const BMC: &str = "[bmc]\nuser = \"waker\"\npassword_file = \"/etc/ballast/bmc.password\"\n";

#[test]
fn whoever_speaks_to_bmcs_says_as_whom() {
    let bmc = read(BMC).unwrap().bmc.unwrap();
    assert_eq!((bmc.user.as_str(), bmc.trusted.as_slice(), bmc.own), ("waker", &["*".to_owned()][..], None));
    assert_eq!(fields("[bmc]\nca = \"/ca.pem\""), ["bmc.user", "bmc.password_file"]);
    let wrong = "[bmc]\nuser = \"a:b\"\npassword_file = \"x\"\nca = \"y\"\ntrusted = [\"*.*\"]\nown_address = \"bmc7\"";
    let expected = ["bmc.own_address", "bmc.trusted", "bmc.password_file", "bmc.ca", "bmc.user"];
    assert_eq!(fields(wrong), expected);
}

#[test]
fn power_by_redfish_needs_to_know_the_hosts_own_bmc() {
    let sources = "[power]\nsources = [\"redfish\", \"rapl\"]\n";
    assert_eq!(fields(&format!("{sources}{BMC}")), ["power.sources"]);
    assert_eq!(fields(sources), ["power.sources", "bmc.user", "bmc.password_file"]);
    let own = |config: Config| config.host_options().power.redfish.unwrap().address.to_string();
    let ca = "ca = \"/etc/ballast/tls/bmc.pem\"\n";
    let woken = "[host]\nwake_address = \"redfish://bmc7\"\n";
    assert_eq!(own(read(&format!("{sources}{woken}{BMC}{ca}")).unwrap()), "redfish://bmc7:443");
    let said = "own_address = \"redfish://bmc8/redfish/v1/Systems/2\"\n";
    assert_eq!(
        own(read(&format!("{sources}{woken}{BMC}{ca}{said}")).unwrap()),
        "redfish://bmc8:443/redfish/v1/Systems/2"
    );
    assert_eq!(fields(&format!("{sources}{woken}{BMC}")), ["bmc.ca"]);
}

#[test]
fn a_wake_command_is_given_name_and_address_unless_it_places_them() {
    let command = |text: &str| {
        read(&format!("[host]\nwake_command = [{text}]")).unwrap().host_options().sleep.wake_command.join(" ")
    };
    assert_eq!(command("\"wake\""), "wake {host} {address}");
    assert_eq!(command("\"wake\", \"--to={host}\""), "wake --to={host}");
}

#[test]
fn the_resolved_configuration_prints_every_value() {
    let printed = read("[agent]\nhost = \"kvm-7\"").unwrap().to_string();
    assert!(printed.contains("\"kvm-7\"") && printed.contains("migration_bandwidth"), "{printed}");
}
