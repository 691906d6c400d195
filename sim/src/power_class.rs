//! Classes of hosts by name: cores, memory, and the power they draw at every load, from published SPECpower results.
//!
//! Scenario files name them; `sim/power/README.md` tells the origin of every figure and which are assumptions. Nothing here
//! simulates: the curve is core's.

use std::sync::OnceLock;

use ballast_core::{
    power::{POINTS, PowerCurve},
    units::{Bytes, Cores, Watts, seconds},
};

use crate::trace::{
    TraceError,
    table::{Row, Table},
};

const TABLE: &str = include_str!("../power/classes.csv");

/// Columns of the table; the eleven points of the curve follow.
const COLUMNS: [&str; 8] = ["id", "hardware", "cores", "memory_gib", "asleep_w", "wake_s", "fall_asleep_s", "p0"];

/// One class of host.
#[derive(Debug, Clone, PartialEq)]
pub struct PowerClass {
    /// The name scenarios use.
    pub id: String,
    /// Its hardware, for people.
    pub hardware: String,
    /// Its physical cores.
    pub cores: Cores,
    /// Its memory where a scenario says nothing else.
    pub memory: Bytes,
    /// The power it draws, awake and asleep, and how long it takes to change.
    pub curve: PowerCurve,
}

/// Every class, in the order of the table: older ones first within a family.
pub fn all() -> &'static [PowerClass] {
    static READ: OnceLock<Vec<PowerClass>> = OnceLock::new();
    // The table is compiled in, and a test reads all of it: it cannot be another one at run time.
    #[allow(clippy::expect_used)]
    READ.get_or_init(|| parse("classes.csv", TABLE).expect("the table that is compiled in is whole"))
}

/// The class of that name.
pub fn by_name(id: &str) -> Option<&'static PowerClass> {
    all().iter().find(|class| class.id == id)
}

/// Reads a table of classes.
///
/// # Errors
/// [`TraceError`] with line and column of the first thing that is wrong.
pub fn parse(file: &str, text: &str) -> Result<Vec<PowerClass>, TraceError> {
    Table::new(file, text, &COLUMNS)?.rows().map(|row| class(&row?)).collect()
}

fn class(row: &Row<'_>) -> Result<PowerClass, TraceError> {
    let mut points = [Watts::ZERO; POINTS];
    for (index, point) in points.iter_mut().enumerate() {
        *point = Watts(row.double(7 + index)?);
    }
    let span = |index| row.double(index).map(seconds);
    let curve = PowerCurve::new(points, Watts(row.double(4)?), span(5)?, span(6)?);
    Ok(PowerClass {
        id: row.text(0).into(),
        hardware: row.text(1).into(),
        cores: Cores(row.double(2)?),
        memory: Bytes::from_gib(row.whole(3)? as u64),
        curve: curve.map_err(|error| row.error(7, error.to_string()))?,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_shipped_table_is_whole_and_names_each_class_once() {
        let names: BTreeSet<&str> = all().iter().map(|class| class.id.as_str()).collect();
        assert_eq!((names.len(), all().len()), (15, 15));
        assert!(all().iter().all(|class| class.cores.get() >= 2.0 && class.curve.wake_time().as_secs() >= 60));
        assert!(by_name("epyc-9999").is_none());
    }

    #[test]
    fn the_benchmarks_machines_draw_what_the_benchmark_says() {
        let points = |id| by_name(id).unwrap().curve.points().map(Watts::get);
        let g4 = [86.0, 89.4, 92.6, 96.0, 99.5, 102.0, 106.0, 108.0, 112.0, 114.0, 117.0];
        let g5 = [93.7, 97.0, 101.0, 105.0, 110.0, 116.0, 121.0, 125.0, 129.0, 133.0, 135.0];
        assert_eq!((points("hp-ml110-g4"), points("hp-ml110-g5")), (g4, g5));
        assert_eq!(by_name("epyc-7742").unwrap().curve.points(), PowerCurve::epyc_7742().points());
    }

    #[test]
    fn a_curve_that_falls_is_refused_with_its_line() {
        let broken = TABLE.replacen("89.4", "80", 1);
        let error = parse("classes.csv", &broken).unwrap_err().to_string();
        assert_eq!(
            error,
            "classes.csv, line 2, column p0: power falls from 86 W to 80 W at 10 % load: a curve must not fall"
        );
    }

    #[test]
    fn a_time_that_is_no_number_is_refused_with_line_and_column() {
        let error = parse("classes.csv", &TABLE.replacen(",120,", ",soon,", 1)).unwrap_err().to_string();
        assert_eq!(error, "classes.csv, line 2, column wake_s: \"soon\" found, a number of at least 0 is needed");
    }
}
