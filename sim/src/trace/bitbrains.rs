//! The Bitbrains recording (GWA-T-12) in long form: one row per vm and slot, vms and slots in rising order.

use std::collections::BTreeMap;

use super::{
    Series, Slot, TraceError,
    table::{Row, Table},
};

const COLUMNS: [&str; 9] =
    ["vm", "step", "cpu_pct", "mem_mib", "mem_cap_mib", "disk_r_kbs", "disk_w_kbs", "net_rx_kbs", "net_tx_kbs"];
const VM_COLUMNS: [&str; 7] = ["vm", "split", "cores", "cpu_cap_mhz", "mem_cap_mib", "coverage", "off_frac"];

/// Slots that may be missing in a row before a recording counts as broken: two days.
const GAP_MAX: usize = 2 * super::SLOTS_PER_DAY;

/// Reads a recording; `vms` is the table of its vms, for their provisioned memory. A slot that is missing holds the
/// values of the one before.
///
/// # Errors
/// [`TraceError`] with line and column of the first thing that is wrong.
pub fn parse(file: &str, text: &str, vms: &str) -> Result<Vec<Series>, TraceError> {
    let memory = provisioned_memory(vms)?;
    let table = Table::new(file, text, &COLUMNS)?;
    let mut all: Vec<Series> = Vec::new();
    let mut last_step = 0;
    for row in table.rows() {
        let row = row?;
        let (vm, step) = (row.text(0), row.whole(1)?);
        let Some(memory) = memory.get(vm) else {
            return Err(row.error(0, format!("vm {vm:?} is not in the table of vms")));
        };
        let slot = slot(&row, *memory)?;
        match all.last_mut().filter(|series| series.name == vm) {
            Some(series) => append(series, &row, last_step, step, slot)?,
            None => all.push(Series::new(vm.into(), vec![slot])),
        }
        last_step = step;
    }
    if all.is_empty() { Err(table.error(0, "-", "no rows")) } else { Ok(all) }
}

/// Appends `slot` to a series that ends at step `last`, and fills what is missing between.
fn append(series: &mut Series, row: &Row<'_>, last: usize, step: usize, slot: Slot) -> Result<(), TraceError> {
    if step <= last {
        return Err(row.error(1, format!("step {step} after step {last}, a rising one is needed")));
    }
    let missing = step - last - 1;
    if missing > GAP_MAX {
        return Err(row.error(1, format!("{missing} steps are missing before step {step}, at most {GAP_MAX} may be")));
    }
    let held = series.slots.last().copied().unwrap_or_default();
    series.slots.extend(std::iter::repeat_n(held, missing));
    series.slots.push(slot);
    Ok(())
}

fn slot(row: &Row<'_>, memory_mib: f32) -> Result<Slot, TraceError> {
    // Accounting of turbo clocks puts some readings above 100 %: a vm cannot use more than it has.
    let kilobytes = |index| row.number(index).map(|rate| rate * 1000.0);
    Ok(Slot {
        cpu: (row.number(2)? / 100.0).min(1.0),
        memory: (row.number(3)? / memory_mib).min(1.0),
        disk_read: kilobytes(5)?,
        disk_write: kilobytes(6)?,
        net_rx: kilobytes(7)?,
        net_tx: kilobytes(8)?,
    })
}

/// Provisioned memory by vm; the capacity column of the recording itself wobbles.
fn provisioned_memory(vms: &str) -> Result<BTreeMap<&str, f32>, TraceError> {
    let table = Table::new("table of vms", vms, &VM_COLUMNS)?;
    let mut memory = BTreeMap::new();
    for row in table.rows() {
        let row = row?;
        let mib = row.number(4)?;
        if mib < 1.0 {
            return Err(row.error(4, format!("{mib} MiB found, at least 1 is needed")));
        }
        memory.insert(row.text(0), mib);
    }
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VMS: &str = "vm,split,cores,cpu_cap_mhz,mem_cap_mib,coverage,off_frac\n7,dev,2,5200,1000,1,0\n";
    const HEADER: &str = "vm,step,cpu_pct,mem_mib,mem_cap_mib,disk_r_kbs,disk_w_kbs,net_rx_kbs,net_tx_kbs\n";

    fn read(rows: &str) -> Result<Vec<Series>, TraceError> {
        parse("t.csv", &format!("{HEADER}{rows}"), VMS)
    }

    #[test]
    fn a_missing_slot_holds_the_value_before() {
        let all = read("7,10,50,500,1000,1,2,3,4\n7,13,150,500,1000,1,2,3,4\n").unwrap();
        let cpu: Vec<f32> = all[0].slots.iter().map(|slot| slot.cpu).collect();
        assert_eq!(cpu, [0.5, 0.5, 0.5, 1.0]);
        assert_eq!((all[0].slots[0].memory, all[0].slots[0].net_tx), (0.5, 4000.0));
    }

    #[test]
    fn a_malformed_recording_is_refused_with_line_and_column() {
        let cases = [
            (
                "7,10,x,500,1000,1,2,3,4\n",
                "t.csv, line 2, column cpu_pct: \"x\" found, a number of at least 0 is needed",
            ),
            (
                "7,10,5,500,1000,1,2,3,4\n\n7,11,5,NaN,1,1,2,3,4\n",
                "t.csv, line 4, column mem_mib: \"NaN\" found, a number of at least 0 is needed",
            ),
            (
                "7,10,5,500,1000,1,2,3,-4\n",
                "t.csv, line 2, column net_tx_kbs: \"-4\" found, a number of at least 0 is needed",
            ),
            ("7,10,5,500\n", "t.csv, line 2, column 4: 4 fields found, 9 are needed"),
            (
                "7,10,5,5,1,1,2,3,4\n7,10,5,5,1,1,2,3,4\n",
                "t.csv, line 3, column step: step 10 after step 10, a rising one is needed",
            ),
            (
                "7,10,5,5,1,1,2,3,4\n7,99999,5,5,1,1,2,3,4\n",
                "t.csv, line 3, column step: 99988 steps are missing before step 99999, at most 576 may be",
            ),
            ("8,10,5,5,1,1,2,3,4\n", "t.csv, line 2, column vm: vm \"8\" is not in the table of vms"),
            ("", "t.csv, line 0, column -: no rows"),
        ];
        for (rows, expected) in cases {
            assert_eq!(read(rows).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn another_file_is_refused_at_its_header() {
        let error = parse("t.csv", "a,b\n1,2\n", VMS).unwrap_err();
        assert_eq!(error.to_string(), "t.csv, line 1, column 1: \"a\" found, the header \"vm\" is needed");
    }
}
