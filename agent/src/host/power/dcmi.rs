//! Wall power from the BMC by IPMI DCMI, through the site's `ipmitool` and the machine's own way to its BMC.

use std::path::PathBuf;

use ballast_core::units::Watts;
use ballast_daemon::clock::Clock;

use super::asked::{DEADLINE, Meter};
use crate::host::command;

/// Runs a program that prints a DCMI power reading.
#[derive(Debug)]
pub(super) struct Dcmi {
    /// With its arguments.
    pub(super) program: Vec<String>,
    /// Where none of these is there, nothing can answer it.
    pub(super) devices: Vec<PathBuf>,
}

impl Meter for Dcmi {
    const NAME: &'static str = "dcmi";

    async fn ask(&mut self, clock: &Clock) -> Result<Watts, String> {
        if !self.devices.iter().any(|device| device.exists()) {
            return Err("no IPMI device".to_owned());
        }
        let printed = command::run(&self.program, DEADLINE, clock).await?;
        parse(&printed).ok_or_else(|| "no power reading in its output".to_owned())
    }
}

/// The instantaneous reading in what `ipmitool dcmi power reading` prints. A BMC that does not measure says 0.
fn parse(text: &str) -> Option<Watts> {
    let line = text.lines().find(|line| line.trim_start().starts_with("Instantaneous power reading"))?;
    let (_, value) = line.split_once(':')?;
    let watts: f64 = value.split_whitespace().next()?.parse().ok()?;
    (watts > 0.0).then_some(Watts(watts))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "
    Instantaneous power reading:                   220 Watts
    Minimum during sampling period:                 40 Watts
    Maximum during sampling period:                400 Watts
    Average power reading over sample period:      180 Watts
    IPMI timestamp:                           Mon Nov 23 16:40:00 2026
    Sampling period:                          00000001 Seconds.
    Power reading state is:                   activated
";

    #[test]
    fn the_reading_of_the_instant_counts() {
        assert_eq!(parse(PRINTED), Some(Watts(220.0)));
        assert_eq!(parse(&PRINTED.replace("220", "0")), None);
        assert_eq!(parse("DCMI request failed because: Invalid command"), None);
    }

    #[tokio::test]
    async fn what_the_program_prints_is_the_answer_and_what_it_complains_of_the_reason() {
        let clock = Clock::system();
        let ask = async |words: &[&str]| {
            let program = words.iter().map(|word| (*word).to_owned()).collect();
            Dcmi { program, devices: vec!["/".into()] }.ask(&clock).await
        };
        assert_eq!(ask(&["printf", "Instantaneous power reading: 150 Watts"]).await, Ok(Watts(150.0)));
        assert!(ask(&["true"]).await.unwrap_err().contains("no power reading"));
        assert!(ask(&["false"]).await.unwrap_err().starts_with("false failed"));
    }

    #[tokio::test]
    async fn without_a_device_no_program_is_run() {
        let program = vec!["printf".to_owned(), "Instantaneous power reading: 150 Watts".to_owned()];
        let answer = Dcmi { program, devices: vec!["/nowhere/ipmi0".into()] }.ask(&Clock::system()).await;
        assert_eq!(answer, Err("no IPMI device".to_owned()));
    }
}
