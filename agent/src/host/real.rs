//! The host the agent runs on, for real: load and memory through sysinfo, pressure, meters and the agent's own use
//! through `/proc` and `/sys`.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, TryLockError},
    time::Duration,
};

use ballast_core::{
    id::HostId,
    sample::{PowerSource, Reading},
    units::{Bytes, Cores, Watts, count},
};
use ballast_daemon::clock::Clock;
use sysinfo::System;
use tracing::{debug, warn};

use super::{
    Host, HostError, HostReading,
    bmc::BmcOptions,
    kernel_file::KernelFile,
    power::{Meters, PowerOptions},
    psi::Psi,
    sleep::{self, SleepOptions},
};

/// How the host is read.
#[derive(Debug, Clone, PartialEq)]
pub struct HostOptions {
    /// Where `/proc` and `/sys` are found.
    pub root: PathBuf,
    /// CPU that vms may use; all of the machine's where it is `None`.
    pub cpu: Option<Cores>,
    /// Memory that vms may use; all of the machine's where it is `None`.
    pub memory: Option<Bytes>,
    /// Power meters.
    pub power: PowerOptions,
    /// Sleep and wake.
    pub sleep: SleepOptions,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            root: PathBuf::from("/"),
            cpu: None,
            memory: None,
            power: PowerOptions::default(),
            sleep: SleepOptions::default(),
        }
    }
}

/// Longest wait for the meters: one whose driver hangs must not hold up the sample.
const READ_DEADLINE: Duration = Duration::from_secs(1);

/// The real host.
#[derive(Debug)]
pub struct RealHost {
    options: HostOptions,
    clock: Clock,
    cpu: Cores,
    memory: Bytes,
    reader: Mutex<Reader>,
    meters: Arc<Mutex<Meters>>,
}

impl RealHost {
    /// Takes a first look. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// [`HostError::Failed`] where the machine cannot be read at all.
    pub fn new(options: HostOptions, clock: Clock) -> Result<Self, HostError> {
        let reader = Reader::new(&options)?;
        let meters = Meters::new(options.root.clone(), options.power.clone(), &clock);
        if let Some(Err(why)) = options.sleep.bmc.as_ref().map(BmcOptions::check) {
            warn!(why, "No BMC can be spoken to from here until that is mended");
        }
        let (cpu, memory) = (reader.cores(), Bytes(reader.system.total_memory()));
        Ok(Self {
            cpu: options.cpu.unwrap_or(cpu),
            memory: options.memory.unwrap_or(memory),
            options,
            clock,
            reader: Mutex::new(reader),
            meters: Arc::new(Mutex::new(meters)),
        })
    }

    /// CPU that vms may use.
    pub fn cpu_capacity(&self) -> Cores {
        self.cpu
    }

    /// Memory that vms may use.
    pub fn memory_capacity(&self) -> Bytes {
        self.memory
    }

    /// Reads the meters: aside, unless there are none whose reading could take long.
    async fn power(&self, elapsed: Duration) -> (Reading<Watts>, PowerSource) {
        match self.meters.try_lock() {
            Ok(mut meters) if !meters.may_block(elapsed) => return meters.read(elapsed),
            // An earlier reading hangs in some driver.
            Err(TryLockError::WouldBlock) => return Default::default(),
            Ok(_) | Err(TryLockError::Poisoned(_)) => {}
        }
        let meters = Arc::clone(&self.meters);
        let read = move || meters.lock().unwrap_or_else(PoisonError::into_inner).read(elapsed);
        match self.clock.timeout(READ_DEADLINE, self.clock.aside(read)).await {
            Ok(Ok(power)) => power,
            Ok(Err(error)) => {
                debug!(%error, "The meters could not be read");
                Default::default()
            }
            Err(_) => {
                debug!("The meters were not read in time");
                Default::default()
            }
        }
    }
}

impl Host for RealHost {
    async fn read(&self) -> HostReading {
        let elapsed = self.clock.elapsed();
        // What the kernel says of itself it says at once; a meter's driver may ask a BMC.
        let reading = self.reader.lock().unwrap_or_else(PoisonError::into_inner).read(elapsed);
        let (power, power_source) = self.power(elapsed).await;
        HostReading { power, power_source, ..reading }
    }

    async fn sleep(&self) -> Result<(), HostError> {
        sleep::sleep(&self.options.sleep, &self.clock).await
    }

    async fn wake(&self, target: &HostId, address: Option<&str>) -> Result<(), HostError> {
        sleep::wake(&self.options.sleep, &self.clock, target, address).await
    }
}

/// What is read from, and what the reading before said.
#[derive(Debug)]
struct Reader {
    system: System,
    psi: Psi,
    own: OwnUse,
    /// When the reading before was, and the CPU the agent had used by then; `None` before the first.
    before: Option<(Duration, Duration)>,
}

impl Reader {
    fn new(options: &HostOptions) -> Result<Self, HostError> {
        let mut system =
            System::new().map_err(|error| HostError::Failed(format!("this machine is unreadable: {error}")))?;
        system.refresh_memory();
        system.refresh_cpu_usage();
        Ok(Self { system, psi: Psi::new(&options.root), own: OwnUse::new(&options.root), before: None })
    }

    fn cores(&self) -> Cores {
        Cores(count(self.system.cpus().len()))
    }

    /// Everything but power.
    fn read(&mut self, elapsed: Duration) -> HostReading {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        let own = self.own.cpu();
        let before = self.before.replace((elapsed, own));
        HostReading {
            // sysinfo's share is a difference to the refresh before; the first has none to differ from.
            cpu_used: before.map_or(Reading::Missing, |_| Reading::Measured(self.cpu_used())),
            memory_used: self.memory_used(),
            pressure: self.psi.read(),
            agent_resident: self.own.resident(),
            agent_cpu: before.map_or(Cores::ZERO, |(at, then)| cores_of(own, then, elapsed.saturating_sub(at))),
            ..HostReading::default()
        }
    }

    fn cpu_used(&self) -> Cores {
        self.cores() * (f64::from(self.system.global_cpu_usage()).clamp(0.0, 100.0) / 100.0)
    }

    fn memory_used(&self) -> Reading<Bytes> {
        let (total, available) = (self.system.total_memory(), self.system.available_memory());
        Reading::measured((total > 0).then(|| Bytes(total.saturating_sub(available))))
    }
}

/// CPU used between two readings, as a share of `span`.
fn cores_of(now: Duration, then: Duration, span: Duration) -> Cores {
    if span.is_zero() { Cores::ZERO } else { Cores(now.saturating_sub(then).as_secs_f64() / span.as_secs_f64()) }
}

/// What this process uses, by its own files.
#[derive(Debug)]
struct OwnUse {
    stat: KernelFile,
    status: KernelFile,
}

impl OwnUse {
    fn new(root: &Path) -> Self {
        let file = |name: &str| KernelFile::new(root.join("proc/self").join(name));
        Self { stat: file("stat"), status: file("status") }
    }

    /// CPU used so far: fields 14 and 15 of `/proc/self/stat`, in hundredths of a second on every Linux.
    fn cpu(&mut self) -> Duration {
        let stat = self.stat.text();
        // The program's name (field 2) is in brackets and may hold spaces.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
        Duration::from_millis(ticks.sum::<u64>().saturating_mul(10))
    }

    fn resident(&mut self) -> Bytes {
        let status = self.status.text();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok());
        Bytes::from_kib(kib.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_reading_of_this_machine_makes_sense() {
        let clock = Clock::system();
        let host = RealHost::new(HostOptions::default(), clock.clone()).unwrap();
        assert!(host.cpu_capacity() >= Cores(1.0));
        let first = host.read().await;
        assert!(first.cpu_used.is_missing());
        clock.sleep(Duration::from_millis(300)).await;
        let second = host.read().await;
        let (cpu, memory) = (second.cpu_used.value().unwrap(), second.memory_used.value().unwrap());
        assert!(cpu.is_sane() && cpu <= host.cpu_capacity(), "{cpu}");
        assert!(memory > Bytes::ZERO && memory < host.memory_capacity(), "{memory}");
        assert!(second.agent_resident > Bytes::from_mib(1));
    }

    #[tokio::test]
    async fn the_site_may_say_what_vms_may_use() {
        let options =
            HostOptions { cpu: Some(Cores(0.5)), memory: Some(Bytes::from_mib(512)), ..HostOptions::default() };
        let host = RealHost::new(options, Clock::system()).unwrap();
        assert_eq!((host.cpu_capacity(), host.memory_capacity()), (Cores(0.5), Bytes::from_mib(512)));
    }

    #[test]
    fn the_agents_own_use_is_read_past_a_name_with_spaces() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("proc/self");
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("stat"), "7 (ballast) agent) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 9 0 1\n").unwrap();
        fs::write(own.join("status"), "Name:\tagent\nVmRSS:\t   20480 kB\n").unwrap();
        let mut use_of_it = OwnUse::new(root.path());
        assert_eq!((use_of_it.cpu(), use_of_it.resident()), (Duration::from_secs(2), Bytes::from_mib(20)));
        let half = cores_of(Duration::from_secs(2), Duration::from_millis(1500), Duration::from_secs(1));
        assert_eq!(half, Cores(0.5));
    }
}
