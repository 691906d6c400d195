//! One `PlanetLab` day in wide form as plain series: one row per vm, CPU in whole percent, one column per slot.
//!
//! Private and small: scenarios ask for [`planetlab_series`] and nothing else, so that it can be answered from elsewhere.

use super::{Series, TraceError, google::slot, table::Table};

/// Reads a day; the series stand in order of their vms' names.
///
/// # Errors
/// [`TraceError`] with line and column of the first thing that is wrong.
pub(crate) fn planetlab_series(file: &str, text: &str) -> Result<Vec<Series>, TraceError> {
    let table = Table::new(file, text, &["vm", "seen_in_dev", "t0"])?;
    let mut all: Vec<Series> = Vec::new();
    for row in table.rows() {
        let row = row?;
        let share = |index| {
            let percent = row.whole(index)?;
            let fits = u8::try_from(percent).ok().filter(|percent| *percent <= 100);
            let percent = fits.ok_or_else(|| row.error(index, format!("{percent} found, 0 to 100 are needed")))?;
            Ok(slot(f32::from(percent) / 100.0, 0.0))
        };
        let slots = (2..row.len()).map(share).collect::<Result<_, TraceError>>()?;
        all.push(Series::new(row.text(0).into(), slots));
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    if all.is_empty() { Err(table.error(0, "-", "no rows")) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_series_in_order_of_name() {
        let all = planetlab_series("p.csv", "vm,seen_in_dev,t0,t1\nb,1,0,99\na,1,7,8\n").unwrap();
        assert_eq!((all[0].name.as_str(), all[1].slots[1].cpu), ("a", 0.99));
    }

    #[test]
    fn a_malformed_day_is_refused_with_line_and_column() {
        let read =
            |rows: &str| planetlab_series("p.csv", &format!("vm,seen_in_dev,t0\n{rows}")).unwrap_err().to_string();
        assert_eq!(read("a,1,101\n"), "p.csv, line 2, column t0: 101 found, 0 to 100 are needed");
        assert_eq!(read("a,1,4.5\n"), "p.csv, line 2, column t0: \"4.5\" found, a whole number is needed");
        assert_eq!(read(""), "p.csv, line 0, column -: no rows");
    }
}
