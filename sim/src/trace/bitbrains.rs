//! The Bitbrains recording (GWA-T-12) in long form: one row per vm and slot, vms and slots in rising order.

use std::{collections::BTreeMap, sync::Arc};

use ballast_core::units::Bytes;

use super::{Recording, Series, Slot, TraceError, table::Table};

pub(super) const COLUMNS: [&str; 9] =
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
    let table = Table::new(file, text, &COLUMNS)?;
    let mut last: Option<(&str, usize)> = None;
    for row in table.rows() {
        let row = row?;
        let (vm, step) = (row.text(0), row.whole(1)?);
        let missing = last.filter(|(before, _)| *before == vm).map_or(0, |(_, last)| step.saturating_sub(last + 1));
        if missing > GAP_MAX {
            let what = format!("{missing} steps are missing before step {step}, at most {GAP_MAX} may be");
            return Err(row.error(1, what));
        }
        last = Some((vm, step));
    }
    Ok(recordings(file, text, vms)?.into_iter().map(|one| Arc::unwrap_or_clone(one.series)).collect())
}

/// Reads a recording with the size of every vm and where in it the vm's begins. Where more than two days of a vm are missing
/// it was gone: what follows is a recording of its own.
///
/// # Errors
/// [`TraceError`] with line and column of the first thing that is wrong.
pub fn recordings(file: &str, text: &str, vms: &str) -> Result<Vec<Recording>, TraceError> {
    let mut assembly = Assembly::new(vms)?;
    let table = Table::new(file, text, &COLUMNS)?;
    for row in table.rows() {
        let row = row?;
        let mut values = [0.0; 7];
        for (index, value) in values.iter_mut().enumerate() {
            *value = row.number(index + 2)?;
        }
        let wrong = |(column, what)| row.error(column, what);
        assembly.take(row.text(0), row.whole(1)?, &values).map_err(wrong)?;
    }
    assembly.finish().ok_or_else(|| table.error(0, "-", "no rows"))
}

/// Size of a vm.
#[derive(Debug, Clone, Copy)]
struct Size {
    vcpus: u32,
    memory_mib: f32,
}

/// Recordings in the making, row by row.
#[derive(Debug)]
pub(super) struct Assembly {
    sizes: BTreeMap<String, Size>,
    done: Vec<Recording>,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    series: Series,
    first: usize,
    size: Size,
}

impl Assembly {
    pub(super) fn new(vms: &str) -> Result<Self, TraceError> {
        Ok(Self { sizes: sizes(vms)?, done: Vec::new(), current: None })
    }

    /// Takes the next row: vm, step, and its values from `cpu_pct` on.
    ///
    /// # Errors
    /// Index of the column at fault, and what is wrong.
    pub(super) fn take(&mut self, vm: &str, step: usize, values: &[f32; 7]) -> Result<(), (usize, String)> {
        let current = self.current.take().filter(|current| {
            let stays = current.series.name == vm && step <= current.next() + GAP_MAX;
            if !stays {
                self.done.push(current.recording());
            }
            stays
        });
        let mut current = match current {
            Some(current) => current,
            None => self.begin(vm, step)?,
        };
        if step < current.next() {
            let last = current.next() - 1;
            return Err((1, format!("step {step} after step {last}, a rising one is needed")));
        }
        let held = current.series.slots.last().copied().unwrap_or_default();
        current.series.slots.resize(step - current.first, held);
        current.series.slots.push(slot(values, current.size.memory_mib));
        self.current = Some(current);
        Ok(())
    }

    fn begin(&self, vm: &str, step: usize) -> Result<Current, (usize, String)> {
        let size = self.sizes.get(vm).ok_or_else(|| (0, format!("vm {vm:?} is not in the table of vms")))?;
        Ok(Current { series: Series::new(vm.into(), Vec::new()), first: step, size: *size })
    }

    /// What was taken; `None` where nothing was.
    pub(super) fn finish(mut self) -> Option<Vec<Recording>> {
        self.done.extend(self.current.iter().map(Current::recording));
        (!self.done.is_empty()).then_some(self.done)
    }
}

impl Current {
    /// The step that would follow without a gap.
    fn next(&self) -> usize {
        self.first + self.series.slots.len()
    }

    fn recording(&self) -> Recording {
        Recording {
            series: Arc::new(self.series.clone()),
            first: self.first,
            vcpus: Some(self.size.vcpus),
            memory: Some(Bytes::from_f64(f64::from(self.size.memory_mib) * 1024.0 * 1024.0)),
        }
    }
}

/// A slot of a row's values from `cpu_pct` on; a vm whose capacity is 0 was off.
fn slot(values: &[f32; 7], memory_mib: f32) -> Slot {
    let [cpu, memory, capacity, disk_read, disk_write, net_rx, net_tx] = *values;
    if capacity == 0.0 {
        return Slot::default();
    }
    // Accounting of turbo clocks puts some readings above 100 %: a vm cannot use more than it has.
    Slot {
        cpu: (cpu / 100.0).min(1.0),
        memory: (memory / memory_mib).min(1.0),
        disk_read: disk_read * 1000.0,
        disk_write: disk_write * 1000.0,
        net_rx: net_rx * 1000.0,
        net_tx: net_tx * 1000.0,
    }
}

/// Size by vm; the capacity column of the recording itself wobbles.
fn sizes(vms: &str) -> Result<BTreeMap<String, Size>, TraceError> {
    let table = Table::new("table of vms", vms, &VM_COLUMNS)?;
    let mut sizes = BTreeMap::new();
    for row in table.rows() {
        let row = row?;
        let memory_mib = row.number(4)?;
        if memory_mib < 1.0 {
            return Err(row.error(4, format!("{memory_mib} MiB found, at least 1 is needed")));
        }
        let vcpus = row.whole(2)?;
        let fits = u32::try_from(vcpus).ok().filter(|vcpus| (1..=1024).contains(vcpus));
        let vcpus = fits.ok_or_else(|| row.error(2, format!("{vcpus} cores found, 1 to 1024 are needed")))?;
        sizes.insert(row.text(0).to_owned(), Size { vcpus, memory_mib });
    }
    Ok(sizes)
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
    fn a_vm_that_was_away_for_more_than_two_days_has_two_recordings() {
        let rows = "7,10,50,500,1000,1,2,3,4\n7,600,50,500,1000,1,2,3,4\n7,601,50,500,0,1,2,3,4\n";
        let all = recordings("t.csv", &format!("{HEADER}{rows}"), VMS).unwrap();
        let shape: Vec<_> = all.iter().map(|one| (one.first, one.series.slots.len(), one.vcpus)).collect();
        assert_eq!(shape, [(10, 1, Some(2)), (600, 2, Some(2))]);
        assert_eq!((all[1].series.slots[1], all[1].memory), (Slot::default(), Some(Bytes::from_mib(1000))));
    }

    #[test]
    fn another_file_is_refused_at_its_header() {
        let error = parse("t.csv", "a,b\n1,2\n", VMS).unwrap_err();
        assert_eq!(error.to_string(), "t.csv, line 1, column 1: \"a\" found, the header \"vm\" is needed");
    }
}
