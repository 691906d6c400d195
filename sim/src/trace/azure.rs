//! Arrivals and lifetimes of vms, as Azure published them in 2017: one row per vm, in order of arrival.
//!
//! Arrivals are rounded down to slots of five minutes and lifetimes to bins that widen (five minutes, an hour, a day); what
//! is lost by that a scenario draws anew. What the vms did is not recorded here.

use std::time::Duration;

use ballast_core::units::{Bytes, seconds};

use super::{
    TraceError,
    table::{Row, Table},
};

const COLUMNS: [&str; 6] = ["arrival_s", "batch", "vcpus", "mem_gb", "duration_lower_s", "censored"];

/// Lower ends of the lifetimes' bins where the step widens: up to an hour they are 300 s wide, up to a day an hour, then a
/// day.
const HOUR: u64 = 3600;
const DAY: u64 = 86_400;

/// One vm that arrives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrival {
    /// When, from the beginning of the trace.
    pub at: Duration,
    /// Which request it came with: vms of one batch were asked for together.
    pub batch: usize,
    /// Its virtual CPUs.
    pub vcpus: u32,
    /// Its memory.
    pub memory: Bytes,
    /// Shortest and longest time it may have lived; `None` for the longest where the trace ended before it did.
    pub lifetime: (Duration, Option<Duration>),
}

/// Reads arrivals.
///
/// # Errors
/// [`TraceError`] with line and column of the first thing that is wrong.
pub fn parse(file: &str, text: &str) -> Result<Vec<Arrival>, TraceError> {
    let table = Table::new(file, text, &COLUMNS)?;
    let mut all: Vec<Arrival> = Vec::new();
    for row in table.rows() {
        let row = row?;
        let arrival = arrival(&row)?;
        if let Some(before) = all.last().filter(|before| before.at > arrival.at) {
            let what = format!("{} after {}, a rising one is needed", arrival.at.as_secs(), before.at.as_secs());
            return Err(row.error(0, what));
        }
        all.push(arrival);
    }
    if all.is_empty() { Err(table.error(0, "-", "no rows")) } else { Ok(all) }
}

fn arrival(row: &Row<'_>) -> Result<Arrival, TraceError> {
    let vcpus = row.whole(2)?;
    let fits = u32::try_from(vcpus).ok().filter(|vcpus| (1..=1024).contains(vcpus));
    let memory = row.double(3)?;
    if !(0.1..=16_384.0).contains(&memory) {
        return Err(row.error(3, format!("{memory} GB found, 0.1 to 16384 are needed")));
    }
    let lower = row.whole(4)? as u64;
    let longest = match row.text(5) {
        "0" => Some(Duration::from_secs(upper(lower))),
        "1" => None,
        other => return Err(row.error(5, format!("{other:?} found, 0 or 1 is needed"))),
    };
    Ok(Arrival {
        at: seconds(row.double(0)?),
        batch: row.whole(1)?,
        vcpus: fits.ok_or_else(|| row.error(2, format!("{vcpus} found, 1 to 1024 are needed")))?,
        memory: Bytes::from_f64(memory * 1024.0 * 1024.0 * 1024.0),
        lifetime: (Duration::from_secs(lower), longest),
    })
}

/// Upper end of the bin that begins at `lower`.
fn upper(lower: u64) -> u64 {
    lower.saturating_add(if lower < HOUR {
        300
    } else if lower < DAY {
        HOUR
    } else {
        DAY
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rows: &str) -> Result<Vec<Arrival>, TraceError> {
        parse("a.csv", &format!("{}\n{rows}", COLUMNS.join(",")))
    }

    #[test]
    fn a_row_is_one_vm_with_the_bounds_of_its_lifetime() {
        let all = read("1800000,3,8,14,300,0\n1800300,4,1,0.75,3600,0\n1800300,4,1,0.75,86400,1\n").unwrap();
        assert_eq!((all[0].vcpus, all[0].memory, all[0].batch), (8, Bytes::from_gib(14), 3));
        assert_eq!(all[0].lifetime, (Duration::from_secs(300), Some(Duration::from_secs(600))));
        assert_eq!(all[1].lifetime, (Duration::from_secs(3600), Some(Duration::from_secs(7200))));
        assert_eq!(all[2].lifetime, (Duration::from_secs(86_400), None));
    }

    #[test]
    fn malformed_arrivals_are_refused_with_line_and_column() {
        let cases = [
            ("5,0,1,2,300,2\n", "a.csv, line 2, column censored: \"2\" found, 0 or 1 is needed"),
            ("5,0,0,2,300,0\n", "a.csv, line 2, column vcpus: 0 found, 1 to 1024 are needed"),
            ("5,0,1,0,300,0\n", "a.csv, line 2, column mem_gb: 0 GB found, 0.1 to 16384 are needed"),
            ("5,0,1,2,300,0\n4,0,1,2,300,0\n", "a.csv, line 3, column arrival_s: 4 after 5, a rising one is needed"),
            ("x,0,1,2,300,0\n", "a.csv, line 2, column arrival_s: \"x\" found, a number of at least 0 is needed"),
            ("5,0,1,2\n", "a.csv, line 2, column 4: 4 fields found, 6 are needed"),
            ("", "a.csv, line 0, column -: no rows"),
        ];
        for (rows, expected) in cases {
            assert_eq!(read(rows).unwrap_err().to_string(), expected);
        }
    }
}
