//! The migration model held against migrations that were measured: 3511 of OpenStack on KVM, with three sizes of vm, with and
//! without shared storage and tunnelling (origin and licence: `sim/traces/README.md`).
//!
//! What a site's set-up adds before and after, and the rate its links really reach, no model can know: both are fitted by
//! a straight line on the odd rounds of the experiment, and the model is judged on the even ones. The benchmark `migrations`
//! prints the table; nothing else uses this.

use std::collections::BTreeMap;

use ballast_core::{
    migration_cost::{self, CopyJob, PREPARATION, SWITCH_OVER},
    units::{Bytes, BytesPerSec, count},
};

use crate::trace::{TraceError, table::Table, text_of};

const OPENSTACK: &[u8] = include_bytes!("../traces/migrations-openstack.csv.gz");

/// Rate at which the guests wrote memory: they ran a stream of 100 kB/s through Spark, which its buffers multiply.
const WRITES: BytesPerSec = BytesPerSec(1.0e6);

/// Bandwidth that the hosts' link is named after, for the rule of thumb RAM ÷ bandwidth: 10 Gbit/s.
const LINK: f64 = 1.25e9;

/// One measured migration.
#[derive(Debug, Clone, PartialEq)]
struct Measured {
    set_up: String,
    gib: u64,
    round: usize,
    seconds: f64,
}

/// How the model does for one set-up and size of vm, on migrations it was not fitted on.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Storage, and whether the stream was tunnelled through libvirt.
    pub set_up: String,
    /// Memory of the vm, GiB.
    pub gib: u64,
    /// Migrations judged.
    pub judged: usize,
    /// Their median duration, seconds.
    pub median_s: f64,
    /// What the model says, seconds.
    pub model_s: f64,
    /// Median relative error of the model.
    pub error: f64,
    /// Median relative error of RAM ÷ bandwidth.
    pub thumb_error: f64,
}

/// Fits and judges.
///
/// # Errors
/// [`TraceError`] where the file of the repository was damaged.
pub fn openstack() -> Result<Vec<Row>, TraceError> {
    let mut groups: BTreeMap<(String, u64), Vec<Measured>> = BTreeMap::new();
    for one in read()? {
        groups.entry((one.set_up.clone(), one.gib)).or_default().push(one);
    }
    let fits: BTreeMap<&String, (f64, f64)> =
        groups.keys().map(|(set_up, _)| (set_up, line(&fitted_on(&groups, set_up)))).collect();
    Ok(groups.iter().map(|((set_up, gib), all)| row(set_up, *gib, all, fits[set_up])).collect())
}

fn read() -> Result<Vec<Measured>, TraceError> {
    let (file, columns) = ("migrations-openstack.csv.gz", ["storage", "tunneling", "flavor", "iteration"]);
    let text = text_of(file, OPENSTACK)?;
    let row = |row: Result<crate::trace::table::Row<'_>, TraceError>| {
        let row = row?;
        Ok(Measured {
            set_up: format!("{}, tunnelling {}", row.text(0), row.text(1)),
            gib: row.whole(6)? as u64,
            round: row.whole(3)?,
            seconds: f64::from(row.number(4)?),
        })
    };
    Table::new(file, &text, &columns)?.rows().map(row).collect()
}

/// Memory and median duration of every size of vm of a set-up, of the odd rounds.
fn fitted_on(groups: &BTreeMap<(String, u64), Vec<Measured>>, set_up: &str) -> Vec<(f64, f64)> {
    let of = groups.iter().filter(|((other, _), _)| other == set_up);
    of.map(|((_, gib), all)| (Bytes::from_gib(*gib).as_f64(), median(rounds(all, 1)))).collect()
}

fn rounds(all: &[Measured], rest: usize) -> Vec<f64> {
    all.iter().filter(|one| one.round % 2 == rest).map(|one| one.seconds).collect()
}

/// Seconds at no memory, and seconds per byte, by least squares.
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count(points.len().max(1));
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let covariance: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let variance: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let slope = covariance / variance.max(f64::MIN_POSITIVE);
    (y - slope * x, slope)
}

fn row(set_up: &str, gib: u64, all: &[Measured], (fixed, per_byte): (f64, f64)) -> Row {
    let memory = Bytes::from_gib(gib);
    let job = CopyJob {
        memory,
        dirty_rate: WRITES,
        working_set: memory.scale(0.1),
        bandwidth: BytesPerSec(1.0 / per_byte),
        downtime_start: std::time::Duration::from_millis(500),
        downtime_max: std::time::Duration::from_millis(500),
    };
    // The line has the model's own set-up in it.
    let own = (PREPARATION + SWITCH_OVER).as_secs_f64();
    let model_s = migration_cost::estimate(&job).duration.as_secs_f64() - own + fixed;
    let judged = rounds(all, 0);
    let error = |says: f64| median(judged.iter().map(|seconds| (says - seconds).abs() / seconds).collect());
    Row {
        set_up: set_up.to_owned(),
        gib,
        judged: judged.len(),
        median_s: median(judged.clone()),
        model_s,
        error: error(model_s),
        thumb_error: error(memory.as_f64() / LINK),
    }
}

/// The middle value; of nothing, nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_within_a_tenth_of_measured_migrations_and_the_rule_of_thumb_is_not() {
        let rows = openstack().unwrap();
        assert_eq!((rows.len(), rows.iter().map(|row| row.judged).sum::<usize>() > 1500), (12, true));
        for row in rows {
            assert!(row.error <= 0.10, "{row:?}");
            assert!(row.thumb_error >= 3.0 * row.error, "{row:?}");
        }
    }
}
