//! Pressure stall information from `/proc/pressure`. Called by the real host at every reading.

use std::path::Path;

use ballast_core::{
    sample::{Pressure, Reading},
    units::Ratio,
};

use super::kernel_file::KernelFile;

/// The kernel's files of it.
#[derive(Debug)]
pub(super) struct Psi {
    cpu: KernelFile,
    memory: KernelFile,
    io: KernelFile,
}

impl Psi {
    /// Those below `root`.
    pub(super) fn new(root: &Path) -> Self {
        let file = |resource: &str| KernelFile::new(root.join("proc/pressure").join(resource));
        Self { cpu: file("cpu"), memory: file("memory"), io: file("io") }
    }

    /// The pressure now; what a kernel does not offer is missing.
    pub(super) fn read(&mut self) -> Pressure {
        let (cpu, memory, io) = (self.cpu.text(), self.memory.text(), self.io.text());
        Pressure {
            cpu_some: share(&cpu, "some"),
            memory_some: share(&memory, "some"),
            memory_full: share(&memory, "full"),
            io_some: share(&io, "some"),
            io_full: share(&io, "full"),
        }
    }
}

/// The ten-second mean of one line, as in `some avg10=1.53 avg60=0.97 avg300=0.25 total=4712345`.
fn share(text: &str, kind: &str) -> Reading<Ratio> {
    let line = text.lines().find_map(|line| line.strip_prefix(kind));
    let percent = line
        .and_then(|line| line.split_whitespace().find_map(|field| field.strip_prefix("avg10=")))
        .and_then(|percent| percent.parse::<f64>().ok())
        .filter(|percent| (0.0..=100.0).contains(percent));
    Reading::measured(percent.map(|percent| Ratio(percent / 100.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_share_of_the_last_ten_seconds() {
        let text = "some avg10=12.50 avg60=0.97 avg300=0.25 total=4712345\nfull avg10=0.00 avg60=0.00 total=0\n";
        assert_eq!(share(text, "some"), Reading::Measured(Ratio(0.125)));
        assert_eq!(share(text, "full"), Reading::Measured(Ratio(0.0)));
    }

    #[test]
    fn what_the_kernel_does_not_say_is_missing() {
        assert_eq!(share("some avg10=1.00\n", "full"), Reading::Missing);
        assert_eq!(share("some avg10=nan\n", "some"), Reading::Missing);
        assert_eq!(Psi::new(Path::new("/nowhere")).read(), Pressure::default());
    }
}
