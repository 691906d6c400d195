//! Who really runs: the QEMU processes of this machine and the time their processors have had. Asks neither ballast nor
//! libvirt, and so sees what is there while both are away.

use std::{collections::BTreeMap, fs, path::Path};

/// Time of a processor, below which it stood still: one that waits for its migration is woken now and then.
const STILL_NANOS: u64 = 4_000_000;

/// The time each QEMU process has run its vm, in nanoseconds, by the vm's uuid and the process's number.
pub type Ran = BTreeMap<String, BTreeMap<u32, u64>>;

/// Reads the machine.
pub fn look() -> Ran {
    let mut ran = Ran::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        if let Some((pid, uuid)) = number.and_then(|pid| Some((pid, uuid(&entry.path())?))) {
            ran.entry(uuid).or_default().insert(pid, processor_nanos(&entry.path()));
        }
    }
    ran
}

fn uuid(process: &Path) -> Option<String> {
    let line = fs::read(process.join("cmdline")).ok()?;
    let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    if !words.next()?.contains("qemu-system") {
        return None;
    }
    words.find(|word| word == "-uuid")?;
    words.next().map(|uuid| uuid.into_owned())
}

/// The threads of the vm's processors are named "CPU 0/TCG" or "CPU 0/KVM".
fn processor_nanos(process: &Path) -> u64 {
    let threads = fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    let nanos = threads.filter_map(|thread| {
        let name = fs::read_to_string(thread.path().join("comm")).ok()?;
        let schedule = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        name.starts_with("CPU ").then(|| schedule.split_whitespace().next()?.parse::<u64>().ok()).flatten()
    });
    nanos.sum()
}

/// Looks again and again for a vm that runs twice.
#[derive(Debug, Default)]
pub struct Witness {
    last: Ran,
    /// The vms of which two processes ran since the look before.
    suspects: Vec<String>,
}

impl Witness {
    /// The vms that ran twice: of which two processes ran between the last two looks, and between the two before. A vm that
    /// changes its host does so in one of these spans at most.
    pub fn look_again(&mut self) -> Vec<String> {
        let ran = look();
        let now: Vec<String> =
            ran.iter().filter(|(vm, _)| self.running(vm, &ran) > 1).map(|(vm, _)| vm.clone()).collect();
        let twice = now.iter().filter(|vm| self.suspects.contains(vm)).cloned().collect();
        (self.last, self.suspects) = (ran, now);
        twice
    }

    fn running(&self, vm: &str, now: &Ran) -> usize {
        let Some((now, then)) = now.get(vm).zip(self.last.get(vm)) else { return 0 };
        let ran = |(pid, nanos): (&u32, &u64)| {
            then.get(pid).is_some_and(|before| nanos.saturating_sub(*before) > STILL_NANOS)
        };
        now.iter().filter(|one| ran(*one)).count()
    }
}
