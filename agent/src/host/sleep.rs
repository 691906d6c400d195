//! Putting this host to sleep and waking another: by the site's commands, or as the other's address says, by its BMC or by a
//! wake-on-LAN packet.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use ballast_core::id::HostId;
use ballast_daemon::clock::Clock;
use tokio::net::UdpSocket;

use super::{
    HostError,
    bmc::{BmcOptions, ipmi, redfish},
    command,
    wake_address::WakeAddress,
};

/// How this host sleeps and how it wakes others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SleepOptions {
    /// Program and arguments that put this host to sleep, `systemctl suspend` for instance; empty where it never does.
    pub sleep_command: Vec<String>,
    /// Program and arguments that wake another; `{host}` and `{address}` stand for its name and its wake address.
    /// Empty: it is woken as that address says.
    pub wake_command: Vec<String>,
    /// As whom BMCs are told to switch their hosts on; `None` where this host cannot.
    pub bmc: Option<BmcOptions>,
    /// Where wake-on-LAN packets go.
    pub wake_broadcast: SocketAddr,
    /// Longest wait for either command, and for a BMC.
    pub command_timeout: Duration,
}

impl Default for SleepOptions {
    fn default() -> Self {
        Self {
            sleep_command: Vec::new(),
            wake_command: Vec::new(),
            bmc: None,
            // Port 9 (discard) is what every wake-on-LAN tool uses.
            wake_broadcast: SocketAddr::from((Ipv4Addr::BROADCAST, 9)),
            command_timeout: Duration::from_secs(30),
        }
    }
}

/// Puts this host to sleep; returns when the order was accepted.
pub(super) async fn sleep(options: &SleepOptions, clock: &Clock) -> Result<(), HostError> {
    if options.sleep_command.is_empty() {
        return Err(HostError::NotConfigured("sleep_command"));
    }
    command::run(&options.sleep_command, options.command_timeout, clock).await.map(drop).map_err(HostError::Failed)
}

/// Wakes another host.
pub(super) async fn wake(
    options: &SleepOptions,
    clock: &Clock,
    target: &HostId,
    address: Option<&str>,
) -> Result<(), HostError> {
    if !options.wake_command.is_empty() {
        let program = fill_in(&options.wake_command, target, address).map_err(HostError::Failed)?;
        let done = command::run(&program, options.command_timeout, clock).await;
        return done.map(drop).map_err(HostError::Failed);
    }
    let address = address.ok_or(HostError::NotConfigured("wake_command (and no wake address is known)"))?;
    let way: WakeAddress =
        address.parse().map_err(|needed| HostError::Failed(format!("wake address {address:?}: {needed}")))?;
    wake_by(&way, options, clock).await
}

async fn wake_by(way: &WakeAddress, options: &SleepOptions, clock: &Clock) -> Result<(), HostError> {
    let bmc = || options.bmc.as_ref().ok_or(HostError::NotConfigured("the section [bmc]"));
    let deadline = options.command_timeout;
    let (name, done) = match way {
        WakeAddress::Packet(hardware) => {
            let sent = send(&magic_packet(*hardware), options.wake_broadcast).await;
            ("a wake-on-LAN packet".to_owned(), sent.map_err(|error| error.to_string()))
        }
        WakeAddress::Ipmi(address) => {
            (format!("BMC {address} by IPMI"), ipmi::power_on(bmc()?, address, deadline, clock).await)
        }
        WakeAddress::Redfish(address) => {
            let on = redfish::power_on(bmc()?, address, deadline, clock).await;
            (format!("BMC {} by Redfish", address.bmc), on)
        }
    };
    done.map_err(|why| HostError::Failed(format!("{name}: {why}")))
}

async fn send(packet: &[u8], to: SocketAddr) -> std::io::Result<()> {
    let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).await?;
    socket.set_broadcast(true)?;
    // Packets get lost; three cost nothing, and a host that is awake ignores them.
    for _ in 0..3 {
        socket.send_to(packet, to).await?;
    }
    Ok(())
}

fn fill_in(program: &[String], target: &HostId, address: Option<&str>) -> Result<Vec<String>, String> {
    let needs_address = program.iter().any(|word| word.contains("{address}"));
    if needs_address && address.is_none() {
        return Err(format!("wake_command needs {{address}}, and no wake address of {target} is known"));
    }
    let fill = |word: &String| word.replace("{host}", target.as_str()).replace("{address}", address.unwrap_or(""));
    Ok(program.iter().map(fill).collect())
}

/// Six bytes of ones, then the address sixteen times.
fn magic_packet(hardware: [u8; 6]) -> Vec<u8> {
    [vec![0xff; 6], hardware.repeat(16)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostId {
        HostId::new("kvm7").unwrap()
    }

    #[tokio::test]
    async fn a_host_that_is_not_told_how_to_sleep_does_not() {
        let options = SleepOptions::default();
        let clock = Clock::system();
        assert_eq!(sleep(&options, &clock).await, Err(HostError::NotConfigured("sleep_command")));
        assert!(matches!(wake(&options, &clock, &host(), None).await, Err(HostError::NotConfigured(_))));
    }

    #[tokio::test]
    async fn commands_run_without_a_shell_and_their_failure_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let woken = folder.path().join("kvm7; touch x");
        let options = SleepOptions {
            wake_command: vec!["mkdir".into(), format!("{}/{{host}}; touch x", folder.path().display())],
            sleep_command: vec!["false".into()],
            ..SleepOptions::default()
        };
        let clock = Clock::system();
        assert_eq!(wake(&options, &clock, &host(), None).await, Ok(()));
        assert!(woken.is_dir());
        let Err(HostError::Failed(why)) = sleep(&options, &clock).await else { panic!("false succeeded") };
        assert!(why.starts_with("false failed"), "{why}");
    }

    #[tokio::test]
    async fn a_known_address_wakes_by_packet() {
        let listener = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let options = SleepOptions { wake_broadcast: listener.local_addr().unwrap(), ..SleepOptions::default() };
        wake(&options, &Clock::system(), &host(), Some("0a:1b:2c:3d:4e:5f")).await.unwrap();
        let mut packet = [0; 200];
        let length = listener.recv(&mut packet).await.unwrap();
        assert_eq!(length, 102);
        assert_eq!(packet[..12], [255, 255, 255, 255, 255, 255, 0x0a, 0x1b, 0x2c, 0x3d, 0x4e, 0x5f]);
        assert_eq!(packet[96..102], packet[6..12]);
    }

    #[tokio::test]
    async fn a_malformed_address_is_named() {
        let options = SleepOptions::default();
        let error = wake(&options, &Clock::system(), &host(), Some("0a:1b")).await.unwrap_err();
        assert!(error.to_string().contains("\"0a:1b\""), "{error}");
    }

    #[tokio::test]
    async fn a_host_without_the_section_bmc_says_that_it_cannot_ask_one() {
        for address in ["ipmi://bmc7", "redfish://bmc7"] {
            let error = wake(&SleepOptions::default(), &Clock::system(), &host(), Some(address)).await.unwrap_err();
            assert_eq!(error, HostError::NotConfigured("the section [bmc]"));
        }
    }

    #[test]
    fn a_command_that_needs_an_address_is_not_run_without_one() {
        let program = ["wake".to_owned(), "{address}".to_owned()];
        assert!(fill_in(&program, &host(), None).unwrap_err().contains("kvm7"));
        assert_eq!(fill_in(&program, &host(), Some("x")).unwrap(), ["wake", "x"]);
    }
}
