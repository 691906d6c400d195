//! Waking by a BMC and reading power from one, against other people's BMCs: OpenStack's Redfish emulator and OpenIPMI's
//! simulator. The hosts are real ones, made from the text of an agent.toml.

use std::time::Duration;

use ballast_agent::host::{Host as _, HostError, real::RealHost};
use ballast_core::{
    id::HostId,
    sample::{PowerSource, Reading},
    units::Watts,
};
use ballast_daemon::clock::Clock;
use ballast_tests::bmc::{
    self, PASSWORD,
    ipmi::IpmiBmc,
    redfish::{Certificate, RedfishBmc, System},
};
use serde_json::json;

const OFF: System = System { uuid: "5d2bf3a1-1c80-4f5a-a2b1-0c7a3a1f9d01", power: "Off" };
const ON: System = System { uuid: "5d2bf3a1-1c80-4f5a-a2b1-0c7a3a1f9d02", power: "On" };

/// The order that switches a system on.
fn on(system: System) -> String {
    format!("{}/Actions/ComputerSystem.Reset {}", system.path(), json!({ "ResetType": "On" }))
}

async fn wake(host: &RealHost, address: &str) -> Result<(), String> {
    let woken = host.wake(&HostId::new("kvm7").unwrap(), Some(address)).await;
    let told = woken.map_err(|error: HostError| error.to_string());
    assert!(!format!("{told:?}").contains(PASSWORD), "{told:?}");
    told
}

#[tokio::test]
async fn a_host_is_switched_on_by_redfish() {
    let test = "bmc::a_host_is_switched_on_by_redfish";
    let Some(bmc) = RedfishBmc::start(test, &[OFF], Certificate::Signed).unwrap() else { return };
    let host = bmc::host(bmc.folder(), &bmc.trust(), "").unwrap();
    assert_eq!(wake(&host, &bmc.address("")).await, Ok(()));
    assert_eq!(bmc.orders().unwrap(), [on(OFF)]);
}

#[tokio::test]
async fn a_system_that_is_on_is_told_nothing_and_several_are_told_apart() {
    let test = "bmc::a_system_that_is_on_is_told_nothing_and_several_are_told_apart";
    let Some(bmc) = RedfishBmc::start(test, &[OFF, ON], Certificate::Own).unwrap() else { return };
    let host = bmc::host(bmc.folder(), &bmc.trust(), "").unwrap();
    let why = wake(&host, &bmc.address("")).await.unwrap_err();
    assert!(why.contains("2 systems") && why.contains(&OFF.path()) && why.contains(&ON.path()), "{why}");
    assert_eq!(wake(&host, &bmc.address(&ON.path())).await, Ok(()));
    assert_eq!(bmc.orders().unwrap(), [""; 0]);
    assert_eq!(wake(&host, &bmc.address(&OFF.path())).await, Ok(()));
    assert_eq!(bmc.orders().unwrap(), [on(OFF)]);
    let why = wake(&host, &bmc.address("/redfish/v1/Systems/none")).await.unwrap_err();
    assert!(why.contains("127.0.0.1") && why.contains("404") && why.contains("none"), "{why}");
}

#[tokio::test]
async fn a_password_counts_from_the_moment_it_is_written() {
    let test = "bmc::a_password_counts_from_the_moment_it_is_written";
    let Some(bmc) = RedfishBmc::start(test, &[OFF], Certificate::Own).unwrap() else { return };
    let host = bmc::host(bmc.folder(), &bmc.trust(), "").unwrap();
    let file = bmc.folder().join("password");
    bmc::write_password(&file, "of-last-year").unwrap();
    let why = wake(&host, &bmc.address("")).await.unwrap_err();
    assert!(why.contains("401") && why.contains(bmc::USER) && !why.contains("of-last-year"), "{why}");
    bmc::write_password(&file, PASSWORD).unwrap();
    assert_eq!(wake(&host, &bmc.address("")).await, Ok(()));
}

#[tokio::test]
async fn a_bmc_nobody_vouches_for_is_not_spoken_to() {
    let test = "bmc::a_bmc_nobody_vouches_for_is_not_spoken_to";
    let Some(bmc) = RedfishBmc::start(test, &[OFF], Certificate::Own).unwrap() else { return };
    let Some(other) = RedfishBmc::start(test, &[OFF], Certificate::Signed).unwrap() else { return };
    let host = bmc::host(bmc.folder(), &bmc.trust(), "").unwrap();
    let why = wake(&host, &other.address("")).await.unwrap_err();
    assert!(why.contains("invalid peer certificate") && why.contains("bmc.ca"), "{why}");
    assert_eq!(other.orders().unwrap(), [""; 0]);
    let host = bmc::host(bmc.folder(), &format!("{}\ntrusted = [\"*.bmc.example.org\"]", bmc.trust()), "").unwrap();
    let why = wake(&host, &bmc.address("")).await.unwrap_err();
    assert!(why.contains("bmc.trusted"), "{why}");
    assert_eq!(bmc.orders().unwrap(), [""; 0]);
}

/// What the host reads first, within a time in which every meter answers.
async fn first_power(host: &RealHost) -> (Reading<Watts>, PowerSource) {
    let clock = Clock::system();
    let read = async {
        loop {
            let reading = host.read().await;
            if !reading.power.is_missing() {
                return (reading.power, reading.power_source);
            }
            tokio::task::yield_now().await;
        }
    };
    clock.timeout(Duration::from_secs(30), read).await.expect("a reading within half a minute")
}

#[tokio::test]
async fn what_a_host_draws_is_read_by_redfish() {
    let test = "bmc::what_a_host_draws_is_read_by_redfish";
    let Some(bmc) = RedfishBmc::start(test, &[ON], Certificate::Own).unwrap() else { return };
    let power = "[power]\nsources = [\"redfish\"]";
    let own = format!("{}\nown_address = {:?}", bmc.trust(), bmc.address(""));
    let read = async || first_power(&bmc::host(bmc.folder(), &own, power).unwrap()).await;
    let older = json!({ "PowerControl": [{ "PowerConsumedWatts": 220.5 }] });
    bmc.measure(&json!({ "Power": older })).unwrap();
    assert_eq!(read().await, (Reading::Measured(Watts(220.5)), PowerSource::Redfish));
    bmc.measure(&json!({ "Power": older, "EnvironmentMetrics": { "PowerWatts": { "Reading": 180 } } })).unwrap();
    assert_eq!(read().await, (Reading::Measured(Watts(180.0)), PowerSource::Redfish));
    // One that is there and says nothing does not stand in the way of the other.
    bmc.measure(&json!({ "Power": older, "EnvironmentMetrics": { "PowerWatts": { "Reading": null } } })).unwrap();
    assert_eq!(read().await, (Reading::Measured(Watts(220.5)), PowerSource::Redfish));
}

#[tokio::test]
async fn a_host_is_switched_on_by_ipmi_by_a_user_who_may_do_nothing_more() {
    let test = "bmc::a_host_is_switched_on_by_ipmi_by_a_user_who_may_do_nothing_more";
    let Some(bmc) = IpmiBmc::start(test).unwrap() else { return };
    let host = bmc::host(bmc.folder(), "", "").unwrap();
    assert_eq!(wake(&host, &bmc.address()).await, Ok(()));
    assert_eq!(bmc.orders().unwrap(), ["set power 1"]);
}

#[tokio::test]
async fn what_fails_by_ipmi_says_at_which_bmc_and_keeps_the_password() {
    let test = "bmc::what_fails_by_ipmi_says_at_which_bmc_and_keeps_the_password";
    let Some(bmc) = IpmiBmc::start(test).unwrap() else { return };
    let host = bmc::host(bmc.folder(), "", "").unwrap();
    bmc::write_password(&bmc.folder().join("password"), "of-last-year").unwrap();
    let why = wake(&host, &bmc.address()).await.unwrap_err();
    let named = format!("BMC {}", bmc.address().trim_start_matches("ipmi://"));
    assert!(why.starts_with(&named) && why.contains("ipmitool failed") && !why.contains("of-last-year"), "{why}");
    assert_eq!(bmc.orders().unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_command_of_the_site_comes_before_a_bmc() {
    let folder = tempfile::tempdir().unwrap();
    let command = format!("[host]\nwake_command = [\"mkdir\", \"{}/{{host}}\"]", folder.path().display());
    let host = bmc::host(folder.path(), "", &command).unwrap();
    assert_eq!(wake(&host, "ipmi://192.0.2.7").await, Ok(()));
    assert!(folder.path().join("kvm7").is_dir());
}
