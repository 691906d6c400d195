//! Figures of jobs as real hosts gave them (libvirt 9.0, QEMU 7.2), read back.

use super::*;

/// Final figures of a migration of 128 MiB, from the destination.
const COMPLETED: &str = "\
operation=5
time_elapsed=4132
downtime=283
data_total=135012352
data_processed=93020160
data_remaining=0
memory_bps=219975843
memory_dirty_rate=12
memory_page_size=4096
memory_iteration=3
";

fn recorded(text: &str) -> Params {
    let value = |text: &str| text.parse().map_or_else(|_| Value::Text(text.into()), Value::Unsigned);
    text.lines().filter_map(|line| line.split_once('=')).map(|(name, text)| (name.to_owned(), value(text))).collect()
}

#[test]
fn final_figures_carry_downtime_and_data() {
    let figures = figures(&recorded(COMPLETED));
    assert_eq!(figures.kind, JobKind::Leaving);
    assert_eq!(figures.downtime, Some(Duration::from_millis(283)));
    assert_eq!(figures.copied, Bytes(93_020_160));
    assert_eq!(figures.iteration, 3);
    assert_eq!(figures.dirty_rate, BytesPerSec(49_152.0));
}

#[test]
fn no_job_is_not_a_job_of_zeroes() {
    assert_eq!(job(0, &Params::default()), None);
    assert_eq!(job(2, &Params::default()).map(|job| job.iteration), Some(0));
}

#[test]
fn negative_numbers_are_missing() {
    assert_eq!([Value::Signed(-1), Value::Signed(7)].map(|value| value.number()), [None, Some(7)]);
}
