//! Recordings as histories: what forecasters learn from and are judged on. Gaps stay gaps, nothing is made up, and a
//! reading above the nominal capacity stays what it is.

mod long;
#[cfg(feature = "parquet")]
mod parquet;
mod wide;

use std::collections::BTreeMap;

use ballast_core::history::Shape;

use super::{TraceError, table::Table};

pub use long::{csv, write_csv};
#[cfg(feature = "parquet")]
pub use parquet::parquet;
pub use wide::{google, planetlab};

/// Shapes of vms by name, from a table with the columns vm, cores and `mem_cap_mib`, among any others.
///
/// # Errors
/// [`TraceError`] with line and column of the first thing that is wrong.
pub fn shapes(file: &str, text: &str) -> Result<BTreeMap<String, Shape>, TraceError> {
    let table = Table::new(file, text, &["vm"])?;
    let (cores, memory) = (table.column("cores")?, table.column("mem_cap_mib")?);
    let mut shapes = BTreeMap::new();
    for row in table.rows() {
        let row = row?;
        let positive = |index| Ok::<_, TraceError>(Some(row.number(index)?).filter(|value| *value > 0.0));
        let shape = Shape { vcpus: positive(cores)?, memory_mib: positive(memory)? };
        if shapes.insert(row.text(0).to_owned(), shape).is_some() {
            return Err(row.error(0, format!("vm {:?} has more than one row", row.text(0))));
        }
    }
    Ok(shapes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_found_by_the_names_of_their_columns() {
        let text = "vm,split,cores,cpu_cap_mhz,mem_cap_mib\n7,dev,2,5200,1000\n8,dev,4,0,0\n";
        let shapes = shapes("vms.csv", text).unwrap();
        assert_eq!(shapes["7"], Shape { vcpus: Some(2.0), memory_mib: Some(1000.0) });
        assert_eq!(shapes["8"].memory_mib, None);
    }

    #[test]
    fn a_table_without_sizes_is_refused_by_the_name_of_what_is_missing() {
        let error = shapes("vms.csv", "vm,cores\n7,2\n").unwrap_err().to_string();
        assert_eq!(error, "vms.csv, line 1, column mem_cap_mib: the column is missing");
    }
}
