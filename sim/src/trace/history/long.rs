//! The long form: one row per vm and slot, columns found by name, in any order, the values' columns all optional.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use ballast_core::history::{CHANNELS, History, Observed, Shape};

use crate::trace::{TraceError, table::Table};

/// Columns of the values, in the order of a slot's channels.
pub(super) const VALUES: [&str; CHANNELS] =
    ["cpu_pct", "mem_mib", "disk_r_kbs", "disk_w_kbs", "net_rx_kbs", "net_tx_kbs"];

/// The column of the capacity at the moment, which wobbles: the table of vms is preferred.
pub(super) const CAPACITY: &str = "mem_cap_mib";

/// The column of a vm's virtual CPUs; the table of vms is preferred.
pub(super) const CORES: &str = "cores";

/// Slots that a recording may span: twenty years.
const SPAN_MAX: u32 = 20 * 366 * 288;

/// What one row says: values in the file's units, NaN where the field is empty.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) step: u32,
    pub(super) values: [f32; CHANNELS],
    pub(super) capacity_mib: f32,
    pub(super) cores: f32,
}

/// Histories in the making, row by row, in any order.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    vms: BTreeMap<String, Vec<Row>>,
}

impl Assembly {
    pub(super) fn take(&mut self, vm: &str, row: Row) {
        match self.vms.get_mut(vm) {
            Some(rows) => rows.push(row),
            None => drop(self.vms.insert(vm.to_owned(), vec![row])),
        }
    }

    /// The histories in order of name.
    ///
    /// # Errors
    /// Where a vm has two rows of one step, or spans more than twenty years.
    pub(super) fn finish(self, file: &str, shapes: &BTreeMap<String, Shape>) -> Result<Vec<History>, TraceError> {
        let wrong = |what: String| TraceError { file: file.into(), line: 0, column: "step".into(), what };
        if self.vms.is_empty() {
            return Err(wrong("no rows".into()));
        }
        self.vms.into_iter().map(|(vm, rows)| history(vm, rows, shapes).map_err(wrong)).collect()
    }
}

fn history(name: String, mut rows: Vec<Row>, shapes: &BTreeMap<String, Shape>) -> Result<History, String> {
    rows.sort_by_key(|row| row.step);
    if let Some(pair) = rows.windows(2).find(|pair| pair[0].step == pair[1].step) {
        return Err(format!("vm {name:?} has two rows of step {}", pair[0].step));
    }
    let shape = shapes.get(&name).copied().unwrap_or_else(|| shape_from(&rows));
    let (first, last) = (rows.first().map_or(0, |row| row.step), rows.last().map_or(0, |row| row.step));
    if last - first > SPAN_MAX {
        return Err(format!("vm {name:?} spans steps {first} to {last}, at most {SPAN_MAX} steps may be spanned"));
    }
    let mut slots = Vec::with_capacity(rows.len());
    for row in &rows {
        let index = usize::try_from(row.step - first).map_err(|error| error.to_string())?;
        slots.resize(index, Observed::MISSING);
        slots.push(observed(row, shape.memory_mib));
    }
    Ok(History { name, shape, first, slots })
}

/// Without a table of vms a vm is of the largest size that its rows tell.
fn shape_from(rows: &[Row]) -> Shape {
    let largest = |of: fn(&Row) -> f32| Some(rows.iter().map(of).fold(f32::NAN, f32::max)).filter(|size| *size > 0.0);
    Shape { vcpus: largest(|row| row.cores), memory_mib: largest(|row| row.capacity_mib) }
}

/// Percents to shares and KB/s to bytes per second. A vm whose capacity is 0 was off: it wanted nothing.
fn observed(row: &Row, memory_mib: Option<f32>) -> Observed {
    if row.capacity_mib == 0.0 {
        return Observed::from_channels([0.0; CHANNELS]);
    }
    let [cpu, memory, disk_read, disk_write, net_rx, net_tx] = row.values;
    let memory = memory_mib.map_or(f32::NAN, |mib| memory / mib);
    let rates = [disk_read, disk_write, net_rx, net_tx].map(|kbs| kbs * 1000.0);
    Observed::from_channels([cpu / 100.0, memory, rates[0], rates[1], rates[2], rates[3]])
}

/// Reads a table in CSV. A vm that `shapes` does not name has the size that its rows tell, or an unknown one.
///
/// # Errors
/// [`TraceError`] with line and column of the first thing that is wrong.
pub fn csv(file: &str, text: &str, shapes: &BTreeMap<String, Shape>) -> Result<Vec<History>, TraceError> {
    let table = Table::new(file, text, &[])?;
    let (vm, step) = (table.column("vm")?, table.column("step")?);
    let values = VALUES.map(|name| table.column(name).ok());
    let [capacity, cores] = [CAPACITY, CORES].map(|name| table.column(name).ok());
    let mut assembly = Assembly::default();
    for row in table.rows() {
        let row = row?;
        let number = |column: Option<usize>| match column {
            Some(index) if !row.text(index).is_empty() => row.number(index),
            _ => Ok(f32::NAN),
        };
        let whole = row.whole(step)?;
        let step =
            u32::try_from(whole).map_err(|_| row.error(step, format!("{whole} found, at most 2^32 is possible")))?;
        let mut read = [f32::NAN; CHANNELS];
        for (value, column) in read.iter_mut().zip(values) {
            *value = number(column)?;
        }
        let (capacity_mib, cores) = (number(capacity)?, number(cores)?);
        assembly.take(row.text(vm), Row { step, values: read, capacity_mib, cores });
    }
    assembly.finish(file, shapes)
}

/// Writes histories as such a table: what [`csv`] reads back. A slot of which nothing is known has no row.
///
/// # Errors
/// Where `out` cannot be written.
pub fn write_csv(histories: &[History], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "vm,step,{CORES},{CAPACITY},{}", VALUES.join(","))?;
    for history in histories {
        let Shape { vcpus, memory_mib } = history.shape;
        let size = format!("{},{}", field(vcpus.unwrap_or(f32::NAN)), field(memory_mib.unwrap_or(f32::NAN)));
        for (step, slot) in (history.first..).zip(&history.slots).filter(|(_, slot)| !slot.is_missing()) {
            let [cpu, memory, rates @ ..] = slot.channels();
            let values = [cpu * 100.0, memory * memory_mib.unwrap_or(f32::NAN)];
            let values = values.into_iter().chain(rates.into_iter().map(|rate| rate / 1000.0));
            let values: Vec<String> = values.map(field).collect();
            writeln!(out, "{},{step},{size},{}", history.name, values.join(","))?;
        }
    }
    Ok(())
}

/// An empty field is a missing one.
fn field(value: f32) -> String {
    if value.is_nan() { String::new() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<History>, TraceError> {
        let shapes = [("7".to_owned(), Shape { vcpus: Some(2.0), memory_mib: Some(1000.0) })];
        csv("t.csv", text, &shapes.into())
    }

    #[test]
    fn columns_are_found_by_name_and_gaps_stay_gaps() {
        let all = read("step,vm,mem_mib,cpu_pct\n12,7,500,150\n10,7,250,50\n").unwrap();
        let cpu: Vec<f32> = all[0].slots.iter().map(|slot| slot.cpu).collect();
        assert_eq!((all[0].first, cpu[0], cpu[1].is_nan(), cpu[2]), (10, 0.5, true, 1.5));
        assert_eq!((all[0].slots[2].memory, all[0].slots[2].net_rx.is_nan()), (0.5, true));
    }

    #[test]
    fn an_empty_field_is_missing_and_a_vm_of_no_capacity_wanted_nothing() {
        let all = read("vm,step,cpu_pct,mem_cap_mib\n8,1,,64\n8,2,5,0\n").unwrap();
        assert!(all[0].slots[0].cpu.is_nan());
        assert_eq!((all[0].slots[1].cpu, all[0].shape.memory_mib), (0.0, Some(64.0)));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let all = read("vm,step,cpu_pct,mem_mib,net_tx_kbs\n7,1,5,250,\n7,3,6,,1.5\n").unwrap();
        let mut written = Vec::new();
        write_csv(&all, &mut written).unwrap();
        let again = csv("t.csv", std::str::from_utf8(&written).unwrap(), &BTreeMap::new()).unwrap();
        // Missing values are no numbers, which equal nothing: both are compared as text.
        assert_eq!(format!("{again:?}"), format!("{all:?}"));
    }

    #[test]
    fn two_rows_of_one_step_are_refused() {
        let error = read("vm,step,cpu_pct\n7,1,5\n7,1,6\n").unwrap_err().to_string();
        assert_eq!(error, "t.csv, line 0, column step: vm \"7\" has two rows of step 1");
    }

    #[test]
    fn a_malformed_table_is_refused_with_line_and_column() {
        let cases = [
            ("vm,cpu_pct\n7,1\n", "t.csv, line 1, column step: the column is missing"),
            ("vm,step,cpu_pct\n7,x,1\n", "t.csv, line 2, column step: \"x\" found, a whole number is needed"),
            (
                "vm,step,cpu_pct\n7,1,-1\n",
                "t.csv, line 2, column cpu_pct: \"-1\" found, a number of at least 0 is needed",
            ),
            ("vm,step\n", "t.csv, line 0, column step: no rows"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text).unwrap_err().to_string(), expected);
        }
    }
}
