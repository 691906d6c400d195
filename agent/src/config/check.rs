//! From the file's values to a configuration: checks every one, notes every problem, and goes on.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use ballast_core::{
    id::HostId,
    inventory::SleepSupport,
    power::{POINTS, PowerCurve},
    units::{Bytes, BytesPerSec, Cores, Watts, seconds},
};
use ballast_daemon::{config::Problems, tls::TlsFiles};
use tonic::codegen::http::Uri;

use super::{
    Config, HostConfig, LibvirtConfig, PowerConfig, bmc,
    raw::{AgentSection, HostSection, LibvirtSection, PowerSection, Raw, SleepWay},
};
use crate::host::wake_address::WakeAddress;

/// Shortest and longest time between two samples that make sense: below, reading costs more than it tells; above, a
/// host is overloaded before anybody sees it.
const PERIOD_SECONDS: (f64, f64) = (0.5, 300.0);
/// More migrations out of one host at once only share its bandwidth.
const MOVES_OUT_MAX: usize = 16;
const CLASSES: &str = "one of epyc-7742, xeon-platinum-8180, ml110-g5, or load_watts instead";

/// What the machine itself says, for what the file leaves out.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// Its logical CPUs.
    pub cores: f64,
    /// Its memory.
    pub memory: Bytes,
}

impl Machine {
    /// Asks the machine this runs on.
    pub fn here() -> Self {
        let total = |mut system: sysinfo::System| {
            system.refresh_memory();
            system.total_memory()
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            name: sysinfo::System::host_name().unwrap_or_default(),
            cores: ballast_core::units::count(cores),
            memory: Bytes(sysinfo::System::new().map(total).unwrap_or_default()),
        }
    }
}

/// Checks everything; where something is wrong a stand-in is taken, so that the next is checked too.
pub(super) fn resolve(raw: Raw, machine: &Machine, problems: &mut Problems) -> Config {
    let host_id = host_id(&raw.agent, machine, problems);
    check_scheduler(&raw.agent.scheduler, raw.tls.is_some(), problems);
    check_tls(raw.tls.as_ref(), problems);
    check_agent(&raw.agent, problems);
    let libvirt = libvirt(raw.libvirt, &host_id, problems);
    let host = host(raw.host, machine, problems);
    let power = power(raw.power, problems);
    Config {
        bmc: bmc::resolve(raw.bmc, &host, &power.meters, problems),
        libvirt,
        host,
        power,
        host_id,
        scheduler: raw.agent.scheduler,
        tls: raw.tls,
        data_dir: PathBuf::from(raw.agent.data_dir),
        period: seconds(raw.agent.period_seconds),
        moves_out: raw.agent.moves_out,
        clock_difference_max: seconds(raw.agent.clock_difference_max_seconds),
        log: raw.agent.log,
    }
}

#[allow(clippy::expect_used)] // The stand-in is a literal that is valid.
fn host_id(agent: &AgentSection, machine: &Machine, problems: &mut Problems) -> HostId {
    let name = agent.host.as_deref().unwrap_or(&machine.name);
    HostId::new(name).unwrap_or_else(|error| {
        problems.push("agent.host", format!("{name:?}"), error.expected);
        HostId::new("invalid").expect("a literal")
    })
}

fn check_scheduler(uri: &str, has_tls: bool, problems: &mut Problems) {
    let given = format!("{uri:?}");
    let parsed = uri.parse::<Uri>().ok().filter(|uri| uri.host().is_some() && uri.port_u16().is_some());
    let Some(parsed) = parsed.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https"))) else {
        return problems.push("agent.scheduler", given, "http://HOST:PORT or https://HOST:PORT is needed");
    };
    let encrypted = parsed.scheme_str() == Some("https");
    if encrypted && !has_tls {
        problems.push("agent.scheduler", given, "https needs the section [tls] with ca, cert and key");
    } else if !encrypted && has_tls {
        problems.push("agent.scheduler", given, "with [tls] the address must begin with https://");
    } else if !encrypted && !is_loopback(parsed.host().unwrap_or_default()) {
        let expected = "a scheduler on another machine is only spoken to by TLS: https:// and the section [tls]";
        problems.push("agent.scheduler", given, expected);
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn check_tls(tls: Option<&TlsFiles>, problems: &mut Problems) {
    let Some(tls) = tls else { return };
    for (field, path) in [("tls.ca", &tls.ca), ("tls.cert", &tls.cert), ("tls.key", &tls.key)] {
        if path.as_os_str().is_empty() {
            problems.push(field, "\"\"", "the path of a PEM file is needed");
        }
    }
}

fn check_agent(agent: &AgentSection, problems: &mut Problems) {
    let (shortest, longest) = PERIOD_SECONDS;
    if !(shortest..=longest).contains(&agent.period_seconds) {
        problems.push("agent.period_seconds", agent.period_seconds, format!("{shortest} to {longest} is needed"));
    }
    if !(0.1..=86_400.0).contains(&agent.clock_difference_max_seconds) {
        let given = agent.clock_difference_max_seconds;
        problems.push("agent.clock_difference_max_seconds", given, "0.1 to 86400 is needed");
    }
    if !(1..=MOVES_OUT_MAX).contains(&agent.moves_out) {
        problems.push("agent.moves_out", agent.moves_out, format!("1 to {MOVES_OUT_MAX} is needed"));
    }
    if agent.data_dir.is_empty() {
        problems.push("agent.data_dir", "\"\"", "the path of a directory is needed");
    }
}

fn libvirt(raw: LibvirtSection, host: &HostId, problems: &mut Problems) -> LibvirtConfig {
    if raw.uri.is_empty() {
        problems.push("libvirt.uri", "\"\"", "a libvirt URI is needed, as qemu:///system");
    }
    positive("libvirt.migration_bandwidth_mbit", raw.migration_bandwidth_mbit, problems);
    for path in raw.shared_paths.iter().filter(|path| !path.is_absolute()) {
        problems.push("libvirt.shared_paths", format!("{path:?}"), "an absolute path is needed");
    }
    if let Some(path) = raw.migration_tls_dir.as_ref().filter(|path| !path.is_absolute()) {
        problems.push("libvirt.migration_tls_dir", format!("{path:?}"), "an absolute path is needed");
    }
    LibvirtConfig {
        uri: raw.uri,
        // TLS between hypervisors is the default, as between agents and scheduler.
        migration_uri: raw.migration_uri.unwrap_or_else(|| format!("qemu+tls://{host}/system")),
        migration_bandwidth: megabits(raw.migration_bandwidth_mbit),
        shared_paths: raw.shared_paths,
        migration_tls_dir: raw.migration_tls_dir,
        measures_writes: raw.measure_writes,
    }
}

/// Bytes per second of a number of megabits per second.
pub(super) fn megabits(count: f64) -> BytesPerSec {
    BytesPerSec(count * 1e6 / 8.0)
}

fn host(raw: HostSection, machine: &Machine, problems: &mut Problems) -> HostConfig {
    let cores = raw.cpu_cores.unwrap_or(machine.cores);
    positive("host.cpu_cores", cores, problems);
    let memory = raw.memory_mib.map_or(machine.memory, Bytes::from_mib);
    if memory == Bytes::ZERO {
        problems.push("host.memory_mib", 0, "more than 0 is needed");
    }
    if let Some((given, Err(needed))) = raw.wake_address.as_ref().map(|given| (given, given.parse::<WakeAddress>())) {
        problems.push("host.wake_address", format!("{given:?}"), needed.to_string());
    }
    let places = [
        ("host.fault_domain", &raw.fault_domain, "a name is needed, as rack-3, or none at all"),
        ("host.site", &raw.site, "a name is needed, as frankfurt, or none at all"),
    ];
    for (field, name, needed) in places {
        if name.as_deref().is_some_and(|name| name.trim().is_empty()) {
            problems.push(field, "\"\"", needed);
        }
    }
    let sleep = match raw.sleep {
        SleepWay::None => SleepSupport::None,
        SleepWay::Suspend => SleepSupport::Suspend,
        SleepWay::PowerOff => SleepSupport::PowerOff,
    };
    HostConfig {
        cpu_capacity: Cores(cores),
        memory_capacity: memory,
        cpu_accounting: raw.cpu_accounting,
        sleep,
        sleep_command: raw.sleep_command,
        wake_command: raw.wake_command,
        wake_address: raw.wake_address,
        fault_domain: raw.fault_domain,
        site: raw.site,
    }
}

fn power(raw: PowerSection, problems: &mut Problems) -> PowerConfig {
    let class = class(raw.class.as_deref(), problems);
    if raw.class.is_some() && raw.load_watts.is_some() {
        problems.push("power.load_watts", "given", "either class or load_watts, not both");
    }
    let points = raw.load_watts.as_deref().and_then(|watts| points(watts, problems)).unwrap_or(*class.points());
    let span = |field, given: Option<f64>, default: Duration, problems: &mut Problems| match given {
        Some(secs) if !(secs.is_finite() && secs >= 0.0) => {
            problems.push(field, secs, "a number of seconds of at least 0 is needed");
            default
        }
        given => given.map_or(default, seconds),
    };
    let wake = span("power.wake_seconds", raw.wake_seconds, class.wake_time(), problems);
    let fall_asleep = span("power.fall_asleep_seconds", raw.fall_asleep_seconds, class.fall_asleep_time(), problems);
    // A site's own curve may idle below what a class draws asleep.
    let asleep = raw.asleep_watts.map_or(class.asleep().min(points[0]), Watts);
    let curve = PowerCurve::new(points, asleep, wake, fall_asleep).unwrap_or_else(|error| {
        problems.push("power.load_watts", format!("{:?}", points.map(Watts::get)), error.to_string());
        class
    });
    PowerConfig { curve, meters: raw.sources }
}

fn class(name: Option<&str>, problems: &mut Problems) -> PowerCurve {
    match name {
        None | Some("epyc-7742") => PowerCurve::epyc_7742(),
        Some("xeon-platinum-8180") => PowerCurve::xeon_platinum_8180(),
        Some("ml110-g5") => PowerCurve::ml110_g5(),
        Some(other) => {
            problems.push("power.class", format!("{other:?}"), CLASSES);
            PowerCurve::epyc_7742()
        }
    }
}

fn points(watts: &[f64], problems: &mut Problems) -> Option<[Watts; POINTS]> {
    let Ok(points) = <[f64; POINTS]>::try_from(watts) else {
        let given = format!("{} values", watts.len());
        problems.push("power.load_watts", given, format!("{POINTS} values are needed: at 0, 10 ... 100 % load"));
        return None;
    };
    Some(points.map(Watts))
}

fn positive(field: &str, value: f64, problems: &mut Problems) {
    if !(value.is_finite() && value > 0.0) {
        problems.push(field, value, "a number above 0 is needed");
    }
}
