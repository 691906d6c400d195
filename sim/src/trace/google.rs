//! The cut of Google's cluster trace in wide form: two rows per vm, CPU and memory in percent, one column per slot.
//!
//! It records neither storage nor network; [`Slot`]s carry a stated proportion of the CPU instead.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Recording, SLOTS_PER_DAY, Series, Slot, TraceError,
    table::{Row, Table},
};

/// Storage and network of a vm whose recording has none, in bytes per second at full CPU: an assumption, of the order
/// of the Bitbrains vms' means (0.1 to 0.2 MB/s at 5 to 10 % CPU).
const BYTES_PER_CPU: f32 = 2.0e6;

/// Reads a recording.
///
/// # Errors
/// [`TraceError`] with line and column of the first thing that is wrong.
pub fn parse(file: &str, text: &str) -> Result<Vec<Series>, TraceError> {
    let table = Table::new(file, text, &["vm", "feature", "t0"])?;
    let mut rows = table.rows();
    let mut all = Vec::new();
    while let Some(cpu) = rows.next() {
        let cpu = feature(cpu?, "cpu_pct")?;
        let Some(memory) = rows.next() else {
            return Err(cpu.error(1, format!("the row mem_pct of vm {:?} is missing", cpu.text(0))));
        };
        let memory = feature(memory?, "mem_pct")?;
        if memory.text(0) != cpu.text(0) {
            return Err(memory.error(0, format!("vm {:?} found, {:?} is needed", memory.text(0), cpu.text(0))));
        }
        all.push(series(&cpu, &memory)?);
    }
    if all.is_empty() { Err(table.error(0, "-", "no rows")) } else { Ok(all) }
}

fn feature<'a>(row: Row<'a>, name: &str) -> Result<Row<'a>, TraceError> {
    if row.text(1) == name {
        return Ok(row);
    }
    Err(row.error(1, format!("{:?} found, {name:?} is needed", row.text(1))))
}

fn series(cpu: &Row<'_>, memory: &Row<'_>) -> Result<Series, TraceError> {
    let slot = |index| Ok(slot((cpu.number(index)? / 100.0).min(1.0), (memory.number(index)? / 100.0).min(1.0)));
    let slots = (2..cpu.len()).map(slot).collect::<Result<_, TraceError>>()?;
    Ok(Series::new(cpu.text(0).into(), slots))
}

/// A slot whose storage and network follow its CPU.
pub(crate) fn slot(cpu: f32, memory: f32) -> Slot {
    let io = cpu * BYTES_PER_CPU;
    Slot { cpu, memory, disk_read: io, disk_write: io, net_rx: io, net_tx: io }
}

/// Joins the days of each job, `vm_<job>_<day>` with days from 1: consecutive days make one recording, and where a day is
/// missing another begins. What is named otherwise stays alone.
pub fn join(all: Vec<Series>) -> Vec<Recording> {
    let mut days: BTreeMap<(String, usize), Vec<Slot>> = BTreeMap::new();
    for series in all {
        let named = series.name.rsplit_once('_').and_then(|(job, day)| Some((job.to_owned(), day.parse().ok()?)));
        let (job, day): (String, usize) = named.filter(|(_, day)| *day > 0).unwrap_or((series.name.clone(), 1));
        days.entry((job, day)).or_insert(series.slots);
    }
    let mut joined: Vec<(String, usize, Vec<Slot>)> = Vec::new();
    for ((job, day), slots) in days {
        let first = (day - 1) * SLOTS_PER_DAY;
        match joined.last_mut().filter(|(name, begun, held)| *name == job && begun + held.len() == first) {
            Some((_, _, held)) => held.extend(slots),
            None => joined.push((job, first, slots)),
        }
    }
    let recording = |(name, first, slots)| Recording {
        series: Arc::new(Series::new(name, slots)),
        first,
        vcpus: None,
        memory: None,
    };
    joined.into_iter().map(recording).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rows: &str) -> Result<Vec<Series>, TraceError> {
        parse("g.csv", &format!("vm,feature,t0,t1\n{rows}"))
    }

    #[test]
    fn two_rows_make_one_series() {
        let all = read("a,cpu_pct,10,120\na,mem_pct,50,215\n").unwrap();
        assert_eq!(
            all[0].slots.iter().map(|slot| (slot.cpu, slot.memory)).collect::<Vec<_>>(),
            [(0.1, 0.5), (1.0, 1.0)]
        );
    }

    #[test]
    fn consecutive_days_of_a_job_become_one_recording() {
        let day = |name: &str, cpu| Series::new(name.into(), vec![slot(cpu, 0.5); SLOTS_PER_DAY]);
        let all = join(vec![day("vm_7_10", 0.3), day("vm_7_2", 0.2), day("vm_7_1", 0.1), day("other", 0.4)]);
        let shape: Vec<_> =
            all.iter().map(|one| (one.series.name.as_str(), one.first, one.series.slots.len())).collect();
        assert_eq!(shape, [("other", 0, 288), ("vm_7", 0, 576), ("vm_7", 9 * 288, 288)]);
        assert_eq!((all[1].series.slots[287].cpu, all[1].series.slots[288].cpu), (0.1, 0.2));
    }

    #[test]
    fn a_malformed_recording_is_refused_with_line_and_column() {
        let cases = [
            ("a,cpu_pct,1,2\n", "g.csv, line 2, column feature: the row mem_pct of vm \"a\" is missing"),
            ("a,mem_pct,1,2\n", "g.csv, line 2, column feature: \"mem_pct\" found, \"cpu_pct\" is needed"),
            ("a,cpu_pct,1,2\nb,mem_pct,1,2\n", "g.csv, line 3, column vm: vm \"b\" found, \"a\" is needed"),
            ("a,cpu_pct,1,\na,mem_pct,1,2\n", "g.csv, line 2, column t1: \"\" found, a number of at least 0 is needed"),
        ];
        for (rows, expected) in cases {
            assert_eq!(read(rows).unwrap_err().to_string(), expected);
        }
    }
}
