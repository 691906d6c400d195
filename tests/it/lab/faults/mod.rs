//! Faults in the middle of real migrations, each met at a moment that is chosen: who lives on is whole and runs once, what is told
//! is what happened, no order stays open, and nothing is undefined that runs.
//!
//! The drill kills at random moments of a seed; here each moment is a test. What they share is `ballast_tests::trial`.

mod agent;
mod libvirtd;
mod link;
mod people;
mod qemu;

use ballast_proto::v1::{EndingKind, Outcome};
use ballast_tests::{lab::Lab, trial::Trial};

/// A fleet in the lab, unless this machine cannot hold one.
async fn trial(test: &str, hosts: usize, vms: &[(&str, usize)]) -> Option<Trial> {
    labelled(test, hosts, vms, &[]).await
}

/// The same with vms that have labels of the lab's script.
async fn labelled(test: &str, hosts: usize, vms: &[(&str, usize)], labels: &[&str]) -> Option<Trial> {
    let trial = Trial::begin(&format!("lab::faults::{test}"), hosts, vms, labels).await.unwrap();
    if trial.is_some() {
        println!("== {test}");
    }
    trial
}

fn hosts() -> (String, String) {
    (Lab::host(1), Lab::host(2))
}

/// Fails where a move ended otherwise.
#[track_caller]
fn ended(outcome: &Outcome, ending: EndingKind) {
    println!("  {:?}: {}", outcome.ending(), outcome.reason);
    assert_eq!(outcome.ending(), ending, "{outcome:?}");
}
